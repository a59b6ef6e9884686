//! The virtual TPM of an emulated confidential VM: the paravisor's report, quotes, and the certificate of the attestation key,
//! with real signatures under keys of this process.
//!
//! ```
//! use blindbox_attestation::azure_vm::{AkAnchors, HclReport, VerifiedAkCertificate};
//! use blindbox_attestation::emulator::amd::AmdHierarchy;
//! use blindbox_attestation::emulator::azure_vm::{VirtualTpm, VirtualTpmAuthority};
//! use blindbox_attestation::snp::{self, Collateral, Revocation};
//! use blindbox_attestation::{Product, UnixTime};
//!
//! let amd = AmdHierarchy::new(Product::Milan);
//! let (vcek, tpm, azure) = (amd.vcek().issue(), VirtualTpm::new(), VirtualTpmAuthority::new()?);
//! let blob = tpm.hcl_report().sign(amd.report(), &vcek);
//! let quote = tpm.quote().extra_data(b"nonce").sign();
//! let chain = azure.certificate(&tpm).chain()?;
//!
//! let now = UnixTime::from_secs(1_800_000_000);
//! let hcl = HclReport::read(&blob)?;
//! let report = snp::verify(hcl.snp_report()?, &Collateral::new(vcek.der()), &amd.anchors(), Revocation::Off, now)?;
//! let claims = hcl.verify_with(&report)?;
//! let quote = quote.verify(&claims.attestation_key)?;
//! assert_eq!(quote.extra_data(), b"nonce");
//! let anchors = AkAnchors::custom(azure.root())?;
//! VerifiedAkCertificate::verify(&chain, &claims.attestation_key, &anchors, now)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything has knobs that make it wrong. What comes out of them is signed all the same.

mod certificate;
mod guest;
mod hcl;
mod knob;
mod quote;

use std::fmt;

pub use certificate::{AkCertificateBuilder, AkIssuer, VirtualTpmAuthority};
pub(crate) use guest::{AzureVmGuest, AzureVmRequest};
pub use hcl::HclReportBuilder;
pub use knob::AzureVmKnob;
pub use quote::QuoteBuilder;

use crate::emulator::keys::{RsaSigningKey, random};
use crate::types::VmId;

/// A virtual TPM with an attestation key of its own.
pub struct VirtualTpm {
    key: RsaSigningKey,
    vm_id: VmId,
}

impl Default for VirtualTpm {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualTpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualTpm").field("vm_id", &self.vm_id).finish_non_exhaustive()
    }
}

impl VirtualTpm {
    /// The virtual TPM of a VM with a random id.
    #[must_use]
    pub fn new() -> Self {
        Self { key: RsaSigningKey::take(), vm_id: VmId::new(random()) }
    }

    /// The id of the VM.
    #[must_use]
    pub const fn vm_id(&self) -> VmId {
        self.vm_id
    }

    /// A report of the paravisor to fill in.
    #[must_use]
    pub fn hcl_report(&self) -> HclReportBuilder {
        HclReportBuilder::new(self)
    }

    /// A quote to fill in.
    #[must_use]
    pub fn quote(&self) -> QuoteBuilder<'_> {
        QuoteBuilder::new(self)
    }

    fn key(&self) -> &RsaSigningKey {
        &self.key
    }
}
