//! Someone who endorses utility VMs: a root, an intermediate and a leaf of their own, and both forms of endorsement.
//!
//! Nothing here is trusted unless a policy names [`UvmSigner::issuer`].

pub(super) mod keys;
pub(super) mod x509;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value;

pub use keys::{KeyFailure, Sha2, SigningAlgorithm};

use crate::crypto::sha256;
use crate::types::Measurement;
use crate::uvm::{EndorsementForm, PRODUCTION_FEED};
use keys::{RsaOwner, Signer};
use x509::{
    CertificateSpec, algorithm_identifier, basic_constraints, extended_key_usage, extension, key_usage, tlv, utc_time,
};

/// The use that the emulator's leaf is for: the one of the production issuer.
pub const UVM_USE: &str = "1.3.6.1.4.1.311.76.59.1.2";

/// The common name of the emulator's leaf.
pub const LEAF_NAME: &str = "Emulated UVM signer (do not trust)";

/// The time that the emulator's endorsements say they were signed at: inside the life of its leaf, 2025.
pub const SIGNED_AT: u64 = 1_748_779_200;

/// What is wrong with a chain, on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// The leaf names a signature algorithm of another kind of key than its issuer's.
    AlgorithmOfAnotherKey,
    /// The intermediate may not sign certificates by its key usage.
    AuthorityMayNotSign,
    /// The intermediate is no certificate authority.
    AuthorityNotCa,
    /// The intermediate is over before the leaf begins.
    AuthorityExpired,
    /// The leaf has its key usage twice.
    DuplicateExtension,
    /// The leaf names its issuer but another key signed it.
    ForgedLink,
    /// The leaf names another issuer.
    IssuerMismatch,
    /// The leaf may not sign documents by its key usage.
    LeafMayNotSign,
    /// The root allows no authority below it.
    PathTooShort,
    /// Bytes follow the leaf.
    TrailingBytes,
    /// The leaf has an unknown critical extension.
    UnknownCriticalExtension,
    /// The leaf is signed with an algorithm identifier of SHA-1.
    WeakAlgorithm,
}

/// Makes a [`UvmSigner`].
#[derive(Clone, Debug)]
#[must_use]
pub struct UvmSignerBuilder {
    authorities: SigningAlgorithm,
    leaf: SigningAlgorithm,
    leaf_uses: Vec<String>,
    explicit_trailer: bool,
    authority_uses: Vec<String>,
    fault: Option<ChainFault>,
    /// The place in the chain, and the two times in DER.
    raw_validity: Option<(usize, [Vec<u8>; 2])>,
}

impl UvmSignerBuilder {
    /// The keys and signatures of root and intermediate.
    pub const fn authorities(mut self, algorithm: SigningAlgorithm) -> Self {
        self.authorities = algorithm;
        self
    }

    /// The key of the leaf and the algorithm of its endorsements.
    pub const fn leaf(mut self, algorithm: SigningAlgorithm) -> Self {
        self.leaf = algorithm;
        self
    }

