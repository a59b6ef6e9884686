//! What nobody can hold for ever: a place, a device, an answer.

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
use tokio::time::timeout;

use crate::client::{Client, get, http2, post};
use crate::lab::{TestServer, agent_with_device, agent_without_machine, application, long_answers, pass};

/// More than the buffers between an application and a client hold.
const LONG: usize = 48 * 1024 * 1024;

/// Longer than anything here takes, shorter than what would have been waited for.
const SOON: Duration = Duration::from_secs(20);

const SHORT: &str = "[limits]\nidle-seconds = 1";

async fn speaking(agent: &Agent, protocols: &[&str]) -> Client {
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Client::with(agent.address(), |config| config.alpn_protocols = protocols).await.unwrap()
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SHORT).await;
    for protocols in [&["h2"][..], &["http/1.1"], &[]] {
        let mut client = speaking(&agent, protocols).await;
        timeout(SOON, client.rest()).await.unwrap_or_else(|_| panic!("still open: {protocols:?}"));
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_more_is_asked() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SHORT).await;
    let mut client = Client::connect(agent.address()).await;
    assert_eq!(client.send(&get("/status")).await.status, 200);
    timeout(SOON, client.rest()).await.expect("an idle connection of HTTP/1.1 is still open");

    let (mut sender, connection) = http2(agent.address()).await;
    let request = Request::get("https://agent/status").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let _ = timeout(SOON, connection).await.expect("an idle connection of HTTP/2 is still open");
}

#[tokio::test]
async fn a_connection_with_nothing_but_pings() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SHORT).await;
    let stream = TokioIo::new(speaking(&agent, &["h2"]).await.into_stream());
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(100))
        .keep_alive_while_idle(true)
        .handshake::<_, Full<Bytes>>(stream)
        .await
        .unwrap();
    let _ = timeout(SOON, connection).await.expect("pings keep a connection open");
    drop(sender);
}

#[tokio::test]
async fn http_2_is_spoken_where_it_was_agreed_on_and_nowhere_else() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", SHORT).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let mut client = speaking(&agent, protocols).await;
        client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        let received = timeout(SOON, client.rest()).await.unwrap();
        assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 4"), "{received:?}");
    }
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_give_way() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nconnections = 2").await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(agent.address()).await.unwrap());
    }
    // Before the ten seconds that the others have for theirs.
    let client = timeout(Duration::from_secs(9), Client::connect(agent.address())).await;
    assert_eq!(client.expect("silent callers hold all places").send(&get("/status")).await.status, 200);
}

#[tokio::test]
async fn one_address_does_not_get_every_place() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nconnections-per-address = 2").await;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let first = Client::from(here, agent.address()).await.unwrap();
    let mut second = Client::from(here, agent.address()).await.unwrap();
    assert!(timeout(SOON, Client::from(here, agent.address())).await.unwrap().is_err());
    let elsewhere = Client::from(Ipv4Addr::new(127, 0, 0, 2).into(), agent.address()).await;
    assert_eq!(elsewhere.unwrap().send(&get("/status")).await.status, 200);
    assert_eq!(second.send(&get("/status")).await.status, 200);
    drop(first);
    let again = async {
        while Client::from(here, agent.address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.expect("a place does not come back");
}

#[tokio::test]
async fn a_caller_that_attests_all_the_time_does_not_keep_another_from_it() {
    let application = application().await;
    let limits = "[limits]\nattestation-burst-per-address = 3\nattestations-per-second-per-address = 1";
    let (agent, reports) = agent_without_machine(&application, "", limits).await;
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut greedy = Client::connect(agent.address()).await;
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(greedy.send(&request).await.status == 429);
    }
    assert_eq!(refused, 100 - reports.load(Ordering::SeqCst));
    assert!(refused > 0);
    // 403: there is a report, and this machine is none.
    let mut other = Client::from(Ipv4Addr::new(127, 0, 0, 2).into(), agent.address()).await.unwrap();
    assert_eq!(other.send(&request).await.status, 403);
}

