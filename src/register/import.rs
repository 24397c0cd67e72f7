//! `mlinzi register import`: people of an older register come in. Run again, it goes on where it stopped.

use super::SAY_EVERY;
use super::rows::{Columns, Reader};
use crate::{complain, config::Config, keys, say, serve};
use actors::import::{ImportRow, Importer, Origin};
use actors::secrets::hex;
use anyhow::Context as _;
use clap::Args;
use csv::StringRecord;
use jiff::tz::TimeZone;
use models::evidence::Sha256;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Clock, SystemClock};

/// An import.
#[derive(Args)]
pub struct Import {
    /// CSV with a head: phone, id_number, id_type, id_country, names (several with ;), date_of_birth, email, address,
    /// county, period, effective_at, reason_class, channel, source_id, legal_basis. Needed: a phone or an id_number,
    /// period and effective_at. As `register export` writes them also: person (rows with one value behind each other are
    /// one person), jurisdiction, at_end, ends_at, ended_at, verification_method, verification_reference.
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

/// Longest row, bytes.
const ROW_BYTES_MAX: usize = 16 << 10;
/// Rows of one person: entries of the vault or exclusions.
const ROWS_OF_A_PERSON_MAX: usize = 1_000;

/// The rows that were refused.
struct Rejects(Option<csv::Writer<BufWriter<File>>>);

impl Rejects {
    /// `done` is the last line of a run that was cut off: what lies behind it there is refused again.
    fn open(path: Option<&Path>, head: &StringRecord, done: Option<u64>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        // it holds people: for nobody else
        let mut options = File::options();
        options.create(true).read(true).write(true).truncate(done.is_none()).mode(0o600);
        let mut file = options.open(path).with_context(|| path.display().to_string())?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let kept = done.map_or(Ok(0), |done| length_through(&file, done))?;
        file.set_len(kept)?;
        file.seek(SeekFrom::End(0))?;
        let mut out = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
        if kept == 0 {
            out.write_record(head.iter().chain(["line", "reason"]))?;
        }
        Ok(Self(Some(out)))
    }

    fn refuse(&mut self, row: &StringRecord, line: u64, reason: &str) -> anyhow::Result<()> {
        if let Some(out) = &mut self.0 {
            out.write_record(row.iter().chain([line.to_string().as_str(), reason]))?;
            // it must lie there before a commit counts the row as done
            out.flush()?;
        }
        Ok(())
    }
}

/// Bytes of a file of rejects up to the first that is of a line behind `done`, or was not written whole.
fn length_through(file: &File, done: u64) -> anyhow::Result<u64> {
    let length = file.metadata()?.len();
    let mut rows = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(BufReader::new(file));
    let (mut row, mut kept, mut first) = (StringRecord::new(), 0, true);
    while rows.read_record(&mut row).unwrap_or(false) {
        let line = row.len().checked_sub(2).and_then(|place| row.get(place)).and_then(|text| text.parse().ok());
        let is_done = std::mem::take(&mut first) || line.is_some_and(|line: u64| line <= done);
        if !is_done {
            break;
        }
        kept = rows.position().byte().min(length);
    }
    Ok(kept)
}

/// The rows of one person, until another one comes.
#[derive(Default)]
struct Group {
    person: Option<String>,
    rows: Vec<(StringRecord, u64)>,
    read: Vec<Result<ImportRow, String>>,
}

impl Group {
    fn is_of(&self, person: Option<&str>) -> bool {
        person.is_some() && self.person.as_deref() == person
    }

