//! Files that appear in a folder, read in the order of their names.
//!
//! ```text
//! a look: names behind the last one ─ complete? ─▶ read in parts, cut at record borders ─▶ next file
//!            │ not changed since the look before, or its .done is there
//! cursor: { file, offset, length, digest of what was read, files } : a file that is another one by now is an error
//! ```
//! Everything touches the disk, which may be a network's: it happens on a thread of its own, within a time.

mod cut;
mod files;
#[cfg(test)]
mod tests;

use super::{Cursor, FETCH_BYTES_MAX, FeedsConfig, FetchError, Fetched, Format, Reader};
use crate::kernel::Progress;
use bytes::Bytes;
use files::{Found, Listing, Seen};
use futures_util::future::LocalBoxFuture;
use models::feed::{FolderDone, FolderSettings, ReaderFormat};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a look, or the reading of a part, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the head of a CSV file at most.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes hashed at once.
const CHUNK: usize = 1 << 20;

/// The reader of a folder; `quoting`: whether quotation marks quote in its CSV files.
///
/// # Errors
/// [`FetchError::Settings`]
pub fn reader(settings: &FolderSettings, config: &FeedsConfig, quoting: bool) -> Result<Box<dyn Reader>, FetchError> {
    let wrong = |what: &str| FetchError::Settings(what.to_owned());
    let root = config.folder_root.as_ref().ok_or_else(|| wrong("path: the configuration names no root of folders"))?;
    let folder = Folder {
        root: root.clone(),
        settings: settings.clone(),
        quoting,
        seen: HashMap::new(),
        ready: VecDeque::new(),
        hashed: None,
    };
    Ok(Box::new(FolderReader { folder: Some(folder), late: None, part_bytes: FETCH_BYTES_MAX }))
}

/// Whether a file was read in part.
pub fn is_under_way(cursor: &str) -> bool {
    serde_json::from_str::<Position>(cursor).is_ok_and(|position| !position.is_done())
}

struct FolderReader {
    /// None while a thread has it.
    folder: Option<Folder>,
    /// A thread that was not done in time.
    late: Option<JoinHandle<Folder>>,
    /// Bytes of a part at most.
    part_bytes: usize,
}

/// The cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The file read last.
    file: String,
    /// Bytes of it that were read.
    offset: u64,
    /// Its length when its reading began; as many as were read once it is done.
    length: u64,
    /// SHA-256 of the bytes that were read, in hex.
    digest: String,
    /// Files of the pattern up to this one: one more is one that came late.
    files: u64,
}

/// What its thread works on.
struct Folder {
    root: PathBuf,
    settings: FolderSettings,
    quoting: bool,
    /// Files that were not complete at the last look.
    seen: HashMap<String, Seen>,
    /// Complete files that are not read yet, in their order, each with how many there are up to it.
    ready: VecDeque<(String, u64)>,
    /// File, offset and the digest of its bytes so far.
    hashed: Option<(String, u64, Context)>,
}

impl FolderReader {
    /// Runs on a thread that may wait for the disk.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Folder) -> T + Send + 'static,
    ) -> Result<T, FetchError> {
        if let Some(late) = self.late.as_mut() {
            let folder = tokio::time::timeout(PATIENCE, late).await.map_err(|_| FetchError::Timeout(PATIENCE))?;
            self.late = None;
            self.folder = folder.ok();
        }
        let mut folder = self.folder.take().ok_or_else(|| FetchError::Unreachable("its thread has died".to_owned()))?;
        let (done, outcome) = tokio::sync::oneshot::channel();
        let mut thread = tokio::task::spawn_blocking(move || {
            let result = work(&mut folder);
            // nobody waits for it where it was late
            let _ = done.send(result);
            folder
        });
        match tokio::time::timeout(PATIENCE, &mut thread).await {
            Err(_) => {
                self.late = Some(thread);
                Err(FetchError::Timeout(PATIENCE))
            }
            Ok(folder) => {
                self.folder = folder.ok();
                outcome.await.map_err(|_| FetchError::Unreachable("its thread has died".to_owned()))
            }
        }
    }
}

