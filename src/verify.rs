//! The verification pipeline: [`verify`] and its variants call the five steps in order. Pure functions of bytes, a policy and
//! a time.

mod azure_vm;
mod evidence;
mod lifetime;

use self::evidence::{missing, verify_evidence_for, verify_report, verify_token};
use crate::appraise::{AppraisalInput, AttestedTlsKey, appraise};
use crate::attestation::{Attestation, Claims, RecordedAttestation, VerifiedEvidence};
use crate::binding;
use crate::challenge::{Challenge, Named, Peer, ServerNameCheck};
use crate::cross_check::ConsistentEvidence;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::evidence::{Endorsements, Evidence};
use crate::maa::TokenExpectations;
use crate::policy::{Binding, Policy};
use crate::snp::Revocation;
use crate::types::{MaaIssuer, UnixTime};
use crate::uvm::{self, EndorsementExpectations};

/// Verifies evidence that responds to a challenge, and appraises it against a policy.
///
/// `Ok` means that every check passed. Uses no network, and takes the time from `now`.
///
/// For callers with their own connections, such as bindings for other languages. They must ensure that the key in the
/// challenge is the one of *this* connection, that each challenge is sent to this peer only (again only if it was not served: after a
/// status of 429, 502, 503 or 504), and that no application data is sent before the result. With the feature `client`, `Verifier::connect` does this.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use blindbox_attestation::maa::KeySet;
/// use blindbox_attestation::{
///     AttestationError, Challenge, Channel, Endorsements, Evidence, Policy, ServerNameCheck, SpkiDigest, Trust, UvmRequirement, Workload,
///     verify,
/// };
/// # use blindbox_attestation::claims::TokenShape;
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
/// // Send `challenge.nonce()` to the agent here. Its response is not trusted.
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
/// // The same evidence over another connection is a relay or a replay.
/// let another = Challenge::bound(SpkiDigest::new([0xcd; 32]), ServerNameCheck::Validated, now)?;
/// let refused = verify(&evidence, &endorsements, another, &policy, now);
/// assert!(matches!(refused, Err(AttestationError::FalseAttestationReport { .. })));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The first cryptographic failure, or the most severe violation of the policy with the whole appraisal.
/// [`AttestationError::AttestationExpired`] if the attestation would have ended already: it lives from the time of the challenge, for an
/// hour or the policy's session age.
pub fn verify(
    evidence: &Evidence,
    endorsements: &Endorsements,
    challenge: Challenge,
    policy: &Policy,
    now: UnixTime,
) -> Result<Attestation, AttestationError> {
    // Step 1, getting the evidence, is the caller's. The policy decides the kind of channel before anything is read.
    check_channel_allowed(&challenge, policy)?;
    // Steps 2 and 3: signatures and certificates, down to the roots.
    let (tee, maa_key) = verify_evidence_for(policy, evidence, endorsements, now)?;
    // Step 4: the evidence, all of it about the same TEE, covers this nonce and names this channel.
    let message_key = binding::check_challenge(&tee, evidence, &challenge)?;
    // Step 5: the claims satisfy the policy.
    let (server_name, key) = match challenge.peer() {
        Peer::Bound { key, server_name } | Peer::BoundConnection { key, server_name, .. } => (server_name, Some(key)),
        Peer::BoundMessage { server_name } | Peer::UnboundTls { server_name } => (server_name, None),
        Peer::UnboundCleartext => (ServerNameCheck::NotEvaluated, None),
    };
    let channel = challenge.channel();
    let input = AppraisalInput {
        tee: &tee,
        channel: Some((channel, server_name)),
        tls_key: key.map_or(AttestedTlsKey::Absent, AttestedTlsKey::Is),
        // Of a message, what its key is encapsulated with counts: TLS ends at a front end.
        key_exchange: match &message_key {
            Some(config) => Some(config.kem().name()),
            None => challenge.negotiated_key_exchange(),
        },
        key_set_source: endorsements.key_set_source,
        maa_key: maa_key.as_ref(),
        now,
    };
    let appraisal = appraise(&input, policy)?;
    let expires_at = lifetime::of_attestation(policy, &tee, maa_key.as_ref(), challenge.made_at(), now)?;
    Ok(Attestation {
        channel,
        server_name,
        key,
        message_key,
        issued_at: now,
        expires_at,
        claims: claims(tee),
        appraisal,
    })
}

