//! One request: bounded in size and time, never redirected, never decompressed.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http_body::Body;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use url::Url;

use super::affinity;
use super::agent::AgentChannel;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::retry::{self, BACKOFF, retry_after};
use crate::transport::{OutgoingBody, Stage, TransportError, TransportErrorKind, classify, classify_reqwest};

/// The longest wait for the next bytes of a response body: stops a peer that holds a connection open and sends nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a client with everything optional switched off: redirects, cookies, proxies from the environment, retries,
/// decompression and `Referer`. Each is set explicitly, because another crate of the application may enable the reqwest
/// feature that turns it on by default.
pub(crate) fn client(tls: rustls::ClientConfig, proxy: Option<&Url>) -> Result<ClientBuilder, AttestationError> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .no_hickory_dns()
        .no_proxy();
    let Some(proxy) = proxy else { return Ok(client) };
    let proxy = reqwest::Proxy::all(proxy.clone()).map_err(|_| AttestationError::Misconfigured {
        reason: "expected a proxy's address such as http://proxy.example:3128, found one that cannot be used"
            .to_owned(),
    })?;
    Ok(client.proxy(proxy))
}

/// A response that was read to its end.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    retry_after: Option<Duration>,
    /// The cookies that it sets, as a request returns them.
    pub(super) cookies: Option<HeaderValue>,
}

impl HttpResponse {
    /// Whether the `Content-Type` is JSON.
    pub(super) fn is_json(&self) -> bool {
        crate::agent_protocol::is_json(&self.content_type)
    }
}

/// The reason why there is no response.
#[derive(Debug)]
pub(super) enum FetchError {
    Transport(TransportError),
    /// The response has a `Content-Encoding`, which was not requested.
    ContentEncoded,
    Attestation(AttestationError),
}

impl From<AttestationError> for FetchError {
    fn from(error: AttestationError) -> Self {
        Self::Attestation(error)
    }
}

impl From<TransportError> for FetchError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(classify_reqwest(error))
    }
}

/// Classifies an error while reading a response body.
impl From<hyper::Error> for FetchError {
    fn from(error: hyper::Error) -> Self {
        Self::Transport(classify(&error, Stage::Body).caused_by(error))
    }
}

/// The bounds of one request, and its names in error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundedRequest {
    /// What took too long, in a timeout error.
    pub(super) activity: &'static str,
    /// What was too large, in a size error.
    pub(super) subject: &'static str,
    pub(super) limit: u64,
    pub(super) deadline: Deadline,
    /// Whether a broken connection is worth another attempt on a new one. Not so on the connection that is being attested:
    /// another connection may reach another peer.
    pub(super) retry_connect: bool,
}

impl BoundedRequest {
    /// Sends a request over a client's connections, at most three times while the failure is transient.
    pub(super) async fn run(&self, request: impl Fn() -> RequestBuilder) -> Result<HttpResponse, FetchError> {
        for wait in BACKOFF {
            let outcome = self.once(request()).await;
            match self.pause(&outcome, wait) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return outcome,
            }
        }
        self.once(request()).await
    }

    /// Sends a request over an [`AgentChannel`], at most three times while the failure is transient.
    pub(super) async fn run_over(
        &self,
        channel: &mut AgentChannel<'_>,
        request: impl Fn() -> Result<http::Request<OutgoingBody>, AttestationError>,
    ) -> Result<HttpResponse, FetchError> {
        for wait in BACKOFF {
            let outcome = self.once_over(channel, request()?).await;
            match self.pause(&outcome, wait) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return outcome,
            }
        }
        self.once_over(channel, request()?).await
    }

    /// Returns how long to wait before another attempt; `None` if the outcome is final.
    fn pause(&self, outcome: &Result<HttpResponse, FetchError>, backoff: Duration) -> Option<Duration> {
        let asked = match outcome {
            Ok(response) if retry::is_transient(response.status) => response.retry_after,
            Err(FetchError::Transport(error)) if self.retry_connect && is_transient(error) => None,
            _ => return None,
        };
        retry::pause(backoff, asked, self.deadline.remaining())
    }

    async fn once(&self, request: RequestBuilder) -> Result<HttpResponse, FetchError> {
        let response = self.deadline.run(self.activity, request.send()).await??;
        self.read(Response::<reqwest::Body>::from(response)).await
    }

    async fn once_over(
        &self,
        channel: &mut AgentChannel<'_>,
        request: http::Request<OutgoingBody>,
    ) -> Result<HttpResponse, FetchError> {
        let response = self.deadline.run(self.activity, channel.send(request)).await??;
        self.read(response).await
    }

    async fn read<B>(&self, response: Response<B>) -> Result<HttpResponse, FetchError>
    where
        B: Body<Data = Bytes> + Unpin,
        FetchError: From<B::Error>,
    {
        let headers = response.headers();
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(FetchError::ContentEncoded);
        }
        let content_type = header_text(headers, &CONTENT_TYPE).unwrap_or_default().to_owned();
        let date = header_text(headers, &DATE);
        let retry_after = retry_after(header_text(headers, &RETRY_AFTER), date, Clock::system().now());
        let cookies = affinity::cookies(headers);
        let status = response.status().as_u16();
        let body = self.read_body(response.into_body()).await?;
        Ok(HttpResponse { status, content_type, body, retry_after, cookies })
    }

    async fn read_body<B>(&self, mut incoming: B) -> Result<Vec<u8>, FetchError>
    where
        B: Body<Data = Bytes> + Unpin,
        FetchError: From<B::Error>,
    {
        let too_large =
            || FetchError::Attestation(AttestationError::TooLarge { what: self.subject, limit: self.limit });
        if incoming.size_hint().lower() > self.limit {
            // The announced length is enough to refuse; what is sent is counted below all the same.
            return Err(too_large());
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        loop {
            let wait = READ_TIMEOUT.min(self.deadline.remaining());
            let next = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx));
            let Ok(frame) = tokio::time::timeout(wait, next).await else {
                return Err(self.read_timeout_error().into());
            };
            let Some(frame) = frame.transpose()? else { return Ok(body) };
            // Trailers are ignored: no protocol here uses them.
            let Ok(chunk) = frame.into_data() else { continue };
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn read_timeout_error(&self) -> AttestationError {
        if self.deadline.remaining().is_zero() {
            return self.deadline.timeout_error(self.activity);
        }
        AttestationError::Timeout { what: self.activity, after: READ_TIMEOUT }
    }
}

fn is_transient(error: &TransportError) -> bool {
    use TransportErrorKind::{Broken, Connect, NotProcessed};
    matches!(error.kind, Connect | NotProcessed | Broken)
}

fn header_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
