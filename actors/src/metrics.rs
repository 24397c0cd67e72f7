//! Figures of the engine itself, set once a second. Labels: none, so nothing can grow.

use prometheus::{Gauge, IntGauge, Registry};

/// Gauges of a node.
pub struct EngineMetrics {
    /// Age of `as_of`, seconds; −1 while loading.
    pub register_age_seconds: Gauge,
    /// Sequence of the register's last change.
    pub register_version: IntGauge,
    /// Bytes of the index.
    pub index_bytes: IntGauge,
    /// Sessions at the live hub.
    pub live_sessions: IntGauge,
    /// Inputs that operators read back because their queue was full, since the start.
    pub deferred_inputs: IntGauge,
    /// Records stored, over all sources.
    pub records: IntGauge,
    /// Records refused, over all sources.
    pub quarantined: IntGauge,
}

impl EngineMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let register_age_seconds = Gauge::new(
            "mlinzi_register_age_seconds",
            "Age of the register's last proof of completeness, -1 = loading",
        )?;
        registry.register(Box::new(register_age_seconds.clone()))?;
        Ok(Self {
            register_age_seconds,
            register_version: gauge("mlinzi_register_version", "Sequence of the register's last change")?,
            index_bytes: gauge("mlinzi_index_bytes", "Bytes of the exclusion index")?,
            live_sessions: gauge("mlinzi_live_sessions", "Sessions at the live hub")?,
            deferred_inputs: gauge("mlinzi_deferred_inputs", "Inputs read back from the store since the start")?,
            records: gauge("mlinzi_feed_records", "Records stored, over all sources")?,
            quarantined: gauge("mlinzi_feed_records_quarantined", "Records refused, over all sources")?,
        })
    }
}
