//! `proxy`: a local plain-HTTP port whose other end is an attested session.
//!
//! Anyone who can reach the port acts on behalf of the user who started it. So the port is on loopback or a Unix socket, requires a
//! token, and refuses what a web page in a browser of this machine could make it do.

mod access;
mod access_token;
mod admission;
mod body_buffer;
mod forward;
mod headers;
mod listener;
mod metrics_port;
mod origins;
mod prometheus;
mod redirects;
mod relaxations;
mod request_log;
mod response;
mod session;
mod shutdown;
mod systemd;
mod tunnel;
mod write_timeout;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use blindbox_attestation::Policy;
use clap::Args;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connect_args::{Connection, seconds};
use crate::exit::{Failure, error_json, note, print, print_json_line};
use crate::log;
use crate::signals::Stop;
use access::{Guard, MAX_HEAD, TOKEN_HEADER};
use access_token::AccessToken;
use admission::{Client, Silent};
use body_buffer::Bodies;
use forward::Forwarder;
use listener::{Listen, Listener, Stream};
use metrics_port::Operations;
use origins::{Origin, Origins};
use redirects::Redirects;
use relaxations::{AttestationLog, Relaxations};
use request_log::Record;
use response::Answers;
use session::{ProxySession, Start};
use shutdown::{Ending, ending};
use tunnel::Switched;
use write_timeout::Patient;

/// How many connections are served at the same time; more wait in the system's queue. Bounds memory and file descriptors.
const MAX_CONNECTIONS: usize = 128;

/// How long a client may take for the head of a request: stops connections that are held open for nothing.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long a client may leave a response unread before it is cut off.
const UNREAD_TIME: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Arguments {
    /// Where the application is, such as https://my-app.example. A path becomes the base of all requests.
    #[arg(value_name = "URL")]
    url: String,

    #[command(flatten)]
    connection: Connection,

    /// Where to listen: 127.0.0.1:PORT, [::1]:PORT, unix:PATH, or `systemd` for the socket that a socket unit passes. Port 0 lets
    /// the system choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", help_heading = "Local port")]
    listen: Listen,

    #[command(flatten)]
    access_token: access_token::Options,

    /// Let web pages of this origin in, such as https://chat.example: their requests still need the access token. May be repeated.
    #[arg(long, value_name = "ORIGIN", help_heading = "Local port")]
    allow_origin: Vec<Origin>,

    /// The largest body of a request, in bytes. It is held in memory until the application responds.
    #[arg(long, value_name = "BYTES", default_value = "33554432", help_heading = "Local port")]
    max_request: usize,

    /// The most that the bodies of all requests take in memory at a time, in bytes. Others wait for 5 seconds and are refused
    /// then. One of the largest size always has room.
    #[arg(long, value_name = "BYTES", default_value = "268435456", help_heading = "Local port")]
    max_held: usize,

    /// The largest body of a response, in bytes. It is streamed.
    #[arg(long, value_name = "BYTES", default_value = "4294967296", help_heading = "Local port")]
    max_answer: u64,

    /// Pass on a `Location` that names another origin. Otherwise such a response is refused: a client that follows it
    /// sends its request, headers and token to a server that is not attested.
    #[arg(long, help_heading = "Local port")]
    allow_redirects_elsewhere: bool,

    /// Also serve counters in the text format of Prometheus at /metrics, and health at /livez and /readyz, on this address: IP:PORT.
    /// Nothing on it is secret, and nothing on it leads to the application.
    #[arg(long, value_name = "ADDRESS", help_heading = "Operation")]
    metrics: Option<SocketAddr>,

    /// End with exit code 3 if there is no verdict on the peer at the start. Otherwise requests get 503 until the peer is attested. A
    /// refusal at the start ends the program in any case.
    #[arg(long, help_heading = "Operation")]
    wait: bool,

    #[command(flatten)]
    waits: Waits,

    /// A file of settings in TOML: the long names of options, such as `policy` and `max-request`, and `url`. The command line and
    /// the environment come before it; a setting that is not known is refused. Paths are relative to the working directory.
    #[allow(dead_code, reason = "it is read before the other options: settings.rs")]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one line of JSON in place of text when the port is open.
    #[arg(long)]
    pub json: bool,
}

/// How long the proxy waits for what. Hidden: only tests need other values.
#[derive(Args)]
struct Waits {
    /// How long responses under way may go on after the first signal.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    shutdown_grace: Duration,

    /// How long connections without a request may take to close before the proxy says that it waits.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "0.2", value_parser = seconds)]
    shutdown_quiet: Duration,

    /// How long the last lines of the log may take: a pipe that is not read does not keep the program.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    shutdown_flush: Duration,

    /// How long a session that was closed after a refusal is left alone before it is tried again.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    retry_pause: Duration,

    /// How long a body waits for room.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    body_wait: Duration,

