//! `mlinzi feed push`: streams a mapped file through the push endpoint of a running engine, as any operator would.
//!
//! Every row of the file ends in one of the printed columns; the command fails where a row was not stored.

mod chain;

use crate::say;
use anyhow::Context;
use chain::{Chain, Chains, Marked};
use engine::mapping::{MappedRecord, Mapping, SourceDefaults};
use models::record::RecordKind;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Answers that speak of what was sent, or of where its chain stands: with them a push is over.
const SETTLES: [StatusCode; 5] = [
    StatusCode::BAD_REQUEST,
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Tries of one request that is answered 429 or 503.
const TRIES_MAX: u32 = 60;
/// Seconds waited between two tries at most, whatever the engine asks for.
const WAIT_SECONDS_MAX: u64 = 10;

/// A file and where it goes.
#[derive(clap::Args)]
pub struct FeedPush {
    /// What the file's rows mean (TOML, see config/feeds/).
    #[arg(long)]
    mapping: PathBuf,
    /// The file.
    file: PathBuf,
    /// A running engine.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A staff key with operators:manage, feeds:manage and feeds:write.
    #[arg(long, env = "MLINZI_KEY", hide_env_values = true)]
    key: String,
    /// Records in one push (1 to 5000).
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    batch: u32,
    /// Records a second; 0 = as fast as the engine takes them.
    #[arg(long, default_value_t = 0)]
    speed: u32,
    /// The key's signing secret (base64, in a file): pushes carry tamper tokens and numbers. Where their chains stand lies
    /// in FILE.chains beside it.
    #[arg(long, value_name = "FILE")]
    tamper_key: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Default, serde::Serialize)]
struct Tally {
    sent: u64,
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    quarantined: u64,
    stakes_minor: i64,
    payouts_minor: i64,
}

struct Engine {
    client: Client,
    url: String,
    key: String,
}

/// Runs the command.
pub async fn run(args: FeedPush) -> anyhow::Result<()> {
    let named = |path: &PathBuf| path.display().to_string();
    let text = std::fs::read_to_string(&args.mapping).with_context(|| named(&args.mapping))?;
    let mapping = Mapping::from_toml(&text).with_context(|| named(&args.mapping))?;
    let file = std::fs::read(&args.file).with_context(|| named(&args.file))?;
    let mapped = mapping.read(&file).with_context(|| named(&args.file))?;
    let engine = Engine { client: Client::new(), url: args.url.trim_end_matches('/').to_owned(), key: args.key };
    let chains = args.tamper_key.as_deref().map(Chains::open).transpose()?;
    let mut resent = 0;

    let names: BTreeMap<&str, &str> = mapping.operators().into_iter().collect();
    let mut by_operator: BTreeMap<&str, Vec<&MappedRecord>> = BTreeMap::new();
    for record in &mapped.records {
        by_operator.entry(&record.operator).or_default().push(record);
    }
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for (code, records) in &by_operator {
        let operator = engine.operator(code, names.get(code).unwrap_or(code)).await?;
        let source = engine.source(&operator, mapping.source()).await?;
        let tally = tallies.entry(code).or_default();
        let mut chain = chains.as_ref().map(|chains| chains.of(&source)).transpose()?;
        if let Some(chain) = &mut chain
            && let Some(unanswered) = chain.unanswered()?
        {
            engine.push_marked(&source, chain, unanswered).await?;
            resent += 1;
        }
        for batch in records.chunks(args.batch as usize) {
            engine.push(&source, batch, chain.as_mut(), tally).await?;
            if args.speed > 0 {
                tokio::time::sleep(Duration::from_secs_f64(batch.len() as f64 / f64::from(args.speed))).await;
            }
        }
    }

    let refused = mapped.refusals.len() as u64;
    if args.json {
        let (rows, skipped) = (mapped.rows, mapped.skipped);
        let said = json!({"rows": rows, "rows_skipped": skipped, "rows_refused": refused, "operators": tallies, "resent": resent});
        say(&said.to_string());
    } else {
        table(&tallies);
        if resent > 0 {
            say(&format!("{resent} pushes of an earlier run, of which it heard no answer, were sent again first"));
        }
        let (rows, skipped) = (mapped.rows, mapped.skipped);
        say(&format!("{rows} rows read, {refused} of them refused by the mapping, {skipped} skipped by it"));
        for refusal in mapped.refusals.iter().take(20) {
            say(&format!("  row {}: {} ({})", refusal.index + 1, refusal.detail, refusal.code.as_str()));
        }
    }
    let quarantined: u64 = tallies.values().map(|t| t.quarantined).sum();
    let unaccounted = tallies.values().any(|t| t.accepted + t.duplicates + t.quarantined != t.sent);
    anyhow::ensure!(refused + quarantined == 0, "{refused} rows refused, {quarantined} records quarantined");
    anyhow::ensure!(!unaccounted, "the engine's counts do not add up to what was sent");
    Ok(())
}

