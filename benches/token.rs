//! Verifying an MAA token, beside the bare cost of the same work.
//!
//! `cargo bench --bench token`. "Bare" is what no verifier can go without: base64 of the three parts, RSA-2048 with
//! SHA-256 by the same library with the key already parsed, and one pass of `serde_json` into an owned typed struct. It
//! checks nothing else. Both are measured in turns, so that a busy machine slows both; the ratio is that of the medians.

#[path = "../tests/common/sign.rs"]
mod sign;

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::maa::{KeySet, TokenExpectations, verify};
use blindbox_attestation::{MaaIssuer, UnixTime};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const ROUNDS: usize = 201;
const BATCH: u32 = 50;

fn main() {
    let payload = claims().to_string();
    let token = sign::signer().token(&sign::header().to_string(), &payload);
    let mut entries: Vec<Value> = (0..3).map(|n| sign::stranger().jwk_x5c(&format!("key {n}"), 100)).collect();
    entries.push(sign::signer().jwk_x5c(sign::KEY_ID, 100));
    let document = sign::key_set(&entries);
    println!("token {} bytes, claims {} bytes, key set {} bytes of 4 keys", token.len(), payload.len(), document.len());

    let issuer = MaaIssuer::new(sign::ISSUER).unwrap();
    let expected = TokenExpectations::new(&issuer);
    let now = UnixTime::from_secs(sign::NOW);
    let keys = KeySet::from_json(&document).unwrap();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, sign::signer().spki()).unwrap();
    let mut tampered = token.clone();
    tampered.replace_range(2000..2001, if &token[2000..2001] == "A" { "B" } else { "A" });
    assert!(verify(&tampered, &keys, &expected, now).is_err() && bare(&tampered, &key).is_none());

    let [bare_parsed, ours_parsed, bare_set, ours_set] = medians([
        &|| drop(black_box(bare(black_box(&token), &key).unwrap())),
        &|| drop(black_box(verify(black_box(&token), &keys, &expected, now).unwrap())),
        &|| drop(black_box(bare(black_box(&token), &bare_key(black_box(&document))).unwrap())),
        &|| {
            let keys = KeySet::from_json(black_box(&document)).unwrap();
            drop(black_box(verify(black_box(&token), &keys, &expected, now).unwrap()));
        },
    ]);
    let line = |name: &str, bare: Duration, ours: Duration| {
        let (bare, ours) = (bare.as_nanos() as f64 / 1000.0, ours.as_nanos() as f64 / 1000.0);
        println!("{name:<28} bare {bare:>6.2} us   verify {ours:>6.2} us   ratio {:.3}", ours / bare);
    };
    line("key set parsed", bare_parsed, ours_parsed);
    line("key set from JSON each time", bare_set, ours_set);
}

