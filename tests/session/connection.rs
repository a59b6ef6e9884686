//! An attested session over real TLS: what it sends, to whom, and for how long.

use std::time::{Duration, Instant};

use crate::lab::{Lab, hello, noticed, soon, unreachable_reason, until};
use blindbox_attestation::emulator::{
    AgentForm, AgentLocation, BlindBox, EmulatedClock, Fault, Gate, HttpVersions, Kds, KeyExchange, KeyKind, Knob, Maa,
    OpenConnections, Platform, ServerCertificate, TcpProxy, Traffic, Transport,
};
use blindbox_attestation::{
    AttestationError, Channel, ChannelNotAllowed, HostData, Policy, Product, Session, TimeProvider, UnixTime, Verdict,
    Violation, Workload,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_session_talks_to_the_attested_peer() {
    for http in [HttpVersions::Both, HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        assert_eq!(session.channel(), Channel::Bound);
        assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);

        let answer = session.post("/generate").json(&json!({ "prompt": "hi" })).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "text": "a response to: hi" }));
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");

        // Evidence and application went over one and the same connection.
        let connections = lab.blindbox.traffic().connections();
        assert_eq!(connections.len(), 1, "{http:?}");
        assert!(!connections[0].resumed);
        let expected = if http == HttpVersions::Http1 { "http/1.1" } else { "h2" };
        assert_eq!(connections[0].protocol.as_deref(), Some(expected));
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    }
}

#[tokio::test]
async fn keys_of_every_kind_are_attested() {
    for kind in [KeyKind::P256, KeyKind::P384] {
        let lab = Lab::with(|blindbox| blindbox.key_kind(kind)).await;
        assert_eq!(hello(&lab.connect().await.unwrap()).await.unwrap(), "hello from a BlindBox");
    }
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_made() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let request = session.post("/echo?a=b").query("c", "d e").header("x-one", "1").header("x-one", "2").body("bytes");
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "bytes"));
    let sent = lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.path.as_str(), sent.body.as_slice()), ("POST", "/echo", &b"bytes"[..]));
    let mut headers: Vec<_> = sent.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    headers.sort();
    // Nothing that could identify the caller, and nothing that the caller did not ask for.
    assert_eq!(headers, ["accept: */*", "content-length: 5", "x-one: 1", "x-one: 2"]);

    for (request, answer) in [
        (session.get("/"), "hello from a BlindBox"),
        (session.put("/echo").body("put"), "put"),
        (session.patch("/echo").json("patch"), "\"patch\""),
        (session.delete("/echo"), "DELETE"),
        (session.options("/echo"), "OPTIONS"),
        (session.request(http::Method::DELETE, "/echo"), "DELETE"),
    ] {
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), answer);
    }
    let response = session.head("/").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "21");
    assert_eq!(response.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn a_base_path_is_kept() {
    let lab = Lab::start().await;
    let url = format!("{}/some/base/", lab.blindbox.url());
    let session = lab.verifier().connect(url, &lab.policy()).await.unwrap();
    assert_eq!(session.get("/x").send().await.unwrap().status().as_u16(), 404);
    assert_eq!(lab.blindbox.traffic().count("/some/base/x"), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn redirects_and_encodings_are_given_back_as_they_are() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let answer = session.get("/redirect?to=https://evil.example/").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (302, "https://evil.example/")
    );
    assert_eq!(lab.blindbox.traffic().application_requests(), 1);
    lab.blindbox.fail("/", Fault::Gzip);
    let answer = session.get("/").send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(answer.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
}

#[tokio::test]
async fn a_name_is_validated_where_the_caller_went_by_one() {
    let lab = Lab::with(|blindbox| blindbox.name("my-app.example")).await;
    let verifier = lab.builder().resolve("my-app.example", lab.blindbox.address()).build().unwrap();
    let url = format!("https://my-app.example:{}", lab.blindbox.address().port());
    let session = verifier.connect(&url, &lab.policy()).await.unwrap();
    assert_eq!(session.attestation().appraisal().check("server name").unwrap().verdict, Verdict::Passed);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().connections()[0].server_name.as_deref(), Some("my-app.example"));

    for url in [lab.blindbox.url(), lab.blindbox.url().replace("127.0.0.1", "localhost")] {
        let session = lab.verifier().connect(url, &lab.policy()).await.unwrap();
        let check = session.attestation().appraisal().check("server name").unwrap().clone();
        assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
    }

    // By the key alone, under a certificate for no one: only with the policy's leave.
    let verifier = lab.builder().resolve("other.example", lab.blindbox.address()).build().unwrap();
    let url = format!("https://other.example:{}", lab.blindbox.address().port());
    let error = verifier.connect(&url, &lab.policy()).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    let session = verifier.connect(&url, &lab.policy().allow_unverified_name().unwrap()).await.unwrap();
    let check = session.attestation().appraisal().check("server name").unwrap().clone();
    assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
    assert_eq!(session.attestation().channel(), Channel::Bound);
}

#[tokio::test]
async fn the_result_says_how_the_key_set_was_come_by() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let shown = |session: &Session| session.attestation().appraisal().check("key set").unwrap().actual.to_string();
    assert_eq!(shown(&session), "fetched from the instance, under the caller's own roots");
    let key_set = blindbox_attestation::maa::KeySet::from_json(lab.maa.key_set().as_bytes()).unwrap();
    let fetches = lab.maa.key_set_fetches();
    let verifier = lab.builder().pin_key_set(key_set).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    assert_eq!(shown(&session), "pinned by the caller");
    assert_eq!(lab.maa.key_set_fetches(), fetches);
}

