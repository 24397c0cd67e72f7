//! What a version found: counts, operators, examples, and, of one in the shadow, what the live one found meanwhile.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse};
use engine::integrity::totals::day_of;
use engine::rules::compare::{Seen, compare};
use engine::rules::finding::Scope as FindingScope;
use engine::rules::life::Life;
use models::alert::{RevisionKind, Severity};
use models::ids::{AlertId, OperatorId};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use store::{FindingCount, FindingRow, FindingsOf, Store};
use utoipa::ToSchema;

use super::{life, may_read, number};
use crate::extractors::Caller;
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// Days that are looked at where none are named.
const DAYS_DEFAULT: i64 = 7;
/// Days at most.
const DAYS_MAX: i64 = 92;
/// Examples at most.
const EXAMPLES_MAX: u32 = 20;
/// Operators at most.
const OPERATORS_MAX: u32 = 100;
/// Revisions of each side that are compared, the newest ones.
const COMPARED_MAX: u32 = 5_000;

/// Revisions of findings in a day.
#[derive(Default, Serialize, ToSchema)]
pub struct DayView {
    /// By the jurisdiction's midnight.
    pub day: String,
    /// Findings that were raised.
    pub raised: u64,
    /// Corrected.
    pub corrected: u64,
    /// Withdrawn.
    pub withdrawn: u64,
}

/// An operator whose inputs caused findings.
#[derive(Serialize, ToSchema)]
pub struct ConcernedView {
    /// `opr_…`
    #[schema(value_type = Option<String>)]
    pub operator: Option<OperatorId>,
    /// Its code.
    pub operator_code: Option<String>,
    /// Findings that were raised.
    pub raised: u64,
}

/// A finding as it is stored.
#[derive(Serialize, ToSchema)]
pub struct ExampleView {
    /// `alr_…`
    #[schema(value_type = String)]
    pub id: AlertId,
    /// Of the operator whose input caused it.
    pub operator_code: Option<String>,
    /// `raised`, `corrected`, `withdrawn`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// How urgent.
    #[schema(value_type = String)]
    pub severity: &'static str,
    /// When it was found.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Whom it is about (digests), when, the evidence in one number with its limit, sentences, ids of records.
    #[schema(value_type = Object)]
    pub finding: Box<RawValue>,
}

/// The findings that stand, beside those of whatever version was live at the same time. The same are two where they are
/// about the same and their windows overlap.
#[derive(Serialize, ToSchema)]
pub struct ComparisonView {
    /// Hours in which both ran.
    pub hours: f64,
    /// Of this version, and not of the live one.
    pub only_here: usize,
    /// Of the live one, and not of this version.
    pub only_there: usize,
    /// Of this version, and of the live one, too.
    pub both: usize,
    /// False where there were too many, and only the newest 5,000 revisions of each were looked at.
    pub complete: bool,
}

/// What a version found.
#[derive(Serialize, ToSchema)]
pub struct FindingsView {
    /// Name of the rule.
    #[schema(value_type = String)]
    pub rule: &'static str,
    /// Number of the version.
    pub version: u32,
    /// `live` or `shadow`.
    #[schema(value_type = String)]
    pub mode: &'static str,
    /// Start of the span.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// Its end, no longer part of it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// Findings that were raised.
    pub raised: u64,
    /// The same by day, days with none left out.
    pub days: Vec<DayView>,
    /// The same by severity.
    #[schema(value_type = Object)]
    pub severities: BTreeMap<&'static str, u64>,
    /// The same by operator, most first, 100 at most.
    pub operators: Vec<ConcernedView>,
    /// The newest revisions.
    pub examples: Vec<ExampleView>,
    /// Of a version in the shadow.
    pub comparison: Option<ComparisonView>,
}

/// What is asked for.
struct Asked {
    mode: &'static str,
    from: Ts,
    to: Ts,
    limit: u32,
}

