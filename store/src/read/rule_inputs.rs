//! Reads of rules: what they heard, and what they found.

use super::feeds::{BATCHES_AT_ONCE, RECORD, RECORD_WIDTH, record, rows_of_batches, some_of};
use super::parse;
use crate::StoreError;
use crate::db::{Row, Val};
use crate::journal;
use crate::open::Store;
use crate::writer::RuleFindingRow;
use models::alert::{AlertRevision, RevisionKind, Severity, Window};
use models::event::Event;
use models::feed::{Source, SourceClock};
use models::ids::{AlertId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::record::Record;
use models::rule_input::{RuleInput, RuleInputStored};
use models::series::SeriesScored;
use models::ts::Ts;
use std::collections::HashMap;

/// The batch of an input of rules.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RuleInputBatch {
    pub clock_at: Ts,
    pub clock: SourceClock,
    pub records: Vec<Record>,
    /// What was known of them, packed; none where it holds nothing but documents.
    pub facts: Option<Vec<u8>>,
}

/// An input of rules, as stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RuleInputRow {
    /// Its place in the journal.
    pub seq: Seq,
    pub operator_no: OperatorNo,
    pub input_seq: i64,
    pub rules_seq: Seq,
    pub input: RuleInput,
    /// Where it is one.
    pub batch: Option<RuleInputBatch>,
}

/// Which findings.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RuleFindingQuery {
    pub jurisdiction: JurisdictionNo,
    pub rule: Option<String>,
    pub version: Option<u32>,
    pub is_shadow: Option<bool>,
    /// From this time of the inputs on.
    pub from: Ts,
    /// Before this time of the inputs.
    pub to: Ts,
    pub limit: u32,
}

/// Whose findings, by the input that led to them.
#[derive(Clone, Copy, Debug)]
pub struct FindingsBy<'a> {
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// An operator's own rules; none: those over all operators of the jurisdiction.
    pub operator: Option<OperatorNo>,
    /// Names of the rules over all operators.
    pub national: &'a [&'a str],
}

/// A place among the inputs of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleInputHead {
    /// Position: an operator's `input_seq`, and for rules over all operators the place in the journal.
    pub place: i64,
    /// Time of the clock that judged its batch, where it is one.
    pub clock_at: Option<Ts>,
    /// It.
    pub input: RuleInput,
}

impl RuleInputHead {
    /// Its time, by the clock that judged it; none of a batch whose head is gone.
    #[must_use]
    pub fn at(&self) -> Option<Ts> {
        self.clock_at.or_else(|| self.input.at())
    }
}

/// An input of rules that is not stored as the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredInput {
    /// Position: an operator's `input_seq`, and for rules over all operators the place in the journal.
    pub place: i64,
    /// Columns that say something else; `journal` alone where it does not know of the input at all.
    pub fields: Vec<&'static str>,
}

/// Inputs that are looked through for the newest one about exclusions: an operator that reports any is told of daily.
const INPUTS_SEARCHED: i64 = 500_000;
/// Inputs that are held against the journal at once.
const HELD_AT_ONCE: i64 = 64;

const INPUT: &str = "SELECT i.seq, i.operator_no, i.input_seq, i.rules_seq, i.body, i.facts, b.batch_no, b.records, b.clock_at, s.body FROM rule_inputs i LEFT JOIN feed_batches b ON b.operator_no = i.operator_no AND b.operator_seq = i.operator_seq LEFT JOIN sources s ON s.source_no = b.source_no";

