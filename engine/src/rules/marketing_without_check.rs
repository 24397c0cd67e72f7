//! Somebody is sent marketing, or a campaign's bonus, and the register was not asked whether they may be.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::ts::HOUR;
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "marketing_without_check",
    home: Home::Operator,
    severity: Severity::Critical,
    what: "marketing, or a bonus that names a campaign, to somebody about whom the operator did not ask with that purpose",
    takes_back: "nothing: it is decided with what evidence held when the record was stored; where evidence has a gap the rule is silent",
    hears: &[Trigger::Offer],
};

params! {
    /// Hours before the record in which a check with the purpose of marketing must lie.
    check_hours: i64 = 24, "hours", 1..=720, "no law known: a list is washed on the day on which it is used";
    /// People who are named one by one in an hour; where there are more the operator is named once with their number.
    named_max: i64 = 100, "people", 1..=10_000, "what people can work through";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((player, _)) = heard.player.filter(|_| heard.is_marketing) else { return };
    let lacks = heard.facts.lacks_check(heard.facts.marketing_checked_at, heard.at, params.check_hours * HOUR);
    if lacks != Some(true) {
        return;
    }
    let binds = |until: Option<models::ts::Ts>| until.is_none_or(|until| heard.at < until);
    let is_excluded = heard.facts.excluded.is_some_and(|excluded| binds(excluded.until));
    let count = out.once_more(heard.at, params.named_max, "was sent marketing without a check");
    // whoever is excluded is named in any case
    if count > params.named_max && !is_excluded {
        return;
    }
    let one = Found {
        who: Who::Player(player),
        window: heard.spans.day,
        cause: Cause::Sum { told_from: 1 },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: if is_excluded { Severity::Critical } else { Severity::Medium },
    };
    out.found(one, |count| {
        let hours = counted(params.check_hours, "hour", "hours");
        let records = counted(count, "such record", "such records");
        let mut reasons =
            vec![format!("no check with the purpose of marketing within {hours} before; {records} on the day")];
        if is_excluded {
            reasons.insert(0, "the person is excluded".to_owned());
        }
        Details::of(reasons)
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check};
    use models::alert::Severity;

    #[test]
    fn nobody_is_advertised_to_unasked() {
        let anna = &["player anna: 1 records"][..];
        check(
            "marketing_without_check",
            "{}",
            &[
                ("a message, and nobody asked", Story::at(3_000).marketing("anna"), anna),
                (
                    "asked an hour before with that purpose",
                    Story::at(3_000).asked_for_marketing("anna", 2_940).marketing("anna"),
                    &[],
                ),
                (
                    "asked a day before, to the minute",
                    Story::at(3_000).asked_for_marketing("anna", 1_560).marketing("anna"),
                    &[],
                ),
                (
                    "asked longer than a day before",
                    Story::at(3_000).asked_for_marketing("anna", 1_559).marketing("anna"),
                    anna,
                ),
                ("asked, but for a login", Story::at(3_000).asked("anna", 2_999).marketing("anna"), anna),
                ("a bonus of a campaign is marketing", Story::at(3_000).campaign_bonus("anna", 500, "easter"), anna),
                ("a bonus that a player earned is not", Story::at(3_000).bonus("anna", 500), &[]),
                (
                    "within a gap of the evidence nobody can say",
                    Story::at(3_000).gap(2_000, 2_100).marketing("anna"),
                    &[],
                ),
                ("somebody whom the register cannot know", Story::at(3_000).marketing("#4711"), &[]),
            ],
        );
    }

    #[test]
    fn marketing_to_the_excluded_is_worst() {
        let severity = |story: Story| story.run("marketing_without_check", "{}")[0].severity;
        assert_eq!(severity(Story::at(60).marketing("anna")), Severity::Medium);
        assert_eq!(severity(Story::at(60).excluded("anna", 10, None).marketing("anna")), Severity::Critical);
        assert_eq!(severity(Story::at(60).excluded("anna", 10, Some(50)).marketing("anna")), Severity::Medium);
    }
}
