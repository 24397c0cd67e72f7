//! A world that runs by the clock: it answers who asks, pushes, drops files, asks the register, and breaks when told to.
//!
//! ```text
//! every 250 ms: world ─▶ faults ─▶ logs of (operator, class) ─┬▶ http.rs: pages for whoever asks
//!                    └▶ truth.ndjson                          ├▶ send.rs: pushes, files
//!                    └▶ questions ─▶ send.rs                  └▶ (each reader has a position of its own)
//! ```

pub mod http;
pub mod send;
pub mod setup;
#[cfg(test)]
mod tests;

use super::faults::{Fault, FaultError, Faults};
use super::record::{Ask, Class, Sent};
use super::sales;
use super::scenario::{FaultKind, Scenario};
use super::totals::{Declared, Totals};
use super::truth::{RecordRef, Truth, TruthFile, Witness};
use super::world::{Output, World};
use models::ts::Ts;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the world is taken forward.
pub const TURN: Duration = Duration::from_millis(250);
/// Records of an operator and class that are kept for whoever asks; older ones are gone.
const LOG_MAX: usize = 50_000;
/// Questions that may wait; the oldest is given up.
const ASKS_MAX: usize = 5_000;

/// Time in the world: real time from a moment on, faster where somebody wants that, and never ahead of the real one.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    from: Ts,
    started: Instant,
    speed: f64,
}

impl VirtualClock {
    /// Begins now at `from`.
    pub fn new(from: Ts, speed: f64) -> Self {
        Self { from, started: Instant::now(), speed }
    }

    /// Now.
    pub fn now(&self) -> Ts {
        let elapsed = self.started.elapsed().as_secs_f64() * self.speed;
        self.from.plus((elapsed * 1e6) as i64).min(wall())
    }
}

/// Now, by the system's clock.
pub fn wall() -> Ts {
    Ts(jiff::Timestamp::now().as_microsecond())
}

/// What an operator, or an authority about it, has said so far.
#[derive(Debug, Default)]
struct Log {
    /// Position of the first line that is kept.
    first: u64,
    lines: VecDeque<(Ts, Arc<str>)>,
}

impl Log {
    /// Takes a line in, and keeps at most so many.
    fn push(&mut self, at: Ts, line: Arc<str>, max: usize) {
        if self.lines.len() >= max {
            self.lines.pop_front();
            self.first += 1;
        }
        self.lines.push_back((at, line));
    }

    /// At most so many lines behind a position.
    fn page(&self, after: u64, max: usize) -> Page {
        let end = self.first + self.lines.len() as u64;
        let start = after.clamp(self.first, end);
        let skip = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        let lines: Vec<Arc<str>> = self.lines.iter().skip(skip).take(max).map(|(_, line)| Arc::clone(line)).collect();
        Page { next: start + lines.len() as u64, lines, lost: self.first.saturating_sub(after) }
    }
}

/// A part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Lines of JSON (of sales: rows).
    pub lines: Vec<Arc<str>>,
    /// Position behind them.
    pub next: u64,
    /// Lines before them that are gone.
    pub lost: u64,
}

/// What went out so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Records that came to be.
    pub records: u64,
    /// Records that were pushed and taken.
    pub pushed: u64,
    /// Of these, records that the engine refused.
    pub refused: u64,
    /// Files that were dropped.
    pub files: u64,
    /// Questions that were answered.
    pub asked: u64,
    /// Questions that were not.
    pub not_asked: u64,
}

struct Inner {
    world: World,
    faults: Faults,
    totals: Totals,
    truth: TruthFile,
    logs: BTreeMap<(usize, Class), Log>,
    asks: VecDeque<Ask>,
    counts: Counts,
    spoiled_totals: BTreeSet<u32>,
}

/// The running simulator, shared by all who speak for it.
pub struct Hub {
    scenario: Arc<Scenario>,
    tag: String,
    clock: VirtualClock,
    inner: Mutex<Inner>,
}

