//! Signs of harm: staff and the promoted model give them to operators, operators read them and act.

use std::fmt;
use std::str::FromStr;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::directory::Directory;
use actors::engine::NewHarmSignal;
use engine::register::index::LookupKey;
use engine::rules::harm_signal_unanswered::Terms;
use models::alert::Severity;
use models::harm_signal::{HarmSignal, NamedBy, REASON_CHARS_MAX};
use models::ids::{HarmSignalId, OperatorId};
use models::match_key::MatchKey;
use models::operator::{Operator, Scope};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use store::HarmSignalQuery;
use utoipa::ToSchema;

use super::list::{ListView, cursor};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::lookup::WireLookup;
use crate::lookup::question::{Question, token_of};
use crate::parse::{self, Fields, Text};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Signs are shown for so many days.
pub const SHOWN_DAYS: i64 = 90;
/// Digits one after the other in a reason from which on they may name somebody.
const DIGITS_MAX: usize = 5;
/// Characters of the longest amount of money in a reason: `99,999,999`.
const AMOUNT_MAX: usize = 10;

/// A sign of harm to give. The player by `player` as alerts name them, or by at least one of `phone`, `id_number`, `bst`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HarmSignalRequest {
    /// As in the `who` of an alert: `player:` and 22 hexadecimal digits.
    #[serde(default)]
    player: Option<String>,
    /// Mobile number as people write it.
    #[serde(default)]
    phone: Option<String>,
    /// Number of an identity document.
    #[serde(default)]
    id_number: Option<String>,
    /// `national_id` (default), `alien_id`, `passport`, `maisha`, `kra_pin`, `nin`.
    #[serde(default)]
    id_type: Option<String>,
    /// Country that issued the document, ISO 3166-1 alpha-2; the jurisdiction's by default.
    #[serde(default)]
    id_country: Option<String>,
    /// The caller's own token of the person.
    #[serde(default)]
    bst: Option<String>,
    /// `low`, `medium`, `high`, `critical`.
    #[serde(default)]
    level: Option<String>,
    /// Why, at most 200 characters; the operator reads it. It names nobody.
    #[serde(default)]
    reason: Option<String>,
}

/// A sign of harm as it stands.
#[derive(Serialize, ToSchema)]
pub struct HarmSignalView {
    /// `hsg_…`
    #[schema(value_type = String)]
    pub id: HarmSignalId,
    /// About whom.
    pub player: SignalledPlayer,
    /// `low`, `medium`, `high`, `critical`.
    pub level: &'static str,
    /// When it was given to the operator.
    #[schema(value_type = String, format = DateTime)]
    pub since: Ts,
    /// Last instant for an intervention, as the rule in force has it; null where none is asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub act_by: Option<Ts>,
    /// Has somebody intervened: is there a successful record `intervention` about the player, made after `since`?
    pub answered: bool,
    /// When, by the first of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Ts>,
    /// Nobody has, and the time is over; or they did too late.
    pub overdue: bool,
    /// `regulator`, or `model`: the level of risk of the player became high.
    pub source: &'static str,
    /// Why, where the regulator said so.
    pub reason: Option<String>,
}

/// A player in the terms of whoever reads.
#[derive(Serialize, ToSchema)]
pub struct SignalledPlayer {
    /// The operator's own token of the person, as a lookup answers it; null for staff, and where the operator has never asked
    /// about the person and nobody said by what the person is known.
    pub bst: Option<String>,
    /// The operator's ids of the player's newest deposits and withdrawals when the sign was given, at most three.
    pub records: Vec<String>,
    /// Keyed digest, as in the `who` of alerts: `player:…`; for staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// Where a sign stands among those that are older.
struct Place(Ts, HarmSignalId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.0, self.1)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        Ok(Self(Ts(at.parse().map_err(|_| ())?), id.parse().map_err(|_| ())?))
    }
}

