//! Step 4b: binds the evidence to the challenge: to this nonce and this channel. The only file that computes the report data.
//!
//! | evidence | what binds it |
//! |---|---|
//! | hardware report | `REPORT_DATA` = SHA-256(runtime data), then 32 zero bytes |
//! | the same behind the paravisor of a confidential VM | `extraData` of the quote = SHA-256(runtime data); the report covers the key of the quote; `user-data` in it covers the statement about the TLS key |
//! | token, top level `sevsnpvm` | the same, in `x-ms-sevsnpvm-reportdata`; and `x-ms-runtime` equals the runtime data |
//! | the same of a confidential VM (`azure-compliant-cvm`) | `x-ms-runtime.user-data` = SHA-256(runtime data), then 32 zero bytes: the report covers the claims of the paravisor |
//! | the same beside a hardware report and a quote | both have the same report data; the quote as above |
//! | token, `tdxvm` | `x-ms-runtime.user-data`, as of the direct token of a confidential VM |
//! | token, `azurevm` | `x-ms-runtime.client-payload` is `{"nonce": base64(hex(SHA-256(runtime data)))}`; only MAA verifies the vTPM's quote over it |

use crate::azure_vm::{AzureVmClaims, RuntimeClaims};
use crate::challenge::{Challenge, Named, Peer, key_statement, read_key_config};
use crate::claims::TokenShape;
use crate::cross_check::ConsistentEvidence;
use crate::crypto;
use crate::error::{AttestationError, ChannelNotBound};
use crate::evidence::Evidence;
use crate::maa::VerifiedToken;
use crate::message::key_config::KeyConfig;
use crate::policy::COMPLIANT_CVM;
use crate::types::{ReportData, SpkiDigest, UnixTime, UserData, difference, shorten};

/// How far our clock may be ahead of the clock that wrote `iat`, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// Checks that the evidence was made for this challenge and, if the channel is bound, covers the peer's own key.
///
/// `received` has the runtime data that the agent claims to have attested, which are only compared with the expected ones. Those of a
/// message key are computed from the key configuration that came with them. Returns that configuration: the evidence covers it.
pub(crate) fn check_challenge(
    evidence: &ConsistentEvidence,
    received: &Evidence,
    challenge: &Challenge,
) -> Result<Option<KeyConfig>, AttestationError> {
    let (expected, message_key) = match challenge.peer() {
        Peer::BoundMessage { .. } => {
            let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed };
            let config = read_key_config(received.key_config.as_deref().ok_or(not_named)?)?;
            (challenge.runtime_data_of(&config), Some(config))
        }
        _ => (challenge.runtime_data(), None),
    };
    if let Peer::Bound { .. } | Peer::BoundConnection { .. } | Peer::BoundMessage { .. } = challenge.peer() {
        let claimed = received
            .runtime_data
            .as_deref()
            .ok_or(AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData })?;
        if !crypto::constant_time_eq(claimed, &expected) {
            return Err(mismatch(&expected, claimed, challenge));
        }
    }
    check_runtime_data(evidence, &expected)?;
    if let Some(token) = &evidence.token {
        issued_after(token.maa().issued_at, challenge.made_at())?;
    }
    Ok(message_key)
}

/// Returns the error for runtime data that are not the expected ones: another key or connection means a relay, another form an agent
/// that does not know the one of the policy, another nonce a replay.
fn mismatch(expected: &[u8], claimed: &[u8], challenge: &Challenge) -> AttestationError {
    let named = Named::parse(claimed, challenge.nonce());
    match (challenge.peer(), named) {
        (Peer::Bound { key, .. }, Some(Named::Key(attested))) if attested != key => {
            AttestationError::ChannelMismatch { attested, connected: key }
        }
        (Peer::BoundConnection { key, .. }, Some(Named::Connection { key: attested, .. })) if attested != key => {
            AttestationError::ChannelMismatch { attested, connected: key }
        }
        (Peer::BoundConnection { exporter, .. }, Some(Named::Connection { exporter: attested, .. })) => {
            AttestationError::ConnectionMismatch { attested, connected: exporter }
        }
        (Peer::BoundConnection { .. }, Some(Named::Key(_))) => {
            AttestationError::ChannelNotBound { reason: ChannelNotBound::ConnectionNotNamed }
        }
        (Peer::BoundMessage { .. }, Some(Named::Key(_) | Named::Connection { .. })) => {
            AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed }
        }
        _ => false_report("runtime data", &String::from_utf8_lossy(expected), &String::from_utf8_lossy(claimed)),
    }
}

/// Checks that token and report both cover exactly this runtime data.
fn check_runtime_data(evidence: &ConsistentEvidence, runtime_data: &[u8]) -> Result<(), AttestationError> {
    let digest = crypto::sha256(runtime_data);
    if let Some(vm) = &evidence.vm {
        check_quote(vm, &digest)?;
    } else if let Some(report) = &evidence.report {
        check_report_data(&report.snp().report_data, &digest)?;
    }
    let Some(token) = &evidence.token else { return Ok(()) };
    match token.maa().shape {
        TokenShape::SevSnpVm => {
            if evidence.vm.is_some() {
                // Token and report have the same report data, which cover the runtime claims. The quote under their key covers ours.
                return Ok(());
            }
            if token.maa().compliance_status.as_deref() == Some(COMPLIANT_CVM) {
                return check_user_data(token, &digest);
            }
            check_report_data(token.tee().report_data(), &digest)?;
            if !token.runtime_is(runtime_data) {
                return Err(false_report("x-ms-runtime", &String::from_utf8_lossy(runtime_data), "something else"));
            }
        }
        TokenShape::TdxVm => return check_user_data(token, &digest),
        TokenShape::AzureVm => {
            let expected = hex::encode(digest);
            let nonce = token.client_nonce().unwrap_or_default();
            if !crypto::constant_time_eq(nonce, expected.as_bytes()) {
                let actual = String::from_utf8_lossy(nonce);
                return Err(false_report("x-ms-runtime.client-payload.nonce", &expected, &actual));
            }
        }
    }
    Ok(())
}

