//! Every error of an attestation through MAA: made by a fault of the emulator, met through the public interface. A file a category.

macro_rules! assert_error {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
        error
    }};
}

/// The most severe violation is this one.
macro_rules! assert_rejected {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(error.violation(), Some($pattern) $(if $guard)?), "{error:?}");
        error
    }};
}

mod causes;
mod misconfigured;
mod rejected;
mod unavailable;
mod untrusted;

use blindbox_attestation::emulator::Knob;
use blindbox_attestation::{AttestationError, Policy};

use crate::lab::Lab;

type Change = fn(Policy) -> Policy;

/// A connection with another policy, to a peer with a knob turned.
async fn refused(lab: &Lab, knob: Knob, policy: Change) -> AttestationError {
    lab.blindbox.reset();
    lab.blindbox.set(knob);
    let error = lab.verifier().connect(lab.blindbox.url(), &policy(lab.policy())).await.unwrap_err();
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

fn same(policy: Policy) -> Policy {
    policy
}
