//! Limits on time and number: connections, devices, responses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use blindbox_agent::{Agent, Device, EvidenceError};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::client::{Client, get, http2, post};
use crate::lab::{
    TestServer, agent_with_device, agent_without_machine, application, long_answers, moment, pass, passing, soon, until,
};

/// More than the buffers between an application and a client hold.
const LONG: usize = 48 * 1024 * 1024;

/// Only a minute of silence ends a connection, not its age.
const SILENCE: &str = "[limits]\nidle-seconds = 60\nconnection-seconds = 1000000";

/// A part of it, in seconds.
const STEP: u64 = 10;

async fn speaking(agent: &Agent, protocols: &[&str]) -> Client {
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Client::with(agent.address(), |config| config.alpn_protocols = protocols).await.unwrap()
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SILENCE).await;
    for protocols in [&["h2"][..], &["http/1.1"], &[]] {
        let mut client = speaking(&agent, protocols).await;
        passing(STEP, client.rest()).await;
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_more_is_asked() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SILENCE).await;
    let mut client = Client::connect(agent.address()).await;
    assert_eq!(client.send(&get("/status")).await.status, 200);
    passing(STEP, client.rest()).await;

    let (mut sender, connection) = http2(agent.address()).await;
    let request = Request::get("https://agent/status").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let _ = passing(STEP, connection).await;
}

#[tokio::test]
async fn a_connection_with_nothing_but_pings() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SILENCE).await;
    let stream = TokioIo::new(speaking(&agent, &["h2"]).await.into_stream());
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(1_000_000))
        .keep_alive_while_idle(true)
        .handshake::<_, Full<Bytes>>(stream)
        .await
        .unwrap();
    let _ = passing(1, connection).await;
    drop(sender);
}

#[tokio::test]
async fn http_2_is_spoken_where_it_was_agreed_on_and_nowhere_else() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SILENCE).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let mut client = speaking(&agent, protocols).await;
        client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        let received = passing(STEP, client.rest()).await;
        assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 4"), "{received:?}");
    }
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_give_way() {
    let application = application().await;
    let limits = "[limits]\nconnections = 2\nhandshake-seconds = 1000000";
    let (agent, _) = agent_without_machine(&application, "", limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(agent.address()).await.unwrap());
    }
    let mut client = soon(Client::connect(agent.address())).await;
    assert_eq!(client.send(&get("/status")).await.status, 200);
}

#[tokio::test]
async fn one_address_does_not_get_every_place() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nconnections-per-address = 2").await;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let first = Client::from(here, agent.address()).await.unwrap();
    let mut second = Client::from(here, agent.address()).await.unwrap();
    assert!(soon(Client::from(here, agent.address())).await.is_err());
    let elsewhere = Client::from(Ipv4Addr::new(127, 0, 0, 2).into(), agent.address()).await;
    assert_eq!(elsewhere.unwrap().send(&get("/status")).await.status, 200);
    assert_eq!(second.send(&get("/status")).await.status, 200);
    drop(first);
    let again = async {
        while Client::from(here, agent.address()).await.is_err() {
            moment().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn a_caller_that_attests_all_the_time_does_not_keep_another_from_it() {
    let application = application().await;
    let limits = "[limits]\nattestation-burst-per-address = 3\nattestations-per-second-per-address = 0.0001";
    let (agent, reports) = agent_without_machine(&application, "", limits).await;
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut greedy = Client::connect(agent.address()).await;
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(greedy.send(&request).await.status == 429);
    }
    assert_eq!((refused, reports.load(Ordering::SeqCst)), (97, 3));
    // 403: there is a report, and this machine is none.
    let mut other = Client::from(Ipv4Addr::new(127, 0, 0, 2).into(), agent.address()).await.unwrap();
    assert_eq!(other.send(&request).await.status, 403);
}

/// A client whose request has reached the application, and who reads nothing.
async fn asked(agent: &Agent, application: &TestServer) -> Client {
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    until("the application is asked", || application.count() > 0).await;
    client
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_arrives_whole() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = asked(&agent, &application).await;
    // Longer than the silence that is allowed, but it is not the application's.
    pass(61).await;
    let answer = soon(client.read()).await.unwrap();
    assert_eq!(answer.body.len(), LONG);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = asked(&agent, &application).await;
    // Silence, then the time to end in; far less than a connection's age.
    for _ in 0..60 {
        moment().await;
        pass(10).await;
    }
    let received = soon(client.rest()).await;
    assert!(received.len() < LONG, "all of it arrived");
}

#[tokio::test]
async fn a_stream_of_http_2_that_nobody_reads_does_not_keep_its_connection() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", SILENCE).await;
    let (mut sender, _connection) = http2(agent.address()).await;
    let request = || Request::get("https://agent/").body(Full::new(Bytes::new())).unwrap();
    let unread = sender.send_request(request()).await.unwrap();
    // The client's half responds to pings all the while, and other streams go on. The sign is that no more may be opened.
    let refused = async {
        while sender.send_request(request()).await.is_ok() {
            moment().await;
        }
    };
    passing(STEP, refused).await;
    drop(unread);
}

