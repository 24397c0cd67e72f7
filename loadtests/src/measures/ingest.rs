//! Durable records a second over HTTP: parsed, resolved, deduplicated, stored, counted in windows and judged.

use crate::Effort;
use crate::crowd::metric;
use crate::driver::together;
use crate::measures::live::{HISTORY_RECORDS, history};
use crate::measures::scoring;
use crate::node::{Feed, Node, StoreKind};
use crate::report::{Report, median, say};
use crate::socket::Screen;
use crate::traffic::{Chance, Stream, now, players};
use crate::wire::Connection;
use anyhow::Context;
use models::ts::{HOUR, SECOND, Ts};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Players over all operators.
const PLAYERS: u64 = 100_000;

/// A market that is measured.
struct Market {
    name: &'static str,
    kind: StoreKind,
    /// Records a second to reach.
    goal: u32,
    /// Operators that push at the same time, one push each under way.
    operators: u64,
    /// Records of a push.
    batch: usize,
    /// Records stored before anything is measured.
    preload: u64,
    /// Is a round over only when the rules of operators and of the nation have heard its last record, too?
    rules: bool,
}

/// Records that rules have heard, of operators and of the nation.
const HEARD: [&str; 2] =
    [r#"mlinzi_rule_records_judged_total{of="operator"}"#, r#"mlinzi_rule_records_judged_total{of="nation"}"#];
/// Models that the brake has taken back where the operators are.
const MODEL_BRAKES: &str = r#"mlinzi_model_brakes_total{jurisdiction="KE"}"#;
/// Records that the promoted model has scored.
const SCORED: &str = r#"mlinzi_model_scored_total{kind="transaction_risk"}"#;
/// What must have been scored of what was measured: less means that scoring stopped on the way.
const SCORED_SHARE_MIN: f64 = 0.99;
/// Scores are stored behind the rules: so long they may lag at the end.
const SCORES_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(200);

/// Both stores, a few operators with large pushes.
pub async fn throughput(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let market = |name, kind, goal| Market {
        name,
        kind,
        goal,
        operators: 8,
        batch: 5_000,
        preload: effort.pick(500_000, 5_000_000, 20_000_000),
        rules: false,
    };
    measured(effort, &market("ingest_embedded_per_s", StoreKind::Embedded, 80_000), report).await?;
    measured(effort, &market("ingest_postgres_per_s", StoreKind::Postgres, 50_000), report).await
}

/// A whole country on PostgreSQL: a hundred operators with smaller pushes, and more rows than memory likes.
pub async fn a_hundred_operators(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let market = Market {
        name: "ingest_postgres_100op_per_s",
        kind: StoreKind::Postgres,
        goal: 50_000,
        operators: 100,
        batch: 1_000,
        preload: effort.pick(500_000, 20_000_000, 50_000_000),
        rules: false,
    };
    measured(effort, &market, report).await
}

/// The same country with everything on: a round lasts until every rule has heard its last record.
pub async fn everything_on(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let market = Market {
        name: "ingest_full_per_s",
        kind: StoreKind::Postgres,
        goal: 35_000,
        operators: 100,
        batch: 1_000,
        preload: effort.pick(500_000, 5_000_000, 20_000_000),
        rules: true,
    };
    measured(effort, &market, report).await
}

async fn measured(effort: Effort, market: &Market, report: &mut Report) -> anyhow::Result<()> {
    let Market { name, kind, goal, operators, batch, preload, rules } = *market;
    let rounds = effort.pick(2, 5, 7);
    let measured = effort.pick(200_000u64, 800_000, 2_000_000);
    let node = Node::fresh(kind, &[]).await?;
    let mut chance = Chance(11);
    let mut feeds = Vec::new();
    let mut record_bytes = 0.0;
    for n in 0..operators {
        let feed = node.feed(&format!("operator-{n}"), "wall", 7).await?;
        let players = players(&node, &feed, n * PLAYERS / operators, PLAYERS / operators).await?;
        // without minutes to compare with the detector has nothing to say, and nothing to do
        history(&node, &feed, &mut chance, &players).await?;
        let stream = Stream::new(&mut chance, &players, 4, batch, 10_000);
        record_bytes = stream.record_bytes();
        feeds.push(Rc::new((feed, RefCell::new(stream))));
    }
    anyhow::ensure!(record_bytes >= 450.0, "records of {record_bytes} bytes are shorter than promised");
    if rules {
        scoring::promote(&node)?;
    }
    let mut counted = counted(Screen::open(&node, &["national".to_owned()]).await?);
    let started = now();
    let rate = push_all(&node, &feeds, &mut counted, market, preload).await?;
    say(&format!("  {}: {preload} rows stored at {rate:.0}/s, {record_bytes:.0} bytes a record", kind.name()));
    let mut scoring = if rules { Some(Watched::begin(&node).await?) } else { None };
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let cpu = node.cpu()?;
        let rate = push_all(&node, &feeds, &mut counted, market, measured).await?;
        let cpu = (node.cpu()? - cpu).as_secs_f64() * 1e6 / measured as f64;
        say(&format!("  {}: {rate:.0}/s, {cpu:.1} µs of the engine's processor time a record", kind.name()));
        rates.push(rate);
        if let Some(scoring) = &mut scoring {
            scoring.still_scores(&node).await?;
        }
    }
    let ended = now();
    for feed in &feeds {
        let expected = HISTORY_RECORDS as u64 + feed.1.borrow().written();
        let found = selectable(&node, &feed.0, started.plus(-HOUR), ended.plus(SECOND)).await?;
        anyhow::ensure!(found == expected, "{found} of {expected} records can be selected");
    }
    let reference = format!(
        "≥ {goal}; {}, batches of {batch} from {operators} operators, {record_bytes:.0} bytes a record, {PLAYERS} players half by phone, {preload} rows stored before, median of {rounds} rounds of {measured}, each round until {} its last record, every row selected by operator and time afterwards",
        kind.name(),
        if rules { "windows hold and all rules, with both models promoted, have heard" } else { "the windows hold" }
    );
    let reference = match &scoring {
        Some(scoring) => {
            let share = scoring.share(&node, rounds as u64 * measured).await?;
            format!("{reference}; {:.0} % of them scored and stored so", share * 100.0)
        }
        None => reference,
    };
    report.add(name, median(&rates), "1/s", &reference)
}

