//! Figures of the engine itself: gauges are set once a second, counters where they happen. Labels come from closed sets, so
//! nothing can grow.

use crate::api::FreshnessLabel;
use models::exclusion_report::ReportState;
use models::quarantine::ReplayOutcome;
use models::record::QuarantineCode;
use models::ts::{SECOND, Ts};
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use store::ReportsWaiting;

/// Figures of a node.
pub struct EngineMetrics {
    /// Age of `as_of`, seconds; −1 while loading.
    pub register_age_seconds: Gauge,
    /// Age of the last look of the auditor that found or left the journal signed, seconds; −1 before the first.
    pub checkpoint_age_seconds: Gauge,
    /// Age of the newest lookup that is among the contacts.
    pub contacts_age_seconds: Gauge,
    /// Sequence of the register's last change.
    pub register_version: IntGauge,
    /// Bytes of the index.
    pub index_bytes: IntGauge,
    /// People in the index.
    pub register_people: IntGauge,
    /// Keys in the index.
    pub register_keys: IntGauge,
    /// Connections of the store, by `state`.
    pub pool: IntGaugeVec,
    /// Most connections of the store.
    pub pool_max: IntGauge,
    /// Sources, by `freshness`.
    pub sources: IntGaugeVec,
    /// Sessions at the live hub.
    pub live_sessions: IntGauge,
    /// Statements with which the live hub read back what clients had missed.
    pub live_store_reads: IntCounter,
    /// Inputs that operators read back because their queue was full, since the start.
    pub deferred_inputs: IntCounter,
    /// Time a copy of the index into the store takes.
    pub snapshot_seconds: Histogram,
    /// Records stored, over all sources.
    pub records: IntCounter,
    /// Records refused, over all sources.
    pub quarantined: IntCounter,
    /// Refused records that nothing was decided about yet, over all sources, by `code`.
    pub quarantine_open: IntGaugeVec,
    /// Bytes of the ids by which records that come again are known, over all sources.
    pub dedupe_bytes: IntGauge,
    /// Refused records that were tried again, by `outcome`.
    pub replays: IntCounterVec,
    /// Promoted versions of rules that the brake took back.
    pub rule_brakes: IntCounter,
    /// Promoted versions of rules that raise far fewer alerts than was forecast.
    pub rules_below_forecast: IntGauge,
    /// Models of players and transactions.
    pub models: ModelMetrics,
    /// When every day of operators that was over had its compliance score last, seconds since 1970.
    pub compliance_complete_at: IntGauge,
    /// Exclusions that operators report.
    pub reports: ReportMetrics,
}

/// Figures of models of players and transactions; which jurisdictions there are says the start.
pub struct ModelMetrics {
    /// Promoted versions that the brake took back, by `jurisdiction`.
    pub brakes: IntCounterVec,
    /// 1 where the promoted version cannot be read and scores nothing, by `kind` and `jurisdiction`.
    pub not_scoring: IntGaugeVec,
    /// 1 where the version in the shadow cannot be read, so that nothing is counted of it, by `kind` and `jurisdiction`.
    pub shadows_not_scoring: IntGaugeVec,
}

impl ModelMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help =
            "Promoted versions of models that were taken back because far more alerts came of them than was forecast";
        let brakes = IntCounterVec::new(Opts::new("mlinzi_model_brakes_total", help), &["jurisdiction"])?;
        registry.register(Box::new(brakes.clone()))?;
        let by_place = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["kind", "jurisdiction"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        Ok(Self {
            brakes,
            not_scoring: by_place(
                "mlinzi_model_not_scoring",
                "1 where the promoted version of a model cannot be read and scores nothing",
            )?,
            shadows_not_scoring: by_place(
                "mlinzi_model_shadow_not_scoring",
                "1 where the version of a model in the shadow cannot be read, and nothing is counted of it",
            )?,
        })
    }
}

