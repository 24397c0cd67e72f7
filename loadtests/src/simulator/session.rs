//! A script of what one player does, in order: every step makes its records and moves money on the account.

use super::dice::{Dice, letters};
use super::people::{Account, Member};
use super::record::{Ask, Class, Money, Player, Record, Sent};
use super::scenario::{Naming, Operator, Scenario};
use super::truth::{RecordRef, Truth};
use jiff::tz::TimeZone;
use models::ts::{DAY, SECOND, Ts};
use serde_json::json;

/// A player who keeps within their means takes a break where the number of their acts is a multiple of this at the end of play.
const ACTS_TO_BREAK: u64 = 50;

/// What a script came to.
#[derive(Debug, Default)]
pub struct Plan {
    /// Records in the order of their times.
    pub records: Vec<Sent>,
    /// Questions to the register.
    pub asks: Vec<Ask>,
    /// Lines of the ground truth about them.
    pub truths: Vec<Truth>,
}

impl Plan {
    /// The names of its records of the players themselves.
    pub fn names(&self, operators: &[Operator]) -> Vec<RecordRef> {
        self.records.iter().map(|s| RecordRef::of(&operators[s.operator].code, s.class, &s.record)).collect()
    }
}

/// A payout that is not due yet.
struct Due {
    at: Ts,
    amount: i64,
    record: Record,
}

/// A player at an operator.
pub struct Script<'a> {
    scenario: &'a Scenario,
    tag: &'a str,
    dice: &'a mut Dice,
    member: &'a mut Member,
    account: usize,
    session: Option<String>,
    pending: Vec<Due>,
    surges: &'a [Surge],
    /// Now.
    pub at: Ts,
    /// What came of it so far.
    pub plan: Plan,
}

/// Where a script takes place.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What ids begin with.
    pub tag: &'a str,
    /// When stakes jump.
    pub surges: &'a [Surge],
}

/// When stakes of an operator are so many times as large.
#[derive(Clone, Copy, Debug)]
pub struct Surge {
    /// Position of the operator.
    pub operator: usize,
    /// From then on.
    pub from: Ts,
    /// Until before then.
    pub to: Ts,
    /// How many times.
    pub factor: f64,
}

impl<'a> Script<'a> {
    /// Begins at a time, with one of the player's accounts.
    pub fn new(stage: Stage<'a>, dice: &'a mut Dice, member: &'a mut Member, account: usize, at: Ts) -> Self {
        let Stage { scenario, tag, surges } = stage;
        let plan = Plan::default();
        // times on the wire are whole milliseconds
        let at = at.plus(SECOND / 1000 - 1).floor_to(SECOND / 1000);
        Self { scenario, tag, dice, member, account, session: None, pending: Vec::new(), surges, at, plan }
    }

    fn operator_no(&self) -> usize {
        self.member.accounts[self.account].operator
    }

