//! How many attestations there may be, and how many connections of one caller.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;

/// A bucket that fills at a steady rate, and a number of places. It is one for all callers: behind a balancer they all have
/// one address, and a bucket for each address is no bound for somebody with many.
pub(crate) struct Limiter {
    per_second: f64,
    burst: f64,
    bucket: Mutex<(f64, Instant)>,
    places: Arc<Semaphore>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let burst = f64::from(limits.attestation_burst);
        Self {
            per_second: f64::from(limits.attestations_per_second),
            burst,
            bucket: Mutex::new((burst, Instant::now())),
            places: Arc::new(Semaphore::new(usize::try_from(limits.attestations_in_flight).unwrap_or(1))),
        }
    }

    /// Leave to attest, held until it is done.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = bucket.0 + now.duration_since(bucket.1).as_secs_f64() * self.per_second;
        *bucket = (filled.min(self.burst), now);
        if bucket.0 < 1.0 {
            return None;
        }
        bucket.0 -= 1.0;
        Some(place)
    }
}

/// How many connections each address has.
pub(crate) struct Callers {
    most: u32,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection of an address.
pub(crate) struct CallerPlace {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Callers {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, open: Arc::default() }
    }

    pub(crate) fn admit(&self, address: IpAddr) -> Option<CallerPlace> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.entry(address).or_insert(0);
        if *number >= self.most {
            return None;
        }
        *number += 1;
        Some(CallerPlace { address, open: Arc::clone(&self.open) })
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.get_mut(&self.address) {
            *number = number.saturating_sub(1);
            if *number == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Of IPv6 a caller has 64 bits to himself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_of_ipv6_is_one_caller_and_so_is_one_address_of_ipv4_however_written() {
        let callers = Callers::new(1);
        let admit = |address: &str| callers.admit(address.parse().unwrap());
        let first = admit("2001:db8::1");
        assert!(first.is_some() && admit("2001:db8::ffff:1").is_none());
        let (neighbour, old) = (admit("2001:db8:0:1::1"), admit("192.0.2.1"));
        assert!(neighbour.is_some() && old.is_some() && admit("::ffff:192.0.2.1").is_none());
        drop(first);
        assert!(admit("2001:db8::2").is_some());
        drop((neighbour, old));
        assert!(callers.open.lock().unwrap().is_empty());
    }
}