/// Figures of exclusions that operators report.
pub struct ReportMetrics {
    /// Those that wait for staff.
    pub waiting: IntGauge,
    /// Age of the oldest of them, seconds; 0 where none waits.
    pub oldest_seconds: Gauge,
    /// What became of them, by `outcome`.
    pub outcomes: IntCounterVec,
}

impl ReportMetrics {
    /// What an approval comes to that names somebody else.
    pub const MISMATCHED: &'static str = "mismatched";

    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Exclusions that operators reported and staff has not looked at";
        let waiting = IntGauge::new("mlinzi_reported_exclusions_waiting", help)?;
        let help = "Age of the oldest reported exclusion that waits for staff, 0 = none waits";
        let oldest_seconds = Gauge::new("mlinzi_reported_exclusions_oldest_seconds", help)?;
        let help = "Reported exclusions by what became of them (approved, refused, expired; mismatched: a try to approve one for another person)";
        let outcomes = IntCounterVec::new(Opts::new("mlinzi_reported_exclusions_total", help), &["outcome"])?;
        let settled =
            ReportState::ALL.iter().filter(|state| **state != ReportState::Waiting).map(|state| state.as_str());
        settled.chain([Self::MISMATCHED]).for_each(|outcome| outcomes.with_label_values(&[outcome]).reset());
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(oldest_seconds.clone()))?;
        registry.register(Box::new(outcomes.clone()))?;
        Ok(Self { waiting, oldest_seconds, outcomes })
    }

    /// Sets how many wait, and since when the oldest does.
    pub fn show(&self, waiting: ReportsWaiting, now: Ts) {
        self.waiting.set(waiting.count.cast_signed());
        let age = waiting.since.map_or(0, |since| now.0.saturating_sub(since.0).max(0));
        self.oldest_seconds.set(age as f64 / SECOND as f64);
    }
}

/// Figures of the lookup evidence.
#[derive(Clone)]
pub struct EvidenceMetrics {
    /// Sealed records.
    pub records: IntCounter,
    /// Stored blocks.
    pub blocks: IntCounter,
    /// Blocks of which nobody knows whom they are about, because they cannot be read.
    pub unreadable_blocks: IntCounter,
    /// Bytes that are not stored yet.
    pub unflushed_bytes: IntGauge,
    /// Age of the moment up to which everything is stored, seconds; −1 before the start.
    pub age_seconds: Gauge,
}

impl EvidenceMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            records: IntCounter::new("mlinzi_evidence_records_total", "Lookups sealed into blocks of evidence")?,
            blocks: IntCounter::new("mlinzi_evidence_blocks_total", "Blocks of evidence stored")?,
            unreadable_blocks: IntCounter::new(
                "mlinzi_contacts_unreadable_blocks_total",
                "Blocks of evidence that cannot be read, so that the feed of changes leaves out who was asked about in them",
            )?,
            unflushed_bytes: IntGauge::new("mlinzi_evidence_unflushed_bytes", "Evidence that is not stored yet")?,
            age_seconds: Gauge::new(
                "mlinzi_evidence_age_seconds",
                "Age of the moment up to which all evidence is stored, -1 = none is kept",
            )?,
        };
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.blocks.clone()))?;
        registry.register(Box::new(metrics.unreadable_blocks.clone()))?;
        registry.register(Box::new(metrics.unflushed_bytes.clone()))?;
        registry.register(Box::new(metrics.age_seconds.clone()))?;
        Ok(metrics)
    }
}

