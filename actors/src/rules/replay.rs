//! What rules found in a span, computed once more: it must be what follows from their stored inputs, bit for bit.
//!
//! ```text
//! kept state behind which the span lies, or nothing ─▶ stored inputs, with the facts of then and the versions of then
//!     └▶ findings of inputs in the span ─▶ beside rows of `rule_findings`, and, of live ones, the alerts
//! stored alerts of rules ─▶ is there a finding of each?
//! ```
//! Inputs are read a few at a time, and what is stored of them beside: memory does not grow with the span. Each is held
//! against the journal first: of one that is not stored as that says nothing can be computed. Nothing is written.

use super::input::Stored;
use super::judge::{Judge, OfNation, OfOperator};
use super::keeper::hear_without;
use super::quiet::Quiet;
use super::told::{FindingId, Whose, revision, row};
use super::{FOUND_AT_ONCE_MAX, HEADS_AT_ONCE, INPUTS_AT_ONCE};
use crate::market::{SetAside, unpack};
use crate::replay::{CannotBeComputed, DIFFERENCES_MAX, DifferenceKind, ReplayError, Span};
use crate::rule_versions::RuleVersions;
use engine::operator_state::Deviations;
use engine::rules::facts;
use engine::rules::finding::{Finding, Mode};
use engine::rules::list::{self, About};
use engine::rules::nation::NationRules;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::AlertRevision;
use models::ids::{AlertId, OperatorId, OperatorNo, Seq};
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::operator::Operator;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::{AlteredInput, RuleFindingRow, StateOf, Store};

/// Alerts read at once.
const ALERTS_AT_ONCE: u32 = 256;
/// Findings that are not stored, remembered at most: beyond, their alerts count as another difference.
const MISSING_MAX: usize = 1 << 20;

/// What a replay says of an operator's rules, or of those over all operators of a jurisdiction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesReplay {
    /// Code of the operator or of the jurisdiction.
    pub code: String,
    /// Who; none where it is all operators of the jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorId>,
    /// The input behind whose kept state it begins; 0 = before the first one.
    pub begins_behind: i64,
    /// Inputs that were applied, up to the last one before the end of the span.
    pub inputs: u64,
    /// Records in them.
    pub records: u64,
    /// SHA-256 over every input's position, clock, set of versions, body, facts and record digests, in hex: two replays with
    /// the same one heard the same.
    pub inputs_sha256: String,
    /// Findings in the span that are the same.
    pub findings: u64,
    /// Alerts of them that are the same.
    pub alerts: u64,
    /// What differs, in the order of the inputs.
    pub differences: Vec<RulesDifference>,
    /// Further differences.
    pub further: u64,
    /// Where it could not be computed to its end, why: what differs before that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_be_computed: Option<CannotBeComputed>,
}

impl RulesReplay {
    /// Differences; that it cannot be computed is one.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.differences.len() as u64 + self.further + u64::from(self.cannot_be_computed.is_some())
    }
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stating {
    /// A row of what rules found.
    Finding,
    /// What people were told of it.
    Alert,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesDifference {
    /// How: `missing` (follows from the inputs, and is not stored), `unfounded` (the other way round), `changed`.
    pub kind: DifferenceKind,
    /// Of what.
    pub what: Stating,
    /// Position of the input.
    pub input_seq: i64,
    /// Rule.
    pub rule: String,
    /// Id of the finding.
    pub id: AlertId,
    /// Fields that differ, where both are there; those within a finding as `finding.name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// As stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Value>,
    /// As computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<Value>,
}

/// What replays of rules share.
pub struct Rules<'a> {
    store: &'a Store,
    chain: &'a [u8; 32],
    versions: RuleVersions,
    quiet: Quiet,
    codes: HashMap<OperatorNo, String>,
    span: Span,
}

