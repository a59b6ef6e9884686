//! The API for callers without a runtime: the same verdicts, and nothing that hangs or panics wherever it is called from.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, Read, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::lab::{Lab, interrupted, long_enough};
use blindbox_attestation::blocking::{
    self, BodyError, BodyJsonError, BodyReader, Request, Response, Session, Verifier,
};
use blindbox_attestation::emulator::{Application, BlindBoxBuilder, Fault, Gate, HttpVersions, Knob, Relay, RelayMode};
use blindbox_attestation::{
    AttestationError, Category, Channel, Form, HeaderMap, HostData, Policy, UnixTime, Violation,
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// A lab on threads of its own, for tests that are not asynchronous.
struct Bench {
    lab: Lab,
    runtime: Runtime,
}

impl Bench {
    fn start() -> Self {
        Self::with(|blindbox| blindbox)
    }

    fn with(change: impl FnOnce(BlindBoxBuilder) -> BlindBoxBuilder) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { lab: runtime.block_on(Lab::with(change)), runtime }
    }

    fn verifier(&self) -> Verifier {
        self.lab.builder().build_blocking().unwrap()
    }

    fn connect(&self) -> Session {
        self.verifier().connect(self.lab.blindbox.url(), &self.lab.policy()).unwrap()
    }

    /// The error of a connection that must fail without a byte for the application.
    fn refusal(&self) -> AttestationError {
        let error = self.verifier().connect(self.lab.blindbox.url(), &self.lab.policy()).unwrap_err();
        assert_eq!(self.lab.blindbox.traffic().application_bytes(), 0);
        error
    }

    /// Everything that can be asked for, from wherever this is called.
    fn kit(&self) -> Kit {
        let session = self.connect();
        let answer = || session.get("/").send().unwrap();
        let (response, reader) = (answer(), answer().reader());
        let (verifier, url, policy) = (self.verifier(), self.lab.blindbox.url(), self.lab.policy());
        self.lab.blindbox.traffic().clear_requests();
        Kit { verifier, url, policy, session, response, reader }
    }
}

struct Kit {
    verifier: Verifier,
    url: String,
    policy: Policy,
    session: Session,
    response: Response,
    reader: BodyReader,
}

impl Kit {
    fn works(mut self) {
        let session = self.verifier.connect(&self.url, &self.policy).unwrap();
        assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
        self.session.reattest().unwrap();
        assert_eq!(hello(&self.session).unwrap(), "hello from a BlindBox");
        assert_eq!(self.response.text().unwrap(), "hello from a BlindBox");
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello from a BlindBox");
    }

    fn refuses(self) {
        drop(self.refuses_here());
    }

