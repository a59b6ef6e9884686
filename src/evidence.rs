//! What goes into a verification. All of it is untrusted: it came from a network or a file.

use serde::Serialize;

use crate::maa::KeySet;
use crate::snp::{AmdAnchors, CertificateBundle, CertificateError, VerifiedCrl, VerifiedVek};

/// What the attester says, as received. For what is needed under which trust see [`crate::Trust`]; a missing piece is an
/// error, [`crate::AttestationError::MissingEvidence`].
///
/// ```
/// use blindbox_attestation::Evidence;
///
/// let mut evidence = Evidence::default();
/// evidence.report = Some(vec![0; 1184]); // `evidence` of `/attest/combined`, decoded
/// evidence.runtime_data = Some(b"{}".to_vec());
/// assert_eq!(evidence.token, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The MAA token: a JWS in compact form.
    pub token: Option<String>,
    /// The hardware report: 1184 bytes (AMD 56860 table 23).
    pub report: Option<Vec<u8>>,
    /// The utility VM's endorsement: a COSE_Sign1 document.
    pub uvm_endorsement: Option<Vec<u8>>,
    /// The runtime data that the agent says it attested. Compared, never believed.
    pub runtime_data: Option<Vec<u8>>,
}

/// What vouches for the evidence, as received.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Endorsements {
    /// The key set of the MAA instance that the policy names. No signature protects it: who supplies it decides which tokens
    /// are genuine. So it comes over authenticated TLS from that instance, or is pinned. A key set that was kept in one place
    /// with the evidence proves nothing about it: who can write one can write the other.
    pub key_set: Option<KeySet>,
    /// Where the key set is from. The result says it, and [`KeySetSource::BesideEvidence`] gives no verdict unless the policy
    /// pins the key.
    pub key_set_source: KeySetSource,
    /// The certificate of the key that signed the report.
    pub vek: Option<Vek>,
    /// AMD's revocation list.
    pub crl: Option<Crl>,
    /// Roots that *replace* AMD's built-in ones. The result says so.
    pub amd_anchors: Option<AmdAnchors>,
}

/// How the key set of an MAA instance was come by, which is how far to trust what its keys sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeySetSource {
    /// The caller gave it and knows where it is from.
    #[default]
    Given,
    /// Pinned by the caller, in place of what the instance publishes.
    Pinned,
    /// Fetched from the instance, under the web's roots as they are compiled in.
    BuiltInRoots,
    /// Fetched from the instance, under the roots of the platform.
    PlatformRoots,
    /// Fetched from the instance, under roots of the caller.
    OwnRoots,
    /// Read from where the evidence was read, such as a directory that `blindbox-attest fetch` wrote. Who wrote the evidence
    /// could have written it, so it alone gives no verdict ([`crate::AttestationError::KeySetNotAuthenticated`]): the policy must
    /// pin the key by its digest ([`crate::Trust::require_maa_key_id`]).
    BesideEvidence,
}

/// The certificate of the key that signed a report (VCEK or VLEK).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Vek {
    /// As received, in DER, with the certificates above it where some came along: issuer (ASK or ASVK), then root (ARK).
    Received {
        /// The certificate of the signing key.
        der: Vec<u8>,
        /// Issuer and root; they must be AMD's.
        chain: Option<(Vec<u8>, Vec<u8>)>,
    },
    /// As received, perhaps with the certificates above it, in whatever order: see [`VerifiedVek::from_bundle`].
    Bundle(CertificateBundle),
    /// Verified before, under the same anchors: only what depends on this report and this time is checked again.
    Verified(VerifiedVek),
}

impl Vek {
    /// A certificate alone, in DER.
    #[must_use]
    pub fn from_der(der: impl Into<Vec<u8>>) -> Self {
        Self::Received { der: der.into(), chain: None }
    }

    /// Certificates in PEM as an agent sends them, or one in DER as AMD's service sends it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] as [`CertificateBundle::from_pem_or_der`].
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        CertificateBundle::from_pem_or_der(bytes).map(Self::Bundle)
    }
}

/// AMD's revocation list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Crl {
    /// As received, in DER.
    Received(Vec<u8>),
    /// Verified before: only its dates are checked again.
    Verified(VerifiedCrl),
}