    /// The extended key usage of the leaf; the issuer goes on naming [`UVM_USE`].
    pub fn leaf_uses<'a>(mut self, uses: impl IntoIterator<Item = &'a str>) -> Self {
        self.leaf_uses = uses.into_iter().map(str::to_owned).collect();
        self
    }

    /// The extended key usage of the intermediate, which has none unless given.
    pub fn authority_uses<'a>(mut self, uses: impl IntoIterator<Item = &'a str>) -> Self {
        self.authority_uses = uses.into_iter().map(str::to_owned).collect();
        self
    }

    /// Any bytes in the places of `notBefore` and `notAfter` of one certificate: 0 is the leaf, 2 the root.
    pub fn raw_validity(mut self, index: usize, not_before: &[u8], not_after: &[u8]) -> Self {
        self.raw_validity = Some((index, [not_before.to_vec(), not_after.to_vec()]));
        self
    }

    fn validity(&self, index: usize, usual: [&str; 2]) -> [Vec<u8>; 2] {
        match &self.raw_validity {
            Some((of, raw)) if *of == index => raw.clone(),
            _ => usual.map(utc_time),
        }
    }

    /// Writes the default trailer field of PSS in certificates, as older certificates do.
    pub const fn explicit_trailer(mut self) -> Self {
        self.explicit_trailer = true;
        self
    }

    /// Makes a chain that must be refused.
    pub const fn fault(mut self, fault: ChainFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Makes keys and certificates.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if a key could not be made.
    pub fn build(self) -> Result<UvmSigner, KeyFailure> {
        let fault = |fault| self.fault == Some(fault);
        let root_key = Signer::generate(self.authorities, RsaOwner::Authority)?;
        let intermediate_key = Signer::generate(self.authorities, RsaOwner::Authority)?;
        let leaf_key = Signer::generate(self.leaf, RsaOwner::Leaf)?;
        let algorithm = algorithm_identifier(self.authorities, self.explicit_trailer);

        let root = CertificateSpec {
            subject: ROOT,
            issuer: ROOT,
            validity: self.validity(2, ["220101000000Z", "470101000000Z"]),
            extensions: vec![
                basic_constraints(true, if fault(ChainFault::PathTooShort) { Some(0) } else { None }),
                key_usage(0x86),
            ],
            public_key: root_key.public_key()?,
            algorithm: algorithm.clone(),
        };
        let mut extensions = vec![
            basic_constraints(!fault(ChainFault::AuthorityNotCa), None),
            key_usage(if fault(ChainFault::AuthorityMayNotSign) { 0x80 } else { 0x86 }),
        ];
        if !self.authority_uses.is_empty() {
            extensions.push(extended_key_usage(&self.authority_uses));
        }
        let intermediate = CertificateSpec {
            subject: INTERMEDIATE,
            issuer: ROOT,
            validity: self.validity(
                1,
                ["220101000000Z", if fault(ChainFault::AuthorityExpired) { "241231235959Z" } else { "420101000000Z" }],
            ),
            extensions,
            public_key: intermediate_key.public_key()?,
            algorithm,
        };
        let chain = vec![
            self.leaf_certificate(&leaf_key, &intermediate_key)?,
            intermediate.sign(&root_key)?,
            root.sign(&root_key)?,
        ];
        let root_fingerprint = chain.last().map(|root| sha256(root)).unwrap_or_default();
        Ok(UvmSigner {
            root_did: format!("did:x509:0:sha256:{}", URL_SAFE_NO_PAD.encode(root_fingerprint)),
            issuer: format!("did:x509:0:sha256:{}::eku:{UVM_USE}", URL_SAFE_NO_PAD.encode(root_fingerprint)),
            chain,
            authority: Arc::new(intermediate_key),
            key: Arc::new(leaf_key),
            settings: self,
        })
    }

    fn leaf_certificate(&self, key: &Signer, authority: &Signer) -> Result<Vec<u8>, KeyFailure> {
        let fault = |fault| self.fault == Some(fault);
        let mut extensions = vec![
            basic_constraints(false, None),
            key_usage(if fault(ChainFault::LeafMayNotSign) { 0x20 } else { 0x80 }),
        ];
        if !self.leaf_uses.is_empty() {
            extensions.push(extended_key_usage(&self.leaf_uses));
        }
        if fault(ChainFault::DuplicateExtension) {
            extensions.push(key_usage(0x80));
        }
        if fault(ChainFault::UnknownCriticalExtension) {
            extensions.push(extension("1.2.3.4", true, &tlv(0x05, &[])));
        }
        let leaf = CertificateSpec {
            subject: LEAF_NAME,
            issuer: if fault(ChainFault::IssuerMismatch) { "Another issuer" } else { INTERMEDIATE },
            validity: self.validity(0, ["250101000000Z", "260101000000Z"]),
            extensions,
            public_key: key.public_key()?,
            algorithm: match self.fault {
                // sha1WithRSAEncryption
                Some(ChainFault::WeakAlgorithm) => {
                    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00".to_vec()
                }
                Some(ChainFault::AlgorithmOfAnotherKey) => algorithm_identifier(other_kind(self.authorities), false),
                _ => algorithm_identifier(self.authorities, self.explicit_trailer),
            },
        };
        let mut der = leaf.sign(if fault(ChainFault::ForgedLink) { key } else { authority })?;
        if fault(ChainFault::TrailingBytes) {
            der.push(0);
        }
        Ok(der)
    }
}

