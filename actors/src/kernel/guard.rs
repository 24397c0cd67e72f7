//! Catching panics without keeping what they say.
//!
//! The text of a panic may quote the record that caused it, and no person may appear in logs or panic texts. Not even
//! a digest is kept: a phone number is guessed from an unkeyed one in seconds. What remains is the place in the code
//! and the kind of payload, which is what a developer needs to find it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

/// Where a panic happened; never what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PanicReport {
    /// `file:line:column`.
    pub location: String,
    /// Kind of payload: `str`, `string` or `other`.
    pub payload: &'static str,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panic at {} ({} payload)", self.location, self.payload)
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}
static HOOK: Once = Once::new();
static WHOLE_PROCESS: AtomicBool = AtomicBool::new(false);

/// Makes every panic of the process log its location only (the binary calls this first). Without it, the same holds
/// for panics inside supervised actors only, as soon as an `ActorSystem` exists.
pub fn install_panic_hook() {
    WHOLE_PROCESS.store(true, Ordering::Relaxed);
    install_recorder();
}

/// Installs the hook that notes the location of panics in guarded code; others go to the hook before it.
pub(super) fn install_recorder() {
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let location = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let guarded = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
            if guarded {
                // the supervisor logs it, once, with the actor's name
                let _ = LOCATION.try_with(|slot| {
                    if let Ok(mut slot) = slot.try_borrow_mut() {
                        *slot = Some(location);
                    }
                });
            } else if WHOLE_PROCESS.load(Ordering::Relaxed) {
                log_location(&location, info);
            } else {
                previous(info);
            }
        }));
    });
}

fn log_location(location: &str, info: &PanicHookInfo<'_>) {
    let payload = payload_kind(info.payload());
    if tracing::dispatcher::has_been_set() {
        tracing::error!(location, payload, "panic");
    } else {
        let _ = writeln!(std::io::stderr(), "panic at {location} ({payload} payload)");
    }
}

fn payload_kind(payload: &(dyn Any + Send)) -> &'static str {
    if payload.is::<&'static str>() {
        "str"
    } else if payload.is::<String>() {
        "string"
    } else {
        "other"
    }
}

struct Scope;

impl Scope {
    fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// Runs `body`; a panic becomes a report.
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, PanicReport> {
    let _scope = Scope::enter();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let report = PanicReport {
            location: LOCATION.with(|slot| slot.borrow_mut().take()).unwrap_or_else(|| "unknown".to_owned()),
            payload: payload_kind(payload.as_ref()),
        };
        // a payload may panic in its own drop
        let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
        report
    })
}

struct Guarded<'a, T>(Option<LocalBoxFuture<'a, T>>);

impl<T> Future for Guarded<'_, T> {
    type Output = Result<T, PanicReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else {
            return Poll::Pending;
        };
        match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(report) => {
                // never polled again; what its locals do when dropped is guarded too
                let future = self.0.take();
                let _ = guard(move || drop(future));
                Poll::Ready(Err(report))
            }
        }
    }
}

impl<T> Drop for Guarded<'_, T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            let _ = guard(move || drop(future));
        }
    }
}

/// Makes and drives a future; a panic in the making, in a poll or in a drop becomes a report.
pub(super) async fn guarded<'a, T>(make: impl FnOnce() -> LocalBoxFuture<'a, T>) -> Result<T, PanicReport> {
    let future = guard(make)?;
    Guarded(Some(future)).await
}
