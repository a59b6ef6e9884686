//! The format of a report: checks of its bytes, and its fields as claims.
//!
//! The `sev` crate parses the fields. It is more lenient than a verifier may be, so this file first checks the bytes (length,
//! version, reserved bits and bytes, key kind), and afterwards requires that encoding the fields again gives exactly the
//! received bytes: no byte of a report may be ignored.

use std::ops::Range;

use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser as _;

use super::error::ReportError;
use super::product::{hardware_id_len, product_of};
use crate::claims::{Bit, Cpuid, GuestPolicy, HardwareClaims, PlatformInfo, SnpClaims};
use crate::types::{
    ChipId, FamilyId, FirmwareVersion, HostData, ImageId, KeyDigest, Measurement, Product, ReportData, ReportId,
    SigningKey, Tcb,
};

/// The length of a report of any version (AMD 56860 table 23).
pub const REPORT_LEN: usize = 0x4a0;

/// A report whose fixed parts conform to the specification. Not verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawReport<'a> {
    bytes: &'a [u8; REPORT_LEN],
    pub(crate) version: u32,
    pub(crate) signing_key: SigningKey,
    /// `None` for reports of version 2.
    pub(crate) cpuid: Option<Cpuid>,
    /// The product by CPUID; `None` for reports of version 2.
    pub(crate) product: Option<Product>,
    pub(crate) chip_id: ChipId,
}

impl<'a> RawReport<'a> {
    /// Checks everything that does not depend on the product.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, ReportError> {
        let bytes: &[u8; REPORT_LEN] =
            bytes.try_into().map_err(|_| ReportError::WrongLength { expected: REPORT_LEN, actual: bytes.len() })?;
        let version = u32_at(bytes, 0x000)?;
        if !matches!(version, 2..=5) {
            return Err(ReportError::UnsupportedVersion { actual: version });
        }
        check_policy(u64_at(bytes, 0x008)?)?;
        let vmpl = u32_at(bytes, 0x030)?;
        if vmpl > 3 {
            return Err(ReportError::UnsupportedVmpl { actual: vmpl });
        }
        let algorithm = u32_at(bytes, 0x034)?;
        if algorithm != 1 {
            return Err(ReportError::UnsupportedSignatureAlgorithm { actual: algorithm });
        }
        let signing_key = signing_key(u32_at(bytes, 0x048)?)?;
        check_reserved_bytes(bytes, version)?;
        if bytes.get(SIGNATURE).is_none_or(|signature| signature.iter().all(|byte| *byte == 0)) {
            return Err(ReportError::Unsigned);
        }

