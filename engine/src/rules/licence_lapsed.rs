//! Bets are taken without a licence that covers them: expired, suspended, revoked, not for this product or channel, or
//! against a condition of it; or while the operator itself is suspended or closed. An operator of whose licences nobody ever
//! said anything is not accused of having none.

use crate::ingest::id_digest;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::licences::{Breach, Lapse};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::record::{PlayChannel, Product, Record};
use models::words::counted;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Characters of a condition that a finding shows.
const CONDITION_CHARS: usize = 200;

/// What it is.
pub const ABOUT: About = About {
    name: "licence_lapsed",
    home: Home::Operator,
    severity: Severity::Critical,
    what: "bets are taken after a licence expired, while it or the operator is suspended, for a product or over a channel that it does not name, or against a condition of it",
    takes_back: "nothing: bets are held against what had been said of licences when they came; a status that is told later counts from then on",
    hears: &[Trigger::Bet],
};

/// What a condition of a licence forbids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forbids {
    /// The condition, as the authority writes it.
    pub condition: String,
    /// A product.
    #[serde(default)]
    pub product: Option<Product>,
    /// A channel; with a product, the product on that channel.
    #[serde(default)]
    pub channel: Option<PlayChannel>,
}

impl Forbids {
    fn holds(&self, product: Option<Product>, channel: Option<PlayChannel>) -> bool {
        self.product.is_none_or(|forbidden| product == Some(forbidden))
            && self.channel.is_none_or(|forbidden| channel == Some(forbidden))
    }
}

params! {
    /// Bets of a day from which on it is told.
    bets_min: i64 = 1, "bets", 1..=1_000_000, "without a licence there is no bet";
    /// What conditions of licences forbid; conditions that are not named here are not judged.
    conditions: Vec<Forbids> = Vec::new(), "", 0..=0, "conditions are texts of the authority: what they forbid is configuration";
    coherent(self) {
        let says = |forbids: &Forbids| !forbids.condition.is_empty() && (forbids.product.is_some() || forbids.channel.is_some());
        if self.conditions.iter().all(says) { Ok(()) } else { Err("a condition is named, and forbids a product or a channel") }
    }
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some(record) = heard.record else { return };
    let (licences, played) = (&heard.book.papers.licences, (record.product, record.channel));
    if let Some(Lapse { licence, breach }) = licences.lapse(heard.at, played.0, played.1) {
        let who = licence.map_or(Who::Operator, Who::Licence);
        // over a channel of its own it is another matter than under no licence at all
        let matter = if breach == Breach::ChannelNotLicensed { id_digest("channel") } else { 0 };
        return tell(params, heard, &mut out.matter(matter), who, || words(breach, record));
    }
    if params.conditions.is_empty() {
        return;
    }
    let is_broken = |text: &str| {
        let mut named = params.conditions.iter().filter(|forbids| forbids.condition == *text);
        named.any(|forbids| forbids.holds(played.0, played.1))
    };
    if let Some((key, licence, text)) = licences.broken_condition(heard.at, played, is_broken) {
        let reason = || format!("against the condition \"{}\" of licence {}", shortened(text), licence.number);
        tell(params, heard, &mut out.matter(id_digest(text)), Who::Licence(key), reason);
    }
}

/// One bet more of the day.
fn tell(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>, who: Who, reason: impl FnOnce() -> String) {
    let found = Found {
        who,
        window: heard.spans.day,
        cause: Cause::Sum { told_from: params.bets_min },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: Severity::Critical,
    };
    out.found(found, |count| {
        Details::of(vec![format!("{} of the day, taken {}", counted(count, "bet", "bets"), reason())])
    });
}