    /// Gives back what can be used elsewhere.
    fn refuses_here(mut self) -> (Session, BodyReader) {
        assert_in_async_code(&self.verifier.connect(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&self.verifier.collect(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&blocking::verify_connection(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&self.session.get("/").send().unwrap_err());
        assert_in_async_code(&self.session.reattest().unwrap_err());
        assert_in_async_code(&self.response.bytes().unwrap_err());
        let error = self.reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_in_async_code(error.get_ref().unwrap().downcast_ref().unwrap());
        // What does not block can be called anywhere.
        assert_eq!(self.session.channel(), Channel::Bound);
        assert!(self.session.attestation().key().is_some());
        (self.session, self.reader)
    }
}

fn assert_in_async_code(error: &AttestationError) {
    let AttestationError::Misconfigured { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("async code") && reason.contains("spawn_blocking"), "{reason}");
}

fn hello(session: &Session) -> Result<String, AttestationError> {
    session.get("/").send()?.text()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_session_talks_to_the_attested_peer_and_to_no_one_else() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let bench = Bench::with(|blindbox| blindbox.http(http));
        let blindbox = &bench.lab.blindbox;
        let session = bench.connect();
        assert_eq!((session.channel(), session.attestation().key()), (Channel::Bound, Some(&blindbox.tls_key())));
        assert_eq!(blindbox.traffic().application_requests(), 0);
        let answer = session.post("/generate").json(&json!({ "prompt": "hi" })).send().unwrap();
        assert_eq!(answer.json::<Value>().unwrap(), json!({ "text": "a response to: hi" }));
        // Evidence and application went over one and the same connection.
        assert_eq!(blindbox.traffic().connections().len(), 1, "{http:?}");
    }
}

#[test]
fn refusals_are_those_of_the_async_api() {
    let bench = Bench::start();
    let blindbox = &bench.lab.blindbox;
    let refused = |knob: Knob| {
        blindbox.set(knob);
        let error = bench.refusal();
        blindbox.reset();
        error
    };
    assert!(matches!(refused(Knob::Debug).violation(), Some(Violation::DebugMode)));
    assert!(matches!(refused(Knob::ComplianceStatus(None)).violation(), Some(Violation::NonCompliantUvm { .. })));
    let other = HostData::new([0x66; 32]);
    assert!(
        matches!(refused(Knob::HostData(other)).violation(), Some(Violation::InvalidEnclaveCode { actual, .. }) if *actual == other)
    );
    assert!(matches!(refused(Knob::OldNonce), AttestationError::FalseAttestationReport { .. }));

    let relay = bench.runtime.block_on(Relay::builder().mode(RelayMode::Forward).start(blindbox)).unwrap();
    let error = bench.verifier().connect(relay.url(), &bench.lab.policy()).unwrap_err();
    assert!(matches!(error, AttestationError::ChannelMismatch { .. }), "{error:?}");
    assert_eq!(relay.traffic().application_bytes(), 0);

    let error = bench.verifier().connect("my-app.example", &bench.lab.policy()).unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    bench.runtime.block_on(blindbox.stop());
    for outcome in [
        bench.verifier().connect(blindbox.url(), &bench.lab.policy()),
        blocking::verify_connection(blindbox.url(), &bench.lab.policy()),
    ] {
        assert!(matches!(outcome, Err(AttestationError::ApplicationUnreachable { .. })), "{outcome:?}");
    }
    let error = bench.lab.builder().proxy("ftp://proxy.example").build_blocking().unwrap_err();
    assert_eq!(error.category(), Category::Misconfigured);
}

#[test]
fn a_session_that_was_refused_is_closed_until_it_is_attested_again() {
    let bench = Bench::start();
    let session = bench.connect();
    bench.lab.blindbox.set(Knob::Debug);
    assert!(matches!(session.reattest().unwrap_err().violation(), Some(Violation::DebugMode)));
    assert_eq!(hello(&session).unwrap_err(), AttestationError::SessionPoisoned { cause: "debug-mode" });
    assert_eq!(bench.lab.blindbox.traffic().application_bytes(), 0);
    bench.lab.blindbox.reset();
    let attested = session.reattest().unwrap();
    assert!(Arc::ptr_eq(&attested, &session.attestation()));
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
}

#[test]
fn evidence_of_a_peer_that_refuses_can_be_kept() {
    let bench = Bench::start();
    bench.lab.blindbox.set(Knob::Debug);
    let collected = bench.verifier().collect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap();
    assert!(collected.evidence.token.is_some() && collected.missing.is_empty(), "{:?}", collected.missing);
    assert_eq!(collected.tls_key, Some(bench.lab.blindbox.tls_key()));
    assert_eq!(bench.lab.blindbox.traffic().application_bytes(), 0);
}

#[test]
fn a_request_is_sent_as_it_was_made() {
    let bench = Bench::start();
    let session = bench.connect();
    let request = session.post("/echo?a=b").query("c", "d e").header("x-one", "1").body("bytes");
    assert_eq!(format!("{request:?}"), "blocking::Request(POST \"/echo\")");
    let answer = request.send().unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(5)));
    assert_eq!((answer.version(), answer.headers()["content-length"].as_bytes()), (http::Version::HTTP_2, &b"5"[..]));
    assert_eq!(answer.bytes().unwrap(), b"bytes");
    let sent = bench.lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.path.as_str(), sent.header("x-one")), ("/echo", Some("1")));
    for (request, answer) in [
        (session.get("/"), "hello from a BlindBox"),
        (session.put("/echo").body("put"), "put"),
        (session.patch("/echo").json("patch"), "\"patch\""),
        (session.delete("/echo"), "DELETE"),
        (session.options("/echo"), "OPTIONS"),
        (session.request(http::Method::DELETE, "/echo"), "DELETE"),
    ] {
        assert_eq!(request.send().unwrap().text().unwrap(), answer);
    }
    assert_eq!(session.head("/").send().unwrap().status().as_u16(), 200);
    let requests = bench.lab.blindbox.traffic().application_requests();
    for request in [session.get("//evil.example/"), session.get("/").header("host", "evil.example")] {
        assert!(matches!(request.send(), Err(AttestationError::InvalidRequest { .. })));
    }
    assert_eq!(bench.lab.blindbox.traffic().application_requests(), requests);
}

