//! TLS configurations: which key a peer has proven to hold, and whether its name is validated.
//!
//! Every configuration names its crypto provider, so that a process-wide default has no effect.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, OtherError, RootCertStore, SignatureScheme,
};

use crate::clock::Clock;
use crate::crypto;
use crate::error::AttestationError;
use crate::types::{SpkiDigest, TlsExporter};

mod platform;

/// The most certificates in one file of roots; no platform has so many.
const MAX_ROOTS: usize = 2_000;

/// Validates the name of a server against certificate authorities.
pub(crate) type NameVerifier = Arc<dyn ServerCertVerifier>;

/// The reason why this crate refused a handshake, in addition to those of the TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsRejection {
    /// TLS 1.2, although possession of the key must be proven by TLS 1.3.
    #[error("it does not speak a version of TLS that is accepted here (1.3 for bound sessions)")]
    WrongVersion,
}

/// Returns a configuration that accepts any key: the peer proves possession of its certificate's key, which the caller checks
/// after the handshake. TLS 1.3 only; no resumption and no early data, since both skip the certificate.
pub(crate) fn capture_key_config(name: Option<NameVerifier>, clock: &Clock) -> Result<ClientConfig, AttestationError> {
    config(Arc::new(SpkiVerifier { name, tls12: false }), clock, &[&rustls::version::TLS13])
}

/// Returns a configuration that accepts any server key, for traffic that authenticates itself.
pub(crate) fn any_server_config(clock: &Clock) -> Result<ClientConfig, AttestationError> {
    let verifier = SpkiVerifier { name: None, tls12: true };
    config(Arc::new(verifier), clock, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

/// Returns a configuration for servers that are authenticated by name (Web PKI).
pub(crate) fn web_pki_config(name: NameVerifier, clock: &Clock) -> Result<ClientConfig, AttestationError> {
    config(name, clock, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    clock: &Clock,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ClientConfig, AttestationError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(ClockTimeProvider(clock.clone())))
        .with_protocol_versions(versions)
        .map_err(|_| misconfigured("the crypto provider has no cipher suites for TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// The certificate authorities for a server's name.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// The compiled-in Web PKI roots.
    BuiltIn,
    /// The platform's roots and these.
    Platform(Vec<CertificateDer<'static>>),
    /// Only these.
    Only(Vec<CertificateDer<'static>>),
}

impl Roots {
    /// Builds the verifier. Keep it: reading the platform's roots takes about 40 ms.
    pub(crate) fn verifier(&self) -> Result<NameVerifier, AttestationError> {
        match self {
            Self::BuiltIn => {
                let store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                web_pki(store)
            }
            Self::Platform(extra) => platform::verifier(extra),
            Self::Only(roots) => web_pki(store(roots)?),
        }
    }
}

const NO_ANCHOR: &str = "expected a root certificate that can be a trust anchor, found another";

fn store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, AttestationError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|_| misconfigured(NO_ANCHOR))?;
    }
    Ok(store)
}

fn web_pki(store: RootCertStore) -> Result<NameVerifier, AttestationError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build();
    Ok(verifier.map_err(|_| misconfigured("there is no root certificate to validate server names with"))?)
}

/// Parses root certificates: one or more in PEM, or one in DER. `setting` names the setting that they are given with, for messages.
///
/// The PEM reader is that of the TLS library, not `snp::pem`: these are files of the operating system and of the operator. They
/// contain hundreds of certificates, and sections of other kinds, which are ignored. `snp::pem` reads untrusted bundles of peers
/// and refuses a section that is not a certificate.
pub(crate) fn read_roots(setting: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, AttestationError> {
    let misconfigured = |reason: &str| misconfigured(&format!("{setting}: {reason}"));
    let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let roots: Vec<_> = if is_pem {
        let read = CertificateDer::pem_slice_iter(bytes).take(MAX_ROOTS.saturating_add(1)).collect::<Result<_, _>>();
        read.map_err(|_| misconfigured("expected root certificates in PEM or DER, found PEM that cannot be read"))?
    } else {
        vec![CertificateDer::from(bytes.to_vec())]
    };
    if roots.len() > MAX_ROOTS {
        return Err(misconfigured("expected at most 2000 root certificates in a file, found more"));
    }
    if roots.is_empty() {
        return Err(misconfigured("expected at least one root certificate in a file, found none"));
    }
    let unusable = if is_pem { NO_ANCHOR } else { "expected root certificates in PEM or DER, found neither" };
    let mut store = RootCertStore::empty();
    roots.iter().try_for_each(|root| store.add(root.clone())).map_err(|_| misconfigured(unusable))?;
    Ok(roots)
}

fn misconfigured(reason: &str) -> AttestationError {
    AttestationError::Misconfigured { reason: reason.to_owned() }
}

/// Verifies that the peer holds the key of its certificate and, if configured, its name. The certificate only carries the key:
/// its dates and chain are not checked, because the evidence authenticates the key.
#[derive(Debug)]
struct SpkiVerifier {
    name: Option<NameVerifier>,
    /// Whether TLS 1.2 is accepted.
    tls12: bool,
}

impl ServerCertVerifier for SpkiVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A certificate that cannot be read has no key to prove: the signature below is verified with the key that it has.
        match &self.name {
            Some(name) => name.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.tls12 {
            return Err(reject(TlsRejection::WrongVersion));
        }
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    /// Verifies the proof of possession: without it anyone could present the certificate of another peer.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the SHA-256 of the `SubjectPublicKeyInfo`, as read by the parser that also verifies the handshake's signature. The error
/// is the parser's, which names what is wrong with a certificate that it cannot read.
pub(crate) fn key_of(certificate: &CertificateDer<'_>) -> Result<SpkiDigest, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(SpkiDigest::new(crypto::sha256(&parsed.subject_public_key_info())))
}

/// Returns the channel binding `tls-exporter` of a connection (RFC 9266). Only for TLS 1.3: with earlier versions the value can be the
/// same for two connections (RFC 9266 section 5).
pub(crate) fn exporter(connection: &rustls::ClientConnection) -> Result<Option<TlsExporter>, rustls::Error> {
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return Ok(None);
    }
    let value = connection.export_keying_material([0; TlsExporter::LEN], b"EXPORTER-Channel-Binding", None)?;
    Ok(Some(TlsExporter::new(value)))
}

/// Returns the IANA name of a key exchange group.
pub(crate) fn group_name(group: NamedGroup) -> &'static str {
    group.as_str().unwrap_or("a group without a name")
}

fn reject(rejection: TlsRejection) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejection))))
}

