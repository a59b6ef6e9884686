//! Everything that is not the agent's, to the application: HTTP/1.1 on loopback or a Unix socket.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Request, Response, StatusCode, Uri};

use crate::api::Refusal;
use crate::body::{Answer, BoxError, LimitedBody};
use crate::config::{Application, Config};
use crate::headers::{PassedHeader, strip_hop_by_hop, strip_withheld};
use crate::http_client;
use crate::log;
use crate::rate_limit::{NoPlace, Place, Places};

/// How long the application may take to begin its response.
const ANSWER: Duration = Duration::from_secs(300);

pub(crate) struct Forward {
    application: Application,
    pass_headers: Vec<PassedHeader>,
    body_bytes: u64,
    idle: Duration,
    places: Places,
}

impl Forward {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            application: config.application.clone(),
            pass_headers: config.pass_headers.clone(),
            body_bytes: limits.body_bytes,
            idle: Duration::from_secs(limits.idle_seconds),
            places: Places::new(limits.requests_in_flight, config.requests_in_flight_per_address()),
        }
    }

    /// A place for one request under way.
    pub(crate) fn place(&self, caller: IpAddr) -> Result<Place, NoPlace> {
        self.places.admit(caller)
    }

    /// Passes a request on. The application gets the address of the caller; `None` if it came sealed, through a front end.
    pub(crate) async fn pass<B>(
        &self,
        request: Request<B>,
        caller: Option<IpAddr>,
        place: Place,
    ) -> Result<Response<Answer>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let request = self.request(request, caller)?;
        let too_long = request.body().too_long();
        let answer = tokio::time::timeout(ANSWER, async {
            http_client::send(http_client::to_application(&self.application).await?, request).await
        });
        let answer: Result<Response<Incoming>, BoxError> = answer.await.map_err(|_| LATE)?;
        let (mut head, body) = answer
            .map_err(|error| {
                if too_long.load(Ordering::Relaxed) {
                    return TOO_LONG;
                }
                log(format_args!("the application does not respond: {error}"));
                NO_ANSWER
            })?
            .into_parts();
        if head.status.is_informational() {
            return Err(NO_ANSWER);
        }
        strip_hop_by_hop(&mut head.headers);
        if body.size_hint().exact().is_none() {
            head.headers.remove(CONTENT_LENGTH);
        }
        Ok(Response::from_parts(head, LimitedBody::new(body, u64::MAX, self.idle).holding(place).boxed_unsync()))
    }

    /// The same request as HTTP/1.1 in origin form, without what was about the connection it came on.
    fn request<B: Body>(
        &self,
        request: Request<B>,
        caller: Option<IpAddr>,
    ) -> Result<Request<LimitedBody<B>>, Refusal> {
        let (mut head, body) = request.into_parts();
        // Behind a tunnel, bytes would go through that are no requests, past everything here.
        if head.method == Method::CONNECT || !upgrade_may_be_ignored(&head) {
            return Err(Refusal {
                status: StatusCode::NOT_IMPLEMENTED,
                text: "tunnels and upgrades are not supported",
            });
        }
        // What is coded in another way beside would be passed on as if it were not.
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, text: "this coding is not supported" });
        }
        if body.size_hint().lower() > self.body_bytes {
            return Err(TOO_LONG);
        }
        let host = host(&head.uri, &head.headers)?;
        let target = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        strip_hop_by_hop(&mut head.headers);
        strip_withheld(&mut head.headers, &self.pass_headers);
        // Framed again by what was read here, so that no count of bytes of another party comes through.
        match body.size_hint().exact() {
            Some(length) if head.headers.contains_key(CONTENT_LENGTH) => {
                head.headers.insert(CONTENT_LENGTH, length.into());
            }
            Some(_) => {}
            None => {
                head.headers.remove(CONTENT_LENGTH);
                head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        // Responded to here, as soon as the body is read.
        head.headers.remove(EXPECT);
        join_cookies(&mut head.headers)?;
        head.headers.insert(HOST, host);
        if let Some(caller) = caller {
            let caller = HeaderValue::try_from(caller.to_canonical().to_string()).map_err(|_| BAD)?;
            head.headers.insert("x-forwarded-for", caller);
        }
        head.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let mut passed = Request::new(LimitedBody::new(body, self.body_bytes, self.idle));
        *passed.method_mut() = head.method;
        *passed.uri_mut() = Uri::from(target);
        *passed.headers_mut() = head.headers;
        Ok(passed)
    }
}

/// Whether the request has a response in HTTP/1.1 although it offers another protocol (RFC 9110 section 7.8 lets a server
/// ignore the offer, and `strip_hop_by_hop` takes it off). So it is with `h2c`, which Java's client and curl offer in ordinary
/// requests. Who offers anything else, such as `websocket`, has no use for such a response and gets an error.
fn upgrade_may_be_ignored(head: &Parts) -> bool {
    let protocols = head.headers.get_all(UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    protocols.into_iter().all(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// One host, whichever way it is said; two would be one for us and another for the application.
fn host(target: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let mut named = headers.get_all(HOST).iter();
    let (first, second) = (named.next(), named.next());
    let authority = target.authority().map(|authority| authority.as_str());
    let host = match (authority, first, second) {
        (Some(text), None, None) => HeaderValue::from_str(text).map_err(|_| BAD)?,
        (Some(text), Some(host), None) if host.as_bytes() == text.as_bytes() => host.clone(),
        (None, Some(host), None) => host.clone(),
        _ => return Err(BAD),
    };
    // A name or address and a port: a user part or a path would be read in more than one way.
    let plain = Authority::try_from(host.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'));
    if plain { Ok(host) } else { Err(BAD) }
}

/// HTTP/2 may send cookies in several fields, HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice())).map_err(|_| BAD)?;
        headers.insert(COOKIE, joined);
    }
    Ok(())
}

const BAD: Refusal = Refusal { status: StatusCode::BAD_REQUEST, text: "the request is ambiguous" };
const LATE: Refusal = Refusal { status: StatusCode::GATEWAY_TIMEOUT, text: "the application does not respond" };
const NO_ANSWER: Refusal = Refusal { status: StatusCode::BAD_GATEWAY, text: "the application does not respond" };
const TOO_LONG: Refusal = Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, text: "the request is too long" };
