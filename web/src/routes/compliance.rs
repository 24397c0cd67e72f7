//! How operators keep to their duties: scores with what they were worked out of, their history, reports of them.

mod csv;
mod report;
pub mod views;

use std::fmt;
use std::str::FromStr;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use engine::compliance::{LEAST_WEIGHT, ONE};
use engine::integrity::totals::{day_after, day_of, day_span};
use models::compliance::{Band, ComplianceScored};
use models::ids::OperatorId;
use models::operator::{Operator, Scope};
use models::ts::{DAY, Ts};
use store::ComplianceSpan;

use self::views::{ComplianceView, FormulaView, RankView, RankingView};
use super::list::page_by;
use crate::extractors::Caller;
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Days of history in one answer.
pub const DAYS_MAX: i64 = 400;
/// Days of history where no span is named.
const DAYS_DEFAULT: i64 = 30;

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Pdf,
}

impl Form {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Pdf];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Pdf => "pdf",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Pdf => "application/pdf",
        }
    }

    /// The first of `Accept` that there is; JSON where nothing is asked for that there is.
    fn accepted(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        let types = texts.flat_map(|text| text.split(',')).map(|one| one.split(';').next().unwrap_or_default().trim());
        let mut known =
            types.filter_map(|one| Self::ALL.into_iter().find(|form| form.media_type().eq_ignore_ascii_case(one)));
        known.next().unwrap_or(Self::Json)
    }
}

/// What a report is about: the operator, the days, and everything that was scored.
pub(crate) struct Report {
    pub operator: Operator,
    pub jurisdiction: String,
    pub from: String,
    pub to: String,
    pub current: Option<ComplianceScored>,
    /// Oldest first.
    pub history: Vec<ComplianceScored>,
}

/// How an operator keeps to its duties: the newest score with each component, the history of a span, and the formula.
/// An operator's key reads its own, staff that of every operator of the jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/compliance", tag = "compliance",
    params(("id" = String, Path, description = "opr_…"),
        ("from" = Option<String>, Query, description = "First day of the history, YYYY-MM-DD by the jurisdiction's midnight; 30 days before its end where nothing is said"),
        ("to" = Option<String>, Query, description = "Its last day, at most 400 days in all; yesterday where nothing is said"),
        ("format" = Option<String>, Query, description = "json, csv or pdf; before the header Accept")),
    responses((status = 200, description = "Also as text/csv (a row a day, oldest first) and application/pdf (a report to be signed)", body = ComplianceView)),
    security(("bearer" = []), ("bearer" = ["market:read"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let (operator, jurisdiction, zone) = {
        let directory = state.engine.directory();
        let operator = caller.operator_in_reach(&directory, id, Scope::MarketRead)?;
        let jurisdiction = directory.jurisdiction(operator.jurisdiction);
        let jurisdiction = jurisdiction.ok_or_else(|| Problem::not_found("jurisdiction"))?;
        (Operator::clone(&operator), jurisdiction.code.clone(), jurisdiction.time_zone.clone())
    };
    let asked = Asked::of(&req, &zone, state.engine.now())?;
    let store = state.engine.store();
    let span = ComplianceSpan { operator_no: operator.operator_no, from: &asked.from, to: &asked.to };
    let history = store.compliance_scores(span).await?;
    let current = store.newest_compliance_score(operator.operator_no).await?;
    let report = Report { operator, jurisdiction, from: asked.from, to: asked.to, current, history };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::VARY, "Accept"));
    match asked.form {
        Form::Json => Ok(response.json(ComplianceView::of(&report))),
        Form::Csv => {
            response.insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"));
            response.insert_header((header::CONTENT_DISPOSITION, file_name(&report, Form::Csv)));
            Ok(response.body(csv::written(&report.history)))
        }
        Form::Pdf => {
            response.insert_header((header::CONTENT_TYPE, Form::Pdf.media_type()));
            response.insert_header((header::CONTENT_DISPOSITION, file_name(&report, Form::Pdf)));
            // tens of milliseconds of work, which no other request of this worker should wait for
            let written = web::block(move || report::pdf(&report)).await;
            let failed = |error: &dyn fmt::Display| {
                tracing::error!(%error, "a report cannot be written");
                Problem::new(Code::Internal, "the report cannot be written")
            };
            let bytes = written.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
            Ok(response.body(bytes))
        }
    }
}

