//! Every rule of an operator and over all operators, from the wire: what operators push and ask, and what staff enters,
//! becomes an alert that says what was found; where the fact that decides is another one, it becomes none.

mod rows;

use crate::licences::with;
use crate::live_rules::{figure, until};
use crate::node::{AheadClock, Key, Node, Setup};
use crate::rules::second;
use engine::rules::list::{self, About};
use futures_util::future::join_all;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::ts::DAY;
use rows::{Market, Row, Step};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rules that have a test of their own: the rule, the file, the test.
const ELSEWHERE: [(&str, &str, &str); 7] = [
    (
        "harm_signal_unanswered",
        include_str!("harm_signals.rs"),
        "a_sign_that_nobody_answers_is_found_when_the_hour_is_over",
    ),
    ("return_to_player_off", include_str!("licences.rs"), "what_a_product_gives_back_is_held_against_the_licence"),
    ("unusual_exclusions", include_str!("live_rules.rs"), "many_exclusions_that_one_operator_reports_are_found"),
    ("series_unusual", include_str!("series.rs"), "a_planted_shift_is_one_finding_whoever_starts_again_in_between"),
    ("risky_transaction", include_str!("../../../tests/models_live.rs"), "models_score_on_sqlite"),
    ("player_at_risk", include_str!("../../../tests/models_live.rs"), "models_score_on_sqlite"),
    (
        "player_at_risk_across_operators",
        include_str!("../../../tests/models_live.rs"),
        "who_plays_at_several_operators_is_scored_on_sqlite",
    ),
];

/// Documents in which others speak of an operator.
fn is_of_others(class: &str) -> bool {
    ["licences", "invoices", "payments", "bank_statements"].contains(&class)
}

/// An operator with its sources by class.
struct Trader {
    code: String,
    key: Key,
    sources: BTreeMap<&'static str, String>,
}