    /// Everything said of the person, or each row with what is wrong: nobody comes in by half.
    fn settle(read: Vec<Result<ImportRow, String>>) -> Result<Vec<ImportRow>, Vec<String>> {
        let whole = |rows: &[Result<ImportRow, String>]| {
            let rows = || rows.iter().flatten();
            match (rows().any(|row| row.exclusion.is_some()), rows().any(|row| row.known_by.is_somebody())) {
                (false, _) => Some("period: in no row of the person"),
                (_, false) => Some("neither phone nor id_number in any row of the person"),
                _ => None,
            }
        };
        let missing = whole(&read);
        if missing.is_none() && read.iter().all(Result::is_ok) {
            return Ok(read.into_iter().flatten().collect());
        }
        let other = "another row of the person is refused";
        let missing = if read.iter().any(Result::is_err) { other } else { missing.unwrap_or(other) };
        Err(read.into_iter().map(|row| row.err().unwrap_or_else(|| missing.to_owned())).collect())
    }
}

/// What becomes of the rows.
struct Taking {
    /// None where the rows are only checked.
    importer: Option<Importer>,
    rejects: Rejects,
    good: u64,
    refused: u64,
}

impl Taking {
    async fn take(&mut self, group: Group) -> anyhow::Result<()> {
        let count = group.rows.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let reasons = match (Group::settle(group.read), &mut self.importer) {
            (Ok(_), None) => {
                self.good += count;
                return Ok(());
            }
            (Ok(rows), Some(importer)) => {
                let raw: Vec<u8> = group.rows.iter().flat_map(|(row, _)| row.as_slice().as_bytes()).copied().collect();
                if importer.take(rows, &raw).await? {
                    return Ok(());
                }
                vec!["phone: too many people are registered under it".to_owned(); group.rows.len()]
            }
            (Err(reasons), importer) => {
                if let Some(importer) = importer {
                    importer.refused(count);
                }
                reasons
            }
        };
        self.refused += count;
        for ((row, line), reason) in group.rows.iter().zip(reasons) {
            self.rejects.refuse(row, *line, &reason)?;
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

/// Runs an import.
pub async fn import(config: &Config, order: Import) -> anyhow::Result<ExitCode> {
    for (name, text) in [("--origin", &order.origin), ("--legal-basis", &order.legal_basis)] {
        anyhow::ensure!(!text.trim().is_empty() && text.len() <= 200, "{name}: from 1 to 200 bytes");
    }
    let code = order.jurisdiction.as_ref().unwrap_or(&config.jurisdictions[0].code);
    let known = Jurisdiction::by_code(&config.jurisdictions, code);
    let jurisdiction = known.with_context(|| format!("no jurisdiction {code}"))?;
    let material = keys::provider(&config.keys).load()?;
    let (id, length) = import_id(&order, jurisdiction)?;

    let file = BufReader::with_capacity(1 << 20, File::open(&order.file)?);
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let head = rows.headers().with_context(|| order.file.display().to_string())?.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = Reader {
        columns: Columns::read(&head)?,
        jurisdictions: &config.jurisdictions,
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
    let mut tally = Tally { length, ..Tally::default() };
    let (mut row, mut said) = (StringRecord::new(), Instant::now());
    let mut done_line = None;
    while tally.rows < done_before && !matches!(rows.read_record(&mut row), Ok(false)) {
        tally.rows += 1;
        done_line = row.position().map(csv::Position::line).or(done_line);
    }
    let rejects = Rejects::open(order.rejects.as_deref(), &head, done_line)?;
    let mut taking = Taking { importer, rejects, good: 0, refused: 0 };
    let mut group = Group::default();
    loop {
        let read = rows.read_record(&mut row);
        if matches!(read, Ok(false)) {
            break;
        }
        tally.rows += 1;
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
        let person = reader.columns.get(&row, "person");
        if !group.is_of(person) {
            let person = person.map(str::to_owned);
            taking.take(std::mem::replace(&mut group, Group { person, ..Group::default() })).await?;
        }
        anyhow::ensure!(
            group.rows.len() < ROWS_OF_A_PERSON_MAX,
            "line {line}: more rows of one person than there can be"
        );
        group.rows.push((row.clone(), line));
        group.read.push(new);
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tally.show(rows.position().byte(), done_before, taking.refused);
        }
    }
    taking.take(group).await?;
    let Taking { importer, good, refused, .. } = taking;
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
        "refused": refused, "good": order.dry_run.then_some(good),
    }))?);
    if refused > 0 {
        complain(&format!("{refused} rows were refused"));
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
    started: Option<Instant>,
}

impl Tally {
    fn show(&mut self, byte: u64, done_before: u64, refused: u64) {
        let since = self.started.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
        let share = byte as f64 / self.length.max(1) as f64;
        let rate = (self.rows - done_before) as f64 / since.max(0.5);
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let bar = "#".repeat((share * 30.0) as usize);
            let _ = write!(
                out,
                "\r[{bar:<30}] {:5.1} % {} rows, {rate:.0}/s, {refused} refused ",
                share * 100.0,
                self.rows
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
