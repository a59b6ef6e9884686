//! The session of the proxy, or why there is none: at the start its peer may be down, and later a refusal may close it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blindbox_attestation::{AttestationError, Category, Policy, Session, Verifier};
use tokio::sync::Notify;

use crate::exit::Failure;
use crate::log;
use crate::terminal::with_progress;

/// How a peer is opened and kept open.
pub struct Peer {
    verifier: Verifier,
    url: String,
    policy: Policy,
    state: Mutex<State>,
    /// When the peer was last tried. Held for as long as an attempt takes: there is one at a time.
    tried: tokio::sync::Mutex<Option<Instant>>,
    /// How long a peer is left alone after an attempt.
    retry_pause: Duration,
    lost: Notify,
}

struct State {
    session: Option<Session>,
    /// Why requests are not sent at the moment.
    reason: Option<AttestationError>,
}

/// What a peer is that cannot be attested at the start for want of a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It may come up later.
    Anyway,
    /// The end of the program.
    Attested,
}

impl Peer {
    /// A peer that was tried once. A refusal is an error whatever `start` says.
    pub async fn open(
        verifier: Verifier,
        url: &str,
        policy: Policy,
        start: Start,
        retry_pause: Duration,
    ) -> Result<Self, Failure> {
        let first = with_progress(&format!("attesting {url}"), verifier.connect(url, &policy)).await;
        let (session, reason) = match first {
            Ok(session) => (Some(session), None),
            Err(error) if start == Start::Anyway && error.category() == Category::Unavailable => (None, Some(error)),
            Err(error) => return Err(error.into()),
        };
        let lost = Notify::new();
        if session.is_none() {
            lost.notify_one();
        }
        let tried = tokio::sync::Mutex::new(session.is_none().then(Instant::now));
        let state = Mutex::new(State { session, reason });
        Ok(Self { verifier, url: url.to_owned(), policy, state, tried, retry_pause, lost })
    }

    /// The session that requests go to, or why there is none.
    pub fn session(&self) -> Result<Session, AttestationError> {
        self.with_state(|state| match (&state.session, &state.reason) {
            (Some(session), _) => Ok(session.clone()),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => Err(AttestationError::AttestationExpired),
        })
    }

    /// Why requests are not sent at the moment, if they are not.
    pub fn not_ready(&self) -> Option<AttestationError> {
        self.with_state(|state| state.reason.clone())
    }

    /// A request found the session closed.
    pub fn closed(&self, reason: &AttestationError) {
        self.with_state(|state| state.reason = Some(reason.clone()));
        self.lost.notify_one();
    }

    /// Tries a closed session again: one caller at a time, and not within the pause after the last attempt.
    pub async fn reopen(&self, closed: AttestationError) -> Result<(), AttestationError> {
        let requested = Instant::now();
        let mut tried = self.tried.lock().await;
        // Others may have opened it while this one waited; if not, the session will say so.
        if tried.is_some_and(|tried| tried > requested) {
            return Ok(());
        }
        if tried.is_some_and(|tried| tried.elapsed() < self.retry_pause) {
            return Err(closed);
        }
        // Beforehand, since a client that hangs up ends this here.
        *tried = Some(Instant::now());
        let outcome = self.attempt().await;
        *tried = Some(Instant::now());
        outcome
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
                let _ = self.reopen(reason).await;
            }
            if let Ok(session) = self.session() {
                opened(&session);
            }
        }
    }

    async fn attempt(&self) -> Result<(), AttestationError> {
        let known = self.with_state(|state| state.session.clone());
        let outcome = match known {
            Some(session) => session.reattest().await.map(|_| session),
            None => self.verifier.connect(&self.url, &self.policy).await,
        };
        self.with_state(|state| match outcome {
            Ok(session) => {
                *state = State { session: Some(session), reason: None };
                Ok(())
            }
            Err(error) => {
                state.reason = Some(error.clone());
                Err(error)
            }
        })
    }

    fn with_state<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
