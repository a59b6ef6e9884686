//! The claims of a trust domain (TD) of Intel TDX, as an MAA token has them.

use serde::{Serialize, Serializer};

use super::hex_u64;
use crate::types::{Measurement, ReportData, TdxRegister, TeeTcbSvn};

/// The state of a guest of Intel TDX, according to MAA.
///
/// The names are those of Intel's TD quote body. On Azure only `mrtd` and `mrseam` are not zero: what runs after the firmware is
/// measured by the virtual TPM, whose quote such a token does not carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TdxClaims {
    /// SHA-384 of the initial memory of the TD: on Azure of paravisor and firmware.
    pub mrtd: Measurement,
    /// The registers that the guest extends while it runs.
    pub rtmr: [Measurement; 4],
    /// Chosen inside the guest: on Azure the digest of the paravisor's runtime claims.
    pub report_data: ReportData,
    /// What the TD's owner lets the platform do to it.
    pub attributes: TdAttributes,
    /// The extended processor features that the TD may use (`XFAM`).
    #[serde(serialize_with = "hex_u64")]
    pub xfam: u64,
    /// An id of the configuration, which the host sets.
    pub mrconfigid: TdxRegister,
    /// An id of the owner, which the host sets.
    pub mrowner: TdxRegister,
    /// An id of the owner's configuration, which the host sets.
    pub mrownerconfig: TdxRegister,
    /// SHA-384 of the TDX module.
    pub mrseam: Measurement,
    /// The signer of the TDX module; zero for Intel.
    pub mrsignerseam: TdxRegister,
    /// The attributes of the TDX module; zero for a production module.
    #[serde(serialize_with = "hex_u64")]
    pub seam_attributes: u64,
    /// The security version of the TDX module, as MAA states it.
    pub seamsvn: u32,
    /// The security versions of the parts of the TCB.
    pub tee_tcb_svn: TeeTcbSvn,
    /// Intel's verdict on these versions, as MAA found it, such as `UpToDate`.
    pub tcb_status: String,
    /// MAA's statement (`dbgstat`, RFC 9711 section 4.2.9) that debugging is enabled.
    pub debug_enabled: bool,
}

/// The attributes of a TD (`ATTRIBUTES`, Intel TDX module ABI): 64 bits that are fixed at launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TdAttributes(u64);

/// The bits that have a name, in their order.
const NAMES: [(u32, &str); 10] = [
    (0, "debug"),
    (4, "hgs_plus_prof"),
    (5, "perf_prof"),
    (6, "pmt_prof"),
    (16, "icssd"),
    (28, "septve_disable"),
    (29, "migratable"),
    (30, "protection_keys"),
    (31, "key_locker"),
    (63, "perfmon"),
];

/// The bits of the group SEC (8 to 31), those that may affect the security of the TD.
const SECURITY: u64 = 0xffff_ff00;

/// Those of them whose meaning is known: ICSSD, LASS, SEPT_VE_DISABLE, MIGRATABLE, PKS and KL.
const KNOWN_SECURITY: u64 = 1 << 16 | 1 << 27 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 31;

impl TdAttributes {
    /// Wraps the field as a number (it is little-endian in a quote and in a token).
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the whole field.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the bits that have a name, and whether each is set. The names are those of MAA (`tdx_td_attributes_...`).
    pub fn named(self) -> impl Iterator<Item = (&'static str, bool)> {
        NAMES.into_iter().map(move |(bit, name)| (name, self.0.checked_shr(bit).is_some_and(|rest| rest & 1 == 1)))
    }

    /// Returns whether the host can look into the TD: by `DEBUG`, by one of the profilers `HGS_PLUS_PROF`, `PERF_PROF` and
    /// `PMT_PROF`, or by another bit of the group "TD under debug" (bits 0 to 7). A TD with any of them is not to be trusted.
    #[must_use]
    pub const fn is_under_debug(self) -> bool {
        self.0 & 0xff != 0
    }

    /// Returns the bits of the group SEC (8 to 31), which may affect the security of the TD, whose meaning this release does not know.
    ///
    /// The group OTHER (32 to 63) does not affect it, by definition (Intel TDX module ABI, `ATTRIBUTES`).
    #[must_use]
    pub const fn unknown_security_bits(self) -> u64 {
        self.0 & SECURITY & !KNOWN_SECURITY
    }

    /// Returns whether the host cannot inject exceptions at memory accesses of its choice (`SEPT_VE_DISABLE`, bit 28).
    #[must_use]
    pub const fn disables_sept_ve(self) -> bool {
        self.0 & 1 << 28 != 0
    }

    /// Returns whether a migration TD may move the TD to another machine (`MIGRATABLE`, bit 29).
    #[must_use]
    pub const fn is_migratable(self) -> bool {
        self.0 & 1 << 29 != 0
    }
}

/// An object with `raw` and the bits that have a name.
impl Serialize for TdAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("raw", &format_args!("{:#018x}", self.0))?;
        for (name, set) in self.named() {
            object.serialize_entry(name, &set)?;
        }
        object.end()
    }
}
