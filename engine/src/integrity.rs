//! Whether a source's batches are whole: the operator's own chain of tamper tokens, its numbers of batches, what comes
//! late, what it declares ([`totals`]), and how complete a day is ([`completeness`]).
//!
//! ```text
//! token(n) = HMAC-SHA256(signing secret of the pushing key, token(n-1) ‖ SHA-256(body(n)))      token(0) is empty
//! ```

pub mod completeness;
#[cfg(test)]
mod tests;
pub mod totals;

use crate::operator_state::alert_id;
use crate::silence::{DEAD_INTERVALS, Standing};
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::feed::integrity::{ChainLink, MISSING_RANGES_MAX, NumberRange, SourceIntegrity, TamperRule};
use models::feed::{Source, SourceClock};
use models::ts::{SECOND, Ts};
use ring::{digest, hmac};
use std::fmt::Write as _;

/// Expected intervals behind the wall clock from which on a record came late.
pub const LATE_INTERVALS: i64 = 4;
/// Version of the rules.
pub const VERSION: u32 = 1;
/// Ranges of missing numbers that an alert names.
const RANGES_NAMED: usize = 10;
/// What is said of a trouble, in order: each of them once.
const RAISED: i64 = 0;
const WORSE: i64 = 1;
const OVER: i64 = 2;

/// What an operator says about a push as a whole.
#[derive(Clone, Debug, Default)]
pub struct PushMarks {
    /// The tamper token, and the signing secret of the key that pushes.
    pub token: Option<([u8; 32], hmac::Key)>,
    /// The operator's own number of the batch, from 1 to [`models::feed::integrity::BATCH_NUMBER_MAX`].
    pub number: Option<i64>,
}

/// Why a push is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its token does not follow from the last one and this body.
    Tampered,
    /// The source takes none without a token.
    TokenMissing,
}

/// A push that may be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Where the source stands with it; none where it moves nothing.
    pub state: Option<SourceIntegrity>,
    /// It is the last push once more: what of it was refused is in quarantine already.
    pub repeated: bool,
    /// Its token, in hex.
    pub token: Option<String>,
    /// Its number.
    pub number: Option<i64>,
    /// It has none, and a chain is under way.
    pub without_token: bool,
    /// Numbers that are missing with it and were not before.
    pub gap: Option<NumberRange>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len() / 2).filter_map(|n| byte(2 * n)).collect()
}

/// What a token is made of: the last one, and the digest of the body.
fn signed(before: &str, body_digest: &digest::Digest) -> Vec<u8> {
    [&unhex(before), body_digest.as_ref()].concat()
}

/// The tamper token of a body behind the last one, both in hex; that before the first is empty. What a sender computes.
#[must_use]
pub fn token(secret: &[u8], before: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hex(hmac::sign(&key, &signed(before, &digest::digest(&digest::SHA256, body))).as_ref())
}

/// Does a push follow from where its source stands? Changes nothing.
///
/// # Errors
/// [`Refused`]: nothing of it may be stored.
pub fn accept(
    state: &SourceIntegrity,
    marks: &PushMarks,
    rule: TamperRule,
    body: &[u8],
    now: Ts,
) -> Result<Accepted, Refused> {
    let mut next = state.clone();
    let (mut repeated, mut without_token) = (false, false);
    match (&marks.token, &state.link) {
        (None, _) if rule == TamperRule::Required => return Err(Refused::TokenMissing),
        (None, None) => {}
        (None, Some(_)) => {
            without_token = true;
            next.without_token += 1;
        }
        (Some((token, key)), link) => {
            let body_digest = digest::digest(&digest::SHA256, body);
            let (text, body_sha256) = (hex(token), hex(body_digest.as_ref()));
            let signed = signed(link.as_ref().map_or("", |link| &link.token), &body_digest);
            // the last token with its own body: whoever heard no answer sends the same again. The token was found right
            // when it came, whichever key is in use by now
            if link.as_ref().is_some_and(|link| link.token == text && link.body_sha256 == body_sha256) {
                repeated = true;
            } else if hmac::verify(key, &signed, token).is_ok() {
                next.link = Some(ChainLink { token: text, body_sha256 });
                next.links += 1;
                next.tampered_since = None;
            } else {
                return Err(Refused::Tampered);
            }
        }
    }
    let gap = marks.number.filter(|_| !repeated).and_then(|number| take_number(&mut next, number, now));
    let state = (next != *state).then(|| SourceIntegrity { version: state.version + 1, ..next });
    let token = marks.token.as_ref().map(|(token, _)| hex(token));
    Ok(Accepted { state, repeated, token, number: marks.number, without_token, gap })
}

