//! Stories: what happens to people and operators, minute by minute, and what a rule says of it. For tests.

mod check;
mod licences;

pub use check::check;

use crate::ingest::id_digest;
use crate::rules::input::{AgeBand, Base, Clock, Declared, Excluded, Exclusions, Facts, Input, Signal};
use models::alert::{Severity, Window};
use models::document_records::{Document, Invoice, InvoiceState, Payment, PaymentState};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::operator::{Licence, LicensedReturn, OperatorState};
use models::record::{PlayChannel, Product, Record, RecordKind, RecordStatus};
use models::score::{RiskyRecord, ScoredPlayer, SoldAt};
use models::series::{SeriesScore, SeriesScored};
use models::ts::{DAY, MINUTE, SECOND, Ts};
use std::collections::BTreeMap;

/// 2 March 2026, a Monday, 00:00 in Nairobi.
pub const BEGIN: i64 = 1_772_398_800_000_000;

/// So many minutes.
pub fn minutes(n: i64) -> i64 {
    n * MINUTE
}

#[derive(Clone)]
enum Heard {
    Play(OperatorNo, Record, Facts),
    Document(Record),
    Licence(Ts, Box<Licence>),
    OperatorState(Ts, OperatorState),
    Declared(Declared),
    Signal(Signal, i64),
    Exclusions(Exclusions),
    Series(SeriesScored),
    RecordScored(RiskyRecord),
    PlayerScored(ScoredPlayer, Ts),
    Tick(Ts, Clock),
}

/// A story. Every step happens a minute after the one before.
#[derive(Clone)]
pub struct Story {
    heard: Vec<Heard>,
    names: Vec<(String, u128)>,
    now: Ts,
    step: i64,
    /// Reported late: the clock of the story goes on from here afterwards.
    resume: Option<Ts>,
    currency: Currency,
    device: Option<String>,
    account: Option<String>,
    channel: Option<PlayChannel>,
    product: Option<Product>,
    bet: Option<String>,
    outcome: Option<String>,
    operator: OperatorNo,
    excluded: BTreeMap<String, Excluded>,
    asked: BTreeMap<String, Ts>,
    asked_for_marketing: BTreeMap<String, Ts>,
    ages: BTreeMap<String, AgeBand>,
    gap: Option<Window>,
    valid_to: Option<Ts>,
    products: Vec<String>,
    conditions: Vec<String>,
    channels: Option<Vec<PlayChannel>>,
    returns: Option<BTreeMap<Product, LicensedReturn>>,
    spans: i64,
}

fn minute(n: i64) -> Ts {
    Ts(BEGIN + n * MINUTE)
}

fn key(kind: &str, name: &str) -> u128 {
    u128::from(id_digest(&format!("{kind} {name}"))) << 24
}

impl Story {
    /// Begins at a minute.
    pub fn at(n: i64) -> Self {
        Self {
            heard: Vec::new(),
            names: Vec::new(),
            now: minute(n),
            step: MINUTE,
            resume: None,
            currency: Currency::KES,
            device: None,
            account: None,
            channel: None,
            product: None,
            bet: None,
            outcome: None,
            operator: OperatorNo(1),
            excluded: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_for_marketing: BTreeMap::new(),
            ages: BTreeMap::new(),
            gap: None,
            valid_to: None,
            products: Vec::new(),
            conditions: Vec::new(),
            channels: None,
            returns: None,
            spans: 0,
        }
    }

    /// Time goes by.
    pub fn after(mut self, micros: i64) -> Self {
        self.now = self.resume.take().unwrap_or(self.now).plus(micros);
        self
    }

    /// Until that minute.
    pub fn until(mut self, n: i64) -> Self {
        (self.now, self.resume) = (minute(n), None);
        self
    }

    /// What is reported next happened that long ago.
    pub fn before(mut self, micros: i64) -> Self {
        self.resume = Some(self.now);
        self.now = self.now.plus(-micros);
        self
    }

    /// Steps of a second.
    pub fn quickly(mut self) -> Self {
        self.step = SECOND;
        self
    }

    pub fn in_currency(mut self, code: &str) -> Self {
        self.currency = Currency::parse(code).unwrap();
        self
    }

