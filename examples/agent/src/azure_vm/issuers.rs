//! The certificates above that of the attestation key: from a file, else from the addresses that each certificate names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::UnixTime;
use blindbox_attestation::azure_vm::{AkAnchors, MAX_AK_CERTIFICATE_LEN};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;

use super::ak_certificate::{Chain, ChainCertificate};
use super::issuer_host::IssuerHosts;
use crate::http_client::{Failure, Stream, exchange};

/// The most addresses of a certificate that are tried: real ones have up to four.
const MAX_ADDRESSES: usize = 4;

/// Where the certificates of issuers are found, and what they must lead to.
pub(super) struct Issuers {
    /// In DER, from `azure-vm.ak-issuers`.
    pub(super) given: Vec<Vec<u8>>,
    pub(super) hosts: IssuerHosts,
    pub(super) anchors: AkAnchors,
}

/// A chain that clients accept until its certificates expire, if the attestation key is that of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AkChain {
    pub(super) pem: String,
    modulus: Vec<u8>,
    expires_at: UnixTime,
}

impl AkChain {
    pub(super) fn is_for(&self, modulus: &[u8]) -> bool {
        self.modulus == modulus
    }

    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        now <= self.expires_at
    }
}

impl Issuers {
    /// The chain that begins with this certificate, verified as clients do: what is fetched comes over plain HTTP. It ends below the
    /// root, which clients have.
    pub(super) async fn chain_of(&self, leaf: ChainCertificate, now: UnixTime) -> Result<AkChain, String> {
        let (modulus, mut chain) = (leaf.modulus.clone(), Chain::of(leaf));
        loop {
            let ders: Vec<Vec<u8>> = chain.certificates().iter().map(|certificate| certificate.der.clone()).collect();
            match (self.anchors.check_chain(&ders, now), chain.unfinished()) {
                (Ok(expires_at), _) => {
                    return Ok(AkChain { pem: ders.iter().map(|der| pem(der)).collect(), modulus, expires_at });
                }
                (Err(error), None) => return Err(format!("clients would refuse it: {error}")),
                (Err(_), Some(last)) => {
                    let issuer = self.issuer_of(last).await?;
                    chain.add(issuer)?;
                }
            }
        }
    }

