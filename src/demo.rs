//! `mlinzi demo`: the engine on a fresh embedded store with a small seeded market.
//!
//! Everything goes over HTTP with ordinary keys, as operators would do it; nothing here reaches into the engine but
//! the making of operators and keys.

use crate::{complain, config, keys, say, serve};
use actors::api::{IssuedKey, NewKey, NewOperator, NewSource};
use actors::engine::Engine;
use actors::live::Rights;
use models::feed::SourceClock;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::operator::{Operator, Scope};
use models::ts::{MINUTE, SECOND, Ts};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How the demo runs.
#[derive(clap::Args)]
pub struct Args {
    /// Port; another free one is taken where it is in use.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder for the store and keys; a new temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of the market.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Seconds to run; until a signal by default.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Operators of the market: code, name, stakes a second on average, minor units a stake on average.
const OPERATORS: [(&str, &str, u64, i64); 5] = [
    ("simba-bets", "Simba Bets", 3, 15_000),
    ("twiga-play", "Twiga Play", 2, 22_000),
    ("kifaru-odds", "Kifaru Odds", 2, 9_000),
    ("chui-casino", "Chui Casino", 2, 60_000),
    ("nyati-lotto", "Nyati Lotto", 2, 5_000),
];
/// Second at which Twiga Play's stakes jump, and for how long.
const SPIKE: (u64, u64) = (40, 25);
/// Second at which Chui Casino falls silent, and for how long.
const SILENCE: (u64, u64) = (90, 200);
/// Minutes of play pushed before the start, so that medians exist.
const HISTORY_MINUTES: i64 = 20;

struct Player<'a> {
    client: &'a reqwest::Client,
    base: &'a str,
}