impl Store {
    /// Inputs of an operator's rules behind `after`, in order, at most `limit`; empty at the end.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rule_inputs(
        &self,
        operator: OperatorNo,
        after: i64,
        limit: u32,
    ) -> Result<Vec<RuleInputRow>, StoreError> {
        let sql = format!("{INPUT} WHERE i.operator_no = $1 AND i.input_seq > $2 ORDER BY i.input_seq LIMIT $3");
        self.inputs_of_rules(&sql, [operator.0.into(), after, limit.into()]).await
    }

    /// What the rules over all operators of a jurisdiction hear, behind a place in the journal, in order: batches of play,
    /// and what is stored for all of them; empty at the end.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn nation_rule_inputs(
        &self,
        jurisdiction: JurisdictionNo,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<RuleInputRow>, StoreError> {
        let sql = format!("{INPUT} WHERE {OF_NATION} AND i.seq > $2 ORDER BY i.seq LIMIT $3");
        self.inputs_of_rules(&sql, [jurisdiction.0.into(), after, limit.into()]).await
    }

    /// The same inputs without their records: behind `after`, up to `through`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rule_input_heads(
        &self,
        whose: OperatorNo,
        (after, through): (i64, i64),
        limit: u32,
    ) -> Result<Vec<RuleInputHead>, StoreError> {
        let (place, mine, no) = of_whose(whose);
        let sql = format!(
            "SELECT {place}, b.clock_at, i.body FROM rule_inputs i LEFT JOIN feed_batches b ON b.operator_no = i.operator_no AND b.operator_seq = i.operator_seq WHERE {mine} AND {place} > $2 AND {place} <= $3 ORDER BY {place} LIMIT $4"
        );
        let values = [no, after, through, limit.into()].map(Val::Int);
        let head = |row: &Row| {
            let clock_at = row.int_opt(1)?.map(Ts);
            Ok(RuleInputHead { place: row.int(0)?, clock_at, input: parse("input of rules", &row.text(2)?)? })
        };
        self.rows(&sql, &values).await?.iter().map(head).collect()
    }

    /// Places of inputs behind `after`, up to `through`, with their times, by what the journal says of them and not by what
    /// is stored: no time of a batch whose head is gone, and of an input that the journal does not know. Of all operators
    /// every input of the jurisdiction is among them, also what rules over all operators do not hear.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rule_input_times(
        &self,
        whose: OperatorNo,
        (after, through): (i64, i64),
        limit: u32,
    ) -> Result<Vec<(i64, Option<Ts>)>, StoreError> {
        let (place, mine, no) = of_anybody(whose);
        let sql = format!(
            "SELECT {place}, j.payload, b.clock_at FROM rule_inputs i {JOURNALED} LEFT JOIN feed_batches b ON b.operator_no = i.operator_no AND b.operator_seq = i.operator_seq WHERE {mine} AND {place} > $2 AND {place} <= $3 ORDER BY {place} LIMIT $4"
        );
        let values = [no, after, through, limit.into()].map(Val::Int);
        let time = |row: &Row| {
            let (said, clock_at) = (journaled(row, 1)?, row.int_opt(2)?.map(Ts));
            Ok((row.int(0)?, said.and_then(|said| said.input.at().or(clock_at))))
        };
        self.rows(&sql, &values).await?.iter().map(time).collect()
    }

    /// The first input behind `after`, up to `through`, that is not stored as the journal says. Of all operators those are
    /// held against it that rules over all operators hear, or would hear by what the journal says.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn first_altered_input(
        &self,
        whose: OperatorNo,
        (after, through): (i64, i64),
    ) -> Result<Option<AlteredInput>, StoreError> {
        let (place, mine, no) = of_anybody(whose);
        let sql = format!(
            "SELECT {place}, {HELD} {JOURNALED} WHERE {mine} AND {place} > $2 AND {place} <= $3 ORDER BY {place} LIMIT $4"
        );
        let mut behind = after;
        loop {
            let rows = self.rows(&sql, &[no, behind, through, HELD_AT_ONCE].map(Val::Int)).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            behind = last.int(0)?;
            for row in &rows {
                let fields = altered_fields(row, whose.nation().is_some())?;
                if !fields.is_empty() {
                    return Ok(Some(AlteredInput { place: row.int(0)?, fields }));
                }
            }
        }
    }

    /// A number among an operator's inputs, or those of its own of all operators of a jurisdiction, that no row has
    /// although one behind it is there: they are given without gaps.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn missing_rule_input(&self, whose: OperatorNo) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT MIN(i.input_seq) - 1 FROM rule_inputs i WHERE i.operator_no = $1 AND i.input_seq > 1 AND NOT EXISTS (SELECT 1 FROM rule_inputs b WHERE b.operator_no = i.operator_no AND b.input_seq = i.input_seq - 1)";
        let rows = self.rows(sql, &[Val::Int(whose.0.into())]).await?;
        Ok(rows.first().map_or(Ok(None), |row| row.int_opt(0))?)
    }

    /// Position of the newest input of an operator's rules, or of those over all operators; 0 = none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn last_rule_input(&self, whose: OperatorNo) -> Result<i64, StoreError> {
        let (place, mine, no) = of_whose(whose);
        self.int(&format!("SELECT COALESCE(MAX({place}), 0) FROM rule_inputs i WHERE {mine}"), &[Val::Int(no)]).await
    }

    /// What inputs behind a position, up to another one, led to, in their order; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn findings_by_input(
        &self,
        by: FindingsBy<'_>,
        (after, through): (i64, i64),
        limit: u32,
    ) -> Result<Vec<RuleFindingRow>, StoreError> {
        let national: Vec<String> = (5..5 + by.national.len()).map(|n| format!("${n}")).collect();
        let (list, no) = (national.join(", "), by.operator.map_or(0, |no| i64::from(no.0)));
        let mine = match by.operator {
            Some(_) => format!("operator_no = $4 AND rule NOT IN ({list})"),
            None => format!("$4 = 0 AND rule IN ({list})"),
        };
        let sql = format!(
            "SELECT {FINDING} FROM rule_findings WHERE jurisdiction_no = $1 AND input_seq > $2 AND input_seq <= $3 AND {mine} ORDER BY input_seq, finding_id, mode LIMIT {limit}"
        );
        let numbers = [by.jurisdiction.0.into(), after, through, no].map(Val::Int);
        let values: Vec<Val<'_>> = numbers.into_iter().chain(by.national.iter().map(|rule| Val::Text(rule))).collect();
        self.rows(&sql, &values).await?.iter().map(finding).collect()
    }

    /// How many exclusions each operator has registered in a span, by when they were; those that registered none are left
    /// out.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusions_reported(&self, span: Window) -> Result<Vec<(OperatorNo, u64)>, StoreError> {
        let sql = "SELECT operator_no, COUNT(*) FROM (SELECT e.operator_no FROM exclusion_reports e WHERE e.at >= $1 AND e.at < $2 AND NOT EXISTS (SELECT 1 FROM reported_exclusions r WHERE r.exclusion_id = e.exclusion_id AND r.operator_no = e.operator_no AND r.at <= e.at) UNION ALL SELECT r.operator_no FROM reported_exclusions r WHERE r.at >= $1 AND r.at < $2) reported GROUP BY operator_no ORDER BY operator_no";
        let rows = self.rows(sql, &[Val::Int(span.start.0), Val::Int(span.end.0)]).await?;
        rows.iter().map(|row| Ok((OperatorNo(row.int(0)? as u16), row.int(1)? as u64))).collect()
    }

    /// The newest day of which an operator's rules were told how many exclusions it reported, and how many; none where its
    /// newest half a million inputs do not say.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusions_told(&self, operator: OperatorNo) -> Result<Option<(Window, u64)>, StoreError> {
        let after = self.last_rule_input(operator).await?.saturating_sub(INPUTS_SEARCHED);
        let sql = "SELECT body FROM rule_inputs WHERE operator_no = $1 AND input_seq > $2 AND body LIKE '%\"what\":\"exclusions\"%' ORDER BY input_seq DESC LIMIT 1";
        let rows = self.rows(sql, &[Val::Int(operator.0.into()), Val::Int(after)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        match parse("input of rules", &row.text(0)?)? {
            RuleInput::Exclusions { window, count, .. } => Ok(Some((window, count))),
            _ => Err(StoreError::Unreadable("exclusions that were told")),
        }
    }

    /// The newest place of the journal before an instant, and the newest position of each operator's batches that were
    /// stored before it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn inputs_before(&self, at: Ts) -> Result<(Seq, Vec<(OperatorNo, i64)>), StoreError> {
        let mut conn = self.db.read().await?;
        // from the newest one back: what is looked for lies near the end
        let sql = "SELECT seq FROM journal WHERE at < $1 ORDER BY seq DESC LIMIT 1";
        let seq = conn.rows(sql, &[Val::Int(at.0)]).await?.first().map_or(Ok(0), |row| row.int(0))?;
        let sql = "SELECT operator_seq FROM feed_batches WHERE operator_no = $1 AND stored_at < $2 ORDER BY operator_seq DESC LIMIT 1";
        let mut operators = Vec::new();
        for row in conn.rows("SELECT operator_no FROM operators ORDER BY operator_no", &[]).await? {
            let no = row.int(0)?;
            if let Some(newest) = conn.rows(sql, &[Val::Int(no), Val::Int(at.0)]).await?.first() {
                operators.push((OperatorNo(no as u16), newest.int(0)?));
            }
        }
        Ok((seq, operators))
    }

    /// Is there a live finding of this id that an input led to?
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn has_live_finding(&self, id: AlertId, place: i64) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) FROM rule_findings WHERE finding_id = $1 AND mode = 'live' AND input_seq = $2";
        Ok(self.int(sql, &[Val::Owned(id.to_string()), Val::Int(place)]).await? > 0)
    }

    async fn inputs_of_rules(&self, sql: &str, values: [i64; 3]) -> Result<Vec<RuleInputRow>, StoreError> {
        let mut conn = self.db.read().await?;
        let heads = conn.rows(sql, &values.map(Val::Int)).await?;
        let (mut sizes, mut fits) = (Vec::new(), heads.len());
        for (place, row) in heads.iter().enumerate() {
            let Some(batch_no) = row.int_opt(6)? else { continue };
            sizes.push((place, (batch_no, row.int_opt(7)?.unwrap_or_default())));
        }
        let batches = some_of(sizes.iter().map(|(_, size)| *size).collect());
        if let Some((place, _)) = sizes.get(batches.len()) {
            fits = *place;
        }
        let mut records: HashMap<i64, Vec<Record>> = HashMap::with_capacity(batches.len().min(BATCHES_AT_ONCE));
        for row in rows_of_batches(&mut conn, RECORD, &batches).await? {
            records.entry(row.int(RECORD_WIDTH)?).or_default().push(record(&row)?);
        }
        heads[..fits].iter().map(|row| rule_input(row, &mut records)).collect()
    }

    /// Position in an operator's inputs up to which its rules have heard of everything.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rules_heard(&self, operator: OperatorNo) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(operator_seq), 0) FROM rule_inputs WHERE operator_no = $1";
        self.int(sql, &[Val::Int(operator.0.into())]).await
    }

    /// Position in an operator's inputs up to which its series are scored; 0 where none was.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn series_scored(&self, operator: OperatorNo) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(operator_seq), 0) FROM series_scored WHERE operator_no = $1";
        self.int(sql, &[Val::Int(operator.0.into())]).await
    }

    /// What was scored of an operator's series, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn newest_series_scores(
        &self,
        operator: OperatorNo,
        limit: u32,
    ) -> Result<Vec<SeriesScored>, StoreError> {
        let sql = "SELECT i.body FROM series_scored s JOIN rule_inputs i ON i.operator_no = s.operator_no AND i.input_seq = s.input_seq WHERE s.operator_no = $1 ORDER BY s.operator_seq DESC LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(operator.0.into()), Val::Int(limit.into())]).await?;
        let scored = |row: &Row| match parse("input of rules", &row.text(0)?)? {
            RuleInput::Series(scored) => Ok(scored),
            _ => Err(StoreError::Unreadable("scores of series")),
        };
        rows.iter().map(scored).collect()
    }

    /// The newest revisions of the alerts that an operator's feeds are silent, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn feed_silences(&self, operator: OperatorNo, limit: u32) -> Result<Vec<AlertRevision>, StoreError> {
        // the literal is the index's condition
        let sql = "SELECT body FROM alert_revisions WHERE operator_no = $1 AND rule = 'feed_silent' ORDER BY alert_offset DESC LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(operator.0.into()), Val::Int(limit.into())]).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// The same below an offset.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn feed_silences_below(
        &self,
        operator: OperatorNo,
        offset: i64,
        limit: u32,
    ) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE operator_no = $1 AND rule = 'feed_silent' AND alert_offset < $2 ORDER BY alert_offset DESC LIMIT $3";
        let values = [Val::Int(operator.0.into()), Val::Int(offset), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// The newest revisions of the alerts that a feed of an operator is silent which stand, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn feed_silences_standing(
        &self,
        operator: OperatorNo,
        limit: u32,
    ) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT a.body FROM alert_revisions a WHERE a.operator_no = $1 AND a.rule = 'feed_silent' AND a.kind <> $2 AND NOT EXISTS (SELECT 1 FROM alert_revisions n WHERE n.id = a.id AND n.alert_offset > a.alert_offset) ORDER BY a.alert_offset DESC LIMIT $3";
        let withdrawn = RevisionKind::Withdrawn.code();
        let values = [Val::Int(operator.0.into()), Val::Int(withdrawn.into()), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// Inputs that rules could not apply, with the positions of their records; none = all of it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rules_set_aside(&self, operator: OperatorNo) -> Result<Vec<(i64, Vec<u32>)>, StoreError> {
        let sql = "SELECT input_seq, records FROM rule_set_aside WHERE operator_no = $1 ORDER BY input_seq";
        let rows = self.rows(sql, &[Val::Int(operator.0.into())]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, parse("records set aside", &row.text(1)?)?))).collect()
    }

    /// What rules found, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn findings_of_rules(&self, query: &RuleFindingQuery) -> Result<Vec<RuleFindingRow>, StoreError> {
        let mut sql =
            format!("SELECT {FINDING} FROM rule_findings WHERE jurisdiction_no = $1 AND at >= $2 AND at < $3");
        let mut values = vec![Val::Int(query.jurisdiction.0.into()), Val::Int(query.from.0), Val::Int(query.to.0)];
        let mut and = |column: &str, value: Val<'static>| {
            values.push(value);
            sql.push_str(&format!(" AND {column} = ${}", values.len()));
        };
        if let Some(rule) = &query.rule {
            and("rule", Val::Owned(rule.clone()));
        }
        if let Some(version) = query.version {
            and("version", Val::Int(version.into()));
        }
        if let Some(is_shadow) = query.is_shadow {
            and("mode", Val::Owned(if is_shadow { "shadow" } else { "live" }.to_owned()));
        }
        values.push(Val::Int(query.limit.into()));
        sql.push_str(&format!(" ORDER BY at DESC, seq DESC, finding_id, mode LIMIT ${}", values.len()));
        self.rows(&sql, &values).await?.iter().map(finding).collect()
    }
}