/// A condition is a sentence, and some are a page.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CONDITION_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn words(breach: Breach, record: &Record) -> String {
    let named = match breach {
        Breach::OperatorSuspended => "while the operator is suspended",
        Breach::OperatorClosed => "after the operator was closed",
        Breach::Suspended => "while the licence is suspended",
        Breach::Revoked => "after the licence was revoked",
        Breach::Pending => "while the licence is only applied for",
        Breach::Expired => "after the licence expired",
        Breach::NotYetValid => "before the licence is valid",
        Breach::ProductNotLicensed => {
            let product = record.product.map_or("a product", Product::as_str);
            return format!("on {product}, a product that no licence names");
        }
        Breach::ChannelNotLicensed => {
            let channel = record.channel.map_or("a channel", PlayChannel::as_str);
            return format!("over {channel}, a channel that no licence for the product names");
        }
    };
    named.to_owned()
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::document_records::{Compliance, LicenceStanding};
    use models::operator::{LicenceState, OperatorState};

    #[test]
    fn nobody_trades_without_a_licence() {
        use LicenceStanding::{Active, Expired, Revoked, Suspended};
        let said = |standing| Story::at(10).licence("L-1", standing, Compliance::Compliant);
        let one = &["licence L-1: 1 records"][..];
        let later = minutes(60);
        check(
            "licence_lapsed",
            "{}",
            &[
                ("an active licence", said(Active).after(later).stake("anna", 5), &[]),
                ("suspended", said(Suspended).after(later).stake("anna", 5), one),
                ("revoked, and a ticket over the counter", said(Revoked).after(later).anonymous_ticket(5), one),
                ("said to have expired", said(Expired).after(later).stake("anna", 5), one),
                (
                    "expired by its date",
                    said(Active)
                        .valid_to(100)
                        .licence("L-1", Active, Compliance::Compliant)
                        .until(100)
                        .stake("anna", 5),
                    one,
                ),
                (
                    "a minute before that",
                    said(Active).valid_to(100).licence("L-1", Active, Compliance::Compliant).until(99).stake("anna", 5),
                    &[],
                ),
                (
                    "a bet of before the suspension that comes late",
                    said(Active)
                        .after(later)
                        .licence("L-1", Suspended, Compliance::Compliant)
                        .before(minutes(30))
                        .stake("anna", 5),
                    &[],
                ),
                ("a payout while it is suspended is owed", said(Suspended).after(later).payout("anna", 5), &[]),
                (
                    "active again",
                    said(Suspended)
                        .after(later)
                        .licence("L-1", Active, Compliance::Compliant)
                        .after(later)
                        .stake("anna", 5),
                    &[],
                ),
                (
                    "one of two licences is suspended",
                    said(Suspended).licence("L-2", Active, Compliance::Compliant).after(later).stake("anna", 5),
                    &[],
                ),
                (
                    "a product that it names",
                    said(Active)
                        .licensed(&["slots"])
                        .licence("L-1", Active, Compliance::Compliant)
                        .product("slots")
                        .stake("anna", 5),
                    &[],
                ),
                (
                    "a product that it does not name",
                    said(Active)
                        .licensed(&["slots"])
                        .licence("L-1", Active, Compliance::Compliant)
                        .product("poker")
                        .stake("anna", 5),
                    one,
                ),
                (
                    "a licence for products that nobody knows",
                    said(Active)
                        .licensed(&["bingo hall"])
                        .licence("L-1", Active, Compliance::Compliant)
                        .product("poker")
                        .stake("anna", 5),
                    &[],
                ),
                ("nobody ever said anything of a licence", Story::at(60).stake("anna", 5), &[]),
                ("a stake that did not go through", said(Suspended).after(later).failed_stake("anna", 5), &[]),
            ],
        );
    }

    #[test]
    fn what_the_regulator_enters_is_heard_as_a_document_is() {
        use LicenceStanding::{Active, Suspended};
        let one = &["licence L-1: 1 records"][..];
        let operator = &["operator: 1 records"][..];
        let (later, entered) = (minutes(60), |state| Story::at(10).entered("L-1", state));
        let said = |standing| Story::at(10).licence("L-1", standing, Compliance::Compliant).after(later);
        let is = |state| Story::at(10).operator_is(state).after(later);
        check(
            "licence_lapsed",
            "{}",
            &[
                ("entered as active", entered(LicenceState::Active).after(later).stake("anna", 5), &[]),
                ("entered as revoked", entered(LicenceState::Revoked).after(later).stake("anna", 5), one),
                ("entered as expired", entered(LicenceState::Expired).after(later).stake("anna", 5), one),
                (
                    "revoked after a document said active",
                    said(Active).entered("L-1", LicenceState::Revoked).stake("anna", 5),
                    one,
                ),
                (
                    "a document that is newer says that it is active",
                    entered(LicenceState::Revoked)
                        .after(later)
                        .licence("L-1", Active, Compliance::Compliant)
                        .stake("anna", 5),
                    &[],
                ),
                (
                    "a document that is older says nothing any more",
                    entered(LicenceState::Revoked)
                        .after(later)
                        .before(minutes(65))
                        .licence("L-1", Active, Compliance::Compliant)
                        .stake("anna", 5),
                    one,
                ),
                (
                    "suspended by a document, and entered as active again",
                    said(Suspended).entered("L-1", LicenceState::Active).stake("anna", 5),
                    &[],
                ),
                (
                    "a bet of before it was revoked that comes late",
                    said(Active).entered("L-1", LicenceState::Revoked).before(minutes(30)).stake("anna", 5),
                    &[],
                ),
                (
                    "of another licence",
                    entered(LicenceState::Revoked).entered("L-2", LicenceState::Active).stake("anna", 5),
                    &[],
                ),
                ("the operator is suspended", is(OperatorState::Suspended).stake("anna", 5), operator),
                ("it is closed", is(OperatorState::Closed).stake("anna", 5), operator),
                (
                    "it may trade again",
                    is(OperatorState::Suspended).operator_is(OperatorState::Active).stake("anna", 5),
                    &[],
                ),
                ("a payout while it is suspended is owed", is(OperatorState::Suspended).payout("anna", 5), &[]),
                (
                    "it is suspended, and its licence is active",
                    said(Active).operator_is(OperatorState::Suspended).stake("anna", 5),
                    operator,
                ),
                (
                    "a bet of before it was suspended that comes late",
                    is(OperatorState::Suspended).before(minutes(90)).stake("anna", 5),
                    &[],
                ),
            ],
        );
    }

    #[test]
    fn a_licence_names_its_channels() {
        let one = &["licence L-1: 1 records"][..];
        let online =
            || Story::at(10).over(&["online", "ussd"]).licence("L-1", LicenceStanding::Active, Compliance::Compliant);
        let entered = || Story::at(10).over(&["online"]).entered("L-1", LicenceState::Active);
        let again = |story: Story| story.licence("L-1", LicenceStanding::Active, Compliance::Compliant);
        check(
            "licence_lapsed",
            "{}",
            &[
                ("over the counter, of a document", online().retail().ticket("anna", 5), one),
                ("over the counter, of an entry", entered().retail().ticket("anna", 5), one),
                ("over a channel that nobody says", online().stake("anna", 5), &[]),
                (
                    "a document that says nothing of channels leaves them",
                    again(entered()).retail().ticket("anna", 5),
                    one,
                ),
                ("one that says every channel does not", again(entered().over(&[])).retail().ticket("anna", 5), &[]),
                (
                    "an entry says all of a licence",
                    online().entered("L-1", LicenceState::Active).retail().ticket("anna", 5),
                    &[],
                ),
                (
                    "another licence is for the counter",
                    online().over(&["retail"]).entered("L-2", LicenceState::Active).retail().ticket("anna", 5),
                    &[],
                ),
            ],
        );
    }

    #[test]
    fn a_finding_names_what_was_broken() {
        let active = |story: Story| story.licence("L-1", LicenceStanding::Active, Compliance::Compliant);
        let conditions = r#"{"conditions": [{"condition": "no sale over the counter", "channel": "retail"}]}"#;
        let long = "x".repeat(300);
        let page = format!(r#"{{"conditions": [{{"condition": "{long}", "channel": "retail"}}]}}"#);
        let table = [
            (
                "{}",
                active(Story::at(10).licensed(&["slots"])).product("poker").stake("anna", 5),
                "1 bet of the day, taken on poker, a product that no licence names".to_owned(),
            ),
            (
                "{}",
                active(Story::at(10).over(&["online"])).retail().ticket("anna", 5),
                "1 bet of the day, taken over retail, a channel that no licence for the product names".to_owned(),
            ),
            (
                conditions,
                active(Story::at(10).condition("no sale over the counter")).retail().ticket("anna", 5),
                r#"1 bet of the day, taken against the condition "no sale over the counter" of licence L-1"#.to_owned(),
            ),
            (
                &page,
                active(Story::at(10).condition(&long)).retail().ticket("anna", 5),
                format!(r#"1 bet of the day, taken against the condition "{}…" of licence L-1"#, &long[..200]),
            ),
            (
                "{}",
                Story::at(10).operator_is(OperatorState::Closed).stake("anna", 5),
                "1 bet of the day, taken after the operator was closed".to_owned(),
            ),
        ];
        for (params, story, reason) in table {
            let found = story.run("licence_lapsed", params);
            assert_eq!(found.iter().map(|finding| finding.reasons.clone()).collect::<Vec<_>>(), [vec![reason]]);
        }
    }

    #[test]
    fn two_conditions_that_are_broken_are_two_findings() {
        let params = r#"{"conditions": [{"condition": "no poker", "product": "poker"}, {"condition": "no slots", "product": "slots"}]}"#;
        let licence = |conditions: &[&str]| {
            let story = conditions.iter().fold(Story::at(10), |story, text| story.condition(text));
            story.licence("L-1", LicenceStanding::Active, Compliance::Compliant)
        };
        let both =
            licence(&["no poker", "no slots"]).product("poker").stake("anna", 5).product("slots").stake("anna", 5);
        let (one, two) = (&["licence L-1: 1 records"][..], &["licence L-1: 1 records", "licence L-1: 1 records"][..]);
        check(
            "licence_lapsed",
            params,
            &[
                ("both", both, two),
                (
                    "one of them",
                    licence(&["no poker"]).product("poker").stake("anna", 5).product("slots").stake("anna", 5),
                    one,
                ),
                (
                    "another licence has no such condition",
                    licence(&["no poker"]).entered("L-2", LicenceState::Active).product("poker").stake("anna", 5),
                    &[],
                ),
            ],
        );
    }

    #[test]
    fn a_condition_is_judged_where_it_is_said_what_it_forbids() {
        let params = r#"{"conditions": [{"condition": "no sale over the counter", "channel": "retail"}]}"#;
        let licence = || {
            Story::at(10).condition("no sale over the counter").licence(
                "L-1",
                LicenceStanding::Active,
                Compliance::Compliant,
            )
        };
        check(
            "licence_lapsed",
            params,
            &[
                ("over the counter", licence().retail().ticket("anna", 5), &["licence L-1: 1 records"]),
                ("online", licence().stake("anna", 5), &[]),
            ],
        );
        check(
            "licence_lapsed",
            "{}",
            &[("nobody says what the text forbids", licence().retail().ticket("anna", 5), &[])],
        );
    }
}
