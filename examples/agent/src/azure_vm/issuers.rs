//! The certificates above that of the attestation key: from a file, else from the addresses that each certificate names.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;

use super::ak_certificate::{Chain, ChainCertificate};
use super::issuer_host::IssuerHosts;
use crate::http_client::{Failure, Stream, exchange};

/// The most addresses of a certificate that are tried: real ones have up to four.
const MAX_ADDRESSES: usize = 4;

/// Where the certificates of issuers are found.
pub(super) struct Issuers {
    /// In DER, from `azure-vm.ak-issuers`.
    pub(super) given: Vec<Vec<u8>>,
    pub(super) hosts: IssuerHosts,
}

impl Issuers {
    /// The chain that begins with this certificate.
    pub(super) async fn chain_of(&self, leaf: ChainCertificate) -> Result<Chain, String> {
        let mut chain = Chain::of(leaf);
        while let Some(certificate) = chain.unfinished() {
            let issuer = self.issuer_of(certificate).await?;
            chain.add(issuer)?;
        }
        Ok(chain)
    }

    /// The certificate of an issuer. The addresses are in a certificate that nothing here verified: see [`IssuerHosts`]. What they send
    /// is only compared by name; clients verify it.
    async fn issuer_of(&self, certificate: &ChainCertificate) -> Result<Option<ChainCertificate>, String> {
        for der in &self.given {
            let issuer = ChainCertificate::read(der).map_err(|reason| format!("azure-vm.ak-issuers: {reason}"))?;
            if certificate.is_issued_by(&issuer) {
                return Ok(Some(issuer));
            }
        }
        let mut reasons = Vec::new();
        for url in certificate.issuer_urls.iter().take(MAX_ADDRESSES) {
            match self.fetch(url).await {
                Ok(issuer) if certificate.is_issued_by(&issuer) => return Ok(Some(issuer)),
                Ok(_) => reasons.push(format!("{url}: another certificate")),
                Err(reason) => reasons.push(format!("{url}: {reason}")),
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        let name = &certificate.issuer_name;
        Err(format!(
            "the certificate of {name} cannot be fetched; give it by azure-vm.ak-issuers: {}",
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
        ChainCertificate::read(&exchange(connect, request).await.map_err(Failure::reason)?)
    }
}
