//! The unverified fields of a report, for tools that display them.

use serde::Serialize;

use super::error::ReportError;
use super::report::REPORT_LEN;

/// The fields of a report, parsed without any verification: for display only, never for decisions.
///
/// The names are AMD's (56860 table 23), in lower case; numbers of 4 and 8 bytes are little endian in the report. TCBs are shown as
/// their 8 bytes, since what these mean depends on the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is the field of AMD's table that it is named after")]
pub struct UnverifiedReport {
    pub version: u32,
    pub guest_svn: u32,
    pub policy: String,
    pub family_id: String,
    pub image_id: String,
    pub vmpl: u32,
    pub signature_algo: u32,
    pub current_tcb: String,
    pub platform_info: String,
    pub key_info: String,
    pub report_data: String,
    pub measurement: String,
    pub host_data: String,
    pub id_key_digest: String,
    pub author_key_digest: String,
    pub report_id: String,
    pub report_id_ma: String,
    pub reported_tcb: String,
    pub cpuid_family: u8,
    pub cpuid_model: u8,
    pub cpuid_stepping: u8,
    pub chip_id: String,
    pub committed_tcb: String,
    pub current_build: u8,
    pub current_minor: u8,
    pub current_major: u8,
    pub committed_build: u8,
    pub committed_minor: u8,
    pub committed_major: u8,
    pub launch_tcb: String,
    pub launch_mit_vector: String,
    pub current_mit_vector: String,
    pub signature_r: String,
    pub signature_s: String,
}

impl UnverifiedReport {
    /// Parses a report of any version.
    ///
    /// # Errors
    ///
    /// [`ReportError::WrongLength`] unless there are 1184 bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, ReportError> {
        let bytes: &[u8; REPORT_LEN] =
            bytes.try_into().map_err(|_| ReportError::WrongLength { expected: REPORT_LEN, actual: bytes.len() })?;
        let text = |at: usize, len: usize| hex::encode(bytes.get(at..at.saturating_add(len)).unwrap_or_default());
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let number = |at: usize, len: usize| {
            let field = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
            field.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let u32_at = |at| u32::try_from(number(at, 4)).unwrap_or_default();
        let flags = |at| format!("{:#018x}", number(at, 8));
        Ok(Self {
            version: u32_at(0x000),
            guest_svn: u32_at(0x004),
            policy: flags(0x008),
            family_id: text(0x010, 16),
            image_id: text(0x020, 16),
            vmpl: u32_at(0x030),
            signature_algo: u32_at(0x034),
            current_tcb: text(0x038, 8),
            platform_info: flags(0x040),
            key_info: format!("{:#010x}", u32_at(0x048)),
            report_data: text(0x050, 64),
            measurement: text(0x090, 48),
            host_data: text(0x0c0, 32),
            id_key_digest: text(0x0e0, 48),
            author_key_digest: text(0x110, 48),
            report_id: text(0x140, 32),
            report_id_ma: text(0x160, 32),
            reported_tcb: text(0x180, 8),
            cpuid_family: byte(0x188),
            cpuid_model: byte(0x189),
            cpuid_stepping: byte(0x18a),
            chip_id: text(0x1a0, 64),
            committed_tcb: text(0x1e0, 8),
            current_build: byte(0x1e8),
            current_minor: byte(0x1e9),
            current_major: byte(0x1ea),
            committed_build: byte(0x1ec),
            committed_minor: byte(0x1ed),
            committed_major: byte(0x1ee),
            launch_tcb: text(0x1f0, 8),
            launch_mit_vector: flags(0x1f8),
            current_mit_vector: flags(0x200),
            signature_r: text(0x2a0, 72),
            signature_s: text(0x2e8, 72),
        })
    }
}
