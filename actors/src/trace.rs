//! Steps of a request that somebody may want to see: what it waited for, and how long.
//!
//! A request's task says that it listens ([`Steps::within`]); what it then waits for notes itself ([`step`], [`begin`]).
//! Where nobody listens nothing is noted. A step is a name of this program and two times, never a value of a request.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Steps of one request at most; further ones are not noted.
pub const STEPS_MAX: usize = 16;

tokio::task_local! {
    static LISTENING: Steps;
}

/// Something a request waited for.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What.
    pub name: &'static str,
    /// Since when.
    pub started: Instant,
    /// How long.
    pub took: Duration,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// The steps of one request; clones note into the same list.
#[derive(Clone, Debug, Default)]
pub struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    /// Runs a request whose steps are noted here.
    pub async fn within<T>(self, work: impl Future<Output = T>) -> T {
        LISTENING.scope(self, work).await
    }

    /// What was noted so far.
    pub fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.lock())
    }
}

/// The list of the request that this task works for, if somebody listens.
pub fn current() -> Option<Steps> {
    LISTENING.try_with(Clone::clone).ok()
}

/// Work that goes on in a task of its own and still notes its steps where this one does.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    carry(current(), work)
}

/// Work for a request whose list came with it.
pub async fn carry<F: Future>(steps: Option<Steps>, work: F) -> F::Output {
    match steps {
        Some(steps) => steps.within(work).await,
        None => work.await,
    }
}

/// A step under way; it has failed unless somebody says otherwise.
#[must_use]
pub struct Running(Option<(Steps, Step)>);

/// Begins a step.
pub fn begin(name: &'static str) -> Running {
    Running(current().map(|steps| (steps, Step { name, started: Instant::now(), took: Duration::ZERO, failed: true })))
}

impl Running {
    /// It came to something.
    pub fn done(mut self) {
        if let Some((_, step)) = &mut self.0 {
            step.failed = false;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((steps, step)) = self.0.take() {
            let mut noted = steps.0.lock();
            if noted.len() < STEPS_MAX {
                noted.push(Step { took: step.started.elapsed(), ..step });
            }
        }
    }
}

/// Notes how long `work` takes and whether it fails.
pub async fn step<T, E>(name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let running = begin(name);
    let result = work.await;
    if result.is_ok() {
        running.done();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn work(fails: bool) -> Result<(), ()> {
        tokio::task::yield_now().await;
        if fails { Err(()) } else { Ok(()) }
    }

    #[tokio::test]
    async fn steps_are_noted_where_somebody_listens_also_by_other_tasks() {
        let steps = Steps::default();
        steps
            .clone()
            .within(async {
                let _ = step("first", work(false)).await;
                let _ = tokio::spawn(carried(step("elsewhere", work(true)))).await;
                let _ = tokio::spawn(step("unheard", work(false))).await;
            })
            .await;
        let noted: Vec<_> = steps.take().iter().map(|s| (s.name, s.failed)).collect();
        assert_eq!(noted, [("first", false), ("elsewhere", true)]);
        assert!(current().is_none());
    }

    #[tokio::test]
    async fn a_list_has_an_end() {
        let steps = Steps::default();
        let all = async {
            for _ in 0..STEPS_MAX + 5 {
                begin("one").done();
            }
        };
        steps.clone().within(all).await;
        assert_eq!(steps.take().len(), STEPS_MAX);
    }
}
