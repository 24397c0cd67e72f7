//! Makes the engine know the simulated parties, through its API and with ordinary keys, as staff would.

use super::wall;
use crate::simulator::record::Class;
use crate::simulator::sales;
use crate::simulator::scenario::{Delivery, Operator, Scenario};
use anyhow::Context;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// No answer of the engine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Minutes of sales in a spreadsheet.
const SALES_MINUTES: u32 = 30;

/// How often sources ask.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Seconds between two questions to an operator.
    pub operator_seconds: u32,
    /// The same to a tax authority or a bank.
    pub authority_seconds: u32,
    /// The same to the licence authority.
    pub licence_seconds: u32,
}

/// The engine, as its clients see it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// Keys of staff by jurisdiction.
    staff: BTreeMap<String, String>,
}

/// An operator that the engine knows.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its key: lookups and pushes.
    pub bearer: String,
    /// Sources that it pushes to.
    pub pushes: Vec<(Class, String)>,
    /// Every source of what it says itself.
    pub own: Vec<(Class, String)>,
}

impl Client {
    /// Of an engine at an address, e.g. `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(base: &str, staff: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), staff })
    }

    fn staff(&self, jurisdiction: &str) -> anyhow::Result<&str> {
        let variable = jurisdiction.replace('-', "_");
        let key = self.staff.get(jurisdiction).map(String::as_str);
        key.with_context(|| format!("no key of staff of {jurisdiction}: MLINZI_KEY_{variable}"))
    }

    /// The answer to a POST: its status and its body, where that is JSON.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(
        &self,
        path: &str,
        bearer: &str,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(bearer);
        let answer = request.header("content-type", kind).body(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    async fn post(&self, path: &str, bearer: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.send(path, bearer, "application/json", body.to_string()).await?;
        anyhow::ensure!((200..300).contains(&status), "{path}: {status} {answer}");
        Ok(answer)
    }

    async fn get(&self, path: &str, bearer: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(bearer).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.json().await?)
    }

    /// Registers whoever is excluded.
    ///
    /// # Errors
    /// The engine does not take one of them.
    pub async fn exclude(&self, people: &[(String, String)]) -> anyhow::Result<()> {
        for (jurisdiction, phone) in people {
            let body = json!({"phone": phone, "period": "1_year", "reason_class": "self", "channel": "web"});
            self.post("/api/v1/nser/register", self.staff(jurisdiction)?, &body).await?;
        }
        Ok(())
    }

    /// Makes an operator with a key and the sources that its scenario says; `peer` is where the simulator answers.
    ///
    /// # Errors
    /// The engine does not take something of it.
    pub async fn know(&self, operator: &Operator, peer: SocketAddr, rhythm: Rhythm) -> anyhow::Result<Known> {
        let staff = self.staff(&operator.jurisdiction)?;
        let id = self.operator(operator, staff).await?;
        let key = json!({"label": "simulator", "scopes": ["lookup", "feeds:write"], "rate_per_second": 1_000});
        let key = self.post(&format!("/api/v1/operators/{id}/keys"), staff, &key).await?;
        let (mut pushes, mut own) = (Vec::new(), Vec::new());
        for (class, mut source) in sources(operator, peer, rhythm) {
            source["operator"] = id.clone().into();
            source["class"] = class.as_str().into();
            source["currency"] = operator.currency.as_str().into();
            let made = self.source(source, staff).await?;
            let id = text(&made, "id")?;
            if made["kind"] == "push" {
                pushes.push((class, id.clone()));
            }
            if class.authority().is_none() {
                own.push((class, id));
            }
        }
        Ok(Known { bearer: text(&key, "bearer")?, pushes, own })
    }

    async fn operator(&self, operator: &Operator, staff: &str) -> anyhow::Result<String> {
        let known = self.get("/api/v1/operators?limit=500", staff).await?;
        let known = known["items"].as_array().into_iter().flatten().find(|item| item["code"] == operator.code.as_str());
        match known {
            Some(known) => text(known, "id"),
            None => {
                let new = json!({"code": operator.code, "name": operator.name});
                text(&self.post("/api/v1/operators/register", staff, &new).await?, "id")
            }
        }
    }

    /// A source of a store that was simulated on before stands for another run, on another port: it has a namesake.
    async fn source(&self, mut source: Value, staff: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.send("/api/v1/feeds", staff, "application/json", source.to_string()).await?;
        if status != 409 {
            anyhow::ensure!((200..300).contains(&status), "/api/v1/feeds: {status} {answer}");
            return Ok(answer);
        }
        let name = format!("{}-{}", source["name"].as_str().unwrap_or_default(), wall().seconds());
        source["name"] = name.into();
        self.post("/api/v1/feeds", staff, &source).await
    }
}

