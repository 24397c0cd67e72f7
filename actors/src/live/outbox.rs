//! What waits for one client, and how long it may.
//!
//! The hub puts shared frames here; the task of the client's connection takes them when its socket has room. A client that
//! does not read is first conflated (of a metric topic only the newest state is kept, as a gap and a snapshot), then
//! closed, because it takes nothing, is behind for too long, or has too much waiting.

use super::frames::Frame;
use models::live::Topic;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Frames that may wait for a client: as many as a resumption from the store may bring, and some.
pub const WAITING_FRAMES_MAX: usize = 12_288;
/// Bytes that may wait for a client.
pub const WAITING_BYTES_MAX: usize = 24 << 20;
/// A client that takes nothing for so long is closed.
pub const STALLED_MAX: Duration = Duration::from_secs(5);
/// A client that is behind for so long is closed, also where it takes a byte now and then.
pub const BEHIND_MAX: Duration = Duration::from_secs(60);
/// Room for frames that is kept where nothing waits.
const ROOM_KEPT: usize = 16;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It does not read: 4008.
    Slow,
    /// Its rights are gone: 4003.
    Forbidden,
    /// The engine stops or the hub restarted: 1012, come again.
    Restart,
    /// Nothing came from it for too long: 4008.
    Silent,
    /// The connection is gone.
    Gone,
}

impl CloseReason {
    const ALL: [Self; 5] = [Self::Slow, Self::Forbidden, Self::Restart, Self::Silent, Self::Gone];
}

struct Waiting {
    frame: Frame,
    /// It stands for others that were left out.
    skipped: bool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Position of the front, counted from the first frame ever.
    base: u64,
    /// Where the newest state of a metric topic waits.
    latest: Vec<(Topic, u64)>,
    bytes: usize,
    /// Since when something waits.
    behind_since: Option<Instant>,
    /// When something was taken last, while something waits.
    taken_at: Option<Instant>,
    waker: Option<Waker>,
}

/// Frames of one session, between the hub and its connection.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    reason: AtomicU8,
}