const FINDING: &str = "finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body";

/// What the rules over all operators of a jurisdiction hear: play of each operator, and what is stored for all of them
/// (numbers from [`OperatorNo::NATIONS`] on).
const OF_NATION: &str = "i.jurisdiction = $1 AND (i.facts IS NOT NULL OR i.operator_no >= 65280)";

/// Column of the position, whose inputs (`$1`), and that number: an operator's, or of all operators of a jurisdiction.
fn of_whose(whose: OperatorNo) -> (&'static str, &'static str, i64) {
    match whose.nation() {
        Some(jurisdiction) => ("i.seq", OF_NATION, jurisdiction.0.into()),
        None => ("i.input_seq", "i.operator_no = $1", whose.0.into()),
    }
}

/// The same of every input of a jurisdiction, whoever hears it: what rules over all operators hear hangs on columns that
/// somebody may have changed.
fn of_anybody(whose: OperatorNo) -> (&'static str, &'static str, i64) {
    match whose.nation() {
        Some(jurisdiction) => ("i.seq", "i.jurisdiction = $1", jurisdiction.0.into()),
        None => of_whose(whose),
    }
}

/// Behind a first column, what [`altered_fields`] looks at.
pub(super) const HELD: &str = "j.payload, i.operator_no, i.input_seq, i.jurisdiction, i.rules_seq, i.operator_seq, i.body, i.facts FROM rule_inputs i";

