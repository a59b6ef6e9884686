//! A guest of Intel TDX: its state, and the claims of its tokens.

use serde_json::{Map, Value, json};

use super::super::keys::sha384;
use crate::claims::{TdAttributes, TdxClaims};
use crate::types::{Measurement, ReportData, TdxRegister, TeeTcbSvn};

/// Bit 28 of the attributes, `SEPT_VE_DISABLE`, the one that Azure sets.
const SEPT_VE_DISABLE: u64 = 1 << 28;
/// The features of the processor that Azure's guests may use.
const XFAM: u64 = 0x0006_18e7;

/// A TD on Azure, with nothing set that could be refused.
pub(super) fn usual() -> TdxClaims {
    let zero = Measurement::new([0; 48]);
    let none = TdxRegister::new([0; 48]);
    let mut svn = [0; 16];
    svn[..3].copy_from_slice(&[13, 1, 5]);
    TdxClaims {
        mrtd: Measurement::new(sha384(b"emulated paravisor of a TD")),
        rtmr: [zero; 4],
        report_data: ReportData::new([0; 64]),
        attributes: TdAttributes::new(SEPT_VE_DISABLE),
        xfam: XFAM,
        mrconfigid: none,
        mrowner: none,
        mrownerconfig: none,
        mrseam: Measurement::new(sha384(b"emulated TDX module")),
        mrsignerseam: none,
        seam_attributes: 0,
        seamsvn: 269,
        tee_tcb_svn: TeeTcbSvn::new(svn),
        tcb_status: "UpToDate".to_owned(),
        debug_enabled: false,
    }
}

/// The claims of a `tdxvm` token about the TD.
pub(crate) fn claims(tdx: &TdxClaims) -> Map<String, Value> {
    let little_endian = |bits: u64| hex::encode(bits.to_le_bytes());
    let mut claims = Map::new();
    claims.insert("attester_tcb_status".into(), tdx.tcb_status.clone().into());
    claims.insert("dbgstat".into(), if tdx.debug_enabled { "enabled" } else { "disabled" }.into());
    claims.insert("eat_profile".into(), "https://aka.ms/maa-eat-profile-tdxvm".into());
    claims.insert("intuse".into(), "generic".into());
    let mut set = |name: &str, value: Value| claims.insert(format!("tdx_{name}"), value);
    set("mrconfigid", json!(tdx.mrconfigid));
    set("mrowner", json!(tdx.mrowner));
    set("mrownerconfig", json!(tdx.mrownerconfig));
    set("mrseam", json!(tdx.mrseam));
    set("mrsignerseam", json!(tdx.mrsignerseam));
    set("mrtd", json!(tdx.mrtd));
    set("report_data", json!(tdx.report_data));
    for (at, rtmr) in tdx.rtmr.iter().enumerate() {
        set(&format!("rtmr{at}"), json!(rtmr));
    }
    set("seam_attributes", json!(little_endian(tdx.seam_attributes)));
    set("seamsvn", json!(tdx.seamsvn));
    set("td_attributes", json!(little_endian(tdx.attributes.bits())));
    for (name, is_set) in tdx.attributes.named() {
        set(&format!("td_attributes_{name}"), json!(is_set));
    }
    set("tee_tcb_svn", json!(tdx.tee_tcb_svn));
    set("xfam", json!(little_endian(tdx.xfam)));
    set("xfam_cet_s", json!(tdx.xfam >> 12 & 1 == 1));
    set("xfam_cet_u", json!(tdx.xfam >> 11 & 1 == 1));
    claims.insert("x-ms-attestation-type".into(), "tdxvm".into());
    claims
}
