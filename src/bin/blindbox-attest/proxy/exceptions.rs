//! What the policy let pass although it is not as is safe: said at the start, and again whenever it changes.

use std::sync::{Mutex, PoisonError};

use blindbox_attestation::{Attestation, Check, Verdict};
use serde_json::{Value, json};

use crate::log;

/// The exceptions of one attestation: every check that the policy allows to differ.
#[derive(Clone, PartialEq, Eq)]
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
        let names: Vec<_> = self.0.iter().map(|check| check.name).collect();
        format!(" with exceptions that the policy allows: {}", names.join(", "))
    }

    /// One line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|check| format!("ALLOWED {}: {}", check.name, check.actual)).collect()
    }

    pub fn json(&self) -> Value {
        json!(self.0)
    }
}

/// Says when a renewal changed them.
pub struct ExceptionLog(Mutex<Exceptions>);

impl ExceptionLog {
    pub fn new(said: Exceptions) -> Self {
        Self(Mutex::new(said))
    }

    /// To be called with the latest attestation after each request.
    pub fn observe(&self, attested: &Attestation) {
        let now = Exceptions::of(attested);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *said == now {
            return;
        }
        *said = now.clone();
        drop(said);
        log::note(&format!("renewed: attested until {}{}", attested.expires_at(), now.summary()));
        now.lines().iter().for_each(|line| log::note(line));
    }
}
