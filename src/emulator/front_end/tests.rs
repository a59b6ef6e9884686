//! A front end before emulated BlindBoxes, with the client's end of the protocol over a plain HTTP client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{AFFINITY, FrontEnd, FrontEndKnob};
use crate::emulator::{BlindBox, Fault, Gate, Knob, Maa};
use crate::message::binary_http::{Control, Field, Head, Part};
use crate::message::chunks::ChunkError;
use crate::message::exchange::client::{Recipient, ResponseError, ResponseReader};
use crate::message::exchange::keys::Offer;
use crate::message::exchange::replay::SessionId;
use crate::message::exchange::stream::{Ending, MessageError};
use crate::message::key_config::KeyConfig;

/// What no front end may see.
const SECRET: &str = "the-secret-of-this-test";

struct Scene {
    maa: Maa,
    replicas: Vec<BlindBox>,
    front_end: FrontEnd,
    http: reqwest::Client,
}

/// An attested instance, and what sends messages to it.
struct Attested {
    recipient: Recipient,
    cookie: String,
    instance: String,
}

/// How a message ended that has no response of the application.
#[derive(Debug, PartialEq)]
enum Failure {
    /// An outer status that is not 200.
    Status(u16),
    NoResponse,
    Response(ResponseError),
}

impl Scene {
    async fn start(replicas: usize) -> Self {
        let maa = Maa::builder().clock(&crate::emulator::EmulatedClock::stopped()).start().await.unwrap();
        let mut started = Vec::new();
        for _ in 0..replicas {
            started.push(BlindBox::builder(&maa).start().await.unwrap());
        }
        let front_end = FrontEnd::builder().start(&started).await.unwrap();
        let root = reqwest::Certificate::from_pem(started[0].tls_root_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
        Self { maa, replicas: started, front_end, http }
    }

    async fn attest(&self) -> Attested {
        let request = json!({
            "maa_endpoint": self.maa.endpoint(),
            "nonce": "ab".repeat(32),
            "protocol": "blindbox-bound-message/1",
        });
        let response = self.http.post(format!("{}/attest/maa", self.front_end.url())).body(request.to_string());
        let response = response.send().await.unwrap();
        let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let config = STANDARD.decode(answer["key_config"].as_str().unwrap()).unwrap();
        let config = KeyConfig::from_bytes(&config).unwrap();
        let data = STANDARD.decode(answer["runtime_data"].as_str().unwrap()).unwrap();
        let nonce = crate::types::Nonce::from_hex(&"ab".repeat(32)).unwrap();
        assert_eq!(data, crate::message::exchange::runtime_data::runtime_data(&nonce, &config).into_bytes());
        let session = SessionId::from_hex(answer["session"].as_str().unwrap()).unwrap();
        let instance = crate::message::exchange::outer::instance(&config);
        Attested { recipient: Recipient::new(Offer { config, session }), cookie, instance }
    }

    async fn echo(&self, to: &Attested, text: &str) -> Result<String, Failure> {
        self.send(to, "/echo", text).await.map(|(_, content)| content)
    }

    async fn send(&self, to: &Attested, path: &str, text: &str) -> Result<(u16, String), Failure> {
        let (sealed, reader) = seal(&to.recipient, path, text);
        self.deliver(sealed, reader, &to.cookie).await
    }

    async fn deliver(&self, sealed: Vec<u8>, reader: ResponseReader, cookie: &str) -> Result<(u16, String), Failure> {
        let request = self.http.post(format!("{}/attest/message", self.front_end.url()));
        let request = request.header("content-type", "message/ohttp-chunked-req").header("cookie", cookie);
        let response = request.body(sealed).send().await.map_err(|_| Failure::NoResponse)?;
        if response.status() != 200 {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let sealed = response.bytes().await.map_err(|_| Failure::NoResponse)?;
        receive(reader, &sealed).map_err(Failure::Response)
    }

    /// How many requests the applications got in whole or in part.
    fn processed(&self) -> usize {
        self.replicas.iter().map(|replica| replica.traffic().application_requests()).sum()
    }
}

fn seal(to: &Recipient, path: &str, text: &str) -> (Vec<u8>, ResponseReader) {
    let [method, scheme, authority] = ["POST", "https", "app.example"].map(str::to_owned);
    let control = Control::Request { method, scheme, authority, path: path.to_owned() };
    let field = Field { name: "x-secret".to_owned(), value: SECRET.as_bytes().to_vec() };
    let (mut writer, mut sealed, reader) = to.seal(Head { control, fields: vec![field] }).unwrap();
    sealed.extend(writer.content(text.as_bytes()).unwrap());
    sealed.extend(writer.finish(&[]).unwrap());
    (sealed, reader)
}

fn receive(mut reader: ResponseReader, sealed: &[u8]) -> Result<(u16, String), ResponseError> {
    let (mut status, mut content) = (0, Vec::new());
    let mut take = |part| match part {
        Part::Head(Head { control: Control::Response { status: found }, .. }) => status = found,
        Part::Head(_) => panic!("a request"),
        Part::Content(bytes) => content.extend(bytes),
    };
    reader.push(sealed);
    while let Some(part) = reader.next()? {
        take(part);
    }
    let Ending { parts, .. } = reader.finish()?;
    parts.into_iter().for_each(&mut take);
    Ok((status, String::from_utf8(content).unwrap()))
}

fn chunk(error: ChunkError) -> Failure {
    Failure::Response(ResponseError::Message(MessageError::Chunk(error)))
}

#[tokio::test]
async fn an_honest_front_end_sees_nothing_of_requests_and_responses() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    assert_eq!(scene.send(&to, "/echo", SECRET).await, Ok((200, SECRET.to_owned())));
    let (_, headers) = scene.send(&to, "/headers", "").await.unwrap_or_default();
    assert_eq!(headers, "404 page not found", "another method");
    let seen = &scene.front_end;
    assert_eq!([SECRET, "/echo", "app.example", "x-secret"].map(|text| seen.count_seen(text)), [0; 4]);
    assert!(seen.bytes_seen() > 2_000 && seen.count_seen("/attest/message") == 2, "the record is empty");
    assert_eq!(scene.processed(), 2);
    let inner = scene.replicas[0].traffic().requests().into_iter().find(|request| !request.for_agent).unwrap();
    assert_eq!(
        (inner.path.as_str(), inner.header("x-secret"), inner.body.as_slice()),
        ("/echo", Some(SECRET), SECRET.as_bytes())
    );
    assert_eq!(inner.headers.iter().filter(|(name, _)| name.starts_with("blindbox-")).count(), 0);
}

/// The record shows what is in clear: else a test that finds nothing would show nothing.
#[tokio::test]
async fn a_front_end_sees_all_of_a_plain_request() {
    let scene = Scene::start(1).await;
    let request = scene.http.post(format!("{}/echo", scene.front_end.url())).header("x-secret", SECRET);
    assert_eq!(request.body(SECRET).send().await.unwrap().text().await.unwrap(), SECRET);
    // In the header, in the request and in the response.
    assert_eq!(scene.front_end.count_seen(SECRET), 3);
}

#[tokio::test]
async fn a_path_of_the_agent_is_not_served_inside() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    for path in ["/attest/maa", "/attest/message", "/status"] {
        assert_eq!(scene.send(&to, path, "{}").await, Ok((404, "404 page not found".to_owned())), "{path}");
    }
}