    pub fn on_device(mut self, name: &str) -> Self {
        self.names.push((format!("device {name}"), key("device", name)));
        self.device = Some(name.to_owned());
        self
    }

    /// Money comes from there, or goes there; from nowhere that is named by "".
    pub fn account(mut self, name: &str) -> Self {
        self.names.push((format!("account {name}"), key("account", name)));
        self.account = Some(name.to_owned()).filter(|name| !name.is_empty());
        self
    }

    pub fn retail(mut self) -> Self {
        self.channel = Some(PlayChannel::Retail);
        self
    }

    pub fn online(mut self) -> Self {
        self.channel = Some(PlayChannel::Online);
        self
    }

    pub fn product(mut self, name: &str) -> Self {
        self.product = Some(Product::parse(name).unwrap());
        self
    }

    /// The next records are of a bet with this id.
    pub fn of_bet(mut self, id: Option<String>) -> Self {
        self.bet = id;
        self
    }

    pub fn at_operator(mut self, no: u16) -> Self {
        self.operator = OperatorNo(no);
        self
    }

    /// The next stakes are on an outcome, at odds in hundredths.
    pub fn outcome(mut self, game: &str, selection: &str, odds: i64) -> Self {
        let odds = odds as f64 / 100.0;
        let detail = serde_json::json!({
            "game.id": game, "bet.parts": 1, "bet.odds": odds, "bet.live": false,
            "extra": {"selection": selection, "market": "result"},
        });
        self.outcome = Some(detail.to_string());
        self
    }

    pub fn excluded(mut self, who: &str, since: i64, until: Option<i64>) -> Self {
        // of the whole story, whatever was told before
        let excluded = Excluded { since: minute(since), until: until.map(minute) };
        self.excluded.insert(who.to_owned(), excluded);
        for heard in &mut self.heard {
            if let Heard::Play(_, record, facts) = heard
                && record.player == Some(MatchKey(key("player", who)))
                && record.occurred_at >= excluded.since
            {
                facts.excluded = Some(excluded);
            }
        }
        self
    }

    pub fn asked(mut self, who: &str, n: i64) -> Self {
        self.asked.insert(who.to_owned(), minute(n));
        self
    }

    pub fn asked_for_marketing(mut self, who: &str, n: i64) -> Self {
        self.asked_for_marketing.insert(who.to_owned(), minute(n));
        self
    }

    pub fn of_age(mut self, who: &str, age: AgeBand) -> Self {
        self.ages.insert(who.to_owned(), age);
        self
    }

    /// A gap in the evidence.
    pub fn gap(mut self, from: i64, to: i64) -> Self {
        self.gap = Some(Window { start: minute(from), end: minute(to) });
        self
    }

    fn tell(mut self, heard: Heard) -> Self {
        self.heard.push(heard);
        self.now = self.resume.take().unwrap_or(self.now.plus(self.step));
        self
    }

    fn record(&self, kind: RecordKind, amount_minor: i64) -> Record {
        let record_id = format!("{}-{}", kind.as_str(), self.heard.len() + 1);
        Record {
            id_digest: id_digest(&record_id),
            record_id,
            kind,
            occurred_at: self.now,
            amount_minor,
            currency: self.currency,
            product: self.product,
            channel: self.channel,
            bet_id: self.bet.clone(),
            ..Record::for_tests()
        }
    }

    /// A record of somebody; a name that begins with # is an operator's own account number.
    fn play(mut self, who: &str, record: Record) -> Self {
        let player = key("player", who);
        self.names.push((format!("player {who}"), player));
        let is_identified = !who.starts_with('#');
        let facts = Facts {
            is_identified,
            excluded: self.excluded.get(who).copied().filter(|excluded| record.occurred_at >= excluded.since),
            checked_at: self.asked.get(who).copied(),
            marketing_checked_at: self.asked_for_marketing.get(who).copied(),
            evidence_gap: self.gap,
            age: self.ages.get(who).copied(),
        };
        let device = self.device.as_ref().map(|name| MatchKey(key("device", name)));
        let record = Record { player: Some(MatchKey(player)), is_identified, device, ..record };
        let operator = self.operator;
        self.tell(Heard::Play(operator, record, facts))
    }

