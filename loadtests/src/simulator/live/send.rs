//! What the simulated parties do by themselves: push, drop files, ask the register.

use super::setup::{Client, Known};
use super::{Hub, wall};
use crate::simulator::ledger::date;
use crate::simulator::record::{Ask, Class};
use crate::simulator::scenario::{Delivery, FaultKind};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Records of one push at most: what the engine takes.
const PUSH_MAX: usize = 5_000;
/// Between two pushes of a source.
const PUSH_EVERY: Duration = Duration::from_secs(1);
/// The same of a slow operator, and after a push that was not taken.
const PUSH_SLOWLY: Duration = Duration::from_secs(10);
/// Between two files of a folder.
const FILE_EVERY: Duration = Duration::from_secs(2);
/// Records of one file at most.
const FILE_MAX: usize = 20_000;
/// Files that wait in a folder at most: an engine that is away shall not fill the disk.
const FILES_MAX: usize = 2_000;
/// Between two looks whether a day is over.
const DECLARE_EVERY: Duration = Duration::from_secs(30);
/// Questions at once.
const ASKS_AT_ONCE: usize = 16;

/// Where a sender is in what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    after: u64,
    /// It was cut off once during the fault under way, and sends the whole now.
    was_cut: bool,
}

/// What an operator sends of a batch under a fault.
#[derive(Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    Whole,
    Half,
}

fn sending(fault: Option<FaultKind>, position: Position) -> Sending {
    match fault {
        Some(FaultKind::Silence | FaultKind::Error500) => Sending::Nothing,
        Some(FaultKind::Truncated) if !position.was_cut => Sending::Half,
        _ => Sending::Whole,
    }
}

/// Pushes what there is of a source, once; whether it was taken.
///
/// # Errors
/// The engine did not answer.
pub async fn push(
    hub: &Hub,
    client: &Client,
    bearer: &str,
    source: &str,
    operator: usize,
    class: Class,
    position: &mut Position,
) -> anyhow::Result<bool> {
    let code = &hub.scenario().operators[operator].code;
    let fault = hub.fault(code).map(|fault| fault.kind);
    let page = hub.page(operator, class, position.after, PUSH_MAX);
    let sending = sending(fault, *position);
    if page.lines.is_empty() || sending == Sending::Nothing {
        return Ok(true);
    }
    let mut body = page.lines.join("\n");
    if sending == Sending::Half {
        body.truncate(body.floor_char_boundary(body.len() / 2));
    }
    let path = format!("/api/v1/feeds/{source}/records");
    let (status, answer) = client.send(&path, bearer, "application/x-ndjson", body).await?;
    let is_taken = (200..300).contains(&status);
    if is_taken {
        let refused = answer["quarantined"].as_array().map_or(0, Vec::len) as u64;
        hub.count(|counts| {
            counts.pushed += answer["accepted"].as_u64().unwrap_or(0);
            counts.refused += refused;
        });
        // what was cut off comes again, whole
        let is_whole = sending == Sending::Whole;
        *position = Position { after: if is_whole { page.next } else { position.after }, was_cut: !is_whole };
    }
    Ok(is_taken)
}

/// Pushes for an operator as long as it is polled.
pub async fn pushing(hub: Arc<Hub>, client: Client, known: Known, operator: usize) {
    let code = hub.scenario().operators[operator].code.clone();
    let mut positions: BTreeMap<Class, Position> = BTreeMap::new();
    loop {
        let mut is_taken = true;
        for (class, source) in &known.pushes {
            let position = positions.entry(*class).or_default();
            let pushed = push(&hub, &client, &known.bearer, source, operator, *class, position).await;
            // an operator that was suspended, a key that was revoked, an engine that restarts: it is tried again
            is_taken &= pushed.unwrap_or(false);
        }
        let is_slow = hub.fault(&code).is_some_and(|fault| fault.kind == FaultKind::Slow);
        tokio::time::sleep(if is_slow || !is_taken { PUSH_SLOWLY } else { PUSH_EVERY }).await;
    }
}

/// Files of one folder.
pub struct Dropper {
    folder: PathBuf,
    operator: usize,
    class: Class,
    started: i64,
    files: u64,
    position: Position,
}

impl Dropper {
    /// Of every folder of the scenario below a root.
    pub fn all(hub: &Hub, root: &Path) -> Vec<Self> {
        let operators = hub.scenario().operators.iter().enumerate();
        let dropping = operators.filter(|(_, operator)| operator.delivery == Delivery::Folder);
        let classes = [Class::GamingTransactions, Class::PlayerAccounts];
        let dropper = |(no, code): (usize, &str), class: Class| Self {
            folder: root.join(code).join(class.as_str()),
            operator: no,
            class,
            started: wall().seconds(),
            files: 0,
            position: Position::default(),
        };
        dropping.flat_map(|(no, o)| classes.map(|class| dropper((no, &o.code), class))).collect()
    }