#[tokio::test]
async fn no_action_on_a_request_is_unnoticed() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    let first = scene.echo(&to, "first").await;
    assert_eq!(first, Ok("first".to_owned()));
    for (knob, expected, processed) in [
        // The key id, the encapsulated key, the head: nothing of it is opened.
        (FrontEndKnob::ChangeRequest(0), Failure::Status(400), 0),
        (FrontEndKnob::ChangeRequest(30), Failure::Status(400), 0),
        (FrontEndKnob::ChangeRequest(1_140), Failure::Status(400), 0),
        (FrontEndKnob::CutRequest(1_200), Failure::Status(400), 0),
        // The application gets the head and no end.
        (FrontEndKnob::RequestWithoutFinalChunk, Failure::Status(502), 1),
        (FrontEndKnob::RepeatRequest, Failure::Response(ResponseError::Refused), 1),
        (FrontEndKnob::WithholdResponse, Failure::NoResponse, 1),
        (FrontEndKnob::ReportUnknownKey, Failure::Status(400), 1),
        (FrontEndKnob::ForgeResponse(503), Failure::Status(503), 0),
        // Its nonce alone is as long as a nonce; the rest is no chunk.
        (FrontEndKnob::ForgeResponse(200), chunk(ChunkError::Truncated), 0),
    ] {
        let before = scene.processed();
        scene.front_end.set(knob.clone());
        assert_eq!(scene.echo(&to, SECRET).await, Err(expected), "{knob:?}");
        assert_eq!(scene.processed() - before, processed, "{knob:?}");
        scene.front_end.reset();
    }
    assert_eq!(scene.front_end.count_seen(SECRET), 0);
    assert_eq!(scene.echo(&to, "last").await, Ok("last".to_owned()));
}

