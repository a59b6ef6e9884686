//! The client of sealed messages (`blindbox-bound-message/1`) for a host that has the network, the clock and the random bytes: a web
//! page, by way of WebAssembly. Without I/O; every decision is made here.
//!
//! The host sends what it is given and returns what it receives, whatever that is:
//!
//! | step | the host | this module |
//! |---|---|---|
//! | [`MessageClient::begin`] | gives time and random bytes | returns the request for evidence |
//! | [`MessageClient::again_after`] | asks what it does with a response of the agent | returns whether the same request is sent again |
//! | [`MessageClient::evidence`] | gives the response of the agent and MAA's key set | returns which documents of AMD are needed |
//! | [`MessageClient::attest`] | gives these documents | verifies all of it, and appraises it against the policy |
//! | [`MessageClient::seal`] | gives a request | seals its head to the attested key |
//! | [`MessageExchange`] | gives content, then the response piece by piece | seals it; opens the response, complete or not |
//!
//! A session ends as one of [`crate::verify_connection`] does: nothing is sealed after the attestation has ended, or after evidence
//! was refused, until [`MessageClient::attest`] succeeds again. What was begun under an attestation ends with it: a request whose
//! content comes slowly is not continued under the next one.
//!
//! | file | responsibility |
//! |---|---|
//! | `mod` | the steps up to the attestation, and what a request is sealed with |
//! | `exchange` | the content of a request, and its response |
//! | `host` | what passes between host and client |
//! | `request` | the request that a host gives, as binary HTTP |
//! | `validity` | until when requests are sealed and continued |

mod exchange;
mod host;
mod request;
mod validity;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub use exchange::{BegunExchange, ExchangeFailed, MessageExchange, ResponsePart};
pub use host::{AgentBusy, EvidenceRequest, FetchedDocuments, HostResponse, NeededDocuments};
pub use request::RequestToSeal;

use self::request::head;
use self::validity::{Latest, Reached, Standing, Validity};
use crate::agent_protocol::{
    AgentRequest, MAX_AGENT_RESPONSE, REDIRECTED, Received, check_response, invalid, join_path, request_body,
};
use crate::attestation::Attestation;
use crate::azure_vm::AkAnchors;
use crate::base_url::BaseUrl;
use crate::challenge::{Challenge, ServerNameCheck};
use crate::crypto::NoRandomness;
use crate::crypto::host_random::with_host_random;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::evidence::{Endorsements, Evidence, KeySetSource};
use crate::maa::KeySet;
use crate::maa_key::crl_needed;
use crate::message::exchange::attest_limit::{MAX_ATTESTATIONS, TOO_MANY_ATTESTATIONS, WINDOW_SECONDS};
use crate::message::exchange::client::Recipient;
use crate::message::exchange::keys::Offer;
use crate::message::exchange::outer;
use crate::message::exchange::replay::SessionId;
use crate::policy::Policy;
use crate::retry::{self, BACKOFF, retry_after};
use crate::snp::{AmdAnchors, CollateralRequest, Crl, Revocation, Vek, crl_path};
use crate::types::UnixTime;

pub use crate::crypto::host_random::HOST_RANDOM_LEN;

/// A client of one origin under one policy.
///
/// Not `Clone`: the numbers of its requests are used once each.
pub struct MessageClient {
    base: BaseUrl,
    policy: Policy,
    amd_anchors: AmdAnchors,
    ak_anchors: AkAnchors,
    /// Whether the host validates the name in the server's certificate.
    validates_names: bool,
    latest: Arc<Latest>,
    /// When the attestations of the last minute began that had a verdict while another instance was attested.
    recent: VecDeque<UnixTime>,
    pending: Option<Pending>,
    instance: Option<Instance>,
    standing: Arc<Standing>,
}

/// An attestation under way.
struct Pending {
    /// When it began, if it counts.
    counted: Option<UnixTime>,
    challenge: Challenge,
    received: Option<(Evidence, SessionId)>,
    key_set: Option<(KeySet, KeySetSource)>,
}

/// The attested holder of a message key.
struct Instance {
    recipient: Recipient,
    attestation: Attestation,
    headers: Vec<(String, String)>,
    reached: Arc<Reached>,
}

