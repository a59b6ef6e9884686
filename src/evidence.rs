//! The input of a verification: evidence and endorsements. All of it is untrusted: it came from a network or a file.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::azure_vm::{AkAnchors, HclReport, HclReportError, Quote};
use crate::json::{self, Value};
use crate::maa::KeySet;
use crate::snp::{AmdAnchors, Crl, Vek};

/// The evidence of the attester, as received. [`crate::Trust`] determines which parts are required; a missing part is an
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
    /// The certificates that the agent sent with the report, as PEM, in any order: of the key that signed it, and optionally of its
    /// issuer and root. Used if [`Endorsements::vek`] is not set.
    pub certificates: Option<Vec<u8>>,
    /// The utility VM's endorsement: a COSE_Sign1 document.
    pub uvm_endorsement: Option<Vec<u8>>,
    /// The report of the paravisor of an Azure confidential VM, with a hardware report in it: the blob of NV index 0x01400001.
    /// A policy for confidential VMs that trusts AMD requires it and `quote`.
    pub hcl_report: Option<Vec<u8>>,
    /// The quote of its virtual TPM, over the runtime data.
    pub quote: Option<Quote>,
    /// The certificates of its attestation key, in DER: that of the key, then those of the authorities, each followed by its issuer.
    /// Optional; [`crate::azure_vm::VerifiedAkCertificate::verify`] says what they must be.
    pub ak_chain: Vec<Vec<u8>>,
    /// The runtime data that the agent claims to have attested. It is only compared, never trusted.
    pub runtime_data: Option<Vec<u8>>,
    /// The key configuration (RFC 9458 section 3) that messages are sealed to, as received; for [`crate::Challenge::bound_message`]
    /// alone. It is used only if the runtime data name its digest.
    pub key_config: Option<Vec<u8>>,
}

impl Evidence {
    /// Returns the hardware report, which is not verified: as it was provided, or from the report of the paravisor.
    ///
    /// # Errors
    ///
    /// [`HclReportError`] for a report of the paravisor that cannot be read, or that is not of SEV-SNP.
    pub(crate) fn hardware_report(&self) -> Result<Option<&[u8]>, HclReportError> {
        match (&self.report, &self.hcl_report) {
            // That the paravisor's report has the same one is checked once it is verified.
            (Some(report), _) => Ok(Some(report)),
            (None, Some(blob)) => Ok(Some(HclReport::read(blob)?.snp_report()?)),
            (None, None) => Ok(None),
        }
    }

    /// Returns the id of the key that the token names (`kid`, RFC 7515 section 4.1.4), of which nothing is verified. It says what to
    /// fetch; a token whose header cannot be read names none.
    #[cfg_attr(not(any(feature = "client", feature = "crypto-rust")), allow(dead_code))]
    pub(crate) fn claimed_key_id(&self) -> Option<String> {
        let header = self.token.as_deref()?.split('.').next()?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let Ok(Value::Object(header)) = json::parse(&header) else { return None };
        header.required::<&str>("kid").ok().map(str::to_owned)
    }
}

/// The endorsements of the evidence: the keys and certificates to verify it with, as received.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Endorsements {
    /// The key set of the MAA instance that the policy names. It has no signature, so that its supplier decides which tokens
    /// are genuine. It must come over authenticated TLS from that instance, or be pinned. A key set that was stored with the
    /// evidence proves nothing: anyone who can write one can write the other.
    pub key_set: Option<KeySet>,
    /// The origin of the key set, which the result reports. [`KeySetSource::BesideEvidence`] is refused unless the policy pins
    /// the key.
    pub key_set_source: KeySetSource,
    /// The certificate of the key that signed the report; if not set, the one of [`Evidence::certificates`].
    pub vek: Option<Vek>,
    /// AMD's CRLs. AMD signs two per product: one for the issuer of VCEKs and one for the issuer of VLEKs. The report decides which
    /// one must be present and current; a certificate that any of them revokes is refused.
    pub crls: Vec<Crl>,
    /// AMD's roots: the built-in ones, or custom ones that *replace* them. The result reports custom ones.
    pub amd_anchors: AmdAnchors,
    /// Azure's root of virtual TPMs: the built-in one, or a custom one that *replaces* it. The result reports a custom one.
    pub ak_anchors: AkAnchors,
}

/// How the key set of an MAA instance was obtained, which determines how far its keys can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeySetSource {
    /// Provided by the caller, who knows its origin.
    #[default]
    Given,
    /// Pinned by the caller, instead of the key set that the instance publishes.
    Pinned,
    /// Fetched from the instance, under the compiled-in Web PKI roots.
    BuiltInRoots,
    /// Fetched from the instance, under the roots of the operating system.
    PlatformRoots,
    /// Fetched from the instance, under the caller's own roots.
    OwnRoots,
    /// Read from the same place as the evidence, such as a directory that `blindbox-attest fetch` wrote. The author of the
    /// evidence could have written it, so it is refused ([`crate::AttestationError::KeySetNotAuthenticated`]) unless the policy
    /// pins the key by its digest ([`crate::Trust::require_maa_key_id`]).
    BesideEvidence,
}