#[tokio::test]
async fn a_peer_with_a_new_key_is_attested_before_it_gets_anything() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        let first = lab.blindbox.tls_key();

        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert_eq!(lab.blindbox.traffic().connections().len(), 1, "a connection under an attested key stays good");

        lab.blindbox.drop_connections();
        noticed().await;
        lab.blindbox.traffic().clear_requests();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert_ne!(lab.blindbox.tls_key(), first);
        assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
        let order: Vec<_> = lab.blindbox.traffic().requests().into_iter().map(|request| request.path).collect();
        assert_eq!(order, ["/attest/maa", "/"]);

        lab.blindbox.restart().await.unwrap();
        noticed().await;
        lab.blindbox.set(Knob::Debug);
        lab.blindbox.traffic().clear_requests();
        let error = hello(&session).await.unwrap_err();
        assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    }
}

struct Replicas {
    lab: Lab,
    others: Vec<BlindBox>,
    balancer: TcpProxy,
}

impl Replicas {
    async fn start(count: usize, http: HttpVersions) -> Self {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let mut others = Vec::new();
        for _ in 1..count {
            others.push(BlindBox::builder(&lab.maa).http(http).start().await.unwrap());
        }
        let addresses: Vec<_> = std::iter::once(&lab.blindbox).chain(&others).map(BlindBox::address).collect();
        let balancer = TcpProxy::start(&addresses).await.unwrap();
        Self { lab, others, balancer }
    }

    fn all(&self) -> impl Iterator<Item = &BlindBox> {
        std::iter::once(&self.lab.blindbox).chain(&self.others)
    }

