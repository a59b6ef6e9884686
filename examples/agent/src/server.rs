//! Connections: TLS 1.3, one key each, bounded in number, time and size.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::body::{Answer, whole};
use crate::bound::{Bound, Refusal};
use crate::config::{Config, InvalidConfig, Limits};
use crate::evidence::Source;
use crate::files::Files;
use crate::forward::Forward;
use crate::key::{Identity, KeyError};
use crate::limit::Limiter;
use crate::maa::MaaClient;
use crate::rotation::Rotation;
use crate::route::{Route, classify};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long what has begun may go on after its connection was asked to end.
const DRAIN: Duration = Duration::from_secs(60);

/// Streams of HTTP/2 at a time on one connection.
const STREAMS: u32 = 64;

/// Bytes of headers in a request.
const HEADERS: u32 = 32 * 1024;

/// A running agent. Everything it started ends when it is dropped, save an attestation that is under way.
pub struct Agent {
    address: SocketAddr,
    identities: watch::Receiver<Arc<Identity>>,
    tasks: JoinSet<()>,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The first key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The thread that files are read on.
    #[error("there is no thread for files: {0}")]
    Files(io::Error),
    /// The address.
    #[error("the address cannot be listened on: {0}")]
    Listen(#[from] io::Error),
}

struct Shared {
    bound: Bound,
    forward: Forward,
    limits: Limits,
}

impl Agent {
    /// Makes a key and begins to serve.
    pub async fn start(config: &Config, source: Source) -> Result<Self, StartError> {
        config.check()?;
        let limits = config.limits.clone();
        let maa = MaaClient::new(config.maa_roots.as_deref())?;
        let bound = Bound { source, maa, hosts: config.maa.clone(), limiter: Limiter::new(&limits) };
        let forward = Forward::new(config.application.clone(), &limits);
        let files = Files::start(&config.key).map_err(StartError::Files)?;
        let (rotation, identities) = Rotation::start(config, files)?;
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(rotation.run());
        tasks.spawn(accept(listener, identities.clone(), Arc::new(Shared { bound, forward, limits })));
        Ok(Self { address, identities, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` of the key that new connections are opened with.
    #[must_use]
    pub fn spki_digest(&self) -> String {
        self.identities.borrow().spki_digest.clone()
    }

    /// Serves until something ends that should not.
    pub async fn finished(&mut self) {
        self.tasks.join_next().await;
    }
}

async fn accept(listener: TcpListener, identities: watch::Receiver<Arc<Identity>>, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(usize::try_from(shared.limits.connections).unwrap_or(1)));
    let mut connections = JoinSet::new();
    let mut keys = identities.clone();
    loop {
        // Beyond the bound callers wait in the system's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            biased;
            () = ended(&mut keys) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, caller)) => {
                let (shared, identities) = (Arc::clone(&shared), identities.clone());
                connections.spawn(async move {
                    connection(stream, caller.ip(), identities, shared).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    caller: IpAddr,
    mut identities: watch::Receiver<Arc<Identity>>,
    shared: Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    // This connection's for good, whatever key serves later: what is attested on it is the key it was opened with.
    let identity = Arc::clone(&identities.borrow_and_update());
    let handshake = TlsAcceptor::from(Arc::clone(&identity.tls)).accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
    let limits = &shared.limits;
    let idle = Duration::from_secs(limits.idle_seconds);
    let age = Duration::from_secs(limits.connection_seconds);

    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(64 * 1024);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = service_fn(|request| {
        let (shared, identity) = (Arc::clone(&shared), Arc::clone(&identity));
        async move { Ok::<_, std::convert::Infallible>(shared.answer(request, caller, &identity.spki_digest).await) }
    });
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut serving => return,
        () = another_key(&mut identities, &identity.spki_digest) => {}
        () = tokio::time::sleep(age) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(DRAIN, serving).await;
}

/// Until no key is made any more: the last one must not serve on.
async fn ended(keys: &mut watch::Receiver<Arc<Identity>>) {
    while keys.changed().await.is_ok() {}
}

/// Until new connections are opened with another key, or no key is made any more. A new certificate for the same one changes
/// nothing.
async fn another_key(identities: &mut watch::Receiver<Arc<Identity>>, spki_digest: &str) {
    let _ = identities.wait_for(|identity| identity.spki_digest != spki_digest).await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, caller: IpAddr, spki_digest: &str) -> Response<Answer> {
        let answer = match classify(request.method(), request.uri()) {
            Route::Status => Ok(json_answer(StatusCode::OK, &json!({ "message": "Status OK" }))),
            Route::Maa => self.bound.maa(request, spki_digest).await.map(|body| json_answer(StatusCode::OK, &body)),
            Route::Combined => {
                self.bound.combined(request, spki_digest).await.map(|body| json_answer(StatusCode::OK, &body))
            }
            Route::WrongMethod => Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, text: "not by this method" }),
            Route::Reserved => Err(Refusal { status: StatusCode::NOT_FOUND, text: "the agent has no such request" }),
            Route::Ambiguous => Err(Refusal { status: StatusCode::BAD_REQUEST, text: "the path is ambiguous" }),
            Route::Application => self.forward.pass(request, caller).await,
        };
        answer.unwrap_or_else(|refusal| refused(&refusal))
    }
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    let mut answer = json_answer(refusal.status, &json!({ "error": refusal.text }));
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => drop(answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"))),
        StatusCode::METHOD_NOT_ALLOWED => {
            drop(answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST")))
        }
        _ => {}
    }
    answer
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Answer> {
    let mut answer = Response::new(whole(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
