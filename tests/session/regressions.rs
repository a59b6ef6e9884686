//! What went wrong once, and must not again.

use std::time::Duration;

use crate::lab::{Lab, hello, unreachable_reason};
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::{
    BlindBox, Fault, Gate, HardwareKnob, HttpVersions, Kds, KdsKnob, Knob, Platform, Relay, RelayCertificate, TcpProxy,
};
use blindbox_attestation::snp::{CertificateRole, ReportError};
use blindbox_attestation::{AttestationError, Product, Session, Tcb, Verifier, Violation};

/// The refusal of a renewal was forgotten when other requests looked for a connection at the same time and a new one led to another
/// peer: the refused one went on getting requests until its old attestation ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_refused_is_refused_however_busy_the_session_is() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let other = BlindBox::builder(&lab.maa).http(HttpVersions::Http1).start().await.unwrap();
    let balancer = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    // The last fifth begins sooner than an idle connection is too old to be used.
    let policy = lab.policy().require_max_session_age(Duration::from_secs(60)).unwrap();
    let session = lab.verifier().connect(balancer.url(), &policy).await.unwrap();
    balancer.set_targets(&[other.address()]);
    lab.blindbox.clock().advance(49);
    lab.blindbox.set(Knob::Debug);
    let gate = Gate::closed();
    lab.blindbox.fail("/attest/", Fault::Held(gate.clone()));
    let renewing = tokio::spawn({
        let session = session.clone();
        async move { hello(&session).await }
    });
    gate.arrived(1).await;
    // Its only connection is in use: this one looks for another.
    hello(&session).await.unwrap();
    gate.open();
    let error = renewing.await.unwrap().unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    hello(&session).await.unwrap();
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
}

/// A certificate of no one on a new connection, looked for at renewal, closed the session with the peer of the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn someone_elses_connection_is_no_verdict_on_the_peer() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1).name("my-app.example")).await;
    let impostor = Relay::builder().certificate(RelayCertificate::SelfSigned).start(&lab.blindbox).await.unwrap();
    let way = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let verifier = lab.builder().resolve("my-app.example", way.address()).build().unwrap();
    let url = format!("https://my-app.example:{}", way.address().port());
    let session = verifier.connect(url, &lab.policy()).await.unwrap();
    let gate = Gate::closed();
    lab.blindbox.fail("/echo", Fault::Held(gate.clone()));
    let slow = tokio::spawn({
        let session = session.clone();
        async move { session.post("/echo").send().await.map(|answer| answer.status().as_u16()) }
    });
    gate.arrived(1).await;
    way.set_targets(&[impostor.address()]);
    lab.blindbox.clock().advance(2900);
    // Its connection is in use, and the only other one is the impostor's.
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    gate.open();
    assert_eq!(slow.await.unwrap(), Ok(200));
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(impostor.traffic().requests(), []);
}

/// A session whose peer is refused while the response to an older request for evidence is held back, which arrives `seconds` later.
async fn refused_before_an_older_response(seconds: u64) -> (Lab, Session) {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let gate = Gate::closed();
    lab.blindbox.fail_times("/attest/", 1, Fault::Held(gate.clone()));
    let held_back = tokio::spawn({
        let session = session.clone();
        async move { session.reattest().await }
    });
    // Its response is made by then, and held back.
    gate.arrived(1).await;
    lab.blindbox.clock().advance(2900);
    lab.blindbox.set(Knob::Debug);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    lab.blindbox.reset();
    lab.blindbox.clock().advance(seconds);
    gate.open();
    let error = held_back.await.unwrap().unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    assert_eq!(hello(&session).await.unwrap_err(), AttestationError::SessionPoisoned { cause: "debug-mode" });
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    (lab, session)
}

/// A response from before a refusal, held back on its way, opened the session again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_answer_does_not_outweigh_a_newer_refusal() {
    let (_lab, session) = refused_before_an_older_response(0).await;
    let _ = session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

/// As above, held back for longer than refusals are remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_answer_does_not_outweigh_a_refusal_that_is_forgotten_by_others() {
    drop(refused_before_an_older_response(40).await);
}

/// One wrong response of a mirror, or of anyone who is on the way to it, was kept for a day.
#[tokio::test]
async fn a_certificate_of_another_chip_or_tcb_is_not_in_the_way_of_the_right_one() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let right = Kds::builder().plain_http().start().await.unwrap();
    let address = |kds: &Kds| kds.url().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    for knob in [KdsKnob::VcekOfAnotherChip, KdsKnob::VcekTcb(Tcb::new(None, 1, 0, 1, 1))] {
        let wrong = Kds::builder().plain_http().knob(knob).start().await.unwrap();
        let way = TcpProxy::start(&[address(&wrong)]).await.unwrap();
        let verifier = lab.builder().kds(format!("http://{}", way.address())).build().unwrap();
        let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
        assert!(matches!(error, AttestationError::KdsUnreachable { .. }), "{error:?}");
        way.set_targets(&[address(&right)]);
        way.cut();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        let fetches = right.vcek_fetches();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        assert_eq!(right.vcek_fetches(), fetches, "the right one is kept");
    }
}

