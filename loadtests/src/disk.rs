//! What the machine's disk does beside a measure: a small file, written and synced again and again.
//!
//! What the product acknowledges it has synced; where a sync of anybody takes long, so does the product's.

use crate::driver::histogram;
use crate::node::scratch;
use hdrhistogram::Histogram;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a write.
const BYTES: usize = 4_096;
/// Time between two of them: few enough to load nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until it is stopped.
pub struct Probe {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Histogram<u64>>>,
}

impl Probe {
    /// Begins, on the disk the stores lie on.
    pub fn start() -> anyhow::Result<Self> {
        let mut file = tempfile::tempfile_in(scratch()?)?;
        let (ended, mut times) = (Arc::new(AtomicBool::new(false)), histogram()?);
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&[1; BYTES])?;
                let began = Instant::now();
                file.sync_data()?;
                times.saturating_record(began.elapsed().as_micros() as u64);
                std::thread::sleep(PAUSE);
            }
            Ok(times)
        });
        Ok(Self { ended, thread })
    }

    /// Ends; microseconds of each sync.
    pub fn stop(self) -> anyhow::Result<Histogram<u64>> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the probe panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_syncs_until_it_is_stopped() {
        let probe = Probe::start().unwrap();
        std::thread::sleep(PAUSE * 3);
        assert!(!probe.stop().unwrap().is_empty());
    }
}
