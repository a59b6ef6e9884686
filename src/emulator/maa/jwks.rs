//! Key sets as MAA publishes them, and as it should not.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CustomExtension, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};

use super::key_evidence::{MAA_EVIDENCE, MaaEvidence};
use crate::emulator::keys::{self, RsaSigningKey, random, x5t};
use crate::emulator::network::tls::params;
use crate::types::UnixTime;

/// How an entry of a key set carries its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyForm {
    /// `n`, `e`, `alg`, `use` and `x5c`, as published in 2026.
    #[default]
    NumbersAndCertificate,
    /// `x5c` only, as published from 2021 to 2023.
    CertificateOnly,
    /// `n` and `e` only.
    NumbersOnly,
}

/// What the key set of an emulated MAA looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetKnob {
    /// How entries carry their keys.
    Form(KeyForm),
    /// `x5c` is a chain of three and `kid` the leaf's SHA-1 (`x5t`), as for MAA's older keys.
    ChainOfThree,
    /// The certificate carries 30 kB of evidence about MAA itself: about 40 kB in base64.
    LargeCertificates,
    /// The certificate carries the evidence of a confidential container that holds the key, as an MAA that runs in one does.
    OwnEvidence(Box<MaaEvidence>),
    /// Two entries with RSA-1024 keys come first. Their private keys do not exist.
    LegacyRsa1024,
    /// The `kid` in use occurs a second time, with another key.
    DuplicateKid,
    /// The key of the certificate is not that of `n` and `e`.
    MismatchedCertificate,
    /// So many unusable entries come first.
    ManyKeys(usize),
    /// This entry comes first.
    ExtraKey(Value),
    /// `{"keys":[]}`.
    NoKeys,
    /// Sets a member of the entry in use.
    Member(String, Value),
    /// Removes a member of the entry in use.
    WithoutMember(String),
    /// This text in place of a key set.
    Text(String),
}

/// A key of an MAA instance with the certificates made for it.
pub(crate) struct MaaKey {
    pub(crate) signing: RsaSigningKey,
    plain: OnceLock<Vec<u8>>,
    large: OnceLock<Vec<u8>>,
    chain: OnceLock<Vec<Vec<u8>>>,
}

impl MaaKey {
    pub(crate) fn new() -> Self {
        Self { signing: RsaSigningKey::take(), plain: OnceLock::new(), large: OnceLock::new(), chain: OnceLock::new() }
    }

    pub(crate) fn kid(&self, knobs: &[KeySetKnob]) -> String {
        if knobs.contains(&KeySetKnob::ChainOfThree) {
            return self.chain().first().map(|leaf| x5t(leaf)).unwrap_or_default();
        }
        self.signing.key_id()
    }

    fn certificates(&self, issuer: &str, knobs: &[KeySetKnob]) -> Vec<Vec<u8>> {
        if knobs.contains(&KeySetKnob::ChainOfThree) {
            return self.chain().to_vec();
        }
        let evidence = knobs.iter().rev().find_map(|knob| match knob {
            KeySetKnob::OwnEvidence(evidence) => Some(evidence),
            _ => None,
        });
        if let Some(evidence) = evidence {
            return vec![self.self_signed(issuer, evidence.extensions(&self.signing))];
        }
        if knobs.contains(&KeySetKnob::LargeCertificates) {
            return vec![self.large.get_or_init(|| self.self_signed(issuer, padding())).clone()];
        }
        vec![self.plain.get_or_init(|| self.self_signed(issuer, Vec::new())).clone()]
    }

    /// As MAA's own: common name is the issuer, and the evidence about MAA is an extension.
    fn self_signed(&self, issuer: &str, extensions: Vec<CustomExtension>) -> Vec<u8> {
        let mut params = params(issuer, CERTIFIED_FROM, CERTIFIED_TO);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.custom_extensions = extensions;
        params.self_signed(&self.rcgen_key()).expect("a certificate can be self-signed").der().to_vec()
    }

    fn chain(&self) -> &[Vec<u8>] {
        self.chain.get_or_init(|| {
            let ca = |name| {
                let mut params = params(name, CERTIFIED_FROM, CERTIFIED_TO);
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                (params, KeyPair::generate().expect("a P-256 key can be made"))
            };
            let (root_params, root_key) = ca("Emulated Root Certificate Authority");
            let root = root_params.self_signed(&root_key).expect("a root can be signed").der().to_vec();
            let root_issuer = Issuer::new(root_params, root_key);
            let (middle_params, middle_key) = ca("Emulated Attestation PCA");
            let middle = middle_params.signed_by(&middle_key, &root_issuer).expect("a CA can be signed").der().to_vec();
            let middle_issuer = Issuer::new(middle_params, middle_key);
            let leaf = params("Emulated Attestation", CERTIFIED_FROM, CERTIFIED_TO);
            let leaf = leaf.signed_by(&self.rcgen_key(), &middle_issuer).expect("a leaf can be signed").der().to_vec();
            vec![leaf, middle, root]
        })
    }

