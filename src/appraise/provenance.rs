//! Checks of the connection and of the sources of evidence, keys and anchors.

use super::{AppraisalBuilder, AppraisalInput};
use crate::azure_vm::VerifiedAkCertificate;
use crate::challenge::{Channel, ServerNameCheck};
use crate::claims::MaaClaims;
use crate::error::Violation;
use crate::evidence::KeySetSource;
use crate::policy::{Policy, Requirement, UvmRequirement};
use crate::snp::VerifiedReport;
use crate::types::shorten;

/// Checks the connection: is the evidence about the peer, and is it fresh?
pub(super) fn connection(checks: &mut AppraisalBuilder, input: &AppraisalInput<'_>, policy: &Policy) {
    const BOUND: &str = "bound to the attested TLS key";
    const BOUND_CONNECTION: &str = "bound to this TLS connection and the attested TLS key";
    const BOUND_MESSAGE: &str = "each message sealed to the attested message key";
    let Some((channel, server_name)) = input.channel else {
        checks.not_evaluated("channel", "recorded evidence has no channel", "none");
        checks.not_evaluated("freshness", "recorded evidence has no nonce of ours", "none");
        return;
    };
    match channel {
        Channel::Bound => checks.passed("channel", BOUND, BOUND),
        Channel::BoundConnection => checks.passed("channel", BOUND_CONNECTION, BOUND_CONNECTION),
        Channel::BoundMessage => checks.passed("channel", BOUND_MESSAGE, BOUND_MESSAGE),
        Channel::UnboundTls => {
            checks.allowed("channel", BOUND, "NOT BOUND: TLS, but the evidence does not name the peer's key");
        }
        Channel::UnboundCleartext => {
            checks.allowed("channel", BOUND, "NOT BOUND AND IN CLEAR: anyone on the path reads and changes everything");
        }
    }
    match server_name {
        ServerNameCheck::Validated => checks.passed("server name", "validated", "validated"),
        // The front end chooses among all instances that the policy accepts.
        ServerNameCheck::ValidatedFrontEnd => {
            checks.passed("server name", "validated (front end)", "validated (front end)");
        }
        ServerNameCheck::NotEvaluated if channel == Channel::UnboundCleartext => {
            checks.not_evaluated("server name", "plain HTTP has no certificate: nothing says who the peer is", "any");
        }
        ServerNameCheck::NotEvaluated => checks.not_evaluated(
            "server name",
            "goes by the attested key alone (proves what runs, not whose instance it is)",
            "any",
        ),
    }
    key_exchange(checks, input.key_exchange, policy);
    checks.passed("freshness", "made for our nonce", "made for our nonce");
    if let Some(seconds) = policy.requirements().max_session_age_seconds {
        // Shown only: the session's lifetime is set from the policy in `crate::verify`.
        let (expected, ends) = (format!("at most {seconds} s"), format!("ends after {seconds} s at the latest"));
        checks.of(Requirement::MaxSessionAge).passed("session age", expected, ends);
    }
}

