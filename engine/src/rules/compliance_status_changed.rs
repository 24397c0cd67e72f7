//! An authority says something else of a licence than it said before.

use crate::rules::book::Noticed;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::document_records::{Compliance, LicenceStanding};

/// What it is.
pub const ABOUT: About = About {
    name: "compliance_status_changed",
    home: Home::Operator,
    severity: Severity::High,
    what: "a licence's standing, or what the authority says of how its holder keeps to it, is another than before",
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
    let Some(Noticed::Licence(key)) = heard.document else { return };
    let Some(licence) = heard.book.papers.licences.get(&key) else { return };
    let who = Who::Licence(key);
    for (before, now) in licence.sayings.iter().zip(licence.sayings.iter().skip(1)) {
        let severity = weight(now.standing, now.compliance);
        let is_same = (before.standing, before.compliance) == (now.standing, now.compliance);
        let is_better = severity < weight(before.standing, before.compliance);
        let measured = Measured { observed: 1, limit: 0, unit: Unit::Records };
        if is_same || (is_better && !params.tell_improvements) {
            let measured = Measured { observed: 0, ..measured };
            out.cleared(who, now.at, measured, "a status told late says that nothing changed then");
            continue;
        }
        // an instant: two changes of a day are two findings
        let window = Window { start: now.at, end: now.at.plus(1) };
        let found = Found { who, window, cause: Cause::Window, measured, severity };
        out.found(found, |_| {
            let mut reasons = Vec::new();
            if before.standing != now.standing {
                reasons.push(format!("the licence was {} and is {}", before.standing.as_str(), now.standing.as_str()));
            }
            if before.compliance != now.compliance {
                let words = |compliance: Compliance| compliance.as_str().replace('_', " ");
                reasons.push(format!("its holder was {} and is {}", words(before.compliance), words(now.compliance)));
            }
            Details::of(reasons).with([&*now.id, &*before.id])
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::Severity;
    use models::document_records::{Compliance, LicenceStanding};

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
    }
}
