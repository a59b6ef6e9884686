//! The report of the paravisor ("HCL report"): a hardware report and the runtime claims that it covers.
//!
//! It is what the guest reads from NV index 0x01400001 of the virtual TPM. Numbers are little endian. The layout is that of
//! `openhcl_attestation_protocol` (`igvm_attest/get.rs`) in Microsoft's openvmm:
//!
//! | offset | bytes | field | value |
//! |---|---|---|---|
//! | 0x000 | 4 | signature | `HCLA` |
//! | 0x004 | 4 | version | 1 or 2 |
//! | 0x008 | 4 | report size | 0x4c0 + data size |
//! | 0x00c | 4 | request type | 2: certificate of the attestation key |
//! | 0x010 | 16 | status, reserved | 0 |
//! | 0x020 | 1184 | hardware report | SEV-SNP; or 1024 bytes of TDX, then zeros |
//! | 0x4c0 | 4 | data size | 20 + length of the claims |
//! | 0x4c4 | 4 | data version | 1 |
//! | 0x4c8 | 4 | report type | 2 SEV-SNP, 4 TDX |
//! | 0x4cc | 4 | hash | 1: SHA-256 |
//! | 0x4d0 | 4 | length of the claims | |
//! | 0x4d4 | | runtime claims (JSON) | |
//! | | | up to the size of the NV index | zeros |
//!
//! No signature covers the header. Each of its fields has one value that is accepted (the version two, which have the same layout), so
//! that it cannot say anything that is not so.

use super::bytes::Bytes;
use super::error::HclReportError;
use super::runtime_claims::{RuntimeClaims, UnverifiedRuntimeClaims};
use crate::crypto;
use crate::snp::{REPORT_LEN, VerifiedReport};
use crate::types::ReportData;

/// The longest blob that is read, in bytes. The NV index has 2600; in 2023 it had 2048.
pub const MAX_HCL_REPORT_LEN: usize = 4096;

/// The part in front of the runtime claims.
const HEADER_LEN: u32 = 0x4c0;
/// The part of the data in front of the runtime claims.
const DATA_HEADER_LEN: u32 = 20;
/// The offset of the hardware report.
const REPORT_AT: usize = 0x20;
/// The part of a hardware report that its signature covers (AMD 56860 table 23).
const SIGNED_LEN: usize = 0x2a0;
/// The offset of `REPORT_DATA` in a hardware report (AMD 56860 table 23).
const SNP_REPORT_DATA: usize = 0x50;
/// The bytes of a TD report (Intel TDX module ABI, `TDREPORT_STRUCT`).
const TD_REPORT_LEN: usize = 1024;
/// The offset of `REPORTDATA` in a TD report.
const TD_REPORT_DATA: usize = 0x80;
const REPORT_TYPE_SNP: u32 = 2;
const REPORT_TYPE_TDX: u32 = 4;

/// A parsed blob, of which nothing is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HclReport<'a> {
    version: u32,
    tee: HclTee<'a>,
    claims: &'a [u8],
}