/// Key exchange groups of TLS that are or contain ML-KEM (FIPS 203), by their IANA names, and X-Wing, which messages are sealed with.
const POST_QUANTUM: &[&str] =
    &["X-Wing", "X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "MLKEM512", "MLKEM768", "MLKEM1024"];

/// Checks the key exchange: traffic that is recorded today must not be decrypted by a quantum computer later.
fn key_exchange(checks: &mut AppraisalBuilder, group: Option<&str>, policy: &Policy) {
    const NAME: &str = "key exchange";
    if !policy.requirements().post_quantum {
        // Callers with their own connections may not know the group.
        if let Some(group) = group {
            checks.passed(NAME, "any group", group.to_owned());
        }
        return;
    }
    let actual = group.unwrap_or("a group that is not known").to_owned();
    let holds = group.is_some_and(|group| POST_QUANTUM.contains(&group));
    let checks = &mut checks.of(Requirement::PostQuantum);
    checks.require_text(NAME, holds, "a post-quantum group".to_owned(), actual, |_, actual| {
        Violation::NotPostQuantum { actual }
    });
}

/// Checks the sources of the evidence and of the keys that verified it.
pub(super) fn sources(checks: &mut AppraisalBuilder, input: &AppraisalInput<'_>, policy: &Policy) {
    match &input.tee.token {
        Some(token) => {
            maa_token(checks, token.maa());
            key_set(checks, input.key_set_source);
        }
        None => checks.not_evaluated("maa token", "not asked: the policy trusts AMD alone", "none"),
    }
    match &input.tee.report {
        Some(report) => {
            let (name, expected) = ("hardware report", "signed down to AMD's root");
            if report.has_custom_anchors() {
                checks.allowed(name, expected, format!("signed down to the CALLER'S OWN {} root", report.product()));
            } else {
                checks.passed(name, expected, format!("signed down to AMD's {} root", report.product()));
            }
        }
        None => checks.not_evaluated("hardware report", "not asked: the policy trusts MAA's check of it", "none"),
    }
    anchors(checks, input, policy);
}

fn maa_token(checks: &mut AppraisalBuilder, maa: &MaaClaims) {
    const NAME: &str = "maa token";
    let checks = &mut checks.of(Requirement::MaaIssuer);
    let signed = format!("signed by {}, key {}", maa.issuer, shorten(&maa.key_id, 64));
    if maa.issuer.is_test_ring() {
        checks.allowed(NAME, "signed by a production instance", format!("TEST RING of Azure: {signed}"));
    } else {
        checks.passed(NAME, "signed by the named MAA instance", signed);
    }
}

fn key_set(checks: &mut AppraisalBuilder, source: KeySetSource) {
    const NAME: &str = "key set";
    const EXPECTED: &str = "from the instance itself";
    match source {
        KeySetSource::Given => checks.not_evaluated(NAME, "given by the caller, who knows where it is from", "given"),
        KeySetSource::Pinned => {
            checks.not_evaluated(NAME, "pinned by the caller, who knows where it is from", "pinned by the caller");
        }
        KeySetSource::BuiltInRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the compiled-in web roots")
        }
        KeySetSource::PlatformRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the platform's roots")
        }
        KeySetSource::OwnRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the caller's own roots")
        }
        // Without a pinned key the verification of the token has already failed.
        KeySetSource::BesideEvidence => {
            let pinned = "kept with the evidence; its key has the digest that the policy pins";
            checks.passed(NAME, "the key that the policy pins", pinned);
        }
    }
}

/// Records which trust anchors were replaced by the caller's own.
fn anchors(checks: &mut AppraisalBuilder, input: &AppraisalInput<'_>, policy: &Policy) {
    let reports = [input.tee.report.as_ref(), input.maa_key.map(|key| &key.report)];
    let amd = reports.into_iter().flatten().any(VerifiedReport::has_custom_anchors);
    let issuers = [policy.uvm().map(UvmRequirement::issuer), policy.attested_maa_key().map(|key| key.uvm_issuer())];
    let uvm = issuers.into_iter().flatten().any(|issuer| issuer != UvmRequirement::PRODUCTION_ISSUER);
    let source = input.tee.token.is_some().then_some(input.key_set_source);
    let key_set = matches!(source, Some(KeySetSource::Pinned | KeySetSource::Given));
    // Anyone whom these roots trust with a certificate of the instance's name can serve a key set.
    let web = matches!(source, Some(KeySetSource::PlatformRoots | KeySetSource::OwnRoots));
    let certificate = input.tee.vm.as_ref().and_then(|vm| vm.ak_certificate.as_ref());
    let tpm = certificate.is_some_and(VerifiedAkCertificate::has_custom_anchors);
    let own = [
        (amd, "hardware roots"),
        (tpm, "root of virtual tpms"),
        (uvm, "issuer of uvm endorsements"),
        (key_set, "key set"),
        (web, "web roots of the key set"),
    ];
    let own: Vec<_> = own.into_iter().filter_map(|(is_own, what)| is_own.then_some(what)).collect();
    if own.is_empty() {
        checks.passed("anchors", "built-in", "built-in");
    } else {
        checks.allowed("anchors", "built-in", format!("CUSTOM, the caller's own: {}", own.join(", ")));
    }
}
