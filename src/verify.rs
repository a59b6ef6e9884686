//! THE PIPELINE: five calls in order. Pure: bytes, a policy and a time in, a verdict out.

use std::time::Duration;

use crate::appraise::{AppraisalInput, appraise};
use crate::attestation::{Attestation, Claims, OfflineAttestation, VerifiedEvidence};
use crate::bind::{self, ConsistentEvidence};
use crate::challenge::{Challenge, Peer, ServerNameCheck};
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::evidence::{Crl, Endorsements, Evidence, KeySetSource, Vek};
use crate::maa::{self, TokenExpectations, VerifiedToken};
use crate::policy::{Binding, Policy, RevocationRule};
use crate::snp::{self, AmdAnchors, CaChain, Collateral, Revocation, VerifiedReport};
use crate::types::{Issuer, UnixTime};
use crate::uvm::{self, EndorsementExpectations, VerifiedEndorsement};

/// How long an attestation holds at most, unless the policy says otherwise.
const DEFAULT_SESSION_AGE_SECONDS: u64 = 60 * 60;

/// Verifies evidence that answers a challenge, and appraises it against a policy.
///
/// `Ok` means that all of it passed. The network is not touched, and the time is `now`.
///
/// For callers that have a connection of their own, such as bindings for other languages. What is theirs then: that the
/// key in the challenge is the one of *this* connection, that each challenge is asked once, and that nothing else is sent
/// before the verdict. With the feature `client`, `Verifier::connect` sees to it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use blindbox_attestation::maa::KeySet;
/// use blindbox_attestation::{
///     AttestationError, Challenge, Channel, Endorsements, Evidence, Policy, ServerNameCheck, SpkiDigest, Trust, UvmRequirement, Workload,
///     verify,
/// };
/// # use blindbox_attestation::TokenShape;
/// # use blindbox_attestation::emulator::{Guest, Maa};
/// # let (maa, guest) = (Maa::start().await?, Guest::container());
/// # let (issuer, host_data, now) = (maa.issuer(), guest.snp.host_data, maa.clock().now());
/// # let certs_json = maa.key_set();
/// # let attest = |runtime_data: &[u8]| maa.sign(maa.claims(&guest, runtime_data).value());
///
/// let trust = Trust::maa(issuer)?;
/// # let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm))?;
/// let policy =
///     Policy::confidential_container(trust, Workload::binds_its_own_key(host_data), UvmRequirement::at_least(1))?;
///
/// // After the handshake, and before anything else is sent: SHA-256 of the key of this connection.
/// let key = SpkiDigest::new([0xab; 32]);
/// let challenge = Challenge::bound(key, ServerNameCheck::Validated, now)?;
/// // Here the agent is sent `challenge.nonce()`. What it answers is believed in nothing.
/// # let runtime_data = challenge.runtime_data();
/// # let token = attest(&runtime_data);
/// let mut evidence = Evidence::default();
/// evidence.token = Some(token);
/// evidence.runtime_data = Some(runtime_data);
/// let mut endorsements = Endorsements::default();
/// endorsements.key_set = Some(KeySet::from_json(certs_json.as_bytes())?); // from the issuer itself, over TLS
///
/// let attested = verify(&evidence, &endorsements, challenge, &policy, now)?;
/// assert_eq!(attested.channel(), Channel::Bound);
/// println!("{attested}");
///
/// // The same evidence over another connection is somebody in the middle, or an old answer.
/// let another = Challenge::bound(SpkiDigest::new([0xcd; 32]), ServerNameCheck::Validated, now)?;
/// let refused = verify(&evidence, &endorsements, another, &policy, now);
/// assert!(matches!(refused, Err(AttestationError::FalseAttestationReport { .. })));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The first cryptographic failure, or the gravest violation of the policy with the whole appraisal.
pub fn verify(
    evidence: &Evidence,
    endorsements: &Endorsements,
    challenge: Challenge,
    policy: &Policy,
    now: UnixTime,
) -> Result<Attestation, AttestationError> {
    admit(&challenge, policy)?;
    let token = token(evidence, endorsements, policy, now)?;
    let report = report(evidence, endorsements, policy, now)?;
    let endorsement = endorsement(evidence, policy)?;
    let tee = ConsistentEvidence::new(token, report, endorsement)?;
    bind::check_challenge(&tee, evidence.runtime_data.as_deref(), &challenge)?;
    let (server_name, key) = match challenge.peer() {
        Peer::Bound { key, server_name } => (server_name, Some(key)),
        Peer::UnboundTls { server_name } => (server_name, None),
        Peer::UnboundCleartext => (ServerNameCheck::NotEvaluated, None),
    };
    let channel = (challenge.channel(), server_name);
    let facts = AppraisalInput {
        tee: &tee,
        channel: Some(channel),
        key_exchange: challenge.negotiated_key_exchange(),
        key_set_source: endorsements.key_set_source,
        now,
    };
    let appraisal = appraise(&facts, policy)?;
    let age = policy.requirements().max_session_age_seconds.unwrap_or(DEFAULT_SESSION_AGE_SECONDS);
    let life = (now, now.plus(age).min(end(&tee)));
    Ok(Attestation::new((channel.0, channel.1, key), life, claims(tee), appraisal))
}

