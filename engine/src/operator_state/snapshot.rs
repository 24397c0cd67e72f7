//! An operator's state as bytes: what a start reads instead of everything the operator ever sent.

use super::{Learned, OperatorState, Standing};
use crate::operator_state::Breakdown;
use crate::snapshot::{SnapshotError, read, write};
use crate::windows::Book;
use models::alert::Window;
use models::ids::AlertId;
use models::money::Currency;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Layout of the bytes, and what follows from an input: it grows with every change of either, because a state that other
/// code made is not what this code makes of the same inputs.
pub const VERSION: u32 = 5;

/// Everything that inputs have made. What the operator is called, how its days are cut and by what windows are judged stands
/// elsewhere.
#[derive(Deserialize)]
struct Kept {
    books: BTreeMap<Currency, Book>,
    learned: BTreeMap<Currency, Learned>,
    alerts: BTreeMap<AlertId, Standing>,
    watermark: Ts,
    wall: bool,
    awake_at: Ts,
    asleep: VecDeque<Window>,
    last_event_at: Option<Ts>,
    breakdown: Breakdown,
}

/// The same, borrowed: the fields in the same order.
#[derive(Serialize)]
struct KeptRef<'a> {
    books: &'a BTreeMap<Currency, Book>,
    learned: &'a BTreeMap<Currency, Learned>,
    alerts: &'a BTreeMap<AlertId, Standing>,
    watermark: Ts,
    wall: bool,
    awake_at: Ts,
    asleep: &'a VecDeque<Window>,
    last_event_at: Option<Ts>,
    breakdown: &'a Breakdown,
}

impl OperatorState {
    /// Its bytes (postcard), not compressed. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        // every field is named: a new one must be thought of here
        let Self {
            operator_no: _,
            code: _,
            versions: _,
            versions_before: _,
            cutter: _,
            books,
            learned,
            alerts,
            watermark,
            wall,
            awake_at,
            asleep,
            last_event_at,
            breakdown,
        } = self;
        let kept = KeptRef {
            books,
            learned,
            alerts,
            watermark: *watermark,
            wall: *wall,
            awake_at: *awake_at,
            asleep,
            last_event_at: *last_event_at,
            breakdown,
        };
        write(&kept)
    }

    /// A state before any input, as it stood when the bytes were made.
    ///
    /// # Errors
    /// [`SnapshotError`]: not all of the bytes are a state's.
    pub fn with_bytes(self, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let kept: Kept = read(bytes)?;
        if !kept.learned.values().all(Learned::is_sound) {
            return Err(SnapshotError);
        }
        let Kept { books, learned, alerts, watermark, wall, awake_at, asleep, last_event_at, breakdown } = kept;
        Ok(Self { books, learned, alerts, watermark, wall, awake_at, asleep, last_event_at, breakdown, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator_state::OperatorInput;
    use crate::windows::tests::record;
    use jiff::tz::TimeZone;
    use models::feed::SourceClock;
    use models::ids::OperatorNo;
    use models::record::{Record, RecordKind};
    use models::ts::{MINUTE, SECOND};
    use proptest::prelude::*;
    use ring::digest::{SHA256, digest};

    const START: Ts = Ts(1_767_225_600_000_001);

    fn blank() -> OperatorState {
        OperatorState::new(OperatorNo(7), "acme".to_owned(), TimeZone::get("Africa/Nairobi").unwrap())
    }

    /// A step in time, and what comes then: records, or a tick.
    type Step = (i64, Vec<(i64, u64)>);

    fn apply(state: &mut OperatorState, seq: i64, at: Ts, step: &Step) -> Vec<models::alert::AlertRevision> {
        let record = |(n, (amount, player)): (usize, &(i64, u64))| {
            let kind = [RecordKind::Stake, RecordKind::Payout, RecordKind::Login][n % 3];
            let mut record = record(kind, at.plus(-(n as i64) * SECOND), *amount, (*player).into());
            record.record_id = format!("{seq}-{n}");
            record.region = Some("KE-30".to_owned());
            record
        };
        let records: Vec<Record> = step.1.iter().enumerate().map(record).collect();
        let input = if records.is_empty() {
            OperatorInput::Tick { operator_seq: seq, at }
        } else {
            OperatorInput::Batch { operator_seq: seq, clock_at: at, clock: SourceClock::Wall, records: &records }
        };
        state.apply(input).revisions
    }

    fn run(state: &mut OperatorState, steps: &[Step], from: i64) -> Vec<models::alert::AlertRevision> {
        let mut at = START;
        let mut revisions = Vec::new();
        for (seq, step) in (0..).zip(steps) {
            at = at.plus(step.0);
            if seq >= from {
                revisions.extend(apply(state, seq, at, step));
            }
        }
        revisions
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_state_read_back_goes_on_as_if_nothing_had_happened(
            steps in prop::collection::vec((1..3 * MINUTE, prop::collection::vec((0..1_000_000i64, 0..3_000u64), 0..40)), 1..60),
            cut in 0..60usize,
        ) {
            let cut = cut.min(steps.len());
            let mut whole = blank();
            run(&mut whole, &steps[..cut], 0);
            let mut back = blank().with_bytes(&whole.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(back.to_bytes(), whole.to_bytes());
            let from = cut as i64;
            prop_assert_eq!(run(&mut back, &steps, from), run(&mut whole, &steps, from));
            prop_assert_eq!(back.to_bytes(), whole.to_bytes());
        }
    }

    /// Enough of everything: alerts, a gap, windows with exact and with estimated players.
    fn rich() -> OperatorState {
        let mut state = blank();
        let mut steps: Vec<Step> = (0..60).map(|n| (MINUTE, (0..20).map(|i| (1_000 + n, i)).collect())).collect();
        steps.push((MINUTE, (0..2_000).map(|i| (90_000, i)).collect()));
        steps.push((10 * MINUTE, Vec::new()));
        assert!(!run(&mut state, &steps, 0).is_empty(), "it has alerts");
        assert!(!state.asleep.is_empty(), "and has slept");
        state
    }

    #[test]
    fn a_change_of_layout_or_of_what_follows_raises_the_version() {
        let bytes = rich().to_bytes().unwrap();
        let digest: String = digest(&SHA256, &bytes).as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            (VERSION, digest.as_str()),
            (5, "2695cbdea292a828"),
            "states of the release before are not this code's: raise VERSION, then pin the new digest"
        );
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let bytes = rich().to_bytes().unwrap();
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(blank().with_bytes(&bytes[..cut]).is_err(), "{cut} bytes of it");
        }
        assert!(blank().with_bytes(&[bytes.as_slice(), &[0]].concat()).is_err(), "and a byte more");
    }
}