#[test]
fn a_body_comes_in_the_form_that_was_asked_for_or_not_at_all() {
    let bench = Bench::start();
    let session = bench.connect();
    let echo = |body: &[u8]| session.post("/echo").body(body).send().unwrap();
    assert_eq!(echo(b"a\xffb").text().unwrap(), "a\u{fffd}b");
    assert_eq!(echo(b"a\xffb").bytes().unwrap(), b"a\xffb");
    assert_eq!(echo(b"[1, 2]").json::<Vec<u8>>().unwrap(), [1, 2]);
    assert_eq!(
        echo(b"[1,\n x]").json::<Vec<u8>>(),
        Err(BodyError::Json { reason: BodyJsonError::Syntax, line: 2, column: 2 })
    );
    let not_it = echo(b"{}").json::<Vec<u8>>().unwrap_err();
    assert!(matches!(not_it, BodyError::Json { reason: BodyJsonError::AnotherForm, line: 1, .. }), "{not_it:?}");
    assert_eq!(session.get("/none").send().unwrap().status().as_u16(), 404);

    bench.lab.blindbox.fail("/", Fault::Truncated);
    let cut = || session.get("/").send().unwrap();
    let unreachable =
        |error: &AttestationError| matches!(error.reason(), AttestationError::ApplicationUnreachable { .. });
    assert!(unreachable(&cut().bytes().unwrap_err()));
    assert!(unreachable(&cut().text().unwrap_err()));
    assert!(matches!(cut().json::<Value>().unwrap_err(), BodyError::Read(error) if unreachable(&error)));
}

#[test]
fn a_reader_gives_what_has_arrived() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let bench =
            Bench::with(|blindbox| blindbox.http(http).page("/lines", "text/plain", b"one\ntwo\nthree".to_vec()));
        let session = bench.connect();
        let mut large = Vec::new();
        let read = session.get("/large?bytes=3000000").send().unwrap().reader().read_to_end(&mut large).unwrap();
        assert_eq!((read, large.iter().all(|byte| *byte == b'x')), (3_000_000, true));

        let mut reader = session.get("/lines").send().unwrap().reader();
        assert_eq!(format!("{reader:?}"), "blocking::BodyReader(open)");
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.fill_buf().unwrap()[0], b'o');
        reader.consume(usize::MAX);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!((reader.read(&mut [0; 8]).unwrap(), reader.fill_buf().unwrap().len()), (0, 0));
        assert_eq!(format!("{reader:?}"), "blocking::BodyReader(ended)");
    }
}

/// The application sends the second line when the first one has been read.
#[test]
fn a_reader_returns_a_line_before_the_next_one_is_sent() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (first_read, goes_on) = mpsc::channel();
        let application = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\none\n").unwrap();
            goes_on.recv().unwrap();
            stream.write_all(b"two\nthree").unwrap();
        });
        let bench = Bench::with(|blindbox| blindbox.http(http).application(Application::at(&url).unwrap()));
        let session = bench.connect();
        let mut lines = session.get("/lines").send().unwrap().reader().lines();
        assert_eq!(lines.next().unwrap().unwrap(), "one");
        first_read.send(()).unwrap();
        assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["two", "three"]);
        application.join().unwrap();
    }
}