fn table(tallies: &BTreeMap<&str, Tally>) {
    say(&format!(
        "{:<20} {:>9} {:>9} {:>10} {:>9} {:>11} {:>18} {:>18}",
        "operator", "sent", "accepted", "duplicates", "conflicts", "quarantined", "stakes (minor)", "payouts (minor)"
    ));
    for (code, t) in tallies {
        say(&format!(
            "{code:<20} {:>9} {:>9} {:>10} {:>9} {:>11} {:>18} {:>18}",
            t.sent, t.accepted, t.duplicates, t.conflicts, t.quarantined, t.stakes_minor, t.payouts_minor
        ));
    }
}

impl Engine {
    /// Sends until the engine takes or refuses it.
    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Value)> {
        for _ in 0..TRIES_MAX {
            let request = request.try_clone().ok_or_else(|| anyhow::anyhow!("a request cannot be repeated"))?;
            let answer = request.bearer_auth(&self.key).send().await?;
            let status = answer.status();
            if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
                let body = answer.bytes().await?;
                return Ok((status, serde_json::from_slice(&body)?));
            }
            let asked = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(asked.clamp(1, WAIT_SECONDS_MAX))).await;
        }
        anyhow::bail!("the engine is overloaded or not available")
    }

    async fn must(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let (status, body) = self.send(request).await?;
        anyhow::ensure!(status.is_success(), "{}", explain(status, &body));
        Ok(body)
    }

    /// The operator's id: found, or put under supervision.
    async fn operator(&self, code: &str, name: &str) -> anyhow::Result<String> {
        let new = json!({"code": code, "name": name});
        let request = self.client.post(format!("{}/api/v1/operators/register", self.url)).json(&new);
        let (status, body) = self.send(request).await?;
        if status.is_success() {
            return text(&body, "id");
        }
        anyhow::ensure!(status == StatusCode::CONFLICT, "operator {code}: {}", explain(status, &body));
        let url = format!("{}/api/v1/operators", self.url);
        let known = self.must(self.client.get(url).query(&[("code", code)])).await?;
        text(&known["items"][0], "id")
    }

    /// The source's id: found by its name, or made.
    async fn source(&self, operator: &str, settings: &SourceDefaults) -> anyhow::Result<String> {
        let new = json!({
            "operator": operator, "name": settings.name, "kind": "push", "class": settings.class, "clock": settings.clock,
            "horizon_days": settings.horizon_days, "expected_interval_seconds": settings.expected_interval_seconds,
            "currency": settings.currency,
        });
        text(&self.must(self.client.post(format!("{}/api/v1/feeds", self.url)).json(&new)).await?, "id")
    }

    fn records(&self, source: &str, body: String) -> reqwest::RequestBuilder {
        let url = format!("{}/api/v1/feeds/{source}/records", self.url);
        self.client.post(url).header("content-type", "application/x-ndjson").body(body)
    }

    /// Sends a push with its token and number.
    async fn push_marked(&self, source: &str, chain: &mut Chain<'_>, push: Marked) -> anyhow::Result<Value> {
        let request =
            self.records(source, push.body).header("x-mlinzi-tamper-token", format!("v1={}", push.link.token));
        let (status, body) = self.send(request.header("x-mlinzi-batch", push.link.batch)).await?;
        // anything else says nothing of what became of an earlier attempt: a key that was revoked meanwhile least of all
        if status.is_success() || SETTLES.contains(&status) {
            chain.answered(push.link, status.is_success())?;
        }
        let hint = match status {
            StatusCode::CONFLICT => format!(
                "\nsomebody else pushes to the source, or where its chain stands was lost: let staff begin it anew (POST /api/v1/feeds/{source}/chain with next_batch 1), then remove {}",
                chain.stands().display()
            ),
            _ => String::new(),
        };
        anyhow::ensure!(status.is_success(), "{}{hint}", explain(status, &body));
        Ok(body)
    }

    async fn push(
        &self,
        source: &str,
        batch: &[&MappedRecord],
        chain: Option<&mut Chain<'_>>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let lines: Vec<&str> = batch.iter().map(|r| r.json.as_str()).collect();
        let body = lines.join("\n");
        let body = match chain {
            Some(chain) => {
                let push = chain.next(body)?;
                self.push_marked(source, chain, push).await?
            }
            None => self.must(self.records(source, body)).await?,
        };
        tally.sent += batch.len() as u64;
        tally.accepted += body["accepted"].as_u64().unwrap_or(0);
        tally.duplicates += body["duplicates"].as_u64().unwrap_or(0);
        tally.conflicts += body["conflicts"].as_u64().unwrap_or(0);
        tally.quarantined += body["quarantined"].as_array().map_or(0, Vec::len) as u64;
        for record in batch {
            match record.kind {
                RecordKind::Stake | RecordKind::TicketSale => tally.stakes_minor += record.amount_minor,
                RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => {
                    tally.payouts_minor += record.amount_minor;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a problem says, field by field.
fn explain(status: StatusCode, problem: &Value) -> String {
    let mut said = format!("{status}: {}", problem["detail"].as_str().unwrap_or("no detail"));
    for error in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        said.push_str(&format!("; {}: {}", part("pointer"), part("detail")));
    }
    said
}

fn text(body: &Value, field: &str) -> anyhow::Result<String> {
    body[field].as_str().map(ToOwned::to_owned).ok_or_else(|| anyhow::anyhow!("the answer has no {field}"))
}
