//! What was answered, as bytes: the half of a block that holds no people.

use super::{Basis, BlockError, Credential, LookupRecord, Route, Row};
use crate::exclusion::Status;
use crate::ids::{KeyId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::lookup::{Decision, MatchGrade, Purpose};
use crate::ts::Ts;
use std::collections::HashMap;

/// Bytes of a record among the rows.
const RECORD_BYTES: usize = 24;
const CREDENTIAL_BYTES: usize = 19;
const FRESHNESS_BYTES: usize = 17;
const VERSION: u8 = 1;
pub(super) const STATUSES: [Status; 4] =
    [Status::NotExcluded, Status::PreviouslyExcluded, Status::Review, Status::Excluded];
pub(super) const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::Hold, Decision::Block];
pub(super) const GRADES: [MatchGrade; 4] =
    [MatchGrade::None, MatchGrade::Possible, MatchGrade::Strong, MatchGrade::Exact];
pub(super) const ROUTES: [Route; 3] = [Route::Single, Route::Batch, Route::Register];

fn number<T: PartialEq>(all: &[T], value: &T) -> u32 {
    all.iter().position(|v| v == value).unwrap_or_default() as u32
}

impl Row {
    fn codes(&self) -> u32 {
        number(&Purpose::ALL, &self.purpose)
            | number(&STATUSES, &self.status) << 4
            | number(&DECISIONS, &self.decision) << 8
            | number(&GRADES, &self.grade) << 12
            | number(&ROUTES, &self.route) << 16
            | u32::from(self.token_key_version) << 24
    }
}

/// Values numbered in the order of their first appearance.
struct Numbered<T> {
    places: HashMap<T, u16>,
    last: Option<(T, u16)>,
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    fn new() -> Self {
        Self { places: HashMap::new(), last: None }
    }

    fn number(&mut self, value: T, write: impl FnOnce()) -> u16 {
        if let Some((_, number)) = self.last.filter(|(last, _)| *last == value) {
            return number;
        }
        let next = self.places.len() as u16;
        let number = *self.places.entry(value).or_insert_with(|| {
            write();
            next
        });
        self.last = Some((value, number));
        number
    }
}

pub(super) fn write_rows(records: &[LookupRecord]) -> Vec<u8> {
    let (mut credentials, mut bases) = (Numbered::new(), Numbered::new());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut third = Vec::with_capacity(records.len() * RECORD_BYTES);
    for LookupRecord { row, .. } in records {
        let c = row.credential;
        let credential = credentials.number(c, || {
            first.extend_from_slice(&c.key.0.to_be_bytes());
            first.extend_from_slice(&c.operator_no.map_or(0, |no| no.0).to_be_bytes());
            first.push(c.jurisdiction.0);
        });
        let b = row.basis;
        let basis = bases.number(b, || {
            second.extend_from_slice(&b.as_of.0.to_be_bytes());
            second.extend_from_slice(&b.register_version.to_be_bytes());
            second.push(u8::from(b.degraded));
        });
        third.extend_from_slice(&row.at.0.to_be_bytes());
        third.extend_from_slice(&credential.to_be_bytes());
        third.extend_from_slice(&basis.to_be_bytes());
        third.extend_from_slice(&row.codes().to_be_bytes());
        third.extend_from_slice(&row.reference.to_be_bytes());
    }
    let mut out = Vec::with_capacity(5 + first.len() + second.len() + third.len());
    out.push(VERSION);
    out.extend_from_slice(&(credentials.places.len() as u16).to_be_bytes());
    out.append(&mut first);
    out.extend_from_slice(&(bases.places.len() as u16).to_be_bytes());
    out.append(&mut second);
    out.append(&mut third);
    out
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

fn read_rows(rows: &[u8], records: u32) -> Option<Vec<Row>> {
    let mut r = Reader(rows);
    if r.take::<1>()? != [VERSION] {
        return None;
    }
    let count = usize::from(u16::from_be_bytes(r.take()?));
    if r.0.len() < count * CREDENTIAL_BYTES {
        return None;
    }
    let mut credentials = Vec::with_capacity(count);
    for _ in 0..count {
        let key = KeyId(u128::from_be_bytes(r.take()?));
        let operator_no = Some(u16::from_be_bytes(r.take()?)).filter(|no| *no != 0).map(OperatorNo);
        let [jurisdiction] = r.take()?;
        credentials.push(Credential { key, operator_no, jurisdiction: JurisdictionNo(jurisdiction) });
    }
    let count = usize::from(u16::from_be_bytes(r.take()?));
    if r.0.len() < count * FRESHNESS_BYTES {
        return None;
    }
    let mut bases = Vec::with_capacity(count);
    for _ in 0..count {
        let (as_of, version) = (Ts(i64::from_be_bytes(r.take()?)), i64::from_be_bytes(r.take()?));
        bases.push(Basis { as_of, register_version: version, degraded: r.take::<1>()? == [1] });
    }
    if r.0.len() != records as usize * RECORD_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(records as usize);
    for _ in 0..records {
        let at = Ts(i64::from_be_bytes(r.take()?));
        let credential = *credentials.get(usize::from(u16::from_be_bytes(r.take()?)))?;
        let basis = *bases.get(usize::from(u16::from_be_bytes(r.take()?)))?;
        let codes = u32::from_be_bytes(r.take()?);
        let code = |shift: u32| (codes >> shift & 15) as usize;
        out.push(Row {
            at,
            credential,
            basis,
            purpose: *Purpose::ALL.get(code(0))?,
            status: *STATUSES.get(code(4))?,
            decision: *DECISIONS.get(code(8))?,
            grade: *GRADES.get(code(12))?,
            route: *ROUTES.get(code(16))?,
            token_key_version: (codes >> 24) as u8,
            reference: u64::from_be_bytes(r.take()?),
        });
    }
    Some(out)
}

/// Reads one half of a block.
///
/// # Errors
/// [`BlockError::Unreadable`].
pub fn rows(rows: &[u8], records: u32) -> Result<Vec<Row>, BlockError> {
    read_rows(rows, records).ok_or(BlockError::Unreadable)
}