#[test]
fn a_body_that_breaks_off_never_looks_like_one_that_has_ended() {
    let bench = Bench::start();
    let session = bench.connect();
    bench.lab.blindbox.fail("/", Fault::Truncated);
    let mut reader = session.get("/").send().unwrap().reader();
    let mut begun = Vec::new();
    let first = reader.read_to_end(&mut begun).unwrap_err();
    assert!(b"hello from a BlindBox".starts_with(&begun) && begun.len() < 21);
    for error in [first, reader.read(&mut [0; 8]).unwrap_err(), reader.fill_buf().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let inside: &AttestationError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert!(matches!(inside.reason(), AttestationError::ApplicationUnreachable { .. }), "{inside:?}");
    }
}

#[test]
fn a_body_of_a_refused_peer_ends_with_the_refusal() {
    let bench = Bench::start();
    let session = bench.connect();
    // Of its 21 bytes only the first comes.
    bench.lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    let whole = session.get("/").send().unwrap();
    let mut read = session.get("/").send().unwrap().reader();
    read.read_exact(&mut [0]).unwrap();
    bench.lab.blindbox.recover();
    bench.lab.blindbox.set(Knob::Debug);
    let refusal = session.reattest().unwrap_err();
    assert_eq!(refusal.code(), "debug-mode");
    let refusal = interrupted(refusal);
    assert_eq!(whole.bytes().unwrap_err(), refusal);
    let error = read.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.get_ref().and_then(|error| error.downcast_ref()), Some(&refusal));
}

#[test]
fn waiting_has_an_end() {
    let bench = Bench::start();
    let session = bench.connect();
    let late = |after| interrupted(AttestationError::Timeout { what: "the request", after });
    let send = |after| session.get("/slow?ms=600000").timeout(after).send().unwrap_err();
    let after = bench.runtime.block_on(long_enough(async |after| {
        let error = std::thread::scope(|scope| scope.spawn(|| send(after)).join().unwrap());
        assert_eq!(error.code(), "timeout");
        error == late(after)
    }));
    let timeout = late(after);

    bench.lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    // On a busy machine the time may be over before the response begins.
    let dripping = || loop {
        match session.get("/").timeout(after).send() {
            Ok(response) => break response,
            Err(error) => assert_eq!(error, timeout),
        }
    };
    assert_eq!(dripping().bytes().unwrap_err(), timeout);
    assert_eq!(dripping().json::<Value>().unwrap_err(), BodyError::Read(timeout.clone()));
    let error = dripping().reader().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&timeout));
    bench.lab.blindbox.recover();

    bench.lab.blindbox.fail("/attest", Fault::Hang);
    let verifier = bench.lab.builder().deadline(Duration::from_millis(500)).build_blocking().unwrap();
    let error = verifier.connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap_err();
    assert!(
        matches!(error, AttestationError::Timeout { after, .. } if after == Duration::from_millis(500)),
        "{error:?}"
    );
    // Those that are left hanging there are in no one's way.
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
}

#[test]
fn a_request_carries_what_an_asynchronous_one_does() {
    let bench = Bench::start();
    let header = |name: &str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
    let session = bench.connect().with_default_headers(header("x-tenant", "one")).unwrap();
    let large: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    let response = session.post("/echo").body_reader(io::Cursor::new(large.clone())).send().unwrap();
    assert_eq!(response.bytes().unwrap(), large);
    let sent = bench.lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.header("x-tenant"), sent.header("transfer-encoding")), (Some("one"), None));
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = session.post("/echo").body_reader(Fails).send().unwrap_err();
    let reason = "the disk is gone".to_owned();
    assert_eq!(error, interrupted(AttestationError::RequestBodyFailed { reason }));
    let form = Form::new().text("model", "small");
    let request = session.post("/echo").multipart(form).basic_auth("ann", "x").headers(header("x-tenant", "two"));
    let text = request.trailers(header("x-sum", "1")).send().unwrap().text().unwrap();
    assert!(text.contains("name=\"model\"\r\n\r\nsmall\r\n"), "{text}");
    // The record of the request that failed may come after it.
    let mut sent = bench.lab.blindbox.traffic().requests();
    sent.retain(|request| request.header("authorization") == Some("Basic YW5uOng="));
    assert_eq!(sent.iter().map(|request| request.header("x-tenant")).collect::<Vec<_>>(), [Some("two")]);
    let error = session.get("/none").send().unwrap().error_for_status().unwrap_err();
    assert_eq!((error.status().as_u16(), error.into_response().text().unwrap().as_str()), (404, "404 page not found"));
}

