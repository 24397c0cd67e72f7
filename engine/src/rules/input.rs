//! What a rule may hear: numbered, stored inputs, and what register and evidence knew when a batch was committed.

use models::alert::{Severity, Window};
use models::match_key::MatchKey;
use models::money::Currency;
use models::operator::{Licence, OperatorState};
use models::record::{Record, RecordKind, RecordStatus};
use models::score::{RiskyRecord, ScoredPlayer};
use models::series::SeriesScored;
use models::ts::{MINUTE, Ts};
use serde::{Deserialize, Serialize};

/// How far behind a record a check may lie by its own clock and still count as before it: clocks differ. Whoever fills
/// in [`Facts`] takes checks up to this long after the record.
pub const CHECK_SLACK: i64 = MINUTE;

/// An exclusion that binds at the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// First instant.
    pub since: Ts,
    /// First instant after it; none = open.
    pub until: Option<Ts>,
}

/// Age, as far as thresholds differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeBand {
    /// 18 to 23 years.
    Under24,
    /// 24 years and more.
    From24,
}

/// The age from which on a player is no young adult any more (FACTS, behavioural markers).
const GROWN: i64 = 24;

impl AgeBand {
    /// Of an age in years.
    #[must_use]
    pub fn of(years: i64) -> Self {
        if years < GROWN { Self::Under24 } else { Self::From24 }
    }
}

/// What register and evidence knew of a record's player when its batch was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The player is known by phone, document or token: somebody whom the operator can ask about. One known only by the
    /// operator's own account number is nobody in the register: counted, never accused of not having been checked.
    pub is_identified: bool,
    /// The newest exclusion that began before the record and binds at this operator.
    pub excluded: Option<Excluded>,
    /// This operator's last question about this person before the record (plus [`CHECK_SLACK`]), whatever the purpose.
    pub checked_at: Option<Ts>,
    /// The same with the purpose of marketing.
    pub marketing_checked_at: Option<Ts>,
    /// The newest journaled evidence gap that began before the record.
    pub evidence_gap: Option<Window>,
    /// Age, where it is known.
    pub age: Option<AgeBand>,
}

impl Facts {
    /// Is a check within `[at − span, at]` missing, where it would be known if there was one? None: nobody can say.
    #[must_use]
    pub fn lacks_check(&self, checked_at: Option<Ts>, at: Ts, span: i64) -> Option<bool> {
        let from = at.plus(-span);
        if !self.is_identified {
            return None;
        }
        if checked_at.is_some_and(|checked| checked >= from) {
            return Some(false);
        }
        let gap = self.evidence_gap.is_some_and(|gap| gap.start <= at && gap.end > from);
        if gap { None } else { Some(true) }
    }
}

/// What is declared to an authority, and held against what the records add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Stakes − payouts.
    GrossGamingRevenue,
    /// Stakes, less voided ones.
    Stakes,
    /// Payouts, cash-outs and redemptions.
    Payouts,
    /// Deposits.
    Deposits,
    /// Withdrawals.
    Withdrawals,
}

impl Base {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::GrossGamingRevenue => "gross gaming revenue",
            Self::Stakes => "stakes",
            Self::Payouts => "payouts",
            Self::Deposits => "deposits",
            Self::Withdrawals => "withdrawals",
        }
    }
}

/// A declaration of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// When it was made.
    pub at: Ts,
    /// Of which period: whole hours.
    pub period: Window,
    /// Currency.
    pub currency: Currency,
    /// Of what.
    pub base: Base,
    /// How much, minor units.
    pub amount_minor: i64,
}

/// A sign of harm, from a model or a screening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Whose.
    pub player: MatchKey,
    /// How strong.
    pub level: Severity,
    /// When it was given to the operator.
    pub at: Ts,
}

/// Registrations that an operator reported in a span: hours or days, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusions {
    /// The span.
    pub window: Window,
    /// How many.
    pub count: u64,
    /// Active players of the operator, where somebody counts them.
    pub players: Option<u64>,
    /// When they were counted: a span may go on.
    pub at: Ts,
}

/// Whose time a tick tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That of the operator's own records, be it the wall's: what was made until then has been heard.
    Records,
    /// The wall's, where records have a clock of their own, or there are none: what was made until then may still come.
    Wall,
}