/// An algorithm of RSA for a key of ECDSA, and the other way round.
const fn other_kind(algorithm: SigningAlgorithm) -> SigningAlgorithm {
    match algorithm {
        SigningAlgorithm::RsaPkcs1(_) | SigningAlgorithm::RsaPss(_) => SigningAlgorithm::EcdsaP384,
        _ => SigningAlgorithm::RsaPss(Sha2::Sha384),
    }
}

/// Someone who endorses utility VMs. Clones have the same keys.
#[derive(Clone)]
pub struct UvmSigner {
    root_did: String,
    issuer: String,
    chain: Vec<Vec<u8>>,
    /// Signed the leaf.
    authority: Arc<Signer>,
    key: Arc<Signer>,
    settings: UvmSignerBuilder,
}

impl UvmSigner {
    /// Authorities with P-384 keys (quick to make) and a leaf like the production one: RSA-3072, `PS384`.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if a key could not be made.
    pub fn new() -> Result<Self, KeyFailure> {
        Self::builder().build()
    }

    /// The same with other keys, or with faults.
    pub fn builder() -> UvmSignerBuilder {
        UvmSignerBuilder {
            authorities: SigningAlgorithm::EcdsaP384,
            leaf: SigningAlgorithm::RsaPss(Sha2::Sha384),
            leaf_uses: vec!["1.3.6.1.4.1.311.76.59.1.1".to_owned(), UVM_USE.to_owned()],
            explicit_trailer: false,
            authority_uses: Vec::new(),
            fault: None,
            raw_validity: None,
        }
    }

    /// The `did:x509` to expect: this root, the use [`UVM_USE`].
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The same root with other policies, such as `subject:CN:Leaf`.
    #[must_use]
    pub fn issuer_with(&self, policies: &str) -> String {
        format!("{}::{policies}", self.root_did)
    }

