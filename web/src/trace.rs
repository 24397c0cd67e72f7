//! Which requests leave a trace, and what it says of them.
//!
//! That is decided when a request ends: whatever failed or was slow, what a caller's own trace has chosen, and a share
//! of the rest. So a request that leaves none costs a header looked up and a number drawn, and the span of the others is
//! made afterwards, from the time their request took. A span holds names of this program and ids, never a value that a
//! caller sent but the two numbers of its `traceparent`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actors::trace::Step;
use models::ids::OperatorNo;
use models::lookup::{Decision, Purpose};
use prometheus::IntCounter;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::problem::Code;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The caller's span that a request belongs to (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Id of the trace, not 0.
    pub trace: u128,
    /// Id of the span, not 0.
    pub span: u64,
    /// Whether the caller records its part.
    pub sampled: bool,
}

impl Parent {
    /// Of a request's head; none where there is none that is valid.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(&TRACEPARENT)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        if !(whole && known && [version, trace, span, flags].into_iter().all(hex)) {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled })
    }
}

/// Below which half of a trace id's low 64 bits lies within the share, as OpenTelemetry's `TraceIdRatioBased` has it:
/// everybody who keeps the same share keeps the same traces.
fn threshold(percent: f64) -> u64 {
    (percent.clamp(0.0, 100.0) / 100.0 * (1u64 << 63) as f64) as u64
}

fn in_share(trace: u128, threshold: u64) -> bool {
    (trace as u64) >> 1 < threshold
}

/// Why a request leaves a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 5xx, or no answer at all.
    Failed,
    /// It took longer than what counts as slow.
    Slow,
    /// The caller records its part.
    Parent,
    /// It is of the share.
    Share,
}

impl Reason {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Parent => "parent",
            Self::Share => "share",
        }
    }
}

/// A method by its name; whatever is not known has no other, because it is the caller's text.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// What a request turned out to be about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Number of the caller's operator.
    pub operator_no: Option<u16>,
    /// What a lookup was for.
    pub purpose: Option<Purpose>,
    /// What a lookup was told.
    pub decision: Option<Decision>,
}

impl About {
    pub(crate) fn caller(operator: Option<OperatorNo>) -> Self {
        Self { operator_no: operator.map(|no| no.0), ..Self::default() }
    }
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace: the caller's, or a new one.
    pub trace: u128,
    /// Its own id.
    pub id: u64,
    /// The caller's span.
    pub parent: Option<u64>,
    /// Why it is told of.
    pub reason: Reason,
    /// Method, of the known ones.
    pub method: &'static str,
    /// Pattern of the path, never the path.
    pub route: &'static str,
    /// Status; none where the handler panicked.
    pub status: Option<u16>,
    /// What was wrong.
    pub code: Option<Code>,
    /// Our id of the request, or the keyed digest of the caller's.
    pub request_id: String,
    /// What it was about.
    pub about: About,
    /// When it came.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it waited for, after how long, and how long.
    pub steps: Vec<(Duration, Step)>,
}

impl Span {
    /// Spans of this request: itself and its steps.
    #[must_use]
    pub fn count(&self) -> u64 {
        1 + self.steps.len() as u64
    }

    /// Did the request fail through our fault?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.reason == Reason::Failed
    }
}

/// What is needed to make a request's span, beyond what was kept of it.
pub(crate) struct Ended {
    pub method: &'static str,
    pub route: &'static str,
    pub status: Option<u16>,
    pub code: Option<Code>,
    pub request_id: String,
    pub about: About,
    pub took: Duration,
    pub steps: Vec<Step>,
}

/// A request that leaves a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub trace: u128,
    parent: Option<u64>,
    reason: Reason,
}

/// Which requests leave a trace.
#[derive(Clone, Copy, Debug)]
pub struct TraceOptions {
    /// Percent of the requests that neither fail nor are slow.
    pub sample_percent: f64,
    /// What takes longer is always kept.
    pub slow: Duration,
    /// Requests that may wait to be exported; half of the places are for those that failed or were slow.
    pub queue: usize,
}