/// One thing heard, in the order in which it was numbered.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A record of play.
    Play {
        /// The record.
        record: &'a Record,
        /// What was known of its player.
        facts: &'a Facts,
    },
    /// A document of an authority, a tax office or a bank.
    Document {
        /// The record that carries it.
        record: &'a Record,
    },
    /// A licence of the operator that the regulator entered: heard as if its authority said so.
    Licence {
        /// When it was entered.
        at: Ts,
        /// It.
        licence: &'a Licence,
    },
    /// The regulator suspended or closed the operator, or let it trade again.
    OperatorState {
        /// When.
        at: Ts,
        /// What it is from then on.
        state: OperatorState,
    },
    /// A declaration.
    Declared(Declared),
    /// A sign of harm.
    Signal {
        /// It.
        signal: Signal,
        /// How far the clock of the operator's records lay behind it, microseconds; 0 where they follow the wall clock.
        behind: i64,
    },
    /// Exclusions reported.
    Exclusions(Exclusions),
    /// Series of the operator are unusual.
    Series(&'a SeriesScored),
    /// A record was scored high enough to be named.
    RecordScored {
        /// It.
        scored: &'a RiskyRecord,
        /// Version of the model.
        version: u32,
    },
    /// A player was scored.
    PlayerScored {
        /// They.
        scored: &'a ScoredPlayer,
        /// Version of the model.
        version: u32,
        /// First instant behind the day.
        as_of: Ts,
    },
    /// A clock: what is overdue, and what is complete.
    Tick {
        /// The time.
        at: Ts,
        /// Whose.
        clock: Clock,
    },
}

/// What happened, as rules listen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Trigger {
    /// A login or the start of a session.
    Entry,
    /// A stake or a ticket.
    Bet,
    /// A payout, a cash-out, a redemption, a void.
    Settled,
    /// A deposit.
    Deposit,
    /// A withdrawal.
    Withdrawal,
    /// A bonus, or marketing.
    Offer,
    /// An intervention.
    Intervention,
    /// Any other record of play.
    Other,
    /// A deposit or withdrawal was taken back by a record that replaces it.
    Undone,
    /// A document, or what the regulator entered of a licence or of the operator.
    Document,
    /// A declaration.
    Declared,
    /// A sign of harm.
    Signal,
    /// Exclusions reported.
    Exclusions,
    /// Series are unusual.
    Series,
    /// A score of a record.
    RecordScored,
    /// A score of a player.
    PlayerScored,
    /// A record is the first of a new day: the day before is over.
    DayClosed,
    /// The clock.
    Tick,
}

impl Trigger {
    /// How many there are.
    pub const COUNT: usize = Self::Tick as usize + 1;

    /// What a record triggers; none where it did not go through.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        use RecordKind as K;
        if record.status != RecordStatus::Successful {
            return None;
        }
        Some(match record.kind {
            K::Login | K::SessionStart => Self::Entry,
            K::Stake | K::TicketSale => Self::Bet,
            K::Payout | K::CashOut | K::Redemption | K::Void => Self::Settled,
            K::Deposit => Self::Deposit,
            K::Withdrawal => Self::Withdrawal,
            K::Bonus | K::Marketing => Self::Offer,
            K::Intervention => Self::Intervention,
            K::Adjustment | K::SessionEnd | K::LimitChange | K::Complaint | K::AccountOpened | K::AccountClosed => {
                Self::Other
            }
            K::LicenceStatus | K::Invoice | K::Payment | K::BankLine => Self::Document,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_check_is_missing_is_yes_no_or_nobody_can_say() {
        let at = Ts(100 * MINUTE);
        let gap = |from: i64, to: i64| Some(Window { start: Ts(from * MINUTE), end: Ts(to * MINUTE) });
        // what is told | identified, minute of the check, evidence gap | missing within 15 minutes
        let table = [
            ("asked a minute before", true, Some(99), None, Some(false)),
            ("asked fifteen minutes before", true, Some(85), None, Some(false)),
            ("asked sixteen minutes before", true, Some(84), None, Some(true)),
            ("never asked", true, None, None, Some(true)),
            ("known by account number alone", false, None, None, None),
            ("a gap in the evidence just then", true, None, gap(90, 95), None),
            ("a gap that ended before", true, None, gap(70, 85), Some(true)),
            ("a gap that still lasts", true, None, gap(20, 200), None),
            ("a gap, but a check is known", true, Some(99), gap(90, 95), Some(false)),
        ];
        for (what, is_identified, minute, evidence_gap, wanted) in table {
            let checked_at = minute.map(|minute: i64| Ts(minute * MINUTE));
            let facts = Facts { is_identified, checked_at, evidence_gap, ..Facts::default() };
            assert_eq!(facts.lacks_check(facts.checked_at, at, 15 * MINUTE), wanted, "{what}");
        }
    }
}
