//! Azure's Trusted Hardware Identity Management: the certificate of the machine that it is asked on, as
//! `{"vcekCert", "tcbm", "certificateChain", "cacheControl"}`.
//!
//! It is of use to whoever verifies a guest on the same machine, or serves the same answer from elsewhere. It is not trusted: a
//! certificate that does not verify, or is of another chip or TCB, is as good as none.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use url::Url;

use super::deadline::Deadline;
use super::http::{Answered, Exchange, FetchError};
use crate::json::{self, Value};
use crate::snp::{AmdAnchors, CertificateBundle, CertificateError, VerifiedVek};

/// The largest answer that is read, in bytes: stops a server that never ends. A genuine one has 10 KB.
const MAX_ANSWER: u64 = 64 << 10;

/// How long it may take, and no more than half of what is left: where it hangs, AMD's must still be asked.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Thim {
    client: Client,
    url: Url,
}

impl Thim {
    pub(crate) fn new(client: Client, url: Url) -> Self {
        Self { client, url }
    }

    /// Where the service is, for messages.
    pub(super) fn address(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The certificate that this service has, verified; for which chip and TCB is for the caller to check.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub(super) async fn certificate(&self, anchors: &AmdAnchors, deadline: Deadline) -> Result<VerifiedVek, String> {
        let (doing, what) = ("fetching the host's certificate", "the response with the host's certificate");
        let deadline = Deadline::after(deadline.half_left().min(PATIENCE));
        let exchange = Exchange { doing, what, limit: MAX_ANSWER, deadline, reconnects: true };
        // Azure's metadata services want this header, so that a page in a browser cannot ask them.
        let response = exchange.run(|| self.client.get(self.url.clone()).header("Metadata", "true")).await;
        let body = match response {
            Ok(Answered { status: 200, body, .. }) => body,
            Ok(Answered { status, .. }) => return Err(format!("it responded with the status {status}")),
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
        VerifiedVek::from_bundle(&bundle, anchors).map_err(|error| error.to_string())
    }
}

/// Reads PEM as services of this kind send it: with NUL bytes after it (it is a C string in the host's table), with line ends
/// escaped twice, or without the lines around the base64.
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