/// A client whose request has reached the application, and who reads nothing.
async fn asked(agent: &Agent, application: &TestServer) -> Client {
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    while application.count() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_arrives_whole() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = asked(&agent, &application).await;
    // Longer than the silence that is allowed, but it is not the application's.
    pass(61).await;
    let answer = timeout(Duration::from_secs(60), client.read()).await.unwrap().unwrap();
    assert_eq!(answer.body.len(), LONG);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = asked(&agent, &application).await;
    // Silence, then the time to end in; far less than a connection's age.
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pass(10).await;
    }
    let received = timeout(Duration::from_secs(60), client.rest()).await.unwrap();
    assert!(received.len() < LONG, "all of it arrived");
}

#[tokio::test]
async fn a_stream_of_http_2_that_nobody_reads_does_not_keep_its_connection() {
    let application = long_answers(LONG).await;
    let (agent, _) = agent_without_machine(&application, "", SHORT).await;
    let (mut sender, _connection) = http2(agent.address()).await;
    let request = || Request::get("https://agent/").body(Full::new(Bytes::new())).unwrap();
    let unread = sender.send_request(request()).await.unwrap();
    // The client's half answers pings all the while, and other streams go on. What tells is that no more may be opened.
    let refused = async {
        while sender.send_request(request()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, refused).await.expect("the connection goes on");
    drop(unread);
}

#[tokio::test]
async fn answers_that_nobody_reads_to_requests_one_after_the_other() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    let requests = get("/status").repeat(1000);
    while timeout(Duration::from_secs(2), client.write(&requests)).await.is_ok() {}
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pass(10).await;
    }
    timeout(SOON, client.rest()).await.expect("the connection goes on");
}

/// An application that writes this much of an answer and no more, and says when it is asked and when it is left alone.
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
    let (agent, _) = agent_without_machine(&server, "", SHORT).await;
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    let received = timeout(SOON, client.rest()).await.expect("silence is waited for");
    assert!(received.ends_with(b"\r\n\r\n12345"), "{received:?}");
    timeout(SOON, left).await.expect("the application is still held").unwrap();
}

#[tokio::test]
async fn an_application_is_left_alone_when_its_caller_has_gone() {
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"] {
        let HalfAnAnswer { server, asked, left } = half_an_answer(start).await;
        let (agent, _) = agent_without_machine(&server, "", "").await;
        let mut client = Client::connect(agent.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1").await;
        timeout(SOON, asked).await.expect("the application is not asked").unwrap();
        drop(client);
        timeout(SOON, left).await.unwrap_or_else(|_| panic!("still held after {start:?}")).unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin() {
    let HalfAnAnswer { server, asked, left } = half_an_answer("").await;
    let (agent, _) = agent_without_machine(&server, "", "").await;
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    timeout(SOON, asked).await.expect("the application is not asked").unwrap();
    pass(301).await;
    assert_eq!(timeout(SOON, client.read()).await.unwrap().unwrap().status, 504);
    timeout(SOON, left).await.expect("the application is still held").unwrap();
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
    timeout(Duration::from_secs(60), again).await.expect("a place does not come back");
}

/// A device that answers nobody until it is let go.
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
        let begun = async {
            while stuck.calls.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = client.read() => statuses.push(answer.unwrap().status),
            () = begun => {}
        }
        drop(client);
        // Time for the agent to see it.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let calls = stuck.calls.load(Ordering::SeqCst);
    *stuck.let_go.0.lock().unwrap() = true;
    stuck.let_go.1.notify_all();
    assert_eq!((calls, statuses), (2, vec![429; 10]));
    // What was done for nobody gives its place back.
    let mut client = Client::connect(agent.address()).await;
    let again = async { while client.send(&request).await.status == 429 {} };
    timeout(SOON, again).await.expect("a place does not come back");
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
    while stuck.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
    let lengths = timeout(SOON, async { tokio::join!(ask(sender.clone()), ask(sender.clone()), ask(sender)) }).await;
    assert_eq!(lengths.unwrap(), (1024 * 1024, 1024 * 1024, 1024 * 1024));
}
