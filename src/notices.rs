//! `mlinzi notify test`: a test notice on a channel, through the log of the database, so that it goes the way of every
//! other. The running engine sends it; without one it waits for the next.

use crate::config::Config;
use crate::{complain, keys, say, serve};
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeState};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Attachment, Clock, NoticeRow, Store, StoredNotice, SystemClock};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What to do with channels.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Sends a test notice and waits until the running engine has sent it; ends with 1 where it has not.
    Test {
        /// The channel's name in the configuration.
        name: String,
        /// Seconds to wait.
        #[arg(long, default_value_t = 30)]
        wait: u64,
    },
}

/// Runs the command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Test { name, wait } = command;
    anyhow::ensure!(
        config.notify.channels.iter().any(|channel| channel.name == name),
        "no channel {name} in this configuration"
    );
    let material = keys::provider(&config.keys).load()?;
    let store = serve::open_known_store(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let tools = actors::engine::tools(config.jurisdictions.clone(), &store, &material, clock).await?;
    let id = NoticeId(actors::register::new_id());
    let notice = Notice::test(id, &name, JurisdictionNo(0), now);
    let rows = vec![NoticeRow { channel: name, notice }];
    tools.writer.commit(Vec::new(), vec![Attachment::Notices(rows)]).await?;
    store.stop_writer(Duration::from_secs(10)).await;
    let row = ended(&store, id, Duration::from_secs(wait)).await?;
    let error = row.as_ref().and_then(|row| row.last_error.clone()).unwrap_or_default();
    match row.map(|row| row.state) {
        Some(NoticeState::Sent) => {
            say(&format!("{id} is sent"));
            return Ok(ExitCode::SUCCESS);
        }
        Some(NoticeState::Failed | NoticeState::Dropped) => complain(&format!("{id} cannot be sent: {error}")),
        _ if error.is_empty() => complain(&format!("{id} waits: no engine has tried it yet")),
        _ => complain(&format!("{id} waits and is tried again: {error}")),
    }
    Ok(ExitCode::FAILURE)
}

/// The row once it waits no more, or as it is when the time is over.
async fn ended(store: &Store, id: NoticeId, wait: Duration) -> anyhow::Result<Option<StoredNotice>> {
    let end = Instant::now() + wait;
    loop {
        let row = store.notice(id).await?.into_iter().next();
        let waits = row.as_ref().is_none_or(|row| row.state == NoticeState::Pending);
        if !waits || Instant::now() >= end {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