    /// The certificate of an issuer. The addresses are in a certificate that may not be verified yet: see [`IssuerHosts`]. Of what they
    /// send, and of the file, the first that has signed the certificate is taken.
    async fn issuer_of(&self, certificate: &ChainCertificate) -> Result<Option<ChainCertificate>, String> {
        let mut reasons = Vec::new();
        for der in &self.given {
            let issuer = ChainCertificate::read(der).map_err(|reason| format!("azure-vm.ak-issuers: {reason}"))?;
            // The file has certificates of several authorities.
            if certificate.names_issuer(&issuer) {
                match certificate.check_issued_by(&issuer) {
                    Ok(()) => return Ok(Some(issuer)),
                    Err(reason) => reasons.push(format!("azure-vm.ak-issuers: {reason}")),
                }
            }
        }
        for url in certificate.issuer_urls.iter().take(MAX_ADDRESSES) {
            let fetched = self.fetch(url).await;
            match fetched.and_then(|issuer| certificate.check_issued_by(&issuer).map(|()| issuer)) {
                Ok(issuer) => return Ok(Some(issuer)),
                Err(reason) => reasons.push(format!("{url}: {reason}")),
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        let name = &certificate.issuer_name;
        Err(format!(
            "the certificate of {name} cannot be obtained; give it by azure-vm.ak-issuers: {}",
            reasons.join("; ")
        ))
    }

    async fn fetch(&self, url: &str) -> Result<ChainCertificate, String> {
        let url = self.hosts.locate(url)?;
        let connect = async {
            let stream: Box<dyn Stream> = Box::new(url.connect().await?);
            Ok(stream)
        };
        let request = Request::get(&url.path).header(HOST, url.authority());
        let request = request.body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
        let der = exchange(connect, request, MAX_AK_CERTIFICATE_LEN).await.map_err(Failure::reason)?;
        ChainCertificate::read(&der)
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use blindbox_attestation::emulator::azure_vm::{AkCertificateBuilder, VirtualTpm, VirtualTpmAuthority};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const NAME: &str = "Emulated Virtual TPM CA (do not trust)";

    /// A server of these bodies, one for each connection.
    async fn server(bodies: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for body in bodies {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
        });
        address
    }

    struct Azure {
        authority: VirtualTpmAuthority,
        tpm: VirtualTpm,
    }

    impl Azure {
        fn new() -> Self {
            Self { authority: VirtualTpmAuthority::new().unwrap(), tpm: VirtualTpm::new() }
        }

        fn certificate(&self) -> AkCertificateBuilder<'_> {
            self.authority.certificate(&self.tpm)
        }

        fn issuers(&self, given: &[Vec<u8>], hosts: &[SocketAddr]) -> Issuers {
            let hosts = serde_json::json!(hosts.iter().map(SocketAddr::to_string).collect::<Vec<_>>());
            let hosts = serde_json::from_value(hosts).unwrap();
            Issuers { given: given.to_vec(), hosts, anchors: self.authority.anchors() }
        }
    }

    fn now() -> UnixTime {
        std::time::SystemTime::now().into()
    }

    async fn chain(issuers: &Issuers, leaf: &[u8]) -> Result<AkChain, String> {
        issuers.chain_of(ChainCertificate::read(leaf).unwrap(), now()).await
    }

    fn forged(azure: &Azure) -> Vec<u8> {
        VirtualTpmAuthority::impostor().unwrap().certificate(&azure.tpm).chain().unwrap().remove(1)
    }

    #[tokio::test]
    async fn an_issuer_of_the_right_name_and_another_key_is_not_taken() {
        let azure = Azure::new();
        let [_, issuer] = &azure.certificate().chain().unwrap()[..] else { panic!("two certificates") };
        let forged = forged(&azure);
        let address = server(vec![forged.clone(), issuer.clone()]).await;
        let url = format!("http://{address}/ca.crt");
        let leaf = azure.certificate().issuer_url(&url).chain().unwrap().remove(0);
        let issuers = azure.issuers(&[forged], &[address]);
        let wrong = "its signature does not verify under its issuer's key: it was changed or forged";
        let shown = format!(
            "the certificate of {NAME} cannot be obtained; give it by azure-vm.ak-issuers: azure-vm.ak-issuers: {wrong}; {url}: {wrong}"
        );
        assert_eq!(chain(&issuers, &leaf).await, Err(shown));
        // The next attempt meets the authority itself.
        let found = chain(&issuers, &leaf).await.unwrap();
        assert_eq!(found.pem, pem(&leaf) + &pem(issuer));
        assert!(found.is_for(&ChainCertificate::read(&leaf).unwrap().modulus) && !found.is_for(&[0xc5; 256]));
        let end = found.expires_at;
        assert!(found.is_valid(end) && !found.is_valid(end.plus(1)));
    }

    /// Names and links can all be right in a hierarchy that an attacker made around the key of a genuine authority.
    #[tokio::test]
    async fn a_chain_that_leads_to_another_root_is_not_taken() {
        let azure = Azure::new();
        let leaf = azure.certificate().chain().unwrap();
        let mut issuers = azure.issuers(&leaf[1..], &[]);
        assert!(chain(&issuers, &leaf[0]).await.is_ok());
        issuers.anchors = AkAnchors::builtin();
        let shown = "clients would refuse it: expected a chain to Azure Virtual TPM Root Certificate Authority 2023; certificate 1 was issued \
                     by \"CN=Emulated Virtual TPM Root (do not trust)\", whose certificate is not in it";
        assert_eq!(chain(&issuers, &leaf[0]).await, Err(shown.to_owned()));
    }

    #[tokio::test]
    async fn a_certificate_that_clients_do_not_read_is_not_taken() {
        let azure = Azure::new();
        let address = server(vec![vec![0x30; MAX_AK_CERTIFICATE_LEN + 1], vec![0x30; MAX_AK_CERTIFICATE_LEN]]).await;
        let url = format!("http://{address}/ca.crt");
        let leaf = azure.certificate().issuer_url(&url).chain().unwrap().remove(0);
        let issuers = azure.issuers(&[], &[address]);
        let shown = |reason: &str| {
            Err(format!(
                "the certificate of {NAME} cannot be obtained; give it by azure-vm.ak-issuers: {url}: {reason}"
            ))
        };
        assert_eq!(chain(&issuers, &leaf).await, shown("length limit exceeded"));
        let error = chain(&issuers, &leaf).await.unwrap_err();
        assert!(error.contains(": it is no certificate: "), "{error}");
    }
}