impl Asked {
    fn read(req: &HttpRequest, life: &Life, version: u32, now: Ts) -> Result<Self, Problem> {
        let pairs = parse::query(req, &["mode", "from", "to", "limit"])?;
        let named = |name: &str| parse::parameter(&pairs, name);
        let mut fields = Fields::default();
        let was_live = life.live_spans(version).iter().any(|span| span.from <= now);
        let mode = match named("mode") {
            Some("live") => Some("live"),
            Some("shadow") => Some("shadow"),
            None => Some(if was_live { "live" } else { "shadow" }),
            Some(_) => fields.known_parameter("?mode", None),
        };
        let time =
            |fields: &mut Fields, pointer, text: Option<&str>| text.and_then(|t| fields.take(pointer, Ts::parse(t)));
        let to = time(&mut fields, "?to", named("to")).unwrap_or(now);
        let from = time(&mut fields, "?from", named("from")).unwrap_or(to.plus(-DAYS_DEFAULT * DAY));
        if from >= to {
            fields.wrong("?from", "not before the end of the span");
        } else if to.0 - from.0 > DAYS_MAX * DAY {
            fields.wrong("?from", format!("more than {DAYS_MAX} days before the end of the span"));
        }
        let limit = named("limit").map_or(Some(EXAMPLES_MAX), |text| {
            let limit = text.parse().ok().filter(|limit| (1..=EXAMPLES_MAX).contains(limit));
            if limit.is_none() {
                fields.wrong("?limit", format!("a number from 1 to {EXAMPLES_MAX}"));
            }
            limit
        });
        let (mode, limit) = fields.finish(mode.zip(limit))?;
        Ok(Self { mode, from, to, limit })
    }
}

/// What a version found in a span, and, of one in the shadow, what the live one found meanwhile.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}/versions/{version}/findings", tag = "rules",
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number"),
        ("mode" = Option<String>, Query, description = "`live` or `shadow`; left out: live where it was live already"),
        ("from" = Option<String>, Query, description = "Left out: seven days before the end; 92 days at most"),
        ("to" = Option<String>, Query, description = "Left out: now"),
        ("limit" = Option<u32>, Query, description = "Examples, 1 to 20")),
    responses((status = 200, description = "Counts, operators, examples", body = FindingsView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    let life = life(&caller, &state, &req)?;
    let version = number(&life, &req)?;
    let Asked { mode, from, to, limit } = Asked::read(&req, &life, version, state.engine.now())?;
    let (store, jurisdiction) = (state.engine.store(), caller.jurisdiction());
    let of = FindingsOf { jurisdiction, rule: life.rule().to_owned(), version, mode, from, to };
    let counts = store.rule_finding_counts(&of).await?;
    let concerned = store.rule_finding_operators(&of, OPERATORS_MAX).await?;
    let rows = store.rule_findings(&of, limit).await?;
    let comparison = if mode == "shadow" { Some(beside_live(store, &life, &of).await?) } else { None };
    let directory = state.engine.directory();
    let zone = directory.jurisdiction(jurisdiction).map_or("UTC", |j| &j.time_zone);
    let code = |no| directory.operators.get(&no).map(|operator| operator.code.clone());
    let raised = counts.iter().filter(|count| count.kind == RevisionKind::Raised);
    let operators = concerned.into_iter().map(|(no, raised)| ConcernedView {
        operator: directory.operators.get(&no).map(|operator| operator.id),
        operator_code: code(no),
        raised,
    });
    let examples = rows.into_iter().map(|row| example(row, code)).collect::<Result<_, Problem>>()?;
    Ok(HttpResponse::Ok().json(FindingsView {
        rule: life.rule(),
        version,
        mode,
        from,
        to,
        raised: raised.clone().map(|count| count.count).sum(),
        days: days(&counts, zone),
        severities: severities(raised),
        operators: operators.collect(),
        examples,
        comparison,
    }))
}

fn days(counts: &[FindingCount], zone: &str) -> Vec<DayView> {
    let mut days: BTreeMap<String, DayView> = BTreeMap::new();
    for count in counts {
        let day = day_of(count.hour, zone).unwrap_or_default();
        let view = days.entry(day.clone()).or_insert_with(|| DayView { day, ..DayView::default() });
        match count.kind {
            RevisionKind::Raised => view.raised += count.count,
            RevisionKind::Corrected => view.corrected += count.count,
            RevisionKind::Withdrawn => view.withdrawn += count.count,
        }
    }
    days.into_values().collect()
}

fn severities<'a>(raised: impl Iterator<Item = &'a FindingCount>) -> BTreeMap<&'static str, u64> {
    let mut by: BTreeMap<&'static str, u64> = Severity::ALL.iter().map(|severity| (severity.as_str(), 0)).collect();
    for count in raised {
        *by.entry(count.severity.as_str()).or_default() += count.count;
    }
    by
}

fn unreadable() -> Problem {
    store::StoreError::Unreadable("finding").into()
}

fn example(row: FindingRow, code: impl Fn(models::ids::OperatorNo) -> Option<String>) -> Result<ExampleView, Problem> {
    Ok(ExampleView {
        id: row.id,
        operator_code: code(row.operator_no),
        kind: row.kind.as_str(),
        severity: row.severity.as_str(),
        at: row.at,
        finding: RawValue::from_string(row.body).map_err(|_| unreadable())?,
    })
}