/// Verifies recorded evidence and appraises it against a policy, as [`verify`] does but without a challenge: that it is
/// fresh, and whose channel it is about, is not proved.
///
/// `evidence.runtime_data`, where given, must be what the evidence covers.
///
/// Under MAA trust the verdict is as good as the origin of [`Endorsements::key_set`], which no signature protects: a key set
/// that was kept with the evidence is [`crate::KeySetSource::BesideEvidence`], and gives no verdict by itself. `now` decides
/// which tokens, certificates and revocation lists are current: a time that was kept with the evidence is a claim as well.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use blindbox_attestation::maa::KeySet;
/// use blindbox_attestation::{AttestationError, Endorsements, Evidence, Policy, Trust, UvmRequirement, Workload, verify_recorded};
/// # use blindbox_attestation::TokenShape;
/// # use blindbox_attestation::emulator::{Guest, Maa};
/// # let (maa, guest) = (Maa::start().await?, Guest::container());
/// # let (issuer, host_data, at) = (maa.issuer(), guest.snp.host_data, maa.clock().now());
/// # let (certs_json, token) = (maa.key_set(), maa.sign(maa.claims(&guest, br#"{"nonce":""}"#).value()));
///
/// let mut evidence = Evidence::default();
/// evidence.token = Some(token); // of a file, with its white space taken off
/// let mut endorsements = Endorsements::default();
/// endorsements.key_set = Some(KeySet::from_json(certs_json.as_bytes())?); // whoever kept this decides what is genuine
/// let trust = Trust::maa(issuer)?;
/// # let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm))?;
/// let policy =
///     Policy::confidential_container(trust, Workload::binds_its_own_key(host_data), UvmRequirement::at_least(1))?;
///
/// let recorded = verify_recorded(&evidence, &endorsements, &policy, at)?;
/// println!("{}", recorded.appraisal().full());
///
/// // A token has its time, and that is the time to name.
/// let refused = verify_recorded(&evidence, &endorsements, &policy, at.plus(86_400));
/// assert!(matches!(refused, Err(AttestationError::InvalidToken(_))));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`verify`].
pub fn verify_recorded(
    evidence: &Evidence,
    endorsements: &Endorsements,
    policy: &Policy,
    now: UnixTime,
) -> Result<OfflineAttestation, AttestationError> {
    record(evidence, endorsements, policy, now, |tee| match &evidence.runtime_data {
        Some(runtime_data) => bind::to_runtime_data(tee, runtime_data),
        None => Ok(()),
    })
}

/// Verifies evidence as a record, and that it covers the nonce and the TLS key of the challenge that it was requested with.
#[cfg(feature = "client")]
pub(crate) fn verify_collected(
    evidence: &Evidence,
    endorsements: &Endorsements,
    challenge: &Challenge,
    policy: &Policy,
) -> Result<OfflineAttestation, AttestationError> {
    admit(challenge, policy)?;
    let runtime_data = evidence.runtime_data.as_deref();
    record(evidence, endorsements, policy, challenge.made_at(), |tee| {
        bind::check_challenge(tee, runtime_data, challenge)
    })
}

