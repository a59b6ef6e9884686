//! [`verify_connection`] and the [`Verifier`] behind it: settings in, attested sessions out.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use url::Url;

use crate::clock::Clock;
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::fetch::{self, CollateralSources, DiskCache, JwksCache, Thim};
use crate::maa::KeySet;
use crate::policy::Policy;
use crate::session::{Coalesce, EvidenceBundle, Session, collect};
use crate::snp::AmdAnchors;
use crate::telemetry;
use crate::tls::{self, Roots};
use crate::transport::{Network, Proxy};
use crate::types::{UnixTime, shorten};
use crate::verifier_state::VerifierState;

/// Proves what is behind a URL before a byte of the application is sent to it.
///
/// `Ok` is a session with a live connection to a peer for whom every check of the policy passed. This is
/// [`Verifier::connect`] with the settings of [`Verifier::builder`] as they are; the key sets of MAA instances are kept for
/// the process.
///
/// ```no_run
/// # use blindbox_attestation::{HostData, Policy, Trust, UvmRequirement, Workload, verify_connection};
/// # async fn f(cce_policy: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::confidential_container(
///     Trust::maa("https://sharedneu.neu.attest.azure.net")?,
///     Workload::binds_its_own_key(HostData::from_cce_policy(cce_policy)?),
///     UvmRequirement::at_least(101),
/// )?;
/// let session = verify_connection("https://my-app.example", &policy).await?;
/// println!("{}", session.attestation());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`AttestationError`], one variant for each cause. Then there is no session, and nothing was sent but the request for
/// attestation.
pub async fn verify_connection(url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
    static VERIFIER: OnceLock<Result<Verifier, AttestationError>> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| Verifier::builder().build()).clone()?;
    verifier.connect(url, policy).await
}

/// Opens attested sessions. Cheap to clone, and to be shared: clones share key sets and what is under way.
///
/// Nothing that depends on a policy outlives the calls that asked for it: every call of [`Verifier::connect`] has its peer
/// attested anew, or shares the attestation of another call with an equal policy, peer and origin that it overlaps in time,
/// made at most five seconds ago.
#[derive(Clone)]
#[must_use]
pub struct Verifier {
    state: Arc<VerifierState>,
    coalesce: Arc<Coalesce>,
}

impl Verifier {
    /// Settings, each with a default.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Attests the peer behind a URL and opens a session with it.
    ///
    /// The URL is an origin, or an origin with a base path that all requests are below. A DNS name in it is validated by
    /// authorities as well, unless the policy has `allow_unverified_name`; for an IP address or `localhost` the attested key
    /// alone counts.
    ///
    /// # Errors
    ///
    /// As [`verify_connection`].
    pub async fn connect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
        Session::open(&self.state, &self.coalesce, url.as_ref(), policy).await
    }

    /// Asks the peer behind a URL for what the policy needs, and gives back what came, unverified: to keep evidence of a peer
    /// that is refused, for instance. Nothing but the request for attestation is sent.
    ///
    /// # Errors
    ///
    /// Where the peer gives no evidence at all. What is missing of what vouches for it is in the result.
    pub async fn collect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<EvidenceBundle, AttestationError> {
        collect(&self.state, url.as_ref(), policy).await
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("deadline", &self.state.deadline).finish_non_exhaustive()
    }
}

/// Settings of a [`Verifier`].
///
/// Three kinds of trust are set here, and never mix: roots for the *application's* server name, roots for the servers of
/// *collateral* (the key sets of MAA, AMD's certificates), and anchors of the *evidence* itself (AMD's roots, a pinned key
/// set). Whoever controls the collateral roots can, under MAA trust, supply the keys that tokens are verified with.
#[derive(Clone)]
#[must_use]
pub struct VerifierBuilder {
    clock: Clock,
    deadline: Duration,
    request_timeout: Option<Duration>,
    application_roots: (Vec<Vec<u8>>, bool),
    collateral_roots: CollateralRoots,
    key_set: Option<KeySet>,
    agent: Option<String>,
    proxy: Option<String>,
    addresses: Vec<(String, SocketAddr)>,
    amd_anchors: Option<AmdAnchors>,
    kds: Option<String>,
    thim: Option<String>,
    cache_dir: Option<PathBuf>,
}

/// AMD's Key Distribution Service (AMD 57230).
const KDS: &str = "https://kdsintf.amd.com";

#[derive(Clone, Debug)]
enum CollateralRoots {
    BuiltIn,
    Platform,
    Own(Vec<u8>),
}

