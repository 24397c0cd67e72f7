//! The tamper tokens and numbers of what `mlinzi feed push` sends: where each source's chain stands, in a folder beside the
//! signing secret, so that the next run goes on with it.
//!
//! ```text
//! token, number and body on disk ─▶ push ─┬▶ 200: it is the last one of the source
//!                                         ├▶ refused: it is nothing
//!                                         └▶ no answer: the next run sends the same bytes with the same token first
//! ```

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Chains under one signing secret.
pub struct Chains {
    secret: Zeroizing<Vec<u8>>,
    dir: PathBuf,
    /// Nobody else sends with them meanwhile: of two pushes that follow from the same one, the second is refused.
    _lock: File,
}

/// The chain of one source.
pub struct Chain<'c> {
    chains: &'c Chains,
    source: String,
    last: Link,
}

/// A push, as its receiver knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its tamper token, hex; empty before the first.
    pub token: String,
    /// Its number, from 1.
    pub batch: i64,
}

/// A push that may be sent: what it is sent with lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What it is known by.
    pub link: Link,
    /// Its records.
    pub body: String,
}

impl Chains {
    /// Of the secret in a file, base64 as it was shown with the key; where they stand lies in `FILE.chains`.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let named = || file.display().to_string();
        let text = Zeroizing::new(std::fs::read_to_string(file).with_context(named)?);
        let secret = STANDARD.decode(text.trim()).map(Zeroizing::new);
        let secret = secret.ok().filter(|secret| !secret.is_empty()).with_context(|| {
            format!("{}: not a signing secret in base64, as it was shown with the key", file.display())
        })?;
        let mut dir = file.as_os_str().to_owned();
        dir.push(".chains");
        let dir = PathBuf::from(dir);
        // it holds what was sent and not answered yet: people in the clear
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        let lock = File::create(dir.join("lock")).with_context(|| dir.display().to_string())?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { secret, dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => anyhow::bail!("{}: another run sends with these chains", dir.display()),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| dir.display().to_string()),
        }
    }

    /// That of a source.
    pub fn of(&self, source: &str) -> anyhow::Result<Chain<'_>> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        anyhow::ensure!(source.bytes().all(plain), "the source's id is no name of a file");
        let mut chain = Chain { chains: self, source: source.to_owned(), last: Link::default() };
        if let Some(text) = read(&chain.stands())? {
            let path = chain.stands().display().to_string();
            chain.last = serde_json::from_str(&text).with_context(|| path)?;
        }
        Ok(chain)
    }
}

impl Chain<'_> {
    /// The file that says where it stands.
    pub fn stands(&self) -> PathBuf {
        self.chains.dir.join(format!("{}.json", self.source))
    }

    fn pending(&self) -> PathBuf {
        self.chains.dir.join(format!("{}.pending", self.source))
    }

    /// What an earlier run sent, or was about to, and has not heard of: to be sent before anything else.
    pub fn unanswered(&self) -> anyhow::Result<Option<Marked>> {
        let Some(text) = read(&self.pending())? else { return Ok(None) };
        let (link, body) = text.split_once('\n').unwrap_or((&text, ""));
        let link: Link = serde_json::from_str(link).with_context(|| self.pending().display().to_string())?;
        // its answer was noted, and then the run ended
        Ok((link != self.last).then(|| Marked { link, body: body.to_owned() }))
    }

    /// Gives the next push its token and its number.
    pub fn next(&self, body: String) -> anyhow::Result<Marked> {
        let token = engine::integrity::token(&self.chains.secret, &self.last.token, body.as_bytes());
        let link = Link { token, batch: self.last.batch + 1 };
        write(&self.pending(), &[&serde_json::to_string(&link)?, "\n", &body])?;
        Ok(Marked { link, body })
    }

    /// The push was answered: it is stored, or nothing of it is.
    pub fn answered(&mut self, link: Link, is_stored: bool) -> anyhow::Result<()> {
        if is_stored {
            write(&self.stands(), &[&serde_json::to_string(&link)?, "\n"])?;
            self.last = link;
        }
        let pending = self.pending();
        std::fs::remove_file(&pending).with_context(|| pending.display().to_string())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// All of it or nothing, and on the disk when this returns.
fn write(path: &Path, parts: &[&str]) -> anyhow::Result<()> {
    let named = || path.display().to_string();
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new).with_context(named)?;
    for part in parts {
        file.write_all(part.as_bytes()).with_context(named)?;
    }
    file.sync_all().with_context(named)?;
    std::fs::rename(&new, path).with_context(named)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "src_1";
    const SECRET: [u8; 32] = [7; 32];

    /// What a source makes of a push: it is new, it is the last one once more, or it does not follow.
    fn push(last: &mut Link, marked: &Marked) -> &'static str {
        let token = engine::integrity::token(&SECRET, &last.token, marked.body.as_bytes());
        if marked.link == *last {
            return "repeated";
        }
        if marked.link != (Link { token, batch: last.batch + 1 }) {
            return "refused";
        }
        *last = marked.link.clone();
        "stored"
    }

    #[test]
    fn each_run_goes_on_where_the_last_one_stood_whatever_ended_it() {
        let dir = testkit::temp_dir();
        let file = dir.path().join("secret");
        std::fs::write(&file, format!("{}\n", STANDARD.encode(SECRET))).expect("written");
        let mut last = Link::default();
        {
            let chains = Chains::open(&file).expect("a secret");
            assert!(Chains::open(&file).is_err(), "one run at a time");
            let mut chain = chains.of(SOURCE).expect("a chain");
            assert_eq!(chain.unanswered().expect("readable"), None);
            let first = chain.next("{}".to_owned()).expect("written");
            assert_eq!((first.link.batch, push(&mut last, &first)), (1, "stored"));
            chain.answered(first.link, true).expect("written");
            // refused for its content: it moves nothing
            let refused = chain.next("[".to_owned()).expect("written");
            chain.answered(refused.link, false).expect("written");
            // stored, and the answer was lost
            let lost = chain.next("{}\n{}".to_owned()).expect("written");
            assert_eq!((lost.link.batch, push(&mut last, &lost)), (2, "stored"));
        }
        for expected in ["repeated", "stored"] {
            let chains = Chains::open(&file).expect("a secret");
            let mut chain = chains.of(SOURCE).expect("a chain");
            let again = chain.unanswered().expect("readable").expect("nobody has heard of it");
            assert_eq!(push(&mut last, &again), expected);
            chain.answered(again.link, true).expect("written");
            assert_eq!(chain.unanswered().expect("readable"), None);
            // never sent: the next run sends it
            chain.next("{\"n\":1}".to_owned()).expect("written");
        }
        assert_eq!(last.batch, 3);

        // the answer was noted, and then the run ended
        let chains = Chains::open(&file).expect("a secret");
        let chain = chains.of(SOURCE).expect("a chain");
        std::fs::write(chain.pending(), format!("{}\n{{}}", serde_json::to_string(&chain.last).expect("JSON")))
            .expect("written");
        assert_eq!(chain.unanswered().expect("readable"), None);
        assert_eq!(chains.of("src_2").expect("another chain").last, Link::default());
        assert!(chains.of("../src_2").is_err());
        std::fs::write(&file, "not base64!").expect("written");
        assert!(Chains::open(&file).is_err());
    }
}