/// What the journal says of an input.
pub(super) const JOURNALED: &str = "LEFT JOIN journal j ON j.seq = i.seq AND j.kind = 'rule_input_stored'";

/// The same, read from a column of [`JOURNALED`].
fn journaled(row: &Row, column: usize) -> Result<Option<RuleInputStored>, StoreError> {
    let Some(payload) = row.text_opt(column)? else { return Ok(None) };
    match journal::decode(&payload) {
        Ok(Event::RuleInputStored(stored)) => Ok(Some(stored)),
        _ => Err(StoreError::Unreadable("journal payload")),
    }
}

/// Columns of an input that say something else than the journal.
pub(super) fn altered_fields(row: &Row, is_nations: bool) -> Result<Vec<&'static str>, StoreError> {
    let Some(said) = journaled(row, 1)? else { return Ok(vec!["journal"]) };
    let digest = row.bytes_opt(8)?.map(|facts| RuleInputStored::facts_digest(&facts));
    let is_own = said.operator_no.nation().is_some();
    if is_nations && !is_own && digest.is_none() && said.facts_sha256.is_none() {
        // nothing that is heard over all operators
        return Ok(Vec::new());
    }
    let is_body = serde_json::from_str::<RuleInput>(&row.text(7)?).is_ok_and(|input| input == said.input);
    let same = [
        ("operator_no", row.int(2)? == i64::from(said.operator_no.0)),
        ("input_seq", row.int(3)? == said.input_seq),
        ("jurisdiction", row.int(4)? == i64::from(said.jurisdiction.0)),
        ("rules_seq", row.int(5)? == said.rules_seq),
        ("operator_seq", row.int_opt(6)? == said.input.operator_seq()),
        ("body", is_body),
        // the journal says nothing of facts that were stored before it did
        ("facts", said.facts_sha256.is_none() || said.facts_sha256 == digest),
    ];
    Ok(same.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect())
}