impl<'a> Rules<'a> {
    /// Reads the versions of rules as they were at every place of the journal, and whose code is whose.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub async fn read(
        store: &'a Store,
        chain: &'a [u8; 32],
        jurisdictions: &[Jurisdiction],
        span: Span,
    ) -> Result<Self, ReplayError> {
        let versions = RuleVersions::read(store, jurisdictions).await?;
        let quiet = Quiet::known(store).await?;
        let codes = store.operators().await?.into_iter().map(|operator| (operator.operator_no, operator.code));
        Ok(Self { store, chain, versions, quiet, codes: codes.collect(), span })
    }

    /// By what windows of operators of a jurisdiction were judged as of an event.
    #[must_use]
    pub fn deviations_as_of(&self, jurisdiction: JurisdictionNo, seq: Seq) -> Arc<Deviations> {
        Arc::clone(self.versions.set_as_of(jurisdiction, seq).deviations())
    }

    /// An operator's rules.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub async fn operator(&self, operator: &Operator, of: &Jurisdiction) -> Result<RulesReplay, ReplayError> {
        let Operator { operator_no: no, jurisdiction, .. } = *operator;
        let whose = Whose { no, jurisdiction, code: operator.code.clone(), currency: of.currency };
        let zone = zone(of)?;
        let blank = OfOperator::new(no, OperatorRules::new(no, zone, &self.versions.set(jurisdiction).1));
        Box::pin(Past::begin(self, whose, blank)).await?.replay(Some(operator.id)).await
    }

    /// The rules over all operators of a jurisdiction.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub async fn nation(&self, jurisdiction: JurisdictionNo, of: &Jurisdiction) -> Result<RulesReplay, ReplayError> {
        let no = OperatorNo::of_nation(jurisdiction);
        let whose = Whose { no, jurisdiction, code: of.code.clone(), currency: of.currency };
        let blank = OfNation::new(NationRules::new(jurisdiction, zone(of)?, &self.versions.set(jurisdiction).1));
        Past::begin(self, whose, blank).await?.replay(None).await
    }
}

fn zone(of: &Jurisdiction) -> Result<TimeZone, ReplayError> {
    TimeZone::get(&of.time_zone).map_err(|error| ReplayError::Unreadable(error.to_string()))
}

/// Does a rule speak of what inputs of rules led to?
pub(crate) fn is_of_rules(rule: &str) -> bool {
    list::about(rule).is_some_and(About::is_here)
}

/// Time of an input: of the clock that judged its batch, or its own.
pub(super) fn at(input: &Stored) -> Ts {
    input.batch.as_ref().map(|batch| batch.clock_at).or_else(|| input.input.at()).unwrap_or(Ts(0))
}

/// What follows from an input.
struct Computed {
    row: RuleFindingRow,
    /// Of a live one, with whether nobody was to be told of it.
    alert: Option<(AlertRevision, bool)>,
}

/// A state of rules while its inputs are applied again.
struct Past<'a, J> {
    of: &'a Rules<'a>,
    whose: Whose,
    state: J,
    begins_behind: i64,
    rules_seq: Option<Seq>,
    set_aside: SetAside,
    digest: Context,
    inputs: u64,
    records: u64,
    findings: u64,
    alerts: u64,
    differences: Vec<RulesDifference>,
    further: u64,
    /// Findings that are not stored, by id and input.
    missing: HashSet<(AlertId, i64)>,
}

impl<'a, J: Judge> Past<'a, J> {
    async fn begin(of: &'a Rules<'a>, whose: Whose, blank: J) -> Result<Self, ReplayError> {
        let set_aside = of.store.rules_set_aside(whose.no).await?.into_iter().collect();
        let (begins_behind, state) = start(of, &whose, blank).await?;
        Ok(Self {
            of,
            whose,
            state,
            begins_behind,
            rules_seq: None,
            set_aside,
            digest: Context::new(&SHA256),
            inputs: 0,
            records: 0,
            findings: 0,
            alerts: 0,
            differences: Vec::new(),
            further: 0,
            missing: HashSet::new(),
        })
    }

    async fn replay(mut self, operator: Option<OperatorId>) -> Result<RulesReplay, ReplayError> {
        let cannot_be_computed = self.compute().await.err().map(ReplayError::reported).transpose()?;
        Ok(RulesReplay {
            code: self.whose.code,
            operator,
            begins_behind: self.begins_behind,
            inputs: self.inputs,
            records: self.records,
            inputs_sha256: data_encoding::HEXLOWER.encode(self.digest.finish().as_ref()),
            findings: self.findings,
            alerts: self.alerts,
            differences: self.differences,
            further: self.further,
            cannot_be_computed,
        })
    }

