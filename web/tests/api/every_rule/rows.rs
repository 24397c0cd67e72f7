//! What makes each rule speak, told once with the fact that decides and once with another one in its place.

use crate::licences::with;
use models::ts::{DAY, HOUR, MINUTE, Ts};
use serde_json::{Value, json};

const PLAY: &str = "gaming_transactions";
const ACCOUNTS: &str = "player_accounts";

/// What happens in a market.
pub enum Step {
    /// Days before everything else the register takes a person in.
    Excluded(Value),
    /// The operator asks about a person, for a purpose.
    Asked(Value, &'static str),
    /// The operator pushes records of a class.
    Pushed(&'static str, Value),
    /// Another operator pushes records of play.
    ElsewherePushed(Value),
}

/// A rule, what makes it speak, and what it has to say then.
pub struct Row {
    pub rule: &'static str,
    /// The kind of whom it is about.
    pub who: &'static str,
    pub severity: &'static str,
    pub unit: &'static str,
    pub observed: i64,
    pub limit: i64,
    /// Ids of the records that it names.
    pub records: &'static [&'static str],
    /// What happens, in this order: with the fact that decides, or with another one.
    pub tale: fn(&Market, bool) -> Vec<Step>,
}

/// A market with people of its own, who are numbered from 1.
pub struct Market {
    number: u32,
    /// Noon of yesterday in Nairobi: an hour of play around it is over, and all of it lies on one day there.
    noon: Ts,
    /// A moment from now.
    soon: Ts,
}

impl Market {
    pub fn new(number: u32, now: Ts) -> Self {
        Self { number, noon: now.floor_to(DAY).plus(9 * HOUR - DAY), soon: now.plus(MINUTE) }
    }

    fn player(&self, person: u32) -> Value {
        json!({"phone": format!("0712{:06}", 10 * self.number + person)})
    }

    /// The same with a date of birth so many years ago, or a little more.
    fn aged(&self, person: u32, years: i32) -> Value {
        let year: i32 = self.noon.to_string()[..4].parse().expect("a year");
        with(self.player(person), &json!({"date_of_birth": format!("{}-01-01", year - years)}))
    }

    fn at(&self, minute: i64) -> String {
        self.noon.plus(minute * MINUTE).to_string()
    }

    fn day(&self, day: i64) -> String {
        self.noon.plus(day * DAY).to_string()
    }

    fn record(&self, id: &str, kind: &str, minute: i64, person: u32) -> Value {
        json!({"record_id": id, "kind": kind, "occurred_at": self.at(minute), "player": self.player(person)})
    }

    /// One of right now.
    fn now(&self, id: &str, kind: &str, person: u32) -> Value {
        with(self.record(id, kind, 0, person), &json!({"occurred_at": self.soon.to_string()}))
    }

    fn money(&self, id: &str, kind: &str, minute: i64, (person, amount_minor): (u32, i64)) -> Value {
        with(self.record(id, kind, minute, person), &json!({"money": kes(amount_minor)}))
    }

    /// Money from or to a payment account.
    fn moved(&self, id: &str, kind: &str, minute: i64, (person, amount_minor, account): (u32, i64, &str)) -> Value {
        let payment = json!({"payment": {"method": "mpesa", "account": account}});
        with(self.money(id, kind, minute, (person, amount_minor)), &payment)
    }

    /// A bet on an outcome of a game.
    fn bet(&self, id: &str, (game, outcome): (&str, &str), minute: i64, person: u32) -> Value {
        let on = json!({"game": {"id": game}, "bet": {"id": id, "parts": 1, "odds": 1.95}, "product": "sportsbook",
            "extra": {"selection": outcome, "market": "result"}});
        with(self.money(id, "stake", minute, (person, 50_000)), &on)
    }

    /// What an authority says of the operator's licence.
    fn licence(&self, id: &str, minute: i64, (state, compliance): (&str, &str)) -> Value {
        json!({"record_id": id, "kind": "licence_status", "occurred_at": self.at(minute), "licence_status": {
            "number": "BCLB-0417", "licence_class": "bookmaker", "products": ["sportsbook"], "valid_from": self.day(-300),
            "valid_to": self.day(300), "state": state, "compliance": compliance}})
    }

    fn invoice(&self, id: &str, day: i64, amount_minor: i64, says: &Value) -> Value {
        let invoice = json!({"number": "T-1", "authority": "KRA", "state": "issued", "paid_minor": 0});
        json!({"record_id": id, "kind": "invoice", "occurred_at": self.day(day), "money": kes(amount_minor),
            "invoice": with(invoice, says)})
    }
}

fn kes(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "KES"})
}

