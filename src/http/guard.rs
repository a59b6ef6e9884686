//! How long an exchange may continue: until its peer is refused, or its attestation has ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::attestation::Attestation;
use crate::error::AttestationError;

/// Resolves to the reason why nothing more may be exchanged with a peer, once there is one.
pub(crate) type Cancelled = Pin<Box<dyn Future<Output = AttestationError> + Send + Sync>>;

/// An exchange with an attested peer. It is over when this is dropped.
pub(crate) trait Guard: Send + Sync + 'static {
    /// Returns the reason why nothing more may be exchanged, if there is one now: the refusal of the peer, or the end of its
    /// attestation if that was `grace` ago.
    fn cancelled(&self, grace: Duration) -> Option<AttestationError>;

    /// Waits for the reason that [`Guard::cancelled`] returns. A renewal extends it.
    fn until_cancelled(&self, grace: Duration) -> Cancelled;

    /// Returns the latest attestation of the peer.
    fn attestation(&self) -> Arc<Attestation>;
}
