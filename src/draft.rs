//! Files that count only when they are whole and journaled: written beside their place, put there at the end.

use actors::secrets::hex;
use models::evidence::Sha256;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// A file under way, for its owner only. Until it is kept, nothing of it outlives its value.
pub struct Draft {
    file: File,
    place: PathBuf,
    beside: PathBuf,
    kept: bool,
}

fn private(path: &Path) -> anyhow::Result<File> {
    let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

impl Draft {
    /// Takes the name, which nobody may have, and begins `NAME.part`.
    pub fn begin(place: &Path) -> anyhow::Result<Self> {
        let mut beside = place.as_os_str().to_owned();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        // takes the name: of two that start at once, one fails here
        drop(private(place)?);
        match private(&beside) {
            Ok(file) => Ok(Self { file, place: place.to_owned(), beside, kept: false }),
            Err(error) => {
                let _ = std::fs::remove_file(place);
                Err(error)
            }
        }
    }

    /// Where it is written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in its place: after a power cut it is there, and whole.
    pub fn keep(mut self) -> anyhow::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.place)?;
        self.kept = true;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            for path in [&self.beside, &self.place] {
                if let Err(error) = std::fs::remove_file(path) {
                    crate::complain(&format!("{} is no export and stays: {error}", path.display()));
                }
            }
        }
    }
}

/// Writes, and digests what it writes.
pub struct Digested<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Digested<W> {
    /// Nothing is written yet.
    pub fn new(out: W) -> Self {
        Self { out, digest: Sha256::new() }
    }

    /// Of everything that was written, hexadecimal.
    pub fn sha256(self) -> String {
        hex(&self.digest.finish())
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Does the work. A signal to end (SIGINT, SIGTERM) ends it early, and so its drafts.
pub async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = work => done,
        _ = term.recv() => anyhow::bail!("interrupted"),
        _ = int.recv() => anyhow::bail!("interrupted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let files = std::fs::read_dir(dir).unwrap().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_there_when_it_is_kept_and_nobody_else_may_read_it() {
        let dir = testkit::temp_dir();
        let place = dir.path().join("case");
        let draft = Draft::begin(&place).unwrap();
        draft.file().write_all(b"whole").unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"", "only its name");
        for path in [place.clone(), dir.path().join("case.part")] {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        draft.keep().unwrap();
        assert_eq!((names(dir.path()), std::fs::read(&place).unwrap()), (vec!["case".to_owned()], b"whole".to_vec()));
        assert!(Draft::begin(&place).is_err(), "what is there stays");
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let dir = testkit::temp_dir();
        let place = dir.path().join("case");
        let draft = Draft::begin(&place).unwrap();
        assert!(Draft::begin(&place).is_err(), "one at a time");
        draft.file().write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(names(dir.path()), Vec::<String>::new());
        std::fs::write(dir.path().join("case.part"), "of a process that was killed").unwrap();
        assert!(Draft::begin(&place).is_err());
        assert_eq!(names(dir.path()), ["case.part"]);
    }
}
