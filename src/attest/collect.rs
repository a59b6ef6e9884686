//! Collects the evidence of a peer and its endorsements as received, without a verdict.

use std::sync::Arc;

use super::challenger::Challenger;
use super::coalesce::Coalesce;
use crate::attestation::RecordedAttestation;
use crate::azure_vm::AkAnchors;
use crate::challenge::{Challenge, Channel};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence, KeySetSource};
use crate::fetch::{AttestRequest, request_evidence};
use crate::maa::KeySet;
use crate::maa_key::crl_needed;
use crate::policy::Policy;
use crate::recorded::{CollectedDocuments, EvidenceFiles, files_of};
use crate::snp::{AmdAnchors, CertificateError, Crl, Vek};
use crate::types::{Nonce, SpkiDigest, UnixTime};
use crate::verifier_state::VerifierState;
use crate::verify::verify_collected;

/// The evidence of a peer and its endorsements as received, to be stored and inspected. Nothing of it is verified, and it cannot
/// lead to a session; [`crate::verify_recorded`] returns whether a policy would accept it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvidenceBundle {
    /// The evidence from the agent. For an unbound policy, the runtime data are those of this client.
    pub evidence: Evidence,
    /// The certificates that the agent sent (PEM), or the one from AMD's service (DER).
    pub certificates: Option<Vec<u8>>,
    /// The CRL of AMD's issuer of keys of the report's kind (VCEK or VLEK), in DER.
    pub revocation_list: Option<Vec<u8>>,
    /// The CRL of AMD's issuer of keys of the other kind, in DER; `None` if it could not be fetched. It is not required, but what it
    /// revokes is revoked.
    pub other_revocation_list: Option<Vec<u8>>,
    /// AMD's CRL for the product that MAA runs on, in DER, if the policy requires that the key of the token is attested.
    pub maa_revocation_list: Option<Vec<u8>>,
    /// The key set of the MAA instance, in JSON; none if one is pinned.
    pub key_set: Option<Vec<u8>>,
    /// How the peer was reached.
    pub channel: Channel,
    /// The TLS key of the connection, if the policy is for a bound channel.
    pub tls_key: Option<SpkiDigest>,
    /// The nonce of the request.
    pub nonce: Nonce,
    /// When the evidence was requested.
    pub asked_at: UnixTime,
    /// When all of it had been received: the agent may take long, and a token is issued only then.
    pub received_at: UnixTime,
    missing: Vec<(Part, AttestationError)>,
    challenge: Arc<Challenge>,
    pinned_key_set: Option<KeySet>,
    key_set_source: KeySetSource,
    amd_anchors: AmdAnchors,
    ak_anchors: AkAnchors,
}