/// Where finished requests go that leave a trace; cheap to clone.
#[derive(Clone)]
pub struct Traces(Arc<Inner>);

struct Inner {
    threshold: u64,
    slow: Duration,
    reserved: usize,
    queue: Sender<Span>,
    dropped: IntCounter,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("slow", &self.0.slow).finish_non_exhaustive()
    }
}

impl Traces {
    /// A queue with this limit and its end. Spans that find it full are counted in `dropped`.
    #[must_use]
    pub fn new(options: TraceOptions, dropped: IntCounter) -> (Self, Receiver<Span>) {
        let (queue, receiver) = channel(options.queue.max(2));
        let threshold = threshold(options.sample_percent);
        let reserved = queue.max_capacity() / 2;
        (Self(Arc::new(Inner { threshold, slow: options.slow, reserved, queue, dropped })), receiver)
    }

    /// Whether a request leaves a trace; `status` is none where its handler panicked.
    pub(crate) fn keep(&self, parent: Option<Parent>, status: Option<u16>, took: Duration) -> Option<Kept> {
        // the half of an id that decides; the other is drawn for those that are kept
        let low: u64 = if parent.is_none() { rand::random() } else { 0 };
        let share = match parent {
            // as of a ParentBased sampler: who records a part of a trace records all of it, and nobody else does
            Some(parent) => parent.sampled.then_some(Reason::Parent),
            None => in_share(low.into(), self.0.threshold).then_some(Reason::Share),
        };
        let reason = match status {
            None | Some(500..) => Reason::Failed,
            Some(_) if took >= self.0.slow => Reason::Slow,
            Some(_) => share?,
        };
        let new = || u128::from(rand::random::<u64>() | 1) << 64 | u128::from(low);
        Some(Kept { trace: parent.map_or_else(new, |p| p.trace), parent: parent.map(|p| p.span), reason })
    }

    /// Offers a request's span; where there is no room it is dropped and counted, and nobody waits.
    pub(crate) fn offer(&self, kept: Kept, ended: Ended) {
        // what began so long ago began then, whatever the clock was set to meanwhile
        let (now, at) = (SystemTime::now(), Instant::now());
        let began = at.checked_sub(ended.took).unwrap_or(at);
        let steps = ended.steps.into_iter().map(|step| (step.started.saturating_duration_since(began), step));
        let span = Span {
            trace: kept.trace,
            id: rand::random::<u64>() | 1,
            parent: kept.parent,
            reason: kept.reason,
            method: ended.method,
            route: ended.route,
            status: ended.status,
            code: ended.code,
            request_id: ended.request_id,
            about: ended.about,
            started: now.checked_sub(ended.took).unwrap_or(now),
            took: ended.took,
            steps: steps.collect(),
        };
        let count = span.count();
        let important = matches!(span.reason, Reason::Failed | Reason::Slow);
        let room = important || self.0.queue.capacity() > self.0.reserved;
        if !room || self.0.queue.try_send(span).is_err() {
            self.0.dropped.inc_by(count);
        }
    }
}

