//! What the evidence of a confidential VM states once it is verified.

use serde::Serialize;

use super::ak_chain::VerifiedAkCertificate;
use super::quote::VerifiedQuote;
use super::runtime_claims::RuntimeClaims;

/// The state of an Azure confidential VM beyond its hardware report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AzureVmClaims {
    /// What the paravisor states; the hardware report covers it.
    pub runtime_claims: RuntimeClaims,
    /// The PCRs and the data of the caller, which the attestation key of the runtime claims signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<VerifiedQuote>,
    /// Azure's certificate of the attestation key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ak_certificate: Option<VerifiedAkCertificate>,
}

impl AzureVmClaims {
    pub(crate) const fn new(
        runtime_claims: RuntimeClaims,
        quote: Option<VerifiedQuote>,
        ak_certificate: Option<VerifiedAkCertificate>,
    ) -> Self {
        Self { runtime_claims, quote, ak_certificate }
    }
}