/// Verifies recorded evidence and appraises it against a policy, as [`verify`] does but without a challenge. The result proves
/// neither that the evidence is fresh nor which channel it belongs to.
///
/// If `evidence.runtime_data` is given, the evidence must cover it.
///
/// Under MAA trust the result is as trustworthy as the origin of [`Endorsements::key_set`], which has no signature: a key set
/// that was stored with the evidence is [`crate::KeySetSource::BesideEvidence`], and is refused by itself. `now` decides which
/// tokens, certificates and CRLs are current: a time that was stored with the evidence is not trustworthy either.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use blindbox_attestation::maa::KeySet;
/// use blindbox_attestation::{AttestationError, Endorsements, Evidence, Policy, Trust, UvmRequirement, Workload, verify_recorded};
/// # use blindbox_attestation::claims::TokenShape;
/// # use blindbox_attestation::emulator::{Guest, Maa};
/// # let (maa, guest) = (Maa::start().await?, Guest::container());
/// # let (issuer, host_data, at) = (maa.issuer(), guest.snp.host_data, maa.clock().now());
/// # let (certs_json, token) = (maa.key_set(), maa.sign(maa.claims(&guest, br#"{"nonce":""}"#).value()));
///
/// let mut evidence = Evidence::default();
/// evidence.token = Some(token); // from a file, trimmed
/// let mut endorsements = Endorsements::default();
/// endorsements.key_set = Some(KeySet::from_json(certs_json.as_bytes())?); // its supplier decides which tokens are genuine
/// let trust = Trust::maa(issuer)?;
/// # let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm))?;
/// let policy =
///     Policy::confidential_container(trust, Workload::binds_its_own_key(host_data), UvmRequirement::at_least(1))?;
///
/// let recorded = verify_recorded(&evidence, &endorsements, &policy, at)?;
/// println!("{}", recorded.appraisal().full());
///
/// // A token is valid at its own time only.
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
) -> Result<RecordedAttestation, AttestationError> {
    verify_offline(evidence, endorsements, policy, now, |tee| match &evidence.runtime_data {
        Some(runtime_data) => binding::check_recorded_runtime_data(tee, runtime_data),
        None => Ok(()),
    })
}

/// Verifies evidence as recorded, for the time at which it was received, and checks that it covers the nonce and the TLS key of the
/// challenge that it was requested with.
#[cfg(feature = "client")]
pub(crate) fn verify_collected(
    evidence: &Evidence,
    endorsements: &Endorsements,
    challenge: &Challenge,
    policy: &Policy,
    received_at: UnixTime,
) -> Result<RecordedAttestation, AttestationError> {
    check_channel_allowed(challenge, policy)?;
    verify_offline(evidence, endorsements, policy, received_at, |tee| {
        binding::check_challenge(tee, evidence, challenge).map(|_| ())
    })
}

/// Runs steps 2 to 5 without a channel. `bind` checks what the evidence covers.
fn verify_offline(
    evidence: &Evidence,
    endorsements: &Endorsements,
    policy: &Policy,
    now: UnixTime,
    bind: impl FnOnce(&ConsistentEvidence) -> Result<(), AttestationError>,
) -> Result<RecordedAttestation, AttestationError> {
    let (tee, maa_key) = verify_evidence_for(policy, evidence, endorsements, now)?;
    bind(&tee)?;
    let input = AppraisalInput {
        tee: &tee,
        channel: None,
        tls_key: match &evidence.runtime_data {
            Some(data) => Named::key_in(data).map_or(AttestedTlsKey::Absent, AttestedTlsKey::Is),
            None => AttestedTlsKey::NotRecorded,
        },
        key_exchange: None,
        key_set_source: endorsements.key_set_source,
        maa_key: maa_key.as_ref(),
        now,
    };
    let appraisal = appraise(&input, policy)?;
    Ok(RecordedAttestation::new(now, lifetime::of_evidence(&tee, maa_key.as_ref()), claims(tee), appraisal))
}

