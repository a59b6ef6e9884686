//! The claims of a `tdxvm` token: Azure Attestation's EAT profile for Intel TDX, and what real tokens of 2026 have beyond it.

use super::{hex, integer, name, required};
use crate::claims::{TdAttributes, TdxClaims};
use crate::json::Object;
use crate::maa::error::TokenError;

/// The names of all claims about a TD begin so.
pub(super) const PREFIX: &str = "tdx_";

const PROFILE: &str = "https://aka.ms/maa-eat-profile-tdxvm";
const ATTRIBUTES: &str = "tdx_td_attributes";
const EXPECTED_BITS: &str = "16 lower-case hexadecimal digits";

/// Claims that repeat a bit of the attributes. Those that are not in the published profile may be absent: the field has all bits.
const BITS: [(&str, &str, Presence); 10] = [
    ("debug", "tdx_td_attributes_debug", Presence::Required),
    ("hgs_plus_prof", "tdx_td_attributes_hgs_plus_prof", Presence::Optional),
    ("perf_prof", "tdx_td_attributes_perf_prof", Presence::Optional),
    ("pmt_prof", "tdx_td_attributes_pmt_prof", Presence::Optional),
    ("icssd", "tdx_td_attributes_icssd", Presence::Optional),
    ("septve_disable", "tdx_td_attributes_septve_disable", Presence::Required),
    ("migratable", "tdx_td_attributes_migratable", Presence::Optional),
    ("protection_keys", "tdx_td_attributes_protection_keys", Presence::Required),
    ("key_locker", "tdx_td_attributes_key_locker", Presence::Required),
    ("perfmon", "tdx_td_attributes_perfmon", Presence::Required),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// Reads the claims of the TD.
pub(super) fn read(payload: &Object<'_>) -> Result<TdxClaims, TokenError> {
    const EAT_PROFILE: &str = "eat_profile";
    let profile: &str = required(payload, EAT_PROFILE)?;
    if profile != PROFILE {
        return Err(TokenError::invalid(EAT_PROFILE, "the profile of tdxvm whose claims are known", profile));
    }
    Ok(TdxClaims {
        tcb_status: name(payload, "attester_tcb_status")?,
        debug_enabled: debug_enabled(payload)?,
        mrconfigid: hex(payload, "tdx_mrconfigid")?,
        mrowner: hex(payload, "tdx_mrowner")?,
        mrownerconfig: hex(payload, "tdx_mrownerconfig")?,
        mrseam: hex(payload, "tdx_mrseam")?,
        mrsignerseam: hex(payload, "tdx_mrsignerseam")?,
        mrtd: hex(payload, "tdx_mrtd")?,
        report_data: hex(payload, "tdx_report_data")?,
        rtmr: [
            hex(payload, "tdx_rtmr0")?,
            hex(payload, "tdx_rtmr1")?,
            hex(payload, "tdx_rtmr2")?,
            hex(payload, "tdx_rtmr3")?,
        ],
        seam_attributes: bits(payload, "tdx_seam_attributes")?,
        seamsvn: integer(payload, "tdx_seamsvn", "an integer below 2^32")?,
        attributes: attributes(payload)?,
        tee_tcb_svn: hex(payload, "tdx_tee_tcb_svn")?,
        xfam: bits(payload, "tdx_xfam")?,
    })
}

/// Reads the attributes. Claims that repeat one of their bits must agree with them, or the token would have two meanings.
fn attributes(payload: &Object<'_>) -> Result<TdAttributes, TokenError> {
    let attributes = TdAttributes::new(bits(payload, ATTRIBUTES)?);
    for (bit, claim, presence) in BITS {
        let stated = match presence {
            Presence::Required => Some(required::<bool>(payload, claim)?),
            Presence::Optional => super::optional::<bool>(payload, claim)?,
        };
        let is_set = attributes.named().any(|(name, set)| name == bit && set);
        if stated.is_some_and(|stated| stated != is_set) {
            return Err(TokenError::invalid(claim, "the bit that tdx_td_attributes has", &(!is_set).to_string()));
        }
    }
    Ok(attributes)
}

/// Reads `dbgstat`: one of the values of RFC 9711 section 4.2.9.
fn debug_enabled(payload: &Object<'_>) -> Result<bool, TokenError> {
    const NAME: &str = "dbgstat";
    match required(payload, NAME)? {
        "enabled" => Ok(true),
        "disabled" | "disabled-since-boot" | "disabled-permanently" | "disabled-fully-and-permanently" => Ok(false),
        other => Err(TokenError::invalid(NAME, "a debug status of RFC 9711", other)),
    }
}

/// Reads a field of 64 bits, whose bytes stand in the order of the quote: the lowest first.
fn bits(payload: &Object<'_>, name: &'static str) -> Result<u64, TokenError> {
    let text: &str = required(payload, name)?;
    let mut bytes = [0; 8];
    crate::types::decode_hex(text, &mut bytes).map_err(|_| TokenError::invalid(name, EXPECTED_BITS, text))?;
    Ok(u64::from_le_bytes(bytes))
}