impl EngineMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let whole = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let fraction = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let labelled = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let seconds = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
        let help = "Time a copy of the index into the store takes";
        let snapshots = HistogramOpts::new("mlinzi_index_snapshot_seconds", help).buckets(seconds.to_vec());
        let snapshot_seconds = Histogram::with_opts(snapshots)?;
        registry.register(Box::new(snapshot_seconds.clone()))?;
        let help = "Refused records that were tried again, by outcome (stored, duplicate, refused)";
        let replays = IntCounterVec::new(Opts::new("mlinzi_quarantine_replays_total", help), &["outcome"])?;
        ReplayOutcome::ALL.iter().for_each(|outcome| replays.with_label_values(&[outcome.as_str()]).reset());
        registry.register(Box::new(replays.clone()))?;
        let age = "Age of the register's last proof of completeness, -1 = loading";
        let signed = "Age of the last signed checkpoint of the whole journal, -1 = none yet";
        Ok(Self {
            register_age_seconds: fraction("mlinzi_register_age_seconds", age)?,
            checkpoint_age_seconds: fraction("mlinzi_checkpoint_age_seconds", signed)?,
            contacts_age_seconds: fraction(
                "mlinzi_contacts_age_seconds",
                "Lookups answered so long ago are among the contacts, -1 before the first; the feed of changes tells nothing younger.",
            )?,
            register_version: whole("mlinzi_register_version", "Sequence of the register's last change")?,
            index_bytes: whole("mlinzi_index_bytes", "Bytes of the exclusion index")?,
            register_people: whole("mlinzi_register_people", "People in the exclusion index, ended exclusions too")?,
            register_keys: whole("mlinzi_register_keys", "Keys in the exclusion index")?,
            pool: labelled("mlinzi_store_pool_connections", "Open connections to the database", "state")?,
            pool_max: whole("mlinzi_store_pool_connections_max", "Most connections that the engine opens")?,
            sources: labelled("mlinzi_sources", "Sources by the age of their last success", "freshness")?,
            live_sessions: whole("mlinzi_live_sessions", "Sessions at the live hub")?,
            live_store_reads: counter(
                "mlinzi_live_store_reads_total",
                "Statements that read back what watchers had missed",
            )?,
            deferred_inputs: counter("mlinzi_deferred_inputs_total", "Inputs that operators read back from the store")?,
            snapshot_seconds,
            records: counter("mlinzi_feed_records_total", "Records stored, over all sources")?,
            quarantined: counter("mlinzi_feed_records_quarantined_total", "Records refused, over all sources")?,
            quarantine_open: labelled(
                "mlinzi_quarantine_open",
                "Refused records that are neither replayed nor dismissed, over all sources",
                "code",
            )?,
            dedupe_bytes: whole(
                "mlinzi_dedupe_bytes",
                "Bytes of the ids by which records that come again are known, over all sources",
            )?,
            replays,
            rule_brakes: counter(
                "mlinzi_rule_brakes_total",
                "Promoted versions of rules that were taken back because they raised far more alerts than was forecast",
            )?,
            rules_below_forecast: whole(
                "mlinzi_rules_below_forecast",
                "Versions of rules, promoted within seven days, that raise far fewer alerts than was forecast",
            )?,
            models: ModelMetrics::register(registry)?,
            compliance_complete_at: whole(
                "mlinzi_compliance_complete_timestamp_seconds",
                "When every day of operators that was over had its compliance score last; the start of the engine before that",
            )?,
            reports: ReportMetrics::register(registry)?,
        })
    }

    /// Sets how the store's connections are used.
    pub fn show_pool(&self, usage: store::PoolUsage) {
        self.pool.with_label_values(&["used"]).set(usage.used.into());
        self.pool.with_label_values(&["idle"]).set(usage.idle.into());
        self.pool_max.set(usage.max.into());
    }

    /// Sets how many refused records are open for which reason.
    pub fn show_quarantine(&self, open: impl Fn(QuarantineCode) -> u64) {
        for code in QuarantineCode::ALL {
            self.quarantine_open.with_label_values(&[code.as_str()]).set(open(*code).cast_signed());
        }
    }

    /// Sets how many sources are how fresh; those that there are none of are 0, not gone.
    pub fn show_sources(&self, fresh: impl Iterator<Item = FreshnessLabel>) {
        let mut counts = FreshnessLabel::ALL.map(|label| (label, 0));
        for label in fresh {
            counts.iter_mut().filter(|(known, _)| *known == label).for_each(|(_, count)| *count += 1);
        }
        for (label, count) in counts {
            self.sources.with_label_values(&[label.as_str()]).set(count);
        }
    }
}
