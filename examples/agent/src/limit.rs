//! How many attestations there may be.

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