#[tokio::test]
async fn answers_that_nobody_reads_to_requests_one_after_the_other() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    let requests = get("/status").repeat(1000);
    // Until it is cut.
    passing(STEP, async { while client.try_write(&requests).await.is_ok() {} }).await;
}

/// An application that writes this much of a response and no more, and reports when a request arrives and when its connection ends.
struct HalfAnAnswer {
    server: TestServer,
    asked: oneshot::Receiver<()>,
    left: tokio::task::JoinHandle<()>,
}

async fn half_an_answer(start: &'static str) -> HalfAnAnswer {
    let (ask, asked) = oneshot::channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = TestServer::at(listener.local_addr().unwrap());
    let left = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut ask = Some(ask);
        while stream.read(&mut [0; 1024]).await.unwrap_or(0) > 0 {
            ask.take().map(|ask| ask.send(()));
        }
    });
    HalfAnAnswer { server, asked, left }
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_cut_and_its_application_left_alone() {
    let HalfAnAnswer { server, left, .. } = half_an_answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let (agent, _) = agent_without_machine(&server, "", SILENCE).await;
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    // What it has written arrives first.
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n12345") {
        received.push(soon(client.byte()).await);
    }
    assert_eq!(passing(STEP, client.rest()).await, b"");
    soon(left).await.unwrap();
}

#[tokio::test]
async fn an_application_is_left_alone_when_its_caller_has_gone() {
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"] {
        let HalfAnAnswer { server, asked, left } = half_an_answer(start).await;
        let (agent, _) = agent_without_machine(&server, "", "").await;
        let mut client = Client::connect(agent.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1").await;
        soon(asked).await.unwrap();
        drop(client);
        soon(left).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin() {
    let HalfAnAnswer { server, asked, left } = half_an_answer("").await;
    let (agent, _) = agent_without_machine(&server, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    soon(asked).await.unwrap();
    pass(301).await;
    assert_eq!(soon(client.read()).await.unwrap().status, 504);
    soon(left).await.unwrap();
}

#[tokio::test]
async fn requests_to_the_application_are_bounded_in_number() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nrequests-in-flight = 1").await;
    let first = asked(&agent, &application).await;
    let mut second = Client::connect(agent.address()).await;
    let answer = second.send(&get("/")).await;
    assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true));
    assert_eq!(second.send(&get("/status")).await.status, 200);
    drop(first);
    let again = async { while second.send(&get("/")).await.status == 503 {} };
    soon(again).await;
}

#[tokio::test]
async fn one_address_has_a_share_of_the_requests_to_the_application() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nrequests-in-flight-per-address = 1").await;
    let first = asked(&agent, &application).await;
    let mut second = Client::connect(agent.address()).await;
    let answer = second.send(&get("/")).await;
    let shown = json!({ "error": "too many requests of this address at the moment" });
    assert_eq!((answer.status, answer.json()), (429, shown));
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(second.send(&get("/status")).await.status, 200);
    let mut elsewhere = Client::from(Ipv4Addr::new(127, 0, 0, 2).into(), agent.address()).await.unwrap();
    assert_eq!(soon(elsewhere.send(&get("/"))).await.status, 200);
    drop(first);
    let again = async { while second.send(&get("/")).await.status == 429 {} };
    soon(again).await;
}

