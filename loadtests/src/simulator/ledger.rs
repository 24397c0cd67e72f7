//! What an operator's play comes to: sums, settlements at its bank, invoices of the tax authorities and their payments.
//!
//! All of it follows from what was played, so that whoever adds the records up again comes to the same amounts – but for
//! the errors that the scenario plants and the ground truth names.

use super::dice::{Dice, letters};
use super::record::{Class, Money, Record, Sent};
use super::scenario::{Base, Discrepancies, Operator, Period, Tax};
use super::truth::{RecordRef, Truth};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::{Value, json};

/// Sums of what went through, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Played {
    pub stakes: i64,
    pub payouts: i64,
    pub deposits: i64,
    pub withdrawals: i64,
}

impl Played {
    /// Takes a record in.
    pub fn take(&mut self, record: &Record) {
        let amount = record.moved_minor();
        match record.kind {
            "stake" | "ticket_sale" => self.stakes += amount,
            "payout" | "redemption" => self.payouts += amount,
            "void" => self.stakes -= amount,
            "deposit" => self.deposits += amount,
            "withdrawal" => self.withdrawals += amount,
            _ => {}
        }
    }

    /// What came since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            stakes: self.stakes - before.stakes,
            payouts: self.payouts - before.payouts,
            deposits: self.deposits - before.deposits,
            withdrawals: self.withdrawals - before.withdrawals,
        }
    }

    fn base(&self, base: Base) -> i64 {
        let sum = match base {
            Base::GrossGamingRevenue => self.stakes - self.payouts,
            Base::Stakes => self.stakes,
            Base::Deposits => self.deposits,
            Base::Withdrawals => self.withdrawals,
        };
        // nobody is paid for having lost
        sum.max(0)
    }
}

impl Period {
    /// Its length, microseconds.
    pub fn length(self) -> i64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
            Self::ThirtyDays => 30 * DAY,
        }
    }
}

/// What becomes of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Paid,
    Late,
    Short,
    Ghost,
}

/// What is to be done with an invoice next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is due, and not paid.
    FallsDue,
    /// A payment is on its way.
    Pays,
    /// It is completed.
    Completes,
}

/// An invoice.
#[derive(Clone, Debug)]
pub struct Invoice {
    tax: usize,
    operator: usize,
    number: String,
    name: String,
    versions: u64,
    amount: i64,
    from: Ts,
    to: Ts,
    due: Ts,
    fate: Fate,
}

/// Everything that follows from the play of one operator.
#[derive(Debug)]
pub struct Ledger {
    operator: usize,
    played: Played,
    taxed: Vec<Played>,
    settled: Played,
    balance: i64,
    statement: String,
    line: u32,
    serial: u64,
    dice: Dice,
}

/// What a step leads to.
#[derive(Debug, Default)]
pub struct Steps {
    /// Records of the authorities.
    pub records: Vec<Sent>,
    /// Lines of the ground truth, before them.
    pub truths: Vec<Truth>,
    /// An invoice with which something is to be done at a time.
    pub next: Option<(Ts, Step, Invoice)>,
}

/// What the authorities know of it.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    /// What ids begin with.
    pub tag: &'a str,
    /// The operator.
    pub operator: &'a Operator,
    /// Every tax.
    pub taxes: &'a [Tax],
    /// How often something is wrong.
    pub errors: &'a Discrepancies,
}

impl Office<'_> {
    fn money(&self, amount_minor: i64) -> Option<Money> {
        Some(Money { amount_minor, currency: self.operator.currency.as_str().to_owned() })
    }

    fn name(&self, class: Class, record: &Record) -> RecordRef {
        RecordRef::of(&self.operator.code, class, record)
    }
}

/// A date of UTC.
pub fn date(at: Ts) -> String {
    at.to_string().chars().take(10).collect()
}

impl Ledger {
    /// Of an operator, on a stream of its own.
    pub fn new(operator: usize, taxes: usize, opening_balance: i64, seed: u64) -> Self {
        Self {
            operator,
            played: Played::default(),
            taxed: vec![Played::default(); taxes],
            settled: Played::default(),
            balance: opening_balance,
            statement: String::new(),
            line: 0,
            serial: 0,
            dice: Dice::new(seed, "ledger", operator as u64),
        }
    }