        let cpuid = match version {
            2 => None,
            _ => {
                let [family, model, stepping] = array_at(bytes, 0x188)?;
                Some(Cpuid { family, model, stepping })
            }
        };
        let product = match cpuid {
            None => None,
            Some(cpuid) => Some(product_of(cpuid).ok_or(ReportError::UnsupportedProduct { cpuid })?),
        };
        let chip_id = ChipId::new(array_at(bytes, CHIP_ID.start)?);
        Ok(Self { bytes, version, signing_key, cpuid, product, chip_id })
    }

    /// Returns the signed part.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.bytes.get(BODY).unwrap_or_default()
    }

    /// Returns the signature as `r || s`, big endian, 48 bytes each.
    pub(crate) fn signature(&self) -> Result<[u8; 96], ReportError> {
        let mut r: [u8; 48] = array_at(self.bytes, 0x2a0)?;
        let mut s: [u8; 48] = array_at(self.bytes, 0x2e8)?;
        r.reverse();
        s.reverse();
        let mut signature = [0; 96];
        let (first, second) = signature.split_at_mut(48);
        first.copy_from_slice(&r);
        second.copy_from_slice(&s);
        Ok(signature)
    }

    /// Returns `REPORTED_TCB` in the layout of a product; reserved bytes are ignored.
    pub(crate) fn reported_tcb(&self, product: Product) -> Result<Tcb, ReportError> {
        let [b0, b1, b2, b3, _, _, b6, b7] = array_at(self.bytes, 0x180)?;
        Ok(match product {
            Product::Milan | Product::Genoa => Tcb::new(None, b0, b1, b6, b7),
            Product::Turin => Tcb::new(Some(b0), b1, b2, b3, b7),
        })
    }

    /// Reads the fields in the layout of the processor family that made the report.
    pub(crate) fn fields(&self, product: Product) -> Result<Fields, ReportError> {
        let mut copy = *self.bytes;
        if self.version == 2 {
            // `sev` infers the TCB layout of a version 2 report from its chip id and refuses a masked one. The product is
            // already known from the certificate chain, so a copy of the report gets a chip id that leads to its layout.
            let mut shape = [0; ChipId::LEN];
            shape.iter_mut().take(hardware_id_len(product)).for_each(|byte| *byte = 0xff);
            put(&mut copy, CHIP_ID, &shape);
        }
        let report = AttestationReport::from_bytes(&copy).map_err(|_| ReportError::NotCanonical)?;
        let written: [u8; REPORT_LEN] = report.to_bytes().map_err(|_| ReportError::NotCanonical)?;
        if written != copy {
            return Err(ReportError::NotCanonical);
        }
        self.claims(&report, product)
    }

    fn claims(&self, report: &AttestationReport, product: Product) -> Result<Fields, ReportError> {
        // Not `report.policy` as a number: `sev` sets bit 17 when it converts it back.
        let policy = u64_at(self.bytes, 0x008)?;
        let [policy_abi_minor, policy_abi_major, ..] = policy.to_le_bytes();
        let key_info = u32_at(self.bytes, 0x048)?;
        let snp = SnpClaims {
            measurement: Measurement::new(report.measurement),
            host_data: HostData::new(report.host_data),
            report_data: ReportData::new(report.report_data),
            report_id: ReportId::new(report.report_id),
            report_guest_svn: report.guest_svn,
            vmpl: report.vmpl,
            policy: guest_policy(policy),
            reported_tcb: tcb(report.reported_tcb),
            id_key_digest: KeyDigest::new(report.id_key_digest),
            author_key_digest: KeyDigest::new(report.author_key_digest),
            family_id: FamilyId::new(report.family_id),
            image_id: ImageId::new(report.image_id),
            chip_id: (!self.chip_id.is_zero()).then_some(self.chip_id),
            product: Some(product),
        };
        let hardware = HardwareClaims {
            version: self.version,
            policy,
            policy_abi_major,
            policy_abi_minor,
            current_tcb: tcb(report.current_tcb),
            committed_tcb: tcb(report.committed_tcb),
            launch_tcb: tcb(report.launch_tcb),
            current_firmware: firmware(report.current),
            committed_firmware: firmware(report.committed),
            platform_info: platform_info(u64::from(report.plat_info), self.version),
            author_key_en: key_info & 1 != 0,
            mask_chip_key: key_info & MASK_CHIP_KEY != 0,
            signing_key: self.signing_key,
            report_id_ma: ReportId::new(report.report_id_ma),
            launch_mitigation_vector: report.launch_mit_vector,
            current_mitigation_vector: report.current_mit_vector,
            cpuid: self.cpuid,
            csp_id: None,
        };
        Ok(Fields { snp, hardware })
    }
}

/// The fields of a report. Not verified.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) snp: SnpClaims,
    pub(crate) hardware: HardwareClaims,
}

/// Checks the TCBs of a report against each other. The host chooses `REPORTED_TCB` up to the committed TCB, and the running TCB
/// is the committed one or newer. A report that claims more contradicts itself: its platform cannot derive the key of that TCB.
pub(crate) fn check_tcb_order(fields: &Fields) -> Result<(), ReportError> {
    let reported = fields.snp.reported_tcb;
    let (committed, current) = (fields.hardware.committed_tcb, fields.hardware.current_tcb);
    for (field, actual) in [("COMMITTED_TCB", committed), ("CURRENT_TCB", current)] {
        if let Some(part) = first_above(reported, actual) {
            return Err(ReportError::TcbAbovePlatform { part, reported, field, actual });
        }
    }
    match first_above(committed, current) {
        Some(part) => Err(ReportError::CommittedTcbAboveCurrent { part, committed, current }),
        None => Ok(()),
    }
}

/// Returns the first part of a TCB that is above that of another.
fn first_above(one: Tcb, other: Tcb) -> Option<&'static str> {
    let parts = [
        ("fmc", one.fmc > other.fmc),
        ("bootloader", one.bootloader > other.bootloader),
        ("tee", one.tee > other.tee),
        ("snp", one.snp > other.snp),
        ("microcode", one.microcode > other.microcode),
    ];
    parts.into_iter().find(|(_, above)| *above).map(|(part, _)| part)
}

fn check_policy(policy: u64) -> Result<(), ReportError> {
    const MUST_BE_ONE: u64 = 1 << 17;
    const RESERVED: u64 = !0 << 26;
    if policy & MUST_BE_ONE == 0 || policy & RESERVED != 0 {
        return Err(ReportError::ReservedBits { field: "POLICY", actual: policy });
    }
    Ok(())
}

