//! [`ReportError`] and [`CrlError`]: the reasons why a report, a certificate or a CRL is refused.

use std::fmt;

use crate::claims::Cpuid;
use crate::types::{ChipId, Product, SigningKey, Tcb, UnixTime, difference};
use crate::x509::CertificateError;

/// The reason why a hardware report is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A certificate of the chain cannot be used.
    #[error("the {role} certificate is refused: {cause}")]
    Certificate {
        /// Which certificate.
        role: CertificateRole,
        /// Its fault.
        cause: CertificateError,
    },
    /// The certificate is of another chip.
    #[error(
        "expected a VCEK of the chip that made the report ({}), found one of chip {}: fetch the VCEK by the report's chip id",
        beginning(report),
        beginning(certificate)
    )]
    ChipIdMismatch {
        /// `CHIP_ID` of the report.
        report: Box<ChipId>,
        /// The hardware id of the certificate, followed by zeros where it is shorter.
        certificate: Box<ChipId>,
    },
    /// The report does not name its chip, so that no VCEK can be matched with it.
    #[error(
        "the report's chip id is masked (all zero), so its VCEK cannot be determined: the host must unmask it, or sign with a VLEK"
    )]
    ChipIdMasked,
    /// Revocation is required to be checked and cannot be.
    #[error("revocation cannot be checked: {0}")]
    Crl(CrlError),
    /// The report says that the chip's key must not be used (`MASK_CHIP_KEY`) and that it is signed with it.
    #[error("expected no signature by the chip's key, which the report says is masked (MASK_CHIP_KEY), found one")]
    MaskedChipKey,
    /// The report has bytes with no meaning in the format.
    #[error(
        "the report has bytes that its version and processor do not define: it was changed, or is of a form that this release does not read"
    )]
    NotCanonical,
    /// The report and the certificate belong to different processor families.
    #[error("expected a certificate of {report}, which made the report, found one of {certificate}")]
    ProductMismatch {
        /// The processor family in the report.
        report: Product,
        /// The product of the certificate's issuer.
        certificate: Product,
    },
    /// Bits that must have one value have another.
    #[error("reserved bits of {field} are not as the specification demands: {actual:#x}")]
    ReservedBits {
        /// AMD's name of the field.
        field: &'static str,
        /// The field.
        actual: u64,
    },
    /// A byte that must be zero is not.
    #[error("the reserved byte at offset {offset:#x} of the report is not zero")]
    ReservedByte {
        /// Its offset from the start of the report.
        offset: usize,
    },
    /// AMD revoked a certificate of the chain.
    #[error("AMD revoked the {role} certificate with serial number {serial}: nothing that it issued can be trusted")]
    Revoked {
        /// Which certificate.
        role: CertificateRole,
        /// Its serial number in hexadecimal.
        serial: String,
    },
    /// The report was signed by one kind of key, the certificate is for the other.
    #[error("the report says it is signed by a {report}, but the certificate is of a {certificate}")]
    SigningKeyMismatch {
        /// `SIGNING_KEY` of the report.
        report: SigningKey,
        /// The kind of key of the certificate.
        certificate: SigningKey,
    },
    /// The certificate is for another TCB than the reported one.
    #[error(
        "expected a certificate for the reported TCB ({report}), found one for {certificate}: {part} differs, fetch the certificate for exactly the reported TCB"
    )]
    TcbMismatch {
        /// The first part that differs.
        part: TcbPart,
        /// `REPORTED_TCB` of the report.
        report: Tcb,
        /// The TCB of the certificate.
        certificate: Tcb,
    },
    /// The report claims a TCB that its platform does not have, or from which it can be rolled back.
    #[error("REPORTED_TCB ({reported}) is above {field} ({actual}) in its {part}, which no firmware reports")]
    TcbAbovePlatform {
        /// The first part that is above.
        part: &'static str,
        /// `REPORTED_TCB`.
        reported: Tcb,
        /// AMD's name of the other TCB: `CURRENT_TCB` or `COMMITTED_TCB`.
        field: &'static str,
        /// The other TCB.
        actual: Tcb,
    },
    /// The report claims that its platform runs less than it has committed to, and can be rolled back to.
    #[error("COMMITTED_TCB ({committed}) is above CURRENT_TCB ({current}) in its {part}, which no firmware reports")]
    CommittedTcbAboveCurrent {
        /// The first part that is above.
        part: &'static str,
        /// `COMMITTED_TCB`.
        committed: Tcb,
        /// `CURRENT_TCB`.
        current: Tcb,
    },
    /// The report carries no signature.
    #[error("the report is not signed (the host masked the chip's key, or the signature is empty)")]
    Unsigned,
    /// No roots are known for the processor.
    #[error("expected a processor of Milan, Genoa or Turin, found {cpuid}")]
    UnsupportedProduct {
        /// The processor in the report.
        cpuid: Cpuid,
    },
    /// The signature algorithm is not ECDSA P-384 with SHA-384.
    #[error("expected signature algorithm 1 (ECDSA P-384 with SHA-384), found {actual}")]
    UnsupportedSignatureAlgorithm {
        /// `SIGNATURE_ALGO`.
        actual: u32,
    },
    /// The signing key is of a kind that does not exist.
    #[error("expected a report signed by a VCEK (0) or a VLEK (1), found key kind {actual}")]
    UnsupportedSigningKey {
        /// `SIGNING_KEY`.
        actual: u32,
    },
    /// The report has a version whose layout is not known.
    #[error("expected a report of version 2, 3, 4 or 5, found {actual}")]
    UnsupportedVersion {
        /// `VERSION`.
        actual: u32,
    },
    /// The report was not requested by a guest.
    #[error("expected a VMPL of 0 to 3, found {actual:#x} (0xffffffff: the host asked for the report, not the guest)")]
    UnsupportedVmpl {
        /// `VMPL`.
        actual: u32,
    },
    /// The report has the wrong length.
    #[error("expected a report of {expected} bytes, found {actual}")]
    WrongLength {
        /// 1184.
        expected: usize,
        /// The actual length in bytes.
        actual: usize,
    },
    /// The signature of the report does not verify.
    #[error(
        "the signature of the report does not verify under the certificate's key: the report was changed or forged"
    )]
    WrongSignature,
}

