//! What the desk says of sources by itself: that they fell silent or speak again, and that their batches are not whole.

use crate::api::SourceView;
use engine::alerting::Desk;
use engine::integrity::{Trouble, judge};
use engine::silence::{self, Hearing, Standing, Told};
use models::alert::AlertRevision;
use models::event::Event;
use models::ids::{AlertId, OperatorNo, SourceId};
use models::ts::Ts;
use std::collections::HashMap;
use std::sync::Arc;

/// What is remembered between two looks at the sources.
#[derive(Default)]
pub(super) struct Watch {
    /// What was said of sources and did not come back by the spine yet.
    said: HashMap<(SourceId, String), (AlertId, i64)>,
    /// When a source was last seen paused: nobody listened to it until then.
    paused: HashMap<SourceId, Ts>,
}

impl Watch {
    /// A revision came back by the spine.
    pub(super) fn heard(&mut self, revision: &AlertRevision) {
        if let Some(source) = revision.subject.source {
            self.said.remove(&(source, revision.rule.clone()));
        }
    }

    /// What was said may not be stored: it is said again.
    pub(super) fn forget(&mut self) {
        self.said.clear();
    }

    /// What has to be said of the sources now; `versions` gives what silences of an operator's sources are judged by.
    pub(super) fn look(
        &mut self,
        sources: &[SourceView],
        desk: &Desk,
        versions: impl Fn(OperatorNo) -> Arc<silence::Versions>,
        now: Ts,
    ) -> Vec<Event> {
        let of_sources = desk.groups().filter_map(|group| {
            let standing = group.standing.last().map(|alert| Standing {
                alert: *alert,
                window: group.last_window,
                severity: group.severity,
            });
            let told = Told { standing, episode: group.episode, hits: group.hits };
            Some(((group.subject.source?, group.rule.as_str()), told))
        });
        let told: HashMap<(SourceId, &str), Told> = of_sources.collect();
        let mut events = Vec::new();
        for view in sources {
            if view.paused {
                self.paused.insert(view.id, now);
            }
            let told = |rule| told.get(&(view.id, rule)).copied().unwrap_or_default();
            let (source, operator) = (&view.source, &view.operator_code);
            let hearing = Hearing {
                last_success: view.last_success_at,
                since: view.listening_since.map(|since| since.max(self.paused.get(&view.id).copied().unwrap_or(since))),
                asked_at: view.polling.as_ref().and_then(|polling| polling.asked_at),
            };
            let versions = versions(source.operator_no);
            let silent = silence::judge(&versions, (source, operator), hearing, told(silence::RULE), now);
            let troubles = view.integrity_state.iter().flat_map(|state| {
                Trouble::ALL.map(|trouble| judge(trouble, source, operator, state, told(trouble.rule()).standing, now))
            });
            for revision in silent.into_iter().chain(troubles.flatten()) {
                let step = (revision.id, revision.operator_seq);
                // what was said and is not back yet is not said again
                if self.said.insert((view.id, revision.rule.clone()), step) != Some(step) {
                    events.push(Event::AlertRevised(revision));
                }
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FreshnessLabel;
    use crate::feeds::PollingView;
    use engine::alerting::Outcome;
    use engine::poll::Breaker;
    use engine::rules::ruleset::RuleSet;
    use models::alert::RevisionKind;
    use models::feed::{Source, SourceKind};
    use models::ids::OperatorId;
    use models::jurisdiction::JurisdictionNo;
    use models::ts::MINUTE;

    /// A source that is expected every minute and last succeeded in the first.
    fn source() -> SourceView {
        let source = Source { kind: SourceKind::HttpPoll, ..Source::for_tests() };
        SourceView {
            id: source.id,
            operator: OperatorId(2),
            operator_code: "safi".to_owned(),
            name: source.name.clone(),
            class: source.class.data(),
            freshness: FreshnessLabel::Dead,
            last_event_at: None,
            last_success_at: Some(Ts(MINUTE)),
            records: 0,
            duplicates: 0,
            quarantined: 0,
            quarantine_open: 0,
            cursor: String::new(),
            paused: false,
            conflicts: 0,
            late: 0,
            replaced: 0,
            integrity: None,
            integrity_state: None,
            listening_since: None,
            last_day: None,
            polling: None,
            source: Arc::new(source),
        }
    }

    fn pause(view: &mut SourceView, paused: bool) {
        (view.paused, Arc::make_mut(&mut view.source).paused) = (paused, paused);
    }

    fn asked(at: i64) -> Option<PollingView> {
        Some(PollingView {
            next_due: None,
            last_fetch_at: None,
            failures: 1,
            breaker: Breaker::Closed,
            last_error: None,
            last_error_at: None,
            asked_at: Some(Ts(at * MINUTE)),
            cursor: None,
        })
    }

    #[derive(Default)]
    struct Looked {
        watch: Watch,
        desk: Desk,
        offset: i64,
        alerts: Vec<AlertId>,
    }

    impl Looked {
        /// What is said of a source in a minute; it comes back by the spine.
        fn at(&mut self, minute: i64, view: &SourceView) -> Vec<RevisionKind> {
            let now = Ts(minute * MINUTE);
            let standard = |_| Arc::clone(RuleSet::standard("KE").silences());
            let events = self.watch.look(std::slice::from_ref(view), &self.desk, standard, now);
            let mut said = Vec::new();
            for event in events {
                let Event::AlertRevised(mut revision) = event else { panic!("not an alert") };
                self.offset += 1;
                revision.offset = self.offset;
                self.desk.revision(&revision, JurisdictionNo(0), now, &mut Outcome::default());
                self.watch.heard(&revision);
                self.alerts.push(revision.id);
                said.push(revision.kind);
            }
            said
        }
    }

    #[test]
    fn a_start_holds_nothing_against_a_source_before_it_was_asked() {
        let (mut looked, mut view) = (Looked::default(), source());
        assert_eq!(looked.at(600, &view), [], "its actor has not read where it stood");
        view.listening_since = Some(Ts(601 * MINUTE));
        assert_eq!(looked.at(601, &view), [], "it has not fetched");
        view.polling = asked(602);
        assert_eq!(looked.at(602, &view), [RevisionKind::Raised]);
        assert_eq!(looked.at(603, &view), []);
    }

    #[test]
    fn after_a_pause_a_source_has_its_chance_and_then_a_new_alert() {
        let (mut looked, mut view) = (Looked::default(), source());
        (view.listening_since, view.polling) = (Some(Ts(0)), asked(5));
        assert_eq!(looked.at(5, &view), [RevisionKind::Raised]);
        pause(&mut view, true);
        assert_eq!(looked.at(100, &view), [RevisionKind::Withdrawn]);
        assert_eq!(looked.at(200, &view), []);
        pause(&mut view, false);
        assert_eq!(looked.at(201, &view), [], "it was asked before the pause");
        assert_eq!(looked.at(202, &view), [RevisionKind::Raised], "two intervals are enough");
        assert_eq!(looked.alerts[0], looked.alerts[1]);
        assert_ne!(looked.alerts[1], looked.alerts[2]);
        view.last_success_at = Some(Ts(203 * MINUTE));
        assert_eq!(looked.at(203, &view), [RevisionKind::Withdrawn]);
    }
}