/// The median time of one call of each, measured in turns.
fn medians<const N: usize>(subjects: [&dyn Fn(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (subject, times) in subjects.iter().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..BATCH {
                subject();
            }
            times.push(start.elapsed() / BATCH);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// The claims of a confidential VM, with all that a token of 2025 has besides.
fn claims() -> Value {
    let mut claims = sign::vm_claims();
    for flag in [
        "bootdebug-enabled",
        "dbvalidated",
        "dbxvalidated",
        "debuggersdisabled",
        "default-securebootkeysvalidated",
        "elam-enabled",
        "flightsigning-enabled",
        "hypervisordebug-enabled",
        "is-windows",
        "kerneldebug-enabled",
        "signingdisabled",
        "testsigning-enabled",
    ] {
        claims[format!("x-ms-azurevm-{flag}")] = false.into();
    }
    for name in ["attestation-protocol-ver", "osbuild", "osdistro", "ostype"] {
        claims[format!("x-ms-azurevm-{name}")] = "NotApplication".into();
    }
    let key = |id: &str| json!({ "e": "AQAB", "key_ops": ["sign"], "kid": id, "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xa5; 256]) });
    claims["jti"] = "21".repeat(32).into();
    claims["x-ms-runtime"]["keys"] = json!([key("TpmEphemeralEncryptionKey")]);
    claims["x-ms-isolation-tee"]["x-ms-runtime"] = json!({
        "keys": [key("HCLAkPub"), key("HCLEkPub")],
        "user-data": "00".repeat(64),
        "vm-configuration": {
            "console-enabled": true, "root-cert-thumbprint": URL_SAFE_NO_PAD.encode([0xa5; 32]), "secure-boot": true,
            "tpm-enabled": true, "tpm-persisted": true, "vmUniqueId": "00000000-0000-0000-0000-000000000000",
        },
    });
    claims
}

fn bare(token: &str, key: &ParsedPublicKey) -> Option<(BareHeader, BareClaims)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    key.verify_sig(signed.as_bytes(), &signature).ok()?;
    Some((serde_json::from_slice(&header).ok()?, serde_json::from_slice(&payload).ok()?))
}

fn bare_key(document: &[u8]) -> ParsedPublicKey {
    let set: BareKeySet = serde_json::from_slice(document).unwrap();
    let key = set.keys.iter().find(|key| key.kid == sign::KEY_ID).unwrap();
    let certificate = STANDARD.decode(&key.x5c[0]).unwrap();
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key().raw).unwrap()
}

#[derive(Deserialize)]
struct BareKeySet {
    keys: Vec<BareKey>,
}

#[derive(Deserialize)]
struct BareKey {
    kid: String,
    x5c: Vec<String>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct BareHeader {
    alg: String,
    jku: String,
    kid: String,
    typ: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
struct BareClaims {
    exp: u64,
    iat: u64,
    nbf: u64,
    iss: String,
    jti: String,
    x_ms_attestation_type: String,
    x_ms_policy_hash: String,
    x_ms_ver: String,
    x_ms_runtime: BareRuntime,
    x_ms_isolation_tee: BareTee,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
struct BareRuntime {
    client_payload: BareNonce,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct BareNonce {
    nonce: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
struct BareTee {
    x_ms_attestation_type: String,
    x_ms_compliance_status: String,
    x_ms_sevsnpvm_authorkeydigest: String,
    x_ms_sevsnpvm_bootloader_svn: u8,
    x_ms_sevsnpvm_chip_family: String,
    x_ms_sevsnpvm_chipid: String,
    x_ms_sevsnpvm_ciphertext_hiding_dram_enabled: bool,
    x_ms_sevsnpvm_cxl_allowed: bool,
    #[serde(rename = "x-ms-sevsnpvm-familyId")]
    x_ms_sevsnpvm_family_id: String,
    x_ms_sevsnpvm_guestsvn: u32,
    x_ms_sevsnpvm_hostdata: String,
    x_ms_sevsnpvm_idkeydigest: String,
    #[serde(rename = "x-ms-sevsnpvm-imageId")]
    x_ms_sevsnpvm_image_id: String,
    x_ms_sevsnpvm_is_debuggable: bool,
    x_ms_sevsnpvm_launchmeasurement: String,
    x_ms_sevsnpvm_mem_aes256_xts_required: bool,
    x_ms_sevsnpvm_microcode_svn: u8,
    x_ms_sevsnpvm_migration_allowed: bool,
    x_ms_sevsnpvm_page_swap_disabled: bool,
    x_ms_sevsnpvm_rapl_disabled: bool,
    x_ms_sevsnpvm_reportdata: String,
    x_ms_sevsnpvm_reportid: String,
    x_ms_sevsnpvm_singlesocket: bool,
    x_ms_sevsnpvm_smt_allowed: bool,
    x_ms_sevsnpvm_snpfw_svn: u8,
    x_ms_sevsnpvm_tee_svn: u8,
    x_ms_sevsnpvm_vmpl: u32,
    x_ms_sevsnpvm_uvm_endorsement: BareEndorsement,
    x_ms_sevsnpvm_uvm_endorsement_headers: BareEndorsementHeaders,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
struct BareEndorsement {
    x_ms_sevsnpvm_guestsvn: String,
    x_ms_sevsnpvm_launchmeasurement: String,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct BareEndorsementHeaders {
    feed: String,
    iss: String,
}
