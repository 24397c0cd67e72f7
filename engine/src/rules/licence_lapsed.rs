//! Bets are taken without a licence that covers them: expired, suspended, revoked, not for this product, or against a
//! condition of it. An operator of whose licences nobody ever said anything is not accused.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::papers::Breach;
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::record::{PlayChannel, Product};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What it is.
pub const ABOUT: About = About {
    name: "licence_lapsed",
    home: Home::Operator,
    severity: Severity::Critical,
    what: "bets are taken after a licence expired, while it is suspended, for a product that it does not name, or against a condition of it",
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
    let papers = &heard.book.papers;
    let forbidden = || {
        let texts = papers.conditions(heard.at);
        let mut broken = texts.filter(|(_, text)| {
            let mut named = params.conditions.iter().filter(|forbids| forbids.condition == **text);
            named.any(|forbids| forbids.holds(record.product, record.channel))
        });
        broken.next()
    };
    let (licence, reason) = match papers.breach(heard.at, record.product) {
        Some((licence, breach)) => (licence, Cow::Borrowed(words(breach))),
        None if params.conditions.is_empty() => return,
        None => match forbidden() {
            Some((licence, text)) => (licence, Cow::Owned(format!("against the licence's condition “{text}”"))),
            None => return,
        },
    };
    let found = Found {
        who: Who::Licence(licence),
        window: heard.spans.day,
        cause: Cause::Sum { told_from: params.bets_min },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: Severity::Critical,
    };
    out.found(found, |count| Details::of(vec![format!("{count} bets of the day were taken {reason}")]));
}

fn words(breach: Breach) -> &'static str {
    match breach {
        Breach::Suspended => "while the licence is suspended",
        Breach::Revoked => "after the licence was revoked",
        Breach::Pending => "while the licence is only applied for",
        Breach::Expired => "after the licence expired",
        Breach::NotYetValid => "before the licence is valid",
        Breach::ProductNotLicensed => "on a product that no licence names",
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::document_records::{Compliance, LicenceStanding};

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
        let found = licence().retail().ticket("anna", 5).all("licence_lapsed", params);
        let said = "1 bets of the day were taken against the licence's condition “no sale over the counter”";
        assert_eq!(found[0].reasons, [said]);
        check(
            "licence_lapsed",
            "{}",
            &[("nobody says what the text forbids", licence().retail().ticket("anna", 5), &[])],
        );
    }
}