    /// Drops a file of what there is, once.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn drop_file(&mut self, hub: &Hub) -> std::io::Result<()> {
        let code = &hub.scenario().operators[self.operator].code;
        let fault = hub.fault(code).map(|fault| fault.kind);
        let page = hub.page(self.operator, self.class, self.position.after, FILE_MAX);
        let sending = sending(fault, self.position);
        if page.lines.is_empty() || sending == Sending::Nothing {
            return Ok(());
        }
        if std::fs::read_dir(&self.folder)?.take(FILES_MAX).count() >= FILES_MAX {
            return Ok(());
        }
        let mut body = page.lines.join("\n") + "\n";
        if sending == Sending::Half {
            body.truncate(body.floor_char_boundary(body.len() / 2));
        }
        self.files += 1;
        // names sort in the order of files, also behind those of an earlier run
        let name = format!("{:010}-{:08}.ndjson", self.started, self.files);
        std::fs::write(self.folder.join(&name), body)?;
        std::fs::write(self.folder.join(name + ".done"), "")?;
        hub.count(|counts| counts.files += 1);
        let is_whole = sending == Sending::Whole;
        let after = if is_whole { page.next } else { self.position.after };
        self.position = Position { after, was_cut: !is_whole };
        Ok(())
    }
}

/// Drops files as long as it is polled; ends where a folder cannot be written to.
///
/// # Errors
/// The folder cannot be written to.
pub async fn dropping(hub: Arc<Hub>, mut droppers: Vec<Dropper>) -> std::io::Result<()> {
    loop {
        for dropper in &mut droppers {
            let is_slow = hub
                .fault(&hub.scenario().operators[dropper.operator].code)
                .is_some_and(|fault| fault.kind == FaultKind::Slow);
            // one that is slow leaves out four files of five
            if !is_slow || wall().seconds() % 10 < 2 {
                dropper.drop_file(&hub)?;
            }
        }
        tokio::time::sleep(FILE_EVERY).await;
    }
}

/// Days that were declared already, or that the engine does not want.
type Declared = BTreeSet<(usize, Class, String)>;

/// Declares the days that are over, once each.
///
/// # Errors
/// The truth cannot be written.
async fn declare(hub: &Hub, client: &Client, known: &[Known], declared: &mut Declared) -> std::io::Result<()> {
    let today = date(hub.now());
    for (no, known) in known.iter().enumerate() {
        let code = &hub.scenario().operators[no].code;
        if hub.fault(code).is_some() {
            continue;
        }
        for totals in hub.totals(no, Some(&today))? {
            let source = known.own.iter().find(|(class, _)| *class == totals.class);
            let key = (no, totals.class, totals.day.clone());
            let Some((_, source)) = source.filter(|_| !declared.contains(&key) && !totals.totals.is_empty()) else {
                continue;
            };
            let body = json!({"day": totals.day, "time_zone": totals.time_zone, "totals": totals.totals}).to_string();
            let path = format!("/api/v1/feeds/{source}/declarations");
            let answer = client.send(&path, &known.bearer, "application/json", body).await;
            // an engine that takes no declarations takes none of another day either; anything else is tried again
            if matches!(answer, Ok((200..300 | 404 | 405, _))) {
                declared.insert(key);
            }
        }
    }
    Ok(())
}

/// Declares days as long as it is polled.
///
/// # Errors
/// The truth cannot be written.
pub async fn declaring(hub: Arc<Hub>, client: Client, known: Vec<Known>) -> std::io::Result<()> {
    let mut declared = Declared::new();
    loop {
        declare(&hub, &client, &known, &mut declared).await?;
        tokio::time::sleep(DECLARE_EVERY).await;
    }
}

async fn ask(client: &Client, bearers: &BTreeMap<String, String>, ask: &Ask) -> Option<&'static str> {
    let Some(bearer) = bearers.get(&ask.operator) else { return Some("no_key") };
    let body: Value = json!({"phone": ask.phone, "purpose": ask.purpose});
    match client.send("/api/v1/operators/lookup", bearer, "application/json", body.to_string()).await {
        Ok((200, _)) => None,
        Ok(_) => Some("refused"),
        Err(_) => Some("no_answer"),
    }
}

/// Asks the register as long as it is polled.
///
/// # Errors
/// The truth cannot be written.
pub async fn asking(hub: Arc<Hub>, client: Client, bearers: BTreeMap<String, String>) -> std::io::Result<()> {
    loop {
        let asks = hub.take_asks(ASKS_AT_ONCE);
        let is_idle = asks.is_empty();
        let answers = join_all(asks.iter().map(|one| ask(&client, &bearers, one))).await;
        for (one, answer) in asks.iter().zip(answers) {
            match answer {
                None => hub.count(|counts| counts.asked += 1),
                Some(why) => hub.not_asked(one, why)?,
            }
        }
        if is_idle {
            tokio::time::sleep(super::TURN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_decides_what_is_sent() {
        let (fresh, cut) = (Position::default(), Position { after: 0, was_cut: true });
        let table = [
            (None, fresh, Sending::Whole),
            (Some(FaultKind::Slow), fresh, Sending::Whole),
            (Some(FaultKind::ClockSkew), fresh, Sending::Whole),
            (Some(FaultKind::Silence), fresh, Sending::Nothing),
            (Some(FaultKind::Error500), fresh, Sending::Nothing),
            (Some(FaultKind::Truncated), fresh, Sending::Half),
            (Some(FaultKind::Truncated), cut, Sending::Whole),
        ];
        for (fault, position, expected) in table {
            assert_eq!(sending(fault, position), expected, "{fault:?} {position:?}");
        }
    }
}
