//! Tokens of real MAA instances, and every byte of them that is changed.

use std::fs;

use blindbox_attestation::claims::{Bit, TokenShape};
use blindbox_attestation::maa::{TokenError, TokenExpectations, TokenPart, verify};
use blindbox_attestation::{MaaIssuer, Product, Tcb, UnixTime};
use serde_json::{Value, json};

use super::RecordedToken;
use super::structure::tampered;
use crate::sign::{KEY_ID, base64_url, keys, refusal, signer};

const GENUINE: [&str; 4] = [
    "maa-sharedeus-sevsnpvm-2026",
    "maa-sharedweu-azurevm-2022",
    "maa-sharedeus2-azurevm-2024-12",
    "maa-sharedeus2-azurevm-2025-01",
];

#[test]
fn genuine_tokens_verify_and_say_what_is_expected() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = RecordedToken::open(&vectors.join(name), "jwks.json");
        let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
        let expected = &recorded.expected;
        let (maa, snp) = (token.maa(), token.tee().snp().unwrap());
        let is_vm = expected["attestation_type_top"] == "azurevm";
        assert_eq!(maa.shape, if is_vm { TokenShape::AzureVm } else { TokenShape::SevSnpVm }, "{name}");
        assert_eq!(maa.issuer, recorded.issuer);
        assert_eq!(maa.key_id, expected["kid"].as_str().unwrap());
        assert_eq!(maa.compliance_status.as_deref(), expected["compliance"].as_str());
        assert_eq!((maa.issued_at.as_secs(), maa.not_before.as_secs()), (recorded.issued_at, recorded.issued_at));
        assert_eq!(maa.expires_at.as_secs(), recorded.expires_at);
        assert_eq!(base64_url(maa.policy_hash.as_bytes()), expected["policy_hash"].as_str().unwrap());
        assert_eq!(maa.token_id.len(), 64);
        assert_eq!(snp.measurement.to_string(), expected["measurement"].as_str().unwrap());
        assert_eq!(snp.host_data.to_string(), expected["host_data"].as_str().unwrap());
        assert_eq!(snp.report_data.to_string(), expected["report_data"].as_str().unwrap());
        assert_eq!(snp.report_id.to_string(), expected["report_id"].as_str().unwrap());
        assert_eq!(snp.policy.debug, expected["is_debuggable"].as_bool().unwrap());
        assert_eq!(u64::from(snp.report_guest_svn), expected["guest_svn"].as_u64().unwrap());
        assert_eq!(snp.chip_id.map(|id| id.to_string()).as_deref(), expected["chip_id"].as_str());
        let svn = |part: &str| u8::try_from(expected["tcb"][part].as_u64().unwrap()).unwrap();
        let tcb = Tcb::new(None, svn("bootloader"), svn("tee"), svn("snpfw"), svn("microcode"));
        assert_eq!(snp.reported_tcb, tcb);
        assert_eq!(token.uvm(), None);
        assert_eq!(token.client_nonce(), None, "{name}: nothing of ours was attested");
    }
}