    fn operator(&self) -> &'a Operator {
        &self.scenario.operators[self.operator_no()]
    }

    fn account(&mut self) -> &mut Account {
        &mut self.member.accounts[self.account]
    }

    /// What lies on the account, minor units.
    pub fn balance(&self) -> i64 {
        self.member.accounts[self.account].balance_minor
    }

    /// The dice of whoever acts.
    pub fn dice(&mut self) -> &mut Dice {
        self.dice
    }

    /// Lets time pass: an exponential of this mean, seconds, and never less than a tenth of a second.
    pub fn wait(&mut self, seconds: f64) {
        let seconds = self.dice.exponential(seconds).max(0.1);
        self.at = self.at.plus((seconds * SECOND as f64) as i64).floor_to(SECOND / 1000);
        self.settle();
    }

    /// A new id of the player.
    pub fn id(&mut self) -> String {
        self.member.serial += 1;
        format!("{}-{}-{}", self.tag, letters(u64::from(self.member.number) + 8_000), letters(self.member.serial))
    }

    fn record(&mut self, kind: &'static str) -> Record {
        let operator = self.operator();
        let phone = (operator.players_by == Naming::Phone).then(|| self.member.phone.clone());
        let mut record = Record::new(self.id(), kind, self.at);
        record.status = Some("successful");
        record.player = Some(Player { account_ref: self.account().reference.clone(), phone });
        record.channel = Some("online");
        record.session_id.clone_from(&self.session);
        record.device_id = Some(self.member.device.clone());
        record.region.clone_from(&operator.region);
        record
    }

    fn money(&self, amount_minor: i64) -> Option<Money> {
        Some(Money { amount_minor, currency: self.operator().currency.as_str().to_owned() })
    }

    fn send(&mut self, class: Class, record: Record) {
        let operator = self.operator_no();
        self.plan.records.push(Sent { operator, class, at: self.at, record });
    }

    /// Opens the account where it is not open yet, and signs in. `None`: checked as often as the operator does.
    pub fn enter(&mut self, checked: Option<bool>) {
        let operator = self.operator();
        // whoever asks does so a second before, and not before the world is there
        self.until(self.at.plus(SECOND));
        if !self.account().is_open {
            self.account().is_open = true;
            let record = self.record("account_opened");
            if checked != Some(false) {
                self.ask(&record, "registration");
            }
            self.send(Class::PlayerAccounts, record);
            self.wait(5.0);
        }
        self.member.serial += 1;
        self.session =
            Some(format!("{}-s-{}-{}", self.tag, letters(self.member.number.into()), letters(self.member.serial)));
        let login = self.record("login");
        let is_checked = self.dice.percent(operator.checked_logins_percent);
        if checked.unwrap_or(is_checked) {
            self.ask(&login, "login");
        } else {
            self.plan.truths.push(Truth::UncheckedLogin {
                player: self.member.number,
                at: self.at,
                record: RecordRef::of(&operator.code, Class::PlayerAccounts, &login),
            });
        }
        self.send(Class::PlayerAccounts, login);
        let start = self.record("session_start");
        self.send(Class::PlayerAccounts, start);
        self.wait(5.0);
    }

    fn ask(&mut self, before: &Record, purpose: &'static str) {
        let ask = Ask {
            operator: self.operator().code.clone(),
            at: self.at.plus(-SECOND),
            phone: self.member.phone.clone(),
            purpose,
            before: before.record_id.clone(),
        };
        self.plan.asks.push(ask);
    }

    /// Pays in; an operator that keeps to the player's limit refuses what would pass it.
    pub fn deposit(&mut self, amount_minor: i64, succeeds: bool) {
        let passes = self.paid_today().saturating_add(amount_minor) > self.account().limit_minor.unwrap_or(i64::MAX);
        self.pay_in(amount_minor, succeeds && !passes);
    }

    /// What was paid in on the local day since the limit was set on it.
    fn paid_today(&mut self) -> i64 {
        let zone = TimeZone::get(&self.operator().zone).unwrap_or(TimeZone::UTC);
        let instant = jiff::Timestamp::from_microsecond(self.at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let day = (self.at.0 + i64::from(zone.to_offset(instant).seconds()) * SECOND).div_euclid(DAY);
        let account = self.account();
        if account.paid_in.0 != day {
            account.paid_in = (day, 0);
        }
        account.paid_in.1
    }

    /// Pays in, whatever the player's limit says.
    pub fn pay_in(&mut self, amount_minor: i64, succeeds: bool) {
        self.paid_today();
        let mut record = self.record("deposit");
        record.money = self.money(amount_minor);
        record.payment = Some(json!({"method": "mpesa", "account": self.member.wallet}));
        if succeeds {
            self.account().balance_minor += amount_minor;
            self.account().paid_in.1 += amount_minor;
        } else {
            record.status = Some("failed");
        }
        record.balance_after_minor = Some(self.balance());
        self.send(Class::GamingTransactions, record);
        self.wait(3.0);
    }

    /// Pays out what lies there, at most this much, to a wallet.
    pub fn withdraw(&mut self, amount_minor: i64, wallet: Option<String>, status: &'static str) {
        let amount = amount_minor.min(self.balance());
        if amount <= 0 {
            return;
        }
        let mut record = self.record("withdrawal");
        record.money = self.money(amount);
        record.status = Some(status);
        let wallet = wallet.unwrap_or_else(|| self.member.wallet.clone());
        record.payment = Some(json!({"method": "mpesa", "account": wallet}));
        if status == "successful" {
            self.account().balance_minor -= amount;
        }
        record.balance_after_minor = Some(self.balance());
        self.send(Class::GamingTransactions, record);
        self.wait(2.0);
    }

    /// Stakes of what lies there at most this much on a product; whether the bet is won. None: nothing lies there.
    pub fn bet(&mut self, product: &str, stake_minor: i64) -> Option<Bet> {
        let stake = self.swollen(stake_minor).min(self.balance());
        let game = self.scenario.games.get(product).filter(|_| stake > 0)?;
        let multiple = self.dice.span(game.multiple_min, game.multiple_max);
        let is_won = self.dice.happens(game.return_percent / 100.0 / multiple);
        let settled_after = if game.settle_seconds > 0.0 { self.dice.exponential(game.settle_seconds) } else { 0.0 };
        let round = format!("{product}-{}", letters(self.dice.between(0, 7_999).unsigned_abs()));
        let bet = self.stake(product, stake, &round, multiple, None);
        if is_won {
            let wins = (stake as f64 * multiple) as i64;
            // nobody is paid for so long that the next session could begin before
            let at = self.at.plus((settled_after.clamp(1.0, 7_200.0) * SECOND as f64) as i64).floor_to(SECOND / 1000);
            self.owe(product, wins, &bet, at, &round);
        }
        Some(Bet { stake_minor: stake, is_won })
    }

    /// What is staked instead of this while stakes of the operator jump; the money for it is paid in first.
    fn swollen(&mut self, stake_minor: i64) -> i64 {
        let (operator, at) = (self.operator_no(), self.at);
        let holds = |surge: &&Surge| surge.operator == operator && (surge.from..surge.to).contains(&at);
        let Some(surge) = self.surges.iter().find(holds) else { return stake_minor };
        let stake = (stake_minor as f64 * surge.factor) as i64;
        if stake > self.balance() {
            self.deposit(2 * stake, true);
        }
        stake
    }

    /// A stake, whatever becomes of it; the id of the bet.
    pub fn stake(
        &mut self,
        product: &str,
        stake_minor: i64,
        round: &str,
        odds: f64,
        selection: Option<&str>,
    ) -> String {
        self.account().balance_minor -= stake_minor;
        let mut record = self.record("stake");
        record.money = self.money(stake_minor);
        record.balance_after_minor = Some(self.balance());
        record.product = Some(product.to_owned());
        record.game = Some(json!({"id": round}));
        let bet = format!("b-{}", record.record_id);
        record.bet = Some(json!({"id": bet, "parts": 1, "odds": (odds * 100.0).round() / 100.0, "live": false}));
        record.extra = selection.map(|side| json!({"selection": side}));
        self.send(Class::GamingTransactions, record);
        bet
    }

    /// A payout that is due at a time.
    pub fn owe(&mut self, product: &str, amount_minor: i64, bet: &str, at: Ts, round: &str) {
        let mut record = self.record("payout");
        record.money = self.money(amount_minor);
        record.product = Some(product.to_owned());
        record.game = Some(json!({"id": round}));
        record.bet = Some(json!({"id": bet, "settles": bet}));
        self.pending.push(Due { at, amount: amount_minor, record });
        self.pending.sort_by_key(|due| due.at);
    }

    /// Pays what is due by now.
    fn settle(&mut self) {
        while self.pending.first().is_some_and(|due| due.at <= self.at) {
            let mut due = self.pending.remove(0);
            self.account().balance_minor += due.amount;
            due.record.balance_after_minor = Some(self.balance());
            due.record.occurred_at = due.at;
            let operator = self.operator_no();
            self.plan.records.push(Sent { operator, class: Class::GamingTransactions, at: due.at, record: due.record });
        }
    }

    /// Waits until then, where it is not later already.
    pub fn until(&mut self, at: Ts) {
        self.at = self.at.max(at);
        self.settle();
    }

    /// Waits until every bet is settled.
    pub fn await_settled(&mut self) {
        if let Some(last) = self.pending.last() {
            self.at = self.at.max(last.at);
            self.settle();
        }
    }

    /// A limit of a day's deposits that the player sets, or changes.
    pub fn limit(&mut self, old_minor: Option<i64>, new_minor: i64) {
        self.paid_today();
        self.account().limit_minor = Some(new_minor);
        self.account().paid_in.1 = 0;
        self.limit_of("deposit_daily", old_minor, new_minor);
    }

    /// A limit of another kind; nobody here keeps to it by themselves.
    pub fn limit_of(&mut self, kind: &str, old_minor: Option<i64>, new_minor: i64) {
        let mut record = self.record("limit_change");
        record.limit = Some(json!({"type": kind, "old_minor": old_minor, "new_minor": new_minor}));
        self.send(Class::PlayerAccounts, record);
        self.wait(2.0);
    }

    /// Takes a break from play, where the count of their acts says so. By that and not by the dice, which fall for a seed as they
    /// did before there were breaks.
    pub fn takes_break(&mut self) -> bool {
        if !self.member.serial.is_multiple_of(ACTS_TO_BREAK) {
            return false;
        }
        let mut record = self.record("limit_change");
        record.limit = Some(json!({"type": "time_out"}));
        self.send(Class::PlayerAccounts, record);
        true
    }

    /// Something about the account that carries no money: `intervention`, `complaint`.
    pub fn note(&mut self, kind: &'static str, extra: serde_json::Value) {
        let mut record = self.record(kind);
        record.extra = Some(extra);
        self.send(Class::PlayerAccounts, record);
        self.wait(2.0);
    }

    /// Gives a bonus; the name of its record.
    pub fn bonus(&mut self, amount_minor: i64, campaign: &str, checked: bool) -> RecordRef {
        self.until(self.at.plus(SECOND));
        self.account().balance_minor += amount_minor;
        let mut record = self.record("bonus");
        record.money = self.money(amount_minor);
        record.balance_after_minor = Some(self.balance());
        record.extra = Some(json!({"campaign": campaign}));
        if checked {
            self.ask(&record, "marketing");
        }
        let name = RecordRef::of(&self.operator().code, Class::GamingTransactions, &record);
        self.send(Class::GamingTransactions, record);
        name
    }

    /// Waits for what is due and signs out.
    pub fn leave(mut self) -> (Plan, Ts) {
        self.await_settled();
        self.wait(5.0);
        let end = self.record("session_end");
        self.send(Class::PlayerAccounts, end);
        (self.plan, self.at)
    }
}

/// What became of a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bet {
    /// What was staked.
    pub stake_minor: i64,
    /// Whether it was won.
    pub is_won: bool,
}
