//! How a peer stands: its attestation, and its refusal if there was one. Whatever is under way with the peer looks at it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::life::Life;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::types::SpkiDigest;

/// How often what is under way looks at the wall clock, which may be set.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(1);

/// Ends with the reason why nothing more may be exchanged with a peer; never before.
pub(super) type Ending = Pin<Box<dyn Future<Output = AttestationError> + Send + Sync>>;

/// See the module. Outlives its place in the session: a refusal is for everything that the key has begun.
pub(super) struct Standing {
    /// `None` for the one peer of a session that is not bound to keys.
    key: Option<SpkiDigest>,
    life: Mutex<Life>,
    refused: watch::Sender<Option<AttestationError>>,
    clock: Clock,
}

impl Standing {
    pub(super) fn new(key: Option<SpkiDigest>, life: Life, clock: Clock) -> Self {
        Self { key, life: Mutex::new(life), refused: watch::Sender::new(None), clock }
    }

    pub(super) fn key(&self) -> Option<SpkiDigest> {
        self.key
    }

    pub(super) fn life(&self) -> Life {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn renew(&self, life: Life) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    pub(super) fn refuse(&self, error: &AttestationError) {
        self.refused.send_replace(Some(error.clone()));
    }

    /// Whether a request, or the body of an answer, is under way. The session itself has one reference to it.
    pub(super) fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// The refusal, if there was one.
    pub(super) fn refusal(&self) -> Option<AttestationError> {
        self.refused.borrow().clone()
    }

    /// An error if nothing more may be sent.
    pub(super) fn check(&self) -> Result<(), AttestationError> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        if self.life().holds(&self.clock) { Ok(()) } else { Err(AttestationError::AttestationExpired) }
    }

    /// When what is under way has to end: when the peer is refused, or when its attestation has ended that long ago. What is
    /// waited for meanwhile may renew it.
    pub(super) fn ending(self: &Arc<Self>, grace: Duration) -> Ending {
        let (standing, mut refused) = (Arc::clone(self), self.refused.subscribe());
        Box::pin(async move {
            tokio::select! {
                biased;
                refusal = refused.wait_for(Option::is_some) => match refusal.ok().and_then(|error| error.clone()) {
                    Some(error) => error,
                    // The sender is in `standing`: it does not go.
                    None => AttestationError::AttestationExpired,
                },
                () = standing.over(grace) => AttestationError::AttestationExpired,
            }
        })
    }

    async fn over(&self, grace: Duration) {
        loop {
            let left = self.life().left(&self.clock, grace);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)).await;
        }
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Standing({:?})", self.key)
    }
}