#[test]
fn the_newest_claims_are_read_where_they_are() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = RecordedToken::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    let policy = token.tee().snp().unwrap().policy;
    assert_eq!(token.tee().snp().unwrap().product, Some(Product::Genoa));
    assert_eq!([policy.single_socket, policy.cxl_allow, policy.mem_aes_256_xts, policy.rapl_dis], [Bit::Clear; 4]);
    assert_eq!([policy.ciphertext_hiding_dram, policy.page_swap_disable], [Bit::Clear; 2]);
    let payload: Value =
        serde_json::from_slice(&fs::read(vectors.join("maa-sharedeus-sevsnpvm-2026/payload.json")).unwrap()).unwrap();
    assert!(token.runtime_is(payload["x-ms-runtime"].to_string().as_bytes()));
    assert!(!token.runtime_is(payload.to_string().as_bytes()));

    let recorded = RecordedToken::open(&vectors.join("maa-sharedeus2-azurevm-2025-01"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    assert_eq!(token.tee().snp().unwrap().product, None);
    assert_eq!(token.tee().snp().unwrap().policy.single_socket, Bit::NotReported);
}

#[test]
fn the_claims_of_a_genuine_container_are_read() {
    let Some(vectors) = crate::common::vectors() else { return };
    let payload = fs::read_to_string(vectors.join("maa-payload-only-aci/aci_payload_2023.json")).unwrap();
    let claims: Value = serde_json::from_str(&payload).unwrap();
    let issuer = MaaIssuer::new(claims["iss"].as_str().unwrap()).unwrap();
    let header = json!({ "alg": "RS256", "jku": issuer.key_set_url(), "kid": KEY_ID, "typ": "JWT" });
    let now = UnixTime::from_secs(claims["iat"].as_u64().unwrap());
    let token = signer().token(&header.to_string(), &payload);
    let token = verify(&token, &keys(), &TokenExpectations::new(&issuer), now).unwrap();
    assert_eq!(token.maa().compliance_status.as_deref(), Some("azure-compliant-uvm"));
    assert_eq!(token.tee().snp().unwrap().host_data.to_string(), claims["x-ms-sevsnpvm-hostdata"].as_str().unwrap());
    assert_eq!(token.tee().snp().unwrap().report_guest_svn, 2);
    let uvm = token.uvm().unwrap();
    assert_eq!((uvm.svn, uvm.feed.as_str()), (100, "ContainerPlat-AMD-UVM"));
    assert_eq!(uvm.measurement, token.tee().snp().unwrap().measurement);
    assert_eq!(uvm.issuer, claims["x-ms-sevsnpvm-uvm-endorsement-headers"]["iss"].as_str().unwrap());
    assert!(token.runtime_is(br#"{"publicKey":"abc","location":"East US"}"#));
    assert_eq!(token.client_nonce(), None);
}

#[test]
fn a_genuine_token_about_sgx_is_of_no_enclave_we_know() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = RecordedToken::open(&vectors.join("maa-sharedeus-sgx-2023"), "jwks.json");
    let error = refusal(recorded.verify(&recorded.token, recorded.issued_at));
    assert_eq!(error, TokenError::NotAnEnclave { attestation_type: "sgx".into() });
    // And only because its signature is genuine does it come that far.
    let tampered = tampered(&recorded.token, recorded.token.len() - 100);
    let key_id = recorded.expected["kid"].as_str().unwrap().into();
    assert_eq!(refusal(recorded.verify(&tampered, recorded.issued_at)), TokenError::BadSignature { key_id });
}

#[test]
fn a_genuine_token_of_a_key_that_is_not_in_the_set_is_refused() {
    let Some(vectors) = crate::common::vectors() else { return };
    let directory = vectors.join("maa-sharedweu-test-sevsnpvm-aci-2025");
    let recorded = RecordedToken::open(&directory, "../maa-payload-only-aci/jwks_sharedweu_2023.json");
    let TokenError::UnknownKey { key_id, known } = refusal(recorded.verify(&recorded.token, recorded.issued_at)) else {
        panic!("another error")
    };
    assert_eq!(key_id, recorded.expected["kid"].as_str().unwrap());
    assert_eq!(
        (known.ids.as_slice(), known.more),
        (&["dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo=".to_owned()][..], 0)
    );
}

#[test]
fn a_token_lives_from_a_minute_before_its_birth_to_a_minute_after_its_death() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = RecordedToken::open(&vectors.join(name), "jwks.json");
        let at = |now| recorded.verify(&recorded.token, now).map(|_| ());
        let (born, dead) = (recorded.issued_at, recorded.expires_at);
        for now in [born - 60, born, dead - 1, dead, dead + 59] {
            assert_eq!(at(now), Ok(()), "{name} at {now}");
        }
        for now in [dead + 60, dead + 61, u64::MAX] {
            let (expires_at, now) = (UnixTime::from_secs(dead), UnixTime::from_secs(now));
            assert_eq!(at(now.as_secs()), Err(TokenError::Expired { expires_at, now }));
        }
        for now in [0, born - 61] {
            let (not_before, now) = (UnixTime::from_secs(born), UnixTime::from_secs(now));
            assert_eq!(at(now.as_secs()), Err(TokenError::NotYetValid { not_before, now }));
        }
    }
}

#[test]
fn no_byte_of_a_genuine_token_can_be_changed() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = RecordedToken::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    let token = recorded.token.as_bytes();
    let dots: Vec<usize> = recorded.token.match_indices('.').map(|(at, _)| at).collect();
    let key_id = recorded.expected["kid"].as_str().unwrap();
    for at in 0..token.len() {
        // Each bit but the highest, which would leave no text, and characters that mean something.
        let flips = (0..7).map(|bit| token[at] ^ (1 << bit));
        for replacement in flips.chain([b'A', b'Q', b'_', b'.', b'=', b'!', 0]) {
            if replacement == token[at] {
                continue;
            }
            let mut changed = token.to_vec();
            changed[at] = replacement;
            let error = refusal(recorded.verify(std::str::from_utf8(&changed).unwrap(), recorded.issued_at));
            let part = [TokenPart::Header, TokenPart::Payload, TokenPart::Signature]
                [dots.iter().filter(|dot| at > **dot).count()];
            let is_right = match &error {
                TokenError::PartCount { found } => *found == changed.split(|byte| *byte == b'.').count() && *found != 3,
                // Either the character is none, or it is the last and has bits that mean nothing.
                TokenError::NotBase64Url { part: named } => {
                    let is_last = at + 1 == token.len() || token[at + 1] == b'.';
                    *named == part
                        && (is_last
                            || !(replacement.is_ascii_alphanumeric() || replacement == b'_' || replacement == b'-'))
                }
                TokenError::BadSignature { key_id: named } => named == key_id,
                // What the header says is looked at before the key that it names.
                _ => part == TokenPart::Header,
            };
            assert!(is_right, "byte {at} as {replacement}: {error:?}");
        }
    }
    for (changed, part) in [
        (format!("{}=", recorded.token), TokenPart::Signature),
        (format!("{}\n", recorded.token), TokenPart::Signature),
        (format!(" {}", recorded.token), TokenPart::Header),
    ] {
        assert_eq!(refusal(recorded.verify(&changed, recorded.issued_at)), TokenError::NotBase64Url { part });
    }
}

#[test]
fn the_ids_of_genuine_keys_are_their_digests() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = RecordedToken::open(&vectors.join(name), "jwks.json");
        let pinned = TokenExpectations::new(&recorded.issuer).key_id(recorded.expected["kid"].as_str().unwrap());
        let result = verify(&recorded.token, &recorded.keys, &pinned, UnixTime::from_secs(recorded.issued_at));
        assert!(result.is_ok(), "{name}");
    }
}