impl Default for VerifierBuilder {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            deadline: Duration::from_secs(30),
            request_timeout: None,
            application_roots: (Vec::new(), false),
            collateral_roots: CollateralRoots::BuiltIn,
            key_set: None,
            agent: None,
            proxy: None,
            addresses: Vec::new(),
            amd_anchors: None,
            kds: None,
            thim: None,
            cache_dir: None,
        }
    }
}

impl VerifierBuilder {
    /// The time of day, in place of the machine's clock. Lifetimes also end by a monotonic clock, so that setting this one
    /// back keeps nothing alive.
    pub fn clock(mut self, now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// The most time that finding and attesting a peer may take, all of it together; 30 seconds unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most time that a request of a session may take, until the end of its answer's body, unless
    /// [`crate::Request::timeout`] says otherwise. None unless set, since answers may be long: then a peer that never answers
    /// is waited for until its attestation ends, and is not renewed by other requests.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// Further authorities for the application's server name, beside the platform's: PEM (one or more) or DER.
    pub fn extra_application_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.application_roots.0.push(roots.as_ref().to_vec());
        self
    }

    /// The only authorities for the application's server name, in place of the platform's: PEM (one or more) or DER.
    pub fn only_application_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.application_roots = (vec![roots.as_ref().to_vec()], true);
        self
    }

    /// The platform's authorities for the servers of collateral, in place of the web's roots that are compiled in. Whoever
    /// can add a root to this machine can then, under MAA trust, say which tokens are genuine.
    pub fn platform_collateral_roots(mut self) -> Self {
        self.collateral_roots = CollateralRoots::Platform;
        self
    }

    /// The only authorities for the servers of collateral: PEM (one or more) or DER.
    pub fn collateral_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.collateral_roots = CollateralRoots::Own(roots.as_ref().to_vec());
        self
    }

    /// The key set of the MAA instance, in place of the one that it publishes. It is used for whichever instance a policy
    /// names, and never refreshed: a key that MAA takes out of use goes on being believed.
    pub fn pin_key_set(mut self, key_set: KeySet) -> Self {
        self.key_set = Some(key_set);
        self
    }

    /// AMD's roots, in place of the ones that are compiled in. Every result then says `anchors: custom`.
    pub fn amd_anchors(mut self, anchors: AmdAnchors) -> Self {
        self.amd_anchors = Some(anchors);
        self
    }

    /// A mirror of AMD's Key Distribution Service, with its paths below this address. What it hands out is verified as AMD's
    /// own would be, so it needs no trust, and may speak plain HTTP.
    pub fn kds(mut self, url: impl Into<String>) -> Self {
        self.kds = Some(url.into());
        self
    }

    /// A service to ask for the certificate of a report's key before AMD's: Azure's THIM
    /// (`http://169.254.169.254/metadata/THIM/amd/certification`), which knows the machine that it is asked on, or one with the
    /// same answer. It needs no trust, and may speak plain HTTP; what does not fit the report is not used.
    pub fn thim(mut self, url: impl Into<String>) -> Self {
        self.thim = Some(url.into());
        self
    }

    /// A folder to keep AMD's certificates and revocation lists in, for processes to come. None unless set; made if it is not
    /// there.
    ///
    /// It must be this user's, with permissions for nobody else, and no link; several processes may share it. Everything in
    /// it is verified under AMD's pinned roots at every load. A revocation list from it counts as long as one in memory:
    /// one hour from its fetch, and a list that is older than one kept here takes nobody in. Key sets of MAA and verdicts
    /// are never written. On Windows permissions are not checked: the folder is as private as its place.
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(path.into());
        self
    }

    /// Where the attestation agent is, in place of the application's own origin (bound sessions) or its port 8080 (unbound
    /// ones). A bound session whose agent is elsewhere supports exactly one instance of the application. Nobody there needs to
    /// be trusted, but whoever answers there can close a session, as anybody can who stands in its way.
    pub fn agent(mut self, url: impl Into<String>) -> Self {
        self.agent = Some(url.into());
        self
    }

    /// An HTTP proxy to go through, such as `http://proxy.example:3128`. None unless set: the environment is not looked at.
    /// TLS goes through it end to end.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// The address of a host, in place of what name resolution says; port 0 stands for the URL's own. The host is compared as
    /// URLs have it, so `bücher.example` and `xn--bcher-kva.example` are one. Names are validated as they would be without it.
    pub fn resolve(mut self, host: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.push((host.into(), address));
        self
    }

    /// Makes the verifier.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] or [`AttestationError::InvalidUrl`] for a setting that cannot be used.
    pub fn build(self) -> Result<Verifier, AttestationError> {
        let proxy_url = self.proxy.as_deref().map(proxy).transpose()?;
        let bad_proxy = || misconfigured("the proxy's address cannot be used");
        let proxy = proxy_url.as_ref().map(|url| Proxy::new(url).ok_or_else(bad_proxy)).transpose()?;
        let agent = self.agent.as_deref().map(agent).transpose()?;
        let kds = kds(self.kds.as_deref().unwrap_or(KDS))?;
        let (roots, source) = match &self.collateral_roots {
            CollateralRoots::BuiltIn => (Roots::BuiltIn, KeySetSource::BuiltInRoots),
            CollateralRoots::Platform => (Roots::Platform(Vec::new()), KeySetSource::PlatformRoots),
            CollateralRoots::Own(roots) => (Roots::Only(tls::read_roots(roots)?), KeySetSource::OwnRoots),
        };
        let roots = roots.verifier()?;
        let collateral = |https_only| {
            let client = fetch::client(tls::web_pki_config(roots.clone(), &self.clock)?, proxy_url.as_ref())?
                .https_only(https_only);
            client.build().map_err(|_| misconfigured("the HTTP client for collateral cannot be built"))
        };
        let key_sets = match self.key_set {
            Some(key_set) => JwksCache::pinned(key_set, self.clock.clone()),
            None => JwksCache::fetched(collateral(true)?, source, self.clock.clone()),
        };
        let anchors = self.amd_anchors.clone().unwrap_or_else(AmdAnchors::builtin);
        let disk = self.cache_dir.map(|path| DiskCache::open(&path, &anchors)).transpose()?;
        let thim = self.thim.as_deref().map(thim).transpose()?;
        let thim = match thim {
            Some(url) => Some(Thim::new(collateral(url.scheme() == "https")?, url)),
            None => None,
        };
        let client = collateral(kds.scheme() == "https")?;
        let kds = CollateralSources::new(client, kds, anchors, self.clock.clone(), disk).with_thim(thim);
        let (files, only) = self.application_roots;
        let roots = files.iter().map(|file| tls::read_roots(file)).collect::<Result<Vec<_>, _>>()?.concat();
        let application_roots = if only { Roots::Only(roots) } else { Roots::Platform(roots) };
        let mut state = VerifierState::new(self.clock, key_sets, kds, application_roots);
        state.deadline = self.deadline;
        state.request_timeout = self.request_timeout;
        state.agent = agent;
        let addresses = self.addresses.into_iter().map(resolved).collect::<Result<_, _>>()?;
        state.network = Network { proxy, addresses };
        state.amd_anchors = self.amd_anchors;
        telemetry::describe();
        Ok(Verifier { state: Arc::new(state), coalesce: Arc::default() })
    }
}