impl Trader {
    async fn new(node: &Node, code: String) -> Self {
        let scopes =
            json!({"label": "k", "scopes": ["lookup", "feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let key = node.operator(&code).await.key(node, scopes).await;
        Self { code, key, sources: BTreeMap::new() }
    }

    async fn ask(&self, node: &Node, person: Value, purpose: &str) {
        let body = with(person, &json!({"purpose": purpose})).to_string();
        let asked = node.call("POST", "/api/v1/operators/lookup", Some(&self.key.bearer), &body).await;
        assert_eq!(asked.status, 200, "{}: {}", self.code, asked.text);
    }

    /// Pushes records, and waits until its rules have heard of them.
    async fn push(&mut self, node: &Node, class: &'static str, records: &Value) {
        let path = match self.sources.get(class) {
            Some(known) => known.clone(),
            None => self.source(node, class).await,
        };
        let pushed = node.call("POST", &path, Some(self.speaker(node, class)), &records.to_string()).await;
        self.sources.insert(class, path);
        let sent = records.as_array().map(|records| records.len() as u64);
        assert_eq!(pushed.json()["accepted"].as_u64(), sent, "{}: {}", self.code, pushed.text);
        let no = node.engine.directory().operator_by_code.get(self.code.as_str()).copied().expect("an operator");
        let store = node.engine.store();
        until("a batch is heard", async || {
            let inputs = store.operator_inputs(no, 0, 1_000).await.expect("inputs");
            let last = inputs.last().map_or(0, |input| input.seq());
            (store.rules_heard(no).await.expect("a number") >= last).then_some(())
        })
        .await;
    }

    /// Whose word it is: what others say of an operator comes from staff.
    fn speaker<'n>(&'n self, node: &'n Node, class: &str) -> &'n str {
        if is_of_others(class) { &node.staff } else { &self.key.bearer }
    }

    async fn source(&self, node: &Node, class: &str) -> String {
        let name = class.replace('_', "-");
        let no = node.engine.directory().operator_by_code.get(self.code.as_str()).copied().expect("an operator");
        let operator = node.engine.directory().operators.get(&no).map(|operator| operator.id).expect("an operator");
        let operator = is_of_others(class).then_some(operator);
        let new = json!({"operator": operator, "name": name, "class": class, "clock": "event", "horizon_days": 365});
        let made = node.call("POST", "/api/v1/feeds", Some(self.speaker(node, class)), &new.to_string()).await;
        assert_eq!(made.status, 201, "{}: {}", self.code, made.text);
        format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"))
    }
}

/// A row in a market of its own, as it makes its rule speak or as it does not.
struct Scene<'r> {
    row: &'r Row,
    is_so: bool,
    number: u32,
    traders: Vec<Trader>,
}

impl<'r> Scene<'r> {
    async fn new(node: &Node, (number, row, is_so): (u32, &'r Row, bool)) -> Self {
        let trader = Trader::new(node, format!("m{number}")).await;
        Self { row, is_so, number, traders: vec![trader] }
    }

    /// Plays what lies days back, or the rest.
    async fn play(&mut self, node: &Node, is_past: bool) {
        let market = Market::new(self.number, node.engine.now());
        for step in (self.row.tale)(&market, self.is_so) {
            if matches!(step, Step::Excluded(_)) == is_past {
                self.step(node, step).await;
            }
        }
    }

    async fn step(&mut self, node: &Node, step: Step) {
        match step {
            Step::Excluded(person) => {
                let new = json!({"period": "1_year", "reason_class": "self", "channel": "web"});
                let new = with(person, &new).to_string();
                let made = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &new).await;
                assert_eq!(made.status, 201, "{}", made.text);
            }
            Step::Asked(person, purpose) => self.traders[0].ask(node, person, purpose).await,
            Step::Pushed(class, records) => self.traders[0].push(node, class, &records).await,
            Step::ElsewherePushed(records) => {
                let mut other = Trader::new(node, format!("m{}-b", self.number)).await;
                other.push(node, "gaming_transactions", &records).await;
                self.traders.push(other);
            }
        }
    }

    /// Is the alert about this market?
    fn holds(&self, alert: &Value) -> bool {
        let is_here = |code: &Value| self.traders.iter().any(|trader| *code == trader.code);
        is_here(&alert["operator_code"]) || alert["evidence"]["operators"].as_array().into_iter().flatten().any(is_here)
    }

    /// Its alerts are what the row says, or there are none.
    fn check(&self, alerts: &[Value]) {
        let Row { rule, who, severity, unit, observed, limit, records, .. } = self.row;
        let mine: Vec<&Value> = alerts.iter().filter(|alert| self.holds(alert)).collect();
        if !self.is_so {
            assert!(mine.is_empty(), "{rule} spoke of a market in which nothing is wrong: {mine:#?}");
            return;
        }
        assert_eq!(mine.len(), 1, "{rule}: {mine:#?}");
        let (alert, why) = (mine[0], &mine[0]["evidence"]);
        let is_national = list::about(rule).is_some_and(About::is_national);
        let whose = if is_national { "KE" } else { self.traders[0].code.as_str() };
        assert_eq!(
            (&alert["rule"], &alert["operator_code"], &alert["state"], &alert["metric"], &alert["severity"]),
            (&json!(rule), &json!(whose), &json!("open"), &json!("finding"), &json!(severity)),
            "{rule}: {alert:#}"
        );
        assert_eq!(alert["operator"].is_null(), is_national, "{rule}: {alert:#}");
        assert!(alert["who"].as_str().is_some_and(|about| about.starts_with(who)), "{rule}: {alert:#}");
        assert_eq!(
            (&why["unit"], &why["observed"], &why["expected"]),
            (&json!(unit), &json!(observed), &json!(limit)),
            "{rule}: {alert:#}"
        );
        let sorted = |list: &Value| -> Vec<String> {
            let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
        };
        assert_eq!(sorted(&why["records"]), *records, "{rule}: {alert:#}");
        let operators: Vec<&str> =
            if is_national { self.traders.iter().map(|trader| trader.code.as_str()).collect() } else { Vec::new() };
        assert_eq!(sorted(&why["operators"]), operators, "{rule}: {alert:#}");
        assert!(why["reasons"][0].as_str().is_some_and(|reason| reason.len() > 10), "{rule}: {alert:#}");
        // a person is named by a pseudonym
        assert!(!alert.to_string().contains(&format!("712{:05}", self.number)), "{rule}: {alert:#}");
    }
}

/// A rule that is off at first becomes live: one proposes it, somebody else promotes it.
async fn promote(node: &Node, rule: &str, parameters: &Value) {
    let versions = format!("/api/v1/rules/{rule}/versions");
    let body = json!({"parameters": parameters, "note": "a law asks for it"}).to_string();
    let made = node.call("POST", &versions, Some(&node.staff), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("{versions}/{}/promote", made.json()["version"]);
    let body = json!({"note": "the law is in force"}).to_string();
    let done = node.call("POST", &path, Some(&second(node).await), &body).await;
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("live")), "{}", done.text);
}

/// Waits until the rules have judged everything that they are to hear, the jurisdiction's own among them.
async fn settled(node: &Node) {
    let mut whose: Vec<OperatorNo> = node.engine.directory().operators.keys().copied().collect();
    whose.push(OperatorNo::of_nation(JurisdictionNo(0)));
    until("everything is judged", async || {
        let mut stored = 0;
        for no in &whose {
            let heads = node.engine.store().rule_input_heads(*no, (0, i64::MAX), 10_000).await.expect("inputs");
            stored += heads.len() as u64;
        }
        (figure(node, "mlinzi_rule_inputs_judged_total").await >= stored).then_some(())
    })
    .await;
}

async fn alerts(node: &Node, rule: &str) -> Vec<Value> {
    let listed = node.call("GET", &format!("/api/v1/alerts?rule={rule}&limit=500"), Some(&node.staff), "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["items"].as_array().cloned().expect("items")
}

#[actix_web::test]
async fn every_rule_speaks_from_the_wire_and_is_silent_where_nothing_is_wrong() {
    let rows = rows::all();
    let clock = Arc::<AheadClock>::default();
    // whoever registered three days ago could have asked about everybody since
    clock.go(-3 * DAY);
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    promote(&node, "concurrent_play", &json!({"wait_minutes": 10})).await;
    let cases = rows.iter().flat_map(|row| [(row, true), (row, false)]);
    let scenes = cases.zip(1..).map(|((row, is_so), number)| Scene::new(&node, (number, row, is_so)));
    let mut scenes = join_all(scenes).await;
    join_all(scenes.iter_mut().map(|scene| scene.play(&node, true))).await;
    clock.go(3 * DAY);
    until("the register is fresh again", async || {
        (node.call("GET", "/health/ready", None, "").await.status == 200).then_some(())
    })
    .await;
    join_all(scenes.iter_mut().map(|scene| scene.play(&node, false))).await;
    settled(&node).await;
    // what is under way is stored before it ends: whatever is silent then stays silent
    let node = node.restart_as(Setup { clock, ..Setup::default() }).await;
    for scene in &scenes {
        scene.check(&alerts(&node, scene.row.rule).await);
    }
    node.stop().await;
}

#[test]
fn no_rule_is_left_out() {
    let mut covered = BTreeSet::new();
    for row in rows::all() {
        assert!(covered.insert(row.rule), "{} has two rows", row.rule);
    }
    for (rule, file, test) in ELSEWHERE {
        assert!(covered.insert(rule), "{rule} has a row, too");
        assert!(file.contains(&format!("async fn {test}(")), "{rule}: there is no test {test}");
        assert!(file.contains(&format!("\"{rule}\"")), "{rule}: the file of {test} does not name it");
    }
    let known: BTreeSet<&str> = list::ABOUT.iter().filter(|about| about.is_here()).map(|about| about.name).collect();
    assert_eq!(covered, known, "each rule of the catalogue has a row here, or a test that is named here");
}
