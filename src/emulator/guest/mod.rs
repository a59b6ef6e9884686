//! The guest that the emulator attests: one state, from which token and hardware report are both written.

pub mod azure_vm;
pub(crate) mod hardware_knob;
pub(crate) mod platform;
pub(crate) mod tdx;
pub mod uvm;

use crate::claims::{Bit, GuestPolicy, SnpClaims, TdxClaims, TokenShape, UvmClaims};
use crate::emulator::keys::{random, sha256, sha384};
use crate::policy::{COMPLIANT_CVM, PARAVISOR_FLOORS, PARAVISOR_ID_KEY};
use crate::types::{ChipId, FamilyId, HostData, ImageId, KeyDigest, Measurement, Product, ReportData, ReportId, Tcb};

/// The issuer of Azure's production utility VMs.
///
/// The endorsement claims of a token carry it as asserted by MAA; nothing in an emulated token proves them but its signature.
pub const PRODUCTION_UVM_ISSUER: &str = UvmClaims::PRODUCTION_ISSUER;

/// The feed of the utility VM of Azure Container Instances.
pub const UVM_FEED: &str = UvmClaims::PRODUCTION_FEED;

/// The CCE policy of the emulated confidential container, before base64: it allows one container and no shell in it.
pub const CCE_POLICY: &str = r#"package policy

api_version := "0.10.0"
framework_version := "0.2.3"

containers := [
  {
    "allow_elevated": false,
    "allow_stdio_access": false,
    "command": ["/emulated-blindbox"],
    "env_rules": [],
    "exec_processes": [],
    "id": "emulated-blindbox",
    "layers": ["0000000000000000000000000000000000000000000000000000000000000001"],
    "mounts": [],
    "name": "emulated-blindbox",
    "signals": [],
    "working_dir": "/"
  }
]

allow_environment_variable_dropping := false
allow_unencrypted_scratch := false
allow_properties_access := false
allow_dump_stacks := false
allow_runtime_logging := false
"#;

/// The state of an emulated guest. Every field can be set; [`crate::emulator::Knob`]s change it while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guest {
    /// The layout of the tokens that MAA issues for it.
    pub shape: TokenShape,
    /// What the hardware says. `report_data` is overwritten by every attestation.
    pub snp: SnpClaims,
    /// What Intel TDX says of a guest whose tokens have the layout [`TokenShape::TdxVm`], in place of `snp`. `report_data` is
    /// overwritten by every attestation.
    pub tdx: TdxClaims,
    /// The endorsement of the utility VM; a confidential VM has none.
    pub uvm: Option<UvmClaims>,
    /// What MAA concludes (`x-ms-compliance-status`); `None` leaves the claim out.
    pub compliance_status: Option<String>,
}

impl Guest {
    /// A confidential container on Azure Container Instances: compliant utility VM, [`CCE_POLICY`] as host data, VMPL 0,
    /// neither debug nor migration.
    #[must_use]
    pub fn container() -> Self {
        let measurement = Measurement::new(sha384(b"emulated utility VM"));
        Self {
            shape: TokenShape::SevSnpVm,
            snp: SnpClaims {
                measurement,
                host_data: HostData::new(sha256(CCE_POLICY.as_bytes())),
                report_guest_svn: 2,
                ..snp(b"emulated container id key")
            },
            tdx: tdx::usual(),
            uvm: Some(UvmClaims {
                issuer: PRODUCTION_UVM_ISSUER.to_owned(),
                feed: UVM_FEED.to_owned(),
                svn: 104,
                measurement,
            }),
            compliance_status: Some("azure-compliant-uvm".to_owned()),
        }
    }

    /// A confidential VM whose tokens come from the guest attestation client: `azurevm` with the TEE nested in it.
    #[must_use]
    pub fn confidential_vm() -> Self {
        Self {
            shape: TokenShape::AzureVm,
            snp: SnpClaims {
                measurement: Measurement::new(sha384(b"emulated paravisor")),
                id_key_digest: PARAVISOR_ID_KEY,
                family_id: PARAVISOR_FLOORS[0].family_id,
                report_guest_svn: PARAVISOR_FLOORS[0].minimum_guest_svn,
                ..snp(b"")
            },
            tdx: tdx::usual(),
            uvm: None,
            compliance_status: Some("azure-compliant-cvm".to_owned()),
        }
    }

    /// A VM of a cloud without paravisor and utility VM: its firmware is measured, and its agent requests reports itself. MAA
    /// attests none.
    #[must_use]
    pub fn snp_guest() -> Self {
        Self {
            snp: SnpClaims {
                measurement: Measurement::new(sha384(b"emulated guest firmware")),
                report_guest_svn: 0,
                id_key_digest: KeyDigest::new([0; 48]),
                ..snp(b"")
            },
            compliance_status: None,
            ..Self::confidential_vm_direct()
        }
    }

    /// Whether it is a confidential VM of Azure with SEV-SNP, behind a paravisor with a virtual TPM.
    pub(crate) fn is_azure_vm(&self) -> bool {
        self.shape == TokenShape::AzureVm
            || self.shape == TokenShape::SevSnpVm && self.compliance_status.as_deref() == Some(COMPLIANT_CVM)
    }

    /// The launch measurement of the kind of TEE that it is.
    pub(crate) fn measurement(&self) -> Measurement {
        match self.shape {
            TokenShape::TdxVm => self.tdx.mrtd,
            TokenShape::SevSnpVm | TokenShape::AzureVm => self.snp.measurement,
        }
    }

    /// A confidential VM with Intel TDX. It has no hardware report of AMD.
    #[must_use]
    pub fn tdx_vm() -> Self {
        Self { shape: TokenShape::TdxVm, ..Self::confidential_vm() }
    }

    /// A confidential VM whose tokens have the layout of a container's: `sevsnpvm` at top level.
    #[must_use]
    pub fn confidential_vm_direct() -> Self {
        Self { shape: TokenShape::SevSnpVm, ..Self::confidential_vm() }
    }
}

/// A processor of the Milan family with nothing set that could be refused; a new guest and chip each time.
fn snp(id_key: &[u8]) -> SnpClaims {
    let mut family = [0; 16];
    let mut image = [0; 16];
    family[0] = 1;
    image[0] = 2;
    let mut policy = GuestPolicy::new(false, false, true);
    for bit in [
        &mut policy.single_socket,
        &mut policy.cxl_allow,
        &mut policy.mem_aes_256_xts,
        &mut policy.rapl_dis,
        &mut policy.ciphertext_hiding_dram,
        &mut policy.page_swap_disable,
    ] {
        *bit = Bit::Clear;
    }
    SnpClaims {
        measurement: Measurement::new([0; 48]),
        host_data: HostData::new([0; 32]),
        report_data: ReportData::new([0; 64]),
        report_id: ReportId::new(random()),
        report_guest_svn: 7,
        vmpl: 0,
        policy,
        reported_tcb: Tcb::new(None, 4, 0, 24, 219),
        id_key_digest: KeyDigest::new(sha384(id_key)),
        author_key_digest: KeyDigest::new([0; 48]),
        family_id: FamilyId::new(family),
        image_id: ImageId::new(image),
        chip_id: Some(ChipId::new(random())),
        product: Some(Product::Milan),
    }
}
