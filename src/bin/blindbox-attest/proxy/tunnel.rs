//! WebSocket: after its opening handshake the bytes of a connection go to an attested stream and back, as they are.
//!
//! The stream is cut off when the peer is refused or its attestation ends, and the connection of the client with it: without the
//! closing handshake of WebSocket, so that it does not look complete.

use std::sync::{Mutex, PoisonError};

use blindbox_attestation::{AttestedStream, Response as SessionResponse};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::headers;
use super::response::AnswerBody;

/// The one protocol that clients may switch to.
pub const WEBSOCKET: &str = "websocket";

/// Both ends of a connection that has switched.
pub struct Tunnel {
    client: OnUpgrade,
    application: AttestedStream,
}

impl Tunnel {
    /// Until one side ends it or fails.
    pub async fn run(self) {
        let Self { client, mut application } = self;
        if let Ok(client) = client.await {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut application).await;
        }
    }
}

/// Where the tunnel of a connection waits until the HTTP library has given the connection up.
#[derive(Default)]
pub struct Switched(Mutex<Option<Tunnel>>);

impl Switched {
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The response to a client whose request the application accepted, which has opened the stream.
    pub fn open(&self, client: OnUpgrade, response: SessionResponse) -> Option<Response<AnswerBody>> {
        let of_application = response.headers().clone();
        let application = response.into_stream()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tunnel { client, application });
        let mut answer = Response::new(AnswerBody::Own(None));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = switching_headers(&of_application);
        Some(answer)
    }
}

/// The application's headers, and those that switch this connection.
fn switching_headers(of_application: &HeaderMap) -> HeaderMap {
    let leads_away =
        |name: &HeaderName| matches!(*name, header::LOCATION | header::CONTENT_LOCATION | header::CONTENT_LENGTH);
    let kept = of_application.iter().filter(|(name, _)| headers::of_answer(name, of_application) && !leads_away(name));
    let mut kept: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    kept.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    kept.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    kept
}

#[cfg(all(test, feature = "emulator"))]
mod tests;
