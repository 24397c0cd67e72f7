//! An authority says something else of a licence than it said before, or the regulator of the operator itself.

use crate::rules::book::Noticed;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::licences::{Change, Licence};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::document_records::{Compliance, LicenceStanding};
use models::operator::OperatorState;
use models::ts::Ts;

/// What it is.
pub const ABOUT: About = About {
    name: "compliance_status_changed",
    home: Home::Operator,
    severity: Severity::High,
    what: "a licence's standing, what the authority says of how its holder keeps to it, or whether the operator may trade is another than before",
    takes_back: "a status that is told late and said the same before, and a record that replaces it",
    hears: &[Trigger::Document],
};

params! {
    /// Also where it is better than before.
    tell_improvements: bool = true, "", 0..=0, "a lifted suspension is news to those who watch";
}

fn weight(standing: LicenceStanding, compliance: Compliance) -> Severity {
    let of_standing = match standing {
        LicenceStanding::Active => Severity::Low,
        LicenceStanding::Pending => Severity::Medium,
        LicenceStanding::Expired | LicenceStanding::Suspended | LicenceStanding::Revoked => Severity::High,
    };
    let of_compliance = match compliance {
        Compliance::Compliant | Compliance::Unknown => Severity::Low,
        Compliance::UnderReview => Severity::Medium,
        Compliance::NonCompliant => Severity::High,
    };
    of_standing.max(of_compliance)
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let licences = &heard.book.papers.licences;
    match heard.document {
        Some(Noticed::Licence(key)) => {
            let changes = licences.get(key).into_iter().flat_map(Licence::changes);
            changes.for_each(|change| licence_changed(params, key, &change, out));
        }
        Some(Noticed::Operator) => licences.operator_changes().for_each(|change| operator_changed(params, change, out)),
        Some(Noticed::Invoice(_)) | None => {}
    }
}

/// What a change is: about whom, since when, how it is told.
struct News {
    who: Who,
    at: Ts,
    severity: Severity,
    is_same: bool,
    is_better: bool,
}

fn tell(params: &Params, news: &News, out: &mut Out<'_>, details: impl FnOnce() -> Details) {
    let News { who, at, severity, is_same, is_better } = *news;
    let measured = Measured { observed: 1, limit: 0, unit: Unit::Records };
    if is_same || (is_better && !params.tell_improvements) {
        let measured = Measured { observed: 0, ..measured };
        out.cleared(who, at, measured, "a status told late says that nothing changed then");
        return;
    }
    // an instant: two changes of a day are two findings
    let window = Window { start: at, end: at.plus(1) };
    out.found(Found { who, window, cause: Cause::Window, measured, severity }, |_| details());
}

fn licence_changed(params: &Params, key: u64, change: &Change<'_>, out: &mut Out<'_>) {
    let Change { before, now, compliance: (was, is) } = *change;
    let severity = weight(now.standing, is);
    let news = News {
        who: Who::Licence(key),
        at: now.at,
        severity,
        is_same: (before.standing, was) == (now.standing, is),
        is_better: severity < weight(before.standing, was),
    };
    tell(params, &news, out, || {
        let mut reasons = Vec::new();
        let entered = if now.record.is_none() { ", as the regulator entered it" } else { "" };
        if before.standing != now.standing {
            let (was, is) = (before.standing.as_str(), now.standing.as_str());
            reasons.push(format!("the licence was {was} and is {is}{entered}"));
        }
        if was != is {
            let words = |compliance: Compliance| compliance.as_str().replace('_', " ");
            reasons.push(format!("its holder was {} and is {}", words(was), words(is)));
        }
        Details::of(reasons).with([now, before].into_iter().filter_map(|saying| saying.record.as_deref()))
    });
}

