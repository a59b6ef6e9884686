//! One exchange: bounded in size and time, never redirected, never decompressed.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http_body::Body;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use url::Url;

use super::agent::AgentChannel;
use super::deadline::Deadline;
use super::retry_after::retry_after;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::transport::{OutgoingBody, Stage, TransportError, TransportErrorKind, classify, classify_reqwest};

/// The longest silence within an answer: stops a peer that holds a connection open for nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest wait that a `Retry-After` is followed for: stops a server that sends its callers to sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The waits before a second and third attempt.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];

/// A client that does nothing of its own accord: no redirects, cookies, proxies from the environment, retries,
/// decompression or referer. Features that another crate of the application switches on change none of it.
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
    let proxy = reqwest::Proxy::all(proxy.clone())
        .map_err(|_| AttestationError::Misconfigured { reason: "the proxy's address cannot be used".to_owned() })?;
    Ok(client.proxy(proxy))
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    retry_after: Option<Duration>,
}

impl Answered {
    /// Whether a later attempt may have another outcome (RFC 9110 section 15.6, RFC 6585 section 4).
    fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }

    /// Whether the body is what it should be, by its own account.
    pub(super) fn is_json(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum FetchError {
    Transport(TransportError),
    /// The body has a `Content-Encoding` that was not asked for.
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
        Self::Transport(classify_reqwest(&error))
    }
}

/// Of a body that is being read.
impl From<hyper::Error> for FetchError {
    fn from(error: hyper::Error) -> Self {
        Self::Transport(classify(&error, Stage::Body))
    }
}

/// What is exchanged, and how long and how much it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// What it is called in an error: what took too long.
    pub(super) doing: &'static str,
    /// What it is called in an error: what was too large.
    pub(super) what: &'static str,
    pub(super) limit: u64,
    pub(super) deadline: Deadline,
    /// Whether opening a connection anew is for the HTTP client to do. If not, a broken connection is the end.
    pub(super) reconnects: bool,
}

impl Exchange {
    /// Sends a request until the response is one that lasts, at most three times.
    pub(super) async fn run(&self, request: impl Fn() -> RequestBuilder) -> Result<Answered, FetchError> {
        for wait in BACKOFF {
            let outcome = self.once(request()).await;
            match self.pause(&outcome, wait) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return outcome,
            }
        }
        self.once(request()).await
    }

    /// The same over a connection of this crate's own.
    pub(super) async fn run_over(
        &self,
        channel: &mut AgentChannel<'_>,
        request: impl Fn() -> Result<http::Request<OutgoingBody>, AttestationError>,
    ) -> Result<Answered, FetchError> {
        for wait in BACKOFF {
            let outcome = self.once_over(channel, request()?).await;
            match self.pause(&outcome, wait) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return outcome,
            }
        }
        self.once_over(channel, request()?).await
    }

    /// How long to wait before another attempt; `None` if there is to be none.
    fn pause(&self, outcome: &Result<Answered, FetchError>, wait: Duration) -> Option<Duration> {
        let wait = match outcome {
            Ok(response) if response.is_transient() => response.retry_after.unwrap_or(wait).max(wait),
            Err(FetchError::Transport(error)) if self.reconnects && is_transient(error) => wait,
            _ => return None,
        };
        (wait <= LONGEST_WAIT && wait < self.deadline.left()).then_some(wait)
    }

    async fn once(&self, request: RequestBuilder) -> Result<Answered, FetchError> {
        let response = self.deadline.run(self.doing, request.send()).await??;
        self.read(Response::<reqwest::Body>::from(response)).await
    }

    async fn once_over(
        &self,
        channel: &mut AgentChannel<'_>,
        request: http::Request<OutgoingBody>,
    ) -> Result<Answered, FetchError> {
        let response = self.deadline.run(self.doing, channel.send(request)).await??;
        self.read(response).await
    }

    async fn read<B>(&self, response: Response<B>) -> Result<Answered, FetchError>
    where
        B: Body<Data = Bytes> + Unpin,
        FetchError: From<B::Error>,
    {
        let headers = response.headers();
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(FetchError::ContentEncoded);
        }
        let content_type = text(headers, CONTENT_TYPE.as_str());
        let retry_after = retry_after(headers, Clock::system().now());
        let status = response.status().as_u16();
        let body = self.read_body(response.into_body()).await?;
        Ok(Answered { status, content_type, body, retry_after })
    }

    async fn read_body<B>(&self, mut incoming: B) -> Result<Vec<u8>, FetchError>
    where
        B: Body<Data = Bytes> + Unpin,
        FetchError: From<B::Error>,
    {
        let too_large = || FetchError::Attestation(AttestationError::TooLarge { what: self.what, limit: self.limit });
        if incoming.size_hint().lower() > self.limit {
            return Err(too_large());
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        loop {
            let silence = SILENCE.min(self.deadline.left());
            let next = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx));
            let Ok(frame) = tokio::time::timeout(silence, next).await else {
                return Err(self.silent().into());
            };
            let Some(frame) = frame.transpose()? else { return Ok(body) };
            // Trailers are not of interest.
            let Ok(chunk) = frame.into_data() else { continue };
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn silent(&self) -> AttestationError {
        if self.deadline.left().is_zero() {
            return self.deadline.passed(self.doing);
        }
        AttestationError::Timeout { what: self.doing, after: SILENCE }
    }
}

fn is_transient(error: &TransportError) -> bool {
    use TransportErrorKind::{Broken, Connect, NotProcessed};
    matches!(error.kind, Connect | NotProcessed | Broken)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}
