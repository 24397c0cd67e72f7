//! `mlinzi register import|export`: people of an older register come in, and go out again, as CSV.
//!
//! Neither may run beside an engine: an import decides who is the same person on the index of its own, and an export is
//! to be one state.

use crate::{complain, config::Config, keys, say, serve};
use actors::api::{NewExclusion, PersonData};
use actors::identity::Identifiers;
use actors::import::{Importer, Origin};
use actors::secrets::hex;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use csv::StringRecord;
use jiff::tz::TimeZone;
use models::document::{Document, DocumentType, IssuingCountry};
use models::evidence::Sha256;
use models::exclusion::{Channel, Period, ReasonClass};
use models::jurisdiction::JurisdictionNo;
use models::phone::{Country, Phone};
use models::ts::Ts;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NoValue, StrDeserializer};
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Clock, SystemClock};

/// What can be done with the register.
#[derive(Subcommand)]
pub enum Command {
    /// Loads people from a CSV file. Run again, it goes on where it stopped.
    Import(Import),
}

/// An import.
#[derive(Args)]
pub struct Import {
    /// CSV with a head: phone, id_number, id_type, id_country, names (several with ;), date_of_birth, email, address,
    /// county, period, effective_at, reason_class, channel, source_id, legal_basis. Needed: a phone or an id_number,
    /// period and effective_at.
    file: PathBuf,
    /// Where the rows come from; goes into the journal.
    #[arg(long)]
    origin: String,
    /// Legal basis of all rows that name none; goes into the journal.
    #[arg(long)]
    legal_basis: String,
    /// Code of the jurisdiction; the first one by default.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// File for the rows that are refused, with a column that says why. It holds what those rows hold.
    #[arg(long)]
    rejects: Option<PathBuf>,
    /// Only check the rows.
    #[arg(long)]
    dry_run: bool,
}

const COLUMNS: [&str; 15] = [
    "phone",
    "id_number",
    "id_type",
    "id_country",
    "names",
    "date_of_birth",
    "email",
    "address",
    "county",
    "period",
    "effective_at",
    "reason_class",
    "channel",
    "source_id",
    "legal_basis",
];
/// Longest row, bytes.
const ROW_BYTES_MAX: usize = 16 << 10;
/// Time between two lines of progress.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// Runs the command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Import(order) = command;
    import(config, order).await
}

/// Which column lies where.
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn read(head: &StringRecord) -> anyhow::Result<Self> {
        let mut places = [None; COLUMNS.len()];
        for (place, name) in head.iter().enumerate() {
            let column = COLUMNS.iter().position(|c| *c == name.trim());
            let column = column.with_context(|| format!("unknown column {name}; known are {}", COLUMNS.join(", ")))?;
            anyhow::ensure!(places[column].is_none(), "column {name} stands twice");
            places[column] = Some(place);
        }
        let has = |name: &str| COLUMNS.iter().position(|c| *c == name).is_some_and(|c| places[c].is_some());
        anyhow::ensure!(has("phone") || has("id_number"), "neither phone nor id_number is a column");
        anyhow::ensure!(has("period") && has("effective_at"), "period and effective_at must be columns");
        Ok(Self(places))
    }

    /// The value of a column; empty is missing.
    fn get<'a>(&self, row: &'a StringRecord, name: &str) -> Option<&'a str> {
        let place = COLUMNS.iter().position(|c| *c == name).and_then(|c| self.0[c])?;
        row.get(place).map(str::trim).filter(|value| !value.is_empty())
    }
}

/// What rows are read with.
struct Reader<'a> {
    columns: Columns,
    country: Country,
    jurisdiction: JurisdictionNo,
    legal_basis: &'a str,
    now: Ts,
}

fn wire<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let text: StrDeserializer<'_, NoValue> = text.into_deserializer();
    T::deserialize(text).ok()
}