fn operator_changed(params: &Params, (at, was, is): (Ts, OperatorState, OperatorState), out: &mut Out<'_>) {
    let weight = |state| match state {
        OperatorState::Active => Severity::Low,
        OperatorState::Suspended | OperatorState::Closed => Severity::High,
    };
    let words = |state| match state {
        OperatorState::Active => "active",
        OperatorState::Suspended => "suspended",
        OperatorState::Closed => "closed",
    };
    let severity = weight(is);
    let news = News { who: Who::Operator, at, severity, is_same: was == is, is_better: severity < weight(was) };
    tell(params, &news, out, || {
        Details::of(vec![format!("the operator was {} and is {}, as the regulator entered it", words(was), words(is))])
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::Severity;
    use models::document_records::{Compliance, LicenceStanding};
    use models::operator::{LicenceState, OperatorState};

    #[test]
    fn a_changed_status_is_news() {
        use Compliance::{Compliant, NonCompliant, UnderReview};
        use LicenceStanding::{Active, Suspended};
        let good = || Story::at(60).licence("L-1", Active, Compliant).after(minutes(600));
        let one = &["licence L-1: 1 records"][..];
        check(
            "compliance_status_changed",
            "{}",
            &[
                ("the first that is said", Story::at(60).licence("L-1", Active, NonCompliant), &[]),
                ("the same again", good().licence("L-1", Active, Compliant), &[]),
                ("non-compliant", good().licence("L-1", Active, NonCompliant), one),
                ("suspended", good().licence("L-1", Suspended, Compliant), one),
                ("of another licence", good().licence("L-2", Active, NonCompliant), &[]),
                (
                    "worse and better again are two findings",
                    good().licence("L-1", Active, UnderReview).after(minutes(5)).licence("L-1", Active, Compliant),
                    &["licence L-1: 1 records", "licence L-1: 1 records"],
                ),
                (
                    "what changed was told to have changed before",
                    good()
                        .licence("L-1", Suspended, Compliant)
                        .before(minutes(60))
                        .licence("L-1", Suspended, Compliant),
                    one,
                ),
            ],
        );
        let entered = |state| good().entered("L-1", state);
        let operator = &["operator: 1 records"][..];
        check(
            "compliance_status_changed",
            "{}",
            &[
                ("the first licence that is entered", Story::at(60).entered("L-1", LicenceState::Revoked), &[]),
                ("the regulator enters it as revoked", entered(LicenceState::Revoked), one),
                ("it enters what the authority said", entered(LicenceState::Active), &[]),
                (
                    "how its holder keeps to it is not said by an entry, and so not changed",
                    Story::at(60).licence("L-1", Active, NonCompliant).entered("L-1", LicenceState::Active),
                    &[],
                ),
                (
                    "it is said for the first time",
                    Story::at(60).entered("L-1", LicenceState::Active).licence("L-1", Active, NonCompliant),
                    &[],
                ),
                (
                    "the authority says something else than before the entry",
                    entered(LicenceState::Active).licence("L-1", Active, NonCompliant),
                    one,
                ),
                (
                    "revoked and active again are two findings",
                    entered(LicenceState::Revoked).entered("L-1", LicenceState::Active),
                    &["licence L-1: 1 records", "licence L-1: 1 records"],
                ),
                ("the operator is suspended", good().operator_is(OperatorState::Suspended), operator),
                ("it is said to be active, as it was", good().operator_is(OperatorState::Active), &[]),
                (
                    "suspended, closed and active again",
                    good()
                        .operator_is(OperatorState::Suspended)
                        .operator_is(OperatorState::Closed)
                        .operator_is(OperatorState::Active),
                    &["operator: 1 records", "operator: 1 records", "operator: 1 records"],
                ),
            ],
        );
        check(
            "compliance_status_changed",
            r#"{"tell_improvements": false}"#,
            &[(
                "it may trade again",
                Story::at(60).operator_is(OperatorState::Suspended).operator_is(OperatorState::Active),
                operator,
            )],
        );
        check(
            "compliance_status_changed",
            r#"{"tell_improvements": false}"#,
            &[("better", Story::at(60).licence("L-1", Suspended, Compliant).licence("L-1", Active, Compliant), &[])],
        );
    }

    #[test]
    fn how_bad_it_is_says_how_urgent_it_is() {
        let table = [
            (
                LicenceStanding::Active,
                Compliance::UnderReview,
                Severity::Medium,
                "its holder was compliant and is under review",
            ),
            (
                LicenceStanding::Active,
                Compliance::NonCompliant,
                Severity::High,
                "its holder was compliant and is non compliant",
            ),
            (LicenceStanding::Revoked, Compliance::Compliant, Severity::High, "the licence was active and is revoked"),
        ];
        for (standing, compliance, severity, reason) in table {
            let story = Story::at(60).licence("L-1", LicenceStanding::Active, Compliance::Compliant);
            let found = story.licence("L-1", standing, compliance).run("compliance_status_changed", "{}");
            assert_eq!((found[0].severity, found[0].reasons[0].as_str()), (severity, reason));
            assert_eq!(found[0].records.len(), 2);
        }
        let story = Story::at(60).licence("L-1", LicenceStanding::Active, Compliance::Compliant);
        let found = story.entered("L-1", LicenceState::Revoked).run("compliance_status_changed", "{}");
        assert_eq!(found[0].reasons, ["the licence was active and is revoked, as the regulator entered it"]);
        assert_eq!((found[0].severity, found[0].records.len()), (Severity::High, 1), "an entry is no record");
        let found = Story::at(60).operator_is(OperatorState::Suspended).run("compliance_status_changed", "{}");
        assert_eq!(found[0].reasons, ["the operator was active and is suspended, as the regulator entered it"]);
        assert_eq!((found[0].severity, found[0].records.len()), (Severity::High, 0));
    }
}