/// SplitMix64 (Steele et al. 2014): enough chance for a demo, repeatable.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// The command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (dir, fresh) = match args.dir {
        Some(dir) => (dir, false),
        None => (std::env::temp_dir().join(format!("mlinzi-demo-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&dir)?;
    let key_file = dir.join("keys.toml");
    let overrides = [
        ("store.url", format!("sqlite:{}", dir.join("mlinzi.sqlite").display())),
        ("sandbox.store", format!("sqlite:{}", dir.join("sandbox.sqlite").display())),
        ("keys.file", key_file.display().to_string()),
        // whoever plays an operator or an authority in it does so on this machine
        ("feeds.allow_private_addresses", "true".to_owned()),
        ("log.level", "warn".to_owned()),
        ("log.format", "text".to_owned()),
    ];
    let config = config::load(None, &overrides)?;
    if !key_file.exists() {
        keys::init(&config.keys)?;
    }
    serve::start_logging(&config)?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    let base = format!("http://{}", listener.local_addr()?);
    let running = serve::start(&config).await?;
    let engine = running.engine.clone();
    let state = running.state.clone();

    let market = actix_rt::spawn(async move {
        if let Err(error) = play(engine, state, base, args.seed).await {
            complain(&format!("the simulated market stopped: {error:#}"));
        }
    });
    let ending = running.engine.clone();
    let end = async move {
        match args.seconds {
            Some(seconds) => tokio::select! {
                () = serve::ending(&ending) => {}
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            },
            None => serve::ending(&ending).await,
        }
        market.abort();
    };
    let ended = serve::serve(&config, running, listener, end).await?;
    if fresh {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(ended.code())
}

async fn key(
    engine: &Engine,
    operator: Option<OperatorNo>,
    label: &str,
    scopes: &[Scope],
) -> anyhow::Result<IssuedKey> {
    let new = NewKey {
        operator,
        jurisdiction: JurisdictionNo(0),
        label: label.to_owned(),
        scopes: scopes.to_vec(),
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 1_000,
        expires_at: None,
    };
    Ok(engine.create_key(new, None).await?)
}

async fn ready(engine: &Engine) {
    while !engine.readiness().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn operator(engine: &Engine, code: &str, name: &str) -> anyhow::Result<Operator> {
    let known = engine.directory().operator_by_code.get(code).copied();
    if let Some(known) = known.and_then(|no| engine.directory().operators.get(&no).cloned()) {
        return Ok(Operator::clone(&known));
    }
    let new = NewOperator { code: code.to_owned(), name: name.to_owned(), jurisdiction: JurisdictionNo(0) };
    Ok(engine.create_operator(new, None).await?)
}

async fn play(engine: Engine, state: web::AppState, base: String, seed: u64) -> anyhow::Result<()> {
    ready(&engine).await;
    let client = reqwest::Client::new();
    let player = Player { client: &client, base: &base };
    let staff = key(
        &engine,
        None,
        "demo staff",
        &[
            Scope::RegisterWrite,
            Scope::OperatorsManage,
            Scope::FeedsManage,
            Scope::MarketRead,
            Scope::AlertsManage,
            Scope::SystemRead,
            Scope::SystemManage,
        ],
    )
    .await?;
    let mut feeds = Vec::new();
    for (code, name, _, _) in OPERATORS {
        let operator = operator(&engine, code, name).await?;
        let operator_key =
            key(&engine, Some(operator.operator_no), "demo", &[Scope::Lookup, Scope::FeedsWrite]).await?;
        let source = engine
            .create_source(
                NewSource {
                    operator: operator.operator_no,
                    name: "play".to_owned(),
                    class: "gaming_transactions".to_owned(),
                    clock: SourceClock::Wall,
                    integrity: None,
                    horizon_days: 7,
                    expected_interval_seconds: 5,
                    currency: Currency::KES,
                    reader: None,
                    schedule: None,
                    mapping: None,
                },
                None,
            )
            .await?
            .source;
        feeds.push((operator_key, source.id.to_string()));
    }
    let mut chance = Chance(seed);
    for n in 0..12 {
        let body = json!({"phone": phone(n), "id_number": format!("{}", 20_000_000 + n), "period": if n % 3 == 0 { "1_year" } else { "6_months" }, "reason_class": "self", "channel": "web"});
        player.post("/api/v1/nser/register", &staff.bearer, &body).await?;
    }
    for ((_, _, rate, stake), (key, source)) in OPERATORS.into_iter().zip(&feeds) {
        let start = engine.now().floor_to(MINUTE).plus(-HISTORY_MINUTES * MINUTE);
        let mut lines = Vec::new();
        for minute in 0..HISTORY_MINUTES {
            for second in 0..60 {
                let at = start.plus(minute * MINUTE + second * SECOND);
                lines.extend(bets(
                    &mut chance,
                    at,
                    rate,
                    stake,
                    u64::from(minute as u32) * 100 + u64::from(second as u32),
                ));
            }
        }
        // one push: the wall clock closes every minute behind it, and a second push would only be late data
        lines.truncate(models::record::BATCH_RECORDS_MAX);
        player.push(source, &key.bearer, &lines).await?;
    }

    let link = state
        .one_time_link(Rights { market: true, system: true, operator: None, jurisdiction: JurisdictionNo(0) }, 3600);
    let (operator_key, _) = &feeds[0];
    say(&format!(
        "\nMlinzi is running with a simulated market.\n\n  watch it:      {base}/?t={link}   (works once)\n  documentation: {base}/docs\n\nAsk whether a person is excluded, first one who is, then one who is not:\n\n  curl -s {base}/api/v1/operators/lookup -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"phone\":\"{}\",\"purpose\":\"login\"}}'\n  curl -s {base}/api/v1/operators/lookup -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"phone\":\"0733000001\",\"purpose\":\"login\"}}'\n\nExclude somebody, read alerts, see the actors:\n\n  curl -s {base}/api/v1/nser/register -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"phone\":\"0733000001\",\"period\":\"6_months\",\"reason_class\":\"self\",\"channel\":\"web\"}}'\n  curl -s {base}/api/v1/alerts -H 'Authorization: Bearer {}'\n  curl -s {base}/api/v1/system/actors -H 'Authorization: Bearer {}'\n\nTwiga Play's stakes jump about {} seconds after the start; Chui Casino falls silent at {} seconds. End with Ctrl-C.\n",
        operator_key.bearer,
        phone(0),
        operator_key.bearer,
        staff.bearer,
        staff.bearer,
        staff.bearer,
        SPIKE.0,
        SILENCE.0
    ));

    let mut interval = tokio::time::interval(Duration::from_secs(1));
    let mut serial = 1_000_000_000;
    for second in 0u64.. {
        interval.tick().await;
        for (no, ((_, _, rate, stake), (key, source))) in OPERATORS.into_iter().zip(&feeds).enumerate() {
            let spike = no == 1 && (SPIKE.0..SPIKE.0 + SPIKE.1).contains(&second);
            let silent = no == 3 && (SILENCE.0..SILENCE.0 + SILENCE.1).contains(&second);
            if silent {
                continue;
            }
            serial += 1;
            let lines = bets(&mut chance, engine.now(), rate, if spike { stake * 60 } else { stake }, serial);
            let pushed = player.push(source, &key.bearer, &lines).await;
            let asked = json!({"phone": phone(chance.below(400)), "purpose": if chance.below(3) == 0 { "registration" } else { "login" }});
            let answered = player.post("/api/v1/operators/lookup", &key.bearer, &asked).await;
            // an operator that was suspended, a key that was revoked: the rest of the market plays on
            if let Err(error) = pushed.and(answered)
                && second % 30 == 0
            {
                complain(&format!("the simulated market: {error:#}"));
            }
        }
    }
    Ok(())
}

/// A Kenyan number of nobody: `n` counts the demo's people.
fn phone(n: u64) -> String {
    format!("07120{n:05}")
}

/// One second of play: stakes and, for some, payouts.
fn bets(chance: &mut Chance, at: Ts, rate: u64, stake: i64, serial: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for n in 0..rate / 2 + chance.below(rate + 1) {
        let amount = stake / 2 + chance.below(stake.unsigned_abs()) as i64;
        let player = json!({"phone": phone(12 + chance.below(380))});
        let bet = format!("{serial}-{n}");
        let common = |kind: &str, id: String, amount: i64| {
            json!({
                "record_id": id, "kind": kind, "occurred_at": at.to_string(), "status": "successful", "player": player,
                "money": {"amount_minor": amount, "currency": "KES"}, "product": "sportsbook", "channel": "online",
                "bet": {"id": bet}, "region": "KE-30",
            })
            .to_string()
        };
        lines.push(common("stake", format!("s{bet}"), amount));
        if chance.below(100) < 45 {
            lines.push(common("payout", format!("p{bet}"), amount * (150 + chance.below(90) as i64) / 100));
        }
    }
    lines
}

impl Player<'_> {
    async fn post(&self, path: &str, bearer: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(bearer).json(body);
        let answer = request.send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(())
    }

    async fn push(&self, source: &str, bearer: &str, lines: &[String]) -> anyhow::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = format!("/api/v1/feeds/{source}/records");
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(bearer);
        let request = request.header("Content-Type", "application/x-ndjson").body(lines.join("\n"));
        let answer = request.send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(())
    }
}
