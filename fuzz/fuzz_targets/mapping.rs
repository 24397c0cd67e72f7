//! Mappings: any TOML is a mapping or is refused, and any file under any mapping becomes records and refusals of a
//! bounded size.

#![no_main]

use std::fmt::Write as _;

use arbitrary::{Arbitrary, Result, Unstructured};
use engine::mapping::{Mapped, Mapping};
use libfuzzer_sys::fuzz_target;
use models::record::RecordKind;
use serde_json::Value;

/// Between mapping and file in a raw case.
const SEPARATOR: &[u8] = b"\n%%\n";
/// Columns that a made mapping knows.
const COLUMNS: [&str; 5] = ["id", "when", "in", "out", "who"];

#[derive(Debug)]
struct Case {
    toml: String,
    file: Vec<u8>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let bytes = u.peek_bytes(u.len()).unwrap_or_default();
        if let Some(at) = bytes.windows(SEPARATOR.len()).position(|part| part == SEPARATOR) {
            let (toml, file) = (&bytes[..at], &bytes[at + SEPARATOR.len()..]);
            return Ok(Self { toml: String::from_utf8_lossy(toml).into_owned(), file: file.to_vec() });
        }
        let toml = made(u)?;
        let mut file = b"id,when,in,out,who\n".to_vec();
        file.extend_from_slice(u.bytes(u.len())?);
        Ok(Self { toml, file })
    }
}

fuzz_target!(|case: Case| {
    let Ok(mapping) = Mapping::from_toml(&case.toml) else { return };
    let _ = (mapping.name(), mapping.source(), mapping.operators());
    let Ok(mapped) = mapping.read(&case.file) else { return };
    check(&case, &mapped);
    assert_eq!(mapping.read(&case.file), Ok(mapped), "the same file gives the same records");
});

fn check(case: &Case, mapped: &Mapped) {
    let rows = mapped.rows as usize;
    assert!(rows <= case.file.len(), "a row has at least one byte");
    // a rule has at least two bytes of the mapping
    assert!(mapped.records.len() <= rows * case.toml.len() && mapped.refusals.len() <= rows);
    let mut fate = vec![(0u32, 0u32); rows];
    mapped.records.iter().for_each(|record| fate[record.row as usize].0 += 1);
    mapped.refusals.iter().for_each(|refusal| fate[refusal.index as usize].1 += 1);
    assert!(fate.iter().all(|(records, refused)| *refused <= 1 && (*refused == 0 || *records == 0)));
    let lost = fate.iter().filter(|(records, refused)| records + refused == 0).count();
    assert_eq!(lost, mapped.skipped as usize, "every row ends somewhere");
    for record in &mapped.records {
        // templates repeat cells, and JSON escapes them sixfold: bounded by both inputs, not by chance
        assert!(record.json.len() <= 1024 + 6 * case.toml.len() * (case.file.len() + 64));
        assert!(record.occurred_at.0 >= 0);
        assert!(!record.json.contains('\n'), "one line of a push");
        let json: Value = serde_json::from_str(&record.json).expect("a record is JSON");
        assert_eq!(json["kind"].as_str(), Some(record.kind.as_str()));
        assert_eq!(json["money"]["amount_minor"].as_i64().unwrap_or(0), record.amount_minor);
        let at = json["occurred_at"].as_str().and_then(|text| models::ts::Ts::parse(text).ok());
        assert_eq!(at, Some(record.occurred_at), "nothing of the file's time is lost");
    }
}

