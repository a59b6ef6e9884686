//! The token for a report: `POST {instance}/attest/SevSnpVm`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{InvalidConfig, MaaHost};
use crate::evidence::{EvidenceError, Hardware};
use crate::http_client::{Failure, Stream, post_json};

const PATH: &str = "/attest/SevSnpVm?api-version=2022-08-01";

/// Asks MAA instances. The token proves itself, so what TLS protects here is only that an attacker on the way cannot keep
/// clients from getting one unnoticed.
#[derive(Clone)]
pub struct MaaClient(TlsConnector);

#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    pub(crate) token: String,
}

impl MaaClient {
    /// With Mozilla's roots, or those of a PEM file instead.
    pub fn new(roots: Option<&Path>) -> Result<Self, InvalidConfig> {
        let mut store = RootCertStore::empty();
        match roots {
            None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let unusable = |_| InvalidConfig::Value("maa-roots is not a file of certificates in PEM");
                for certificate in CertificateDer::pem_file_iter(path).map_err(unusable)? {
                    let unusable = |_| InvalidConfig::Value("maa-roots has a certificate that cannot be a root");
                    let certificate = certificate
                        .map_err(|_| InvalidConfig::Value("maa-roots is not a file of certificates in PEM"))?;
                    store.add(certificate).map_err(unusable)?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| InvalidConfig::Value("no version of TLS is available"))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn token(
        &self,
        host: &MaaHost,
        hardware: &Hardware,
        runtime_data: &[u8],
    ) -> Result<String, EvidenceError> {
        let name = host.as_str();
        let answer = post_json(self.connect(host), name, PATH, &request(hardware, runtime_data)).await;
        let body = answer.map_err(|failure| match failure {
            Failure::Away(reason) => EvidenceError::Away(format!("MAA, {name}: {reason}")),
            Failure::Refused(reason) => EvidenceError::Maa(format!("{name}: {reason}")),
        })?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| EvidenceError::Maa(format!("{name}: no token in the response")))?;
        Ok(answer.token)
    }

    async fn connect(&self, host: &MaaHost) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(host.host().to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host.host(), host.port())).await?;
        Ok(Box::new(self.0.connect(name, stream).await?))
    }
}

/// Base64url within base64url, as MAA's REST interface has it. The runtime data are the bytes whose digest is in the report;
/// of the types that MAA knows only `JSON` comes back in the token.
fn request(hardware: &Hardware, runtime_data: &[u8]) -> Value {
    let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut report = json!({
        "SnpReport": base64url(&hardware.report),
        "VcekCertChain": base64url(hardware.certificates.as_bytes()),
    });
    if let (Some(endorsement), Some(report)) = (&hardware.uvm_endorsement, report.as_object_mut()) {
        let endorsements = json!({ "Uvm": [base64url(endorsement)] });
        report.insert("Endorsements".to_owned(), base64url(endorsements.to_string().as_bytes()).into());
    }
    json!({
        "report": base64url(report.to_string().as_bytes()),
        "runtimeData": { "data": base64url(runtime_data), "dataType": "JSON" },
    })
}
