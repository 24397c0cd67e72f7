//! Two ways to load: as fast as answers come (closed loop), and at a rate that does not care (open loop).

use crate::wire::{Connection, Head, Target};
use hdrhistogram::Histogram;
use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What came of a load.
pub struct Outcome {
    /// Answers with the wanted status.
    pub good: u64,
    /// Answers with another one.
    pub bad: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Latencies, microseconds; from the due instant where there is one.
    pub latency_us: Histogram<u64>,
}

impl Outcome {
    /// Good answers a second.
    pub fn per_second(&self) -> f64 {
        self.good as f64 / self.elapsed.as_secs_f64()
    }

    /// A percentile of the latency, milliseconds.
    pub fn ms(&self, percentile: f64) -> f64 {
        self.latency_us.value_at_percentile(percentile) as f64 / 1_000.0
    }
}

/// A histogram up to a minute, microseconds, three digits.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// What is asked: the body of the `n`-th request, and the status of a good answer.
pub trait Requests {
    /// Writes the body of the `n`-th request.
    fn body(&self, n: u64, body: &mut Vec<u8>);
    /// Is this a good answer?
    fn good(&self, status: u16) -> bool {
        (200..300).contains(&status)
    }
}

impl<F: Fn(u64, &mut Vec<u8>)> Requests for F {
    fn body(&self, n: u64, body: &mut Vec<u8>) {
        self(n, body);
    }
}

/// The schedule of a load.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many requests, each connection sends the next as soon as it has an answer.
    Closed {
        /// Requests.
        count: u64,
    },
    /// A request is due every `1/rate` seconds.
    Open {
        /// Requests.
        count: u64,
        /// A second.
        rate: f64,
    },
    /// As many as go in a time.
    For(Duration),
}

/// Sends requests over `connections` connections.
pub async fn load<R: Requests + 'static>(
    address: SocketAddr,
    head: &Head,
    connections: usize,
    pace: Pace,
    requests: Rc<R>,
) -> anyhow::Result<Outcome> {
    load_as(&address.into(), std::slice::from_ref(head), connections, pace, requests).await
}

/// The same as several callers, each connection one of them.
pub async fn load_as<R: Requests + 'static>(
    target: &Target,
    heads: &[Head],
    connections: usize,
    pace: Pace,
    requests: Rc<R>,
) -> anyhow::Result<Outcome> {
    let mut opened = Vec::with_capacity(connections);
    for head in heads.iter().cycle().take(connections) {
        opened.push((Connection::open(target.clone()).await?, head.clone()));
    }
    let (next, start) = (Rc::new(Cell::new(0u64)), Instant::now());
    let workers = opened
        .into_iter()
        .map(|(connection, head)| work(connection, head, pace, Rc::clone(&requests), Rc::clone(&next), start));
    let mut total = Outcome { good: 0, bad: 0, elapsed: Duration::ZERO, latency_us: histogram()? };
    for part in together(workers).await {
        let part = part?;
        total.good += part.good;
        total.bad += part.bad;
        total.elapsed = total.elapsed.max(part.elapsed);
        total.latency_us.add(&part.latency_us)?;
    }
    Ok(total)
}

async fn work<R: Requests>(
    mut connection: Connection,
    head: Head,
    pace: Pace,
    requests: Rc<R>,
    next: Rc<Cell<u64>>,
    start: Instant,
) -> anyhow::Result<Outcome> {
    let mut out = Outcome { good: 0, bad: 0, elapsed: Duration::ZERO, latency_us: histogram()? };
    let mut body = Vec::new();
    loop {
        let n = next.get();
        let due = match pace {
            Pace::Closed { count } if n >= count => break,
            Pace::Open { count, .. } if n >= count => break,
            Pace::For(time) if start.elapsed() >= time => break,
            Pace::Open { rate, .. } => Some(start + Duration::from_secs_f64(n as f64 / rate)),
            Pace::Closed { .. } | Pace::For(_) => None,
        };
        next.set(n + 1);
        body.clear();
        requests.body(n, &mut body);
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let from = due.unwrap_or_else(Instant::now);
        let status = connection.send(&head, &body).await?.status;
        out.latency_us.saturating_record(from.elapsed().as_micros() as u64);
        if requests.good(status) {
            out.good += 1;
        } else {
            out.bad += 1;
        }
    }
    out.elapsed = start.elapsed();
    Ok(out)
}

/// Runs futures on this thread at the same time and gives their results in order.
pub async fn together<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::task::spawn_local).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results
}
