//! [`VerifierBuilder`]: the settings of a [`Verifier`], and how it is built from them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use url::Url;

use super::Verifier;
use super::addresses::{agent, kds, misconfigured, proxy, resolved, thim};
use super::front_end_headers::front_end_headers;
use crate::azure_vm::AkAnchors;
use crate::clock::{Clock, TimeProvider};
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::fetch::{self, CollateralSources, DiskCache, JwksCache, OptionalTimeouts, Thim};
use crate::maa::KeySet;
use crate::snp::AmdAnchors;
use crate::telemetry;
use crate::tls::{self, Roots};
use crate::transport::{Network, Proxy};
use crate::verifier_state::VerifierState;

/// Settings of a [`Verifier`].
///
/// Three kinds of trust are set here, and never mix: roots for the *application's* server name, roots for the servers of
/// *collateral* (the key sets of MAA, AMD's certificates), and anchors of the *evidence* itself (AMD's roots, a pinned key
/// set). Under MAA trust, anyone who controls the collateral roots can supply the keys that tokens are verified with.
#[derive(Clone)]
#[must_use]
pub struct VerifierBuilder {
    clock: Clock,
    deadline: Duration,
    request_timeout: Option<Duration>,
    application_roots: ApplicationRoots,
    collateral_roots: CollateralRoots,
    key_set: Option<KeySet>,
    agent: Option<String>,
    proxy: Option<String>,
    addresses: Vec<(String, SocketAddr)>,
    front_end_headers: Vec<(String, Vec<u8>)>,
    amd_anchors: AmdAnchors,
    ak_anchors: AkAnchors,
    kds: Option<String>,
    thim: Option<String>,
    cache_dir: Option<PathBuf>,
    optional_timeouts: OptionalTimeouts,
}

/// AMD's Key Distribution Service (AMD 57230).
const KDS: &str = "https://kdsintf.amd.com";

/// Files of authorities for the application's server name, as given.
#[derive(Clone)]
enum ApplicationRoots {
    /// The platform's, and these.
    Platform(Vec<Vec<u8>>),
    Only(Vec<Vec<u8>>),
}

impl ApplicationRoots {
    fn files(&mut self) -> &mut Vec<Vec<u8>> {
        match self {
            Self::Platform(files) | Self::Only(files) => files,
        }
    }

    fn read(&self) -> Result<Roots, AttestationError> {
        let read_file = |file: &Vec<u8>| tls::read_roots("application roots", file);
        let read = |files: &[Vec<u8>]| files.iter().map(read_file).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::Platform(files) => Roots::Platform(read(files)?.concat()),
            Self::Only(files) => Roots::Only(read(files)?.concat()),
        })
    }
}

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
            application_roots: ApplicationRoots::Platform(Vec::new()),
            collateral_roots: CollateralRoots::BuiltIn,
            key_set: None,
            agent: None,
            proxy: None,
            addresses: Vec::new(),
            front_end_headers: Vec::new(),
            amd_anchors: AmdAnchors::builtin(),
            ak_anchors: AkAnchors::builtin(),
            kds: None,
            thim: None,
            cache_dir: None,
            optional_timeouts: OptionalTimeouts::default(),
        }
    }
}

impl VerifierBuilder {
    /// Replaces the clocks of the machine. A function that returns the time of day replaces the wall clock alone; lifetimes also
    /// end by the monotonic clock, so that setting the wall clock back extends none.
    pub fn clock(mut self, clocks: impl TimeProvider + 'static) -> Self {
        self.clock = Clock::new(clocks);
        self
    }