    /// Computes the span to its end, or to where it cannot be computed.
    async fn compute(&mut self) -> Result<(), ReplayError> {
        // rows of inputs that are not there lie before the first one or behind the last one
        let mut looked = if self.begins_behind == 0 { i64::MIN } else { self.begins_behind };
        let mut behind = self.begins_behind;
        self.hold_together().await?;
        loop {
            let rows = J::read(self.of.store, self.whose.no, behind, INPUTS_AT_ONCE).await?;
            // behind the last one that is heard may lie others that should be
            let through = rows.last().map_or(i64::MAX, |row| if J::GAPLESS { row.input_seq } else { row.seq });
            self.hold_against_journal((behind, through)).await?;
            let inputs = rows.into_iter().map(Stored::read).collect::<Result<Vec<_>, _>>();
            let inputs = inputs.map_err(ReplayError::Unreadable)?;
            let Some(last) = inputs.last() else { break };
            behind = J::place(last);
            let (mut computed, mut in_span) = (BTreeMap::new(), HashMap::new());
            for input in &inputs {
                let findings = self.apply(input)?;
                let is_in_span = self.of.span.holds(at(input));
                in_span.insert(J::place(input), is_in_span);
                if is_in_span {
                    computed.extend(findings.into_iter().map(|finding| self.computed(input, finding)));
                }
            }
            self.compare((looked, behind), &in_span, computed).await?;
            looked = behind;
            // a clock may have been set back: the inputs end where none of a few lies before the end of the span
            if inputs.iter().all(|input| at(input) >= self.of.span.to) {
                break;
            }
        }
        let last = self.of.store.last_rule_input(self.whose.no).await?;
        self.compare((last.max(looked), i64::MAX), &HashMap::new(), BTreeMap::new()).await?;
        self.unfounded_alerts().await
    }

    /// Every input is there.
    async fn hold_together(&self) -> Result<(), ReplayError> {
        match self.of.store.missing_rule_input(self.whose.no).await? {
            None => Ok(()),
            Some(input_seq) => Err(ReplayError::Gone { code: self.whose.code.clone(), input_seq }),
        }
    }

    /// Inputs behind a place, up to another one, are stored as the journal says: place in it, set of rules, body, facts.
    async fn hold_against_journal(&self, places: (i64, i64)) -> Result<(), ReplayError> {
        match self.of.store.first_altered_input(self.whose.no, places).await? {
            None => Ok(()),
            Some(AlteredInput { place, fields }) => {
                Err(ReplayError::Altered { code: self.whose.code.clone(), place, fields })
            }
        }
    }

    fn apply(&mut self, input: &Stored) -> Result<Vec<Finding>, ReplayError> {
        let place = J::place(input);
        self.inputs += 1;
        for number in [place, at(input).0, input.rules_seq] {
            self.digest.update(&number.to_be_bytes());
        }
        let body = serde_json::to_vec(&input.input).map_err(|error| ReplayError::Unreadable(error.to_string()))?;
        self.digest.update(&body);
        if let Some(facts) = input.batch.as_ref().and_then(|batch| batch.facts.as_deref()) {
            self.digest.update(&facts::pack(facts));
        }
        for record in input.batch.iter().flat_map(|batch| batch.records.iter()) {
            self.records += 1;
            self.digest.update(&record.id_digest.to_be_bytes());
            self.digest.update(&record.content_digest.to_be_bytes());
        }
        if self.rules_seq != Some(input.rules_seq) {
            self.state.set_rules(&self.of.versions.set_as_of(self.whose.jurisdiction, input.rules_seq));
            self.rules_seq = Some(input.rules_seq);
        }
        let findings = hear_without(&self.set_aside, &mut self.state, input, None);
        // as whoever heard it first: they leave the state
        drop(self.state.counted_days());
        findings.map_err(|panic| {
            let (code, panic) = (self.whose.code.clone(), panic.to_string());
            ReplayError::Panic { code, operator_seq: place, panic }
        })
    }

    fn computed(&self, input: &Stored, finding: Finding) -> (FindingId, Computed) {
        let place = J::place(input);
        let row = row(&self.whose, input, place, &finding);
        let alert = (finding.mode == Mode::Live).then(|| {
            let operators = finding.operators.iter().filter_map(|no| self.of.codes.get(no).cloned()).collect();
            (revision(&self.whose, place, finding, operators), self.of.quiet.holds(input))
        });
        (FindingId::of(&row), Computed { row, alert })
    }

