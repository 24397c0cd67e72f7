//! The readers of brokers against real servers: what is read, from where it goes on, and what breaks on the way.

mod kafka;
mod nats;
mod outputs;

use actors::feeds::brokers::Access;
use actors::feeds::{Cursor, FetchError, Fetched, Reader};
use actors::kernel::Progress;
use std::time::Duration;

/// No test waits longer for one fetch; a reader that hangs fails here.
const FETCH: Duration = Duration::from_secs(60);

/// What a store does: lines and cursor in one commit.
#[derive(Default)]
struct Store {
    lines: Vec<String>,
    cursor: Option<Cursor>,
}

impl Store {
    fn commit(&mut self, fetched: Fetched) {
        let text = String::from_utf8(fetched.body.to_vec()).expect("lines are text");
        self.lines.extend(text.lines().map(ToOwned::to_owned));
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
        if let Some(cursor) = fetched.cursor {
            self.cursor = Some(cursor);
        }
    }

    /// One fetch behind what is stored.
    async fn fetch(&mut self, reader: &mut Box<dyn Reader>) -> Result<Fetched, FetchError> {
        let progress = Progress::unwatched();
        tokio::time::timeout(FETCH, reader.fetch(self.cursor.as_ref(), &progress)).await.expect("a fetch ends")
    }

    /// Fetches until there is nothing more.
    async fn drain(&mut self, reader: &mut Box<dyn Reader>) -> Result<(), FetchError> {
        loop {
            let fetched = self.fetch(reader).await?;
            let done = fetched.body.is_empty() && !fetched.more;
            self.commit(fetched);
            if done {
                return Ok(());
            }
        }
    }

    /// Fetches until so many lines are stored, whatever breaks meanwhile.
    async fn until(&mut self, reader: &mut Box<dyn Reader>, lines: usize) -> Vec<FetchError> {
        let mut errors = Vec::new();
        while self.lines.len() < lines {
            match self.fetch(reader).await {
                Ok(fetched) => self.commit(fetched),
                Err(e) => errors.push(e),
            }
            assert!(errors.len() < 100, "it does not recover: {errors:?}");
        }
        errors
    }

    /// What is stored, in order.
    fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        lines.sort();
        lines
    }
}

/// The error of a fetch that must fail.
fn error(fetched: Result<Fetched, FetchError>) -> String {
    match fetched {
        Ok(fetched) => panic!("{fetched:?}"),
        Err(e) => e.to_string(),
    }
}

/// Nobody in particular, who may call brokers of this machine.
fn local() -> Access {
    Access { allow_private_addresses: true, ..Access::default() }
}

fn record(n: usize) -> String {
    format!(r#"{{"record_id":"r{n:06}"}}"#)
}

fn records(all: std::ops::Range<usize>) -> Vec<String> {
    all.map(record).collect()
}