    fn count(&self, path: &str) -> usize {
        self.all().map(|replica| replica.traffic().count(path)).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_attested_once_each_and_no_request_is_sent_twice() {
    for (count, http) in [(2, HttpVersions::Http2), (2, HttpVersions::Http1), (5, HttpVersions::Http1)] {
        let replicas = Replicas::start(count, http).await;
        let session = replicas.lab.verifier().connect(replicas.balancer.url(), &replicas.lab.policy()).await.unwrap();
        // One after the other, each on a new connection, which the balancer sends to the next replica.
        for round in 1..=2 * count {
            replicas.balancer.cut();
            noticed().await;
            let answer = session.post("/generate").json(&json!({ "prompt": round })).send().await;
            assert_eq!(answer.unwrap().status().as_u16(), 400);
            assert_eq!(replicas.count("/generate"), round);
        }
        for replica in replicas.all() {
            assert_eq!(replica.traffic().count("/attest/maa"), 1, "{count} {http:?}");
            assert_eq!(replica.traffic().count("/generate"), 2, "{count} {http:?}");
        }
        // Every connection was used: none was opened in vain.
        assert_eq!(replicas.balancer.connections(), 2 * count + 1);

        // Many at the same time.
        let before = replicas.count("/echo");
        let tasks: Vec<_> = (0..60)
            .map(|number| {
                let session = session.clone();
                tokio::spawn(async move {
                    session.post("/echo").body(number.to_string()).send().await.unwrap().text().await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), number.to_string());
        }
        assert_eq!(replicas.count("/echo") - before, 60);
        assert_eq!(replicas.count("/attest/maa"), count);
    }
}

#[tokio::test]
async fn a_session_that_starts_at_its_end_is_attested_again_or_sends_nothing() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let life = session.attestation().expires_at().as_secs() - session.attestation().issued_at().as_secs();
    assert_eq!(life, 3600);

    lab.blindbox.clock().advance(3600);
    lab.maa.stop().await;
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaUnreachable { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().count("/"), 1);

    lab.maa.restart().await.unwrap();
    let issued_at = session.attestation().issued_at();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert!(session.attestation().issued_at() > issued_at);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 3);
}

/// Only the monotonic clock advances.
struct WallClockStandsStill(UnixTime, EmulatedClock);

impl TimeProvider for WallClockStandsStill {
    fn now(&self) -> UnixTime {
        self.0
    }

    fn monotonic(&self) -> Instant {
        self.1.monotonic()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_lengthen_a_life() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_max_session_age(Duration::from_secs(1)).unwrap();
    let clock = WallClockStandsStill(lab.blindbox.now(), lab.blindbox.clock().clone());
    let verifier = lab.builder().clock(clock).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    lab.blindbox.clock().advance(1);
    lab.blindbox.set(Knob::Debug);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    assert_eq!(lab.blindbox.traffic().count("/"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_fifth_of_a_life_renews_it() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2800);
    hello(&session).await.unwrap();
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);

    // No verdict to be had: the old one holds, and not every request tries again.
    lab.blindbox.clock().advance(100);
    lab.blindbox.fail("/attest/", Fault::status(500));
    for _ in 0..3 {
        hello(&session).await.unwrap();
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
    lab.blindbox.recover();

    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2900);
    let renewed_at = lab.blindbox.now();
    lab.blindbox.traffic().clear_requests();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { hello(&session).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    assert!(session.attestation().issued_at() >= renewed_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_cancels_what_is_under_way() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let slow = tokio::spawn({
        let session = session.clone();
        async move { session.get("/slow?ms=30000").send().await }
    });
    until("the request arrives", || lab.blindbox.traffic().count("/slow") > 0).await;
    lab.blindbox.set(Knob::Debug);
    session.reattest().await.unwrap_err();
    let error = soon(slow).await.unwrap().unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_at_once_cause_one_fetch_and_one_attestation() {
    let lab = Lab::start().await;
    let verifier = lab.builder().deadline(Duration::from_secs(600)).build().unwrap();
    // No response comes before all calls run: one that began after the others had ended would rightly attest again. Nor does a
    // machine that is busy with a thousand handshakes interrupt a response for longer than the client waits for its next bytes.
    let gate = Gate::closed();
    lab.blindbox.fail("/attest/", Fault::Held(gate.clone()));
    lab.maa.fail(Fault::Held(gate.clone()));
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (verifier, url, policy) = (verifier.clone(), lab.blindbox.url(), lab.policy());
            tokio::spawn(async move { verifier.connect(url, &policy).await.map(|session| session.channel()) })
        })
        .collect();
    until("each call has opened its connection", || lab.blindbox.traffic().tls_connections() == 1000).await;
    gate.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Channel::Bound));
    }
    assert_eq!(lab.maa.key_set_fetches(), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn a_verdict_is_about_one_policy() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let policy = lab.policy();
    let strict = lab.policy().require_vmpl([1]).unwrap();
    let (accepted, refused) =
        tokio::join!(verifier.connect(lab.blindbox.url(), &policy), verifier.connect(lab.blindbox.url(), &strict),);
    let _ = accepted.unwrap();
    assert!(matches!(refused.unwrap_err().violation(), Some(Violation::WrongVmpl { actual: 0, .. })));
    // Nor does one outlive the call.
    lab.blindbox.set(Knob::Debug);
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}

#[tokio::test]
async fn futures_that_are_dropped_leave_nothing_stuck() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let policy = lab.policy();
    for path in ["certs", "/attest/"] {
        match path {
            "certs" => lab.maa.fail(Fault::Slow(Duration::from_secs(60))),
            path => lab.blindbox.fail(path, Fault::Hang),
        }
        for wait in [0, 1, 5, 20, 100] {
            let connecting = verifier.connect(lab.blindbox.url(), &policy);
            let _ = tokio::time::timeout(Duration::from_millis(wait), connecting).await.unwrap_err();
        }
        lab.maa.recover();
        lab.blindbox.recover();
    }
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    for wait in [0, 1, 5, 20] {
        lab.blindbox.drop_connections();
        let _ = tokio::time::timeout(Duration::from_millis(wait), session.get("/slow?ms=5000").send()).await;
    }
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_agent_elsewhere_speaks_for_the_key_of_the_application() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort)).await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.agent_traffic().count("/attest/maa"), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 0);
    // Without the setting the agent is expected where the application is.
    let error = lab.connect().await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaTokenNotFound { status: 404, .. }), "{error:?}");
}

