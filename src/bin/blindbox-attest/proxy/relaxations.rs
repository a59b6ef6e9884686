//! The relaxations of the policy that an attestation used: reported at the start and at each change.

use std::sync::{Mutex, PoisonError};

use blindbox_attestation::{Attestation, Check, UnixTime, Verdict};
use serde_json::{Value, json};

use crate::log::{self, TARGET};

/// The relaxations that one attestation used: every check whose value differs, and is allowed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Relaxations(Vec<Check>);

impl Relaxations {
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
    relaxations: Relaxations,
}

impl AttestationLog {
    /// `first` was reported at the start, if there was one.
    pub fn new(first: Option<&Attestation>) -> Self {
        let reported =
            first.map(|first| Reported { expires_at: Some(first.expires_at()), relaxations: Relaxations::of(first) });
        let log = Self(Mutex::new(reported.unwrap_or_default()));
        if let Some(first) = first {
            event("attested", first, &Relaxations::of(first));
        }
        log
    }

    /// To be called with the latest attestation after each request.
    pub fn observe(&self, attested: &Attestation) {
        let expires_at = Some(attested.expires_at());
        let relaxations = Relaxations::of(attested);
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = reported.expires_at.is_none();
        let is_new = reported.expires_at != expires_at;
        let is_different = reported.relaxations != relaxations;
        *reported = Reported { expires_at, relaxations: relaxations.clone() };
        drop(reported);
        if is_new || is_different {
            event(if is_first { "attested" } else { "renewed" }, attested, &relaxations);
        }
        // To a person, who would not read that nothing has changed.
        if (is_first || is_different) && !log::is_json() {
            let renewed = if is_first { "" } else { "renewed: " };
            log::note(&format!("{renewed}attested until {}{}", attested.expires_at(), relaxations.summary()));
            relaxations.lines().iter().for_each(|line| log::note(line));
        }
    }
}

fn event(what: &str, attested: &Attestation, relaxations: &Relaxations) {
    let allowed = relaxations.names().join(", ");
    tracing::info!(target: TARGET, expires_at = %attested.expires_at(), allowed, "{what}");
}