/// A mapping that mostly passes, so that the file is looked at.
fn made(u: &mut Unstructured<'_>) -> Result<String> {
    let mut toml = String::new();
    let order = *u.choose(&["occurred_at", "file"])?;
    let encoding = *u.choose(&["utf-8", "latin1", "windows-1252"])?;
    let delimiter = *u.choose(&[",", ",", ",", ";", "\\t", "|", "\\\"", "\\n", "\\r", "\\u0000", " "])?;
    let quoting: bool = u.arbitrary()?;
    let null = *u.choose(&["", "\"\"", "\"NA\", \"\"", "\"0\""])?;
    let _ = write!(
        toml,
        "name = \"m\"\norder = \"{order}\"\n[source]\nname = \"s\"\nclass = \"c\"\nclock = \"event\"\nhorizon_days = 7\n\
         expected_interval_seconds = 60\ncurrency = \"KES\"\n[file]\nencoding = \"{encoding}\"\ndelimiter = \
         \"{delimiter}\"\nquoting = {quoting}\nnull = [{null}]\n"
    );
    toml.push_str(u.choose(&[
        "[operator]\ncode = \"acme\"\n",
        "[operator]\ncolumn = \"who\"\ncodes = { a = \"op-a\", b = \"op-b\" }\n",
    ])?);
    let format = *u.choose(&[
        "rfc3339",
        "%Y-%m-%d",
        "%d/%m/%y %H:%M",
        "%s",
        "%Y-%m-%dT%H:%M:%S%.f%z",
        "%F %T",
        "%A %d %B %Y",
        "%j %Y",
        "%G-W%V-%u",
        "%I:%M %p %D",
        "%Q",
        "%c",
        "%q",
        "%",
    ])?;
    let zone = *u.choose(&["", "zone = \"Africa/Nairobi\"\n", "zone = \"America/New_York\"\n", "zone = \"UTC\"\n"])?;
    let at = *u.choose(&["", "at = \"12:00\"\n", "at = \"02:30\"\n"])?;
    let _ = write!(toml, "[time]\ncolumn = \"when\"\nformat = \"{format}\"\n{zone}{at}");
    let decimal = *u.choose(&[".", ".", ",", "e", "1", "-", "·"])?;
    let thousands = *u.choose(&["", "", "thousands = \",\"\n", "thousands = \" \"\n", "thousands = \"\u{a0}\"\n"])?;
    let (scale, round) = (u.int_in_range(0..=9)?, u.arbitrary::<bool>()?);
    let _ = write!(toml, "[numbers]\ndecimal = \"{decimal}\"\n{thousands}scale = {scale}\nround = {round}\n");
    for _ in 0..u.int_in_range(1..=3)? {
        rule(u, &mut toml)?;
    }
    if u.arbitrary()? {
        let column = *u.choose(&COLUMNS)?;
        let _ = write!(toml, "[[skip]]\nwhen = \"{column} is null\"\n");
    }
    if u.arbitrary()? {
        let tolerance: u8 = u.arbitrary()?;
        let _ = write!(
            toml,
            "[[check]]\nname = \"sums\"\nnot_negative = [\"in\"]\ngross_gaming_revenue = {{ plus = [\"in\"], minus = \
             [\"out\"] }}\ntolerance_minor = {tolerance}\n"
        );
    }
    Ok(toml)
}

fn rule(u: &mut Unstructured<'_>, toml: &mut String) -> Result<()> {
    let id = *u.choose(&["{id}", "{id}:{when}", "x{who}{who}{who}", "{@operator}-{id}", "{}", "{id"])?;
    let kind = u.choose(RecordKind::ALL)?.as_str();
    let _ = write!(toml, "[[record]]\nid = \"{id}\"\nkind = \"{kind}\"\n");
    let column = *u.choose(&COLUMNS)?;
    match u.int_in_range(0..=4)? {
        0 => {
            let _ = writeln!(toml, "when = \"{column} is null\"");
        }
        1 => {
            let _ = writeln!(toml, "when = \"{column} is not null and id != ''\"");
        }
        2 => {
            let _ = writeln!(toml, "when = \"{column} = 'a'\"");
        }
        _ => {}
    }
    let sign = *u.choose(&["as_is", "absolute", "negate"])?;
    let other = *u.choose(&COLUMNS)?;
    let _ = writeln!(toml, "amount = {{ plus = [\"in\", \"{column}\"], minus = [\"{other}\"], sign = \"{sign}\" }}");
    let field = *u.choose(&["player.account_ref", "game.id", "bet.id", "status", "payment.account", "nonsense"])?;
    let _ = writeln!(toml, "fields = {{ \"{field}\" = \"{{{column}}}\" }}\nextra = [\"{other}\", \"in\"]");
    Ok(())
}