    /// How long a client may go on to send a body for which there is no room.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    body_discard: Duration,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let policy = connection.policy()?;
    let redirects = Redirects::new(&arguments.url, arguments.allow_redirects_elsewhere)?;
    let token = arguments.access_token.token()?;
    let operations = match arguments.metrics {
        Some(address) => Some(Operations::bind(address).await?),
        None => None,
    };
    let start = if arguments.wait { Start::Attested } else { Start::Anyway };
    let (verifier, pause) = (connection.verifier()?, arguments.waits.retry_pause);
    let peer = Arc::new(ProxySession::open(verifier, &arguments.url, policy.clone(), start, pause).await?);
    let listener = Listener::bind(&arguments.listen).await?;
    // Before a client knows of it, so that the socket is removed in any case.
    let mut stop = Stop::listen()?;
    let attested = peer.session().ok().map(|session| session.attestation());
    announce(&arguments, &listener, &token, &peer, &policy, operations.as_ref())?;
    if let Some(operations) = operations.as_ref().filter(|operations| !operations.address().ip().is_loopback()) {
        note(&format!("note: counters and health are served to anyone who reaches {}", operations.address()));
    }
    log::use_queue()?;
    systemd::notify("READY=1");
    let attestations = Arc::new(AttestationLog::new(attested.as_deref()));
    let keeping_open = {
        let (peer, attestations) = (Arc::clone(&peer), Arc::clone(&attestations));
        async move { peer.keep_open(|session| attestations.observe(&session.attestation())).await }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(keeping_open);
    if let Some(operations) = operations {
        tasks.spawn(operations.serve(Arc::clone(&peer)));
    }
    let forwarder = Forwarder {
        guard: Guard::new(
            listener.hosts(),
            listener.wrong_host(),
            token.required().map(str::to_owned),
            Origins::new(arguments.allow_origin),
        ),
        peer,
        bodies: Bodies::new(
            arguments.max_request,
            arguments.max_held,
            arguments.waits.body_wait,
            arguments.waits.body_discard,
        ),
        answers: Answers { redirects, most: arguments.max_answer },
        attestations,
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (signal, ending) = ending(Arc::clone(&room));
    tokio::select! {
        () = serve(&listener, room, Arc::new(forwarder), ending) => {}
        () = stop.asked() => {}
    }
    systemd::notify("STOPPING=1");
    // From here on no client is admitted.
    drop(listener);
    signal.end(&mut stop, arguments.waits.shutdown_quiet, arguments.waits.shutdown_grace).await;
    log::flush(arguments.waits.shutdown_flush);
    Ok(ExitCode::SUCCESS)
}

fn announce(
    arguments: &Arguments,
    listener: &Listener,
    token: &AccessToken,
    peer: &ProxySession,
    policy: &Policy,
    operations: Option<&Operations>,
) -> Result<(), Failure> {
    let attested = peer.session().ok().map(|session| session.attestation());
    let relaxations = attested.as_deref().map(Relaxations::of);
    let (address, url) = (listener.address(), &arguments.url);
    let metrics = operations.map(|operations| format!("http://{}", operations.address()));
    if arguments.json {
        let header = token.required().map(|_| TOKEN_HEADER);
        let line = json!({
            "listen": address,
            "url": url,
            "token_header": header,
            "token": token.printed(),
            "expires_at": attested.map(|attested| attested.expires_at()),
            "allowed": relaxations.as_ref().map(Relaxations::json),
            "lint": policy.lint(),
            "error": peer.not_ready().as_ref().map(error_json),
            "metrics": metrics,
        });
        return print_json_line(&line);
    }
    let shown = token.printed().map(|token| format!("\n{TOKEN_HEADER}: {token}")).unwrap_or_default();
    let state = match &relaxations {
        Some(relaxations) => format!(", attested{}", relaxations.summary()),
        None => ", which is not attested yet: requests get 503 until it is".to_owned(),
    };
    print(&format!("{address} goes to {url}{state}{shown}"))?;
    if let Some(attested) = &attested {
        note(&format!("attested until {}", attested.expires_at()));
    }
    relaxations.iter().flat_map(Relaxations::lines).for_each(|line| note(&line));
    policy.lint().iter().for_each(|lint| note(&format!("note: {lint}")));
    if let Some(metrics) = metrics {
        note(&format!("counters at {metrics}/metrics, health at {metrics}/livez and {metrics}/readyz"));
    }
    if token.required().is_none() {
        note("note: no access token: every program and user that can reach the port acts on your behalf");
    }
    if arguments.allow_redirects_elsewhere {
        note(
            "note: redirects to other origins are passed on: who follows one is not within the attested session any more",
        );
    }
    Ok(())
}

async fn serve(listener: &Listener, room: Arc<Semaphore>, forwarder: Arc<Forwarder>, ending: Ending) {
    let mut silent = Silent::default();
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if room.available_permits() == 0 {
                    silent.evict_oldest();
                }
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                let client = Arc::new(Client::default());
                silent.add(&client);
                let (forwarder, ending) = (Arc::clone(&forwarder), ending.clone());
                tokio::spawn(async move {
                    connection(stream, &forwarder, &client, ending).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back.
                log::error("accept", &error.to_string());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: Stream, forwarder: &Forwarder, client: &Client, ending: Ending) {
    match stream {
        Stream::Tcp(stream) => exchange(stream, forwarder, client, ending).await,
        #[cfg(unix)]
        Stream::Unix(stream) => exchange(stream, forwarder, client, ending).await,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    forwarder: &Forwarder,
    client: &Client,
    mut ending: Ending,
) {
    let switched = Switched::default();
    let service = service_fn(|request: Request<Incoming>| async {
        let (record, method) = (Record::begin(request.method()), request.method().clone());
        let response = forwarder.answer(request, client, &switched).await;
        Ok::<_, Infallible>(record.follow(&method, response))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD);
    let stream = TokioIo::new(Patient::new(stream, UNREAD_TIME));
    let mut serving = std::pin::pin!(server.serve_connection(stream, service).with_upgrades());
    tokio::select! {
        _ = serving.as_mut() => {}
        () = client.evicted() => return,
        () = ending.begun() => {
            // Where no request was let in there is nothing to wait for.
            if client.is_admitted() {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
            return;
        }
    }
    // The connection keeps its place while it is a tunnel. It has no end that the proxy could wait for.
    if let Some(tunnel) = switched.take() {
        tokio::select! {
            () = tunnel.run() => {}
            () = ending.begun() => {}
        }
    }
}