/// Checks that recorded evidence covers these runtime data: as for a challenge, or they are the claims of the paravisor in a direct token
/// of a confidential VM, which its report covers byte for byte. No challenge has that form.
pub(crate) fn check_recorded_runtime_data(
    evidence: &ConsistentEvidence,
    runtime_data: &[u8],
) -> Result<(), AttestationError> {
    let is_direct = |token: &&VerifiedToken| match token.maa().shape {
        TokenShape::SevSnpVm => token.maa().compliance_status.as_deref() == Some(COMPLIANT_CVM),
        TokenShape::TdxVm => true,
        TokenShape::AzureVm => false,
    };
    match evidence.token.as_ref().filter(is_direct) {
        Some(token) if evidence.vm.is_none() && token.runtime_is(runtime_data) => {
            check_report_data(token.tee().report_data(), &crypto::sha256(runtime_data))
        }
        _ => check_runtime_data(evidence, runtime_data),
    }
}

/// Checks that the runtime claims of a confidential VM carry the digest: the report covers the claims of the paravisor, and they the
/// data of the guest.
///
/// Only the claims of a paravisor are read, as under AMD trust: in any other JSON, the requester of the report chose what
/// `user-data` means.
fn check_user_data(token: &VerifiedToken, digest: &[u8; 32]) -> Result<(), AttestationError> {
    let expected = UserData::new(*ReportData::of_digest(digest).as_bytes());
    let actual = match token.runtime().map(|runtime| RuntimeClaims::read(runtime.as_bytes())) {
        Some(Ok(claims)) => match claims.user_data {
            Some(actual) if crypto::constant_time_eq(actual.as_bytes(), expected.as_bytes()) => return Ok(()),
            Some(actual) => actual.to_string(),
            None => "none".to_owned(),
        },
        Some(Err(reason)) => format!("not the claims of a paravisor: {reason}"),
        None => "none".to_owned(),
    };
    Err(false_report("x-ms-runtime.user-data", &expected.to_string(), &actual))
}

/// Returns the `user-data` of a report that was made after this TLS key: the digest of the agent's statement about the key.
///
/// The agent writes it once, after it made the key at its start. A report of an earlier boot, of another paravisor or configuration
/// perhaps, names the same attestation key and goes with a fresh quote; but it cannot carry a key that did not exist then.
pub(crate) fn user_data_of_key(key: &SpkiDigest) -> UserData {
    let digest = crypto::sha256(key_statement(key).as_bytes());
    UserData::new(*ReportData::of_digest(&digest).as_bytes())
}

/// Checks that the quote of a confidential VM covers the runtime data. The report behind a paravisor covers its runtime claims
/// instead, and they name the key of the quote.
fn check_quote(vm: &AzureVmClaims, digest: &[u8; 32]) -> Result<(), AttestationError> {
    let quote = vm.quote.as_ref();
    let quote = quote.ok_or(AttestationError::MissingEvidence { what: "a quote of the virtual TPM" })?;
    if crypto::constant_time_eq(quote.extra_data(), digest) {
        return Ok(());
    }
    Err(false_report("quote extra data", &hex::encode(digest), &hex::encode(quote.extra_data())))
}

/// Checks report data against the formula: the SHA-256 of the runtime data, then 32 zero bytes, compared in full.
fn check_report_data(report_data: &ReportData, digest: &[u8; 32]) -> Result<(), AttestationError> {
    let expected = ReportData::of_digest(digest);
    if crypto::constant_time_eq(report_data.as_bytes(), expected.as_bytes()) {
        return Ok(());
    }
    Err(false_report("report data", &expected.to_string(), &report_data.to_string()))
}

/// Checks that a token was not issued before the challenge was made.
fn issued_after(issued_at: UnixTime, made_at: UnixTime) -> Result<(), AttestationError> {
    if issued_at >= made_at.minus(LEEWAY_SECONDS) {
        return Ok(());
    }
    // The token is signed by the expected instance, so that a wrong clock is a more likely reason than a replay.
    let found = format!("{issued_at}, {} before: compare the clocks first", difference(&made_at, &issued_at));
    Err(false_report("a token issued after", &made_at.to_string(), &found))
}

fn false_report(what: &'static str, expected: &str, actual: &str) -> AttestationError {
    AttestationError::FalseAttestationReport { what, expected: shorten(expected, 300), actual: shorten(actual, 300) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_differs_300_characters_are_shown() {
        let (whole, long) = ("a".repeat(300), "a".repeat(301));
        let cut = format!("{whole}…");
        for (expected, actual, shown) in [(&whole, &long, (&whole, &cut)), (&long, &whole, (&cut, &whole))] {
            let error = false_report("runtime data", expected, actual);
            let (expected, actual) = (shown.0.clone(), shown.1.clone());
            assert_eq!(error, AttestationError::FalseAttestationReport { what: "runtime data", expected, actual });
        }
    }
}
