//! Step 2: `tdxvm` tokens, one recorded and others emulated: each claim is what it must be, or the token is refused for that.

use std::fs;

use blindbox_attestation::claims::TokenShape;
use blindbox_attestation::emulator::{Guest, TokenClaims};
use blindbox_attestation::maa::{KeySet, TokenError};
use blindbox_attestation::{
    AttestationError, Binding, Challenge, Endorsements, Evidence, GuestIdentity, JsonType, MaaIssuer, Measurement,
    Policy, ServerNameCheck, TeeKind, Trust, UnixTime, Verdict, verify, verify_recorded, verify_unappraised,
};
use serde_json::{Value, json};

use crate::scene::{ISSUER, KEY, attest_claims, container, maa_policy, vm_policy};

fn policy(issuer: &str, mrtd: Measurement) -> Policy {
    let guest = GuestIdentity::measured_tdx([mrtd]);
    Policy::confidential_vm(Trust::maa(issuer).unwrap(), guest, Binding::OwnKey).unwrap()
}

/// Why a token about a TD is refused, or that it is not.
fn refusal(change: impl FnOnce(TokenClaims) -> TokenClaims) -> Option<TokenError> {
    let guest = Guest::tdx_vm();
    match attest_claims(&guest, &policy(ISSUER, guest.tdx.mrtd), change) {
        Ok(_) => None,
        Err(AttestationError::InvalidToken(error)) => Some(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_recorded_token_verifies_and_is_bound_to_nothing() {
    let Some(vectors) = crate::common::vectors() else { return };
    let read = |name: &str| fs::read(vectors.join("maa-sharedwus-tdxvm-2026").join(name)).unwrap();
    let payload: Value = serde_json::from_slice(&read("payload.json")).unwrap();
    let (issuer, text) = (payload["iss"].as_str().unwrap(), |name: &str| payload[name].as_str().unwrap().to_owned());
    let issued_at = UnixTime::from_secs(payload["iat"].as_u64().unwrap());
    let mut evidence = Evidence::default();
    evidence.token = Some(String::from_utf8(read("token.jwt")).unwrap().trim_end().to_owned());
    let mut endorsements = Endorsements::default();
    endorsements.key_set = Some(KeySet::from_json(&read("jwks.json")).unwrap());
    let parsed = MaaIssuer::new(issuer).unwrap();
    let verified = verify_unappraised(&evidence, &endorsements, Some(&parsed), issued_at).unwrap();
    let claims = verified.claims();
    assert_eq!(claims.maa.as_ref().unwrap().shape, TokenShape::TdxVm);
    assert_eq!((claims.maa.as_ref().unwrap().vm_id, &claims.uvm), (None, &None));
    let tdx = claims.tee.tdx().unwrap();
    assert_eq!(tdx.mrtd.to_string(), text("tdx_mrtd"));
    assert_eq!(tdx.mrseam.to_string(), text("tdx_mrseam"));
    assert_eq!(tdx.report_data.to_string(), text("tdx_report_data"));
    assert_eq!(tdx.tee_tcb_svn.to_string(), text("tdx_tee_tcb_svn"));
    assert_eq!((tdx.xfam, tdx.attributes.bits(), tdx.seam_attributes), (0x0006_18e7, 1 << 28, 0));
    assert_eq!((tdx.seamsvn, tdx.tcb_status.as_str(), tdx.debug_enabled), (269, "UpToDate", false));
    assert!(tdx.rtmr.iter().all(Measurement::is_zero));

    // A policy accepts it as a record, where it accepts TDX.
    let recorded = verify_recorded(&evidence, &endorsements, &policy(issuer, tdx.mrtd), issued_at).unwrap();
    assert_eq!(recorded.appraisal().check("mrtd").unwrap().verdict, Verdict::Passed);
    let any = GuestIdentity::allow_any_azure_cvm();
    let snp = Policy::confidential_vm(Trust::maa(issuer).unwrap(), any, Binding::OwnKey).unwrap();
    let refused = verify_recorded(&evidence, &endorsements, &snp, issued_at).unwrap_err();
    assert_eq!(refused.code(), "wrong-tee-kind");
    // It has no `x-ms-runtime`, so that it responds to no challenge.
    let challenge = Challenge::bound(KEY, ServerNameCheck::Validated, issued_at).unwrap();
    evidence.runtime_data = Some(challenge.runtime_data());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &challenge.runtime_data());
    let unbound = AttestationError::FalseAttestationReport {
        what: "x-ms-runtime.user-data",
        expected: hex::encode(digest) + &"00".repeat(32),
        actual: "none".to_owned(),
    };
    let recorded = verify_recorded(&evidence, &endorsements, &policy(issuer, tdx.mrtd), issued_at);
    assert_eq!(recorded.unwrap_err(), unbound);
    let refused = verify(&evidence, &endorsements, challenge, &policy(issuer, tdx.mrtd), issued_at);
    assert_eq!(refused.unwrap_err(), unbound);
}

/// A value of the right type that a claim cannot have, and the form that is expected.
type Invalid = Option<(Value, &'static str)>;

/// Every claim that the token of a TD must have, its type, and a value that it cannot have.
fn claims() -> Vec<(&'static str, JsonType, Invalid)> {
    use JsonType::{Boolean, String, UnsignedInteger};
    let hex48 = || Some((json!("AB".repeat(48)), "96 lower-case hexadecimal digits"));
    let bits = || Some((json!("0x00000000000000"), "16 lower-case hexadecimal digits"));
    let agree = "the bit that tdx_td_attributes has";
    vec![
        ("attester_tcb_status", String, Some((json!(""), "a text of 1 to 512 bytes"))),
        ("dbgstat", String, Some((json!("off"), "a debug status of RFC 9711"))),
        ("eat_profile", String, Some((json!("https://aka.ms/x"), "the profile of tdxvm whose claims are known"))),
        ("tdx_mrconfigid", String, hex48()),
        ("tdx_mrowner", String, hex48()),
        ("tdx_mrownerconfig", String, hex48()),
        ("tdx_mrseam", String, hex48()),
        ("tdx_mrsignerseam", String, hex48()),
        ("tdx_mrtd", String, hex48()),
        ("tdx_report_data", String, Some((json!("ab"), "128 lower-case hexadecimal digits"))),
        ("tdx_rtmr0", String, hex48()),
        ("tdx_rtmr1", String, hex48()),
        ("tdx_rtmr2", String, hex48()),
        ("tdx_rtmr3", String, hex48()),
        ("tdx_seam_attributes", String, bits()),
        ("tdx_seamsvn", UnsignedInteger, Some((json!(1_u64 << 32), "an integer below 2^32"))),
        ("tdx_td_attributes", String, bits()),
        ("tdx_td_attributes_debug", Boolean, Some((json!(true), agree))),
        ("tdx_td_attributes_key_locker", Boolean, Some((json!(true), agree))),
        ("tdx_td_attributes_perfmon", Boolean, Some((json!(true), agree))),
        ("tdx_td_attributes_protection_keys", Boolean, Some((json!(true), agree))),
        ("tdx_td_attributes_septve_disable", Boolean, Some((json!(false), agree))),
        ("tdx_tee_tcb_svn", String, Some((json!("0"), "32 lower-case hexadecimal digits"))),
        ("tdx_xfam", String, bits()),
        ("x-ms-policy-hash", String, None),
        ("x-ms-ver", String, None),
        ("jti", String, None),
    ]
}

#[test]
fn each_claim_is_what_it_must_be() {
    assert_eq!(refusal(|claims| claims), None);
    for (name, expected, invalid) in claims() {
        assert_eq!(refusal(|claims| claims.without(name)), Some(TokenError::MissingClaim { name }));
        let refused = refusal(|claims| claims.claim(name, json!([])));
        assert_eq!(refused, Some(TokenError::WrongClaimType { name, expected, found: JsonType::Array }));
        let Some((value, form)) = invalid else { continue };
        match refusal(|claims| claims.claim(name, value)) {
            Some(TokenError::InvalidClaim { name: found, expected, .. }) => assert_eq!((found, expected), (name, form)),
            other => panic!("{name}: {other:?}"),
        }
    }
    // The rest of the bits stand in the field alone where a token does not repeat them.
    for name in ["hgs_plus_prof", "icssd", "migratable", "perf_prof", "pmt_prof"] {
        let path = format!("tdx_td_attributes_{name}");
        assert_eq!(refusal(|claims| claims.without(&path)), None);
        let refused = refusal(|claims| claims.claim(&path, true));
        assert!(matches!(refused, Some(TokenError::InvalidClaim { found, .. }) if found == "true"), "{path}");
    }
    let twice = refusal(|claims| claims.duplicate("tdx_mrtd", "x"));
    assert!(matches!(twice, Some(TokenError::DuplicateMember { name, .. }) if name == "tdx_mrtd"));
}

#[test]
fn names_of_one_kind_are_refused_in_a_token_of_the_other() {
    let mixed = |shape, claim: &str| TokenError::MixedShapes { shape, claim: claim.to_owned() };
    for claim in ["x-ms-sevsnpvm-hostdata", "x-ms-azurevm-vmid", "x-ms-isolation-tee"] {
        let refused = refusal(|claims| claims.claim(claim, json!({})));
        assert_eq!(refused, Some(mixed(TokenShape::TdxVm, claim)));
    }
    let error = |verdict: Result<_, AttestationError>| match verdict {
        Err(AttestationError::InvalidToken(error)) => error,
        other => panic!("{other:?}"),
    };
    let claim = "tdx_mrtd";
    let in_container = attest_claims(&container(), &maa_policy(), |claims| claims.claim(claim, "x")).map(drop);
    assert_eq!(error(in_container), mixed(TokenShape::SevSnpVm, claim));
    for path in [claim, "x-ms-isolation-tee/tdx_mrtd"] {
        let vm = attest_claims(&Guest::confidential_vm(), &vm_policy(), |claims| claims.claim(path, "x")).map(drop);
        assert_eq!(error(vm), mixed(TokenShape::AzureVm, claim));
    }
}

/// No such token was ever seen: what its claims would be is not known.
#[test]
fn the_guest_attestation_of_a_td_is_not_known() {
    let path = "x-ms-isolation-tee/x-ms-attestation-type";
    let refused = attest_claims(&Guest::confidential_vm(), &vm_policy(), |claims| claims.claim(path, "tdxvm"));
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused, AttestationError::NotAnEnclave { attestation_type: "tdxvm within azurevm".into() });
    let text = "attestation validation failed (not an enclave): expected evidence of a TEE of SEV-SNP or Intel TDX in a supported form, \
                found attestation type \"tdxvm within azurevm\"";
    assert_eq!(refused.to_string(), text);
    assert_eq!((TeeKind::Snp.to_string(), TeeKind::Tdx.to_string()), ("SEV-SNP".into(), "Intel TDX".into()));
}
