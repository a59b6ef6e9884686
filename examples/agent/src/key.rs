//! The TLS key. It is made here, lives in memory, and has no way in or out: no constructor takes one, none is written.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rcgen::{PublicKeyData as _, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

const BEGIN: &[u8] = b"-----BEGIN";

/// An ECDSA P-256 key made in this process.
pub struct TlsKey {
    pair: KeyPair,
    signing: Arc<dyn rustls::sign::SigningKey>,
    spki_digest: String,
    params: CertificateParams,
}

/// What one connection is opened with: a key, and a certificate chain over it.
pub(crate) struct Identity {
    pub(crate) tls: Arc<ServerConfig>,
    /// SHA-256 of the key's `SubjectPublicKeyInfo` in lower-case hexadecimal.
    pub(crate) spki_digest: String,
}

/// A key could not be made: the names are not names, or there is no randomness.
#[derive(Debug, thiserror::Error)]
#[error("a TLS key or certificate could not be made: {0}")]
pub struct KeyError(String);

/// Why a certificate chain is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is not PEM.
    #[error("the certificate file is not PEM")]
    NotPem,
    /// It has something else than certificates: a private key, most likely.
    #[error("the certificate file holds something else than certificates; a key from outside is never used")]
    NotOnlyCertificates,
    /// It has none.
    #[error("the certificate file holds no certificate")]
    Empty,
    /// The first certificate is for another key.
    #[error("the certificate is not for the key that was made here")]
    AnotherKey,
    /// TLS would not use it.
    #[error("the certificate chain cannot be used")]
    Unusable,
}

impl TlsKey {
    /// A new key, and certificates over it for these names.
    pub fn generate(names: &[String], lifetime: Duration) -> Result<Self, KeyError> {
        let failed = |error: rcgen::Error| KeyError(error.to_string());
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let spki_digest = hex::encode(digest(&SHA256, &pair.subject_public_key_info()));
        // TLS needs the key in its own representation. It does not leave this process.
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let signing = provider::sign::any_supported_type(&der).map_err(|error| KeyError(error.to_string()))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("blindbox", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let hour = Duration::from_secs(60 * 60);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(hour);
        params.not_after = epoch + now + lifetime + hour;
        Ok(Self { pair, signing, spki_digest, params })
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, in lower-case hexadecimal.
    #[must_use]
    pub fn spki_digest(&self) -> &str {
        &self.spki_digest
    }

    /// A certificate signing request in PEM: public, signed by the key.
    pub fn request_pem(&self) -> Result<String, KeyError> {
        let request = self.params.serialize_request(&self.pair);
        request.and_then(|request| request.pem()).map_err(|error| KeyError(error.to_string()))
    }

    /// With a certificate that the key signs for itself.
    pub(crate) fn self_signed(&self) -> Result<Identity, KeyError> {
        let certificate = self.params.self_signed(&self.pair).map_err(|error| KeyError(error.to_string()))?;
        self.identity(vec![certificate.der().clone()]).map_err(|error| KeyError(error.to_string()))
    }

    /// With a chain from outside, leaf first, which has to be for this very key.
    pub(crate) fn with_chain(&self, pem: &[u8]) -> Result<Identity, ChainError> {
        // Before it is taken apart, because what is not known there is passed over: an encrypted key, for one.
        let begun = pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
        let mut chain = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            match section.map_err(|_| ChainError::NotPem)? {
                (SectionKind::Certificate, der) => chain.push(CertificateDer::from(der)),
                _ => return Err(ChainError::NotOnlyCertificates),
            }
        }
        if begun != chain.len() {
            return Err(ChainError::NotOnlyCertificates);
        }
        self.identity(chain)
    }

    fn identity(&self, chain: Vec<CertificateDer<'static>>) -> Result<Identity, ChainError> {
        if chain.is_empty() {
            return Err(ChainError::Empty);
        }
        let certified = CertifiedKey::new(chain, Arc::clone(&self.signing));
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => ChainError::AnotherKey,
            _ => ChainError::Unusable,
        })?;
        let mut tls = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| ChainError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(One(Arc::new(certified))));
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed connection shows no certificate, so a client could not tell whose it is. No tickets, no store, and
        // no early data, which would be a request before any key was proven.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.max_early_data_size = 0;
        Ok(Identity { tls: Arc::new(tls), spki_digest: self.spki_digest.clone() })
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsKey({})", self.spki_digest)
    }
}

#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TlsKey {
        TlsKey::generate(&["localhost".to_owned()], Duration::from_secs(60)).unwrap()
    }

    fn certificate(key: &TlsKey) -> String {
        key.params.self_signed(&key.pair).unwrap().pem()
    }

    #[test]
    fn only_certificates_with_its_own_first_are_taken() {
        let (key, other) = (key(), key());
        let (good, foreign) = (certificate(&key), certificate(&other));
        let taken = |pem: &str| key.with_chain(pem.as_bytes()).map(|identity| identity.spki_digest.clone());
        assert_eq!(taken(&good).as_deref(), Ok(key.spki_digest()));
        assert_eq!(taken(&(good.clone() + &foreign)).as_deref(), Ok(key.spki_digest()));
        assert_eq!(taken(&(foreign + &good)), Err(ChainError::AnotherKey));
        assert_eq!(taken(""), Err(ChainError::Empty));
        assert_eq!(taken("-----BEGIN CERTIFICATE-----\n"), Err(ChainError::NotPem));
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY", "ANYTHING"] {
            let section = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
            assert_eq!(taken(&(good.clone() + &section)), Err(ChainError::NotOnlyCertificates), "{label}");
            assert_eq!(taken(&(section.clone() + &good)), Err(ChainError::NotOnlyCertificates), "{label}");
            assert_eq!(taken(&(good.clone() + " " + &section)), Err(ChainError::NotOnlyCertificates), "{label}");
        }
    }
}