fn record(
    evidence: &Evidence,
    endorsements: &Endorsements,
    policy: &Policy,
    now: UnixTime,
    bind: impl FnOnce(&ConsistentEvidence) -> Result<(), AttestationError>,
) -> Result<OfflineAttestation, AttestationError> {
    let token = token(evidence, endorsements, policy, now)?;
    let report = report(evidence, endorsements, policy, now)?;
    let endorsement = endorsement(evidence, policy)?;
    let tee = ConsistentEvidence::new(token, report, endorsement)?;
    bind(&tee)?;
    let facts = AppraisalInput {
        tee: &tee,
        channel: None,
        key_exchange: None,
        key_set_source: endorsements.key_set_source,
        now,
    };
    let appraisal = appraise(&facts, policy)?;
    Ok(OfflineAttestation::new(now, end(&tee), claims(tee), appraisal))
}

/// Verifies whatever evidence is given, and that it is all about one TEE, without requiring anything of it: for looking
/// into files. A policy is what makes evidence mean something, so this proves nothing about a peer.
///
/// A token needs `issuer` and a key set, a report the certificate of its key. A revocation list, where given, must be
/// genuine and current and not name the signing authority; without one revocation is not looked at. An endorsement of a
/// utility VM must come from Microsoft's production issuer.
///
/// # Errors
///
/// The first cryptographic failure.
pub fn verify_unappraised(
    evidence: &Evidence,
    endorsements: &Endorsements,
    issuer: Option<&Issuer>,
    now: UnixTime,
) -> Result<VerifiedEvidence, AttestationError> {
    let token = match (&evidence.token, issuer) {
        (None, _) => None,
        (Some(_), None) => return Err(missing("the issuer that the token must have")),
        (Some(_), Some(issuer)) => Some(verify_token(evidence, endorsements, &TokenExpectations::new(issuer), now)?),
    };
    let report = match &evidence.report {
        None => None,
        Some(_) => {
            let revocation = if endorsements.crl.is_some() { Revocation::Require } else { Revocation::Off };
            Some(verify_report(evidence, endorsements, revocation, now)?)
        }
    };
    let document = evidence.uvm_endorsement.as_deref();
    let endorsement = document.map(|document| uvm::verify(document, &EndorsementExpectations::production()));
    let tee = ConsistentEvidence::new(token, report, endorsement.transpose()?)?;
    if let Some(runtime_data) = &evidence.runtime_data {
        bind::to_runtime_data(&tee, runtime_data)?;
    }
    Ok(VerifiedEvidence::new(now, claims(tee)))
}

/// A policy is bound or unbound before the first byte; a challenge of the other kind is refused, never translated.
pub(crate) fn admit(challenge: &Challenge, policy: &Policy) -> Result<(), AttestationError> {
    let allow = policy.allowances();
    let reason = match (policy.binding(), challenge.peer()) {
        (Binding::OwnKey, Peer::Bound { .. }) => return Ok(()),
        (Binding::OwnKey, _) => ChannelNotAllowed::ChannelMustBeBound,
        (Binding::None, Peer::UnboundTls { .. }) if allow.unbound_channel => return Ok(()),
        (Binding::None, Peer::UnboundCleartext) if allow.plain_http => return Ok(()),
        (Binding::None, Peer::UnboundCleartext) if allow.unbound_channel => ChannelNotAllowed::PlainHttp,
        (Binding::None, _) => ChannelNotAllowed::WorkloadDoesNotBind,
    };
    Err(AttestationError::ChannelNotAllowed { reason })
}

fn token(
    evidence: &Evidence,
    endorsements: &Endorsements,
    policy: &Policy,
    now: UnixTime,
) -> Result<Option<VerifiedToken>, AttestationError> {
    let Some(trust) = policy.maa() else { return Ok(None) };
    let mut expected = TokenExpectations::new(&trust.issuer);
    if let Some(key_id) = &trust.key_id {
        expected = expected.key_id(key_id);
    }
    verify_token(evidence, endorsements, &expected, now).map(Some)
}

