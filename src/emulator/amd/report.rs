//! Reports, as the firmware of any product writes them in any version (AMD 56860 table 23).

use super::vek::SignedVek;
use crate::claims::Cpuid;
use crate::snp::REPORT_LEN;
use crate::types::{
    ChipId, FamilyId, FirmwareVersion, HostData, ImageId, KeyDigest, Measurement, Product, ReportData, ReportId,
    SigningKey, Tcb,
};

/// A report to fill in and sign. Without more it is of version 3, of a production guest as Azure runs them.
#[derive(Clone, Debug)]
pub struct ReportBuilder {
    product: Product,
    version: u32,
    guest_svn: u32,
    policy: u64,
    family_id: FamilyId,
    image_id: ImageId,
    vmpl: u32,
    signature_algorithm: u32,
    platform_info: u64,
    key_info: u32,
    signing_key: Option<u32>,
    report_data: ReportData,
    measurement: Measurement,
    host_data: HostData,
    id_key_digest: KeyDigest,
    author_key_digest: KeyDigest,
    report_id: ReportId,
    report_id_ma: ReportId,
    cpuid: Cpuid,
    chip_id: Option<ChipId>,
    current_tcb: Option<Tcb>,
    reported_tcb: Option<Tcb>,
    committed_tcb: Option<Tcb>,
    launch_tcb: Option<Tcb>,
    current_firmware: FirmwareVersion,
    committed_firmware: FirmwareVersion,
    launch_mitigation_vector: u64,
    current_mitigation_vector: u64,
    patches: Vec<(usize, Vec<u8>)>,
}

/// A setter for each field, all alike.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty $(=> $wrap:expr)?;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(self, $name: $type) -> Self {
                Self { $name: $(($wrap))?($name), ..self }
            }
        )*
    };
}

impl ReportBuilder {
    pub(super) fn new(product: Product) -> Self {
        let (family, model) = match product {
            Product::Milan => (0x19, 0x01),
            Product::Genoa => (0x19, 0x11),
            Product::Turin => (0x1a, 0x02),
        };
        let firmware = FirmwareVersion { major: 1, minor: 55, build: 29 };
        Self {
            product,
            version: 3,
            guest_svn: 2,
            policy: 0x3_001f,
            family_id: FamilyId::new([0; 16]),
            image_id: ImageId::new([0; 16]),
            vmpl: 0,
            signature_algorithm: 1,
            platform_info: 0x25,
            key_info: 0,
            signing_key: None,
            report_data: ReportData::new([0; 64]),
            measurement: Measurement::new([0x4d; 48]),
            host_data: HostData::new([0x48; 32]),
            id_key_digest: KeyDigest::new([0; 48]),
            author_key_digest: KeyDigest::new([0; 48]),
            report_id: ReportId::new([0x52; 32]),
            report_id_ma: ReportId::new([0xff; 32]),
            cpuid: Cpuid { family, model, stepping: 1 },
            chip_id: None,
            current_tcb: None,
            reported_tcb: None,
            committed_tcb: None,
            launch_tcb: None,
            current_firmware: firmware,
            committed_firmware: firmware,
            launch_mitigation_vector: 0,
            current_mitigation_vector: 0,
            patches: Vec::new(),
        }
    }

    setters! {
        /// `VERSION`.
        version: u32;
        /// `GUEST_SVN`.
        guest_svn: u32;
        /// `POLICY`.
        policy: u64;
        /// `FAMILY_ID`.
        family_id: [u8; 16] => FamilyId::new;
        /// `IMAGE_ID`.
        image_id: [u8; 16] => ImageId::new;
        /// `VMPL`.
        vmpl: u32;
        /// `SIGNATURE_ALGO`.
        signature_algorithm: u32;
        /// `PLATFORM_INFO`.
        platform_info: u64;
        /// The key field without `SIGNING_KEY`: `AUTHOR_KEY_EN` is bit 0, `MASK_CHIP_KEY` bit 1.
        key_info: u32;
        /// `SIGNING_KEY`; by default that of the key that signs.
        signing_key: u32 => Some;
        /// `REPORT_DATA`.
        report_data: [u8; 64] => ReportData::new;
        /// `MEASUREMENT`.
        measurement: [u8; 48] => Measurement::new;
        /// `HOST_DATA`.
        host_data: [u8; 32] => HostData::new;
        /// `ID_KEY_DIGEST`.
        id_key_digest: [u8; 48] => KeyDigest::new;
        /// `AUTHOR_KEY_DIGEST`.
        author_key_digest: [u8; 48] => KeyDigest::new;
        /// `REPORT_ID`.
        report_id: [u8; 32] => ReportId::new;
        /// `REPORT_ID_MA`.
        report_id_ma: [u8; 32] => ReportId::new;
        /// The processor; not written in version 2.
        cpuid: Cpuid;
        /// `CHIP_ID`; by default that of the key that signs.
        chip_id: ChipId => Some;
        /// `CURRENT_TCB`; by default that of the key that signs.
        current_tcb: Tcb => Some;
        /// `REPORTED_TCB`; by default that of the key that signs.
        reported_tcb: Tcb => Some;
        /// `COMMITTED_TCB`; by default that of the key that signs.
        committed_tcb: Tcb => Some;
        /// `LAUNCH_TCB`; by default that of the key that signs.
        launch_tcb: Tcb => Some;
        /// `CURRENT_MAJOR`, `CURRENT_MINOR`, `CURRENT_BUILD`.
        current_firmware: FirmwareVersion;
        /// `COMMITTED_MAJOR`, `COMMITTED_MINOR`, `COMMITTED_BUILD`.
        committed_firmware: FirmwareVersion;
        /// `LAUNCH_MIT_VECTOR`; not written before version 5.
        launch_mitigation_vector: u64;
        /// `CURRENT_MIT_VECTOR`; not written before version 5.
        current_mitigation_vector: u64;
    }