/// Where a source stands after a push whose token did not follow.
#[must_use]
pub fn refused(state: &SourceIntegrity, now: Ts) -> SourceIntegrity {
    SourceIntegrity {
        version: state.version + 1,
        refused: state.refused + 1,
        tampered_since: state.tampered_since.or(Some(now)),
        ..state.clone()
    }
}

/// Where a source stands once a person ended its chain: the next token is the first of a new one. With a number, that is
/// the next batch's, and none below it is waited for.
#[must_use]
pub fn ended(state: &SourceIntegrity, next_number: Option<i64>) -> SourceIntegrity {
    let mut next = SourceIntegrity { version: state.version + 1, link: None, tampered_since: None, ..state.clone() };
    if let Some(number) = next_number {
        next.given_up += state.missing_numbers().unsigned_abs();
        (next.last_number, next.missing, next.missing_since) = (Some(number - 1), Vec::new(), None);
    }
    next
}

/// Takes a number in; gives the range that is missing because of it.
fn take_number(state: &mut SourceIntegrity, number: i64, now: Ts) -> Option<NumberRange> {
    let last = state.last_number.unwrap_or(0);
    let mut opened = None;
    if number > last {
        if number > last + 1 {
            let gap = NumberRange { from: last + 1, to: number - 1 };
            state.missing.push(gap);
            state.gaps += 1;
            opened = Some(gap);
        }
        state.last_number = Some(number);
    } else {
        let holds = |range: &NumberRange| (range.from..=range.to).contains(&number);
        match state.missing.iter().position(holds) {
            None => state.repeated += 1,
            Some(place) => {
                let range = state.missing.remove(place);
                let parts =
                    [NumberRange { to: number - 1, ..range }, NumberRange { from: number + 1, ..range }].into_iter();
                let parts = parts.filter(|part| !part.is_empty());
                state.missing.splice(place..place, parts);
            }
        }
    }
    while state.missing.len() > MISSING_RANGES_MAX {
        // the oldest: what did not come for so long will not come
        state.given_up += state.missing.remove(0).len().unsigned_abs();
    }
    state.missing_since = match state.missing.is_empty() {
        true => None,
        false => state.missing_since.or(Some(now)),
    };
    opened
}

/// Did a record come late, by the wall clock? Replays and archives are late by nature.
#[must_use]
pub fn is_late(source: &Source, occurred_at: Ts, now: Ts) -> bool {
    source.clock == SourceClock::Wall && now.0.saturating_sub(occurred_at.0) > LATE_INTERVALS * expected(source)
}

fn expected(source: &Source) -> i64 {
    i64::from(source.expected_interval_seconds.max(1)) * SECOND
}

