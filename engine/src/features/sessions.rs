//! Where the sessions of a player begin: by their own ids where records carry one; between the records that begin and end
//! them where bets carry none; else by pauses in play.
//!
//! A session counts with its first bet. What an operator tells of sessions in a feed of its own may come behind the bets: one
//! of which nothing was told by then goes by the pause.

use crate::ingest::id_digest;
use models::ids::OperatorNo;
use models::record::{Record, RecordKind};
use models::ts::{DAY, MINUTE, Ts};
use serde::{Deserialize, Serialize};

/// A pause after which play is another session, where no record says so.
const SESSION_PAUSE: i64 = 30 * MINUTE;
/// Ids of sessions that are remembered: who plays in several windows, or at several operators, goes from one to another.
const IDS_MAX: usize = 8;
/// A session that nobody ended is over then.
const OPEN_MAX: i64 = DAY;

/// What is remembered of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sessions {
    /// Digests of the newest ids, the newest first; 0 = none.
    ids: [u64; IDS_MAX],
    /// Whose records told of a beginning or an end last.
    operator: Option<OperatorNo>,
    begun: Ts,
    ended: Ts,
    /// A bet has been heard of the session that began last.
    is_counted: bool,
    /// The newest bet without an id, and at which operator.
    bet: (Option<OperatorNo>, Ts),
}

impl Sessions {
    /// A record that begins or ends a session. Those of another operator's are no longer looked for.
    pub fn tell(&mut self, operator: Option<OperatorNo>, record: &Record) {
        if self.operator != operator {
            (self.operator, self.begun, self.ended) = (operator, Ts(0), Ts(0));
        }
        match record.kind {
            RecordKind::SessionStart if record.occurred_at > self.begun => {
                self.begun = record.occurred_at;
                self.is_counted = self.bet.0 == operator && self.bet.1 >= self.begun;
            }
            RecordKind::SessionEnd => self.ended = self.ended.max(record.occurred_at),
            _ => {}
        }
    }

    /// A bet of the session of this id: is it the first of it that was heard?
    pub fn is_new(&mut self, operator: Option<OperatorNo>, id: &str) -> bool {
        // two operators may number theirs alike
        let operator = operator.map_or(0, |operator| u64::from(operator.0));
        let id = (id_digest(id) ^ operator.rotate_right(16)).max(1);
        if self.ids.contains(&id) {
            return false;
        }
        self.ids.rotate_right(1);
        self.ids[0] = id;
        true
    }

