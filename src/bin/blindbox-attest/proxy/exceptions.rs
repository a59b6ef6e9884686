//! What the policy let pass although it is not as is safe: said at the start, and again whenever it changes.

use std::sync::{Mutex, PoisonError};

use blindbox_attestation::{Attestation, Check, UnixTime, Verdict};
use serde_json::{Value, json};

use crate::log::{self, TARGET};

/// The exceptions of one attestation: every check that the policy allows to differ.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<Check>);

impl Exceptions {
    pub fn of(attested: &Attestation) -> Self {
        let checks = attested.appraisal().checks().iter();
        Self(checks.filter(|check| check.verdict == Verdict::Allowed).cloned().collect())
    }

    /// Behind "attested": nothing where there are none.
    pub fn summary(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        format!(" with exceptions that the policy allows: {}", self.names().join(", "))
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|check| check.name).collect()
    }

    /// One line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|check| format!("ALLOWED {}: {}", check.name, check.actual)).collect()
    }

    pub fn json(&self) -> Value {
        json!(self.0)
    }
}

/// Reports attestations when they change.
pub struct AttestationLog(Mutex<Reported>);

#[derive(Default)]
struct Reported {
    expires_at: Option<UnixTime>,
    exceptions: Exceptions,
}

impl AttestationLog {
    /// `first` was reported at the start, if there was one.
    pub fn new(first: Option<&Attestation>) -> Self {
        let reported =
            first.map(|first| Reported { expires_at: Some(first.expires_at()), exceptions: Exceptions::of(first) });
        let log = Self(Mutex::new(reported.unwrap_or_default()));
        if let Some(first) = first {
            event("attested", first, &Exceptions::of(first));
        }
        log
    }

    /// To be called with the latest attestation after each request.
    pub fn observe(&self, attested: &Attestation) {
        let expires_at = Some(attested.expires_at());
        let exceptions = Exceptions::of(attested);
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = reported.expires_at.is_none();
        let is_new = reported.expires_at != expires_at;
        let is_different = reported.exceptions != exceptions;
        *reported = Reported { expires_at, exceptions: exceptions.clone() };
        drop(reported);
        if is_new || is_different {
            event(if is_first { "attested" } else { "renewed" }, attested, &exceptions);
        }
        // To a person, who would not read that nothing has changed.
        if (is_first || is_different) && !log::is_json() {
            let renewed = if is_first { "" } else { "renewed: " };
            log::note(&format!("{renewed}attested until {}{}", attested.expires_at(), exceptions.summary()));
            exceptions.lines().iter().for_each(|line| log::note(line));
        }
    }
}

fn event(what: &str, attested: &Attestation, exceptions: &Exceptions) {
    let allowed = exceptions.names().join(", ");
    tracing::info!(target: TARGET, expires_at = %attested.expires_at(), allowed, "{what}");
}
