//! From the keys of a lookup to one verdict: the strictest hit answers.

use models::exclusion::Status;
use models::ids::{PersonNo, Seq};
use models::jurisdiction::JurisdictionSet;
use models::lookup::MatchGrade;
use models::match_key::{KeyKind, MatchKey};
use models::ts::Ts;

use super::cell::{CellWord, DocumentTag, InfoWord, Informative};
use super::sync::{AtomicU64, Ordering};
use super::{IndexReader, IndexState, People, Shared};

/// How often a reader tries to pair a decision with its informative word.
const PAIRING_TRIES: u32 = 4;

/// One identifier of a lookup, digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupKey {
    /// What was digested.
    pub kind: KeyKind,
    /// Under which digest key.
    pub digest_version: u8,
    /// The digest.
    pub key: MatchKey,
}

/// What the register says of whoever has these keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Status at `now`.
    pub status: Status,
    /// How sure the hit that decided is.
    pub grade: MatchGrade,
    /// The person that decided; `None` where no key is known.
    pub person: Option<PersonNo>,
    /// Risk band, 0–7; 0 = unknown.
    pub risk_band: u8,
    /// Second since the epoch at which the exclusion lapses by itself; 0 = does not.
    pub lapse_second: u32,
    /// Start and period; `None` where there is none, or (for nanoseconds) while the writer changes it.
    pub informative: Option<Informative>,
    /// Everything committed until then was in the index.
    pub as_of: Ts,
    /// Sequence of the register's last change, at least.
    pub register_version: Seq,
}

/// Why there is no verdict. Neither may be taken for "not excluded": the caller answers 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// The index is not proven complete.
    #[error("index is loading")]
    Loading,
    /// A key leads to a person without a state.
    #[error("index holds a person without a state")]
    Stateless,
    /// No jurisdiction, or a number above 15.
    #[error("no such jurisdiction")]
    Jurisdiction,
}

/// One person's part of a verdict.
#[derive(Clone, Copy)]
struct Standing {
    status: Status,
    risk_band: u8,
    lapse_second: u32,
    informative: Option<Informative>,
}

impl IndexReader {
    /// The verdict on a set of keys at `now_second` (seconds since the epoch), where the exclusions of these jurisdictions
    /// bind.
    ///
    /// A document hit is `exact`, a phone hit `strong`. A person hit by phone alone whose record holds a
    /// *different* document of the same type (under the same digest key) than one supplied is `possible`, and
    /// an exclusion of that person is at most `review`.
    ///
    /// # Errors
    /// [`Unanswerable`]: loading, inconsistent, or not a jurisdiction.
    pub fn decide(
        &self,
        keys: &[LookupKey],
        jurisdictions: impl Into<JurisdictionSet>,
        now_second: u32,
    ) -> Result<Verdict, Unanswerable> {
        let jurisdictions = jurisdictions.into();
        if jurisdictions == JurisdictionSet::default() {
            return Err(Unanswerable::Jurisdiction);
        }
        // before the table is read: what it promises is in whatever is read afterwards
        let IndexState::Ready { as_of, register_version } = self.state() else {
            return Err(Unanswerable::Loading);
        };
        let mut verdict = Verdict {
            status: Status::NotExcluded,
            grade: MatchGrade::None,
            person: None,
            risk_band: 0,
            lapse_second: 0,
            informative: None,
            as_of,
            register_version,
        };
        let shared = &*self.shared;
        let table = shared.table.load();
        let mut by_document = People::default();
        for key in keys.iter().filter(|key| key.kind.is_document()) {
            for person in shared.people_of(&table, key.key, now_second).iter() {
                let standing = shared.standing(person, jurisdictions, now_second).ok_or(Unanswerable::Stateless)?;
                verdict.take(person, standing, MatchGrade::Exact);
                by_document.push(person.0);
            }
        }
        for key in keys.iter().filter(|key| !key.kind.is_document()) {
            for person in shared.people_of(&table, key.key, now_second).iter() {
                if by_document.contains(person) {
                    continue;
                }
                let mut standing = shared.standing(person, jurisdictions, now_second).ok_or(Unanswerable::Stateless)?;
                let grade = if shared.holds_another_document(person, keys) {
                    standing.status = standing.status.min(Status::Review);
                    MatchGrade::Possible
                } else {
                    MatchGrade::Strong
                };
                verdict.take(person, standing, grade);
            }
        }
        Ok(verdict)
    }
}

