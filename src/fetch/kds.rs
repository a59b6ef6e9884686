//! The HTTP client of AMD's Key Distribution Service (AMD 57230) or a mirror of it. Returns untrusted bytes; the caller
//! verifies them.

use reqwest::Client;
use url::Url;

use super::http::{BoundedRequest, FetchError, HttpResponse};
use crate::deadline::Deadline;
use crate::error::AttestationError;

/// The largest responses that are read, in bytes: stop a server that sends without end. Certificates have 2 KB, chains 5 KB, CRLs 1 KB.
const MAX_CERTIFICATE: u64 = 64 << 10;
const MAX_CHAIN: u64 = 64 << 10;
const MAX_CRL: u64 = 64 << 10;

pub(super) const ACTIVITY: &str = "fetching AMD's certificates";

#[derive(Debug)]
pub(super) struct KdsClient {
    client: Client,
    base: Url,
}

impl KdsClient {
    pub(super) const fn new(client: Client, base: Url) -> Self {
        Self { client, base }
    }

    /// Fetches a certificate, in DER.
    pub(super) async fn certificate(&self, path: &str, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
        self.get(path, MAX_CERTIFICATE, "certificate for this chip and TCB", deadline).await
    }

    /// Fetches the certificates of an issuer and its root, in PEM.
    pub(super) async fn chain(&self, path: &str, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
        self.get(path, MAX_CHAIN, "certificates of the issuer", deadline).await
    }

    /// Fetches a CRL, in DER.
    pub(super) async fn crl(&self, path: &str, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
        self.get(path, MAX_CRL, "CRL at this path", deadline).await
    }

    /// Returns the error of a service whose response is of no use. It names the address, which can be that of a mirror.
    pub(super) fn unusable(&self, reason: &str) -> AttestationError {
        let reason = format!("{}: {reason}", self.base.origin().ascii_serialization());
        AttestationError::KdsUnreachable { reason, source: None }
    }

    async fn get(&self, path: &str, limit: u64, wanted: &str, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
        let unreachable = |reason: String| self.unusable(&reason);
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let request =
            BoundedRequest { activity: ACTIVITY, subject: "AMD's response", limit, deadline, retry_connect: true };
        match request.run(|| self.client.get(&url)).await {
            Ok(HttpResponse { status: 200, body, .. }) => Ok(body),
            Ok(HttpResponse { status: 404, .. }) => Err(unreachable(format!("it has no {wanted} (status 404)"))),
            Ok(HttpResponse { status, .. }) => Err(unreachable(format!("it responded with the status {status}"))),
            Err(FetchError::Transport(error)) => {
                Err(AttestationError::KdsUnreachable { reason: error.at(&self.base), source: error.source })
            }
            Err(FetchError::ContentEncoded) => {
                Err(unreachable("it sent compressed data, which was not requested".to_owned()))
            }
            Err(FetchError::Attestation(error)) => Err(error),
        }
    }
}
