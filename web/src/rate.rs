//! Limits of calls, in the order in which they are asked: of an address, before anybody looks who calls; of a key; of the
//! operator over all its keys. And coarse ones for the failures of an address and its looks at `/metrics`.
//!
//! Buckets are `governor`'s (GCRA). The maps of keys and operators are read without a lock; they grow only by what the
//! directory holds, so they have its size as their limit. An address' bucket is looked for once a connection.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::http::header::HeaderValue;
use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use models::ids::{KeyId, OperatorNo};
use parking_lot::Mutex;

use crate::cidr::neighbourhood;
use crate::lookup::answer::put_number;

/// Failed authentications a second of one address; the burst is [`FAILURES_BURST`].
pub const FAILURES_PER_SECOND: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// Failed authentications an address may have at once.
pub const FAILURES_BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Rows of batches a second that a key may ask for, for each request a second of its rate.
pub const ROWS_PER_REQUEST: u32 = 100;
/// Rows of the largest batch.
const ROWS_BURST_MIN: NonZeroU32 = NonZeroU32::new(crate::lookup::batch::ROWS_MAX as u32).unwrap();
/// Looks of one address at `/metrics` a second; the burst is [`SCRAPES_BURST`]. To write it costs a worker as much as
/// hundreds of lookups.
const SCRAPES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Looks of one address at `/metrics` at once.
const SCRAPES_BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Failures (or looks at `/metrics`) between two clean-ups of forgotten addresses.
const CLEAN_EVERY: u32 = 4096;
/// Addresses whose buckets are kept; beyond it those without a connection are forgotten.
const ADDRESSES_MAX: usize = 65_536;

/// Requests a second of whoever has no rate of its own.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Of an address (or /64 of IPv6), counted before anybody looks who calls.
    pub address_per_second: NonZeroU32,
    /// Of an operator, over all its keys.
    pub operator_per_second: NonZeroU32,
}

impl Default for Rates {
    fn default() -> Self {
        const EACH: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
        Self { address_per_second: EACH, operator_per_second: EACH }
    }
}

type Direct = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

struct Bucket {
    rate_per_second: u32,
    policy: HeaderValue,
    limiter: Direct,
}

/// What is left of a key's quota: goes into the headers of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Requests a second, which is also the burst.
    pub rate_per_second: u32,
    /// Requests that would pass right now.
    pub remaining: u32,
    /// Seconds after which one passes; 0 while some are left.
    pub wait_seconds: u32,
    /// Value of `RateLimit-Policy`, made once a key.
    pub policy: HeaderValue,
}

impl Quotas {
    /// Value of `RateLimit`.
    #[must_use]
    pub fn state(&self) -> HeaderValue {
        let mut text = Vec::with_capacity(32);
        text.extend_from_slice(b"\"key\";r=");
        put_number(&mut text, self.remaining.into());
        text.extend_from_slice(b";t=");
        put_number(&mut text, self.wait_seconds.max(1).into());
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"key\""))
    }
}

fn policy(rate_per_second: u32) -> HeaderValue {
    let text = format!("\"key\";q={rate_per_second};w=1");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"key\""))
}

/// Every limit of calls of this node.
pub struct Gate {
    rates: Rates,
    addresses: Mutex<HashMap<IpAddr, Arc<Plain>>>,
    operators: Buckets<OperatorNo>,
    keys: Buckets<KeyId>,
    rows: Buckets<KeyId>,
    failures: ByAddress,
    scrapes: ByAddress,
    clock: DefaultClock,
}

/// For `HttpServer::on_connect`: the bucket of the address at the other end, once it is known.
#[derive(Default)]
pub struct AddressSlot(OnceCell<Arc<Plain>>);

type Plain = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

impl Gate {
    /// With these rates.
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            addresses: Mutex::default(),
            operators: Buckets::default(),
            keys: Buckets::default(),
            rows: Buckets::default(),
            failures: ByAddress::new(FAILURES_PER_SECOND, FAILURES_BURST),
            scrapes: ByAddress::new(SCRAPES_PER_SECOND, SCRAPES_BURST),
            clock: DefaultClock::default(),
        }
    }
}

/// One bucket an address (or /64 of IPv6); those that are full again are forgotten now and then.
struct ByAddress {
    buckets: DefaultKeyedRateLimiter<IpAddr>,
    counted: AtomicU32,
}

impl ByAddress {
    fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let buckets = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Self { buckets, counted: AtomicU32::new(0) }
    }

    fn check(&self, address: IpAddr) -> Result<(), NotUntil<QuantaInstant>> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % CLEAN_EVERY == CLEAN_EVERY - 1 {
            self.buckets.retain_recent();
        }
        self.buckets.check_key(&neighbourhood(address))
    }
}