fn text(body: &Value, field: &str) -> anyhow::Result<String> {
    body[field].as_str().map(ToOwned::to_owned).with_context(|| format!("the engine's answer has no {field}"))
}

/// The sources of an operator: what it sends itself, and what authorities say of it.
fn sources(operator: &Operator, peer: SocketAddr, rhythm: Rhythm) -> Vec<(Class, Value)> {
    let pages = |path: String, seconds: u32| {
        json!({
            "kind": "http_poll",
            "reader": {"url": format!("http://{peer}{path}"), "format": "json", "items": "/items",
                "paging": {"by": "next_field", "pointer": "/next"}, "cursor_parameter": "after", "timeout_seconds": 10},
            "schedule": {"every_seconds": seconds},
        })
    };
    let code = &operator.code;
    let mut all = Vec::new();
    for (class, path) in [(Class::GamingTransactions, "transactions"), (Class::PlayerAccounts, "accounts")] {
        let seconds = rhythm.operator_seconds;
        let mut source = match operator.delivery {
            Delivery::Push => json!({"kind": "push"}),
            Delivery::Poll => pages(format!("/operators/{code}/{path}"), seconds),
            Delivery::Folder => json!({
                "kind": "folder",
                "reader": {"path": format!("{code}/{}", class.as_str()), "pattern": "*.ndjson", "done": "move", "done_files": true},
                "schedule": {"every_seconds": seconds},
            }),
        };
        source["name"] = path.into();
        // people sign in more seldom than they bet
        let patience = if class == Class::PlayerAccounts { 12 } else { 1 };
        source["expected_interval_seconds"] = (patience * seconds).into();
        all.push((class, source));
    }
    if operator.sales.is_some() {
        let source = json!({
            "name": "sales", "kind": "http_poll",
            "reader": {"url": format!("http://{peer}/operators/{code}/sales?minutes={SALES_MINUTES}"), "format": "csv", "timeout_seconds": 10},
            "schedule": {"every_seconds": 4 * rhythm.operator_seconds},
            "mapping": sales::mapping(operator),
        });
        all.push((Class::SalesRedemptions, source));
    }
    let authorities = [
        (Class::Licences, "licences", rhythm.licence_seconds),
        (Class::Invoices, "invoices", rhythm.authority_seconds),
        (Class::Payments, "payments", rhythm.authority_seconds),
        (Class::BankStatements, "statements", rhythm.authority_seconds),
    ];
    for (class, path, seconds) in authorities {
        let mut source = pages(format!("/{path}?operator={code}"), seconds);
        source["name"] = path.into();
        all.push((class, source));
    }
    all
}

/// Folders that sources read, below the root of the engine's configuration.
pub fn folders(scenario: &Scenario) -> Vec<String> {
    let dropping = scenario.operators.iter().filter(|operator| operator.delivery == Delivery::Folder);
    let classes = [Class::GamingTransactions, Class::PlayerAccounts];
    dropping.flat_map(|o| classes.map(|class| format!("{}/{}", o.code, class.as_str()))).collect()
}