/// Every operator of the jurisdiction by its score on a day: first those of whom too little was measured for a band, among
/// them those of whom nothing was, then the lowest score first.
#[utoipa::path(
    get, path = "/api/v1/compliance", tag = "compliance",
    params(("day" = Option<String>, Query, description = "YYYY-MM-DD; the newest that was scored where nothing is said"),
        ("band" = Option<String>, Query, description = "good, fair, poor, critical or not_enough_measured"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query, description = "Of a list of the same day")),
    responses((status = 200, description = "Operators with their scores", body = RankingView)),
    security(("bearer" = ["market:read"]))
)]
pub async fn rank(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let pairs = parse::query(&req, &["day", "band", "limit", "cursor"])?;
    let query = parse::list_query(&pairs)?;
    let mut fields = Fields::default();
    let band = parse::parameter(&pairs, "band").and_then(|text| fields.known_parameter("?band", Band::parse(text)));
    let day = parse::parameter(&pairs, "day").map(str::to_owned);
    if day.as_ref().is_some_and(|day| !parse::is_date(day)) {
        fields.wrong("?day", "not a day (YYYY-MM-DD)");
    }
    fields.check()?;
    let store = state.engine.store();
    let day = match day {
        Some(day) => Some(day),
        None => store.newest_compliance_day(caller.jurisdiction()).await?,
    };
    let scores = match &day {
        Some(day) => store.compliance_scores_of(caller.jurisdiction(), day).await?,
        None => Vec::new(),
    };
    let directory = state.engine.directory();
    let shown = scores.iter().filter(|scored| band.is_none() || scored.band == band);
    let shown =
        shown.filter_map(|scored| directory.operators.get(&scored.operator_no).map(|operator| (operator, scored)));
    let page = page_by(shown, &query, |(operator, scored)| Place::of(scored, operator.id))?;
    let page = page.map(|(operator, scored)| RankView::of(operator, scored));
    Ok(HttpResponse::Ok().json(RankingView {
        day,
        items: page.items,
        next_cursor: page.next_cursor,
        formula: FormulaView::of_code(),
    }))
}

/// Where an operator stands: lists give the largest first, so the lowest score is the largest place; larger than all of
/// them are those of whom too little was measured.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64, OperatorId);

impl Place {
    fn of(scored: &ComplianceScored, id: OperatorId) -> Self {
        let place = match scored.score_ppm {
            None => i64::MAX,
            Some(ppm) if scored.measured_weight < LEAST_WEIGHT => 2 * ONE - ppm,
            Some(ppm) => -ppm,
        };
        Self(place, id)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ppm, id) = text.split_once('.').ok_or(())?;
        Ok(Self(ppm.parse().map_err(|_| ())?, id.parse().map_err(|_| ())?))
    }
}

struct Asked {
    from: String,
    to: String,
    form: Form,
}

impl Asked {
    fn of(req: &HttpRequest, zone: &str, now: Ts) -> Result<Self, Problem> {
        let pairs = parse::query(req, &["from", "to", "format"])?;
        let mut fields = Fields::default();
        let form = match parse::parameter(&pairs, "format") {
            None => Some(Form::accepted(req.headers())),
            Some(text) => fields.known_parameter("?format", Form::ALL.into_iter().find(|form| form.name() == text)),
        };
        let mut day = |name, pointer| {
            let text = parse::parameter(&pairs, name)?.to_owned();
            let span = day_span(&text, zone).ok_or("not a day (YYYY-MM-DD)");
            fields.take(pointer, span).map(|(start, _)| (text, start))
        };
        let (from, to) = (day("from", "?from"), day("to", "?to"));
        fields.check()?;
        let named = |text: String| day_span(&text, zone).map(|(start, _)| (text, start));
        let to = to.or_else(|| day_of(now, zone).and_then(|today| day_after(&today, -1)).and_then(named));
        let to = to.ok_or_else(|| Problem::field("?to", "not a day (YYYY-MM-DD)"))?;
        let from = from.or_else(|| day_after(&to.0, 1 - DAYS_DEFAULT).and_then(named));
        let from = from.ok_or_else(|| Problem::field("?from", "not a day (YYYY-MM-DD)"))?;
        if to.1 < from.1 {
            return Err(Problem::field("?to", "before from"));
        }
        // a day of a zone may be an hour shorter
        if (to.1.0 - from.1.0 + DAY / 2) / DAY >= DAYS_MAX {
            return Err(Problem::field("?to", format!("more than {DAYS_MAX} days from the first")));
        }
        let form = form.unwrap_or(Form::Json);
        Ok(Self { from: from.0, to: to.0, form })
    }
}