    /// A bet without an id: is it the first of a session? `before`: the player's newest bet, no later than this one.
    pub fn begins(&mut self, operator: Option<OperatorNo>, at: Ts, before: Option<Ts>) -> bool {
        self.bet = (operator, at);
        let is_told = self.operator == operator && self.begun.0 > 0 && self.begun >= self.ended;
        let is_open = is_told && (0..=OPEN_MAX).contains(&(at.0 - self.begun.0));
        let was_counted = is_open && std::mem::replace(&mut self.is_counted, true);
        match before {
            None => true,
            Some(_) if is_open => !was_counted,
            Some(before) => at.0 - before.0 > SESSION_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told, in its order: minute, what, and the id that it carries.
    type Told<'a> = (i64, RecordKind, Option<&'a str>);

    fn begun(operator: u16, told: &[Told<'_>]) -> Vec<i64> {
        let (operator, mut sessions, mut before, mut begun) =
            (Some(OperatorNo(operator)), Sessions::default(), None, Vec::new());
        for (minute, kind, id) in told {
            let record = Record { kind: *kind, occurred_at: Ts(DAY + minute * MINUTE), ..Record::for_tests() };
            if *kind != RecordKind::Stake {
                sessions.tell(operator, &record);
                continue;
            }
            let is_first = match id {
                Some(id) => sessions.is_new(operator, id),
                None => sessions.begins(operator, record.occurred_at, before),
            };
            before = Some(record.occurred_at);
            begun.extend(is_first.then_some(*minute));
        }
        begun
    }

    #[test]
    fn a_session_begins_by_its_id_else_by_its_records_else_by_a_pause() {
        use RecordKind::{SessionEnd as End, SessionStart as Start, Stake};
        let (a, b) = (Some("a"), Some("b"));
        // what is told | minutes of the bets with which a session begins
        let table: [(&str, &[Told<'_>], &[i64]); 12] = [
            ("nothing: by pauses", &[(0, Stake, None), (30, Stake, None), (61, Stake, None)], &[0, 61]),
            ("one id however long the pause", &[(0, Stake, a), (90, Stake, a), (400, Stake, a)], &[0]),
            ("two ids within a minute", &[(0, Stake, a), (1, Stake, b)], &[0, 1]),
            ("two windows in turn", &[(0, Stake, a), (1, Stake, b), (2, Stake, a), (3, Stake, b)], &[0, 1]),
            ("an id, and then none", &[(0, Stake, a), (5, Stake, None), (50, Stake, None)], &[0, 50]),
            (
                "begun and not ended: no pause ends it",
                &[(0, Start, a), (1, Stake, None), (90, Stake, None), (300, Stake, None)],
                &[1],
            ),
            (
                "ended and begun again at once",
                &[(0, Start, a), (1, Stake, None), (2, End, a), (3, Start, b), (4, Stake, None), (5, Stake, None)],
                &[1, 4],
            ),
            (
                "ended: by pauses",
                &[(0, Start, a), (1, Stake, None), (2, End, a), (9, Stake, None), (50, Stake, None)],
                &[1, 50],
            ),
            (
                "the beginning is told behind its bets",
                &[(1, Stake, None), (2, Stake, None), (0, Start, a), (3, Stake, None), (90, Stake, None)],
                &[1],
            ),
            (
                "the end before the beginning",
                &[(9, End, a), (0, Start, a), (1, Stake, None), (40, Stake, None)],
                &[1, 40],
            ),
            (
                "a beginning without an end is believed for a day",
                &[(0, Start, a), (1, Stake, None), (24 * 60, Stake, None), (25 * 60, Stake, None)],
                &[1, 25 * 60],
            ),
            ("without a bet it is none", &[(0, Start, a), (1, End, a), (2, Start, b), (3, Stake, None)], &[3]),
        ];
        for (what, told, wanted) in table {
            assert_eq!(begun(1, told), wanted, "{what}");
        }
    }

    #[test]
    fn operators_have_sessions_of_their_own() {
        let [one, other] = [1, 2].map(|no| Some(OperatorNo(no)));
        let mut sessions = Sessions::default();
        assert!(sessions.is_new(one, "s-1") && sessions.is_new(other, "s-1"), "the same number is another session");
        assert!(!sessions.is_new(one, "s-1") && !sessions.is_new(other, "s-1"));
        let start = Record { kind: RecordKind::SessionStart, occurred_at: Ts(DAY), ..Record::for_tests() };
        sessions.tell(one, &start);
        let mut bet = |operator, minute: i64, before: i64| {
            sessions.begins(operator, Ts(DAY + minute * MINUTE), Some(Ts(DAY + before * MINUTE)))
        };
        assert!(!bet(other, 5, -10), "of no session that is told, and no pause before it");
        assert!(bet(one, 6, 5), "the first bet of the session that is told, although another operator's lies between");
        assert!(!bet(one, 90, 6), "no pause ends it");
        assert!(bet(other, 130, 90), "nobody tells of sessions there");
    }

    #[test]
    fn so_many_ids_are_remembered() {
        let mut sessions = Sessions::default();
        let id = |n: usize| format!("s-{n}");
        assert!((0..=IDS_MAX).all(|n| sessions.is_new(None, &id(n))));
        assert!((1..=IDS_MAX).all(|n| !sessions.is_new(None, &id(n))));
        assert!(sessions.is_new(None, &id(0)), "the oldest has given way");
    }
}
