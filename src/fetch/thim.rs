//! The client of Azure's Trusted Hardware Identity Management (THIM), which returns the certificate of the machine that it
//! runs on, as `{"vcekCert", "tcbm", "certificateChain", "cacheControl"}`.
//!
//! It helps verifiers on the same machine as the guest, or behind a service that relays the same response. It is not trusted:
//! a certificate that does not verify, or is of another chip or TCB, counts as none.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use url::Url;

use super::http::{BoundedRequest, FetchError, HttpResponse};
use crate::deadline::Deadline;
use crate::json::{self, Value};
use crate::snp::{AmdAnchors, CertificateBundle, CertificateError, VerifiedVek};

/// The largest response that is read, in bytes: stops a server that sends without end. Genuine ones have 10 KB.
const MAX_THIM_RESPONSE: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Thim {
    client: Client,
    url: Url,
    timeout: Duration,
}

impl Thim {
    /// `timeout` is the most time for a request; it has at most half of the remaining time, so that AMD's service can still be tried.
    pub(crate) fn new(client: Client, url: Url, timeout: Duration) -> Self {
        Self { client, url, timeout }
    }

    /// Returns the origin of the service, for messages.
    pub(super) fn address(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Fetches and verifies the certificate of this service. The caller checks its chip and TCB.
    ///
    /// # Errors
    ///
    /// The reason why there is no certificate, as text.
    pub(super) async fn certificate(&self, anchors: &AmdAnchors, deadline: Deadline) -> Result<VerifiedVek, String> {
        let (activity, subject) = ("fetching the host's certificate", "the response with the host's certificate");
        let deadline = Deadline::after(deadline.half_remaining().min(self.timeout));
        let request = BoundedRequest { activity, subject, limit: MAX_THIM_RESPONSE, deadline, retry_connect: true };
        // Azure's metadata services require this header, because a page in a browser cannot send it across origins.
        let response = request.run(|| self.client.get(self.url.clone()).header("Metadata", "true")).await;
        let body = match response {
            Ok(HttpResponse { status: 200, body, .. }) => body,
            Ok(HttpResponse { status, .. }) => return Err(format!("it responded with the status {status}")),
            Err(FetchError::Transport(error)) => return Err(error.reason),
            Err(FetchError::ContentEncoded) => {
                return Err("it sent compressed data, which was not requested".to_owned());
            }
            Err(FetchError::Attestation(error)) => return Err(error.to_string()),
        };
        let Ok(Value::Object(response)) = json::parse(&body) else {
            return Err("expected a JSON object, found something else".to_owned());
        };
        let certificates =
            response.required::<&str>("vcekCert").map_err(|_| "expected the string \"vcekCert\" in its response")?;
        let bundle = read(certificates).map_err(|error| format!("\"vcekCert\" cannot be read: {error}"))?;
        // Needed only if AMD has given the issuer another key than the pinned one; a chain that cannot be read does no harm.
        let chain = response.required::<&str>("certificateChain").ok().and_then(|chain| read(chain).ok());
        let bundle = chain.into_iter().fold(bundle, CertificateBundle::followed_by);
        VerifiedVek::from_bundle(&bundle, anchors).map_err(|error| error.to_string())
    }
}

/// Reads PEM in the forms that these services send: followed by NUL bytes (it is a C string in the host's table), with line
/// ends escaped twice, or as base64 without the PEM header and footer.
fn read(certificates: &str) -> Result<CertificateBundle, CertificateError> {
    let certificates = certificates.trim_end_matches('\0');
    let unescaped = certificates.replace("\\r", "").replace("\\n", "\n");
    if unescaped.contains("-----") {
        return CertificateBundle::from_pem(unescaped.as_bytes());
    }
    let base64: String = unescaped.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(|_| CertificateError::Malformed)?;
    CertificateBundle::from_pem_or_der(&der)
}