#[test]
fn async_code_gets_an_error_and_sends_nothing() {
    let bench = Bench::start();
    let other = current_thread();
    let local = tokio::task::LocalSet::new();
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let traffic = bench.lab.blindbox.traffic();
    let untouched = || assert_eq!(traffic.requests().len(), 0);

    let kit = bench.kit();
    let (session, mut reader) = other.block_on(async { kit.refuses_here() });
    untouched();
    // What was refused there is as good as before where blocking is allowed.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello from a BlindBox");
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");

    let kit = bench.kit();
    other.block_on(async { tokio::spawn(async { kit.refuses() }).await.unwrap() });
    untouched();
    let kit = bench.kit();
    other.block_on(local.run_until(async { tokio::task::spawn_local(async { kit.refuses() }).await.unwrap() }));
    untouched();
    let kit = bench.kit();
    several.block_on(async { kit.refuses() });
    untouched();
    let kit = bench.kit();
    several.block_on(async { tokio::spawn(async { kit.refuses() }).await.unwrap() });
    untouched();
    // Also after an await, among others, and when the task has nothing left to spend.
    let kit = bench.kit();
    several.block_on(async {
        for _ in 0..1_000 {
            tokio::task::consume_budget().await;
        }
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::consume_budget().await;
        }
        tokio::join!(async { kit.refuses() }, tokio::task::yield_now());
    });
    untouched();
    // A runtime below `spawn_blocking` is one like any other.
    let kit = bench.kit();
    several.block_on(async {
        tokio::task::spawn_blocking(|| current_thread().block_on(async { kit.refuses() })).await.unwrap();
    });
    untouched();
}

#[test]
fn where_a_runtime_allows_blocking_it_works() {
    let bench = Bench::start();
    let other = current_thread();
    bench.kit().works();

    let kit = bench.kit();
    other.block_on(async { tokio::task::spawn_blocking(|| kit.works()).await.unwrap() });
    let kit = bench.kit();
    bench.runtime.block_on(async { tokio::task::spawn_blocking(|| kit.works()).await.unwrap() });
    let kit = bench.kit();
    bench.runtime.block_on(async { tokio::task::block_in_place(|| kit.works()) });
    let kit = bench.kit();
    let task = bench.runtime.spawn(async { tokio::task::block_in_place(|| kit.works()) });
    bench.runtime.block_on(task).unwrap();

    let kit = bench.kit();
    let entered = other.enter();
    kit.works();
    drop(entered);
}

/// What the documentation says cannot be seen: it takes its time there, and that is all.
#[test]
fn where_async_code_cannot_be_seen_it_neither_hangs_nor_panics() {
    let bench = Bench::start();
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let kit = bench.kit();
    current_thread().block_on(tokio::task::unconstrained(async { kit.works() }));
    let kit = bench.kit();
    let task = several.spawn(tokio::task::unconstrained(async { kit.works() }));
    several.block_on(task).unwrap();
}

#[test]
fn the_verifiers_own_clock_cannot_wait_for_the_verifier() {
    static SESSION: OnceLock<Session> = OnceLock::new();
    static SEEN: OnceLock<Result<String, AttestationError>> = OnceLock::new();
    let bench = Bench::start();
    let clock = bench.lab.blindbox.clock().clone();
    let builder = bench.lab.builder().clock(move || {
        if let Some(session) = SESSION.get() {
            SEEN.get_or_init(|| hello(session));
        }
        clock.now()
    });
    let session = builder.build_blocking().unwrap().connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap();
    SESSION.get_or_init(|| session.clone());
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
    assert_in_async_code(SEEN.get().unwrap().as_ref().unwrap_err());
}