/// One bucket a key, read without a lock.
struct Buckets<K> {
    held: ArcSwap<HashMap<K, Arc<Bucket>>>,
    growing: Mutex<()>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { held: ArcSwap::default(), growing: Mutex::default() }
    }
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    fn with<T>(&self, key: K, rate: NonZeroU32, burst: NonZeroU32, act: impl FnOnce(&Bucket) -> T) -> T {
        let held = self.held.load();
        match held.get(&key) {
            Some(bucket) if bucket.rate_per_second == rate.get() => act(bucket),
            _ => act(&self.grow(key, rate, burst)),
        }
    }

    fn grow(&self, key: K, rate: NonZeroU32, burst: NonZeroU32) -> Arc<Bucket> {
        let _one_at_a_time = self.growing.lock();
        let held = self.held.load();
        if let Some(bucket) = held.get(&key).filter(|b| b.rate_per_second == rate.get()) {
            return Arc::clone(bucket);
        }
        let quota = Quota::per_second(rate).allow_burst(burst);
        let limiter = RateLimiter::direct(quota).with_middleware::<StateInformationMiddleware>();
        let bucket = Arc::new(Bucket { rate_per_second: rate.get(), policy: policy(rate.get()), limiter });
        let mut grown = HashMap::clone(&held);
        grown.insert(key, Arc::clone(&bucket));
        self.held.store(Arc::new(grown));
        bucket
    }
}

impl Gate {
    /// Counts one request of a key. `Err` where it is over its rate. A rate of 0 lets nothing pass.
    pub fn pass(&self, key: KeyId, rate_per_second: u32) -> Result<Quotas, Quotas> {
        let Some(rate) = NonZeroU32::new(rate_per_second) else {
            return Err(Quotas { rate_per_second, remaining: 0, wait_seconds: 60, policy: policy(0) });
        };
        self.keys.with(key, rate, rate, |bucket| self.count(bucket))
    }

    /// Counts one request of an address, before anybody looks who calls. `Err(seconds)` where it is over its rate. The
    /// bucket is kept with the connection in `slot`, where there is one.
    pub fn pass_address(&self, address: IpAddr, slot: Option<&AddressSlot>) -> Result<(), u32> {
        let checked = match slot {
            Some(slot) => slot.0.get_or_init(|| self.address(address)).check(),
            None => self.address(address).check(),
        };
        checked.map_err(|until| self.seconds(&until))
    }