impl Outbox {
    /// Hands over frames; false where the session is over.
    pub fn push(&self, frames: &[Frame]) -> bool {
        if self.closed().is_some() {
            return false;
        }
        let mut queue = self.queue.lock();
        frames.iter().for_each(|frame| queue.add(frame));
        if queue.behind_since.is_none() {
            let now = Instant::now();
            (queue.behind_since, queue.taken_at) = (Some(now), Some(now));
        }
        let is_over = queue.waiting.len() > WAITING_FRAMES_MAX || queue.bytes > WAITING_BYTES_MAX;
        let waker = queue.waker.take();
        drop(queue);
        if is_over {
            self.close(CloseReason::Slow);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        !is_over
    }

    /// Ends the session; the first reason stands.
    pub fn close(&self, reason: CloseReason) {
        let code = CloseReason::ALL.iter().position(|r| *r == reason).map_or(0, |at| at as u8 + 1);
        let _ = self.reason.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        if let Some(waker) = self.queue.lock().waker.take() {
            waker.wake();
        }
    }

    /// Why it is over, if it is.
    pub fn closed(&self) -> Option<CloseReason> {
        let code = self.reason.load(Ordering::Acquire);
        CloseReason::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Is the client too slow by now?
    pub fn is_stalled(&self, now: Instant) -> bool {
        let queue = self.queue.lock();
        let longer = |since: Option<Instant>, max| since.is_some_and(|at| now.saturating_duration_since(at) > max);
        longer(queue.taken_at, STALLED_MAX) || longer(queue.behind_since, BEHIND_MAX)
    }

    /// Takes out frames of about so many bytes, at least one; or why the session is over. One task may wait.
    pub fn poll_take(&self, cx: &Context<'_>, bytes_max: usize, into: &mut Vec<Frame>) -> Poll<Option<CloseReason>> {
        let mut queue = self.queue.lock();
        // under the lock: who closes it now finds the waker
        if let Some(reason) = self.closed() {
            return Poll::Ready(Some(reason));
        }
        let mut taken = 0;
        while taken < bytes_max
            && let Some(waiting) = queue.pop()
        {
            taken += waiting.frame.wire().len();
            if waiting.skipped {
                into.extend(waiting.frame.instead());
            } else {
                into.push(waiting.frame);
            }
        }
        if taken > 0 {
            queue.note();
            return Poll::Ready(None);
        }
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Queue {
    fn add(&mut self, frame: &Frame) {
        let Some(topic) = frame.conflated() else {
            self.bytes += frame.wire().len();
            self.waiting.push_back(Waiting { frame: frame.clone(), skipped: false });
            return;
        };
        let next = self.base + self.waiting.len() as u64;
        let held = self.latest.iter().find(|(t, _)| *t == topic).map(|(_, at)| *at);
        let place = held.and_then(|at| self.waiting.get_mut((at - self.base) as usize));
        match place {
            Some(waiting) => {
                self.bytes = self.bytes.saturating_sub(waiting.frame.wire().len()) + frame.wire().len();
                *waiting = Waiting { frame: frame.clone(), skipped: true };
            }
            None => {
                self.bytes += frame.wire().len();
                self.latest.push((topic, next));
                self.waiting.push_back(Waiting { frame: frame.clone(), skipped: false });
            }
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        let front = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(front.frame.wire().len());
        if front.frame.conflated().is_some() {
            let base = self.base;
            self.latest.retain(|(_, at)| *at != base);
        }
        self.base += 1;
        Some(front)
    }

    /// After something was taken.
    fn note(&mut self) {
        if self.waiting.is_empty() {
            (self.behind_since, self.taken_at) = (None, None);
            if self.waiting.capacity() > ROOM_KEPT {
                self.waiting = VecDeque::new();
            }
        } else {
            self.taken_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(offset: u64) -> Frame {
        Frame::latest(Topic::National, offset, &offset.to_string().into())
    }

    fn alert(offset: u64) -> Frame {
        Frame::delta(Topic::Alerts, offset, offset)
    }

    fn take(outbox: &Outbox, bytes_max: usize) -> Vec<String> {
        let mut frames = Vec::new();
        let _ = outbox.poll_take(&Context::from_waker(Waker::noop()), bytes_max, &mut frames);
        let value = |frame: &Frame| serde_json::from_slice::<serde_json::Value>(&frame.text()).unwrap();
        let short = |v: serde_json::Value| {
            format!("{} {} {}", v["type"].as_str().unwrap(), v["topic"].as_str().unwrap(), v["offset"])
        };
        frames.iter().map(value).map(short).collect()
    }

    #[test]
    fn who_reads_has_every_frame() {
        let outbox = Outbox::default();
        for n in 1..=3 {
            assert!(outbox.push(&[metric(n), alert(n)]));
            assert_eq!(take(&outbox, usize::MAX), [format!("delta national {n}"), format!("delta alerts {n}")]);
        }
        assert!(!outbox.is_stalled(Instant::now() + 2 * BEHIND_MAX));
    }

    #[test]
    fn who_does_not_read_is_conflated_and_keeps_every_alert() {
        let outbox = Outbox::default();
        outbox.push(&[metric(1), alert(1)]);
        assert_eq!(take(&outbox, 1), ["delta national 1"], "one at a time");
        for n in 2..=5 {
            assert!(outbox.push(&[metric(n)]));
            assert!(outbox.push(&[alert(n)]));
        }
        let expected = [
            "delta alerts 1",
            "gap national null",
            "snapshot national 5",
            "delta alerts 2",
            "delta alerts 3",
            "delta alerts 4",
            "delta alerts 5",
        ];
        assert_eq!(take(&outbox, usize::MAX), expected);
        outbox.push(&[metric(6)]);
        assert_eq!(take(&outbox, usize::MAX), ["delta national 6"]);
    }

    #[test]
    fn whoever_waits_is_woken_by_a_frame_and_by_the_end() {
        use std::sync::Arc;
        use std::sync::atomic::AtomicUsize;
        use std::task::Wake;
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (outbox, count) = (Outbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let (cx, mut frames) = (Context::from_waker(&waker), Vec::new());
        assert!(outbox.poll_take(&cx, 1, &mut frames).is_pending());
        outbox.push(&[alert(1)]);
        outbox.push(&[alert(2)]);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "once for both");
        assert_eq!(outbox.poll_take(&cx, usize::MAX, &mut frames), Poll::Ready(None));
        assert!(outbox.poll_take(&cx, 1, &mut frames).is_pending());
        outbox.close(CloseReason::Forbidden);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert_eq!(outbox.poll_take(&cx, 1, &mut frames), Poll::Ready(Some(CloseReason::Forbidden)));
        assert!(!outbox.push(&[alert(3)]));
    }

    #[test]
    fn who_is_too_far_behind_is_closed() {
        let outbox = Outbox::default();
        assert!(!outbox.is_stalled(Instant::now() + BEHIND_MAX));
        outbox.push(&[metric(1)]);
        assert!(!outbox.is_stalled(Instant::now()));
        assert!(outbox.is_stalled(Instant::now() + STALLED_MAX + Duration::from_secs(1)));
        take(&outbox, usize::MAX);
        assert!(!outbox.is_stalled(Instant::now() + BEHIND_MAX));
        let one = alert(1);
        let pushed = (0..2 * WAITING_FRAMES_MAX).take_while(|_| outbox.push(std::slice::from_ref(&one))).count();
        assert_eq!((pushed, outbox.closed()), (WAITING_FRAMES_MAX, Some(CloseReason::Slow)));
        outbox.close(CloseReason::Forbidden);
        assert_eq!(outbox.closed(), Some(CloseReason::Slow), "the first reason stands");
    }

    #[test]
    fn metric_topics_take_no_more_room_than_their_newest_state() {
        let outbox = Outbox::default();
        for n in 1..=2 * WAITING_FRAMES_MAX as u64 {
            assert!(outbox.push(&[metric(n)]));
        }
        let newest = format!("snapshot national {}", 2 * WAITING_FRAMES_MAX);
        assert_eq!(take(&outbox, usize::MAX), ["gap national null".to_owned(), newest]);
    }
}
