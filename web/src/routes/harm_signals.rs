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
/// Digits of the longest one, hundredths among them, beside which nobody says of which money: a national id has eight.
const BARE_AMOUNT_MAX: usize = 7;
/// How people write money of the countries that we know, and of those that players come from. A closed list: three letters
/// alone may be `TEL` or `NIN`.
const CURRENCIES: &[&str] = &[
    "KES",
    "KSh",
    "KShs",
    "Sh",
    "Shs",
    "shilling",
    "shillings",
    "NGN",
    "naira",
    "₦",
    "BRL",
    "R$",
    "reais",
    "EUR",
    "euro",
    "euros",
    "€",
    "GBP",
    "£",
    "USD",
    "US$",
    "$",
    "UGX",
    "TZS",
    "GHS",
    "ZAR",
    "RWF",
    "INR",
    "₹",
];

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
/// times of day and amounts of money are nobody's, and part nothing either.
fn may_name(text: &str) -> bool {
    let text: String = text.chars().filter(|letter| !is_unseen(*letter)).collect();
    let says = |word: &&str| word.contains(char::is_alphanumeric) || is_currency(word);
    let words: Vec<&str> = text.split_whitespace().filter(says).collect();
    let mut digits = 0;
    for (place, word) in words.iter().enumerate() {
        let before = place.checked_sub(1).map(|before| words[before]);
        if is_nobodys(word, [before, words.get(place + 1).copied()]) {
            continue;
        }
        for letter in word.chars() {
            if letter.is_numeric() {
                digits += 1;
            } else if letter.is_alphabetic() {
                digits = 0;
            }
            if digits > DIGITS_MAX {
                return true;
            }
        }
    }
    text.contains(['@', '\u{ff20}'])
}

/// Characters that take no room, or only say how others are written (Unicode's general category Cf and its like).
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Is it a day, or, where no other number stands beside it, a time of day or a span of them, or an amount of money? Else it
/// may be a part of a longer number (`0712 345,678`).
fn is_nobodys(word: &str, beside: [Option<&str>; 2]) -> bool {
    let whole = bare(word);
    if is_day(whole) {
        return true;
    }
    let mut beside = beside.into_iter().flatten().map(bare);
    if beside.clone().any(|other| other.contains(char::is_numeric) && !is_day(other)) {
        return false;
    }
    whole.split(['-', '–']).all(is_time_of_day)
        || without_currency(whole)
            .is_some_and(|(amount, has_one)| is_amount(amount, has_one || beside.any(is_currency)))
}

/// A word without the signs of a sentence.
fn bare(word: &str) -> &str {
    word.trim_matches(|letter: char| letter.is_ascii_punctuation() && letter != '$')
}

/// Is it the name or the sign of money?
fn is_currency(word: &str) -> bool {
    CURRENCIES.iter().any(|known| known.eq_ignore_ascii_case(bare(word)))
}

/// What may be an amount, without the currency that is written onto it (`KES90,000`, `90,000€`), and whether there is one.
fn without_currency(word: &str) -> Option<(&str, bool)> {
    let (first, last) = (word.find(|one: char| one.is_ascii_digit())?, word.rfind(|one: char| one.is_ascii_digit())?);
    let around = [&word[..first], &word[last + 1..]];
    let is_known = around.iter().all(|one| one.is_empty() || is_currency(one));
    is_known.then_some((&word[first..=last], around.iter().any(|one| !one.is_empty())))
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

/// Digits in groups of three between commas, and perhaps hundredths, the first of them no 0: fewer digits than a document's
/// number has, or a currency beside them and fewer than a phone's.
fn is_amount(word: &str, has_currency: bool) -> bool {
    let (whole, hundredths) = word.split_once('.').unwrap_or((word, "00"));
    let mut groups = whole.split(',');
    let begins = groups.next().is_some_and(|first| number(first, 1..=3).is_some() && !first.starts_with('0'));
    let (mut count, mut are_of_three) = (0, true);
    for group in groups {
        count += 1;
        are_of_three &= number(group, 3..=3).is_some();
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    begins
        && are_of_three
        && (1..=2).contains(&count)
        && (has_currency || digits <= BARE_AMOUNT_MAX)
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
            // groups of a longer number that look like an amount, a time or a day by themselves
            ("call 0712 345,678", true),
            ("+254 712,345 678", true),
            ("call 07,123,456 78", true),
            ("id 12,345,678", true),
            ("id 12,345,678.", true),
            ("id 123,456.78", true),
            ("call 712,345 - 678", true),
            ("call 0712 (345,678)", true),
            ("call 07:12 34:56 78", true),
            ("call 07:12 13:45 16:17", true),
            ("call 0712 3 2026-03-12 45 678", true),
            ("TEL 12,345,678", true),
            ("call KES712,345 678", true),
            ("call KES 712,345,678", true),
            // by dot, slash, dash, and what only looks like a space
            ("call 0712.345.678", true),
            ("id 12.345.678", true),
            ("call 0712/345/678", true),
            ("id 12/345/678", true),
            ("call 0712-345-678", true),
            ("call 0712\u{2011}345\u{2011}678", true),
            ("call 0712\u{202f}345,678", true),
            ("call 712\u{2007}345,678", true),
            ("call 0712\u{a0}345,678", true),
            // other digits, and what is not seen
            ("call ٠٧١٢ ٣٤٥ ٦٧٨", true),
            ("id ١٢٬٣٤٥٬٦٧٨", true),
            ("call ٠٧١٢ 345,678", true),
            ("id １２３４５６７８", true),
            ("call 07\u{200b}12 34\u{200b}5,678", true),
            ("id 12,\u{200d}345,\u{2060}678", true),
            ("id 12,345\u{feff},678", true),
            ("id 1\u{ad}2345678", true),
            ("lost 90,000\u{200b}678", true),
            ("write to a＠b.example", true),
            ("write to @ 90,000", true),
            // and what is nobody's
            ("lost KES 1,250,000.50 since 2026-03-12", false),
            ("lost KES 12,500,000 and 190,000 and 7,000 on 12/3/2026", false),
            ("lost 1,250,000 in a week, 12,500.50 of it at night", false),
            ("lost KES1,250,000.50 or $12,500,000 or 12,500,000 shillings", false),
            ("lost (€ 12,500,000), won 90,000€", false),
            ("lost 90,\u{200b}000 since 2026-03-12 22:00", false),
            ("since 2026-03-12, 14 deposits", false),
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
