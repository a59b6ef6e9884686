//! A gateway: takes prompts over HTTP and hands them to a BlindBox, and to no one else.
//!
//! | attestation says | the caller gets |
//! |---|---|
//! | attested | the response of the BlindBox |
//! | `unavailable`: no verdict (an outage, a deadline) | 503 with `Retry-After` |
//! | `rejected`, `untrusted`: the peer is not what it should be | 502 |
//! | `misconfigured`: this gateway is not set up properly | 500 |
//!
//! Errors are `{"error": "<code>"}` with the code of the crate, such as `debug-mode`, and nothing else: what exactly was
//! found is for the log, not for callers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{self, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use blindbox_attestation::{AttestationError, Category, ManagedSession, Policy, VerifierBuilder};
use serde::{Deserialize, Serialize};

/// The most time that one prompt may take, until the end of the response.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// What differs between production and a test.
pub struct Config {
    /// Where the BlindBox is.
    pub blindbox: String,
    /// What must run there.
    pub policy: Policy,
    /// How it is verified: `Verifier::builder()` as it is in production. A test gives the emulator's roots here, as a
    /// deployment with a private authority gives its own: there is no path through the gateway that only tests take.
    pub verifier: VerifierBuilder,
    /// How long after a failed connection the next one is made. Callers in between get the same error from memory.
    pub cool_down: Duration,
}

/// The routes: `POST /v1/generate` and, for load balancers, `GET /ready`.
///
/// Nothing is connected yet: a gateway starts whether or not its BlindBox is up, and connects when first asked.
pub fn gateway(config: Config) -> Result<Router, AttestationError> {
    let session = config.verifier.build()?.managed_session(config.blindbox, &config.policy)?;
    let peer = Peer { session: session.cool_down(config.cool_down), cool_down: config.cool_down };
    let routes = Router::new().route("/v1/generate", post(generate)).route("/ready", get(ready));
    Ok(routes.with_state(Arc::new(peer)))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
    prompt: String,
}

async fn generate(State(peer): State<Arc<Peer>>, Json(prompt): Json<Prompt>) -> Result<Response, Refusal> {
    peer.send(&prompt).await.map_err(|error| peer.refusal(&error))
}

async fn ready(State(peer): State<Arc<Peer>>) -> Result<&'static str, Refusal> {
    peer.session.ready().await.map_err(|error| peer.refusal(&error))?;
    Ok("attested")
}

/// The BlindBox, as this gateway knows it.
struct Peer {
    session: ManagedSession,
    cool_down: Duration,
}

impl Peer {
    /// Sends a prompt to the attested peer. Connecting, expiry, renewal, restarts and replicas are handled by the session.
    async fn send(&self, prompt: &Prompt) -> Result<Response, AttestationError> {
        self.session.post("/generate").json(prompt).timeout(PROMPT_TIMEOUT).send().await.map(pass_on)
    }

    fn refusal(&self, error: &AttestationError) -> Refusal {
        // The log is for operators: message and code say what was expected, what came and what to do.
        tracing::error!(code = error.code(), category = ?error.category(), "{error}");
        Refusal { code: error.code(), category: error.category(), retry_after: self.cool_down.as_secs().max(1) }
    }
}

fn pass_on(answer: blindbox_attestation::Response) -> Response {
    let (status, content_type) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    // Status, type and body are passed on as they come, long responses piece by piece; other headers stay here.
    let answer: http::Response<_> = answer.into();
    let mut response = Response::new(Body::new(answer.into_body()));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// What a caller gets of an error.
struct Refusal {
    code: &'static str,
    category: Category,
    retry_after: u64,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(Told { error: self.code });
        match self.category {
            Category::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, self.retry_after.to_string())], body).into_response()
            }
            Category::Misconfigured => (StatusCode::INTERNAL_SERVER_ERROR, body).into_response(),
            // Rejected, untrusted, and whatever a later version adds.
            _ => (StatusCode::BAD_GATEWAY, body).into_response(),
        }
    }
}

#[derive(Serialize)]
struct Told {
    error: &'static str,
}
