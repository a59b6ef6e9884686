//! One attestation of one peer: open a connection, challenge, fetch, verify.

use std::sync::Arc;

use super::channel_mode::ChannelMode;
use super::coalesce::{Coalesce, Freshness, Scope, VerdictKey};
use super::evidence_first::evidence_first;
use super::lease::Lease;
use super::recipient::MessageRecipient;
use crate::base_url::BaseUrl;
use crate::challenge::{Challenge, Channel};
use crate::clock::Moment;
use crate::deadline::{BoxFuture, Deadline};
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence};
use crate::fetch::{AttestRequest, request_evidence};
use crate::maa::KeySet;
use crate::maa_key::crl_needed;
use crate::policy::Policy;
use crate::snp::Crl;
use crate::telemetry::{self, Step};
use crate::transport::{Connection, Io, Security};
use crate::types::Sha256Digest;
use crate::verifier_state::VerifierState;
use crate::verify::verify;

/// Opens connections to one origin and attests their peers under one policy.
pub(crate) struct Challenger {
    pub(crate) verifier: Arc<VerifierState>,
    pub(crate) coalesce: Arc<Coalesce>,
    pub(crate) base: BaseUrl,
    pub(crate) mode: ChannelMode,
    policy: Policy,
    policy_digest: Sha256Digest,
}

impl Challenger {
    pub(crate) fn new(
        verifier: &Arc<VerifierState>,
        coalesce: &Arc<Coalesce>,
        url: &str,
        policy: &Policy,
    ) -> Result<Self, AttestationError> {
        let base = BaseUrl::parse(url)?;
        let mode = ChannelMode::new(verifier, &base, policy)?;
        let (verifier, coalesce) = (Arc::clone(verifier), Arc::clone(coalesce));
        Ok(Self { verifier, coalesce, base, mode, policy: policy.clone(), policy_digest: policy.digest() })
    }

    pub(crate) fn policy_digest(&self) -> Sha256Digest {
        self.policy_digest
    }

    /// Opens a connection, which shows the key of its peer. Nothing is sent on it but the handshakes.
    pub(crate) async fn open(&self, deadline: &Deadline) -> Result<Connection, AttestationError> {
        let opening = deadline.run("opening a connection", self.mode.application().connect_to_application());
        telemetry::step(Step::Dial, async { opening.await? }).await
    }

    /// Opens a connection for HTTP/1.1 alone.
    pub(crate) async fn open_http1(&self, deadline: &Deadline) -> Result<Connection, AttestationError> {
        let opening = deadline.run("opening a connection", self.mode.application().connect_http1_to_application());
        telemetry::step(Step::Dial, async { opening.await? }).await
    }

    /// Opens a stream for another protocol than HTTP. Nothing is sent on it.
    pub(crate) async fn open_stream(
        &self,
        port: Option<u16>,
        alpn: &[Vec<u8>],
        deadline: &Deadline,
    ) -> Result<(Box<dyn Io>, Security), AttestationError> {
        let opening = deadline.run("opening a stream", self.mode.application().open_stream(port, alpn));
        telemetry::step(Step::Dial, async { opening.await? }).await
    }

    /// Whether a connection can join an attested peer without its own attestation. A policy that requires a post-quantum key exchange
    /// requires it of each connection.
    pub(crate) fn joins_unasked(&self, security: Security, peer: Security) -> bool {
        !self.requires_post_quantum() || security.key_exchange == peer.key_exchange
    }

    fn requires_post_quantum(&self) -> bool {
        // Of a message, the key that it is sealed to counts, which the evidence names.
        self.policy.requirements().post_quantum && self.mode.kind() != Channel::BoundMessage
    }

    /// What attestations are shared for. With sealed messages, the path of the URL decides which workload is attested, and where requests
    /// are sent.
    pub(crate) fn scope(&self) -> Scope {
        match self.mode.kind() {
            Channel::BoundMessage => Scope::Path(self.base.url().to_string()),
            _ => Scope::Origin(self.base.origin()),
        }
    }

    /// What a verdict over a connection depends on.
    pub(crate) fn verdict_key(&self, security: Security) -> VerdictKey {
        VerdictKey {
            peer: self.mode.peer_id(security),
            scope: self.scope(),
            policy: self.policy_digest,
            key_exchange: security.key_exchange.filter(|_| self.requires_post_quantum()),
        }
    }

    /// Attests the peer of a connection, or shares the attestation of another task. `on_verdict` is called if this task has a verdict of
    /// its own.
    pub(crate) async fn attest(
        &self,
        connection: &mut Connection,
        freshness: Freshness,
        deadline: &Deadline,
        on_verdict: impl FnOnce() + Send,
    ) -> Result<Lease, AttestationError> {
        let (security, clock) = (connection.security(), &self.verifier.clock);
        let key = self.verdict_key(security);
        let attestation = async {
            let outcome = self.attest_over(security, Some(connection), None, deadline).await;
            if outcome.as_ref().err().is_none_or(AttestationError::is_verdict) {
                on_verdict();
            }
            outcome
        };
        let lease = self.coalesce.attest(key, freshness, clock, deadline, attestation).await?;
        // The attestation may have taken longer than it is valid.
        if lease.is_valid(clock) { Ok(lease) } else { Err(AttestationError::AttestationExpired) }
    }