/// Verifies the given evidence, and that it is all about the same TEE, without a policy: for inspecting files. It proves nothing
/// about a peer.
///
/// A token needs `issuer` and a key set, a report the certificate of its key. A CRL, if given, must be
/// genuine and current and not revoke the signing authority; without one revocation is not checked. An endorsement of a
/// utility VM must come from Microsoft's production issuer. With the report of the paravisor of a confidential VM, its hardware
/// report, its runtime claims, a quote and the certificate of the attestation key are verified as far as they are given.
///
/// # Errors
///
/// The first cryptographic failure.
pub fn verify_unappraised(
    evidence: &Evidence,
    endorsements: &Endorsements,
    issuer: Option<&MaaIssuer>,
    now: UnixTime,
) -> Result<VerifiedEvidence, AttestationError> {
    let token = match (&evidence.token, issuer) {
        (None, _) => None,
        (Some(_), None) => return Err(missing("the issuer that the token must have")),
        (Some(_), Some(issuer)) => Some(verify_token(evidence, endorsements, &TokenExpectations::new(issuer), now)?),
    };
    let report = match evidence.hardware_report()? {
        None => None,
        Some(report) => {
            let revocation = if endorsements.crls.is_empty() { Revocation::Off } else { Revocation::Require };
            Some(verify_report(report, evidence, endorsements, revocation, now)?)
        }
    };
    let vm = azure_vm::verify_azure_vm(evidence, endorsements, report.as_ref(), now)?;
    let document = evidence.uvm_endorsement.as_deref();
    let endorsement = document.map(|document| uvm::verify(document, &EndorsementExpectations::production()));
    let tee = ConsistentEvidence::new(token, report, endorsement.transpose()?)?.with_vm(vm)?;
    if let Some(runtime_data) = &evidence.runtime_data {
        binding::check_recorded_runtime_data(&tee, runtime_data)?;
    }
    Ok(VerifiedEvidence::new(now, claims(tee)))
}

/// Checks that the policy allows the kind of channel of the challenge: a policy for bound channels never accepts another.
pub(crate) fn check_channel_allowed(challenge: &Challenge, policy: &Policy) -> Result<(), AttestationError> {
    let allow = policy.allowances();
    let reason = match (policy.binding(), challenge.peer()) {
        (Binding::OwnKey, Peer::Bound { .. }) | (Binding::OwnConnection, Peer::BoundConnection { .. }) => return Ok(()),
        (Binding::OwnKey, _) => ChannelNotAllowed::ChannelMustBeBound,
        (Binding::OwnMessageKey, Peer::BoundMessage { .. }) => return Ok(()),
        (Binding::OwnConnection, _) => ChannelNotAllowed::ConnectionMustBeBound,
        (Binding::OwnMessageKey, _) => ChannelNotAllowed::MessagesMustBeSealed,
        (Binding::None, Peer::UnboundTls { server_name: ServerNameCheck::NotEvaluated }) if allow.unbound_channel => {
            ChannelNotAllowed::NameNotValidated
        }
        (Binding::None, Peer::UnboundTls { .. }) if allow.unbound_channel => return Ok(()),
        (Binding::None, Peer::UnboundCleartext) if allow.plain_http => return Ok(()),
        (Binding::None, Peer::UnboundCleartext) if allow.unbound_channel => ChannelNotAllowed::PlainHttp,
        (Binding::None, _) => ChannelNotAllowed::WorkloadDoesNotBind,
    };
    Err(AttestationError::ChannelNotAllowed { reason })
}

/// Collects the claims of the TEE from all evidence.
fn claims(tee: ConsistentEvidence) -> Claims {
    Claims {
        maa: tee.token.as_ref().map(|token| token.maa().clone()),
        hardware: tee.report.as_ref().map(|report| report.hardware().clone()),
        uvm: tee.uvm().cloned(),
        azure_vm: tee.vm,
        tee: tee.claims,
    }
}