impl HarmSignalView {
    fn of(signal: &HarmSignal, (terms, now): (&Terms, Ts), player: SignalledPlayer) -> Self {
        let HarmSignal { id, level, since, answered_at, ref source, .. } = *signal;
        let act_by = terms.act_by((since, level), answered_at.unwrap_or(now));
        Self {
            id,
            player,
            level: level.as_str(),
            since,
            act_by,
            answered: answered_at.is_some(),
            answered_at,
            overdue: act_by.is_some_and(|due| due < answered_at.unwrap_or(now)),
            source: source.as_str(),
            reason: source.reason().map(str::to_owned),
        }
    }
}

/// The player as staff sees them.
fn for_staff(signal: &HarmSignal) -> SignalledPlayer {
    SignalledPlayer { bst: None, records: signal.records.clone(), who: Some(format!("player:{}", signal.player)) }
}

/// The player in the operator's own terms.
fn for_operator(caller: &Caller, state: &AppState, signal: &HarmSignal) -> Result<SignalledPlayer, Problem> {
    // a token of a retired version would be answered 410
    let is_live = |named: &NamedBy| state.engine.keys().digest.version(named.digest_version).is_some();
    let token = signal.named.filter(is_live).map(|NamedBy { kind, digest_version }| {
        let generation = state.engine.directory().generation(Some(signal.operator_no), signal.player);
        token_of(&caller.entry, LookupKey { kind, digest_version, key: signal.player }, generation)
    });
    let bst = token.transpose()?.map(|(bst, _)| bst.to_string());
    Ok(SignalledPlayer { bst, records: signal.records.clone(), who: None })
}

fn terms(directory: &Directory, operator: &Operator) -> Terms {
    Terms::of(&directory.rules(operator.jurisdiction).1)
}

async fn page(
    state: &AppState,
    req: &HttpRequest,
    operator: &Operator,
    player: impl Fn(&HarmSignal) -> Result<SignalledPlayer, Problem>,
) -> Result<HttpResponse, Problem> {
    let query = parse::list_query(&parse::query(req, &["limit", "cursor"])?)?;
    let (now, limit) = (state.engine.now(), query.limit);
    let behind = cursor::<Place>(&query)?.map(|Place(at, id)| (at, id));
    let from = now.plus(-SHOWN_DAYS * DAY);
    let wanted = HarmSignalQuery { operator: operator.operator_no, from, behind, limit: limit + 1 };
    let mut found = state.engine.store().harm_signals(&wanted).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|last| Place(last.since, last.id).to_string());
    let terms = terms(&state.engine.directory(), operator);
    let view = |signal: HarmSignal| {
        let player = player(&signal)?;
        Ok(HarmSignalView::of(&signal, (&terms, now), player))
    };
    let items = found.into_iter().map(view).collect::<Result<Vec<_>, Problem>>()?;
    Ok(HttpResponse::Ok().json(ListView { items, next_cursor }))
}