fn rule_input(row: &Row, records: &mut HashMap<i64, Vec<Record>>) -> Result<RuleInputRow, StoreError> {
    let batch = match row.int_opt(6)? {
        None => None,
        // a tick lies at no batch's position
        Some(batch_no) => {
            let source: Source = parse("source", &row.text(9)?)?;
            Some(RuleInputBatch {
                clock_at: Ts(row.int(8)?),
                clock: source.clock,
                records: records.remove(&batch_no).unwrap_or_default(),
                facts: row.bytes_opt(5)?,
            })
        }
    };
    Ok(RuleInputRow {
        seq: row.int(0)?,
        operator_no: OperatorNo(row.int(1)? as u16),
        input_seq: row.int(2)?,
        rules_seq: row.int(3)?,
        input: parse("input of rules", &row.text(4)?)?,
        batch,
    })
}

fn finding(row: &Row) -> Result<RuleFindingRow, StoreError> {
    let unreadable = || StoreError::Unreadable("finding");
    Ok(RuleFindingRow {
        id: row.text(0)?.parse().map_err(|_| unreadable())?,
        rule: row.text(1)?,
        version: row.int(2)? as u32,
        is_shadow: row.text(3)? == "shadow",
        jurisdiction: JurisdictionNo(row.int(4)? as u8),
        operator_no: OperatorNo(row.int(5)? as u16),
        input_seq: row.int(6)?,
        window: Window { start: Ts(row.int(7)?), end: Ts(row.int(8)?) },
        kind: RevisionKind::parse(&row.text(9)?).ok_or_else(unreadable)?,
        severity: Severity::parse(&row.text(10)?).ok_or_else(unreadable)?,
        at: Ts(row.int(11)?),
        seq: row.int(12)?,
        body: row.text(13)?,
    })
}