/// Whether the promoted model goes on scoring. It has no shadow's days behind it, so that its promotion expects what the
/// product expects where nothing is known, and the brake may take it back: a run without it would be another measure.
struct Watched {
    /// Scored before anything was measured.
    before: f64,
    /// Scored when it was looked at last.
    seen: f64,
}

impl Watched {
    /// From the first score on: the model is at work.
    async fn begin(node: &Node) -> anyhow::Result<Self> {
        let start = Instant::now();
        while metric(node, SCORED).await? < 0.5 {
            anyhow::ensure!(start.elapsed() < SCORES_WITHIN, "no record is scored: the promoted model is not at work");
            tokio::time::sleep(LOOK).await;
        }
        let before = metric(node, SCORED).await?;
        Ok(Self { before, seen: before })
    }

    /// Fails by name where scoring stopped in the round that is over.
    async fn still_scores(&mut self, node: &Node) -> anyhow::Result<()> {
        anyhow::ensure!(
            metric(node, MODEL_BRAKES).await? < 0.5,
            "the brake has taken a model back: not everything was on"
        );
        let scored = metric(node, SCORED).await?;
        anyhow::ensure!(scored > self.seen, "nothing was scored in a round: scoring stopped after {scored:.0} records");
        self.seen = scored;
        Ok(())
    }

    /// The share of so many measured records that was scored, once the last scores are stored.
    async fn share(&self, node: &Node, records: u64) -> anyhow::Result<f64> {
        let start = Instant::now();
        loop {
            let scored = metric(node, SCORED).await? - self.before;
            let share = scored / records as f64;
            if share >= SCORED_SHARE_MIN {
                return Ok(share);
            }
            anyhow::ensure!(
                start.elapsed() < SCORES_WITHIN,
                "scoring stopped: {scored:.0} of {records} measured records are scored"
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Pushes records from all operators at once; gives records a second, until the last of them is stored *and* counted in
/// windows and judged, as the screen shows: what is merely queued does not count.
async fn push_all(
    node: &Node,
    feeds: &[Rc<(Feed, RefCell<Stream>)>],
    counted: &mut watch::Receiver<u64>,
    market: &Market,
    records: u64,
) -> anyhow::Result<f64> {
    let batch = market.batch;
    let left = Rc::new(Cell::new(records / batch as u64));
    let start = Instant::now();
    let pushes = feeds.iter().map(|feed| {
        let (feed, left, address) = (Rc::clone(feed), Rc::clone(&left), node.address);
        async move {
            let mut connection = Connection::open(address).await?;
            let (head, mut body, mut stored) = (feed.0.push(), Vec::new(), 0);
            while left.get() > 0 {
                left.set(left.get() - 1);
                feed.1.borrow_mut().next(now().plus(-SECOND), SECOND, &mut body);
                let answer = connection.must(&head, &body).await?;
                let accepted = answer["accepted"].as_u64().context("accepted")?;
                anyhow::ensure!(accepted == batch as u64, "not everything was accepted: {answer}");
                stored += accepted;
            }
            Ok::<_, anyhow::Error>(stored)
        }
    });
    let stored: anyhow::Result<Vec<u64>> = together(pushes.collect::<Vec<_>>()).await.into_iter().collect();
    let stored: u64 = stored.with_context(|| node.log())?.into_iter().sum();
    let all: u64 = feeds.iter().map(|feed| HISTORY_RECORDS as u64 + feed.1.borrow().written()).sum();
    counted.wait_for(|counted| *counted >= all).await.context("the screen went dark")?;
    for heard in HEARD.into_iter().filter(|_| market.rules) {
        while metric(node, heard).await? < all as f64 {
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(stored as f64 / start.elapsed().as_secs_f64())
}

/// What a screen shows as counted; it is read all the time, or its connection would be closed.
fn counted(mut screen: Screen) -> watch::Receiver<u64> {
    let (told, heard) = watch::channel(0);
    tokio::task::spawn_local(async move {
        // whoever waits hears of the end by the closed channel
        while let Ok((_, frame)) = screen.next::<Value>().await {
            let records = frame["data"]["currencies"][0]["records"].as_u64();
            if let Some(records) = records.filter(|_| frame["topic"] == "national")
                && told.send(records).is_err()
            {
                return;
            }
        }
    });
    heard
}

/// Records of an operator in a span of time, counted in the store itself.
async fn selectable(node: &Node, feed: &Feed, from: Ts, to: Ts) -> anyhow::Result<u64> {
    let operator = node.get(&format!("/api/v1/operators/{}", feed.operator)).await?;
    let code = operator["code"].as_str().context("a code")?.to_owned();
    let store = store::Store::open(&node.store, &store::OpenOptions::default()).await?;
    let operators = store.operators().await?;
    let operator = operators.iter().find(|o| o.code == code).context("the operator")?;
    Ok(store.count_between(operator.operator_no, from, to).await?)
}
