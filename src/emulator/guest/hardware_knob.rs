//! What can be changed about the hardware evidence alone, while the guest and its tokens stay as they are.

use crate::types::{Measurement, Product, ReportData, Tcb};
use crate::uvm::EndorsementForm;

/// One change to a hardware report, its certificates or the endorsement of the utility VM, after everything that the
/// guest's own [`crate::emulator::Knob`]s do. Several act in the order set.
///
/// A [`crate::emulator::Platform`] knows all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HardwareKnob {
    // The report.
    /// Inverts one bit of the finished report, counted from bit 0 of its first byte: changed on the way.
    ReportBitFlipped(usize),
    /// Writes bytes into the report before it is signed: what firmware gone mad would say.
    ReportBytes(usize, Vec<u8>),
    /// Sends these bytes as the report.
    Report(Vec<u8>),
    /// Other report data: a report made for another challenge.
    ReportData(ReportData),
    /// Another version in the report.
    ReportVersion(u32),
    /// The host hides the chip: its id is zero in the report.
    MaskedChipId,
    /// The host asked for the report, not the guest: `VMPL` is 0xffffffff.
    HostRequested,
    /// The host forbade to sign with the chip's key: `SIGNING_KEY` is 7, and there is no signature.
    Unsigned,

    // The certificates.
    /// The certificate is genuine, but of another chip (under a VLEK: a VCEK of some chip).
    CertificateOfAnotherChip,
    /// The certificate is genuine, but for this TCB.
    CertificateTcb(Tcb),
    /// The certificate is genuine, but a VLEK where the report names a VCEK, or the other way round.
    CertificateOfOtherKind,
    /// A forger with AMD's names made everything: the key that signed, its certificate and the chain.
    ForgedHierarchy,
    /// The certificate is genuine; the issuer and the root that come with it are a forger's with AMD's names.
    ForgedChain,
    /// The certificate is genuine; issuer and root are those of this family.
    ChainOf(Product),
    /// The certificate is genuine; issuer and root are PEM of something else.
    GarbageChain,
    /// The certificate comes alone.
    NoChain,
    /// No certificate comes with the report.
    NoCertificates,
    /// This text comes in place of the certificates.
    Certificates(String),

    // The endorsement of the utility VM.
    /// The form of the endorsement.
    EndorsementForm(EndorsementForm),
    /// Another issuer endorses, in its own name.
    EndorsedByAnother,
    /// Another issuer endorses, and claims to be the usual one.
    ForgedEndorsement,
    /// The usual authority, but its leaf is for this use only (an OID, dotted).
    EndorserUse(String),
    /// Endorses another feed.
    EndorsedFeed(String),
    /// Endorses another security version.
    EndorsedSvn(u64),
    /// Endorses another launch measurement.
    EndorsedMeasurement(Measurement),
    /// Inverts one bit of the finished endorsement.
    EndorsementBitFlipped(usize),
    /// These bytes in place of an endorsement.
    Endorsement(Vec<u8>),
    /// No endorsement.
    NoEndorsement,
}
