//! A record whose score by the promoted model of transaction risk is high.
//!
//! The score is an input as everything else: it was stored with the version of the model that gave it, and with what moved
//! it. So the rule says the same when the inputs are played again and no model is there.

use crate::ingest::id_digest;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::{Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::score::{RiskyRecord, SoldAt};

/// What it is.
pub const ABOUT: About = About {
    name: "risky_transaction",
    home: Home::Operator,
    severity: Severity::High,
    what: "the promoted model of transaction risk gives a record a high probability of being what people confirmed before",
    takes_back: "nothing: it is what the model said of what was known then",
    hears: &[Trigger::RecordScored],
};

params! {
    /// Probability from which on a record is told of, millionths.
    score_min_ppm: i64 = 500_000, "ppm", 100_000..=1_000_000, "calibrated: more likely than not what people confirmed before";
    /// Probability from which on it is urgent, millionths.
    high_ppm: i64 = 900_000, "ppm", 100_000..=1_000_000, "calibrated: nine of ten such records were confirmed";
    /// Records that are told one by one in an hour; beyond, the operator itself is named once with their number.
    named_max: i64 = 20, "records an hour", 1..=1_000, "own: what two people can look at in an hour";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Input::RecordScored { scored, version } = heard.input else { return };
    let score = i64::from(scored.score_ppm);
    if score < params.score_min_ppm {
        return;
    }
    let what = "made a transaction that the model calls risky";
    if out.once_more(scored.at, params.named_max, what) > params.named_max {
        return;
    }
    let found = Found {
        who: who(scored),
        window: Window { start: scored.at, end: scored.at.plus(1) },
        cause: Cause::Window,
        measured: Measured { observed: score, limit: params.score_min_ppm, unit: Unit::Ppm },
        severity: if score >= params.high_ppm { Severity::High } else { Severity::Medium },
    };
    // each record is one of its own, also where two have the same time
    out.matter(id_digest(&scored.record_id)).found(found, |_| {
        let said = format!("version {version} of the model gives it a probability of {:.1} %", score as f64 / 1e4);
        let reasons = std::iter::once(said).chain(scored.reasons.iter().cloned());
        Details::of(reasons.collect()).with([scored.record_id.as_str()])
    });
}

/// Whose record it is; of nobody's where it was made, so that each terminal, else each shop, is a matter of its own.
fn who(scored: &RiskyRecord) -> Who {
    match (scored.player, scored.sold_at) {
        (Some(player), _) => Who::Player(player.0),
        (None, Some(SoldAt::Terminal(terminal))) => Who::Terminal(terminal),
        (None, Some(SoldAt::Shop(shop))) => Who::Shop(shop),
        (None, None) => Who::Operator,
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::{RevisionKind, Severity};

    #[test]
    fn what_the_model_calls_risky_is_told_of() {
        let many = |count: usize| (0..count).fold(Story::at(60).quickly(), |story, _| story.scored("anna", 700_000));
        check(
            "risky_transaction",
            r#"{"named_max": 2}"#,
            &[
                ("more likely than not", Story::at(10).scored("anna", 500_000), &["player anna: 500000 ppm"]),
                ("less likely than not", Story::at(10).scored("anna", 499_999), &[]),
                (
                    "two records are two",
                    Story::at(10).scored("anna", 600_000).after(minutes(5)).scored("anna", 800_000),
                    &["player anna: 600000 ppm", "player anna: 800000 ppm"],
                ),
                (
                    "two at the same time as well",
                    Story::at(10).scored("anna", 600_000).before(minutes(1)).scored("anna", 800_000),
                    &["player anna: 600000 ppm", "player anna: 800000 ppm"],
                ),
                (
                    "of three in an hour the operator is named",
                    many(3),
                    &["player anna: 700000 ppm", "player anna: 700000 ppm", "operator: 3 records"],
                ),
                (
                    "of nobody, and nobody says where",
                    Story::at(10).anonymous_scored(None, 600_000).anonymous_scored(None, 700_000),
                    &["operator: 600000 ppm", "operator: 700000 ppm"],
                ),
                (
                    "of nobody at a terminal and in a shop",
                    Story::at(10)
                        .anonymous_scored(Some("terminal 7"), 600_000)
                        .anonymous_scored(Some("shop 7"), 700_000),
                    &["terminal 7: 600000 ppm", "shop 7: 700000 ppm"],
                ),
                ("a payout says nothing by itself", Story::at(10).payout("anna", 900_000), &[]),
            ],
        );
    }

    #[test]
    fn each_terminal_and_each_shop_is_a_group_of_its_own() {
        let places = ["terminal 7", "terminal 8", "shop 7", "terminal 7"].map(Some).into_iter().chain([None, None]);
        let found = places.fold(Story::at(10), |story, place| story.anonymous_scored(place, 600_000));
        let found = found.all("risky_transaction", "{}");
        assert_eq!(found.len(), 6, "each record is told of");
        let subjects: Vec<_> = found.iter().map(|finding| finding.who.subject()).collect();
        let different: std::collections::BTreeSet<_> = subjects.iter().collect();
        assert_eq!((different.len(), &subjects[0]), (4, &subjects[3]), "the desk groups by it: {subjects:?}");
        let named = |place: usize, kind: &str| subjects[place].as_deref().is_some_and(|who| who.starts_with(kind));
        assert!(named(1, "terminal:") && named(2, "shop:") && subjects[4].is_none(), "{subjects:?}");
    }

    #[test]
    fn it_says_why_and_which_record() {
        let story = Story::at(10).scored("anna", 950_000).after(minutes(1)).scored("ben", 600_000);
        let found = story.all("risky_transaction", "{}");
        let said: Vec<_> = found.iter().map(|f| (f.kind, f.severity, f.measured.limit)).collect();
        let raised = RevisionKind::Raised;
        assert_eq!(said, [(raised, Severity::High, 500_000), (raised, Severity::Medium, 500_000)]);
        assert_eq!(found[0].reasons, ["version 3 of the model gives it a probability of 95.0 %", "because"]);
        assert_eq!(found[0].records, ["scored-1"]);
    }
}
