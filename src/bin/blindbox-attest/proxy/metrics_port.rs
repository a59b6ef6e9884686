//! `--metrics`: a separate port with counters and health, for those who run the proxy. No path of the application is taken for it,
//! and nothing on it is secret: counts, codes and times.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::prometheus::Registry;
use super::request_log;
use super::response::AnswerBody;
use super::session::ProxySession;
use crate::exit::Failure;

/// How many connections are served at a time: a scraper, a probe and some more.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection may last: each has one request.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

const EXPIRES: &str = "blindbox_proxy_attestation_expires_timestamp_seconds";
const READY: &str = "blindbox_proxy_ready";

/// The port, and what is counted.
pub struct Operations {
    listener: TcpListener,
    address: SocketAddr,
    registry: Registry,
}

impl Operations {
    /// Listens, and counts from now on.
    pub async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::setting(format!("--metrics {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let registry = Registry::default();
        metrics::set_global_recorder(registry.clone())
            .map_err(|_| Failure::setting("this process already has a recorder of `metrics`"))?;
        request_log::describe();
        metrics::describe_gauge!(EXPIRES, "When the latest attestation ends, in seconds since 1970");
        metrics::describe_gauge!(READY, "Whether requests are sent to an attested peer");
        Ok(Self { listener, address, registry })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves without end.
    pub async fn serve(self, peer: Arc<ProxySession>) {
        let (registry, room) = (self.registry, Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (peer, registry) = (Arc::clone(&peer), registry.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = respond(&request, &peer, &registry);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).keep_alive(false).max_buf_size(8 << 10);
                let serving = server.serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(CONNECTION_TIME, serving).await;
                drop(place);
            });
        }
    }
}

fn respond(request: &Request<Incoming>, peer: &ProxySession, registry: &Registry) -> Response<AnswerBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            note_state(peer);
            text(StatusCode::OK, registry.render())
        }
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match peer.not_ready() {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.code())),
        },
        _ => text(StatusCode::NOT_FOUND, "expected /metrics, /livez or /readyz\n".to_owned()),
    }
}

/// What is looked at rather than counted.
fn note_state(peer: &ProxySession) {
    metrics::gauge!(READY).set(if peer.not_ready().is_none() { 1.0 } else { 0.0 });
    if let Ok(session) = peer.session() {
        let expires = session.attestation().expires_at().as_secs();
        // Exact until the year 2106, and never wrong by more than a rounding.
        metrics::gauge!(EXPIRES).set(u32::try_from(expires).map_or(f64::INFINITY, f64::from));
    }
}

fn text(status: StatusCode, text: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Own(Some(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
