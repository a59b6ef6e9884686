//! TLS keys, certificates and the authority that issues them.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
};
use rustls::NamedGroup;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::server::Protocols;
use crate::emulator::keys::{pem, sha256};
use crate::types::{SpkiDigest, UnixTime};

const DAY: u64 = 24 * 60 * 60;

/// Issues server certificates. Clones are the same authority.
#[derive(Clone)]
pub struct CertificateAuthority(Arc<Authority>);

struct Authority {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// A new authority with a key of its own (ECDSA P-256), valid from 2020 to 2050.
    #[must_use]
    pub fn new(common_name: &str) -> Self {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let mut params = params(common_name, UnixTime::from_secs(1_577_836_800), UnixTime::from_secs(2_524_608_000));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).expect("a root certificate can be signed").der().to_vec();
        Self(Arc::new(Authority { der, issuer: Issuer::new(params, key) }))
    }

    /// The root certificate.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.0.der
    }

    /// The root certificate as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem("CERTIFICATE", &self.0.der)
    }

    /// Issues a certificate for a key.
    #[must_use]
    pub fn issue(&self, key: &TlsKey, request: &CertificateRequest) -> TlsIdentity {
        let params = request.params();
        let certificate = params.signed_by(&key.0.pair, &self.0.issuer).expect("a server certificate can be signed");
        TlsIdentity { key: key.clone(), chain: vec![certificate.der().to_vec()] }
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority")
    }
}

/// What a server certificate shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    names: Vec<String>,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl CertificateRequest {
    /// For these DNS names and IP addresses, valid from a day before `now` for 397 days.
    #[must_use]
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(names: I, now: UnixTime) -> Self {
        let mut unique: Vec<String> = Vec::new();
        for name in names.into_iter().map(Into::into) {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        let names = unique;
        Self { names, not_before: now.minus(DAY), not_after: now.plus(396 * DAY) }
    }

    /// With these dates.
    #[must_use]
    pub fn valid(mut self, not_before: UnixTime, not_after: UnixTime) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    fn params(&self) -> CertificateParams {
        let common_name = self.names.first().map_or("emulator", String::as_str);
        let mut params = params(common_name, self.not_before, self.not_after);
        let names = CertificateParams::new(self.names.clone()).expect("the names of a certificate are ASCII");
        params.subject_alt_names = names.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }
}

/// The kind of a TLS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA with P-256.
    #[default]
    P256,
    /// ECDSA with P-384.
    P384,
}

/// A TLS key of the emulator. Clones are the same key.
#[derive(Clone)]
pub struct TlsKey(Arc<Pair>);

struct Pair {
    pair: KeyPair,
    spki: Vec<u8>,
}

impl TlsKey {
    /// A new key.
    #[must_use]
    pub fn generate(kind: KeyKind) -> Self {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        };
        let pair = KeyPair::generate_for(algorithm).expect("an ECDSA key can be made");
        let spki = pair.subject_public_key_info();
        Self(Arc::new(Pair { pair, spki }))
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_digest(&self) -> SpkiDigest {
        SpkiDigest::new(sha256(&self.0.spki))
    }

    /// A certificate that the key signs for itself.
    #[must_use]
    pub fn self_signed(&self, request: &CertificateRequest) -> TlsIdentity {
        let certificate = request.params().self_signed(&self.0.pair).expect("a certificate can be self-signed");
        TlsIdentity { key: self.clone(), chain: vec![certificate.der().to_vec()] }
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsKey({})", self.spki_digest())
    }
}

/// A TLS key with its certificate chain.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    key: TlsKey,
    chain: Vec<Vec<u8>>,
}

impl TlsIdentity {
    /// The certificates, leaf first, in DER.
    #[must_use]
    pub fn chain_der(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_digest(&self) -> SpkiDigest {
        self.key.spki_digest()
    }

    pub(crate) fn key(&self) -> &TlsKey {
        &self.key
    }

    pub(crate) fn server_config(&self, protocols: Protocols) -> rustls::ServerConfig {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups.retain(|group| protocols.key_exchange.includes(group.name()));
        let chain = self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.0.pair.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&protocols.tls.rustls())
            .expect("the provider has suites and groups for these versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate");
        config.alpn_protocols = protocols.http.alpn();
        config
    }
}

/// Which versions of TLS a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TlsVersions {
    /// TLS 1.3 only.
    #[default]
    Tls13,
    /// TLS 1.2 only.
    Tls12,
    /// Either.
    Both,
}

impl TlsVersions {
    fn rustls(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        match self {
            Self::Tls13 => vec![&rustls::version::TLS13],
            Self::Tls12 => vec![&rustls::version::TLS12],
            Self::Both => vec![&rustls::version::TLS13, &rustls::version::TLS12],
        }
    }
}

/// Which key exchange groups a server of TLS 1.3 takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyExchange {
    /// X25519MLKEM768, X25519, P-256 and P-384: the first of them that the client lists.
    #[default]
    Any,
    /// X25519, P-256 and P-384, as servers without post-quantum key exchange.
    Classical,
    /// X25519MLKEM768 only. No version of TLS before 1.3 has it.
    PostQuantum,
}

impl KeyExchange {
    fn includes(self, group: NamedGroup) -> bool {
        let post_quantum = group == NamedGroup::X25519MLKEM768;
        match self {
            Self::Any => true,
            Self::Classical => !post_quantum,
            Self::PostQuantum => post_quantum,
        }
    }
}

pub(crate) fn params(common_name: &str, not_before: UnixTime, not_after: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before.as_secs());
    params.not_after = epoch + Duration::from_secs(not_after.as_secs());
    params
}
