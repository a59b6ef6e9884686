//! One exchange: bounded in size and time, never redirected, never decompressed.

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use url::Url;

use super::deadline::Deadline;
use super::failure::{Trouble, explain};
use super::retry_after::retry_after;
use crate::clock::Clock;
use crate::error::AttestationError;

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
        .map_err(|_| AttestationError::Misconfigured { why: "the proxy's address cannot be used".to_owned() })?;
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

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    Trouble(Trouble),
    /// The body has a `Content-Encoding` that nobody asked for.
    Encoded,
    Other(AttestationError),
}

impl From<AttestationError> for Failure {
    fn from(error: AttestationError) -> Self {
        Self::Other(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Trouble(explain(&error))
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
    /// Sends a request until it is answered by something that lasts, at most three times.
    pub(super) async fn run(&self, request: impl Fn() -> RequestBuilder) -> Result<Answered, Failure> {
        for wait in BACKOFF {
            let outcome = self.once(request()).await;
            let wait = match &outcome {
                Ok(answer) if answer.is_transient() => answer.retry_after.unwrap_or(wait).max(wait),
                Err(Failure::Trouble(trouble)) if self.reconnects && trouble.is_transient() => wait,
                _ => return outcome,
            };
            if wait > LONGEST_WAIT || wait >= self.deadline.left() {
                return outcome;
            }
            tokio::time::sleep(wait).await;
        }
        self.once(request()).await
    }

    async fn once(&self, request: RequestBuilder) -> Result<Answered, Failure> {
        let response = self.deadline.run(self.doing, request.send()).await??;
        let headers = response.headers();
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Failure::Encoded);
        }
        let content_type = text(headers, CONTENT_TYPE.as_str());
        let retry_after = retry_after(headers, Clock::system().now());
        let status = response.status().as_u16();
        let body = self.read(response).await?;
        Ok(Answered { status, content_type, body, retry_after })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let too_large = || Failure::Other(AttestationError::TooLarge { what: self.what, limit: self.limit });
        if response.content_length().is_some_and(|length| length > self.limit) {
            return Err(too_large());
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        loop {
            let silence = SILENCE.min(self.deadline.left());
            let Ok(chunk) = tokio::time::timeout(silence, response.chunk()).await else {
                return Err(self.silent().into());
            };
            let Some(chunk) = chunk? else { return Ok(body) };
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

impl Trouble {
    fn is_transient(&self) -> bool {
        use super::failure::TroubleKind;
        matches!(self.kind, TroubleKind::Connect | TroubleKind::Broken)
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}
