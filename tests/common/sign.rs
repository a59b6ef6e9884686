//! An MAA of one key: signs tokens and publishes key sets.
#![allow(dead_code)]

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::maa::{KeySet, TokenError, TokenExpectations, VerifiedToken, verify};
use blindbox_attestation::{JsonType, MaaIssuer, UnixTime};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://maa.example";
pub const KEY_ID: &str = "the key";
pub const NOW: u64 = 1_700_000_000;

/// A signing key.
pub struct Signer {
    key: KeyPair,
    spki: Vec<u8>,
}

/// The key of the process: making one takes a while.
pub fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| Signer::new(KeySize::Rsa2048))
}

/// Another key of the process.
pub fn stranger() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| Signer::new(KeySize::Rsa2048))
}

impl Signer {
    pub fn new(size: KeySize) -> Self {
        let key = KeyPair::generate(size).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap().as_ref().to_vec();
        Self { key, spki }
    }

    /// DER of the public key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The modulus of an RSA-2048 key, which stands at a fixed place of its DER.
    pub fn modulus(&self) -> &[u8] {
        &self.spki[33..289]
    }

    pub fn jwk(&self, key_id: &str) -> Value {
        json!({
            "alg": "RS256", "kty": "RSA", "use": "sig", "kid": key_id,
            "n": URL_SAFE_NO_PAD.encode(self.modulus()), "e": "AQAB",
        })
    }

    pub fn jwk_x5c(&self, key_id: &str, evidence_len: usize) -> Value {
        json!({ "kty": "RSA", "kid": key_id, "x5c": [STANDARD.encode(self.certificate(evidence_len))] })
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// A token of exactly these texts.
    pub fn token(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A self-signed certificate with an extension of so many bytes, as MAA carries its own evidence.
    pub fn certificate(&self, evidence_len: usize) -> Vec<u8> {
        self.certificate_of(&self.spki, evidence_len)
    }

    /// The same of any key.
    pub fn certificate_of(&self, spki: &[u8], evidence_len: usize) -> Vec<u8> {
        self.certificate_with(spki, &[(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x69, 1, 1], &vec![7; evidence_len])])
    }

    /// The same with any extensions: object identifiers and values.
    pub fn certificate_with(&self, spki: &[u8], extensions: &[(&[u8], &[u8])]) -> Vec<u8> {
        let sha256_with_rsa = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0];
        let time = tlv(0x17, &[b"200101000000Z"]);
        let extension = |(oid, value): &(&[u8], &[u8])| tlv(0x30, &[&tlv(0x06, &[*oid]), &tlv(0x04, &[*value])]);
        let extension = extensions.iter().map(extension).collect::<Vec<_>>().concat();
        let tbs = tlv(
            0x30,
            &[
                &[0xa0, 3, 2, 1, 2, 2, 1, 1],
                &sha256_with_rsa,
                &[0x30, 0],
                &tlv(0x30, &[&time, &time]),
                &[0x30, 0],
                spki,
                &tlv(0xa3, &[&tlv(0x30, &[&extension])]),
            ],
        );
        let signature = tlv(0x03, &[&[0], &self.sign(&tbs)]);
        tlv(0x30, &[&tbs, &sha256_with_rsa, &signature])
    }
}

pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [_, _, _, _, _, a, b, c] = content.len().to_be_bytes();
    let length = if content.len() < 0x80 { vec![c] } else { vec![0x83, a, b, c] };
    // The shortest form, as DER has it.
    let length = match length[..] {
        [0x83, 0, 0, c] => vec![0x81, c],
        [0x83, 0, b, c] => vec![0x82, b, c],
        _ => length,
    };
    [&[tag], &length[..], &content].concat()
}

pub fn key_set(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).unwrap()
}

pub fn header() -> Value {
    json!({ "alg": "RS256", "jku": format!("{ISSUER}/certs"), "kid": KEY_ID, "typ": "JWT" })
}