    /// Holds what follows from some inputs against what is stored of them.
    async fn compare(
        &mut self,
        places: (i64, i64),
        in_span: &HashMap<i64, bool>,
        mut computed: BTreeMap<FindingId, Computed>,
    ) -> Result<(), ReplayError> {
        let stored = self.of.store.findings_by_input(self.whose.findings(), places, FOUND_AT_ONCE_MAX).await?;
        if stored.len() >= FOUND_AT_ONCE_MAX as usize {
            return Err(ReplayError::TooMany { code: self.whose.code.clone(), after: places.0 });
        }
        for row in stored {
            // whatever stands on no input lies where it says
            if !in_span.get(&row.input_seq).copied().unwrap_or_else(|| self.of.span.holds(row.at)) {
                continue;
            }
            match computed.remove(&FindingId::of(&row)) {
                None => self.differs(Stating::Finding, &row, (Some(shown(&row)), None)),
                Some(computed) => {
                    if row == computed.row {
                        self.findings += 1;
                    } else {
                        self.differs(Stating::Finding, &row, (Some(shown(&row)), Some(shown(&computed.row))));
                    }
                    self.compare_alert(&computed).await?;
                }
            }
        }
        for computed in computed.into_values() {
            self.differs(Stating::Finding, &computed.row, (None, Some(shown(&computed.row))));
            self.compare_alert(&computed).await?;
        }
        Ok(())
    }

    async fn compare_alert(&mut self, computed: &Computed) -> Result<(), ReplayError> {
        let Some((alert, is_quiet)) = &computed.alert else { return Ok(()) };
        let revisions = self.of.store.alert(alert.id).await?;
        let here = |stored: &AlertRevision| stored.operator_seq == alert.operator_seq;
        let stored = revisions.into_iter().find(here).map(without_offsets);
        match stored {
            Some(stored) if stored == *alert => self.alerts += 1,
            // whoever ran before the rules of this layout may have told of it
            None if *is_quiet => {}
            stored => {
                let value = |revision: &AlertRevision| serde_json::to_value(revision).unwrap_or_default();
                let sides = (stored.as_ref().map(value), Some(value(alert)));
                self.differs(Stating::Alert, &computed.row, sides);
            }
        }
        Ok(())
    }

    /// Alerts in the span that no finding stands behind.
    async fn unfounded_alerts(&mut self) -> Result<(), ReplayError> {
        let mut after = 0;
        loop {
            let alerts = self.of.store.operator_alerts(self.whose.no, after, ALERTS_AT_ONCE).await?;
            let Some(last) = alerts.last() else { return Ok(()) };
            after = last.operator_offset.unsigned_abs();
            for alert in alerts.into_iter().filter(|alert| is_of_rules(&alert.rule) && self.of.span.holds(alert.at)) {
                // one that is missing was told of already
                if self.missing.contains(&(alert.id, alert.operator_seq)) {
                    continue;
                }
                if !self.of.store.has_live_finding(alert.id, alert.operator_seq).await? {
                    let stored = serde_json::to_value(without_offsets(alert.clone())).ok();
                    let (input_seq, rule) = (alert.operator_seq, alert.rule);
                    self.add(Stating::Alert, (input_seq, rule, alert.id), (stored, None));
                }
            }
        }
    }

    fn differs(&mut self, what: Stating, row: &RuleFindingRow, sides: (Option<Value>, Option<Value>)) {
        self.add(what, (row.input_seq, row.rule.clone(), row.id), sides);
    }

    fn add(
        &mut self,
        what: Stating,
        (input_seq, rule, id): (i64, String, AlertId),
        (stored, computed): (Option<Value>, Option<Value>),
    ) {
        if stored.is_none() && self.missing.len() < MISSING_MAX {
            self.missing.insert((id, input_seq));
        }
        if self.differences.len() >= DIFFERENCES_MAX {
            self.further += 1;
            return;
        }
        let (kind, fields) = match (&stored, &computed) {
            (Some(stored), Some(computed)) => (DifferenceKind::Changed, fields("", stored, computed)),
            (Some(_), None) => (DifferenceKind::Unfounded, Vec::new()),
            (None, _) => (DifferenceKind::Missing, Vec::new()),
        };
        self.differences.push(RulesDifference { kind, what, input_seq, rule, id, fields, stored, computed });
    }
}