/// What may be wrong with a source's batches; each has an alert of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Tokens do not follow.
    Tampered,
    /// Numbers are missing.
    Gap,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Tampered, Self::Gap];

    /// Name of its rule.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Tampered => "feed_tampered",
            Self::Gap => "feed_gap",
        }
    }

    /// Since when there is such trouble, how urgent it is by now, how much of it, in words.
    fn of(self, source: &Source, state: &SourceIntegrity, now: Ts) -> Option<(Ts, Severity, i64, String)> {
        match self {
            Self::Tampered => {
                let reason = format!(
                    "the tamper token of a push to the source {} did not follow from the last one and its body; it was refused, and so are all until one follows",
                    source.name
                );
                let count = i64::try_from(state.refused).unwrap_or(i64::MAX);
                state.tampered_since.map(|since| (since, Severity::High, count, reason))
            }
            Self::Gap => {
                let since = state.missing_since?;
                let is_old = now.0.saturating_sub(since.0) >= DEAD_INTERVALS * expected(source);
                let severity = if is_old { Severity::High } else { Severity::Medium };
                let reason = format!(
                    "the source {} has sent batch {}, and these are missing: {}",
                    source.name,
                    state.last_number.unwrap_or_default(),
                    ranges(&state.missing)
                );
                Some((since, severity, state.missing_numbers(), reason))
            }
        }
    }
}

/// The first ranges, in words.
fn ranges(missing: &[NumberRange]) -> String {
    let one = |range: &NumberRange| match range.len() {
        1 => range.from.to_string(),
        _ => format!("{}-{}", range.from, range.to),
    };
    let named: Vec<String> = missing.iter().take(RANGES_NAMED).map(one).collect();
    let more = missing.len().saturating_sub(RANGES_NAMED);
    named.join(", ") + &if more > 0 { format!(" and {more} ranges more") } else { String::new() }
}

/// What has to be said of a source now, if anything: raised with the trouble, made worse by time, withdrawn with its end.
#[must_use]
pub fn judge(
    trouble: Trouble,
    source: &Source,
    operator_code: &str,
    state: &SourceIntegrity,
    standing: Option<Standing>,
    now: Ts,
) -> Option<AlertRevision> {
    let there = trouble.of(source, state, now);
    let (kind, severity, window, step) = match (standing, &there) {
        (None, None) => return None,
        (Some(told), None) => (RevisionKind::Withdrawn, told.severity, told.window, OVER),
        // it was over and came again before anybody looked
        (Some(told), Some((since, ..))) if told.window.start != *since => {
            (RevisionKind::Withdrawn, told.severity, told.window, OVER)
        }
        (Some(told), Some((_, severity, ..))) if *severity > told.severity => {
            (RevisionKind::Corrected, *severity, told.window, WORSE)
        }
        (Some(_), Some(_)) => return None,
        (None, Some((since, severity, ..))) => {
            (RevisionKind::Raised, *severity, Window { start: *since, end: since.plus(expected(source)) }, RAISED)
        }
    };
    let (observed, reason) = match there {
        Some((.., count, reason)) if kind != RevisionKind::Withdrawn => (count, reason),
        _ => (0, format!("the source {} is whole again", source.name)),
    };
    let figures = Figures { observed, expected: 0, reasons: vec![reason] };
    Some(revision(trouble.rule(), source, operator_code, Said { kind, severity, window, step, now }, figures))
}

/// What is said, when.
#[derive(Clone, Copy)]
struct Said {
    kind: RevisionKind,
    severity: Severity,
    window: Window,
    /// Position of the revision within its alert.
    step: i64,
    now: Ts,
}

struct Figures {
    observed: i64,
    expected: i64,
    reasons: Vec<String>,
}

fn revision(rule: &str, source: &Source, operator_code: &str, said: Said, figures: Figures) -> AlertRevision {
    let subject = Subject {
        operator: operator_code.to_owned(),
        metric: Metric::Integrity,
        granularity: Granularity::Day,
        currency: source.currency,
        source: Some(source.id),
        who: None,
    };
    AlertRevision {
        id: alert_id(rule, VERSION, &subject, said.window),
        rule: rule.to_owned(),
        rule_version: VERSION,
        operator_no: source.operator_no,
        subject,
        window: said.window,
        kind: said.kind,
        severity: said.severity,
        at: said.now,
        operator_seq: said.step,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence {
            observed: figures.observed,
            expected: figures.expected,
            band_low: figures.expected,
            band_high: figures.expected,
            score_milli: 0,
            threshold_milli: 0,
            samples: 0,
            reasons: figures.reasons,
            records: Vec::new(),
            ..Evidence::default()
        },
    }
}