/// Whom a stored finding is about, and in whose inputs.
#[derive(Deserialize)]
struct Subject {
    scope: FindingScope,
    who: Value,
}

/// The findings of some revisions, newest first, that stand.
fn standing(rows: &[FindingRow]) -> Result<Vec<Seen>, Problem> {
    let mut known: BTreeSet<AlertId> = BTreeSet::new();
    let newest = rows.iter().filter(|row| known.insert(row.id) && row.kind != RevisionKind::Withdrawn);
    newest
        .map(|row| {
            let Subject { scope, who } = serde_json::from_str(&row.body).map_err(|_| unreadable())?;
            Ok(Seen { whom: format!("{scope:?} {who}"), window: row.window })
        })
        .collect()
}

/// What a version in the shadow found beside whatever version was live then.
async fn beside_live(store: &Store, life: &Life, of: &FindingsOf) -> Result<ComparisonView, Problem> {
    let shadows = life.version(of.version).map_or(&[][..], |version| &version.shadows);
    let shadows: Vec<(Ts, Ts)> = shadows.iter().filter_map(|span| span.within(of.from, of.to)).collect();
    let (mut here, mut there, mut complete, mut micros) = (Vec::new(), Vec::new(), true, 0);
    let mut fetch = async |seen: &mut Vec<FindingRow>, of: FindingsOf| {
        let left = COMPARED_MAX.saturating_sub(seen.len() as u32);
        let rows = store.rule_findings(&of, left + 1).await?;
        complete &= rows.len() as u32 <= left;
        seen.extend(rows.into_iter().take(left as usize));
        Ok::<(), Problem>(())
    };
    // newest first, as within each part
    for (from, to) in shadows.into_iter().rev() {
        micros += to.0 - from.0;
        fetch(&mut here, FindingsOf { from, to, ..of.clone() }).await?;
        let mut live: Vec<(Ts, Ts, u32)> = Vec::new();
        for version in life.versions() {
            let spans = life.live_spans(version.number);
            live.extend(spans.iter().filter_map(|s| s.within(from, to)).map(|(from, to)| (from, to, version.number)));
        }
        live.sort_unstable_by(|a, b| b.cmp(a));
        for (from, to, version) in live {
            fetch(&mut there, FindingsOf { from, to, version, mode: "live", ..of.clone() }).await?;
        }
    }
    let found = compare(&standing(&here)?, &standing(&there)?);
    Ok(ComparisonView {
        hours: micros as f64 / models::ts::HOUR as f64,
        only_here: found.only_first,
        only_there: found.only_second,
        both: found.both,
        complete,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::alert::Window;
    use models::ids::OperatorNo;
    use models::ts::HOUR;

    #[test]
    fn days_are_those_of_the_jurisdiction() {
        let at = |text: &str| Ts::parse(text).unwrap().floor_to(HOUR);
        let count = |text: &str, kind, count| FindingCount { hour: at(text), kind, severity: Severity::Low, count };
        let counts = [
            count("2026-11-22T20:00:00Z", RevisionKind::Raised, 3),
            count("2026-11-22T20:00:00Z", RevisionKind::Withdrawn, 1),
            count("2026-11-22T21:00:00Z", RevisionKind::Raised, 5),
        ];
        let shown = |zone| -> Vec<(String, u64, u64)> {
            days(&counts, zone).into_iter().map(|view| (view.day, view.raised, view.withdrawn)).collect()
        };
        let day = |n: u32| format!("2026-11-{n}");
        assert_eq!(shown("Africa/Nairobi"), [(day(22), 3, 1), (day(23), 5, 0)]);
        assert_eq!(shown("UTC"), [(day(22), 8, 1)]);
    }

    #[test]
    fn what_was_withdrawn_does_not_stand() {
        let row = |id: u128, kind, player: &str| FindingRow {
            id: AlertId(id),
            operator_no: OperatorNo(1),
            window: Window { start: Ts(1), end: Ts(2) },
            kind,
            severity: Severity::Low,
            at: Ts(0),
            body: format!(r#"{{"scope":{{"operator":1}},"who":{{"kind":"player","id":"{player}"}},"more":0}}"#),
        };
        use RevisionKind::{Corrected, Raised, Withdrawn};
        let rows = [row(1, Withdrawn, "a"), row(2, Corrected, "b"), row(1, Raised, "a"), row(2, Raised, "b")];
        let standing = standing(&rows).unwrap();
        assert_eq!(standing.len(), 1);
        assert!(standing[0].whom.contains(r#""id":"b""#), "{standing:?}");
    }
}