    fn money(self, who: &str, kind: RecordKind, amount: i64, status: RecordStatus) -> Self {
        let account = self.account.as_ref().map(|name| MatchKey(key("account", name)));
        let detail = self.outcome.clone().filter(|_| kind == RecordKind::Stake).unwrap_or_default();
        let record = Record { status, detail, account, ..self.record(kind, amount) };
        self.play(who, record)
    }

    pub fn stake(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Stake, amount, RecordStatus::Successful)
    }

    pub fn failed_stake(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Stake, amount, RecordStatus::Failed)
    }

    pub fn ticket(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::TicketSale, amount, RecordStatus::Successful)
    }

    pub fn anonymous_ticket(self, amount: i64) -> Self {
        let record = self.record(RecordKind::TicketSale, amount);
        let operator = self.operator;
        self.tell(Heard::Play(operator, record, Facts::default()))
    }

    pub fn payout(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Payout, amount, RecordStatus::Successful)
    }

    pub fn deposit(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Deposit, amount, RecordStatus::Successful)
    }

    pub fn failed_deposit(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Deposit, amount, RecordStatus::Failed)
    }

    pub fn withdraw(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Withdrawal, amount, RecordStatus::Successful)
    }

    pub fn failed_withdrawal(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Withdrawal, amount, RecordStatus::Failed)
    }

    pub fn bonus(self, who: &str, amount: i64) -> Self {
        self.money(who, RecordKind::Bonus, amount, RecordStatus::Successful)
    }

    pub fn campaign_bonus(self, who: &str, amount: i64, campaign: &str) -> Self {
        let detail = serde_json::json!({"extra": {"campaign": campaign}}).to_string();
        let record = Record { detail, ..self.record(RecordKind::Bonus, amount) };
        self.play(who, record)
    }

    pub fn marketing(self, who: &str) -> Self {
        let record = self.record(RecordKind::Marketing, 0);
        self.play(who, record)
    }

    pub fn login(self, who: &str) -> Self {
        let record = self.record(RecordKind::Login, 0);
        self.play(who, record)
    }

    pub fn failed_login(self, who: &str) -> Self {
        let record = Record { status: RecordStatus::Failed, ..self.record(RecordKind::Login, 0) };
        self.play(who, record)
    }

    pub fn session(self, who: &str) -> Self {
        let record = self.record(RecordKind::SessionStart, 0);
        self.play(who, record)
    }

    pub fn intervention(self, who: &str) -> Self {
        let record = self.record(RecordKind::Intervention, 0);
        self.play(who, record)
    }

    pub fn limit(self, who: &str, kind: &str, amount: Option<i64>) -> Self {
        let detail =
            serde_json::json!({"limit.type": kind, "limit.old_minor": 1, "limit.new_minor": amount}).to_string();
        let record = Record { detail, ..self.record(RecordKind::LimitChange, 0) };
        self.play(who, record)
    }

    /// The n-th record of the story was cancelled after all.
    pub fn take_back(self, who: &str, n: usize) -> Self {
        let Some(Heard::Play(_, was, _)) = self.heard.get(n - 1) else { panic!("no record {n}") };
        let replaces = Some(was.record_id.clone());
        let record = Record { replaces, status: RecordStatus::Cancelled, ..self.record(was.kind, was.amount_minor) };
        self.play(who, record)
    }

    fn document(self, kind: RecordKind, amount: i64, document: &Document) -> Self {
        let detail = format!("{{\"{}\":{}}}", document.name(), document.to_json());
        let record = Record { detail, ..self.record(kind, amount) };
        self.tell(Heard::Document(record))
    }

    fn bill(
        mut self,
        (number, tax): (&str, &str),
        period: (i64, i64),
        amount: i64,
        due: i64,
        (state, paid_minor): (InvoiceState, i64),
    ) -> Self {
        self.names.push((format!("invoice {number}"), u128::from(id_digest(&format!("KRA\0{number}")))));
        let invoice = Invoice {
            number: number.to_owned(),
            authority: "KRA".to_owned(),
            tax: Some(tax.to_owned()),
            jurisdiction: None,
            period_from: Some(minute(period.0)),
            period_to: Some(minute(period.1)),
            due_at: Some(minute(due)),
            state,
            paid_minor,
        };
        self.document(RecordKind::Invoice, amount, &Document::Invoice(invoice))
    }

    pub fn invoice(self, number: &str, tax: &str, period: (i64, i64), amount: i64, due: i64) -> Self {
        self.bill((number, tax), period, amount, due, (InvoiceState::Issued, 0))
    }

    pub fn invoice_paid(self, number: &str, tax: &str, period: (i64, i64), amount: i64, due: i64) -> Self {
        self.bill((number, tax), period, amount, due, (InvoiceState::Paid, amount))
    }

    /// Paid, without saying how much.
    pub fn invoice_settled(self, number: &str, tax: &str, period: (i64, i64), amount: i64, due: i64) -> Self {
        self.bill((number, tax), period, amount, due, (InvoiceState::Paid, 0))
    }

    /// So much of it is paid by now; of minute 0 to 1,440, due at minute 5,000.
    pub fn invoice_paid_of(self, number: &str, amount: i64, paid: i64) -> Self {
        self.bill((number, "gaming_tax"), (0, 1_440), amount, 5_000, (InvoiceState::Issued, paid))
    }

    pub fn invoice_cancelled(self, number: &str, tax: &str, period: (i64, i64), amount: i64, due: i64) -> Self {
        self.bill((number, tax), period, amount, due, (InvoiceState::Cancelled, 0))
    }

    fn payment(self, reference: String, invoice: &str, amount: i64, state: PaymentState) -> Self {
        let payment = Payment { reference, invoice: Some(invoice.to_owned()), authority: None, state };
        self.document(RecordKind::Payment, amount, &Document::Payment(payment))
    }

    /// A payment: on its way, then there.
    pub fn pay(self, invoice: &str, amount: i64) -> Self {
        let reference = format!("pay-{}", self.heard.len());
        let (resume, late) = (self.resume, self.now);
        let mut story = self.payment(reference.clone(), invoice, amount, PaymentState::Pending);
        if resume.is_some() {
            (story.now, story.resume) = (late.plus(MINUTE), resume);
        }
        story.payment(reference, invoice, amount, PaymentState::Completed)
    }

    pub fn pay_and_reverse(self, invoice: &str, amount: i64) -> Self {
        let story = self.payment("once".to_owned(), invoice, amount, PaymentState::Completed);
        story.payment("once".to_owned(), invoice, amount, PaymentState::Reversed)
    }

    pub fn declare(mut self, period: (i64, i64), base: Base, amount_minor: i64) -> Self {
        let digest = id_digest(&format!("{}\0{}", base.words(), self.currency));
        self.names.push((format!("declaration {}", base.words()), u128::from(digest)));
        let period = Window { start: minute(period.0), end: minute(period.1) };
        let declared = Declared { at: self.now, period, currency: self.currency, base, amount_minor };
        self.tell(Heard::Declared(declared))
    }

    pub fn signal(self, who: &str, level: Severity) -> Self {
        self.signal_behind(who, level, 0)
    }

    /// A sign, behind which the operator's records lie so far.
    pub fn signal_behind(self, who: &str, level: Severity, behind: i64) -> Self {
        // a sign that grows is the same sign
        let before = self.heard.iter().rev().find_map(|heard| match heard {
            Heard::Signal(signal, _) if signal.player == MatchKey(key("player", who)) => Some(signal.at),
            _ => None,
        });
        let signal = Signal { player: MatchKey(key("player", who)), level, at: before.unwrap_or(self.now) };
        let mut story = self.tell(Heard::Signal(signal, behind));
        story.names.push((format!("player {who}"), key("player", who)));
        story.now = story.now.plus(-MINUTE);
        story
    }

    /// The next day's exclusions.
    pub fn exclusions(mut self, count: u64, players: Option<u64>) -> Self {
        self.spans += 1;
        self.exclusions_again_for(count, players)
    }

    /// Another figure of the same day.
    pub fn exclusions_again(self, count: u64) -> Self {
        self.exclusions_again_for(count, None)
    }

    fn exclusions_again_for(self, count: u64, players: Option<u64>) -> Self {
        let start = Ts(BEGIN + self.spans * DAY);
        let window = Window { start, end: start.plus(DAY) };
        self.tell(Heard::Exclusions(Exclusions { window, count, players, at: window.end }))
    }

    /// Points are scored.
    pub fn series(self, scores: Vec<SeriesScore>) -> Self {
        let at = scores.iter().map(|score| score.window.end).max().unwrap_or(self.now);
        let operator_seq = self.heard.len() as i64 + 1;
        self.tell(Heard::Series(SeriesScored { operator_seq, at, params_version: 1, scores }))
    }

    /// A record of somebody is scored, in millionths, by version 3 of a model.
    pub fn scored(mut self, who: &str, score_ppm: u32) -> Self {
        let player = key("player", who);
        self.names.push((format!("player {who}"), player));
        self.scored_of((Some(MatchKey(player)), None), score_ppm)
    }

    /// A record of nobody is scored: made at `terminal …`, in `shop …`, or nobody says where.
    pub fn anonymous_scored(mut self, place: Option<&str>, score_ppm: u32) -> Self {
        let sold_at = place.map(|place| {
            let digest = id_digest(place);
            self.names.push((place.to_owned(), u128::from(digest)));
            if place.starts_with("terminal") { SoldAt::Terminal(digest) } else { SoldAt::Shop(digest) }
        });
        self.scored_of((None, sold_at), score_ppm)
    }

    fn scored_of(self, (player, sold_at): (Option<MatchKey>, Option<SoldAt>), score_ppm: u32) -> Self {
        let record_id = format!("scored-{}", self.heard.len() + 1);
        let (at, reasons) = (self.now, vec!["because".to_owned()]);
        self.tell(Heard::RecordScored(RiskyRecord { record_id, player, sold_at, at, score_ppm, reasons }))
    }

    /// Somebody is scored at the end of a day.
    pub fn player_scored(mut self, who: &str, score_ppm: u32) -> Self {
        let (player, as_of, reasons) = (MatchKey(key("player", who)), self.now, vec!["because".to_owned()]);
        self.names.push((format!("player {who}"), player.0));
        let currency = self.currency;
        self.tell(Heard::PlayerScored(ScoredPlayer { player, currency, score_ppm, reasons }, as_of))
    }

    /// The clock of the operator's records.
    pub fn tick(self) -> Self {
        self.tick_of(Clock::Records)
    }

    /// The wall clock, beside records with a clock of their own.
    pub fn wall_tick(self) -> Self {
        self.tick_of(Clock::Wall)
    }

    fn tick_of(self, clock: Clock) -> Self {
        let at = self.now;
        let mut story = self.tell(Heard::Tick(at, clock));
        story.now = at;
        story
    }
}

impl Heard {
    fn input(&self) -> (OperatorNo, Input<'_>) {
        match self {
            Self::Play(no, record, facts) => (*no, Input::Play { record, facts }),
            Self::Document(record) => (OperatorNo(1), Input::Document { record }),
            Self::Licence(at, licence) => (OperatorNo(1), Input::Licence { at: *at, licence }),
            Self::OperatorState(at, state) => (OperatorNo(1), Input::OperatorState { at: *at, state: *state }),
            Self::Declared(declared) => (OperatorNo(1), Input::Declared(*declared)),
            Self::Signal(signal, behind) => (OperatorNo(1), Input::Signal { signal: *signal, behind: *behind }),
            Self::Exclusions(exclusions) => (OperatorNo(1), Input::Exclusions(*exclusions)),
            Self::Series(scored) => (OperatorNo(1), Input::Series(scored)),
            Self::RecordScored(scored) => (OperatorNo(1), Input::RecordScored { scored, version: 3 }),
            Self::PlayerScored(scored, as_of) => {
                (OperatorNo(1), Input::PlayerScored { scored, version: 3, as_of: *as_of })
            }
            Self::Tick(at, clock) => (OperatorNo(1), Input::Tick { at: *at, clock: *clock }),
        }
    }
}