fn without_offsets(alert: AlertRevision) -> AlertRevision {
    AlertRevision { offset: 0, operator_offset: 0, ..alert }
}

/// The newest kept state behind which the whole span lies, or none.
async fn start<J: Judge>(of: &Rules<'_>, whose: &Whose, blank: J) -> Result<(i64, J), ReplayError> {
    let kept = of.store.operator_states(StateOf::Rules, whose.no, of.chain).await?;
    let newest = kept.iter().map(|row| row.operator_seq).max().unwrap_or(0);
    let first = first_in_span(of, whose.no, newest).await?;
    for row in kept.iter().filter(|row| row.operator_seq < first) {
        if let Some(state) = unpack(row, &blank) {
            return Ok((row.operator_seq, state));
        }
    }
    Ok((0, blank))
}

/// The first input in the span by what the journal says, of those up to a position; behind all of them where there is none.
/// One of which nobody can say when it was may lie in it.
async fn first_in_span(of: &Rules<'_>, whose: OperatorNo, through: i64) -> Result<i64, ReplayError> {
    let mut after = 0;
    loop {
        let times = of.store.rule_input_times(whose, (after, through), HEADS_AT_ONCE).await?;
        let Some((last, _)) = times.last() else { return Ok(i64::MAX) };
        after = *last;
        if let Some((first, _)) = times.iter().find(|(_, at)| at.is_none_or(|at| of.span.holds(at))) {
            return Ok(*first);
        }
    }
}

/// A stored finding, with what its columns say beside what its body says.
fn shown(row: &RuleFindingRow) -> Value {
    let body = serde_json::from_str(&row.body).unwrap_or_else(|_| Value::from(row.body.clone()));
    json!({
        "id": row.id, "rule": row.rule, "version": row.version, "mode": if row.is_shadow { "shadow" } else { "live" },
        "jurisdiction_no": row.jurisdiction, "operator_no": row.operator_no, "input_seq": row.input_seq,
        "window_start": row.window.start.0, "window_end": row.window.end.0, "kind": row.kind.as_str(),
        "severity": row.severity.as_str(), "at": row.at.0, "seq": row.seq, "finding": body,
    })
}

/// Names of what differs, inner ones behind those around them. Where two say the same in other words, all of it does.
fn fields(around: &str, stored: &Value, computed: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (stored.as_object(), computed.as_object()) else { return vec![around.to_owned()] };
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut differing = Vec::new();
    for name in names.into_iter().filter(|name| one.get(*name) != other.get(*name)) {
        let path = if around.is_empty() { name.clone() } else { format!("{around}.{name}") };
        match (one.get(name), other.get(name)) {
            (Some(one), Some(other)) if around.is_empty() && one.is_object() && other.is_object() => {
                differing.extend(fields(&path, one, other));
            }
            _ => differing.push(path),
        }
    }
    if differing.is_empty() {
        differing.push("finding".to_owned());
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_differ_are_named() {
        let stored = json!({"rule": "a", "at": 1, "finding": {"who": 1, "measured": {"observed": 2}}});
        let table = [
            (json!({"rule": "a", "at": 2, "finding": {"who": 1, "measured": {"observed": 2}}}), vec!["at"]),
            (
                json!({"rule": "b", "at": 1, "finding": {"who": 1, "measured": {"observed": 3}, "new": 0}}),
                vec!["finding.measured", "finding.new", "rule"],
            ),
            (json!({"rule": "a", "at": 1, "finding": "not JSON"}), vec!["finding"]),
            // the same values, not the same bytes
            (stored.clone(), vec!["finding"]),
        ];
        for (computed, named) in table {
            assert_eq!(fields("", &stored, &computed), named, "{computed}");
        }
    }

    #[test]
    fn which_rules_speak_of_inputs_of_rules() {
        for (rule, expected) in
            [("structured_deposits", true), ("concurrent_play", true), ("robust_deviation", false), ("nothing", false)]
        {
            assert_eq!(is_of_rules(rule), expected, "{rule}");
        }
    }
}
