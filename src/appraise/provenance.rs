use super::{AppraisalBuilder, AppraisalInput};
use crate::challenge::{Channel, ServerNameCheck};
use crate::claims::MaaClaims;
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::policy::{Policy, Requirement, UvmRequirement};
use crate::snp::VerifiedReport;
use crate::types::shorten;

/// Whom the evidence is about: is it the peer, and when was it made?
pub(super) fn connection(checks: &mut AppraisalBuilder, facts: &AppraisalInput<'_>, policy: &Policy) {
    const BOUND: &str = "bound to the attested TLS key";
    let Some((channel, server_name)) = facts.channel else {
        checks.not_evaluated("channel", "recorded evidence has no channel", "none");
        checks.not_evaluated("freshness", "recorded evidence answers nobody's nonce", "none");
        return;
    };
    match channel {
        Channel::Bound => checks.passed("channel", BOUND, BOUND),
        Channel::UnboundTls => {
            checks.allowed("channel", BOUND, "NOT BOUND: TLS, but the evidence does not name the peer's key");
        }
        Channel::UnboundCleartext => {
            checks.allowed("channel", BOUND, "NOT BOUND AND IN CLEAR: anyone on the path reads and changes everything");
        }
    }
    match server_name {
        ServerNameCheck::Validated => checks.passed("server name", "validated", "validated"),
        ServerNameCheck::NotEvaluated => checks.not_evaluated(
            "server name",
            "goes by the attested key alone (proves what runs, not whose instance it is)",
            "any",
        ),
    }
    key_exchange(checks, facts.key_exchange, policy);
    checks.passed("freshness", "made for our nonce", "made for our nonce");
    if let Some(seconds) = policy.requirements().max_session_age_seconds {
        // What is attested ends by then: whoever makes the session takes this time from the policy.
        let (expected, ends) = (format!("at most {seconds} s"), format!("ends after {seconds} s at the latest"));
        checks.of(Requirement::MaxSessionAge).passed("session age", expected, ends);
    }
}

/// Key exchange groups that are or contain ML-KEM (FIPS 203), by their IANA names.
const POST_QUANTUM: &[&str] =
    &["X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "MLKEM512", "MLKEM768", "MLKEM1024"];

/// Whether what is recorded of the connection today can be decrypted by a quantum computer later.
fn key_exchange(checks: &mut AppraisalBuilder, group: Option<&str>, policy: &Policy) {
    const NAME: &str = "key exchange";
    if !policy.requirements().post_quantum {
        // A caller with a connection of its own need not name the group.
        if let Some(group) = group {
            checks.passed(NAME, "any group", group.to_owned());
        }
        return;
    }
    let actual = group.unwrap_or("a group that is not known").to_owned();
    let holds = group.is_some_and(|group| POST_QUANTUM.contains(&group));
    let violation = actual.clone();
    checks.of(Requirement::PostQuantum).require(NAME, holds, "a post-quantum group", actual, |appraisal| {
        AttestationError::NotPostQuantum { actual: violation, appraisal }
    });
}

/// Whose word the evidence is.
pub(super) fn sources(checks: &mut AppraisalBuilder, facts: &AppraisalInput<'_>, policy: &Policy) {
    match &facts.tee.token {
        Some(token) => {
            maa_token(checks, token.maa());
            key_set(checks, facts.key_set_source);
        }
        None => checks.not_evaluated("maa token", "not asked: the policy trusts AMD alone", "none"),
    }
    match &facts.tee.report {
        Some(report) => {
            let signed = format!("signed down to AMD's {} root", report.product());
            checks.passed("hardware report", "signed down to AMD's root", signed);
        }
        None => checks.not_evaluated("hardware report", "not asked: the policy trusts MAA's check of it", "none"),
    }
    anchors(checks, facts, policy);
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
        KeySetSource::Pinned => checks.passed(NAME, EXPECTED, "pinned by the caller"),
        KeySetSource::BuiltInRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the compiled-in web roots")
        }
        KeySetSource::PlatformRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the platform's roots")
        }
        KeySetSource::OwnRoots => {
            checks.passed(NAME, EXPECTED, "fetched from the instance, under the caller's own roots")
        }
        // Without such a pin the verification ended before.
        KeySetSource::BesideEvidence => {
            checks.passed(NAME, EXPECTED, "kept with the evidence; its key has the digest that the policy pins")
        }
    }
}

/// Anchors of the caller's own are as good as the caller: the result says which of them there are.
fn anchors(checks: &mut AppraisalBuilder, facts: &AppraisalInput<'_>, policy: &Policy) {
    let amd = facts.tee.report.as_ref().is_some_and(VerifiedReport::has_custom_anchors);
    let uvm = policy.uvm().is_some_and(|uvm| uvm.issuer() != UvmRequirement::PRODUCTION_ISSUER);
    let key_set = facts.tee.token.is_some() && facts.key_set_source == KeySetSource::Pinned;
    let own = [(amd, "hardware roots"), (uvm, "issuer of uvm endorsements"), (key_set, "key set")];
    let own: Vec<_> = own.into_iter().filter_map(|(is_own, what)| is_own.then_some(what)).collect();
    if own.is_empty() {
        checks.passed("anchors", "built-in", "built-in");
    } else {
        checks.allowed("anchors", "built-in", format!("CUSTOM, the caller's own: {}", own.join(", ")));
    }
}