impl Reader<'_> {
    /// A row's registration, or what is wrong with it, without its values.
    fn read(&self, row: &StringRecord) -> Result<NewExclusion, String> {
        let get = |name| self.columns.get(row, name);
        let phone = get("phone").map(|text| Phone::parse(text, self.country)).transpose();
        let phone = phone.map_err(|e| format!("phone: {e}"))?;
        let kind = get("id_type").map_or(Some(DocumentType::default()), wire).ok_or("id_type: unknown")?;
        let issuer = match get("id_country") {
            None => IssuingCountry::from(self.country),
            Some(text) => IssuingCountry::from_iso(text).ok_or("id_country: unknown")?,
        };
        let document = get("id_number").map(|text| Document::parse(kind, issuer, text)).transpose();
        let document = document.map_err(|e| format!("id_number: {e}"))?;
        if phone.is_none() && document.is_none() {
            return Err("neither phone nor id_number".to_owned());
        }
        let period = get("period").and_then(wire::<Period>).ok_or("period: missing or unknown")?;
        let effective_at = get("effective_at").ok_or("effective_at: missing")?;
        let effective_at = Ts::parse(effective_at).map_err(|e| format!("effective_at: {e}"))?;
        if effective_at > self.now {
            return Err("effective_at: in the future".to_owned());
        }
        let reason_class = get("reason_class").map_or(Some(ReasonClass::Own), wire).ok_or("reason_class: unknown")?;
        let channel = get("channel").map_or(Some(Channel::Import), wire).ok_or("channel: unknown")?;
        let date_of_birth = get("date_of_birth");
        let is_date = |text: &str| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
        if date_of_birth.is_some_and(|text| !is_date(text)) {
            return Err("date_of_birth: not a date of the form YYYY-MM-DD".to_owned());
        }
        let mut person = PersonData::default();
        let known_by = Identifiers { document, phone };
        known_by.reveal(&mut person);
        person.names = get("names").into_iter().flat_map(|n| n.split(';')).map(|n| n.trim().to_owned()).collect();
        person.date_of_birth = date_of_birth.map(str::to_owned);
        person.email = get("email").map(str::to_owned);
        person.address = get("address").map(str::to_owned);
        person.county = get("county").map(str::to_owned);
        person.source_id = get("source_id").map(str::to_owned);
        person.legal_basis = Some(get("legal_basis").unwrap_or(self.legal_basis).to_owned());
        let (jurisdiction, effective_at) = (self.jurisdiction, Some(effective_at));
        Ok(NewExclusion { known_by, jurisdiction, period, reason_class, channel, effective_at, person })
    }
}

/// The rows that were refused.
struct Rejects(Option<csv::Writer<BufWriter<File>>>);

impl Rejects {
    fn open(path: Option<&Path>, head: &StringRecord, goes_on: bool) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        // it holds people: for nobody else
        let mut options = File::options();
        options.create(true).append(goes_on).truncate(!goes_on).write(true).mode(0o600);
        let file = options.open(path).with_context(|| path.display().to_string())?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let mut out = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
        if !goes_on {
            out.write_record(head.iter().chain(["line", "reason"]))?;
        }
        Ok(Self(Some(out)))
    }

    /// Before rows behind them count as done.
    fn flush(&mut self) -> anyhow::Result<()> {
        self.0.as_mut().map_or(Ok(()), csv::Writer::flush)?;
        Ok(())
    }

    fn refuse(&mut self, row: &StringRecord, line: u64, reason: &str) -> anyhow::Result<()> {
        if let Some(out) = &mut self.0 {
            out.write_record(row.iter().chain([line.to_string().as_str(), reason]))?;
        }
        Ok(())
    }
}

/// What the same import is known by: every byte of the file, and the names it goes under. A file in which one digit was
/// mended is another import, whose known people are merged.
fn import_id(order: &Import, jurisdiction: JurisdictionNo) -> anyhow::Result<(String, u64)> {
    let mut file = File::open(&order.file).with_context(|| order.file.display().to_string())?;
    let (mut digest, mut length, mut bytes) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut bytes).with_context(|| order.file.display().to_string())?;
        if read == 0 {
            break;
        }
        length += read as u64;
        digest.update(&bytes[..read]);
    }
    let names = [order.origin.as_bytes(), &[0], order.legal_basis.as_bytes(), &[0], &[jurisdiction.0]];
    digest.update(&names.concat());
    Ok((hex(&digest.finish()), length))
}

