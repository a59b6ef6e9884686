//! The session of the proxy, or why there is none: at the start its peer may be down, and later a refusal may close it.

use std::time::Duration;

use blindbox_attestation::{AttestationError, Category, ManagedSession, ManagedStatus, Policy, Session, Verifier};
use tokio::sync::Notify;

use crate::exit::Failure;
use crate::log;
use crate::terminal::with_progress;

/// A session that is tried again on requests, and in the background while none can be sent.
pub struct ProxySession {
    managed: ManagedSession,
    /// How long a peer is left alone after an attempt that failed.
    retry_pause: Duration,
    lost: Notify,
}

/// What a peer is that cannot be attested at the start for want of a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It may come up later.
    Anyway,
    /// The end of the program.
    Attested,
}

impl ProxySession {
    /// A peer that was tried once. A refusal is an error whatever `start` says.
    pub async fn open(
        verifier: Verifier,
        url: &str,
        policy: Policy,
        start: Start,
        retry_pause: Duration,
    ) -> Result<Self, Failure> {
        let managed = verifier.managed_session(url, &policy)?.cool_down(retry_pause);
        let peer = Self { managed, retry_pause, lost: Notify::new() };
        match with_progress(&format!("attesting {url}"), peer.managed.session()).await {
            Ok(_) => {}
            Err(error) if start == Start::Anyway && error.category() == Category::Unavailable => peer.lost.notify_one(),
            Err(error) => return Err(error.into()),
        }
        Ok(peer)
    }

    /// The session that requests go to, closed or not, or why there is none.
    pub fn session(&self) -> Result<Session, AttestationError> {
        match self.managed.status() {
            ManagedStatus::Open(session) | ManagedStatus::Closed { session: Some(session), .. } => Ok(session),
            ManagedStatus::Closed { reason, .. } => Err(reason),
            _ => Err(AttestationError::AttestationExpired),
        }
    }

    /// Why requests are not sent at the moment, if they are not.
    pub fn not_ready(&self) -> Option<AttestationError> {
        match self.managed.status() {
            ManagedStatus::Open(_) => None,
            ManagedStatus::Closed { reason, .. } => Some(reason),
            _ => Some(AttestationError::AttestationExpired),
        }
    }

    /// Tries the session again that a request has found closed, but not within the pause after an attempt that failed. Requests that
    /// come during an attempt share its outcome.
    pub async fn reopen(&self, closed: AttestationError) -> Result<(), AttestationError> {
        self.lost.notify_one();
        match self.managed.status() {
            ManagedStatus::Closed { retry_after, .. } if !retry_after.is_zero() => Err(closed),
            _ => self.managed.session().await.map(drop),
        }
    }

    /// Has a peer tried again, without end, for as long as requests are not sent. `opened` is called whenever they are again.
    pub async fn keep_open(&self, opened: impl Fn(&Session)) {
        loop {
            self.lost.notified().await;
            let mut reported = None;
            while let Some(reason) = self.not_ready() {
                // Once for each reason: a peer may be down for days.
                if reported != Some(reason.code()) {
                    reported = Some(reason.code());
                    log::error(reason.code(), &reason.to_string());
                }
                tokio::time::sleep(self.retry_pause).await;
                // Why it failed, the state says.
                let _ = self.managed.session().await;
            }
            if let Ok(session) = self.session() {
                opened(&session);
            }
        }
    }
}