/// Whether the host forbade the firmware to use the VCEK, for reports and for derived keys (AMD 56860 table 23).
const MASK_CHIP_KEY: u32 = 1 << 1;

fn signing_key(key_info: u32) -> Result<SigningKey, ReportError> {
    const RESERVED: u32 = !0 << 5;
    if key_info & RESERVED != 0 {
        return Err(ReportError::ReservedBits { field: "KEY_INFO", actual: u64::from(key_info) });
    }
    match (key_info >> 2) & 7 {
        // Firmware that must not use the chip's key (MASK_CHIP_KEY) signs with none.
        0 if key_info & MASK_CHIP_KEY != 0 => Err(ReportError::MaskedChipKey),
        0 => Ok(SigningKey::Vcek),
        1 => Ok(SigningKey::Vlek),
        7 => Err(ReportError::Unsigned),
        actual => Err(ReportError::UnsupportedSigningKey { actual }),
    }
}

fn check_reserved_bytes(bytes: &[u8; REPORT_LEN], version: u32) -> Result<(), ReportError> {
    let cpuid = if version == 2 { 0x188..0x1a0 } else { 0x18b..0x1a0 };
    let tail = if version < 5 { 0x1f8..0x2a0 } else { 0x208..0x2a0 };
    let (above_r, above_s, after_s) = (0x2d0..0x2e8, 0x318..0x330, 0x330..REPORT_LEN);
    for range in [0x04c..0x050, cpuid, 0x1eb..0x1ec, 0x1ef..0x1f0, tail, above_r, above_s, after_s] {
        let field = bytes.get(range.clone()).unwrap_or_default();
        if let Some(at) = field.iter().position(|byte| *byte != 0) {
            return Err(ReportError::ReservedByte { offset: range.start.saturating_add(at) });
        }
    }
    Ok(())
}

const BODY: Range<usize> = 0x000..0x2a0;
const CHIP_ID: Range<usize> = 0x1a0..0x1e0;
const SIGNATURE: Range<usize> = 0x2a0..REPORT_LEN;

const fn bit(field: u64, at: u32) -> bool {
    (field >> at) & 1 == 1
}

fn guest_policy(policy: u64) -> GuestPolicy {
    // The guest owner sets the policy, and firmware refuses bits that it does not know: in every version a clear bit means
    // that the property was not demanded.
    GuestPolicy {
        debug: bit(policy, 19),
        migrate_ma: bit(policy, 18),
        smt: bit(policy, 16),
        single_socket: bit(policy, 20).into(),
        cxl_allow: bit(policy, 21).into(),
        mem_aes_256_xts: bit(policy, 22).into(),
        rapl_dis: bit(policy, 23).into(),
        ciphertext_hiding_dram: bit(policy, 24).into(),
        page_swap_disable: bit(policy, 25).into(),
    }
}

fn platform_info(raw: u64, version: u32) -> PlatformInfo {
    // Releases of firmware with version 2 reports added these bits one after the other: clear may also mean unknown.
    let since_late_2 = |at| match (version, bit(raw, at)) {
        (2, false) => Bit::NotReported,
        (_, set) => set.into(),
    };
    let since = |first, at| if version < first { Bit::NotReported } else { bit(raw, at).into() };
    PlatformInfo {
        raw,
        smt_en: bit(raw, 0),
        tsme_en: bit(raw, 1),
        ecc_en: since_late_2(2),
        rapl_dis: since_late_2(3),
        ciphertext_hiding_dram_en: since_late_2(4),
        alias_check_complete: since(3, 5),
        iommu_write_safe: since(5, 6),
        tio_en: since(5, 7),
    }
}

fn tcb(tcb: TcbVersion) -> Tcb {
    Tcb::new(tcb.fmc, tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode)
}

fn firmware(version: sev::firmware::guest::Version) -> FirmwareVersion {
    FirmwareVersion { major: version.major, minor: version.minor, build: version.build }
}

fn array_at<const N: usize>(bytes: &[u8; REPORT_LEN], offset: usize) -> Result<[u8; N], ReportError> {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().ok_or(ReportError::NotCanonical)
}

fn u32_at(bytes: &[u8; REPORT_LEN], offset: usize) -> Result<u32, ReportError> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; REPORT_LEN], offset: usize) -> Result<u64, ReportError> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

fn put(bytes: &mut [u8; REPORT_LEN], range: Range<usize>, value: &[u8]) {
    if let Some(field) = bytes.get_mut(range)
        && field.len() == value.len()
    {
        field.copy_from_slice(value);
    }
}
