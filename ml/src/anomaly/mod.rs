//! Streaming anomaly detection on one series, and density over several.
