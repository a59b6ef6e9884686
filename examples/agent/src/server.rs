//! A running agent: who gets a connection, and which part of the agent responds to a request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::api::{Bound, Refusal, UNSUPPORTED};
use crate::azure_vm::Said;
use crate::body::{Answer, whole};
use crate::cert_files::Files;
use crate::config::{Config, InvalidConfig, Limits, MessageConfig};
use crate::connection::{ConnectionKey, serve};
use crate::cors::Allowed;
use crate::evidence::{EvidenceError, Source};
use crate::forward::Forward;
use crate::key::{Identity, KeyError};
use crate::maa::MaaClient;
use crate::messages::Messages;
use crate::open_connections::OpenConnections;
use crate::rate_limit::{Callers, Limiter};
use crate::rotation::Rotation;
use crate::route::{Route, classify};

/// How long an idle connection that was asked to close has for it, before the next one is asked too.
const GIVE_WAY: Duration = Duration::from_millis(100);

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
    /// The first evidence of a confidential VM.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The thread that files are read on.
    #[error("there is no thread for files: {0}")]
    Files(io::Error),
    /// The address.
    #[error("the address cannot be listened on: {0}")]
    Listen(#[from] io::Error),
}

/// What every connection needs.
pub(crate) struct Shared {
    bound: Bound,
    forward: Forward,
    message: Option<MessageConfig>,
    pub(crate) limits: Limits,
}

impl Agent {
    /// Makes a key and begins to serve.
    pub async fn start(config: &Config, source: Source) -> Result<Self, StartError> {
        config.check()?;
        let limits = config.limits.clone();
        let maa = MaaClient::new(config.maa_roots.as_deref())?;
        let arrival = Duration::from_secs(limits.attestation_request_seconds);
        let messages = config.message.as_ref().map(|message| Messages::new(message, &limits));
        let bound = Bound {
            source,
            maa,
            hosts: config.maa.clone(),
            limiter: Limiter::new(&limits),
            arrival,
            messages: messages.clone(),
        };
        let forward = Forward::new(config);
        let files = Files::start(&config.key).map_err(StartError::Files)?;
        let (mut rotation, identities) = Rotation::start(config, files)?;
        let mut tasks = JoinSet::new();
        if let Source::AzureVm(vm) = &bound.source {
            let spki_digest = identities.borrow().spki_digest.clone();
            vm.start(&spki_digest).await?;
            let mut said = Said::default();
            vm.refresh(&mut said).await;
            rotation.state_keys_to(Arc::clone(vm));
            tasks.spawn(Arc::clone(vm).upkeep(said));
        }
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        tasks.spawn(rotation.run());
        if let Some(messages) = messages {
            tasks.spawn(messages.run());
        }
        let shared = Shared { bound, forward, message: config.message.clone(), limits };
        tasks.spawn(accept(listener, identities.clone(), Arc::new(shared)));
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
    let places = usize::try_from(shared.limits.connections).unwrap_or(1);
    let (callers, free) = (Callers::new(shared.limits.connections_per_address), Arc::new(Semaphore::new(places)));
    let mut connections = JoinSet::new();
    let mut open = OpenConnections::default();
    let mut keys = identities.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended(&mut keys) => return,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, caller)) = accepted else {
            // Out of file descriptors, most likely: wait for some to come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Before another connection gives way to this one.
        let Some(own_place) = callers.admit(caller.ip()) else { continue };
        // Beyond this one, callers wait in the system's queue.
        let place = tokio::select! {
            biased;
            () = ended(&mut keys) => return,
            place = place(&free, &open) => place,
        };
        let Some(place) = place else { return };
        // Handshakes have half of the places at most: silence costs nothing, so beyond that the oldest gives way.
        open.limit_handshakes((places / 2).max(1));
        let connection = open.add();
        let serving = serve(stream, caller.ip(), identities.clone(), Arc::clone(&shared), connection);
        connections.spawn(async move {
            serving.await;
            drop((place, own_place));
        });
    }
}

/// Waits for a place. While there is none, idle connections give way, one after the other: a caller who keeps many of them takes no
/// place from others.
async fn place(free: &Arc<Semaphore>, open: &OpenConnections) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(free).try_acquire_owned() {
        return Some(place);
    }
    loop {
        open.close_idle();
        if let Ok(place) = tokio::time::timeout(GIVE_WAY, Arc::clone(free).acquire_owned()).await {
            return place.ok();
        }
    }
}

/// Until no key is made any more: the last one must not serve on.
async fn ended(keys: &mut watch::Receiver<Arc<Identity>>) {
    while keys.changed().await.is_ok() {}
}

impl Shared {
    /// Responds to a request on a connection that was opened with this key.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        key: &ConnectionKey,
    ) -> Response<Answer> {
        let page = self.message.as_ref().and_then(|message| Allowed::of(&request, &message.origins));
        if let Some(answer) = page.as_ref().and_then(|page| page.preflight(&request)) {
            return answer;
        }
        let answer = self.routed(request, caller, key).await.unwrap_or_else(|refusal| refused(&refusal));
        match page {
            Some(page) => page.mark(answer),
            None => answer,
        }
    }

    async fn routed(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        key: &ConnectionKey,
    ) -> Result<Response<Answer>, Refusal> {
        match self.bound.served(classify(request.method(), request.uri())) {
            Route::Status => Ok(json_answer(StatusCode::OK, &json!({ "message": "Status OK" }))),
            Route::Maa => self.bound.maa(request, caller, key).await.map(|body| json_answer(StatusCode::OK, &body)),
            Route::Combined => {
                self.bound.combined(request, caller, key).await.map(|body| json_answer(StatusCode::OK, &body))
            }
            Route::AzureVm => {
                self.bound.azure_vm(request, caller, key).await.map(|body| json_answer(StatusCode::OK, &body))
            }
            Route::WrongMethod => Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, text: "not by this method" }),
            Route::Reserved => Err(UNSUPPORTED),
            Route::Ambiguous => Err(Refusal { status: StatusCode::BAD_REQUEST, text: "the path is ambiguous" }),
            Route::Message => match &self.bound.messages {
                Some(messages) => messages.answer(request, caller, &self.forward).await,
                None => Err(UNSUPPORTED),
            },
            // The front end that ends TLS could send any request here, with what it has seen of a client's.
            Route::Application if self.message.as_ref().is_some_and(|message| message.only) => Err(Refusal {
                status: StatusCode::MISDIRECTED_REQUEST,
                text: "the application takes sealed messages only",
            }),
            Route::Application => {
                let place = self.forward.place(caller)?;
                self.forward.pass(request, Some(caller), place).await
            }
        }
    }
}

pub(crate) fn refused(refusal: &Refusal) -> Response<Answer> {
    let mut answer = json_answer(refusal.status, &json!({ "error": refusal.text }));
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            drop(answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1")))
        }
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