    /// Writes bytes over the finished report before it is signed.
    #[must_use]
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// The report, signed.
    #[must_use]
    pub fn sign(&self, vek: &SignedVek) -> Vec<u8> {
        let mut report = self.unsigned(vek);
        let body: Vec<u8> = report.iter().copied().take(0x2a0).collect();
        let mut signature = vek.key.sign(&body);
        // The report has both numbers in little endian, in 72 bytes each.
        let s = signature.split_off(48);
        for (offset, mut number) in [(0x2a0, signature), (0x2e8, s)] {
            number.reverse();
            put(&mut report, offset, &number);
        }
        report
    }

    fn unsigned(&self, vek: &SignedVek) -> Vec<u8> {
        let signing_key = self.signing_key.unwrap_or(match vek.kind {
            SigningKey::Vcek => 0,
            SigningKey::Vlek => 1,
        });
        let tcb = |chosen: Option<Tcb>| tcb_bytes(self.product, chosen.unwrap_or(vek.tcb));
        let firmware = |version: FirmwareVersion| [version.build, version.minor, version.major];
        let mut report = vec![0; REPORT_LEN];
        let mut write = |offset, bytes: &[u8]| put(&mut report, offset, bytes);
        write(0x000, &self.version.to_le_bytes());
        write(0x004, &self.guest_svn.to_le_bytes());
        write(0x008, &self.policy.to_le_bytes());
        write(0x010, self.family_id.as_bytes());
        write(0x020, self.image_id.as_bytes());
        write(0x030, &self.vmpl.to_le_bytes());
        write(0x034, &self.signature_algorithm.to_le_bytes());
        write(0x038, &tcb(self.current_tcb));
        write(0x040, &self.platform_info.to_le_bytes());
        write(0x048, &(self.key_info | (signing_key << 2)).to_le_bytes());
        write(0x050, self.report_data.as_bytes());
        write(0x090, self.measurement.as_bytes());
        write(0x0c0, self.host_data.as_bytes());
        write(0x0e0, self.id_key_digest.as_bytes());
        write(0x110, self.author_key_digest.as_bytes());
        write(0x140, self.report_id.as_bytes());
        write(0x160, self.report_id_ma.as_bytes());
        write(0x180, &tcb(self.reported_tcb));
        if self.version >= 3 {
            write(0x188, &[self.cpuid.family, self.cpuid.model, self.cpuid.stepping]);
        }
        write(0x1a0, self.chip_id.unwrap_or(vek.chip_id).as_bytes());
        write(0x1e0, &tcb(self.committed_tcb));
        write(0x1e8, &firmware(self.current_firmware));
        write(0x1ec, &firmware(self.committed_firmware));
        write(0x1f0, &tcb(self.launch_tcb));
        if self.version >= 5 {
            write(0x1f8, &self.launch_mitigation_vector.to_le_bytes());
            write(0x200, &self.current_mitigation_vector.to_le_bytes());
        }
        for (offset, bytes) in &self.patches {
            write(*offset, bytes);
        }
        report
    }
}

/// A TCB as it stands in a report.
pub(in crate::emulator) fn tcb_bytes(product: Product, tcb: Tcb) -> [u8; 8] {
    let Tcb { fmc, bootloader, tee, snp, microcode } = tcb;
    match product {
        Product::Milan | Product::Genoa => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
        Product::Turin => [fmc.unwrap_or_default(), bootloader, tee, snp, 0, 0, 0, microcode],
    }
}

fn put(report: &mut [u8], offset: usize, bytes: &[u8]) {
    for (to, from) in report.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}