/// Signs of harm about the caller's players, the newest first, of the last 90 days. Each asks for an intervention until
/// `act_by`: a record of the kind `intervention` about the player, made after `since`, however late it reaches us.
#[utoipa::path(
    get, path = "/api/v1/harm-signals", tag = "alerts",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Signs of harm", body = ListView<HarmSignalView>)),
    security(("bearer" = ["risk:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn own(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    // whoever asks about people with a bare `lookup` is not told of anybody's risk
    if ![Scope::RiskRead, Scope::FeedsManage, Scope::FeedsWrite].into_iter().any(|scope| caller.has(scope)) {
        return Err(Problem::new(Code::Forbidden, "the key has neither the scope risk:read nor one for feeds"));
    }
    let own = caller.operator.as_ref();
    let own =
        own.ok_or_else(|| Problem::new(Code::Forbidden, "these are an operator's own; staff names the operator"))?;
    page(&state, &req, own, |signal| for_operator(&caller, &state, signal)).await
}

/// Signs of harm that an operator was told of, the newest first, of the last 90 days. For staff.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/harm-signals", tag = "alerts",
    params(("id" = String, Path, description = "opr_…"), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Signs of harm", body = ListView<HarmSignalView>)),
    security(("bearer" = ["market:read"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let operator = caller.operator_in_reach(&state.engine.directory(), id, Scope::MarketRead)?;
    page(&state, &req, &operator, |signal| Ok(for_staff(signal))).await
}

/// Gives a sign of harm about one of its players to an operator, which has to act from then on. For staff. The player has to
/// be one whom the operator knows by this identifier: it has asked about them, or sent records of them. It reads the sign
/// from the instant from which its time runs.
#[utoipa::path(
    post, path = "/api/v1/operators/{id}/harm-signals", tag = "alerts", request_body = HarmSignalRequest,
    params(("id" = String, Path, description = "opr_…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: given once")),
    responses((status = 201, description = "The sign", body = HarmSignalView),
        (status = 404, description = "No such operator, or it knows no such player"),
        (status = 409, description = "The operator is suspended or closed, and so cannot read it; or could not find out who \
            it is: it has never asked about the player, and no deposit or withdrawal of theirs is remembered; or has as \
            many signs of staff from the last 14 days as are followed"),
        (status = 503, description = "The operator's rules are still reading; ask again after `Retry-After`")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn give(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AlertsManage)?;
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let operator = caller.operator_in_reach(&state.engine.directory(), id, Scope::AlertsManage)?;
    let sent: HarmSignalRequest = parse::json_body(req.headers(), &body)?;
    let new = sent.check(&caller, &state, &operator)?;
    let signal = state.engine.give_harm_signal(new, idempotency(&caller, &req, &body)?).await?;
    let terms = terms(&state.engine.directory(), &operator);
    let player = for_staff(&signal);
    let view = HarmSignalView::of(&signal, (&terms, state.engine.now()), player);
    let place = format!("/api/v1/operators/{}/harm-signals", operator.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, place)).json(view))
}

/// May a text name somebody: does it hold a number as long as a phone's or a document's, or an address?
///
/// People group digits by whatever is no letter (`0712,345,678`, `0712_345_678`), so only letters part two numbers. Days,
/// times of day and amounts of money are nobody's.
fn may_name(text: &str) -> bool {
    let mut digits = 0;
    for word in text.split_whitespace() {
        if is_nobodys(word) {
            digits = 0;
            continue;
        }
        for letter in word.chars() {
            if letter.is_numeric() {
                digits += 1;
            } else if letter.is_alphabetic() {
                digits = 0;
            }
            if digits > DIGITS_MAX || letter == '@' {
                return true;
            }
        }
    }
    false
}

/// Is it a day, a time of day or a span of them, or an amount of money?
fn is_nobodys(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| letter.is_ascii_punctuation());
    is_day(word) || is_amount(word) || word.split(['-', '–']).all(is_time_of_day)
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let is_whole = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole { text.parse().ok() } else { None }
}

/// `2026-03-12`, `12.3.2026` or `12/03/2026`: of this century's twenties or later, so that nobody's day of birth is one.
fn is_day(word: &str) -> bool {
    let is_one = |year, month, day| {
        number(year, 4..=4).is_some_and(|year| (2020..2100).contains(&year))
            && number(month, 1..=2).is_some_and(|month| (1..=12).contains(&month))
            && number(day, 1..=2).is_some_and(|day| (1..=31).contains(&day))
    };
    ['-', '/', '.'].into_iter().any(|between| match word.split(between).collect::<Vec<_>>()[..] {
        [first, month, last] => is_one(first, month, last) || is_one(last, month, first),
        _ => false,
    })
}

fn is_time_of_day(word: &str) -> bool {
    word.split_once(':').is_some_and(|(hour, minute)| {
        number(hour, 1..=2).is_some_and(|hour| hour < 24) && number(minute, 2..=2).is_some_and(|minute| minute < 60)
    })
}

/// Digits in groups of three between commas, and perhaps hundredths: fewer of them than a phone has.
fn is_amount(word: &str) -> bool {
    let (whole, hundredths) = word.split_once('.').unwrap_or((word, "00"));
    let mut groups = whole.split(',');
    let begins = groups.next().is_some_and(|first| number(first, 1..=3).is_some());
    let (mut count, mut are_of_three) = (0, true);
    for group in groups {
        count += 1;
        are_of_three &= number(group, 3..=3).is_some();
    }
    begins
        && are_of_three
        && (1..=2).contains(&count)
        && whole.len() <= AMOUNT_MAX
        && number(hundredths, 1..=2).is_some()
}

impl HarmSignalRequest {
    fn check(self, caller: &Caller, state: &AppState, operator: &Operator) -> Result<NewHarmSignal, Problem> {
        let mut fields = Fields::default();
        let level = fields.known("/level", self.level.as_deref(), Severity::parse);
        let reason = fields.required_text("/reason", self.reason.as_deref(), REASON_CHARS_MAX);
        if reason.as_deref().is_some_and(may_name) {
            fields.wrong("/reason", "holds a number or an address that may name somebody");
        }
        let has_identity = self.phone.is_some() || self.id_number.is_some() || self.bst.is_some();
        let player = self.player.as_deref().and_then(|text| {
            let digits = text.strip_prefix("player:").unwrap_or(text);
            fields.known("/player", Some(digits), |text| text.parse::<MatchKey>().ok())
        });
        if self.player.is_some() && has_identity {
            fields.wrong("/player", "not beside phone, id_number or bst");
        }
        if self.player.is_none() && !has_identity {
            fields.wrong("", "one of player, phone, id_number and bst is needed");
        }
        let (level, reason) = fields.finish(level.zip(reason))?;
        let players = match player {
            Some(player) => vec![(player, None)],
            None => self.identifiers(caller, state)?,
        };
        Ok(NewHarmSignal { operator: operator.operator_no, players, level, reason, by: caller.entry.key.id })
    }

    fn identifiers(&self, caller: &Caller, state: &AppState) -> Result<Vec<(MatchKey, Option<NamedBy>)>, Problem> {
        let text = |text: &Option<String>| text.as_deref().map(|text| Text(text.to_owned().into()));
        let sent = WireLookup {
            phone: text(&self.phone),
            id_number: text(&self.id_number),
            id_type: text(&self.id_type),
            id_country: text(&self.id_country),
            bst: text(&self.bst),
            ..WireLookup::default()
        };
        let directory = state.engine.directory();
        let keys = Question::identifiers(&caller.asker(&directory), state, &sent)?;
        let named = |key: LookupKey| NamedBy { kind: key.kind, digest_version: key.digest_version };
        Ok(keys.into_iter().map(|key| (key.key, Some(named(key)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_nobody() {
        for (text, names) in [
            ("a relative called on 12 March", false),
            ("lost KES 90,000 in 3 nights", false),
            ("call 0712 345 678", true),
            ("id 12345678", true),
            ("+254-712-345-678", true),
            ("write to a@b.example", true),
            // other separators
            ("call 0712,345,678", true),
            ("call 0712_345_678", true),
            ("call 0712:345:678", true),
            ("call 0712\u{a0}345\u{a0}678", true),
            ("call 0712–345–678", true),
            ("call 07'12'34'56'78", true),
            ("call 712,345,678", true),
            ("id 12 345 678", true),
            ("id 1234, 5678", true),
            ("born 12.03.1986", true),
            ("2026-03-12 0712 345 678", true),
            // and what is nobody's
            ("lost KES 1,250,000.50 since 2026-03-12", false),
            ("lost 12,500,000, 190,000 and 7,000 on 12/3/2026", false),
            ("plays from 22:00-23:30 (since 1.12.2026).", false),
            ("30 deposits in 24 hours, 12 of them failed", false),
        ] {
            assert_eq!(may_name(text), names, "{text}");
        }
    }

    #[test]
    fn a_place_is_read_as_it_is_shown() {
        let place = Place(Ts(1_800_000_000_000_000), HarmSignalId(7));
        let Place(at, id) = place.to_string().parse().expect("a place");
        assert_eq!((at, id), (place.0, place.1));
        for text in ["", "1", "1.opr_00000000000000000000000007", "x.hsg_00000000000000000000000007"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