#[tokio::test]
async fn no_action_on_a_response_is_unnoticed() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    for (knob, expected) in [
        (FrontEndKnob::ChangeResponse(0), ChunkError::Unauthentic),
        (FrontEndKnob::ChangeResponse(40), ChunkError::Unauthentic),
        (FrontEndKnob::CutResponse(10), ChunkError::Truncated),
        (FrontEndKnob::CutResponse(60), ChunkError::Truncated),
        (FrontEndKnob::ResponseWithoutFinalChunk, ChunkError::Truncated),
        (FrontEndKnob::ReorderChunks, ChunkError::Unauthentic),
        (FrontEndKnob::RepeatChunk, ChunkError::Unauthentic),
        (FrontEndKnob::AppendToResponse, ChunkError::Unauthentic),
    ] {
        scene.front_end.set(knob.clone());
        assert_eq!(scene.echo(&to, SECRET).await, Err(chunk(expected)), "{knob:?}");
        scene.front_end.reset();
    }
    scene.front_end.set(FrontEndKnob::EarlierResponse);
    assert_eq!(scene.echo(&to, SECRET).await, Err(chunk(ChunkError::Unauthentic)));
    assert_eq!(scene.front_end.count_seen(SECRET), 0);
}

#[tokio::test]
async fn an_earlier_request_or_response_is_never_that_of_a_later_one() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    scene.front_end.set(FrontEndKnob::EarlierResponse);
    assert_eq!(scene.echo(&to, "first").await, Ok("first".to_owned()));
    assert_eq!(scene.echo(&to, "second").await, Err(chunk(ChunkError::Unauthentic)));
    scene.front_end.reset();
    let processed = scene.processed();
    scene.front_end.set(FrontEndKnob::EarlierRequest);
    // The refusal is sealed to the first request.
    assert_eq!(scene.echo(&to, "third").await, Err(chunk(ChunkError::Unauthentic)));
    assert_eq!(scene.processed(), processed);
}

#[tokio::test]
async fn requests_that_are_held_and_overtaken_are_processed_once_each() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    let gate = Gate::closed();
    scene.front_end.set(FrontEndKnob::HoldRequests(gate.clone()));
    let (held, _) = tokio::join!(scene.echo(&to, "held"), async {
        gate.arrived(1).await;
        scene.front_end.reset();
        assert_eq!(scene.echo(&to, "overtakes").await, Ok("overtakes".to_owned()));
        gate.open();
    });
    assert_eq!(held, Ok("held".to_owned()));
    assert_eq!(scene.processed(), 2);
}

/// The front end sends all of them on over one connection.
#[tokio::test]
async fn a_request_that_is_cut_ends_none_beside_it() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    let gate = Gate::closed();
    scene.replicas[0].fail("/echo", Fault::Held(gate.clone()));
    let (held, ()) = tokio::join!(scene.echo(&to, "held"), async {
        gate.arrived(1).await;
        let (cut, cuts) = tokio::sync::oneshot::channel::<()>();
        let end = stream::once(async move {
            let _ = cuts.await;
            Err(std::io::Error::other("cut"))
        });
        // Its head is not whole.
        let body = stream::iter([Ok(seal(&to.recipient, "/", "").0[..10].to_vec())]).chain(end);
        let request = scene.http.post(format!("{}/attest/message", scene.front_end.url()));
        let request = request.header("content-type", "message/ohttp-chunked-req").header("cookie", &to.cookie);
        let request = request.body(reqwest::Body::wrap_stream(body)).send();
        let arrived = async {
            while scene.replicas[0].agent_traffic().count("/attest/message") < 2 {
                tokio::task::yield_now().await;
            }
            cut.send(()).unwrap();
        };
        let (outcome, ()) = tokio::join!(request, arrived);
        outcome.unwrap_err();
        assert_eq!(scene.send(&to, "/nowhere", "").await.unwrap().0, 404);
        gate.open();
    });
    assert_eq!(held, Ok("held".to_owned()));
}

#[tokio::test]
async fn a_replica_that_was_not_attested_opens_nothing() {
    let scene = Scene::start(3).await;
    let to = scene.attest().await;
    for _ in 0..3 {
        assert_eq!(scene.echo(&to, "by cookie").await, Ok("by cookie".to_owned()));
    }
    scene.front_end.set(FrontEndKnob::SpreadOverReplicas);
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(scene.echo(&to, SECRET).await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Failure::Status(400))).count(), 2, "{outcomes:?}");
    scene.front_end.reset();
    scene.front_end.set(FrontEndKnob::RequestToEveryReplica);
    assert_eq!(scene.echo(&to, SECRET).await, Err(Failure::Status(400)));
    assert_eq!((scene.processed(), scene.front_end.count_seen(SECRET)), (5, 0));
}