impl Reader for FolderReader {
    fn fetch<'a>(
        &'a mut self,
        cursor: Option<&'a Cursor>,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let position = read_position(cursor)?;
            let part_bytes = self.part_bytes;
            self.on_thread(move |folder| folder.fetch(position.as_ref(), part_bytes)).await?
        })
    }

    fn stored<'a>(&'a mut self, cursor: &'a Cursor) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let Ok(Some(position)) = read_position(Some(cursor)) else { return };
            // what cannot be moved now is moved at the next look
            let _ = self.on_thread(move |folder| folder.put_away(&position)).await;
        })
    }
}

fn read_position(cursor: Option<&Cursor>) -> Result<Option<Position>, FetchError> {
    let Some(Cursor(text)) = cursor else { return Ok(None) };
    let position = serde_json::from_str(text);
    position.map(Some).map_err(|_| FetchError::Lost("the cursor is not one of this reader's".to_owned()))
}

impl Position {
    fn is_done(&self) -> bool {
        self.offset >= self.length
    }
}

fn changed(name: &str) -> FetchError {
    FetchError::Refused(format!("{name}: it has changed after it was read"))
}

impl Folder {
    fn fetch(&mut self, position: Option<&Position>, part_bytes: usize) -> Result<Fetched, FetchError> {
        if let Some(position) = position.filter(|position| !position.is_done()) {
            return self.part(position.clone(), part_bytes);
        }
        if let Some(position) = position {
            // where it could not be moved when it was stored; one that is gone is where it belongs
            match self.put_away(position) {
                Ok(()) | Err(FetchError::Lost(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // only what is stored is behind: a file that was read and not stored is read again
        let last = position.map_or("", |position| position.file.as_str());
        self.ready.retain(|(name, _)| name.as_str() > last);
        if self.ready.is_empty() {
            self.look(position)?;
        }
        let Some((name, files)) = self.ready.front().cloned() else { return Ok(self.nothing()) };
        let length = files::open(&self.root, &self.settings.path, &name)?.1.length;
        self.part(Position { file: name, files, length, ..Position::default() }, part_bytes)
    }

    fn nothing(&self) -> Fetched {
        Fetched { body: Bytes::new(), format: self.settings.format.into(), cursor: None, more: false }
    }

    /// Finds what is complete and was not read yet.
    fn look(&mut self, position: Option<&Position>) -> Result<(), FetchError> {
        let listing = Listing::take(&self.root, &self.settings)?;
        let last = position.map_or("", |position| position.file.as_str());
        if let Some(position) = position {
            self.hold_against(position, &listing)?;
        }
        let mut seen = HashMap::new();
        let numbered = (1..).zip(listing.files).filter(|(_, found)| found.name.as_str() > last);
        for (number, Found { name, is_marked, seen: now }) in numbered {
            let is_complete = if self.settings.done_files {
                is_marked
            } else {
                self.seen.get(&name).is_some_and(|then| *then == now)
            };
            if is_complete && seen.is_empty() {
                self.ready.push_back((name, number));
            } else {
                // what follows waits for it: the order of names is the order of records
                seen.insert(name, now);
            }
        }
        self.seen = seen;
        Ok(())
    }

    /// Is everything as it was up to the file that was read last?
    fn hold_against(&mut self, position: &Position, listing: &Listing) -> Result<(), FetchError> {
        let before = listing.files.iter().filter(|found| found.name <= position.file).count() as u64;
        let moves = self.settings.done == FolderDone::Move;
        let last = listing.files.iter().find(|found| found.name == position.file);
        // those that were read have been moved away, all but the last one perhaps
        let expected = if moves { u64::from(last.is_some()) } else { position.files };
        if before > expected {
            return Err(FetchError::Refused(format!(
                "a file came late: its name sorts before {}, up to which everything is read",
                position.file
            )));
        }
        let Some(last) = last else { return Ok(()) };
        if last.seen.length != position.length {
            return Err(changed(&position.file));
        }
        Ok(())
    }

    /// Moves a file that was read to where such files lie.
    fn put_away(&mut self, position: &Position) -> Result<(), FetchError> {
        if self.settings.done == FolderDone::Keep || !position.is_done() {
            return Ok(());
        }
        let (mut file, seen) = files::open(&self.root, &self.settings.path, &position.file)?;
        if seen.length != position.length || self.digest_up_to(&mut file, position)? != position.digest {
            return Err(changed(&position.file));
        }
        files::put_away(&self.root, &self.settings, &position.file)
    }

    /// Digest of the file's first bytes, in hex: of memory where it was just read.
    fn digest_up_to(&mut self, file: &mut File, position: &Position) -> Result<String, FetchError> {
        let context = self.context_at(file, &position.file, position.offset)?;
        Ok(crate::secrets::hex(context.finish().as_ref()))
    }

    fn context_at(&mut self, file: &mut File, name: &str, offset: u64) -> Result<Context, FetchError> {
        if let Some((known, at, context)) = &self.hashed
            && known == name
            && *at == offset
        {
            return Ok(context.clone());
        }
        let gone = |_| changed(name);
        file.seek(SeekFrom::Start(0)).map_err(gone)?;
        let mut context = Context::new(&SHA256);
        let (mut chunk, mut left) = (vec![0; CHUNK], offset);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let read = file.read(&mut chunk[..most]).map_err(gone)?;
            if read == 0 {
                return Err(changed(name));
            }
            context.update(&chunk[..read]);
            left -= read as u64;
        }
        Ok(context)
    }

    /// The next part of a file.
    fn part(&mut self, position: Position, part_bytes: usize) -> Result<Fetched, FetchError> {
        let name = position.file.clone();
        let broken = |_| FetchError::Unreadable(format!("{name}: cannot be read"));
        let (mut file, seen) = files::open(&self.root, &self.settings.path, &name)?;
        if seen.length != position.length {
            return Err(changed(&name));
        }
        let mut context = self.context_at(&mut file, &name, position.offset)?;
        if position.offset > 0 && crate::secrets::hex(context.clone().finish().as_ref()) != position.digest {
            return Err(changed(&name));
        }
        let head = match self.settings.format {
            ReaderFormat::Csv if position.offset > 0 => self.head(&mut file).map_err(broken)?,
            _ => Vec::new(),
        };
        let room = part_bytes.saturating_sub(head.len());
        file.seek(SeekFrom::Start(position.offset)).map_err(broken)?;
        let mut bytes = Vec::new();
        file.take(room as u64).read_to_end(&mut bytes).map_err(broken)?;
        let is_rest = position.offset + bytes.len() as u64 >= position.length;
        let cut =
            cut::cut(self.settings.format, self.quoting, position.offset == 0, is_rest, &bytes).map_err(|what| {
                match what {
                    cut::Uncut::TooLarge => FetchError::TooLarge,
                    cut::Uncut::Unreadable(what) => FetchError::Unreadable(format!("{name}: {what}")),
                }
            })?;
        context.update(&bytes[..cut.taken]);
        let offset = position.offset + cut.taken as u64;
        self.hashed = Some((name, offset, context.clone()));
        let digest = crate::secrets::hex(context.finish().as_ref());
        let after = Position { offset, digest, ..position };
        let text = serde_json::to_string(&after).map_err(|_| FetchError::Unreadable("its cursor".to_owned()))?;
        let body = match self.settings.format {
            ReaderFormat::Csv => [head, bytes[cut.records].to_vec()].concat(),
            ReaderFormat::Ndjson => bytes[cut.records].to_vec(),
            ReaderFormat::Json => [b"[", &bytes[cut.records], b"]"].concat(),
        };
        let more = !after.is_done() || self.ready.iter().any(|(name, _)| *name > after.file);
        Ok(Fetched { body: body.into(), format: Format::from(self.settings.format), cursor: Some(Cursor(text)), more })
    }

    /// The first row of a CSV file, with its end.
    fn head(&self, file: &mut File) -> std::io::Result<Vec<u8>> {
        file.seek(SeekFrom::Start(0))?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES_MAX as u64).read_to_end(&mut head)?;
        let end = cut::row_end(&head, self.quoting).unwrap_or(head.len());
        head.truncate(end);
        Ok(head)
    }
}