    /// Attests a peer again, for this task only. Without a connection, the agent must be separate. `instance` is the one behind a front
    /// end that was attested before.
    pub(crate) async fn attest_again(
        &self,
        security: Security,
        connection: Option<&mut Connection>,
        instance: Option<&MessageRecipient>,
        deadline: &Deadline,
    ) -> Result<Lease, AttestationError> {
        let attestation = self.attest_over(security, connection, instance, deadline);
        self.coalesce.attest_alone(self.verdict_key(security), &self.verifier.clock, attestation).await
    }

    /// Returns the attestation as a boxed future, which does nothing until it is polled.
    fn attest_over<'a>(
        &'a self,
        security: Security,
        connection: Option<&'a mut Connection>,
        instance: Option<&'a MessageRecipient>,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Lease> {
        Box::pin(async move {
            // The lifetime of the attestation counts from here, on both clocks.
            let requested_at = self.verifier.clock.moment();
            let challenge = self.mode.challenge(security, requested_at.time_of_day())?;
            telemetry::attestation(self.run(challenge, requested_at, connection, instance, deadline)).await
        })
    }

    /// Returns AMD's CRL for the product that MAA runs on, if the policy requires that the key of the token is attested.
    async fn crl_for_maa_key(
        &self,
        evidence: &Evidence,
        key_set: Option<&KeySet>,
        deadline: &Deadline,
    ) -> Result<Option<Crl>, AttestationError> {
        let needed = crl_needed(&self.policy, evidence, key_set, &self.verifier.amd_anchors);
        let Some((vek, revocation)) = needed else { return Ok(None) };
        telemetry::step(Step::Certificates, self.verifier.kds.crl_for(&vek, revocation, deadline)).await
    }

    /// Requests evidence from the agent and verifies it. The key set is fetched at the same time. The challenge is of `requested_at`.
    async fn run(
        &self,
        challenge: Challenge,
        requested_at: Moment,
        connection: Option<&mut Connection>,
        instance: Option<&MessageRecipient>,
        deadline: &Deadline,
    ) -> Result<Lease, AttestationError> {
        let (verifier, policy) = (&self.verifier, &self.policy);
        let (channel, agent) = self.mode.agent(connection).ok_or(AttestationError::AttestationExpired)?;
        let request = AttestRequest::for_policy(&challenge, policy, &verifier.front_end_headers);
        let request = request.with_cookies(instance.and_then(MessageRecipient::cookies));
        let issuer = policy.maa().map(|trust| &trust.issuer);
        let key_set = async {
            match issuer {
                Some(issuer) => telemetry::step(Step::KeySet, verifier.key_sets.get(issuer, deadline)).await.map(Some),
                None => Ok(None),
            }
        };
        let evidence = async {
            let requested = request_evidence(channel, agent, request, *deadline);
            let (evidence, offer) = telemetry::step(Step::Agent, requested).await?;
            let (Some(trust), Some(report)) = (policy.amd(), evidence.hardware_report()?) else {
                return Ok((evidence, offer, None));
            };
            let certificates = evidence.certificates.as_deref();
            let collateral = verifier.kds.collateral(report, certificates, trust.revocation(), deadline);
            let collateral = telemetry::step(Step::Certificates, collateral).await?;
            Ok((evidence, offer, Some(collateral)))
        };
        let ((evidence, offer, collateral), mut key_set) = evidence_first(evidence, key_set).await?;
        if let (Some(issuer), Some(keys)) = (issuer, &key_set)
            && let Some(key_id) = unknown_key(&evidence, keys)
        {
            let newer = verifier.key_sets.refresh(issuer, &key_id, requested_at, deadline);
            key_set = Some(telemetry::step(Step::KeySet, newer).await?);
        }
        let maa_crl = self.crl_for_maa_key(&evidence, key_set.as_ref(), deadline).await?;
        let (vek, crl) = collateral.map_or((None, None), |(vek, crl)| (Some(vek), crl));
        let endorsements = Endorsements {
            vek,
            crls: crl.into_iter().chain(maa_crl).collect(),
            key_set,
            key_set_source: verifier.key_sets.source(),
            amd_anchors: verifier.amd_anchors.clone(),
            ak_anchors: verifier.ak_anchors.clone(),
        };
        let verdict = || verify(&evidence, &endorsements, challenge, policy, verifier.clock.now());
        let attested = telemetry::step_now(Step::Verify, verdict)?;
        let recipient = MessageRecipient::new(&attested, offer, &self.base, &verifier.front_end_headers);
        Ok(Lease::new(attested, requested_at).sealing_to(recipient))
    }
}

/// Returns the key that a token names if it is not in the set: then a newer set is fetched. Any other fault of the token is reported by
/// the verification.
fn unknown_key(evidence: &Evidence, keys: &KeySet) -> Option<String> {
    evidence.claimed_key_id().filter(|id| keys.key_ids().all(|known| known != id.as_str()))
}
