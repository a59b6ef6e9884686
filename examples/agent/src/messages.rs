//! Sealed messages, `blindbox-bound-message/1`: the form for an agent behind a front end that ends TLS.
//!
//! The front end is not trusted. Of the outer request, nothing is used but its body: method, path, headers and content of the request
//! to the application are inside, and so is the whole response. The address of its sender counts for limits alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blindbox_attestation::Nonce;
use blindbox_attestation::agent::{
    MessageKeys, MessageOffer, NoKey, OpenError, Opened, REQUEST_TYPE, SealedExchange, not_opened, open,
    sealed_response,
};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use crate::api::Refusal;
use crate::body::{Answer, BoxError, LimitedBody, whole};
use crate::config::{Limits, MessageConfig};
use crate::forward::Forward;
use crate::rate_limit::Places;
use crate::route::{Route, classify};
use crate::server::refused;

/// How often keys are looked at whose time may be over, where no request does it.
const EXPIRY: Duration = Duration::from_secs(5);

/// What a sealed body has beside the content: lengths, tags and the head.
const OVERHEAD: u64 = 256 * 1024;

/// The message keys of this agent and what opens requests with them. Clones are the same keys.
#[derive(Clone)]
pub(crate) struct Messages {
    keys: Arc<MessageKeys>,
    started: Instant,
    /// Requests that are being opened. Their senders are not authenticated.
    places: Arc<Places>,
    head_time: Duration,
    body_bytes: u64,
    idle: Duration,
}

impl Messages {
    pub(crate) fn new(config: &MessageConfig, limits: &Limits) -> Self {
        Self {
            keys: Arc::new(MessageKeys::new(config.kem.into(), config.schedule())),
            started: Instant::now(),
            places: Arc::new(Places::new(limits.requests_in_flight, limits.openings_per_address)),
            head_time: Duration::from_secs(limits.attestation_request_seconds),
            // Small chunks have as much beside the content as they have content.
            body_bytes: limits.body_bytes.saturating_mul(2).saturating_add(OVERHEAD),
            idle: Duration::from_secs(limits.idle_seconds),
        }
    }

    /// Begins a session, for an attestation that was admitted.
    pub(crate) fn offer(&self, nonce: &Nonce) -> Result<MessageOffer, NoKey> {
        self.keys.offer(nonce, self.started.elapsed())
    }

    /// Erases keys in time, for as long as the agent runs.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(EXPIRY).await;
            self.keys.expire(self.started.elapsed());
        }
    }

    /// Opens a request, passes it to the application and seals the response.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        forward: &Forward,
    ) -> Result<Response<Answer>, Refusal> {
        let mut types = request.headers().get_all(CONTENT_TYPE).iter();
        if types.next().is_none_or(|value| value.as_bytes() != REQUEST_TYPE.as_bytes()) || types.next().is_some() {
            return Err(Refusal {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                text: "the request must be message/ohttp-chunked-req",
            });
        }
        // A 503 would say that this instance is not there: its clients would have others attested.
        let busy = |reason| Refusal { status: StatusCode::TOO_MANY_REQUESTS, ..Refusal::from(reason) };
        let place = self.places.admit(caller).map_err(busy)?;
        let body = LimitedBody::new(request.into_body(), self.body_bytes, self.idle);
        let too_long = body.too_long();
        let opening = open(&self.keys, body, self.started.elapsed());
        let opened = tokio::time::timeout(self.head_time, opening).await.map_err(|_| LATE)?;
        drop(place);
        match opened {
            Ok(Opened::Admitted(exchange)) => exchanged(*exchange, caller, forward).await,
            Ok(Opened::Answered(content)) => Ok(sealed_response(whole(content))),
            Err(OpenError::NotOpened) => Ok(not_opened().map(whole)),
            Err(_) if too_long.load(Ordering::Relaxed) => Err(TOO_LONG),
            Err(_) => Err(CUT),
        }
    }
}

async fn exchanged(
    exchange: SealedExchange<LimitedBody<Incoming>>,
    caller: IpAddr,
    forward: &Forward,
) -> Result<Response<Answer>, Refusal> {
    // A request that waits for a place could be given up by its client and be processed all the same.
    let Ok(place) = forward.place(caller) else { return exchange.decline().map(sealed).map_err(|NoKey| NO_KEY) };
    let (request, responder) = exchange.accept();
    // The outer path was that of sealed messages. Inside, no path is the agent's.
    let answer = match classify(request.method(), request.uri()) {
        // The address is the front end's, and nothing authenticates what that says about its own callers.
        Route::Application => forward.pass(request, None, place).await,
        Route::Ambiguous => Err(Refusal { status: StatusCode::BAD_REQUEST, text: "the path is ambiguous" }),
        _ => Err(Refusal { status: StatusCode::NOT_FOUND, text: "the application has no such path" }),
    };
    let answer = answer.unwrap_or_else(|refusal| refused(&refusal));
    let sealed = responder.seal(answer).map_err(|NoKey| NO_KEY)?;
    Ok(sealed.map(|body| body.map_err(BoxError::from).boxed_unsync()))
}

fn sealed(content: Bytes) -> Response<Answer> {
    sealed_response(whole(content))
}

const LATE: Refusal = Refusal { status: StatusCode::REQUEST_TIMEOUT, text: "the request did not arrive in time" };
const TOO_LONG: Refusal = Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, text: "the request is too long" };
const CUT: Refusal = Refusal { status: StatusCode::BAD_REQUEST, text: "the request did not arrive whole" };
const NO_KEY: Refusal = Refusal { status: StatusCode::SERVICE_UNAVAILABLE, text: "there is no randomness" };