/// A bad revocation list at renewal closed a session whose peer had done nothing.
#[tokio::test]
async fn a_bad_revocation_list_is_no_verdict_on_the_peer() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let policy = lab.amd_policy().require_max_session_age(Duration::from_secs(4 * 3600)).unwrap();
    let role = CertificateRole::Ask;
    let revoked = ReportError::Revoked { role, serial: hex::encode(AmdHierarchy::new(Product::Milan).serial(role)) };
    for (knob, expected) in [
        (KdsKnob::ForgedCrl, Ok("hello from a BlindBox".to_owned())),
        (KdsKnob::IssuerRevoked, Err(AttestationError::InvalidReport(revoked))),
    ] {
        let mirror = Kds::builder().plain_http().start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        let life = session.attestation().expires_at().as_secs() - session.attestation().issued_at().as_secs();
        lab.blindbox.clock().advance(life * 9 / 10);
        mirror.set(knob);
        let outcome = hello(&session).await;
        assert!(mirror.crl_fetches() > 1);
        assert_eq!(outcome, expected);
    }
}

/// A bad certificate of AMD's service, or of a mirror, did so too.
#[tokio::test]
async fn a_bad_certificate_of_a_mirror_is_no_verdict_on_the_peer() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let policy = lab.amd_policy().require_max_session_age(Duration::from_secs(30 * 3600)).unwrap();
    for knob in [KdsKnob::ForgedVcek, KdsKnob::VcekOfAnotherChip] {
        let mirror = Kds::builder().plain_http().start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        let life = session.attestation().expires_at().as_secs() - session.attestation().issued_at().as_secs();
        lab.blindbox.clock().advance(life * 9 / 10);
        mirror.set(knob);
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert_eq!(mirror.vcek_fetches(), 2);
    }
}

/// An attestation that took longer than it lasts gave a session that opened 32 connections for each request, in vain.
#[tokio::test]
async fn an_attestation_that_has_ended_by_the_time_it_is_there_is_none() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_max_session_age(Duration::from_secs(1)).unwrap();
    let gate = Gate::closed();
    lab.blindbox.fail("/attest/", Fault::Held(gate.clone()));
    let (verifier, url) = (lab.verifier(), lab.blindbox.url());
    let connecting = tokio::spawn(async move { verifier.connect(url, &policy).await.map(drop) });
    gate.arrived(1).await;
    lab.blindbox.clock().advance(1);
    gate.open();
    assert_eq!(connecting.await.unwrap().unwrap_err(), AttestationError::AttestationExpired);
}

/// More headers than a map of headers holds were a panic.
#[tokio::test]
async fn too_many_headers_are_an_invalid_request() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    for number in [1_001, 40_000] {
        let request = (0..number).fold(session.get("/"), |request, number| request.header(format!("x-{number}"), "1"));
        let error = request.json(&1).send().await.unwrap_err();
        assert_eq!(error, AttestationError::InvalidRequest { reason: "expected at most 1000 headers" });
    }
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
}

/// Passed for an application that cannot be reached, which is worth another try.
#[tokio::test]
async fn a_url_that_is_too_long_is_an_invalid_request() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let long = "x".repeat(65_000);
    for request in [
        session.get(format!("/{long}")),
        session.get(format!("/{}", "ü".repeat(20_000))),
        session.get("/").query("q", &long),
        session.get("/").query("q", "?".repeat(30_000)),
    ] {
        let error = request.send().await.unwrap_err();
        let reason = "expected a target and query of at most 65000 bytes";
        assert_eq!(error, AttestationError::InvalidRequest { reason });
    }
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
}

/// It was reported as a connection that could not be opened.
#[tokio::test]
async fn a_proxy_that_wants_a_password_is_named_with_its_port() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let lab = Lab::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let verifier = lab.builder().proxy(format!("http://us%20er:hunter2@{address}")).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    let reason = format!(
        "{}: the proxy {address} requires authentication (status 407): give user and password in its address",
        lab.blindbox.url()
    );
    assert_eq!(unreachable_reason(&error), reason);
    // "us er:hunter2".
    let request = asked.await.unwrap();
    assert!(request.to_lowercase().contains("proxy-authorization: basic dxmgzxi6ahvudgvymg=="), "{request}");
}

/// It stood in the debug text of the builder.
#[test]
fn a_proxys_password_is_not_shown() {
    let builder = Verifier::builder().proxy("http://user:hunter2@proxy.example:3128");
    assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
    let error = Verifier::builder().proxy("socks5://user:hunter2@proxy.example").build().unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
}

/// Proxies, logs of TLS secrets and the like are the caller's to set, not the environment's.
#[test]
fn the_environment_is_not_looked_at() {
    const CHILD: &str = "REGRESSIONS_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let lab = Lab::on(&Platform::new(Product::Milan)).await;
            let session = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap();
            assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        });
    }
    let secrets = tempfile::tempdir().unwrap();
    let secrets = secrets.path().join("secrets");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "regressions::the_environment_is_not_looked_at"])
        .env(CHILD, "1")
        .env("SSLKEYLOGFILE", &secrets);
    for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        // No one listens there.
        child.env(proxy, "http://127.0.0.1:9").env(proxy.to_lowercase(), "http://127.0.0.1:9");
    }
    let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert!(!secrets.exists());
}