    /// The same signer with a leaf for other uses: endorsements go on naming the same issuer.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if the leaf could not be signed.
    pub fn with_leaf_uses<'a>(&self, uses: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyFailure> {
        let settings = self.settings.clone().leaf_uses(uses);
        let mut chain = self.chain.clone();
        if let Some(leaf) = chain.first_mut() {
            *leaf = settings.leaf_certificate(&self.key, &self.authority)?;
        }
        Ok(Self { chain, settings, ..self.clone() })
    }

    /// The same signer, whose endorsements name another issuer: the forger's way.
    #[must_use]
    pub fn claiming(&self, issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), ..self.clone() }
    }

    /// The certificates in DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The COSE number of the algorithm that this signer signs with.
    #[must_use]
    pub const fn algorithm(&self) -> i64 {
        match self.settings.leaf {
            SigningAlgorithm::EcdsaP256 => -7,
            SigningAlgorithm::EcdsaP384 => -35,
            SigningAlgorithm::EcdsaP521 => -36,
            SigningAlgorithm::RsaPkcs1(Sha2::Sha256) => -257,
            SigningAlgorithm::RsaPkcs1(Sha2::Sha384) => -258,
            SigningAlgorithm::RsaPkcs1(Sha2::Sha512) => -259,
            SigningAlgorithm::RsaPss(Sha2::Sha256) => -37,
            SigningAlgorithm::RsaPss(Sha2::Sha384) => -38,
            SigningAlgorithm::RsaPss(Sha2::Sha512) => -39,
        }
    }

    /// Endorses a utility VM of the production feed.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if the key could not sign.
    pub fn endorse(&self, form: EndorsementForm, svn: u64, measurement: &Measurement) -> Result<Vec<u8>, KeyFailure> {
        self.endorse_feed(form, PRODUCTION_FEED, svn, measurement)
    }

    /// Endorses a utility VM of any feed.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if the key could not sign.
    pub fn endorse_feed(
        &self,
        form: EndorsementForm,
        feed: &str,
        svn: u64,
        measurement: &Measurement,
    ) -> Result<Vec<u8>, KeyFailure> {
        let header = self.protected_header(form, feed, svn)?;
        match form {
            EndorsementForm::TextHeaders => self.sign(&header, &[0xa0], text_payload(svn, measurement).as_bytes()),
            EndorsementForm::CwtHashEnvelope => self.sign(&header, &[0xa0], measurement.as_bytes()),
        }
    }

    /// The content of the protected header of a good endorsement: a CBOR map, for tests to change and [`Self::sign`].
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if the header could not be written.
    pub fn protected_header(&self, form: EndorsementForm, feed: &str, svn: u64) -> Result<Vec<u8>, KeyFailure> {
        encode(&Value::Map(self.header(form, feed, svn)))
    }

    fn header(&self, form: EndorsementForm, feed: &str, svn: u64) -> Vec<(Value, Value)> {
        let chain = self.chain.iter().map(|der| Value::Bytes(der.clone())).collect();
        let leaf_hash = self.chain.first().map(|leaf| sha256(leaf).to_vec()).unwrap_or_default();
        let signed_at = Value::Tag(1, Box::new(SIGNED_AT.into()));
        let mut pairs: Vec<(Value, Value)> = vec![
            (1.into(), self.algorithm().into()),
            (33.into(), Value::Array(chain)),
            (34.into(), Value::Array(vec![(-16).into(), leaf_hash.into()])),
        ];
        match form {
            EndorsementForm::TextHeaders => pairs.extend([
                (3.into(), "application/json".into()),
                ("iss".into(), self.issuer.as_str().into()),
                ("feed".into(), feed.into()),
                ("signingtime".into(), signed_at),
            ]),
            EndorsementForm::CwtHashEnvelope => {
                let claims = vec![
                    (1.into(), self.issuer.as_str().into()),
                    (2.into(), feed.into()),
                    (6.into(), signed_at),
                    ("svn".into(), svn.into()),
                ];
                pairs.extend([
                    (15.into(), Value::Map(claims)),
                    (258.into(), (-43).into()),
                    (259.into(), "application/octet-stream".into()),
                ]);
            }
        }
        pairs
    }

    /// Signs any protected header (the content of its byte string) and payload, and puts any unprotected header (a CBOR
    /// item) beside them.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if the key could not sign.
    pub fn sign(&self, protected: &[u8], unprotected: &[u8], payload: &[u8]) -> Result<Vec<u8>, KeyFailure> {
        let bytes = |content: &[u8]| encode(&Value::Bytes(content.to_vec()));
        let message = encode(&Value::Array(vec![
            "Signature1".into(),
            protected.to_vec().into(),
            Value::Bytes(Vec::new()),
            payload.to_vec().into(),
        ]))?;
        let signature = self.key.sign_cose(&message)?;
        Ok([vec![0xd2, 0x84], bytes(protected)?, unprotected.to_vec(), bytes(payload)?, bytes(&signature)?].concat())
    }
}

/// The JSON payload of the text-key form.
#[must_use]
pub fn text_payload(svn: u64, measurement: &Measurement) -> String {
    format!(r#"{{"x-ms-sevsnpvm-guestsvn":"{svn}","x-ms-sevsnpvm-launchmeasurement":"{measurement}"}}"#)
}

fn encode(value: &Value) -> Result<Vec<u8>, KeyFailure> {
    let mut bytes = Vec::new();
    coset::cbor::ser::into_writer(value, &mut bytes).map_err(|_| KeyFailure)?;
    Ok(bytes)
}

const ROOT: &str = "Emulated UVM root (do not trust)";
const INTERMEDIATE: &str = "Emulated UVM CA (do not trust)";
