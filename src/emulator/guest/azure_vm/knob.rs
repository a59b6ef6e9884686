//! What can be changed about the evidence of a confidential VM alone, while the guest and its tokens stay as they are.

use crate::types::Sha256Digest;

/// One change to what `/attest/azure-vm` sends: the report of the paravisor, the quote, or the certificate of the attestation key.
/// Several act in the order set. What comes out is signed all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AzureVmKnob {
    // The report of the paravisor.
    /// The report of another VM, which names another attestation key.
    HclReportOfAnotherVm,
    /// The runtime claims of another VM beside this VM's hardware report.
    RuntimeClaimsOfAnotherVm,
    /// The report was made in an earlier boot: its `user-data` names another TLS key.
    EarlierBoot,
    /// Other `user-data`; `None` leaves it out.
    UserData(Option<[u8; 64]>),
    /// `secure-boot`.
    SecureBoot(bool),
    /// `console-enabled`.
    Console(bool),
    /// Further members of `vm-configuration` in JSON, each with a comma before it.
    FurtherConfiguration(String),
    /// Writes bytes over the finished report.
    HclReportBytes(usize, Vec<u8>),

    // The quote.
    /// The quote of another VM's TPM, over the same data.
    QuoteOfAnotherVm,
    /// Other data of the caller: of another challenge.
    ExtraData(Vec<u8>),
    /// Selects these PCRs only.
    SelectedPcrs(Vec<u8>),
    /// Another value of a PCR: another image was started.
    Pcr(u8, Sha256Digest),
    /// Sends these values, whatever was quoted.
    PcrValues(Vec<Sha256Digest>),
    /// Writes bytes over the message before it is signed.
    QuoteBytes(usize, Vec<u8>),
    /// Inverts one bit of the signature, counted from bit 0 of its first byte.
    SignatureBitFlipped(usize),

    // The certificate of the attestation key.
    /// The certificate of another VM's key.
    AkCertificateOfAnotherVm,
    /// The certificate is of a VM with Trusted Launch, which is no TEE.
    AkCertificateOfTrustedLaunch,
    /// The certificate ended in 2025.
    AkCertificateExpired,
    /// A forger with Azure's names issued the certificate.
    ForgedAkCertificate,
    /// The certificate comes without that of its issuer.
    NoAkAuthority,
    /// No certificate comes with the quote.
    NoAkCertificate,
}