/// Its own key it can read with: what protects clients is that the evidence names another.
#[tokio::test]
async fn a_front_end_reads_what_is_sealed_to_a_key_of_its_own() {
    let scene = Scene::start(1).await;
    scene.front_end.set(FrontEndKnob::OwnMessageKey);
    let to = scene.attest().await;
    assert_eq!(scene.echo(&to, SECRET).await, Err(Failure::Status(400)));
    assert_eq!(scene.front_end.count_seen(SECRET), 2);
    assert_eq!(scene.processed(), 0);
}

#[tokio::test]
async fn the_session_of_another_client_gets_numbers_refused_and_nothing_processed_twice() {
    let scene = Scene::start(1).await;
    let first = scene.attest().await;
    assert_eq!(scene.echo(&first, "0").await, Ok("0".to_owned()));
    scene.front_end.set(FrontEndKnob::EarlierSession);
    let second = scene.attest().await;
    // Both count from 0 in one session.
    assert_eq!(scene.echo(&second, "0").await, Err(Failure::Response(ResponseError::Refused)));
    assert_eq!(scene.echo(&second, "1").await, Ok("1".to_owned()));
    assert_eq!(scene.processed(), 2);
}

#[tokio::test]
async fn keys_rotate_and_expire_by_the_clock_of_the_emulator() {
    let scene = Scene::start(1).await;
    let first = scene.attest().await;
    scene.maa.clock().advance(3_600);
    let second = scene.attest().await;
    for to in [&first, &second] {
        assert_eq!(scene.echo(to, "kept").await, Ok("kept".to_owned()));
    }
    scene.maa.clock().advance(3_600);
    assert_eq!(scene.echo(&first, SECRET).await, Err(Failure::Status(400)));
    assert_eq!(scene.echo(&second, "kept").await, Ok("kept".to_owned()));
    scene.replicas[0].restart().await.unwrap();
    let third = scene.attest().await;
    assert_eq!(scene.echo(&second, SECRET).await, Err(Failure::Status(400)));
    assert_eq!(scene.echo(&third, "new").await, Ok("new".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_leaves_no_connection_that_is_cut() {
    let scene = Scene::start(1).await;
    for _ in 0..20 {
        scene.replicas[0].restart().await.unwrap();
        let to = scene.attest().await;
        assert_eq!(scene.echo(&to, "at once").await, Ok("at once".to_owned()));
        scene.replicas[0].drop_connections().await;
        assert_eq!(scene.echo(&to, "at once").await, Ok("at once".to_owned()));
    }
}

#[tokio::test]
async fn an_instance_that_declines_says_so_inside() {
    let scene = Scene::start(1).await;
    let to = scene.attest().await;
    scene.replicas[0].set(Knob::DeclineMessages);
    assert_eq!(scene.echo(&to, SECRET).await, Err(Failure::Response(ResponseError::Declined)));
    assert_eq!(scene.processed(), 0);
    scene.replicas[0].reset();
    assert_eq!(scene.echo(&to, "now").await, Ok("now".to_owned()));
}

#[tokio::test]
async fn the_cookie_is_returned_from_another_site_where_pages_are_allowed() {
    let scene = Scene::start(1).await;
    let for_pages = FrontEnd::builder().allow_origin("https://chat.example").start(&scene.replicas).await.unwrap();
    for (front_end, attributes) in
        [(&scene.front_end, "; Path=/; Secure; HttpOnly"), (&for_pages, "; Path=/; Secure; HttpOnly; SameSite=None")]
    {
        let request = scene.http.post(format!("{}/attest/maa", front_end.url())).body("{}");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["set-cookie"], format!("{AFFINITY}=0{attributes}"));
    }
}

#[tokio::test]
async fn a_client_without_a_cookie_is_sent_on_by_the_instance_it_names() {
    let scene = Scene::start(3).await;
    let to = scene.attest().await;
    let replica: usize = to.cookie.strip_prefix(&format!("{AFFINITY}=")).unwrap().parse().unwrap();
    for _ in 0..3 {
        let (sealed, reader) = seal(&to.recipient, "/echo", "hello");
        let request = scene.http.post(format!("{}/attest/message", scene.front_end.url()));
        let request = request.header("blindbox-instance", &to.instance);
        let response = request.body(sealed).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(receive(reader, &response), Ok((200, "hello".to_owned())));
    }
    assert_eq!(scene.replicas[replica].traffic().application_requests(), 3);
}