impl MessageClient {
    /// Creates a client for an origin. `amd_anchors` and `ak_anchors` are the roots of AMD and of Azure's virtual TPMs, whose defaults are
    /// the built-in ones.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidUrl`], and [`AttestationError::ChannelNotAllowed`] unless it is one of `https`.
    pub fn new(
        url: &str,
        policy: Policy,
        amd_anchors: AmdAnchors,
        ak_anchors: AkAnchors,
    ) -> Result<Self, AttestationError> {
        let base = BaseUrl::parse(url)?;
        if !base.is_https() {
            return Err(AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::PlainHttp });
        }
        let (latest, standing, recent) = Default::default();
        let (pending, instance, validates_names) = (None, None, true);
        Ok(Self { base, policy, amd_anchors, ak_anchors, validates_names, latest, recent, pending, instance, standing })
    }

    /// States that nothing is known of how the host validates the name in the server's certificate, as with an HTTP client of the
    /// caller's. Without it, the host is one that always does, as a browser.
    #[must_use]
    pub fn with_unknown_name_validation(mut self) -> Self {
        self.validates_names = false;
        self
    }

    /// Begins an attestation with [`HOST_RANDOM_LEN`] random bytes. One that is under way is forgotten.
    ///
    /// # Errors
    ///
    /// [`AttestationError::ChannelNotAllowed`] unless the policy says that the workload binds its own message key;
    /// [`AttestationError::Misconfigured`] for random bytes that are missing, too few, or were given before;
    /// [`AttestationError::TooManyUnattestedPeers`] for more than 30 attestations within a minute. The first one, the next one after a
    /// refusal, and those without a verdict do not count.
    pub fn begin(&mut self, random: Zeroizing<Vec<u8>>, now: UnixTime) -> Result<EvidenceRequest, AttestationError> {
        self.pending = None;
        let now = self.advance(now);
        let by_name = self.validates_names && self.base.requires_name_validation(&self.policy);
        let server_name = if by_name { ServerNameCheck::Validated } else { ServerNameCheck::NotEvaluated };
        let challenge = with_random(random, || Challenge::bound_message(server_name, now))?;
        crate::verify::check_channel_allowed(&challenge, &self.policy)?;
        self.recent.retain(|began| now < began.plus(WINDOW_SECONDS));
        if self.recent.len() >= MAX_ATTESTATIONS {
            return Err(AttestationError::TooManyUnattestedPeers { reason: TOO_MANY_ATTESTATIONS });
        }
        let counted = self.instance.is_some().then_some(now);
        let AgentRequest { path, maa, .. } = AgentRequest::first(&challenge, &self.policy);
        let request = EvidenceRequest {
            url: join_path(self.base.url(), path).into(),
            body: request_body(&challenge, maa),
            key_set_url: maa.map(|issuer| issuer.key_set_url()),
        };
        self.pending = Some(Pending { counted, challenge, received: None, key_set: None });
        Ok(request)
    }

    /// Returns after how long the host sends the same request for evidence again; `None` if it gives this response to
    /// [`MessageClient::evidence`]. `attempt` counts how often the host sent it again before, and `remaining` is the time that it has left.
    #[must_use]
    pub fn again_after(
        response: AgentBusy<'_>,
        attempt: usize,
        remaining: Duration,
        now: UnixTime,
    ) -> Option<Duration> {
        let backoff = BACKOFF.get(attempt).filter(|_| retry::is_transient(response.status))?;
        retry::pause(*backoff, retry_after(response.retry_after, response.date, now), remaining)
    }

    /// Takes the response of the agent and the key set of the MAA instance, with its origin. Nothing of it is verified yet.
    ///
    /// # Errors
    ///
    /// As the fetching of evidence does for [`crate::verify_connection`]. After one that is a verdict, such as a response that names no
    /// message key, the client seals nothing, as after a refusal by [`MessageClient::attest`]. Without a verdict, such as when the host is
    /// not reached, what was attested before stays so until its end.
    pub fn evidence(
        &mut self,
        response: HostResponse<'_>,
        key_set: Option<Result<&[u8], &str>>,
        source: KeySetSource,
    ) -> Result<NeededDocuments, AttestationError> {
        let counted = self.pending.as_ref().and_then(|pending| pending.counted);
        let read = self.read_evidence(response, key_set, source);
        read.inspect_err(|error| self.refuse_if_verdict(error, counted))
    }

    fn read_evidence(
        &mut self,
        response: HostResponse<'_>,
        key_set: Option<Result<&[u8], &str>>,
        source: KeySetSource,
    ) -> Result<NeededDocuments, AttestationError> {
        let mut pending = self.pending.take().ok_or_else(not_begun)?;
        let AgentRequest { maa, parts, .. } = AgentRequest::first(&pending.challenge, &self.policy);
        let received = match response {
            HostResponse::Received { status, content_type, body } => Received { status, content_type, body },
            HostResponse::Redirect => return Err(invalid(REDIRECTED)),
            HostResponse::Failed { reason } => {
                let reason = format!("{}: {reason}", self.base.origin());
                return Err(AttestationError::AgentUnreachable { reason, source: None });
            }
        };
        if received.body.len() > MAX_AGENT_RESPONSE {
            let limit = u64::try_from(MAX_AGENT_RESPONSE).unwrap_or(u64::MAX);
            return Err(AttestationError::TooLarge { what: "the response of the attestation agent", limit });
        }
        check_response(received, &pending.challenge, maa, self.base.url())?;
        let mut evidence = Evidence::default();
        let session = parts.read(received.body, &mut evidence)?;
        let session = session.ok_or(AttestationError::MissingEvidence { what: "the session of a message key" })?;
        if let Some(issuer) = maa {
            let unreachable = |reason: &str| AttestationError::MaaUnreachable {
                issuer: issuer.clone(),
                reason: reason.to_owned(),
                source: None,
            };
            let document = key_set.unwrap_or(Err("the host gave none")).map_err(unreachable)?;
            pending.key_set = Some((KeySet::from_json(document)?, source));
        }
        let needed = self.needed(&evidence, pending.key_set.as_ref().map(|(keys, _)| keys))?;
        pending.received = Some((evidence, session));
        self.pending = Some(pending);
        Ok(needed)
    }

    fn needed(&self, evidence: &Evidence, key_set: Option<&KeySet>) -> Result<NeededDocuments, AttestationError> {
        let (mut needed, mut signers) = (NeededDocuments::default(), Vec::new());
        if let (Some(trust), Some(report)) = (self.policy.amd(), evidence.hardware_report()?) {
            let request = CollateralRequest::from_report(report)?;
            let products = request.candidates();
            if evidence.certificates.is_none() {
                needed.certificates = products.iter().filter_map(|product| request.vcek_path(*product)).collect();
            }
            if trust.revocation() != Revocation::Off {
                signers.extend(products.iter().map(|product| (*product, request.signing_key())));
            }
        }
        if let Some((vek, _)) = crl_needed(&self.policy, evidence, key_set, &self.amd_anchors) {
            signers.push((vek.certificate().product(), vek.certificate().kind()));
        }
        for (product, kind) in signers {
            push_new(&mut needed.crls, crl_path(product, kind));
            push_new(&mut needed.other_crls, crl_path(product, kind.other()));
        }
        needed.other_crls.retain(|path| !needed.crls.contains(path));
        Ok(needed)
    }

    /// Verifies the evidence and appraises it against the policy. From then on, requests are sealed to the key that it names.
    ///
    /// # Errors
    ///
    /// As [`crate::verify`](crate::verify()). After a refusal the client seals nothing, and responses under way are not opened further.
    pub fn attest(&mut self, fetched: FetchedDocuments, now: UnixTime) -> Result<&Attestation, AttestationError> {
        let now = self.advance(now);
        let Some(Pending { counted, challenge, received: Some((evidence, session)), key_set }) = self.pending.take()
        else {
            return Err(not_begun());
        };
        let vek = fetched.certificate.map(|bytes| Vek::from_pem_or_der(&bytes)).transpose();
        let vek = vek.map_err(|error| {
            let reason = format!("what was fetched is no certificate: {error}");
            AttestationError::KdsUnreachable { reason, source: None }
        })?;
        let (key_set, key_set_source) = key_set.map_or_else(Default::default, |(keys, source)| (Some(keys), source));
        let endorsements = Endorsements {
            key_set,
            key_set_source,
            vek,
            crls: fetched.crls.into_iter().map(Crl::Received).collect(),
            amd_anchors: self.amd_anchors.clone(),
            ak_anchors: self.ak_anchors.clone(),
        };
        let verified = crate::verify::verify(&evidence, &endorsements, challenge, &self.policy, now);
        let attestation = verified.inspect_err(|error| self.refuse_if_verdict(error, counted))?;
        let config = attestation.message_key.clone();
        let config = config.ok_or(AttestationError::MissingEvidence { what: "a message key" })?;
        let headers =
            [("content-type", outer::REQUEST_TYPE.to_owned()), (outer::INSTANCE_FIELD, outer::instance(&config))];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        // After a refusal a new one, so that no request from before it is continued. Without one the same, so that the next refusal ends
        // what is under way under earlier attestations too.
        if self.standing.check().is_err() {
            self.standing = Arc::default();
        }
        self.recent.extend(counted);
        let recipient = Recipient::new(Offer { config, session });
        let reached = Arc::new(Reached::new());
        Ok(&self.instance.insert(Instance { recipient, attestation, headers, reached }).attestation)
    }

    /// Ends the session after evidence was refused, whichever step refused it.
    fn refuse_if_verdict(&mut self, error: &AttestationError, counted: Option<UnixTime>) {
        if error.is_verdict() {
            self.recent.extend(counted);
            self.instance = None;
            self.standing.refuse(error.code());
        }
    }

    /// Returns whether a request can be sealed now. If not, the host attests first: no attestation is valid, the last one no longer leads to
    /// its instance, or 1,023 requests were sealed under it after one whose response has not begun.
    ///
    /// # Errors
    ///
    /// [`AttestationError::SessionPoisoned`] after a refusal.
    pub fn is_attested(&mut self, now: UnixTime) -> Result<bool, AttestationError> {
        let now = self.advance(now);
        self.standing.check()?;
        Ok(self.instance.as_ref().is_some_and(|instance| instance.is_usable(now) && instance.recipient.has_number()))
    }

    /// Returns the last attestation, whose end may have passed.
    #[must_use]
    pub fn attestation(&self) -> Option<&Attestation> {
        self.instance.as_ref().map(|instance| &instance.attestation)
    }

    /// Seals the head of a request with [`HOST_RANDOM_LEN`] random bytes.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidRequest`] for a request that is not sealed, such as one for another origin;
    /// [`AttestationError::AttestationExpired`], [`AttestationError::SessionPoisoned`], and as [`MessageClient::begin`] for random bytes.
    pub fn seal(
        &mut self,
        request: RequestToSeal<'_>,
        random: Zeroizing<Vec<u8>>,
        now: UnixTime,
    ) -> Result<BegunExchange, AttestationError> {
        let now = self.advance(now);
        self.standing.check()?;
        let instance = self.instance.as_ref().filter(|instance| instance.is_usable(now));
        let instance = instance.ok_or(AttestationError::AttestationExpired)?;
        let url = self.base.resolve_absolute(request.url)?;
        let head = head(&request, &self.base, &url)?;
        let sealed = with_random(random, || instance.recipient.seal(head).map_err(AttestationError::from))?;
        let (writer, start, reader) = sealed;
        Ok(BegunExchange {
            url: join_path(self.base.url(), outer::PATH).into(),
            headers: instance.headers.clone(),
            start,
            exchange: MessageExchange::new(writer, reader, &request, url, self.validity(instance)),
        })
    }

    fn validity(&self, instance: &Instance) -> Validity {
        Validity {
            expires_at: instance.attestation.expires_at(),
            latest: Arc::clone(&self.latest),
            reached: Arc::clone(&instance.reached),
            standing: Arc::clone(&self.standing),
        }
    }

    fn advance(&self, now: UnixTime) -> UnixTime {
        self.latest.advance(now)
    }
}

/// Omits the session and the key.
impl std::fmt::Debug for MessageClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MessageClient({})", self.base.origin())
    }
}

impl Instance {
    fn is_usable(&self, now: UnixTime) -> bool {
        now < self.attestation.expires_at() && self.reached.holds()
    }
}

fn not_begun() -> AttestationError {
    AttestationError::Misconfigured { reason: "expected `begin` and `evidence` before this step".to_owned() }
}

fn push_new(paths: &mut Vec<String>, path: String) {
    if !paths.contains(&path) {
        paths.push(path);
    }
}

fn with_random<T>(
    random: Zeroizing<Vec<u8>>,
    work: impl FnOnce() -> Result<T, AttestationError>,
) -> Result<T, AttestationError> {
    with_host_random(random, work).unwrap_or_else(|NoRandomness| {
        Err(AttestationError::Misconfigured {
            reason: format!("expected {HOST_RANDOM_LEN} random bytes that were never given before"),
        })
    })
}