    /// Takes a record of the operator in.
    pub fn take(&mut self, record: &Record) {
        self.played.take(record);
    }

    fn next_name(&mut self, office: Office<'_>, what: &str) -> String {
        self.serial += 1;
        format!("{}-{what}-{}-{}", office.tag, letters(self.operator as u64), letters(self.serial))
    }

    fn sent(&self, class: Class, at: Ts, record: Record) -> Sent {
        Sent { operator: self.operator, class, at, record }
    }

    /// The end of a tax period: an invoice, where anything is to be paid.
    pub fn close(&mut self, office: Office<'_>, tax: usize, at: Ts) -> Steps {
        let rule = &office.taxes[tax];
        let played = self.played.since(&self.taxed[tax]);
        self.taxed[tax] = self.played;
        let owed = (played.base(rule.base) as f64 * rule.percent / 100.0).round() as i64;
        let mut steps = Steps::default();
        if owed <= 0 {
            return steps;
        }
        let is_low = self.dice.percent(office.errors.understated_invoice_percent);
        let amount = if is_low { (owed as f64 * self.dice.span(0.6, 0.9)) as i64 } else { owed };
        let fates = [
            (Fate::Late, office.errors.late_payment_percent),
            (Fate::Short, office.errors.short_payment_percent),
            (Fate::Ghost, office.errors.ghost_payment_percent),
        ];
        let fate = fates.into_iter().find(|(_, percent)| self.dice.percent(*percent)).map_or(Fate::Paid, |(f, _)| f);
        let name = self.next_name(office, "inv");
        let patience = i64::from(rule.due_seconds) * SECOND;
        let mut invoice = Invoice {
            tax,
            operator: self.operator,
            number: format!("{}-{}", rule.authority, name.to_uppercase()),
            name,
            versions: 0,
            amount,
            from: at.plus(-rule.period.length()),
            to: at,
            due: at.plus(patience),
            fate,
        };
        let record = invoice.version(office, at, "issued", 0);
        let named = vec![office.name(Class::Invoices, &record)];
        let error = |mark, amount_minor| Truth::Discrepancy {
            mark,
            operator: office.operator.code.clone(),
            at,
            amount_minor,
            records: named.clone(),
        };
        if is_low {
            steps.truths.push(error("understated_invoice", Some(owed - amount)));
        }
        match fate {
            Fate::Late => steps.truths.push(error("late_payment", None)),
            Fate::Short => steps.truths.push(error("short_payment", None)),
            Fate::Paid | Fate::Ghost => {}
        }
        steps.records.push(self.sent(Class::Invoices, at, record));
        let (when, step) = match fate {
            Fate::Late => (invoice.due, Step::FallsDue),
            _ => (at.plus((patience as f64 * self.dice.span(0.2, 0.8)) as i64), Step::Pays),
        };
        steps.next = Some((when, step, invoice));
        steps
    }

    /// What is done with an invoice.
    pub fn step(&mut self, office: Office<'_>, step: Step, mut invoice: Invoice, at: Ts) -> Steps {
        let mut steps = Steps::default();
        let part = if invoice.fate == Fate::Short { invoice.amount * 7 / 10 } else { invoice.amount };
        match step {
            Step::FallsDue => {
                let record = invoice.version(office, at, "overdue", 0);
                steps.records.push(self.sent(Class::Invoices, at, record));
                let patience = (invoice.due.0 - invoice.to.0).max(SECOND) as f64;
                let when = at.plus((patience * self.dice.span(0.2, 1.0)) as i64);
                steps.next = Some((when, Step::Pays, invoice));
            }
            Step::Pays => {
                let record = invoice.payment(office, at, part, "pending");
                steps.records.push(self.sent(Class::Payments, at, record));
                steps.next = Some((at.plus(self.dice.between(5, 60) * SECOND), Step::Completes, invoice));
            }
            Step::Completes => {
                let payment = invoice.payment(office, at, part, "completed");
                let state = if part < invoice.amount { "part_paid" } else { "paid" };
                let record = invoice.version(office, at, state, part);
                let line = match invoice.fate {
                    Fate::Ghost => {
                        steps.truths.push(Truth::Discrepancy {
                            mark: "ghost_payment",
                            operator: office.operator.code.clone(),
                            at,
                            amount_minor: Some(part),
                            records: vec![office.name(Class::Payments, &payment)],
                        });
                        None
                    }
                    _ => {
                        let to = office.taxes[invoice.tax].authority.clone();
                        Some(self.line(office, at, -part, &to, &invoice.reference()))
                    }
                };
                steps.records.push(self.sent(Class::Payments, at, payment));
                steps.records.push(self.sent(Class::Invoices, at, record));
                steps.records.extend(line);
            }
        }
        steps
    }

