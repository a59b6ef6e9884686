//! The TLS key. It is made here, exists in memory only, and has no way in or out: no constructor takes one, none is encoded.
//!
//! The only copy of the private key is that of AWS-LC, which overwrites its memory when the last reference is dropped. The
//! references are those of the rotation and of handshakes under way: an established connection has none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rcgen::{PublicKeyData, date_time_ymd};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme};

const BEGIN: &[u8] = b"-----BEGIN";

/// An ECDSA P-256 key made in this process.
pub struct TlsKey {
    private: PrivateKey,
    spki_digest: String,
    params: CertificateParams,
}

/// What one connection is opened with: a key, and a certificate chain over it.
#[derive(Clone)]
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
        let private = PrivateKey::generate()?;
        let spki_digest = hex::encode(digest(&SHA256, &private.0.spki));
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
        Ok(Self { private, spki_digest, params })
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, in lower-case hexadecimal.
    #[must_use]
    pub fn spki_digest(&self) -> &str {
        &self.spki_digest
    }

    /// A certificate signing request in PEM: public, signed by the key.
    pub fn request_pem(&self) -> Result<String, KeyError> {
        let request = self.params.serialize_request(&self.private);
        request.and_then(|request| request.pem()).map_err(|error| KeyError(error.to_string()))
    }

    /// With a certificate that the key signs for itself.
    pub(crate) fn self_signed(&self) -> Result<Identity, KeyError> {
        let certificate = self.params.self_signed(&self.private).map_err(|error| KeyError(error.to_string()))?;
        self.identity(vec![certificate.der().clone()]).map_err(|error| KeyError(error.to_string()))
    }

    /// With a chain from outside, leaf first, which has to be for this very key.
    pub(crate) fn with_chain(&self, pem: &[u8]) -> Result<Identity, ChainError> {
        // Before it is parsed, because what is not known there is passed over: an encrypted key, for one.
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
        let certified = CertifiedKey::new(chain, Arc::new(self.private.clone()));
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => ChainError::AnotherKey,
            _ => ChainError::Unusable,
        })?;
        let mut tls = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| ChainError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(FixedCert(Arc::new(certified))));
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

/// The private key, to sign with. Clones are references to the same one.
#[derive(Clone)]
struct PrivateKey(Arc<Pair>);

struct Pair {
    ecdsa: EcdsaKeyPair,
    /// The public key as a `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
    spki: Vec<u8>,
}

impl PrivateKey {
    /// Generated where it stays. `rcgen::KeyPair` and PKCS#8 would both be further copies, which nothing overwrites.
    fn generate() -> Result<Self, KeyError> {
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError("no ECDSA key can be generated".to_owned()))?;
        let spki = PublicPoint(ecdsa.public_key().as_ref()).subject_public_key_info();
        Ok(Self(Arc::new(Pair { ecdsa, spki })))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        self.0.ecdsa.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec())
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// An uncompressed point of P-256.
struct PublicPoint<'a>(&'a [u8]);

impl PublicKeyData for PublicPoint<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// For certificates and requests.
impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.ecdsa.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// For handshakes.
impl rustls::sign::SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        if !offered.contains(&self.scheme()) {
            return None;
        }
        Some(Box::new(self.clone()))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.0.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signature(message).map_err(|_| rustls::Error::General("the signature could not be made".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

#[derive(Debug)]
struct FixedCert(Arc<CertifiedKey>);

impl ResolvesServerCert for FixedCert {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[cfg(test)]
impl TlsKey {
    /// A certificate as it would be in a file.
    pub(crate) fn issued_by_a_test(&self) -> String {
        self.params.self_signed(&self.private).unwrap().pem()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TlsKey {
        TlsKey::generate(&["localhost".to_owned()], Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn only_certificates_with_its_own_first_are_taken() {
        let (key, other) = (key(), key());
        let (good, foreign) = (key.issued_by_a_test(), other.issued_by_a_test());
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
    /// Where the private key stands in the memory of this process. Compared with a masked copy, so that this is not one more.
    #[cfg(target_os = "linux")]
    fn copies_in_memory(masked: &[u8; 32]) -> usize {
        use std::io::{Read as _, Seek as _, SeekFrom};
        const CHUNK: usize = 1 << 20;
        let at = |bytes: &[u8], from_end: bool| {
            let mut masked: Vec<u8> = masked.iter().map(|byte| byte ^ MASK).collect();
            if from_end {
                masked.reverse();
            }
            let found = bytes == masked;
            masked.fill(0);
            found
        };
        let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
        let (mut chunk, mut found) = (vec![0; CHUNK + 32], 0);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for region in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
            let (begin, end) = region.split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            for begin in (number(begin)..number(end)).step_by(CHUNK) {
                let length = usize::try_from(number(end) - begin).unwrap().min(CHUNK + 31);
                let window = &mut chunk[..length];
                if memory.seek(SeekFrom::Start(begin)).is_err() || memory.read_exact(window).is_err() {
                    continue;
                }
                let (first, last) = (masked[0] ^ MASK, masked[31] ^ MASK);
                for (offset, byte) in window.iter().enumerate() {
                    let Some(bytes) = window.get(offset..offset + 32) else { break };
                    found += usize::from(*byte == first && at(bytes, false));
                    found += usize::from(*byte == last && at(bytes, true));
                }
                window.fill(0);
            }
        }
        found
    }

    #[cfg(target_os = "linux")]
    const MASK: u8 = 0x5a;

    /// Numbers stand in memory as bytes in either order.
    #[cfg(target_os = "linux")]
    #[test]
    fn no_copy_of_a_private_key_is_left_in_memory_when_the_last_reference_is_dropped() {
        use aws_lc_rs::encoding::AsBigEndian as _;
        use rustls::sign::SigningKey as _;
        let key = key();
        let masked: [u8; 32] = {
            let bytes: aws_lc_rs::encoding::EcPrivateKeyBin<'_> =
                key.private.0.ecdsa.private_key().as_be_bytes().unwrap();
            std::array::from_fn(|index| bytes.as_ref()[index] ^ MASK)
        };
        // Everything that it is used for.
        let identity = key.self_signed().unwrap();
        assert!(key.request_pem().unwrap().contains("CERTIFICATE REQUEST"));
        let signer = key.private.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
        assert!(signer.sign(b"a handshake").is_ok());
        drop((identity, signer));
        assert_eq!(copies_in_memory(&masked), 1);
        drop(key);
        assert_eq!(copies_in_memory(&masked), 0);
    }
}