/// Without addresses: that of a proxy may have a password in it.
impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

fn agent(text: &str) -> Result<Url, AttestationError> {
    let reason = "expected as the agent's address an origin, perhaps with a path, such as https://my-app.example:8080";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

fn kds(text: &str) -> Result<Url, AttestationError> {
    let reason = "expected as the mirror's address an origin, perhaps with a path, such as https://kds.example";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

fn thim(text: &str) -> Result<Url, AttestationError> {
    let reason = "expected as the address of a THIM service an address such as http://169.254.169.254/metadata/THIM/amd/certification";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

fn address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

/// A host in the one form that the parser of URLs gives it: any other would be compared with it and never used.
fn resolved((host, address): (String, SocketAddr)) -> Result<(String, SocketAddr), AttestationError> {
    let parsed = url::Host::parse(&host).map_err(|error| AttestationError::Misconfigured {
        reason: format!(
            "expected as the host to resolve a name such as my-app.example, found {:?}: {error}",
            shorten(&host, 100)
        ),
    })?;
    match parsed {
        url::Host::Domain(name) => Ok((name, address)),
        // Such a URL is connected to as it stands.
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => Err(AttestationError::Misconfigured {
            reason: format!("expected as the host to resolve a name, found the address {host}"),
        }),
    }
}

/// To a proxy over TLS the session's own TLS settings would apply, which accept the attested peer only.
fn proxy(text: &str) -> Result<Url, AttestationError> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.host().is_some());
    url.ok_or_else(|| misconfigured("expected as the proxy's address one such as http://proxy.example:3128"))
}

fn misconfigured(reason: &str) -> AttestationError {
    AttestationError::Misconfigured { reason: reason.to_owned() }
}
