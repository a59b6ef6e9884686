//! Certificates of servers that the validator refuses by a name of its own, as public reports have them: served over TLS, and named in
//! words. Such a certificate will not do with the next attempt either.

use std::net::SocketAddr;
use std::sync::Arc;

use blindbox_attestation::AttestationError::ServerNameNotValidated;
use blindbox_attestation::emulator::{CertificateAuthority, CertificateRequest, EmulatedClock, KeyKind, TlsKey};
use blindbox_attestation::{HostData, Policy, Trust, UnixTime, UvmRequirement, Verifier, Workload};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::common::cases;

const NAME: &str = "my-app.example";

/// Shows a certificate, whether the key is the certificate's or not: a client looks at the certificate first.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

async fn server(certificate: CertificateDer<'static>) -> SocketAddr {
    let key = KeyPair::generate().unwrap().serialize_der();
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(vec![certificate], key)))));
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    address
}

/// Why a server with this certificate is not validated, at this time.
async fn refusal(certificate: CertificateDer<'static>, root: &[u8], now: UnixTime) -> String {
    let address = server(certificate).await;
    let clock = EmulatedClock::stopped_at(now);
    let verifier =
        Verifier::builder().clock(clock).only_application_roots(root).resolve(NAME, address).build().unwrap();
    let trust = Trust::maa("https://sharedneu.neu.attest.azure.net").unwrap();
    let workload = Workload::binds_its_own_key(HostData::new([1; 32]));
    let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap();
    let error = verifier.connect(format!("https://{NAME}:{}", address.port()), &policy).await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    let ServerNameNotValidated { reason, .. } = error else { panic!("{error:?}") };
    let at = format!("https://{NAME}:{}: ", address.port());
    reason.strip_prefix(&at).unwrap_or(&reason).to_owned()
}

const AN_AUTHORITY: &str = "its certificate is one of an authority (CA:TRUE), which a server must not show";
const VERSION_1: &str = "its certificate is not of X.509 version 3";

/// The same certificate without its version, which is that of version 1 then. Its signature does not fit any more, and is not
/// looked at.
fn of_version_1(der: &[u8]) -> Vec<u8> {
    let outer = u16::from_be_bytes([der[2], der[3]]);
    let inner = u16::from_be_bytes([der[6], der[7]]);
    assert_eq!((&der[..2], &der[4..6], &der[8..13]), (&[0x30, 0x82][..], &[0x30, 0x82][..], &[0xa0, 3, 2, 1, 2][..]));
    let mut version_1 = vec![0x30, 0x82];
    version_1.extend_from_slice(&(outer - 5).to_be_bytes());
    version_1.extend_from_slice(&[0x30, 0x82]);
    version_1.extend_from_slice(&(inner - 5).to_be_bytes());
    version_1.extend_from_slice(&der[13..]);
    version_1
}

#[tokio::test]
async fn a_certificate_that_the_validator_refuses_by_name_is_named_in_words() {
    let authority = CertificateAuthority::new("An authority");
    let now = UnixTime::from_secs(1_790_000_000);

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_authority = params.self_signed(&key).unwrap().der().to_vec();
    let reason = refusal(own_authority.clone().into(), &own_authority, now).await;
    assert_eq!(reason, AN_AUTHORITY);

    let leaf = authority.issue(&TlsKey::generate(KeyKind::P256), &CertificateRequest::new([NAME], now));
    let reason = refusal(of_version_1(&leaf.chain_der()[0]).into(), authority.root_der(), now).await;
    assert_eq!(reason, VERSION_1);
    let reason = refusal(b"not a certificate".to_vec().into(), authority.root_der(), now).await;
    assert_eq!(reason, "its certificate is not valid DER");
}

/// The two of public reports, where recorded evidence is.
#[tokio::test]
async fn certificates_of_public_reports_are_named_in_words() {
    let Some(cases) = cases() else { return };
    let directory = cases.join("14-certificate-errors");
    // 1 December 2026: both are valid.
    let now = UnixTime::from_secs(1_796_083_200);
    for (file, expected) in [("ca_true_self_signed.pem", AN_AUTHORITY), ("v1.pem", VERSION_1)] {
        let certificate = CertificateDer::from_pem_file(directory.join(file)).unwrap();
        let root = CertificateAuthority::new("An authority");
        assert_eq!(refusal(certificate, root.root_der(), now).await, expected, "{file}");
    }
}