#[tokio::test]
async fn a_connection_that_is_idle_gives_way_to_a_caller_without_a_place() {
    let application = long_answers(LONG).await;
    let limits = "[limits]\nconnections = 3\nidle-seconds = 1000000\nconnection-seconds = 1000000";
    let (agent, _) = agent_without_machine(&application, "", limits).await;
    // It has a request, and is not idle although it was the first.
    let mut reading = asked(&agent, &application).await;
    let mut idle = [Client::connect(agent.address()).await, Client::connect(agent.address()).await];
    for client in [1, 0] {
        assert_eq!(idle[client].send(&get("/status")).await.status, 200);
        pass(1).await;
    }
    let mut new = soon(Client::connect(agent.address())).await;
    assert_eq!(new.send(&get("/status")).await.status, 200);
    // The one that was idle for longer ends in good order.
    assert_eq!(soon(idle[1].rest()).await, b"");
    assert_eq!(idle[0].send(&get("/status")).await.status, 200);
    assert_eq!(soon(reading.read()).await.unwrap().body.len(), LONG);
}

#[tokio::test]
async fn a_caller_beyond_its_share_closes_no_connection_of_others() {
    let application = application().await;
    let limits = "[limits]\nconnections = 2\nconnections-per-address = 1";
    let (agent, _) = agent_without_machine(&application, "", limits).await;
    let from = |last| Client::from(Ipv4Addr::new(127, 0, 0, last).into(), agent.address());
    let mut open = [from(1).await.unwrap(), from(2).await.unwrap()];
    for _ in 0..3 {
        assert!(soon(from(2)).await.is_err());
    }
    for client in &mut open {
        assert_eq!(client.send(&get("/status")).await.status, 200);
    }
}

/// A device that does not respond until it is released.
#[derive(Default)]
struct Stuck {
    let_go: (Mutex<bool>, Condvar),
    calls: AtomicUsize,
}

struct StuckDevice(Arc<Stuck>);

impl Device for StuckDevice {
    fn report(&self, _: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let (open, changed) = &self.0.let_go;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open));
        Err(EvidenceError::Device("let go".to_owned()))
    }
}

#[tokio::test]
async fn callers_that_go_away_leave_no_more_device_calls_than_there_are_places() {
    let application = application().await;
    let stuck = Arc::<Stuck>::default();
    let limits = "[limits]\nattestations-in-flight = 2";
    let agent = agent_with_device(StuckDevice(Arc::clone(&stuck)), &application, "", limits).await;
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let before = stuck.calls.load(Ordering::SeqCst);
        let mut client = Client::connect(agent.address()).await;
        client.write(&request).await;
        let begun = until("the device is asked", || stuck.calls.load(Ordering::SeqCst) > before);
        tokio::select! {
            answer = client.read() => statuses.push(answer.unwrap().status),
            () = begun => {}
        }
        drop(client);
        // By the response to this the agent has seen it.
        assert_eq!(Client::connect(agent.address()).await.send(&get("/status")).await.status, 200);
    }
    let calls = stuck.calls.load(Ordering::SeqCst);
    *stuck.let_go.0.lock().unwrap() = true;
    stuck.let_go.1.notify_all();
    assert_eq!((calls, statuses), (2, vec![429; 10]));
    // Work that no one waits for gives its place back.
    let mut client = Client::connect(agent.address()).await;
    let again = async { while client.send(&request).await.status == 429 {} };
    soon(again).await;
}

#[tokio::test]
async fn a_device_that_hangs_holds_its_place_and_not_its_caller() {
    let application = application().await;
    let stuck = Arc::<Stuck>::default();
    let limits = "[limits]\nattestations-in-flight = 1";
    let agent = agent_with_device(StuckDevice(Arc::clone(&stuck)), &application, "", limits).await;
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut client = Client::connect(agent.address()).await;
    client.write(&request).await;
    until("the device is asked", || stuck.calls.load(Ordering::SeqCst) > 0).await;
    pass(31).await;
    let late = client.read().await.unwrap().status;
    let next = client.send(&request).await.status;
    *stuck.let_go.0.lock().unwrap() = true;
    stuck.let_go.1.notify_all();
    assert_eq!((late, next), (503, 429));
}

#[tokio::test]
async fn an_answer_of_http_2_arrives_whole_beside_others() {
    let application = long_answers(1024 * 1024).await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let (sender, _connection) = http2(agent.address()).await;
    let ask = |mut sender: SendRequest<Full<Bytes>>| async move {
        let request = Request::get("https://agent/").body(Full::new(Bytes::new())).unwrap();
        sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes().len()
    };
    let lengths = soon(async { tokio::join!(ask(sender.clone()), ask(sender.clone()), ask(sender)) }).await;
    assert_eq!(lengths, (1024 * 1024, 1024 * 1024, 1024 * 1024));
}