fn first_line(session: &Session) -> String {
    session.attestation().to_string().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_unbound_channel_needs_leave_and_says_so_first() {
    let lab = Lab::legacy().await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let refused = verifier.connect(lab.blindbox.url(), &lab.unbound_policy()).await.unwrap_err();
    assert_eq!(refused, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
    assert_eq!(lab.blindbox.agent_traffic().connections().len(), 0);

    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundTls);
    assert_eq!(session.attestation().key(), None);
    assert!(first_line(&session).contains("NOT BOUND"), "{}", session.attestation());
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let asked = lab.blindbox.agent_traffic().requests().remove(0).json().unwrap();
    assert!(asked.get("runtime_data").is_some() && asked.get("nonce").is_none(), "{asked}");

    // A new key is no matter, and neither is it looked at: that is what unbound means.
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.agent_traffic().count("/attest/maa"), 1);

    // At the end of its life it is attested again as well.
    lab.blindbox.clock().advance(3601);
    lab.blindbox.set(Knob::Debug);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}

#[tokio::test]
async fn an_unbound_channel_goes_by_the_name_even_for_an_address() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).certificate(ServerCertificate::SelfSigned));
    let lab = lab.await;
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().requests(), []);
}

/// The record said that the name was validated, of an application that was never contacted.
#[tokio::test]
async fn an_unbound_application_is_reached_before_anything_is_said_of_it() {
    let lab = Lab::legacy().await;
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let error = verifier.connect("https://127.0.0.1:1", &policy).await.unwrap_err();
    assert_eq!(unreachable_reason(&error), "https://127.0.0.1:1: connection refused");
    let error = verifier.connect("http://127.0.0.1:1", &policy.clone().allow_plain_http().unwrap()).await.unwrap_err();
    assert_eq!(unreachable_reason(&error), "http://127.0.0.1:1: connection refused");
    assert_eq!(lab.blindbox.agent_traffic().requests(), []);
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.attestation().appraisal().check("server name").unwrap().verdict, Verdict::Passed);
    // The connection that was looked at is the one that is used.
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().connections().len(), 1);
}