/// The claims of a SEV-SNP TEE, wherever they stand in a token.
pub fn snp_claims() -> Value {
    json!({
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": "azure-compliant-uvm",
        "x-ms-sevsnpvm-authorkeydigest": "0a".repeat(48),
        "x-ms-sevsnpvm-bootloader-svn": 4,
        "x-ms-sevsnpvm-chip-family": "Milan",
        "x-ms-sevsnpvm-chipid": "c1".repeat(64),
        "x-ms-sevsnpvm-ciphertext-hiding-dram-enabled": true,
        "x-ms-sevsnpvm-cxl-allowed": false,
        "x-ms-sevsnpvm-familyId": "f1".repeat(16),
        "x-ms-sevsnpvm-guestsvn": 2,
        "x-ms-sevsnpvm-hostdata": "0d".repeat(32),
        "x-ms-sevsnpvm-idkeydigest": "1d".repeat(48),
        "x-ms-sevsnpvm-imageId": "1a".repeat(16),
        "x-ms-sevsnpvm-is-debuggable": false,
        "x-ms-sevsnpvm-launchmeasurement": "3e".repeat(48),
        "x-ms-sevsnpvm-mem-aes256-xts-required": true,
        "x-ms-sevsnpvm-microcode-svn": 211,
        "x-ms-sevsnpvm-migration-allowed": false,
        "x-ms-sevsnpvm-page-swap-disabled": false,
        "x-ms-sevsnpvm-rapl-disabled": true,
        "x-ms-sevsnpvm-reportdata": "4d".repeat(64),
        "x-ms-sevsnpvm-reportid": "1e".repeat(32),
        "x-ms-sevsnpvm-singlesocket": false,
        "x-ms-sevsnpvm-smt-allowed": true,
        "x-ms-sevsnpvm-snpfw-svn": 23,
        "x-ms-sevsnpvm-tee-svn": 1,
        "x-ms-sevsnpvm-vmpl": 0,
        "x-ms-sevsnpvm-uvm-endorsement": {
            "x-ms-sevsnpvm-guestsvn": "104",
            "x-ms-sevsnpvm-guestsvn-int": 104,
            "x-ms-sevsnpvm-launchmeasurement": "3e".repeat(48),
        },
        "x-ms-sevsnpvm-uvm-endorsement-headers": { "feed": "ContainerPlat-AMD-UVM", "iss": "did:x509:0:sha256:x::eku:1" },
    })
}

fn token_claims() -> Value {
    json!({
        "exp": NOW + 28_800, "iat": NOW, "nbf": NOW, "iss": ISSUER, "jti": "the token",
        "x-ms-policy-hash": URL_SAFE_NO_PAD.encode([0x90; 32]), "x-ms-ver": "1.0",
    })
}

fn merged(mut a: Value, b: Value) -> Value {
    let Value::Object(b) = b else { panic!("an object") };
    a.as_object_mut().unwrap().extend(b);
    a
}

/// The claims of a container.
pub fn container_claims() -> Value {
    let runtime = json!({ "x-ms-runtime": { "nonce": "00ff", "x-ms-sevsnpvm-is-debuggable": true } });
    merged(merged(token_claims(), snp_claims()), runtime)
}

/// The claims of a confidential VM's guest attestation.
pub fn vm_claims() -> Value {
    let vm = json!({
        "secureboot": true,
        "x-ms-attestation-type": "azurevm",
        "x-ms-azurevm-attested-pcrs": [0, 1, 2, 3, 4, 5, 6, 7],
        "x-ms-azurevm-vmid": "00000000-0000-0000-0000-000000000000",
        "x-ms-runtime": { "client-payload": { "nonce": STANDARD.encode("challenge") }, "keys": [] },
        "x-ms-isolation-tee": merged(snp_claims(), json!({ "x-ms-runtime": { "keys": [], "user-data": "00" } })),
    });
    merged(token_claims(), vm)
}

/// One value of each JSON type.
pub fn any_of_each_type() -> [(Value, JsonType); 7] {
    [
        (Value::Null, JsonType::Null),
        (json!(false), JsonType::Boolean),
        (json!([]), JsonType::Array),
        (json!("5"), JsonType::String),
        (json!({}), JsonType::Object),
        (json!(5), JsonType::UnsignedInteger),
        (json!(-5), JsonType::OtherNumber),
    ]
}

pub fn keys() -> KeySet {
    KeySet::from_json(&key_set(&[signer().jwk(KEY_ID)])).unwrap()
}

pub fn check(token: &str) -> Result<VerifiedToken, TokenError> {
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    verify(token, &keys(), &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW))
}

pub fn check_claims(claims: &Value) -> Result<VerifiedToken, TokenError> {
    check(&signer().token(&header().to_string(), &claims.to_string()))
}

/// The error; a verified token has no equality to assert on.
pub fn refusal(result: Result<VerifiedToken, TokenError>) -> TokenError {
    result.map(|token| panic!("accepted: {token:?}")).unwrap_err()
}

pub fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