/// Shortens a chip id so that two can be distinguished. The full id identifies a machine, which does not belong into a log.
fn beginning(chip_id: &ChipId) -> String {
    format!("{:.16}…", chip_id.to_string())
}

/// The place of a certificate in AMD's hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateRole {
    /// The root.
    Ark,
    /// The issuer of VCEKs.
    Ask,
    /// The issuer of VLEKs.
    Asvk,
    /// The certificate of the key that signed the report.
    Vek,
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ark => "ARK",
            Self::Ask => "ASK",
            Self::Asvk => "ASVK",
            Self::Vek => "VCEK/VLEK",
        })
    }
}

/// One part of a [`Tcb`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TcbPart {
    /// [`Tcb::fmc`].
    Fmc,
    /// [`Tcb::bootloader`].
    Bootloader,
    /// [`Tcb::tee`].
    Tee,
    /// [`Tcb::snp`].
    Snp,
    /// [`Tcb::microcode`].
    Microcode,
}

impl fmt::Display for TcbPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fmc => "fmc",
            Self::Bootloader => "bootloader",
            Self::Tee => "tee",
            Self::Snp => "snp",
            Self::Microcode => "microcode",
        })
    }
}

/// The reason why a CRL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The signature algorithm outside the signed part is not the one inside.
    #[error("the CRL names two different signature algorithms")]
    AlgorithmsDiffer,
    /// It is not exactly one CRL in DER.
    #[error("expected exactly one certificate revocation list in DER, found something else")]
    Malformed,
    /// None was given.
    #[error("no CRL was given: fetch AMD's for the product, or allow its absence")]
    Missing,
    /// It has no `nextUpdate`.
    #[error("the CRL does not say when the next one is due")]
    NoNextUpdate,
    /// It was issued in the future.
    #[error("the CRL is of {this_update}, and it is only {now} now, {} earlier: compare the clocks", difference(.this_update, .now))]
    NotYetValid {
        /// Returns when it was issued (`thisUpdate`).
        this_update: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It is outdated: its successor is due.
    #[error("the CRL should have been replaced at {next_update}, and it is {now} now, {} later: fetch the current one, and compare the clocks", difference(.next_update, .now))]
    Stale {
        /// When its successor was due.
        next_update: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The one in the cache directory can be neither read nor replaced, so that the one from the network may be an older one.
    #[error(
        "the CRL in the cache directory can be neither read nor replaced, and may be later than the fetched one: repair or empty the directory"
    )]
    StoredUnreadable,
    /// It is too large.
    #[error("expected a CRL of at most {limit} bytes, found {actual}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// The actual length in bytes.
        actual: usize,
    },
    /// It has too many elements of one kind.
    #[error("expected a CRL with at most {limit} {what}, found more")]
    TooMany {
        /// The kind of element.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It was issued earlier than the caller accepts.
    #[error(
        "the CRL was issued at {this_update}, more than the allowed {max_age_seconds} s ago (it is {now} now): fetch the \
         latest one"
    )]
    TooOld {
        /// Returns when it was issued (`thisUpdate`).
        this_update: UnixTime,
        /// The greatest age that the caller accepts, in seconds.
        max_age_seconds: u64,
        /// The time of the check.
        now: UnixTime,
    },
    /// The signature algorithm is not RSA-PSS with SHA-384 in one of AMD's two encodings.
    #[error(
        "expected RSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes as the CRL's signature algorithm, found another"
    )]
    UnsupportedAlgorithm,
    /// It has an extension that changes its meaning in a way that is not known here.
    #[error("extension {oid} of the CRL changes its meaning and is not supported")]
    UnsupportedExtension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// It applies to certificates of another issuer: AMD has one CRL for the issuer of VCEKs and one for that of VLEKs.
    #[error("expected the CRL that is published at {expected}, found the one of {actual}")]
    WrongDistributionPoint {
        /// The distribution points in the certificate whose revocation matters.
        expected: String,
        /// The issuing distribution points in the CRL, shortened.
        actual: String,
    },
    /// It was not issued by the root of the certificate's chain.
    #[error("expected a CRL by {expected}, found one by {actual:?}")]
    WrongIssuer {
        /// The common name of the root.
        expected: String,
        /// The common name found, shortened.
        actual: String,
    },
    /// The signature does not verify under the root's key.
    #[error("the signature of the CRL does not verify under AMD's root key: it was changed or forged")]
    WrongSignature,
}