/// The hardware report in a blob, not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HclTee<'a> {
    /// An attestation report of AMD SEV-SNP (AMD 56860 table 23).
    SevSnp(&'a [u8; REPORT_LEN]),
    /// A TD report of Intel TDX. This crate does not verify them.
    Tdx(&'a [u8; TD_REPORT_LEN]),
}

impl<'a> HclReport<'a> {
    /// Parses a blob as the NV index has it. Bytes after the runtime claims must be zero.
    ///
    /// # Errors
    ///
    /// [`HclReportError`] for a field that does not have its value.
    pub fn read(blob: &'a [u8]) -> Result<Self, HclReportError> {
        if blob.len() > MAX_HCL_REPORT_LEN {
            return Err(HclReportError::TooLarge { limit: MAX_HCL_REPORT_LEN, actual: blob.len() });
        }
        let mut fields = Fields { bytes: Bytes::new(blob), blob_len: blob.len() };
        fields.expect("signature", &[u32::from_le_bytes(*b"HCLA")])?;
        let version = fields.expect("version", &[1, 2])?;
        let report_size = fields.number()?;
        fields.expect("request type", &[2])?;
        fields.expect("status", &[0])?;
        for _ in 0..3 {
            fields.expect("reserved", &[0])?;
        }
        let report: &[u8; REPORT_LEN] = fields.array()?;
        let data_size = fields.number()?;
        fields.expect("data version", &[1])?;
        let report_type = fields.expect("report type", &[REPORT_TYPE_SNP, REPORT_TYPE_TDX])?;
        fields.expect("hash", &[1])?;
        let claims_len = fields.number()?;
        // Both sizes follow from the length of the claims: another value would be a second way to write the same blob.
        check_size("data size", DATA_HEADER_LEN.checked_add(claims_len), data_size)?;
        check_size("report size", HEADER_LEN.checked_add(data_size), report_size)?;
        let claims = usize::try_from(claims_len).ok().and_then(|len| fields.bytes.take(len));
        let claims = claims.ok_or(fields.truncated())?;
        check_zeros(&fields.bytes)?;
        let tee = match report_type {
            REPORT_TYPE_TDX => HclTee::Tdx(read_td_report(report)?),
            _ => HclTee::SevSnp(report),
        };
        Ok(Self { version, tee, claims })
    }

    /// Returns the version of the header, 1 or 2. The layout does not depend on it, and nothing authenticates it.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Returns the hardware report, which is not verified.
    #[must_use]
    pub const fn tee(&self) -> HclTee<'a> {
        self.tee
    }

    /// Returns the hardware report, to be verified by [`crate::snp::verify`].
    ///
    /// # Errors
    ///
    /// [`HclReportError::NotSevSnp`] for a report of TDX.
    pub const fn snp_report(&self) -> Result<&'a [u8; REPORT_LEN], HclReportError> {
        match self.tee {
            HclTee::SevSnp(report) => Ok(report),
            HclTee::Tdx(_) => Err(HclReportError::NotSevSnp),
        }
    }

    /// Returns the bytes of the runtime claims (JSON), which are not verified.
    #[must_use]
    pub const fn runtime_claims_json(&self) -> &'a [u8] {
        self.claims
    }

    /// Returns the runtime claims, if this verified hardware report is the one in the blob and covers them.
    ///
    /// # Errors
    ///
    /// [`HclReportError::AnotherReport`] if `report` is not the one in the blob, [`HclReportError::NotOfParavisor`] unless it is of VMPL 0,
    /// [`HclReportError::WrongReportData`] unless its
    /// `REPORT_DATA` is the SHA-256 of the claims and 32 zero bytes, [`HclReportError::RuntimeClaims`] for claims that cannot be
    /// read.
    pub fn verify_with(&self, report: &VerifiedReport) -> Result<RuntimeClaims, HclReportError> {
        // The signed part identifies a report: see `VerifiedReport::report_digest`.
        let signed = self.snp_report()?.get(..SIGNED_LEN).unwrap_or_default();
        if crypto::sha256_digest(signed) != report.report_digest() {
            return Err(HclReportError::AnotherReport);
        }
        // Less privileged software chooses the report data of its own reports, and so the claims that they cover.
        let vmpl = report.snp().vmpl;
        if vmpl != 0 {
            return Err(HclReportError::NotOfParavisor { vmpl });
        }
        self.check_report_data(report.snp().report_data)?;
        RuntimeClaims::read(self.claims).map_err(HclReportError::RuntimeClaims)
    }

    /// Reads the runtime claims of a blob whose hardware report is not verified, for display. The hardware report, whose signature
    /// may be forged, must cover them.
    ///
    /// # Errors
    ///
    /// As [`HclReport::verify_with`].
    pub fn unverified_runtime_claims(&self) -> Result<UnverifiedRuntimeClaims, HclReportError> {
        let (report, at): (&[u8], _) = match self.tee {
            HclTee::SevSnp(report) => (report, SNP_REPORT_DATA),
            HclTee::Tdx(report) => (report, TD_REPORT_DATA),
        };
        let stated = report.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; ReportData::LEN]);
        self.check_report_data(ReportData::new(stated))?;
        UnverifiedRuntimeClaims::read(self.claims).map_err(HclReportError::RuntimeClaims)
    }

    /// The paravisor hashes the claims as they lie in the blob, and leaves the second half of `REPORT_DATA` zero.
    fn check_report_data(&self, actual: ReportData) -> Result<(), HclReportError> {
        let expected = ReportData::of_digest(&crypto::sha256(self.claims));
        if crypto::constant_time_eq(expected.as_bytes(), actual.as_bytes()) {
            return Ok(());
        }
        Err(HclReportError::WrongReportData { expected: Box::new(expected), actual: Box::new(actual) })
    }
}

/// Reads the numbers of the header.
struct Fields<'a> {
    bytes: Bytes<'a>,
    blob_len: usize,
}

impl<'a> Fields<'a> {
    const fn truncated(&self) -> HclReportError {
        HclReportError::Truncated { actual: self.blob_len }
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], HclReportError> {
        self.bytes.array().ok_or(self.truncated())
    }

    fn number(&mut self) -> Result<u32, HclReportError> {
        self.bytes.u32_le().ok_or(self.truncated())
    }

    fn expect(&mut self, field: &'static str, accepted: &[u32]) -> Result<u32, HclReportError> {
        let actual = self.number()?;
        if accepted.contains(&actual) {
            Ok(actual)
        } else {
            Err(HclReportError::WrongField { field, expected: accepted.to_vec(), actual })
        }
    }
}

fn check_size(field: &'static str, expected: Option<u32>, actual: u32) -> Result<(), HclReportError> {
    if expected == Some(actual) {
        Ok(())
    } else {
        Err(HclReportError::WrongField { field, expected: expected.into_iter().collect(), actual })
    }
}

fn check_zeros(bytes: &Bytes<'_>) -> Result<(), HclReportError> {
    match bytes.rest().iter().position(|byte| *byte != 0) {
        Some(at) => Err(HclReportError::NotZero { offset: bytes.offset().saturating_add(at) }),
        None => Ok(()),
    }
}

/// A TD report is shorter than the place that it has.
fn read_td_report(place: &[u8; REPORT_LEN]) -> Result<&[u8; TD_REPORT_LEN], HclReportError> {
    // `REPORTTYPE`.
    const OF_A_TD: u8 = 0x81;
    if let Some(actual) = place.first().filter(|first| **first != OF_A_TD) {
        let (field, expected) = ("type of the td report", vec![u32::from(OF_A_TD)]);
        return Err(HclReportError::WrongField { field, expected, actual: u32::from(*actual) });
    }
    let mut bytes = Bytes::new(place);
    let report = bytes.array::<TD_REPORT_LEN>().ok_or(HclReportError::Truncated { actual: place.len() })?;
    match bytes.rest().iter().position(|byte| *byte != 0) {
        Some(at) => Err(HclReportError::NotZero { offset: REPORT_AT.saturating_add(TD_REPORT_LEN).saturating_add(at) }),
        None => Ok(report),
    }
}