/// Returns the rejection in an error of the TLS library, if it is one of this crate.
pub(crate) fn rejection(error: &rustls::Error) -> Option<TlsRejection> {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else { return None };
    inner.downcast_ref().copied()
}

/// Gives rustls the verifier's clock, so that certificates and evidence are checked at the same time.
#[derive(Debug)]
struct ClockTimeProvider(Clock);

impl TimeProvider for ClockTimeProvider {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.now().as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_SHARE: u16 = 51;
    const SUPPORTED_GROUPS: u16 = 10;
    const X25519MLKEM768: u16 = 0x11ec;
    const X25519: u16 = 0x001d;

    fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, left) = rest.split_at(length);
        *rest = left;
        taken
    }

    fn take_u16(rest: &mut &[u8]) -> u16 {
        u16::from_be_bytes(take(rest, 2).try_into().unwrap())
    }

    /// A vector of TLS with a length of one byte.
    fn take_vector8<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
        let length = usize::from(take(rest, 1)[0]);
        take(rest, length)
    }

    /// A vector of TLS with a length of two bytes.
    fn take_vector16<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
        let length = usize::from(take_u16(rest));
        take(rest, length)
    }

    /// The extension of the ClientHello that a configuration sends first (RFC 8446 section 4.1.2).
    fn extension(config: &ClientConfig, wanted: u16) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut rest = &hello[..];
        // Headers of record and handshake, version, random.
        take(&mut rest, 5 + 4 + 2 + 32);
        let _session_id = take_vector8(&mut rest);
        let _cipher_suites = take_vector16(&mut rest);
        let _compression_methods = take_vector8(&mut rest);
        let mut extensions = take_vector16(&mut rest);
        loop {
            let kind = take_u16(&mut extensions);
            let extension = take_vector16(&mut extensions);
            if kind == wanted {
                return extension.to_vec();
            }
        }
    }

    /// The groups of the key shares that are sent.
    fn key_shares(config: &ClientConfig) -> Vec<u16> {
        let extension = extension(config, KEY_SHARE);
        let mut shares = take_vector16(&mut &extension[..]);
        let mut groups = Vec::new();
        while !shares.is_empty() {
            groups.push(take_u16(&mut shares));
            take_vector16(&mut shares);
        }
        groups
    }

    fn first_supported_group(config: &ClientConfig) -> u16 {
        let extension = extension(config, SUPPORTED_GROUPS);
        take_u16(&mut take_vector16(&mut &extension[..]))
    }

    #[test]
    fn every_configuration_sends_the_x25519mlkem768_key_share_first() {
        let clock = Clock::system();
        let capturing = capture_key_config(None, &clock).unwrap();
        let named = web_pki_config(Roots::BuiltIn.verifier().unwrap(), &clock).unwrap();
        for config in [capturing, named, any_server_config(&clock).unwrap()] {
            // An additional X25519 share costs 36 bytes and saves a round trip with a peer that supports nothing else.
            assert_eq!(key_shares(&config), [X25519MLKEM768, X25519]);
            assert_eq!(first_supported_group(&config), X25519MLKEM768);
        }
    }

    #[test]
    fn a_file_of_roots_is_read_up_to_its_limit_and_never_in_part() {
        use base64::Engine as _;
        let root = base64::engine::general_purpose::STANDARD.encode(crate::snp::BUILTIN_CERTIFICATES[0].ark);
        let file =
            |count: usize| format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n").repeat(count);
        let read = |bytes: &[u8]| read_roots("collateral roots", bytes).map(|roots| roots.len());
        assert_eq!(read(file(2_000).as_bytes()), Ok(2_000));
        let cut = file(1).replace("-----END CERTIFICATE-----", "");
        let no_certificate = file(1).replace(&root, "AAAA");
        for (bytes, expected) in [
            (file(2_001), "expected at most 2000 root certificates in a file, found more"),
            (
                "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned(),
                "expected at least one root certificate in a file, found none",
            ),
            (no_certificate, NO_ANCHOR),
            (cut, "expected root certificates in PEM or DER, found PEM that cannot be read"),
            (String::new(), "expected root certificates in PEM or DER, found neither"),
        ] {
            assert_eq!(read(bytes.as_bytes()), Err(misconfigured(&format!("collateral roots: {expected}"))));
        }
        // Sections of other kinds are those of the operator's tools.
        let mixed = format!("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n{}", file(1));
        assert_eq!(read(mixed.as_bytes()), Ok(1));
        assert_eq!(crate::snp::certificates_from_pem(mixed.as_bytes()), Err(crate::x509::CertificateError::Malformed));
    }
}