fn verify_token(
    evidence: &Evidence,
    endorsements: &Endorsements,
    expected: &TokenExpectations<'_>,
    now: UnixTime,
) -> Result<VerifiedToken, AttestationError> {
    let token = evidence.token.as_deref().ok_or(missing("an MAA token"))?;
    let keys = endorsements.key_set.as_ref().ok_or(missing("the key set of the MAA instance"))?;
    let verified = maa::verify(token, keys, expected, now)?;
    // Forgeries are reported as such first. What is left is signed by a key whose owner only the key set names.
    if endorsements.key_set_source == KeySetSource::BesideEvidence && !expected.pins_key_by_digest() {
        return Err(AttestationError::KeySetNotAuthenticated { issuer: expected.issuer().clone() });
    }
    Ok(verified)
}

fn report(
    evidence: &Evidence,
    endorsements: &Endorsements,
    policy: &Policy,
    now: UnixTime,
) -> Result<Option<VerifiedReport>, AttestationError> {
    let Some(trust) = policy.amd() else { return Ok(None) };
    let revocation = match (trust.revocation, trust.max_crl_age_seconds) {
        (RevocationRule::Required, None) => Revocation::Require,
        (RevocationRule::Required, Some(age)) => Revocation::RequireIssuedWithin(Duration::from_secs(age)),
        (RevocationRule::AllowBestEffort, _) => Revocation::BestEffort,
        (RevocationRule::AllowOff, _) => Revocation::Off,
    };
    verify_report(evidence, endorsements, revocation, now).map(Some)
}

fn verify_report(
    evidence: &Evidence,
    endorsements: &Endorsements,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, AttestationError> {
    let report = evidence.report.as_deref().ok_or(missing("a hardware report"))?;
    let vek = endorsements.vek.as_ref().ok_or(missing("the certificate of the key that signed the report"))?;
    let anchors = endorsements.amd_anchors.clone().unwrap_or_else(AmdAnchors::builtin);
    let collateral = match vek {
        Vek::Verified(vek) => Collateral::verified(vek),
        Vek::Bundle(bundle) => Collateral::bundle(bundle),
        Vek::Received { der, chain: None } => Collateral::new(der),
        Vek::Received { der, chain: Some((issuer, ark)) } => Collateral::new(der).with_chain(CaChain { issuer, ark }),
    };
    let collateral = match &endorsements.crl {
        None => collateral,
        Some(Crl::Verified(list)) => collateral.with_verified_crl(list),
        Some(Crl::Received(der)) => collateral.with_crl(der),
    };
    Ok(snp::verify(report, &collateral, &anchors, revocation, now)?)
}

const fn missing(what: &'static str) -> AttestationError {
    AttestationError::MissingEvidence { what }
}

/// The document itself is needed where AMD alone judges; MAA checks it too, and says so in its claims.
fn endorsement(evidence: &Evidence, policy: &Policy) -> Result<Option<VerifiedEndorsement>, AttestationError> {
    let (Some(_), Some(uvm)) = (policy.amd(), policy.uvm()) else { return Ok(None) };
    let document = evidence.uvm_endorsement.as_deref();
    let document = document.ok_or(missing("the endorsement of the utility VM"))?;
    let expected = EndorsementExpectations::new(uvm.issuer(), uvm.feed());
    Ok(Some(uvm::verify(document, &expected)?))
}

/// The earliest end of the evidence and of what vouches for it.
fn end(tee: &ConsistentEvidence) -> UnixTime {
    let token = tee.token.as_ref().map(|token| token.maa().expires_at);
    let report = tee.report.as_ref().map(VerifiedReport::expires_at);
    [token, report].into_iter().flatten().fold(UnixTime::from_secs(u64::MAX), UnixTime::min)
}

fn claims(tee: ConsistentEvidence) -> Claims {
    Claims {
        maa: tee.token.as_ref().map(|token| token.maa().clone()),
        hardware: tee.report.as_ref().map(|report| report.hardware().clone()),
        uvm: tee.uvm().cloned(),
        snp: tee.snp,
    }
}