/// Does something when it is dropped by a panic on its way up, and nothing when by anything else.
pub(crate) struct OnPanic<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const FAST: Duration = Duration::from_millis(1);

    fn traces(sample_percent: f64, queue: usize) -> (Traces, Receiver<Span>, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let options = TraceOptions { sample_percent, slow: Duration::from_millis(250), queue };
        let (traces, receiver) = Traces::new(options, dropped.clone());
        (traces, receiver, dropped)
    }

    fn ended(status: u16) -> Ended {
        Ended {
            method: "POST",
            route: "/x",
            status: Some(status),
            code: None,
            request_id: String::new(),
            about: About::default(),
            took: FAST,
            steps: Vec::new(),
        }
    }

    #[test]
    fn only_a_valid_traceparent_is_believed() {
        let parent = |sampled| {
            Some(Parent { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7, sampled })
        };
        let table = [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), parent(true)),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), parent(false)),
            (format!("00-{TRACE}-00f067aa0ba902b7-fe"), parent(false)),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later"), parent(true)),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-more"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-1"), None),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), None),
            (format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]), None),
            ("254712345678".to_owned(), None),
        ];
        for (text, known) in &table {
            let req = TestRequest::default().insert_header(("traceparent", text.as_str())).to_http_request();
            assert_eq!(Parent::of(req.headers()), *known, "{text}");
        }
    }

    #[test]
    fn the_share_is_that_of_opentelemetry_and_a_function_of_the_trace_id() {
        for percent in [0.0, 0.1, 10.0, 50.0, 99.9, 100.0] {
            let theirs = Sampler::TraceIdRatioBased(percent / 100.0);
            let threshold = threshold(percent);
            let mut kept = 0;
            for i in 0..20_000u128 {
                // an odd factor walks through the low 64 bits evenly
                let trace = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1 << 127;
                let ours = in_share(trace, threshold);
                let id = TraceId::from_bytes(trace.to_be_bytes());
                let decided = theirs.should_sample(None, id, "", &SpanKind::Server, &[], &[]).decision;
                assert_eq!(ours, decided == SamplingDecision::RecordAndSample, "{trace:032x} at {percent} %");
                kept += u32::from(ours);
            }
            let share = f64::from(kept) / 200.0;
            assert!((share - percent).abs() < 0.5, "{share} % of the traces instead of {percent} %");
        }
    }

    #[test]
    fn what_fails_or_is_slow_is_always_kept_and_a_caller_that_records_too() {
        let (none, ..) = traces(0.0, 8);
        let (all, ..) = traces(100.0, 8);
        let parent = |sampled| Some(Parent { trace: 7 << 64 | 3, span: 5, sampled });
        let slow = Duration::from_millis(250);
        let table = [
            (&none, None, Some(200), FAST, None),
            (&none, None, Some(404), FAST, None),
            (&none, None, Some(500), FAST, Some(Reason::Failed)),
            (&none, parent(false), Some(503), FAST, Some(Reason::Failed)),
            (&none, None, None, FAST, Some(Reason::Failed)),
            (&none, None, Some(200), slow, Some(Reason::Slow)),
            (&none, parent(true), Some(200), FAST, Some(Reason::Parent)),
            (&all, parent(false), Some(200), FAST, None),
            (&all, None, Some(200), FAST, Some(Reason::Share)),
        ];
        for (traces, parent, status, took, reason) in table {
            let kept = traces.keep(parent, status, took);
            assert_eq!(kept.map(|k| k.reason), reason, "{parent:?} {status:?} {took:?}");
            if let (Some(kept), Some(parent)) = (kept, parent) {
                assert_eq!((kept.trace, kept.parent), (parent.trace, Some(parent.span)));
            }
        }
    }

    #[test]
    fn a_full_queue_drops_and_half_of_it_is_for_what_failed() {
        let (traces, mut receiver, dropped) = traces(100.0, 8);
        let offer = |status| {
            let kept = traces.keep(None, Some(status), FAST).expect("everything is kept");
            traces.offer(kept, ended(status));
        };
        (0..10).for_each(|_| offer(200));
        assert_eq!(dropped.get(), 6);
        (0..10).for_each(|_| offer(500));
        assert_eq!(dropped.get(), 12);
        let mut waiting = Vec::new();
        while let Ok(span) = receiver.try_recv() {
            waiting.push(span.status.unwrap_or_default());
        }
        assert_eq!(waiting, [200, 200, 200, 200, 500, 500, 500, 500]);
    }

    #[test]
    fn a_panic_is_told_and_a_return_is_not() {
        let told = std::cell::Cell::new(0);
        drop(OnPanic(|| told.set(told.get() + 1)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _watch = OnPanic(|| told.set(told.get() + 1));
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(told.get(), 1);
    }
}
