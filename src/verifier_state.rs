//! What a verifier is set to, and the caches that its sessions share.

use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::azure_vm::AkAnchors;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::fetch::{CollateralSources, JwksCache};
use crate::snp::AmdAnchors;
use crate::tls::{NameVerifier, Roots};
use crate::transport::Network;

/// Settings and shared caches of a verifier. Attestations under way are shared by [`crate::attest::Coalesce`].
#[derive(Debug)]
pub(crate) struct VerifierState {
    pub(crate) clock: Clock,
    pub(crate) deadline: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) agent: Option<Url>,
    pub(crate) network: Network,
    /// What a front end that ends TLS reads, beside sealed messages.
    pub(crate) front_end_headers: HeaderMap,
    pub(crate) amd_anchors: AmdAnchors,
    pub(crate) ak_anchors: AkAnchors,
    pub(crate) key_sets: JwksCache,
    pub(crate) kds: CollateralSources,
    pub(crate) application_roots: Roots,
    pub(crate) application_names: OnceLock<NameVerifier>,
}

impl VerifierState {
    /// Validates names of applications. Made when first needed: a session that goes by the key alone needs no roots.
    pub(crate) fn application_names(&self) -> Result<NameVerifier, AttestationError> {
        if let Some(names) = self.application_names.get() {
            return Ok(names.clone());
        }
        let names = self.application_roots.verifier()?;
        Ok(self.application_names.get_or_init(|| names).clone())
    }
}