#[test]
fn a_clock_that_panics_is_an_error() {
    let bench = Bench::start();
    let verifier =
        bench.lab.builder().clock(|| -> UnixTime { panic!("a clock without hands") }).build_blocking().unwrap();
    let error = verifier.connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap_err();
    assert!(matches!(&error, AttestationError::Misconfigured { reason } if reason.contains("panicked")), "{error:?}");
    assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
}

#[test]
fn many_threads_work_at_the_same_time() {
    const THREADS: usize = 40;
    let bench = Bench::start();
    let (url, policy, verifier) = (bench.lab.blindbox.url(), bench.lab.policy(), bench.verifier());
    let start = Barrier::new(THREADS);
    let fetches = bench.lab.maa.key_set_fetches();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (verifier, policy, url, start) = (verifier.clone(), &policy, &url, &start);
            scope.spawn(move || {
                start.wait();
                let session = verifier.connect(url, policy).unwrap();
                for again in 0..5 {
                    let text = format!("{number} {again}");
                    let answer = session.post("/echo").body(text.clone()).send().unwrap();
                    assert_eq!(answer.text().unwrap(), text);
                }
            });
        }
    });
    assert_eq!(bench.lab.maa.key_set_fetches(), fetches + 1);

    // One session: no request has a response before the last one is there.
    let session = verifier.connect(&url, &policy).unwrap();
    let gate = Gate::closed();
    bench.lab.blindbox.fail("/slow", Fault::Held(gate.clone()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let session = session.clone();
            scope.spawn(move || assert_eq!(session.get("/slow").send().unwrap().text().unwrap(), "at last"));
        }
        bench.runtime.block_on(gate.arrived(THREADS));
        gate.open();
    });
    assert_few_threads();
}

/// By their names, of which Linux keeps 15 characters.
fn assert_few_threads() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let ours = names.filter(|name| name.starts_with("blindbox-block")).count();
    assert!((1..=20).contains(&ours), "{ours} threads");
}

#[test]
fn verifiers_and_sessions_leave_no_threads_behind() {
    let bench = Bench::start();
    for _ in 0..10 {
        assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
    }
    assert_few_threads();
}

#[test]
fn it_can_be_dropped_anywhere() {
    thread_local!(static KEPT: RefCell<Option<Kit>> = const { RefCell::new(None) });
    let bench = Bench::start();
    let (one, several) = (current_thread(), Builder::new_multi_thread().worker_threads(1).build().unwrap());
    // With a body half read each time.
    let kit = || {
        let mut kit = bench.kit();
        kit.response = kit.session.get("/large?bytes=5000000").send().unwrap();
        kit.reader = kit.session.get("/large?bytes=5000000").send().unwrap().reader();
        assert_eq!(kit.reader.read(&mut [0; 10]).unwrap(), 10);
        kit
    };
    let dropped = kit();
    one.block_on(async { drop(dropped) });
    let dropped = kit();
    one.block_on(async { tokio::spawn(async { drop(dropped) }).await.unwrap() });
    let dropped = kit();
    several.block_on(async { tokio::spawn(async { drop(dropped) }).await.unwrap() });
    let dropped = kit();
    several.block_on(async {
        let task = tokio::spawn(async {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    // With the runtime that held it, and at the end of a thread, and while it panics.
    let dropped = kit();
    let ending = current_thread();
    ending.spawn(async {
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    ending.block_on(tokio::task::yield_now());
    drop(ending);
    let dropped = kit();
    thread::spawn(|| KEPT.set(Some(dropped))).join().unwrap();
    let dropped = kit();
    let panicked = thread::spawn(|| {
        let _dropped = dropped;
        panic!("with a session at hand");
    });
    assert!(panicked.join().is_err());
    // While another thread waits for a response.
    let session = bench.connect();
    let waiting = session.get("/slow?ms=500");
    let answer = thread::spawn(|| waiting.send().unwrap().text().unwrap());
    drop(session);
    assert_eq!(answer.join().unwrap(), "at last");

    assert_eq!(hello(&bench.connect()).unwrap(), "hello from a BlindBox");
}

#[test]
fn it_is_made_to_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Verifier>();
    shared::<Session>();
    shared::<Request>();
    sent::<Response>();
    sent::<BodyReader>();
}