    /// What players paid in and were paid out since the last settlement reaches the bank.
    pub fn settle(&mut self, office: Office<'_>, at: Ts) -> Steps {
        let moved = self.played.since(&self.settled);
        self.settled = self.played;
        let mut steps = Steps::default();
        for (amount, text) in [(moved.deposits, "DEPOSITS"), (-moved.withdrawals, "PAYOUTS")] {
            if amount == 0 {
                continue;
            }
            let is_wrong = self.dice.percent(office.errors.wrong_settlement_percent);
            let booked = if is_wrong { (amount as f64 * self.dice.span(0.9, 0.99)) as i64 } else { amount };
            let line = self.line(office, at, booked, "MPESA", text);
            if is_wrong {
                steps.truths.push(Truth::Discrepancy {
                    mark: "wrong_settlement",
                    operator: office.operator.code.clone(),
                    at,
                    amount_minor: Some(amount - booked),
                    records: vec![office.name(Class::BankStatements, &line.record)],
                });
            }
            steps.records.push(line);
        }
        steps
    }

    /// A line of the operator's statement; a negative amount is taken from the account.
    fn line(&mut self, office: Office<'_>, at: Ts, amount: i64, counterparty: &str, reference: &str) -> Sent {
        let statement = date(at);
        if statement != self.statement {
            self.statement.clone_from(&statement);
            self.line = 0;
        }
        self.line += 1;
        self.balance += amount;
        let mut record = Record::new(self.next_name(office, "stm"), "bank_line", at);
        record.money = office.money(amount.abs());
        record.balance_after_minor = Some(self.balance);
        record.bank = Some(json!({
            "account": format!("bank-{}", office.operator.code),
            "statement": statement,
            "line": self.line,
            "direction": if amount < 0 { "debit" } else { "credit" },
            "value_date": statement,
            "counterparty": counterparty,
            "reference": reference,
        }));
        self.sent(Class::BankStatements, at, record)
    }
}

impl Invoice {
    /// Position of the operator that owes it.
    pub fn operator(&self) -> usize {
        self.operator
    }

    fn reference(&self) -> String {
        format!("trx-{}", self.name)
    }

    fn version(&mut self, office: Office<'_>, at: Ts, state: &str, paid_minor: i64) -> Record {
        let id = |version| format!("{}-{}", self.name, letters(version));
        let rule = &office.taxes[self.tax];
        let mut record = Record::new(id(self.versions), "invoice", at);
        record.replaces = self.versions.checked_sub(1).map(id);
        record.money = office.money(self.amount);
        record.invoice = Some(json!({
            "number": self.number,
            "authority": rule.authority,
            "tax": rule.name,
            "jurisdiction": rule.jurisdiction,
            "period_from": day_or_time(self.from, rule.period),
            "period_to": day_or_time(self.to.plus(-SECOND), rule.period),
            "due_at": self.due.to_string(),
            "state": state,
            "paid_minor": paid_minor,
        }));
        self.versions += 1;
        record
    }

    fn payment(&self, office: Office<'_>, at: Ts, amount: i64, state: &str) -> Record {
        let id = |state: &str| format!("{}-pay-{state}", self.name);
        let mut record = Record::new(id(state), "payment", at);
        record.replaces = (state == "completed").then(|| id("pending"));
        record.money = office.money(amount);
        record.payment = Some(json!({
            "method": "bank_transfer",
            "account": format!("bank-{}", office.operator.code),
            "reference": self.reference(),
            "invoice": self.number,
            "authority": office.taxes[self.tax].authority,
            "state": state,
        }));
        record
    }
}

/// Days where a period is of days; else the time.
fn day_or_time(at: Ts, period: Period) -> Value {
    if period.length() >= DAY { date(at).into() } else { at.to_string().into() }
}