    fn rcgen_key(&self) -> KeyPair {
        let pkcs8 = rustls::pki_types::PrivatePkcs8KeyDer::from(self.signing.pkcs8());
        KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_RSA_SHA256).expect("the key is an RSA key")
    }

    fn entry(&self, issuer: &str, knobs: &[KeySetKnob], other: &OnceLock<Self>) -> Value {
        let form = knobs.iter().rev().find_map(|knob| match knob {
            KeySetKnob::Form(form) => Some(*form),
            _ => None,
        });
        let form = form.unwrap_or_default();
        let mismatched = knobs.contains(&KeySetKnob::MismatchedCertificate);
        let certified = if mismatched { other.get_or_init(Self::new) } else { self };
        let mut entry = json!({ "kid": self.kid(knobs), "kty": "RSA" });
        if form != KeyForm::NumbersOnly {
            let x5c: Vec<String> =
                certified.certificates(issuer, knobs).iter().map(|der| STANDARD.encode(der)).collect();
            entry["x5c"] = json!(x5c);
        }
        if form != KeyForm::CertificateOnly {
            entry["alg"] = "RS256".into();
            entry["use"] = "sig".into();
            entry["n"] = self.signing.n().into();
            entry["e"] = self.signing.e().into();
        }
        for knob in knobs {
            match (knob, entry.as_object_mut()) {
                (KeySetKnob::Member(name, value), Some(entry)) => drop(entry.insert(name.clone(), value.clone())),
                (KeySetKnob::WithoutMember(name), Some(entry)) => drop(entry.remove(name)),
                _ => {}
            }
        }
        entry
    }
}

/// The text of a key set with these keys, the one in use first.
pub(crate) fn key_set(issuer: &str, published: &[&MaaKey], other: &OnceLock<MaaKey>, knobs: &[KeySetKnob]) -> String {
    let mut entries = Vec::new();
    for knob in knobs {
        match knob {
            KeySetKnob::LegacyRsa1024 => entries.extend([legacy(issuer), legacy(issuer)]),
            KeySetKnob::ManyKeys(count) => {
                let unusable = |number| json!({ "kid": format!("unusable-{number}"), "kty": "EC" });
                entries.extend((0..*count).map(unusable));
            }
            KeySetKnob::ExtraKey(entry) => entries.push(entry.clone()),
            KeySetKnob::NoKeys => return json!({ "keys": [] }).to_string(),
            KeySetKnob::Text(text) => return text.clone(),
            _ => {}
        }
    }
    entries.extend(published.iter().map(|key| key.entry(issuer, knobs, other)));
    if let (true, Some(first)) = (knobs.contains(&KeySetKnob::DuplicateKid), published.first()) {
        let mut second = other.get_or_init(MaaKey::new).entry(issuer, &[], other);
        second["kid"] = first.kid(knobs).into();
        entries.push(second);
    }
    json!({ "keys": entries }).to_string()
}

/// An entry as of 2023: a self-signed certificate over an RSA-1024 key, nothing else. The modulus is a random number.
fn legacy(issuer: &str) -> Value {
    let mut n: [u8; 128] = random();
    n[0] |= 0x80;
    n[127] |= 1;
    let modulus = [&[0x02, 0x81, 0x81, 0x00], n.as_slice()].concat();
    let exponent = [0x02, 0x03, 0x01, 0x00, 0x01];
    let key = Rsa1024([&[0x30, 0x81, 0x89], modulus.as_slice(), &exponent].concat());
    let params = params(issuer, CERTIFIED_FROM, CERTIFIED_TO);
    let signer = KeyPair::generate().expect("a P-256 key can be made");
    let certificate =
        params.signed_by(&key, &Issuer::from_params(&params, signer)).expect("a certificate can be signed");
    let kid = keys::key_id(&key.subject_public_key_info());
    json!({ "kid": kid, "kty": "RSA", "x5c": [STANDARD.encode(certificate.der())], "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" })
}

struct Rsa1024(Vec<u8>);

impl PublicKeyData for Rsa1024 {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// Evidence that is no evidence, of the size of real one.
fn padding() -> Vec<CustomExtension> {
    vec![CustomExtension::from_oid_content(MAA_EVIDENCE, vec![b'e'; 30_000])]
}

/// 2019-05-01, as MAA's self-signed certificates have it.
const CERTIFIED_FROM: UnixTime = UnixTime::from_secs(1_556_668_800);
/// 2050-12-31.
const CERTIFIED_TO: UnixTime = UnixTime::from_secs(2_556_057_600);