/// The code is letters of a–z, digits and `-`, days are digits and `-`: nothing has to be quoted.
fn file_name(report: &Report, form: Form) -> String {
    let Report { operator, from, to, .. } = report;
    format!("attachment; filename=\"compliance-{}-{from}-{to}.{}\"", operator.code, form.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn the_form_is_asked_for_by_name_or_by_accept() {
        let table = [
            ("", None, Some(Form::Json)),
            ("?format=csv", None, Some(Form::Csv)),
            ("?format=pdf", Some("text/csv"), Some(Form::Pdf)),
            ("?format=xls", None, None),
            ("", Some("text/csv"), Some(Form::Csv)),
            ("", Some("Text/CSV; q=0.9, application/json"), Some(Form::Csv)),
            ("", Some("text/html, application/pdf"), Some(Form::Pdf)),
            ("", Some("text/html, */*"), Some(Form::Json)),
        ];
        for (query, accept, form) in table {
            let mut req = TestRequest::with_uri(&format!("/{query}"));
            if let Some(accept) = accept {
                req = req.insert_header((header::ACCEPT, accept));
            }
            let asked = Asked::of(&req.to_http_request(), "Africa/Nairobi", Ts(1_800_000_000_000_000));
            assert_eq!(asked.ok().map(|asked| asked.form), form, "{query} {accept:?}");
        }
    }

    #[test]
    fn spans_are_days_in_order_and_not_too_many() {
        // 2027-01-15 11:00 in Nairobi
        let now = Ts(1_800_000_000_000_000);
        let table = [
            ("", Ok(("2026-12-16", "2027-01-14"))),
            ("?to=2026-11-20", Ok(("2026-10-22", "2026-11-20"))),
            ("?from=2026-11-20&to=2026-11-20", Ok(("2026-11-20", "2026-11-20"))),
            ("?from=2025-12-12", Ok(("2025-12-12", "2027-01-14"))),
            ("?from=2025-12-10", Err(())),
            ("?from=2027-01-15", Err(())),
            ("?from=yesterday", Err(())),
            ("?from=2026-02-30", Err(())),
            ("?from=2026-11-20&from=2026-11-21", Err(())),
            ("?since=2026-11-20", Err(())),
        ];
        for (query, wanted) in table {
            let req = TestRequest::with_uri(&format!("/{query}")).to_http_request();
            let asked = Asked::of(&req, "Africa/Nairobi", now).ok();
            let asked = asked.as_ref().map(|asked| (asked.from.as_str(), asked.to.as_str()));
            assert_eq!(asked, wanted.ok(), "{query}");
        }
        // the clock goes back an hour and forth again: 400 days all the same
        let req = TestRequest::with_uri("/?from=2025-10-01&to=2026-11-04").to_http_request();
        assert!(Asked::of(&req, "Europe/Berlin", now).is_ok());
    }

    #[test]
    fn operators_of_whom_little_is_measured_come_first() {
        let scored = |score_ppm, measured_weight| ComplianceScored {
            operator_no: models::ids::OperatorNo(1),
            jurisdiction: models::jurisdiction::JurisdictionNo(0),
            day: "2026-11-20".to_owned(),
            from: Ts(0),
            to: Ts(1),
            revision: 1,
            formula: 4,
            score_ppm,
            measured_weight,
            band: None,
            components: Vec::new(),
            at: Ts(2),
        };
        // as they are listed: score, measured weight
        let listed = [
            (None, 0),
            (Some(100_000), 20),
            (Some(ONE), LEAST_WEIGHT - 1),
            (Some(0), 100),
            (Some(100_000), LEAST_WEIGHT),
            (Some(ONE), 100),
        ];
        let places = listed.map(|(score, weight)| Place::of(&scored(score, weight), OperatorId(7)));
        assert!(places.windows(2).all(|pair| pair[0] > pair[1]), "the largest first");
        for place in &places {
            assert_eq!(place.to_string().parse::<Place>().ok().map(|read| read.0), Some(place.0), "a cursor says it");
        }
    }
}