    fn address(&self, address: IpAddr) -> Arc<Plain> {
        let mut held = self.addresses.lock();
        if held.len() >= ADDRESSES_MAX {
            held.retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
        let make = || Arc::new(RateLimiter::direct(Quota::per_second(self.rates.address_per_second)));
        Arc::clone(held.entry(neighbourhood(address)).or_insert_with(make))
    }

    /// Counts one request of an operator. `Err(seconds)` where all its keys together are over its rate.
    pub fn pass_operator(&self, operator: OperatorNo) -> Result<(), u32> {
        let rate = self.rates.operator_per_second;
        self.operators.with(operator, rate, rate, |bucket| match bucket.limiter.check() {
            Ok(_) => Ok(()),
            Err(until) => Err(self.seconds(&until)),
        })
    }

    fn seconds(&self, until: &NotUntil<QuantaInstant>) -> u32 {
        until.wait_time_from(self.clock.now()).as_secs_f64().ceil().max(1.0) as u32
    }

    /// Counts rows of a batch of a key, apart from its single lookups. `Err(seconds)` where it is over its rate.
    pub fn pass_rows(&self, key: KeyId, rate_per_second: u32, rows: NonZeroU32) -> Result<(), u32> {
        let Some(rate) = NonZeroU32::new(rate_per_second.saturating_mul(ROWS_PER_REQUEST)) else { return Err(60) };
        // the largest batch must pass whatever the rate
        let burst = rate.max(ROWS_BURST_MIN);
        self.rows.with(key, rate, burst, |bucket| match bucket.limiter.check_n(rows) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(until)) => Err(self.seconds(&until)),
            Err(_) => Err(60),
        })
    }

    fn count(&self, bucket: &Bucket) -> Result<Quotas, Quotas> {
        let (rate_per_second, policy) = (bucket.rate_per_second, bucket.policy.clone());
        match bucket.limiter.check() {
            Ok(left) => {
                let remaining = left.remaining_burst_capacity();
                Ok(Quotas { rate_per_second, remaining, wait_seconds: 0, policy })
            }
            Err(not_until) => {
                let wait_seconds = self.seconds(&not_until);
                Err(Quotas { rate_per_second, remaining: 0, wait_seconds, policy })
            }
        }
    }

    /// Counts a failed authentication; `Err(seconds)` where the address has had too many.
    pub fn failed(&self, address: IpAddr) -> Result<(), u32> {
        self.failures.check(address).map_err(|until| self.seconds(&until))
    }

    /// Counts a look at `/metrics`; `Err(seconds)` where the address looks too often.
    pub fn pass_scrape(&self, address: IpAddr) -> Result<(), u32> {
        self.scrapes.check(address).map_err(|until| self.seconds(&until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_burst_of_its_rate_and_keys_do_not_share() {
        let gate = Gate::new(Rates::default());
        let (one, other) = (KeyId(1), KeyId(2));
        let rate = 1_000_000;
        assert_eq!(gate.pass(one, rate).map(|q| q.rate_per_second), Ok(rate));
        // a rate of one a second cannot refill within the test's few microseconds twice over
        let passed = (0..50).filter(|_| gate.pass(other, 1).is_ok()).count();
        assert!((1..50).contains(&passed), "{passed} passed");
        let refused = gate.pass(other, 1).unwrap_err();
        assert_eq!((refused.remaining, refused.wait_seconds), (0, 1));
        assert!(gate.pass(one, rate).is_ok());
    }

    #[test]
    fn a_changed_rate_takes_effect_and_no_rate_is_no_call() {
        let gate = Gate::new(Rates::default());
        while gate.pass(KeyId(1), 1).is_ok() {}
        assert_eq!(gate.pass(KeyId(1), 500).map(|q| q.rate_per_second), Ok(500));
        assert!(gate.pass(KeyId(1), 0).is_err());
    }

    #[test]
    fn an_address_that_fails_often_waits_and_others_do_not() {
        let gate = Gate::new(Rates::default());
        let bad: IpAddr = "192.0.2.1".parse().unwrap();
        let refused = (0..1_000).filter(|_| gate.failed(bad).is_err()).count();
        assert!(refused > 900, "{refused} refused");
        assert!(gate.failed("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn figures_are_shown_to_each_address_a_few_times_a_second() {
        let gate = Gate::new(Rates::default());
        let often: IpAddr = "2001:db8::1".parse().unwrap();
        assert!((0..20).all(|_| gate.pass_scrape(often).is_ok()), "a burst");
        let neighbour = "2001:db8::2".parse().unwrap();
        let refused = (0..1_000).filter(|_| gate.pass_scrape(neighbour).is_err()).count();
        assert!(refused > 900, "{refused} refused");
        assert_eq!(gate.pass_scrape("192.0.2.1".parse().unwrap()), Ok(()));
        assert_eq!(gate.failed(often), Ok(()), "failures are counted apart");
    }

    #[test]
    fn an_address_has_one_bucket_over_its_connections() {
        let one = NonZeroU32::new(1).unwrap();
        let gate = Gate::new(Rates { address_per_second: one, operator_per_second: one });
        let (first, second) = (AddressSlot::default(), AddressSlot::default());
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(gate.pass_address(address, Some(&first)), Ok(()));
        let refused = (0..20).filter(|_| gate.pass_address(address, Some(&second)).is_err()).count();
        assert!(refused >= 18, "{refused}");
        drop((first, second));
        assert!((0..20).any(|_| gate.pass_address(address, None).is_err()), "closing connections forgives nothing");
        assert_eq!(gate.pass_address("192.0.2.2".parse().unwrap(), None), Ok(()));
    }

    #[test]
    fn an_operator_has_one_bucket_over_its_keys() {
        let one = NonZeroU32::new(1).unwrap();
        let gate = Gate::new(Rates { address_per_second: one, operator_per_second: one });
        let refused = (0..20).filter(|_| gate.pass_operator(OperatorNo(1)).is_err()).count();
        assert!(refused >= 18, "{refused}");
        assert_eq!(gate.pass_operator(OperatorNo(2)), Ok(()));
    }

    #[test]
    fn rows_have_a_quota_of_their_own() {
        let gate = Gate::new(Rates::default());
        let rows = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(gate.pass_rows(KeyId(1), 1, rows(10_000)), Ok(()));
        assert_eq!(gate.pass_rows(KeyId(1), 1, rows(10_000)), Err(100));
        assert!(gate.pass(KeyId(1), 1).is_ok());
        assert_eq!(gate.pass_rows(KeyId(2), 0, rows(1)), Err(60));
    }

    #[test]
    fn headers_are_structured_fields() {
        let quotas = Quotas { rate_per_second: 100, remaining: 7, wait_seconds: 0, policy: policy(100) };
        assert_eq!(quotas.policy, "\"key\";q=100;w=1");
        assert_eq!(quotas.state(), "\"key\";r=7;t=1");
    }
}
