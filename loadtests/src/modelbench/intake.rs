//! What the simulator says, as the engine hears it: through the ingest's own validation, with what register and evidence
//! would have known. Nothing is sent anywhere.

use crate::simulator::record::{Ask, Class, Sent};
use crate::simulator::scenario::Scenario;
use anyhow::{Context, anyhow};
use engine::ingest::{self, Resolver};
use engine::rules::input::{AgeBand, CHECK_SLACK, Excluded, Facts};
use models::feed::DataClass;
use models::ids::OperatorNo;
use models::match_key::{DigestKeys, MatchKey, OpaqueKind};
use models::phone::{Country, Phone};
use models::record::Record;
use models::ts::Ts;
use std::collections::HashMap;

/// Jurisdiction family under which everything is digested.
const FAMILY: &str = "AFRICA";

/// The validation of a market's records.
pub struct Intake<'a> {
    scenario: &'a Scenario,
    digest: DigestKeys,
}

/// The number of an operator, by its position.
#[must_use]
pub fn number(operator: usize) -> OperatorNo {
    OperatorNo(u16::try_from(operator + 1).unwrap_or(u16::MAX))
}

impl<'a> Intake<'a> {
    /// Of a market, with a key of its own.
    ///
    /// # Errors
    /// None in practice: the key is long enough.
    pub fn new(scenario: &'a Scenario) -> anyhow::Result<Self> {
        Ok(Self { scenario, digest: DigestKeys::new([(0, [7; 32])]).map_err(|error| anyhow!("{error}"))? })
    }

    fn country(&self, operator: usize) -> anyhow::Result<Country> {
        let code = &self.scenario.operators[operator].jurisdiction;
        Country::from_iso(code).with_context(|| format!("no numbering plan of {code}"))
    }

    /// Validates a record.
    ///
    /// # Errors
    /// The engine refuses it: simulator and engine disagree about the contract.
    pub fn record(&self, sent: &Sent) -> anyhow::Result<Record> {
        let class = match sent.class {
            Class::GamingTransactions => DataClass::GamingTransactions,
            Class::SalesRedemptions => DataClass::SalesRedemptions,
            Class::PlayerAccounts => DataClass::PlayerAccounts,
            Class::Licences => DataClass::Licences,
            Class::Invoices => DataClass::Invoices,
            Class::Payments => DataClass::Payments,
            Class::BankStatements => DataClass::BankStatements,
        };
        let resolver = Resolver {
            digest: &self.digest,
            token_keys: &[],
            family: FAMILY,
            operator_no: number(sent.operator),
            class,
            country: self.country(sent.operator)?,
            currency: self.scenario.operators[sent.operator].currency,
        };
        let json = sent.record.json();
        ingest::record(json.as_bytes(), &resolver).map_err(|refusal| anyhow!("{}: {}", refusal.detail, json))
    }

    /// The key under which somebody is known.
    ///
    /// # Errors
    /// Not a phone of the operator's country.
    pub fn phone(&self, operator: usize, phone: &str) -> anyhow::Result<MatchKey> {
        let phone = Phone::parse(phone, self.country(operator)?).map_err(|error| anyhow!("{error}"))?;
        Ok(self.digest.phone(FAMILY, &phone))
    }

    /// The key of a device.
    #[must_use]
    pub fn device(&self, device: &str) -> MatchKey {
        self.digest.opaque(FAMILY, OpaqueKind::Device, device.as_bytes())
    }

    /// The key of a payment account.
    #[must_use]
    pub fn account(&self, account: &str) -> MatchKey {
        self.digest.opaque(FAMILY, OpaqueKind::Account, account.as_bytes())
    }
}

/// What register and evidence know at a time.
#[derive(Default)]
pub struct Known {
    /// By operator's code and phone: the last question, and the last one about marketing.
    asked: HashMap<(String, String), (Ts, Option<Ts>)>,
    excluded: HashMap<String, Excluded>,
    ages: HashMap<String, AgeBand>,
}

impl Known {
    /// An operator asks.
    pub fn hear(&mut self, ask: &Ask) {
        let of = self.asked.entry((ask.operator.clone(), ask.phone.clone())).or_insert((ask.at, None));
        of.0 = of.0.max(ask.at);
        if ask.purpose == "marketing" {
            of.1 = of.1.max(Some(ask.at));
        }
    }

    /// Somebody is excluded.
    pub fn exclude(&mut self, phone: &str, excluded: Excluded) {
        self.excluded.insert(phone.to_owned(), excluded);
    }

    /// Somebody's age is known.
    pub fn age(&mut self, phone: &str, age: AgeBand) {
        self.ages.insert(phone.to_owned(), age);
    }

    /// Is somebody known to be under 24?
    #[must_use]
    pub fn is_young(&self, phone: &str) -> bool {
        self.ages.get(phone) == Some(&AgeBand::Under24)
    }

    /// What goes with a record of an operator.
    #[must_use]
    pub fn facts(&self, operator: &str, sent: &Sent) -> Facts {
        let phone = sent.record.player.as_ref().and_then(|player| player.phone.as_ref());
        let Some(phone) = phone else { return Facts::default() };
        let asked = self.asked.get(&(operator.to_owned(), phone.clone()));
        let by = sent.record.occurred_at.plus(CHECK_SLACK);
        Facts {
            is_identified: true,
            excluded: self.excluded.get(phone).copied().filter(|e| e.since <= sent.record.occurred_at),
            checked_at: asked.map(|asked| asked.0).filter(|at| *at <= by),
            marketing_checked_at: asked.and_then(|asked| asked.1).filter(|at| *at <= by),
            evidence_gap: None,
            age: self.ages.get(phone).copied(),
        }
    }
}