impl Verdict {
    /// Takes a hit where it is stricter, or as strict and surer.
    fn take(&mut self, person: PersonNo, standing: Standing, grade: MatchGrade) {
        if (standing.status, grade) > (self.status, self.grade) {
            self.status = standing.status;
            self.grade = grade;
            self.person = Some(person);
            self.risk_band = standing.risk_band;
            self.lapse_second = standing.lapse_second;
            self.informative = standing.informative;
        }
    }
}

impl Shared {
    /// What is decided of a person; `None` where nothing ever was.
    fn standing(&self, person: PersonNo, jurisdictions: JurisdictionSet, now_second: u32) -> Option<Standing> {
        let cell = self.people.get(person.0)?;
        let mut decision = CellWord(cell[0].load(Ordering::Acquire));
        let mut info = None;
        for _ in 0..PAIRING_TRIES {
            let seen = self.info(cell);
            let again = CellWord(cell[0].load(Ordering::Acquire));
            // The informative word is stored before its decision: seeing the decision shows that word or a
            // newer one, whose generation then differs. Reading the decision twice keeps a reader that
            // slept through sixteen changes from pairing by a number that has come round.
            if again == decision && seen.goes_with(decision.generation()) {
                info = Some(seen);
                break;
            }
            decision = again;
        }
        if !decision.is_set() {
            return None;
        }
        let Some(mut node_no) = decision.split_head() else {
            return standing_of(decision, info, jurisdictions, now_second);
        };
        // a state that applies before one that does not, then the stricter
        let mut strictest: Option<((bool, Status), Standing)> = None;
        while let Some(node) = self.side.get(node_no).filter(|_| node_no != 0) {
            // nodes of a split person are complete before the decision that leads to them, and never change
            let decision = CellWord(node[0].load(Ordering::Relaxed));
            let info = InfoWord(node[1].load(Ordering::Relaxed));
            let standing = standing_of(decision, Some(info), jurisdictions, now_second)?;
            let rank = (decision.jurisdictions() & jurisdictions.mask() != 0, standing.status);
            if strictest.as_ref().is_none_or(|(other, _)| rank > *other) {
                strictest = Some((rank, standing));
            }
            node_no = node[2].load(Ordering::Relaxed) as u32;
        }
        strictest.map(|(_, standing)| standing)
    }

    /// A person's informative word, wherever it lives.
    fn info(&self, cell: &[AtomicU64; 2]) -> InfoWord {
        let info = InfoWord(cell[1].load(Ordering::Acquire));
        match info.extension().and_then(|node_no| self.side.get(node_no)) {
            Some(node) => InfoWord(node[0].load(Ordering::Acquire)),
            None => info,
        }
    }

    /// Whether a document supplied contradicts the record: it has one of that type under that digest key,
    /// and none of those is it. A record that knows only other types, or the document only under another
    /// digest key, contradicts nothing.
    fn holds_another_document(&self, person: PersonNo, keys: &[LookupKey]) -> bool {
        let Some(cell) = self.people.get(person.0) else { return false };
        let info = InfoWord(cell[1].load(Ordering::Acquire));
        let extension = info.extension().and_then(|node_no| self.side.get(node_no));
        let head = extension.map_or(0, |node| node[1].load(Ordering::Acquire) as u32);
        keys.iter().filter(|key| key.kind.is_document()).any(|key| {
            let Some(supplied) = DocumentTag::new(key.kind, key.digest_version, key.key) else { return false };
            let mut comparable = false;
            for known in info.document().into_iter().chain(self.documents(head)) {
                if known == supplied {
                    return false;
                }
                comparable |= known.is_comparable(supplied);
            }
            comparable
        })
    }
}

fn standing_of(
    decision: CellWord,
    info: Option<InfoWord>,
    jurisdictions: JurisdictionSet,
    now_second: u32,
) -> Option<Standing> {
    let status = decision.status()?;
    let risk_band = decision.risk_band();
    if decision.jurisdictions() & jurisdictions.mask() == 0 {
        return Some(Standing { status: Status::NotExcluded, risk_band, lapse_second: 0, informative: None });
    }
    let lapse_second = decision.lapse_second();
    let lapsed = status == Status::Excluded && lapse_second != 0 && now_second >= lapse_second;
    Some(Standing {
        status: if lapsed { Status::PreviouslyExcluded } else { status },
        risk_band,
        lapse_second,
        informative: info.map(InfoWord::informative).filter(|info| info.effective_second != 0 || info.period_code != 0),
    })
}
