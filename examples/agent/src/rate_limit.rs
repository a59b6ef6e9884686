//! How many attestations there may be, and how many connections and requests of one caller.
//!
//! A caller is an IPv4 address or an IPv6 /64, which is what one subscriber usually has. Everyone behind one NAT is one caller,
//! and so is everyone behind a balancer that hides addresses: there the limits per address are to be raised to the common ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Refusal;
use crate::config::Limits;

/// So many callers cost nothing to remember.
const FEWEST_TO_PURGE: usize = 64;

/// Attestations: a token bucket and a number of places for all callers, and a smaller share of both for each of them, so that
/// one caller cannot use up what is there for all.
pub(crate) struct Limiter {
    common: Rate,
    each: Rate,
    state: Arc<Mutex<State>>,
}

/// Tokens per second, the most tokens, and how many attestations may be under way at a time.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
    in_flight: u32,
}

struct State {
    common: Usage,
    /// Those who have less than a full share, and some who have it again. Only admissions add one, so the common bucket bounds
    /// how many there are.
    callers: HashMap<IpAddr, Usage>,
    /// At which number of them those with a full share are removed: twice what remained the last time, so that the cost of
    /// looking through them is constant for each admission.
    purge_at: usize,
}

struct Usage {
    tokens: f64,
    at: Instant,
    in_flight: u32,
}

/// Leave to attest, to be held until that is done.
pub(crate) struct AttestationPermit {
    caller: IpAddr,
    state: Arc<Mutex<State>>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let common = Rate {
            per_second: limits.attestations_per_second,
            burst: f64::from(limits.attestation_burst),
            in_flight: limits.attestations_in_flight,
        };
        let each = Rate {
            per_second: limits.attestations_per_second_per_address,
            burst: f64::from(limits.attestation_burst_per_address),
            in_flight: limits.attestations_in_flight_per_address,
        };
        let common_usage = Usage::none(common, Instant::now());
        let state = State { common: common_usage, callers: HashMap::new(), purge_at: FEWEST_TO_PURGE };
        Self { common, each, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn admit(&self, caller: IpAddr) -> Option<AttestationPermit> {
        self.admit_at(caller, Instant::now())
    }

    fn admit_at(&self, caller: IpAddr, now: Instant) -> Option<AttestationPermit> {
        let caller = network(caller);
        let mut state = lock(&self.state);
        state.common.refill(self.common, now);
        // The caller's own share first: who has used it up takes nothing from the others.
        let own_has_room = state.callers.get_mut(&caller).is_none_or(|own| {
            own.refill(self.each, now);
            own.has_room(self.each)
        });
        if !own_has_room || !state.common.has_room(self.common) {
            return None;
        }
        state.common.take();
        if state.callers.len() >= state.purge_at {
            state.callers.retain(|_, usage| {
                usage.refill(self.each, now);
                usage.in_flight > 0 || usage.tokens < self.each.burst
            });
            state.purge_at = state.callers.len().saturating_mul(2).max(FEWEST_TO_PURGE);
        }
        state.callers.entry(caller).or_insert_with(|| Usage::none(self.each, now)).take();
        Some(AttestationPermit { caller, state: Arc::clone(&self.state) })
    }
}

impl Usage {
    fn none(rate: Rate, at: Instant) -> Self {
        Self { tokens: rate.burst, at, in_flight: 0 }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens, self.at) = ((self.tokens + elapsed * rate.per_second).min(rate.burst), now);
    }

    fn has_room(&self, rate: Rate) -> bool {
        self.tokens >= 1.0 && self.in_flight < rate.in_flight
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
        self.in_flight = self.in_flight.saturating_add(1);
    }
}

impl Drop for AttestationPermit {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.common.in_flight = state.common.in_flight.saturating_sub(1);
        if let Some(own) = state.callers.get_mut(&self.caller) {
            own.in_flight = own.in_flight.saturating_sub(1);
        }
    }
}

/// How many connections each caller has, or requests.
pub(crate) struct Callers {
    most: u32,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One of them, to be held until it is done.
pub(crate) struct CallerPermit {
    caller: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Callers {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, open: Arc::default() }
    }

    pub(crate) fn admit(&self, address: IpAddr) -> Option<CallerPermit> {
        let caller = network(address);
        let mut open = lock(&self.open);
        let number = open.entry(caller).or_insert(0);
        if *number >= self.most {
            return None;
        }
        *number += 1;
        Some(CallerPermit { caller, open: Arc::clone(&self.open) })
    }
}

impl Drop for CallerPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(number) = open.get_mut(&self.caller) {
            *number = number.saturating_sub(1);
            if *number == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

/// Places for requests, and how many of them each caller may have, so that one does not take every place.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    callers: Callers,
}

/// One of them, to be held until the request is done.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _own: CallerPermit,
}

/// Why a request finds no place.
#[derive(Clone, Copy)]
pub(crate) enum NoPlace {
    All,
    OfCaller,
}