impl Hub {
    /// Of a world that nothing was heard of yet.
    pub fn new(world: World, clock: VirtualClock, truth: TruthFile) -> Self {
        let (scenario, tag) = (Arc::clone(world.scenario()), world.tag().to_owned());
        let faults = Faults::planned(&scenario, world.origin());
        let inner = Inner {
            world,
            faults,
            totals: Totals::default(),
            truth,
            logs: BTreeMap::new(),
            asks: VecDeque::new(),
            counts: Counts::default(),
            spoiled_totals: BTreeSet::new(),
        };
        Self { scenario, tag, clock, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // whoever panicked with it in hand has left a whole line or none
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What ids of its world begin with.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Now, in the world.
    pub fn now(&self) -> Ts {
        self.clock.now()
    }

    /// Takes the world forward to now.
    ///
    /// # Errors
    /// The truth cannot be written: without it, nothing is worth being said.
    pub fn turn(&self) -> std::io::Result<()> {
        let now = self.now();
        let mut inner = self.lock();
        let outputs = inner.world.advance(now);
        let origin = inner.world.origin();
        for output in outputs {
            match output {
                Output::Truth(line) => inner.truth.write(&line)?,
                Output::Record(sent) => inner.record(*sent, &self.scenario)?,
                Output::Ask(ask) if ask.at < origin => inner.not_asked(&ask, "before_the_run")?,
                Output::Ask(ask) => {
                    if inner.asks.len() >= ASKS_MAX
                        && let Some(oldest) = inner.asks.pop_front()
                    {
                        inner.not_asked(&oldest, "too_many_waited")?;
                    }
                    inner.asks.push_back(ask);
                }
            }
        }
        Ok(())
    }

    /// At most so many lines behind a position.
    pub fn page(&self, operator: usize, class: Class, after: u64, max: usize) -> Page {
        let inner = self.lock();
        let nothing = Page { next: after, ..Page::default() };
        inner.logs.get(&(operator, class)).map_or(nothing, |log| log.page(after, max))
    }

    /// Lines that came to be since a time, oldest first.
    pub fn since(&self, operator: usize, class: Class, since: Ts) -> Vec<Arc<str>> {
        let inner = self.lock();
        let Some(log) = inner.logs.get(&(operator, class)) else { return Vec::new() };
        let young = log.lines.iter().skip_while(|(at, _)| *at < since);
        young.map(|(_, line)| Arc::clone(line)).collect()
    }

    /// What an operator declares of its days, but for those from a day on.
    ///
    /// # Errors
    /// The truth cannot be written.
    pub fn totals(&self, operator: usize, until: Option<&str>) -> std::io::Result<Vec<Declared>> {
        let now = self.now();
        let mut inner = self.lock();
        let company = &self.scenario.operators[operator];
        let fault = inner.faults.of_totals(&company.code, now).map(|fault| fault.fault);
        let mut declared = inner.totals.declared(operator, company, fault.is_some());
        declared.retain(|totals| until.is_none_or(|until| totals.day.as_str() < until));
        // told once a fault, not with every answer
        if let Some(fault) = fault
            && !declared.is_empty()
            && inner.spoiled_totals.insert(fault)
        {
            for totals in &declared {
                let id = format!("totals:{}", totals.day);
                let record = RecordRef { operator: company.code.clone(), class: totals.class, id };
                inner.truth.write(&Truth::Spoiled { fault, at: now, record })?;
            }
        }
        Ok(declared)
    }

    /// What breaks on the way to or from somebody now.
    pub fn fault(&self, target: &str) -> Option<Fault> {
        self.lock().faults.on_the_way(target, self.now()).cloned()
    }

    /// Every fault so far.
    pub fn faults(&self) -> Vec<Fault> {
        self.lock().faults.all().to_vec()
    }

    /// Orders a fault from now on, and tells the truth of it.
    ///
    /// # Errors
    /// [`FaultError`]; the inner one: the truth cannot be written.
    pub fn order(&self, target: &str, kind: FaultKind, seconds: u32) -> Result<std::io::Result<Fault>, FaultError> {
        let now = self.now();
        let mut inner = self.lock();
        let fault = inner.faults.order(target, kind, now, seconds)?;
        Ok(inner.truth.write(&fault.truth()).map(|()| fault))
    }

    /// Questions to be asked now, at most so many.
    pub fn take_asks(&self, max: usize) -> Vec<Ask> {
        let mut inner = self.lock();
        let count = inner.asks.len().min(max);
        inner.asks.drain(..count).collect()
    }

    /// A question had no answer.
    ///
    /// # Errors
    /// The truth cannot be written.
    pub fn not_asked(&self, ask: &Ask, why: &'static str) -> std::io::Result<()> {
        self.lock().not_asked(ask, why)
    }

    /// Counts what went out.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    /// What went out so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The last line of the truth.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(&self) -> std::io::Result<()> {
        let at = self.now();
        let mut inner = self.lock();
        let records = inner.counts.records;
        inner.truth.write(&Truth::End { at, records })
    }
}

impl Inner {
    fn record(&mut self, mut sent: Sent, scenario: &Scenario) -> std::io::Result<()> {
        let operator = &scenario.operators[sent.operator];
        self.totals.take(&sent);
        if let Some(fault) = self.faults.spoil(&mut sent) {
            let record = RecordRef::of(&operator.code, sent.class, &sent.record);
            self.truth.write(&Truth::Spoiled { fault, at: sent.at, record })?;
        }
        self.counts.records += 1;
        let line = match sent.class {
            Class::SalesRedemptions => sales::row(&sent, operator),
            _ => sent.record.json(),
        };
        let log = self.logs.entry((sent.operator, sent.class)).or_default();
        log.push(sent.at, line.into(), LOG_MAX);
        Ok(())
    }

    fn not_asked(&mut self, ask: &Ask, why: &'static str) -> std::io::Result<()> {
        self.counts.not_asked += 1;
        let (operator, before) = (ask.operator.clone(), ask.before.clone());
        self.truth.write(&Truth::NotAsked { operator, at: ask.at, before, why })
    }
}