/// Every row.
pub fn all() -> Vec<Row> {
    [of_the_register(), of_money(), of_limits(), of_crowds(), of_papers(), of_several_operators(), of_rings()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_the_register() -> Vec<Row> {
    vec![
        Row {
            rule: "excluded_play",
            who: "player:",
            severity: "critical",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["s1"],
            tale: |m, is_so| {
                let excluded = m.player(if is_so { 1 } else { 2 });
                vec![Step::Excluded(excluded), Step::Pushed(PLAY, json!([m.money("s1", "stake", 0, (1, 100))]))]
            },
        },
        Row {
            rule: "play_without_check",
            who: "player:",
            severity: "medium",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["l1"],
            tale: |m, is_so| {
                let asked = m.player(if is_so { 2 } else { 1 });
                vec![Step::Asked(asked, "login"), Step::Pushed(PLAY, json!([m.now("l1", "login", 1)]))]
            },
        },
        Row {
            rule: "marketing_without_check",
            who: "player:",
            severity: "medium",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["m1"],
            tale: |m, is_so| {
                let purpose = if is_so { "login" } else { "marketing" };
                let message = json!([m.now("m1", "marketing", 1)]);
                vec![Step::Asked(m.player(1), purpose), Step::Pushed(ACCOUNTS, message)]
            },
        },
    ]
}

fn of_money() -> Vec<Row> {
    vec![
        Row {
            rule: "structured_deposits",
            who: "player:",
            severity: "medium",
            unit: "minor_units",
            observed: 540_000_000,
            limit: 193_500_000,
            records: &["d1", "d2", "d3"],
            tale: |m, is_so| {
                let amount = if is_so { 180_000_000 } else { 100_000_000 };
                let deposit = |id: &str, minute| m.money(id, "deposit", minute, (1, amount));
                vec![Step::Pushed(PLAY, json!([deposit("d1", 0), deposit("d2", 10), deposit("d3", 20)]))]
            },
        },
        Row {
            rule: "rapid_in_out",
            who: "player:",
            severity: "high",
            unit: "minor_units",
            observed: 0,
            limit: 1_000_000,
            records: &["d1", "w1"],
            tale: |m, is_so| {
                // half of it was played with, by somebody else or by the same person
                let stake = m.money("s1", "stake", 10, (if is_so { 2 } else { 1 }, 5_000_000));
                let deposit = m.money("d1", "deposit", 0, (1, 10_000_000));
                vec![Step::Pushed(PLAY, json!([deposit, stake, m.money("w1", "withdrawal", 30, (1, 9_000_000))]))]
            },
        },
        Row {
            rule: "payout_elsewhere",
            who: "player:",
            severity: "medium",
            unit: "minor_units",
            observed: 600_000,
            limit: 500_000,
            records: &["w1"],
            tale: |m, is_so| {
                let to = if is_so { "wallet-2" } else { "wallet-1" };
                let deposit = m.moved("d1", "deposit", 0, (1, 700_000, "wallet-1"));
                vec![Step::Pushed(PLAY, json!([deposit, m.moved("w1", "withdrawal", 60, (1, 600_000, to))]))]
            },
        },
        Row {
            rule: "dormant_burst",
            who: "player:",
            severity: "medium",
            unit: "minor_units",
            observed: 12_000_000,
            limit: 10_000_000,
            records: &["d1"],
            tale: |m, is_so| {
                let stake = |id: &str, day: i64, person| m.money(id, "stake", day * DAY / MINUTE, (person, 100));
                // somebody played meanwhile
                let (before, meanwhile) = (stake("s1", -100, 1), stake("s2", -40, if is_so { 2 } else { 1 }));
                vec![Step::Pushed(PLAY, json!([before, meanwhile, m.money("d1", "deposit", 0, (1, 12_000_000))]))]
            },
        },
    ]
}

fn of_limits() -> Vec<Row> {
    vec![
        Row {
            rule: "limit_exceeded",
            who: "player:",
            severity: "high",
            unit: "minor_units",
            observed: 1_200_000,
            limit: 1_000_000,
            records: &["d1"],
            tale: |m, is_so| {
                let new_minor = if is_so { 1_000_000 } else { 2_000_000 };
                let limit = json!({"limit": {"type": "deposit_day", "old_minor": 5_000_000, "new_minor": new_minor}});
                let limit = with(m.record("c1", "limit_change", 0, 1), &limit);
                let deposit = m.money("d1", "deposit", 30, (1, 1_200_000));
                vec![Step::Pushed(ACCOUNTS, json!([limit])), Step::Pushed(PLAY, json!([deposit]))]
            },
        },
        Row {
            rule: "net_deposit_threshold",
            who: "player:",
            severity: "medium",
            unit: "minor_units",
            observed: 5_000_000,
            limit: 4_500_000,
            records: &["d1"],
            tale: |m, is_so| {
                let player = json!({"player": m.aged(1, if is_so { 20 } else { 40 })});
                vec![Step::Pushed(PLAY, json!([with(m.money("d1", "deposit", 0, (1, 5_000_000)), &player)]))]
            },
        },
    ]
}

fn of_crowds() -> Vec<Row> {
    vec![
        Row {
            rule: "shared_device",
            who: "device:",
            severity: "low",
            unit: "accounts",
            observed: 3,
            limit: 2,
            records: &["l1", "l2", "l3"],
            tale: |m, is_so| {
                let login = |id: &str, minute, person| {
                    with(m.record(id, "login", minute, person), &json!({"device_id": "handset-1", "channel": "online"}))
                };
                let third = if is_so { 3 } else { 1 };
                vec![Step::Pushed(PLAY, json!([login("l1", 0, 1), login("l2", 10, 2), login("l3", 20, third)]))]
            },
        },
        Row {
            rule: "shared_payout_account",
            who: "account:",
            severity: "medium",
            unit: "accounts",
            observed: 3,
            limit: 2,
            records: &["w1", "w2", "w3"],
            tale: |m, is_so| {
                let out = |id: &str, minute, person| m.moved(id, "withdrawal", minute, (person, 100_000, "wallet-1"));
                let third = if is_so { 3 } else { 1 };
                vec![Step::Pushed(PLAY, json!([out("w1", 0, 1), out("w2", 10, 2), out("w3", 20, third)]))]
            },
        },
        Row {
            rule: "opposite_bets",
            who: "players:",
            severity: "medium",
            unit: "pairs",
            observed: 2,
            limit: 2,
            records: &["b1", "b2", "b3", "b4"],
            tale: |m, is_so| {
                let other = if is_so { "away" } else { "home" };
                let first = [m.bet("b1", ("match-1", "home"), 0, 1), m.bet("b2", ("match-1", other), 2, 2)];
                let second = [m.bet("b3", ("match-2", "home"), 100, 1), m.bet("b4", ("match-2", other), 102, 2)];
                vec![Step::Pushed(PLAY, json!(first)), Step::Pushed(PLAY, json!(second))]
            },
        },
    ]
}

fn of_papers() -> Vec<Row> {
    vec![
        Row {
            rule: "licence_lapsed",
            who: "licence:",
            severity: "critical",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["s1"],
            tale: |m, is_so| {
                let state = if is_so { "suspended" } else { "active" };
                let said = json!([m.licence("l1", -60, (state, "compliant"))]);
                let stake = with(m.money("s1", "stake", 0, (1, 100)), &json!({"product": "sportsbook"}));
                vec![Step::Pushed("licences", said), Step::Pushed(PLAY, json!([stake]))]
            },
        },
        Row {
            rule: "compliance_status_changed",
            who: "licence:",
            severity: "high",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["l1", "l2"],
            tale: |m, is_so| {
                let now = if is_so { "non_compliant" } else { "compliant" };
                let before = m.licence("l1", -60, ("active", "compliant"));
                vec![Step::Pushed("licences", json!([before, m.licence("l2", -30, ("active", now))]))]
            },
        },
        Row {
            rule: "late_remittance",
            who: "invoice:",
            severity: "high",
            unit: "minor_units",
            observed: 5_000_000,
            limit: 5_000_000,
            records: &["i1"],
            tale: |m, is_so| {
                let invoice = json!([m.invoice("i1", -10, 5_000_000, &json!({"due_at": m.day(-2)}))]);
                // where it is so, another invoice was paid
                let number = if is_so { "T-2" } else { "T-1" };
                let paid = json!({"method": "bank_transfer", "account": "KE11 0000 4711", "reference": "TRX-9",
                    "invoice": number, "authority": "KRA", "state": "completed"});
                let paid = json!([{"record_id": "p1", "kind": "payment", "occurred_at": m.day(-5),
                    "money": kes(5_000_000), "payment": paid}]);
                let clock = json!([m.money("s1", "stake", 0, (1, 100))]);
                vec![Step::Pushed("payments", paid), Step::Pushed("invoices", invoice), Step::Pushed(PLAY, clock)]
            },
        },
        Row {
            rule: "declared_revenue_differs",
            who: "invoice:",
            severity: "high",
            unit: "minor_units",
            observed: 500_000,
            limit: 2_000_000,
            records: &["i1"],
            tale: |m, is_so| {
                // 5 % of what was paid in within two hours, which lie whole within what was sent
                let amount = if is_so { 500_000 } else { 2_000_000 };
                let says = json!({"tax": "excise_duty", "period_from": m.at(0), "period_to": m.at(120)});
                let first = m.money("s1", "stake", -30, (2, 100));
                let deposit = m.money("d1", "deposit", 20, (1, 40_000_000));
                let played = json!([first, deposit, m.money("s2", "stake", 150, (2, 100))]);
                let invoice = json!([m.invoice("i1", 0, amount, &says)]);
                vec![Step::Pushed(PLAY, played), Step::Pushed("invoices", invoice)]
            },
        },
    ]
}

fn of_several_operators() -> Vec<Row> {
    vec![
        Row {
            rule: "net_deposits_across_operators",
            who: "player:",
            severity: "high",
            unit: "minor_units",
            observed: 18_000_000,
            limit: 15_000_000,
            records: &["d1", "d2"],
            tale: |m, is_so| {
                let amount = if is_so { 9_000_000 } else { 6_000_000 };
                let deposit = |id: &str, minute, amount| json!([m.money(id, "deposit", minute, (1, amount))]);
                vec![Step::Pushed(PLAY, deposit("d1", 0, 9_000_000)), Step::ElsewherePushed(deposit("d2", 60, amount))]
            },
        },
        Row {
            rule: "concurrent_play",
            who: "player:",
            severity: "medium",
            unit: "records",
            observed: 1,
            limit: 0,
            records: &["s2"],
            tale: |m, is_so| {
                let stake = |id: &str, minute| json!([m.money(id, "stake", minute, (1, 100))]);
                // the version that is promoted asks for ten minutes
                let later = if is_so { 9 } else { 11 };
                vec![Step::Pushed(PLAY, stake("s1", 0)), Step::ElsewherePushed(stake("s2", later))]
            },
        },
        Row {
            rule: "structured_across_operators",
            who: "player:",
            severity: "medium",
            unit: "minor_units",
            observed: 240_000_000,
            limit: 193_500_000,
            records: &["d1", "d2", "d3"],
            tale: |m, is_so| {
                let amount = if is_so { 80_000_000 } else { 30_000_000 };
                let deposit = |id: &str, minute, amount| m.money(id, "deposit", minute, (1, amount));
                vec![
                    Step::Pushed(PLAY, json!([deposit("d1", 0, 80_000_000), deposit("d2", 10, 80_000_000)])),
                    Step::ElsewherePushed(json!([deposit("d3", 20, amount)])),
                ]
            },
        },
    ]
}

fn of_rings() -> Vec<Row> {
    vec![
        Row {
            rule: "shared_payout_account_across_operators",
            who: "account:",
            severity: "medium",
            unit: "players",
            observed: 3,
            limit: 2,
            records: &["w1", "w2", "w3"],
            tale: |m, is_so| {
                // a number of this market alone: all of them are one jurisdiction
                let wallet = format!("wallet-of-market-{}", m.number);
                let out =
                    |id: &str, minute, person| m.moved(id, "withdrawal", minute, (person, 100_000, wallet.as_str()));
                // whom both operators know by the same name
                let regular = |id: &str, person| m.money(id, "deposit", 0, (person, 1_000));
                let here = [regular("d4", 4), regular("d5", 5), regular("d6", 6), out("w1", 10, 1), out("w2", 20, 2)];
                let third = if is_so { 3 } else { 1 };
                let there = [regular("e4", 4), regular("e5", 5), regular("e6", 6), out("w3", 30, third)];
                vec![Step::Pushed(PLAY, json!(here)), Step::ElsewherePushed(json!(there))]
            },
        },
        Row {
            rule: "shared_device_across_operators",
            who: "device:",
            severity: "low",
            unit: "players",
            observed: 3,
            limit: 2,
            records: &["l1", "l2", "l3", "l4"],
            tale: |m, is_so| {
                let handset = json!({"device_id": format!("handset-of-market-{}", m.number), "channel": "online"});
                let login = |id: &str, minute, person| with(m.record(id, "login", minute, person), &handset);
                // whom both operators know by the same name
                let regular = |id: &str, person| m.money(id, "deposit", 0, (person, 1_000));
                let here =
                    [regular("d4", 4), regular("d5", 5), regular("d6", 6), login("l1", 0, 1), login("l2", 10, 2)];
                let third = if is_so { 3 } else { 2 };
                let there =
                    [regular("e4", 4), regular("e5", 5), regular("e6", 6), login("l3", 20, 1), login("l4", 30, third)];
                vec![Step::Pushed(PLAY, json!(here)), Step::ElsewherePushed(json!(there))]
            },
        },
    ]
}