impl Places {
    pub(crate) fn new(number: u32, per_caller: u32) -> Self {
        let free = Arc::new(Semaphore::new(usize::try_from(number).unwrap_or(1)));
        Self { free, callers: Callers::new(per_caller) }
    }

    /// The caller's own share first: who has used it up takes nothing from the others.
    pub(crate) fn admit(&self, caller: IpAddr) -> Result<Place, NoPlace> {
        let own = self.callers.admit(caller).ok_or(NoPlace::OfCaller)?;
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(|_| NoPlace::All)?;
        Ok(Place { _place: place, _own: own })
    }
}

impl From<NoPlace> for Refusal {
    fn from(reason: NoPlace) -> Self {
        let (status, text) = match reason {
            NoPlace::All => (StatusCode::SERVICE_UNAVAILABLE, "too many requests at the moment"),
            NoPlace::OfCaller => (StatusCode::TOO_MANY_REQUESTS, "too many requests of this address at the moment"),
        };
        Self { status, text }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An IPv4 address however it is written, or the /64 of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn limiter() -> Limiter {
        Limiter::new(&Limits {
            attestations_per_second: 4.0,
            attestation_burst: 8,
            attestations_in_flight: 4,
            attestations_per_second_per_address: 2.0,
            attestation_burst_per_address: 4,
            attestations_in_flight_per_address: 2,
            ..Limits::default()
        })
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller_and_so_is_one_address_of_ipv4_however_written() {
        let callers = Callers::new(1);
        let admit = |address: &str| callers.admit(ip(address));
        let first = admit("2001:db8::1");
        assert!(first.is_some() && admit("2001:db8::ffff:1").is_none());
        let (neighbour, old) = (admit("2001:db8:0:1::1"), admit("192.0.2.1"));
        assert!(neighbour.is_some() && old.is_some() && admit("::ffff:192.0.2.1").is_none());
        drop(first);
        assert!(admit("2001:db8::2").is_some());
        drop((neighbour, old));
        assert!(callers.open.lock().unwrap().is_empty());
    }

    #[test]
    fn one_address_has_a_share_of_the_places_unless_a_front_end_hides_it() {
        let good = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:8000\"\nnames = [\"a.example\"]\n";
        for (tables, share) in [
            ("", 512),
            ("[limits]\nrequests-in-flight = 4096", 512),
            ("[limits]\nrequests-in-flight-per-address = 7", 7),
            ("[message]", 2048),
            ("[message]\n[limits]\nrequests-in-flight-per-address = 7", 7),
        ] {
            let config = Config::from_toml(&format!("{good}{tables}")).unwrap();
            assert_eq!(config.requests_in_flight_per_address(), share, "{tables}");
        }
    }

    #[test]
    fn a_caller_that_attests_all_the_time_leaves_others_their_share() {
        let (limiter, begun) = (limiter(), Instant::now());
        let mut admitted = [0, 0];
        // For 100 s one caller asks every millisecond, from all over its /64, and another one once a second.
        for millisecond in 0..100_000_u32 {
            let now = begun + Duration::from_millis(millisecond.into());
            let greedy = ip(&format!("2001:db8::{:x}", millisecond % 0xffff));
            admitted[0] += usize::from(limiter.admit_at(greedy, now).is_some());
            if millisecond % 1000 == 999 {
                admitted[1] += usize::from(limiter.admit_at(ip("2001:db8:0:1::1"), now).is_some());
            }
        }
        assert_eq!(admitted[1], 100);
        // Its own burst and rate, give or take the last token.
        assert!((203..=204).contains(&admitted[0]), "{admitted:?}");
    }

    #[test]
    fn attestations_under_way_of_one_caller_leave_places_for_others() {
        let (limiter, now) = (limiter(), Instant::now());
        let admit = |address: &str| limiter.admit_at(ip(address), now);
        let first = (admit("192.0.2.1"), admit("192.0.2.1"));
        assert!(first.0.is_some() && first.1.is_some() && admit("192.0.2.1").is_none());
        let others = (admit("192.0.2.2"), admit("192.0.2.3"));
        assert!(others.0.is_some() && others.1.is_some());
        // All four places are taken, for any caller.
        assert!(admit("192.0.2.4").is_none());
        drop(first);
        assert!(admit("192.0.2.4").is_some());
    }

    #[test]
    fn the_common_limits_hold_for_callers_with_many_addresses_and_none_is_remembered_for_long() {
        let now = Instant::now();
        let admitted = |limiter: &Limiter, third: u8, now| {
            let from = |last| ip(&format!("192.0.{third}.{last}"));
            (0..=255).filter(|last| limiter.admit_at(from(*last), now).is_some()).count()
        };
        assert_eq!(admitted(&limiter(), 2, now), 8);
        let limits = Limits { attestation_burst: 100, attestations_in_flight: 1000, ..Limits::default() };
        let limiter = Limiter::new(&limits);
        let remembered = || limiter.state.lock().unwrap().callers.len();
        assert_eq!((admitted(&limiter, 2, now), remembered()), (100, 100));
        assert_eq!((admitted(&limiter, 3, now + Duration::from_secs(60)), remembered()), (100, 100));
    }
}