async fn import(config: &Config, order: Import) -> anyhow::Result<ExitCode> {
    for (name, text) in [("--origin", &order.origin), ("--legal-basis", &order.legal_basis)] {
        anyhow::ensure!(!text.trim().is_empty() && text.len() <= 200, "{name}: from 1 to 200 bytes");
    }
    let code = order.jurisdiction.as_ref().unwrap_or(&config.jurisdictions[0].code);
    let known = config.jurisdictions.iter().position(|j| j.code == *code);
    let no = known.with_context(|| format!("no jurisdiction {code}"))?;
    let jurisdiction = JurisdictionNo(no as u8);
    let material = keys::provider(&config.keys).load()?;
    let (id, length) = import_id(&order, jurisdiction)?;

    let file = BufReader::with_capacity(1 << 20, File::open(&order.file)?);
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let head = rows.headers().with_context(|| order.file.display().to_string())?.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = Reader {
        columns: Columns::read(&head)?,
        country: config.jurisdictions[no].country,
        jurisdiction,
        legal_basis: &order.legal_basis,
        now: clock.now(),
    };

    let origin = Origin { id, origin: order.origin.clone(), legal_basis: order.legal_basis.clone() };
    let mut importer = None;
    let mut done_before = 0;
    let mut opened = None;
    if !order.dry_run {
        let store = serve::open_store(config).await?;
        store.claim().await.context("an import decides alone; stop the engine first")?;
        let tools = actors::engine::tools(config.jurisdictions.clone(), &store, &material, Arc::clone(&clock)).await?;
        let digests = (tools.ring, config.engine.family.as_str().into());
        let zones = config.jurisdictions.iter().map(|j| TimeZone::get(&j.time_zone).unwrap_or(TimeZone::UTC)).collect();
        let (begun, rows_done) =
            Importer::begin(store.clone(), tools.writer, digests, zones, origin, reader.now).await?;
        (importer, done_before, opened) = (Some(begun), rows_done, Some(store));
    }
    if let Some(path) = &order.rejects {
        let same = std::fs::canonicalize(path).ok() == std::fs::canonicalize(&order.file).ok();
        anyhow::ensure!(!(path.exists() && same), "--rejects: is the file itself");
    }
    let mut rejects = Rejects::open(order.rejects.as_deref(), &head, done_before > 0)?;
    let mut tally = Tally { length, ..Tally::default() };
    let (mut row, mut said) = (StringRecord::new(), Instant::now());
    loop {
        let read = rows.read_record(&mut row);
        if matches!(read, Ok(false)) {
            break;
        }
        tally.rows += 1;
        if tally.rows <= done_before {
            continue;
        }
        let line = row.position().map_or(tally.rows + 1, csv::Position::line);
        let new = match read {
            // the rest of the file is not known: what was stored stands, and the import goes on when it is run again
            Err(error) if error.is_io_error() => anyhow::bail!("{}: {error}", order.file.display()),
            Err(error) => Err(unreadable(&error)),
            // a quote that is not closed swallows the rows behind it: nobody may be lost that way
            Ok(_) if row.as_slice().len() > ROW_BYTES_MAX => {
                anyhow::bail!("line {line}: the row is longer than {ROW_BYTES_MAX} bytes; is a quote not closed?")
            }
            Ok(_) if row.len() != head.len() => Err(format!("{} columns instead of {}", row.len(), head.len())),
            Ok(_) => reader.read(&row),
        };
        match (new, importer.as_mut()) {
            (Ok(new), Some(importer)) => {
                if !importer.take(new, row.as_slice().as_bytes()).await? {
                    tally.refused += 1;
                    rejects.refuse(&row, line, "phone: too many people are registered under it")?;
                    rejects.flush()?;
                }
            }
            (Ok(_), None) => tally.good += 1,
            (Err(reason), importer) => {
                tally.refused += 1;
                rejects.refuse(&row, line, &reason)?;
                // it must lie there before a commit counts the row as done
                rejects.flush()?;
                if let Some(importer) = importer {
                    importer.refused();
                }
            }
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tally.show(rows.position().byte(), done_before);
        }
    }
    rejects.flush()?;
    anyhow::ensure!(rows.position().byte() == length, "the file has changed while it was read");
    let done = match importer {
        Some(importer) => importer.finish().await?,
        None => actors::import::Imported::default(),
    };
    if let Some(store) = opened {
        store.stop_writer(Duration::from_secs(30)).await;
        store.close().await;
    }
    tally.hide();
    say(&serde_json::to_string(&serde_json::json!({
        "rows": tally.rows, "done_before": done_before.min(tally.rows), "added": done.added, "merged": done.merged,
        "refused": tally.refused, "good": if order.dry_run { Some(tally.good) } else { None },
    }))?);
    if tally.refused > 0 {
        complain(&format!("{} rows were refused", tally.refused));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with a row that is no row; the library's own words may quote it.
fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => "cannot be read".to_owned(),
    }
}

/// What is counted, and shown while it goes on.
#[derive(Default)]
struct Tally {
    length: u64,
    rows: u64,
    good: u64,
    refused: u64,
    started: Option<Instant>,
}

impl Tally {
    fn show(&mut self, byte: u64, done_before: u64) {
        let since = self.started.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
        let share = byte as f64 / self.length.max(1) as f64;
        let rate = (self.rows - done_before) as f64 / since.max(0.5);
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let bar = "#".repeat((share * 30.0) as usize);
            let _ = write!(
                out,
                "\r[{bar:<30}] {:5.1} % {} rows, {rate:.0}/s, {} refused ",
                share * 100.0,
                self.rows,
                self.refused
            );
        }
    }

    fn hide(&self) {
        let mut out = std::io::stderr();
        if out.is_terminal() && self.started.is_some() {
            let _ = writeln!(out);
        }
    }
}