#[tokio::test]
async fn a_post_quantum_key_exchange_can_be_required() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_post_quantum().unwrap();
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let check = session.attestation().appraisal().check("key exchange").unwrap().clone();
    assert_eq!((check.verdict, &*check.actual), (Verdict::Passed, "X25519MLKEM768"));
    assert!(session.attestation().to_string().contains("X25519MLKEM768"), "{}", session.attestation());

    let lab = Lab::with(|blindbox| blindbox.key_exchange(KeyExchange::Classical)).await;
    let error = lab.verifier().connect(lab.blindbox.url(), &lab.policy().require_post_quantum().unwrap()).await;
    let error = error.unwrap_err();
    assert_eq!(error.violation(), Some(&Violation::NotPostQuantum { actual: "X25519".to_owned() }));
    assert_eq!(error.appraisal().unwrap().check("key exchange").unwrap().verdict, Verdict::Failed);
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    // Without the requirement the group is shown.
    let session = lab.connect().await.unwrap();
    assert_eq!(session.attestation().appraisal().check("key exchange").unwrap().actual, "X25519");
}

#[tokio::test]
async fn plain_http_needs_leave_of_its_own() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).transport(Transport::PlainHttp));
    let lab = lab.await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);

    let policy = policy.allow_plain_http().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundCleartext);
    assert!(first_line(&session).contains("IN CLEAR"), "{}", session.attestation());
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_unbound_answer_is_for_our_nonce_too() {
    let lab = Lab::legacy().await;
    let policy: Policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    lab.blindbox.set(Knob::claim("x-ms-sevsnpvm-reportdata", "00".repeat(64)));
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "report data", .. }), "{error:?}");
    let other = lab.policy_for(Workload::attests_any_data(HostData::new([7; 32]))).allow_unbound_channel().unwrap();
    lab.blindbox.reset();
    let error = verifier.connect(lab.blindbox.url(), &other).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::InvalidEnclaveCode { .. })), "{error:?}");
}

#[tokio::test]
async fn an_agent_elsewhere_may_have_any_key() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort)).await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    session.reattest().await.unwrap();
    assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
}

#[tokio::test]
async fn an_agent_in_clear_makes_the_channel_a_channel_in_clear() {
    let lab = Lab::legacy().await;
    let agent = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).transport(Transport::PlainHttp)).await;
    agent.blindbox.add_attester(&lab.maa);
    let verifier = lab.builder().agent(agent.blindbox.url()).build().unwrap();
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    let session = verifier.connect(lab.blindbox.url(), &policy.allow_plain_http().unwrap()).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundCleartext);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[test]
fn sessions_and_verifiers_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Session>();
    shared::<blindbox_attestation::Verifier>();
}

#[tokio::test]
async fn what_a_caller_waits_for_fits_on_its_stack() {
    let lab = Lab::start().await;
    let (verifier, policy) = (lab.verifier(), lab.policy());
    let connecting = verifier.connect(lab.blindbox.url(), &policy);
    assert!(size_of_val(&connecting) < 8 * 1024, "connect: {}", size_of_val(&connecting));
    let session = connecting.await.unwrap();
    let sending = session.get("/").send();
    assert!(size_of_val(&sending) < 8 * 1024, "send: {}", size_of_val(&sending));
    let attesting = session.reattest();
    assert!(size_of_val(&attesting) < 8 * 1024, "reattest: {}", size_of_val(&attesting));
}

#[tokio::test]
async fn key_exchange_is_x25519mlkem768_where_the_peer_has_it_and_x25519_where_not() {
    let platform = Platform::new(Product::Milan);
    for (groups, agreed) in [(KeyExchange::Any, "X25519MLKEM768"), (KeyExchange::Classical, "X25519")] {
        let maa = Maa::start().await.unwrap();
        let blindbox = BlindBox::builder(&maa).platform(&platform).key_exchange(groups).start().await.unwrap();
        let lab = Lab { maa, blindbox, kds: Some(Kds::start().await.unwrap()) };
        let session = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        let of = |traffic: &Traffic| traffic.connections().pop().unwrap().key_exchange;
        assert_eq!(of(lab.blindbox.traffic()).as_deref(), Some(agreed));
        // Key sets and AMD's lists come from servers that have it.
        assert_eq!(of(lab.maa.traffic()).as_deref(), Some("X25519MLKEM768"));
        assert_eq!(of(lab.kds().traffic()).as_deref(), Some("X25519MLKEM768"));
    }
}