    /// Limits the total time to connect to a peer and attest it; 30 seconds by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Limits the time of each request of a session, to the end of the response body; [`crate::Request::timeout`] overrides
    /// it. No limit by default, since responses may be long: a request to a peer that never responds then lasts until the
    /// attestation ends. A request that needs an attestation makes it within this time: `docs/session.md`, "Renewal and end".
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// Adds authorities for the application's server name to the platform's: PEM (one or more) or DER.
    pub fn extra_application_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.application_roots.files().push(roots.as_ref().to_vec());
        self
    }

    /// Replaces the platform's authorities for the application's server name: PEM (one or more) or DER.
    pub fn only_application_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.application_roots = ApplicationRoots::Only(vec![roots.as_ref().to_vec()]);
        self
    }

    /// Uses the platform's authorities for the servers of collateral instead of the compiled-in Web PKI roots. Under MAA
    /// trust, anyone who can add a root to this machine can then forge tokens.
    pub fn platform_collateral_roots(mut self) -> Self {
        self.collateral_roots = CollateralRoots::Platform;
        self
    }

    /// Replaces the authorities for the servers of collateral: PEM (one or more) or DER.
    pub fn collateral_roots(mut self, roots: impl AsRef<[u8]>) -> Self {
        self.collateral_roots = CollateralRoots::Own(roots.as_ref().to_vec());
        self
    }

    /// Pins the key set of the MAA instance instead of fetching it. It is used for any instance that a policy names and never
    /// refreshed: a key that MAA withdraws stays trusted.
    pub fn pin_key_set(mut self, key_set: KeySet) -> Self {
        self.key_set = Some(key_set);
        self
    }

    /// Replaces AMD's compiled-in roots. Every result then reports `anchors: custom`.
    pub fn amd_anchors(mut self, anchors: AmdAnchors) -> Self {
        self.amd_anchors = anchors;
        self
    }

    /// Replaces Azure's compiled-in root of virtual TPMs, under which the certificate of a confidential VM's attestation key is
    /// verified. Every result with such a certificate then reports `anchors: custom`.
    pub fn ak_anchors(mut self, anchors: AkAnchors) -> Self {
        self.ak_anchors = anchors;
        self
    }

    /// Uses a mirror of AMD's Key Distribution Service, with the same paths below this address. Its responses are verified
    /// like AMD's own, so that it needs no trust and may use plain HTTP.
    pub fn kds(mut self, url: impl Into<String>) -> Self {
        self.kds = Some(url.into());
        self
    }

    /// Requests the certificate of a report's key from a THIM service before AMD's: Azure's
    /// (`http://169.254.169.254/metadata/THIM/amd/certification`), which returns the certificate of the machine that it runs
    /// on, or one with the same response format. It needs no trust and may use plain HTTP; a certificate that does not match
    /// the report is not used.
    pub fn thim(mut self, url: impl Into<String>) -> Self {
        self.thim = Some(url.into());
        self
    }

    /// Caches AMD's certificates and CRLs in a directory, for later processes. No directory by default; created if missing.
    ///
    /// It must belong to this user, give others no permissions, and not be a link; several processes may share it. Everything
    /// in it is verified under AMD's pinned roots whenever it is loaded. A CRL from it is used as long as one in memory: one
    /// hour from its fetch; a CRL older than a stored one is not accepted in its place, nor, where the policy requires revocation, any
    /// in place of a stored one that can be neither read nor replaced. MAA key sets and attestation results are never written. On
    /// Windows permissions are not checked: the directory is as private as its location.
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(path.into());
        self
    }

    /// Limits each step to this time that is given up in favour of another one: a file of the cache, a request to THIM, the CRL for the
    /// other kind of key. Not part of the interface: for tests of the outcomes of those steps, which on a busy machine take longer.
    #[doc(hidden)]
    pub fn optional_timeout(mut self, timeout: Duration) -> Self {
        self.optional_timeouts = OptionalTimeouts::all(timeout);
        self
    }

    /// Sets the address of the attestation agent, instead of the application's own origin (bound sessions) or its port 8080
    /// (unbound ones). A bound session with a separate agent supports exactly one instance of the application. The agent needs
    /// no trust, but it can make attestations fail, like anyone on the network path.
    pub fn agent(mut self, url: impl Into<String>) -> Self {
        self.agent = Some(url.into());
        self
    }

    /// Connects through an HTTP proxy, such as `http://proxy.example:3128`. No proxy by default; the environment is ignored.
    /// TLS passes through the proxy end to end.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Overrides name resolution for a host. A URL with another port than that of its scheme keeps it; with any other, the port of the
    /// address is used, where 0 stands for that of the scheme. The host is compared in the form that URLs have, so that `bücher.example`
    /// and `xn--bcher-kva.example` are the same. Server names are validated as usual.
    pub fn resolve(mut self, host: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.push((host.into(), address));
        self
    }

    /// Adds a header for a front end that ends TLS, such as `Ocp-Apim-Subscription-Key`: to requests for evidence and to those that
    /// carry sealed messages, in sessions of policies with [`Binding::OwnMessageKey`](crate::Binding::OwnMessageKey). The front end
    /// reads it, and the application does not get it. Headers of requests are sealed.
    pub fn front_end_header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.front_end_headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] or [`AttestationError::InvalidUrl`] for a setting that cannot be used.
    pub fn build(self) -> Result<Verifier, AttestationError> {
        let proxy_url = self.proxy.as_deref().map(proxy).transpose()?;
        let bad_proxy = || {
            misconfigured("expected a proxy's address such as http://proxy.example:3128, found one that cannot be used")
        };
        let proxy = proxy_url.as_ref().map(|url| Proxy::new(url).ok_or_else(bad_proxy)).transpose()?;
        let agent = self.agent.as_deref().map(agent).transpose()?;
        let (key_sets, kds) = self.collateral(proxy_url.as_ref())?;
        let application_roots = self.application_roots.read()?;
        let addresses = self.addresses.iter().map(|(host, address)| Ok((resolved(host)?, *address)));
        let addresses = addresses.collect::<Result<_, AttestationError>>()?;
        let state = VerifierState {
            front_end_headers: front_end_headers(&self.front_end_headers)?,
            clock: self.clock,
            deadline: self.deadline,
            request_timeout: self.request_timeout,
            agent,
            network: Network { proxy, addresses },
            amd_anchors: self.amd_anchors,
            ak_anchors: self.ak_anchors,
            key_sets,
            kds,
            application_roots,
            application_names: OnceLock::new(),
        };
        telemetry::describe();
        Ok(Verifier { state: Arc::new(state), coalesce: Arc::default() })
    }

    /// Builds the caches of what is fetched: the key sets of MAA, and what AMD publishes.
    fn collateral(&self, proxy: Option<&Url>) -> Result<(JwksCache, CollateralSources), AttestationError> {
        let kds = kds(self.kds.as_deref().unwrap_or(KDS))?;
        let (roots, source) = match &self.collateral_roots {
            CollateralRoots::BuiltIn => (Roots::BuiltIn, KeySetSource::BuiltInRoots),
            CollateralRoots::Platform => (Roots::Platform(Vec::new()), KeySetSource::PlatformRoots),
            CollateralRoots::Own(roots) => {
                (Roots::Only(tls::read_roots("collateral roots", roots)?), KeySetSource::OwnRoots)
            }
        };
        let roots = roots.verifier()?;
        let client = |https_only| {
            let config = tls::web_pki_config(roots.clone(), &self.clock)?;
            let client = fetch::client(config, proxy)?.https_only(https_only).build();
            client.map_err(|_| misconfigured("the HTTP client for collateral cannot be built"))
        };
        let key_sets = match &self.key_set {
            Some(key_set) => JwksCache::pinned(key_set.clone(), self.clock.clone()),
            None => JwksCache::fetched(client(true)?, source, self.clock.clone()),
        };
        let (anchors, timeouts) = (self.amd_anchors.clone(), self.optional_timeouts);
        let disk = self.cache_dir.as_deref().map(|path| DiskCache::open(path, &anchors, timeouts.file)).transpose()?;
        let thim = match self.thim.as_deref().map(thim).transpose()? {
            Some(url) => Some(Thim::new(client(url.scheme() == "https")?, url, timeouts.thim)),
            None => None,
        };
        let https_only = kds.scheme() == "https";
        let sources = CollateralSources::new(client(https_only)?, kds, anchors, self.clock.clone(), disk, &timeouts);
        Ok((key_sets, sources.with_thim(thim)))
    }
}

/// Omits addresses: that of a proxy may contain a password.
impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
