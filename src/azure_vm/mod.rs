//! Step 3 for Azure confidential VMs: the paravisor's report, the quote of the virtual TPM, the certificate of its key.
//!
//! The guest of an Azure confidential VM has no access to the firmware of the processor. A paravisor runs at a higher privilege
//! level (VMPL 0), keeps a virtual TPM, and obtains a hardware report that covers the TPM's keys. So a guest proves its state in
//! a chain, of which each link is authenticated by the one before:
//!
//! 1. [`HclReport`]: a blob with the hardware report and *runtime claims* in JSON;
//! 2. the hardware report, down to AMD's root: [`crate::snp::verify`];
//! 3. `REPORT_DATA` = SHA-256(runtime claims), then 32 zero bytes: [`HclReport::verify_with`] returns the [`RuntimeClaims`];
//! 4. the claims name the attestation key (AK) of the virtual TPM: [`AttestationKey`];
//! 5. that key signed a quote over the platform configuration registers (PCRs) and data of the caller: [`VerifiedQuote`];
//! 6. optionally Azure certified that key as one of a confidential VM: [`VerifiedAkCertificate`].
//!
//! Pure functions of bytes, keys and a time, which know nothing of policies.
//!
//! # What the chain depends on
//!
//! The virtual TPM is software of the paravisor. Its quotes are worth what the paravisor is worth, which the launch measurement,
//! the ID key and `GUEST_SVN` of the hardware report state. Before August 2025 an administrator of the VM could replace the
//! attestation key by one of their own (CVE-2025-49707), so a policy must require a paravisor with the fix. The seed of the key
//! lies in the state of the VM, whose encryption keys Azure manages.

mod ak_chain;
mod attestation_key;
mod bytes;
mod claims;
mod error;
mod hcl;
mod pcr;
mod quote;
mod runtime_claims;

pub(crate) use ak_chain::check_issued_by_azure;
pub use ak_chain::{AkAnchors, MAX_AK_CERTIFICATE_LEN, MAX_AK_CHAIN, VerifiedAkCertificate, check_ak_issuer};
pub use attestation_key::AttestationKey;
pub use claims::AzureVmClaims;
pub use error::{AkCertificateError, HclReportError, QuoteError, RuntimeClaimsError};
pub use hcl::{HclReport, HclTee, MAX_HCL_REPORT_LEN};
pub use pcr::{PCR_COUNT, Pcrs};
pub use quote::{Quote, UnverifiedQuote, VerifiedQuote};
pub use runtime_claims::{RuntimeClaims, UnverifiedRuntimeClaims, VmConfiguration};

pub use crate::x509::{CertificateError, KeyUse};