impl EvidenceBundle {
    /// Returns the endorsements, with the verifier's anchors, for [`crate::verify_recorded`].
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidKeySet`] or [`AttestationError::InvalidReport`] for documents that cannot be parsed.
    pub fn endorsements(&self) -> Result<Endorsements, AttestationError> {
        Ok(Endorsements {
            key_set: self.parse_key_set()?,
            key_set_source: self.key_set_source,
            vek: self.certificates.as_deref().map(vek).transpose()?,
            crls: [&self.revocation_list, &self.other_revocation_list, &self.maa_revocation_list]
                .into_iter()
                .flatten()
                .map(|der| Crl::Received(der.clone()))
                .collect(),
            amd_anchors: self.amd_anchors.clone(),
            ak_anchors: self.ak_anchors.clone(),
        })
    }

    /// The pinned key set, or the one that was fetched.
    fn parse_key_set(&self) -> Result<Option<KeySet>, AttestationError> {
        match (&self.pinned_key_set, &self.key_set) {
            (Some(pinned), _) => Ok(Some(pinned.clone())),
            (None, Some(document)) => Ok(Some(KeySet::from_json(document)?)),
            (None, None) => Ok(None),
        }
    }

    /// Returns the evidence and the endorsements as files: what `blindbox-attest fetch` writes. An endorsement that is pinned, and
    /// roots, are not among them.
    #[must_use]
    pub fn files(&self) -> EvidenceFiles {
        let lists = [&self.revocation_list, &self.other_revocation_list, &self.maa_revocation_list];
        let collected = CollectedDocuments {
            certificates: self.certificates.as_deref(),
            revocation_lists: lists.map(Option::as_deref),
            key_set: self.key_set.as_deref(),
        };
        files_of(&self.evidence, &collected)
    }

    /// Returns why endorsements are missing, in the order in which they were asked for.
    pub fn missing(&self) -> impl Iterator<Item = &AttestationError> {
        self.missing.iter().map(|(_, error)| error)
    }

    /// Returns whether a policy accepts what was collected, as a record: [`crate::verify_recorded`] for the time at which it was
    /// received, and that the evidence covers the nonce that was sent and the TLS key of the connection. There is no way from
    /// the result to a session.
    ///
    /// # Errors
    ///
    /// Why an endorsement is missing that this policy needs, else as [`crate::verify`].
    pub fn verify(&self, policy: &Policy) -> Result<RecordedAttestation, AttestationError> {
        let needed = self.missing.iter().filter(|(part, _)| part.is_needed_by(policy));
        if let Some((_, missing)) = needed.min_by_key(|(part, _)| *part) {
            return Err(missing.clone());
        }
        verify_collected(&self.evidence, &self.endorsements()?, &self.challenge, policy, self.received_at)
    }

    fn lacks(&mut self, part: Part, error: AttestationError) {
        self.missing.push((part, error));
    }
}

/// What can be missing, in the order in which a session reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Certificates,
    RevocationList,
    KeySet,
    MaaRevocationList,
}

impl Part {
    /// Whether evidence is refused without it.
    fn is_needed_by(self, policy: &Policy) -> bool {
        match self {
            Self::KeySet => policy.maa().is_some(),
            Self::MaaRevocationList => policy.attested_maa_key().is_some_and(|key| key.revocation().is_required()),
            Self::Certificates => policy.amd().is_some(),
            Self::RevocationList => policy.amd().is_some_and(|amd| amd.revocation().is_required()),
        }
    }
}

/// Requests evidence as for an attestation, on a connection on which nothing else is sent.
pub(crate) async fn collect(
    verifier: &Arc<VerifierState>,
    url: &str,
    policy: &Policy,
) -> Result<EvidenceBundle, AttestationError> {
    let deadline = Deadline::after(verifier.deadline);
    // Its own `Coalesce`: without a verdict, there is nothing to share with sessions.
    let challenger = Challenger::new(verifier, &Arc::new(Coalesce::default()), url, policy)?;
    let mut connection = challenger.open(&deadline).await?;
    let security = connection.security();
    let tls_key = challenger.mode.peer_id(security).key();
    let asked_at = verifier.clock.now();
    let challenge = challenger.mode.challenge(security, asked_at)?;
    let maa = policy.maa().map(|trust| &trust.issuer);
    let request = AttestRequest::for_policy(&challenge, policy, &verifier.front_end_headers);
    let agent = challenger.mode.agent(Some(&mut connection));
    let (channel, agent) = agent.ok_or(AttestationError::AttestationExpired)?;
    let (mut evidence, _) = request_evidence(channel, agent, request, deadline).await?;
    evidence.runtime_data.get_or_insert_with(|| challenge.runtime_data());
    let mut collected = EvidenceBundle {
        certificates: evidence.certificates.clone(),
        evidence,
        revocation_list: None,
        other_revocation_list: None,
        maa_revocation_list: None,
        key_set: None,
        missing: Vec::new(),
        channel: challenge.channel(),
        tls_key,
        nonce: *challenge.nonce(),
        asked_at,
        received_at: asked_at,
        challenge: Arc::new(challenge),
        key_set_source: verifier.key_sets.source(),
        pinned_key_set: verifier.key_sets.pinned_set().cloned(),
        amd_anchors: verifier.amd_anchors.clone(),
        ak_anchors: verifier.ak_anchors.clone(),
    };
    if let (Some(issuer), None) = (maa, &collected.pinned_key_set) {
        match verifier.key_sets.document(issuer, &deadline).await {
            Ok(document) => collected.key_set = Some(document),
            Err(error) => collected.lacks(Part::KeySet, error),
        }
    }
    // A key set that cannot be read leads to no CRL: the verification says why.
    let keys = collected.parse_key_set().unwrap_or_default();
    if let Some((vek, _)) = crl_needed(policy, &collected.evidence, keys.as_ref(), &collected.amd_anchors) {
        match verifier.kds.crl_document(&vek, &deadline).await {
            Ok(crl) => collected.maa_revocation_list = Some(crl),
            Err(error) => collected.lacks(Part::MaaRevocationList, error),
        }
    }
    // One that cannot be read has no certificate: the verification says why.
    if let Ok(Some(report)) = collected.evidence.hardware_report() {
        let sent_along = collected.certificates.take();
        let documents = verifier.kds.documents(report, sent_along, &deadline).await;
        let mut keep = |part, outcome: Result<Vec<u8>, AttestationError>| {
            outcome.map_err(|error| collected.lacks(part, error)).ok()
        };
        let certificates = keep(Part::Certificates, documents.certificates);
        let revocation_list = keep(Part::RevocationList, documents.crl);
        (collected.certificates, collected.revocation_list) = (certificates, revocation_list);
        collected.other_revocation_list = documents.other_crl;
    }
    collected.received_at = verifier.clock.now();
    Ok(collected)
}

fn vek(certificates: &[u8]) -> Result<Vek, AttestationError> {
    let bad = |error: CertificateError| AttestationError::InvalidAgentAnswer { reason: error.to_string() };
    Vek::from_pem_or_der(certificates).map_err(bad)
}
