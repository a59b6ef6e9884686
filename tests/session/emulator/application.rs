//! An application in the emulated guest: a server at an address, and a service in the test.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// A server that sends nothing but what a test writes.
struct Scripted(TcpListener);

impl Scripted {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, with what came on it up to this text.
    async fn accept(&self, up_to: &str) -> (TcpStream, String) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let text = read_up_to(&mut stream, up_to).await;
        (stream, text)
    }
}

async fn read_up_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&text)));
        text.push(byte);
    }
    String::from_utf8(text).unwrap()
}

async fn in_front_of(url: &str) -> (Maa, BlindBox) {
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).application(Application::at(url).unwrap()).start().await.unwrap();
    (maa, blindbox)
}

#[tokio::test]
async fn events_of_an_application_arrive_one_by_one() {
    for http2 in [false, true] {
        let application = Scripted::start().await;
        let (_maa, blindbox) = in_front_of(&(application.url() + "/base/")).await;
        let client = builder(&blindbox.tls_root_pem());
        let client = if http2 { client } else { client.http1_only() }.build().unwrap();
        let request = client.get(blindbox.url() + "/events?a=%20b").header("x-one", "1").header("te", "trailers");
        let (mut response, (mut stream, head)) = tokio::join!(async { request.send().await.unwrap() }, async {
            let (mut stream, head) = application.accept("\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: keep-alive, X-Hop\r\n\
                              X-Hop: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            (stream, head.to_ascii_lowercase())
        });
        assert!(head.starts_with("get /base/events?a=%20b http/1.1\r\n"), "{head}");
        for line in [format!("host: {}", blindbox.address()), "x-one: 1".into(), "te: trailers".into()] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        assert_eq!(response.version(), if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        for name in ["x-hop", "keep-alive", "connection"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        // The next one is written when the one before has arrived.
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            stream.write_all(format!("9\r\n{event}\r\n").as_bytes()).await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), event);
        }
        let mut body = reqwest::Body::from(response);
        stream.write_all(b"0\r\nx-sum: 6\r\n\r\n").await.unwrap();
        let trailers = frame(&mut body).await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!((trailers.len(), trailers["x-sum"].to_str().unwrap()), (1, "6"));
        assert!(frame(&mut body).await.is_none());
        assert_eq!(attest_again(&client, &blindbox).await, StatusCode::OK);
    }
}

/// The agent is there all the same.
async fn attest_again(client: &Client, blindbox: &BlindBox) -> StatusCode {
    post(client, blindbox.agent_url() + "/attest/maa", bound_request(blindbox)).await.status()
}

#[tokio::test]
async fn a_body_reaches_the_application_as_it_comes() {
    let application = Scripted::start().await;
    let (_maa, blindbox) = in_front_of(&application.url()).await;
    let (sender, receiver) = mpsc::channel(1);
    let body = reqwest::Body::wrap(Fed(receiver));
    let client = client(&blindbox.tls_root_pem());
    let sending = tokio::spawn(client.post(blindbox.url() + "/upload").body(body).send());
    sender.send(Bytes::from_static(b"first")).await.unwrap();
    let (mut stream, head) = application.accept("5\r\nfirst\r\n").await;
    assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
    // The first part has arrived before the second is there.
    sender.send(Bytes::from_static(b"second")).await.unwrap();
    drop(sender);
    assert_eq!(read_up_to(&mut stream, "0\r\n\r\n").await, "6\r\nsecond\r\n0\r\n\r\n");
    stream.write_all(b"HTTP/1.0 201 Made\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
    let response = sending.await.unwrap().unwrap();
    assert_eq!((response.status(), response.text().await.unwrap().as_str()), (StatusCode::CREATED, "done"));
    let requests = blindbox.traffic().requests();
    assert_eq!(requests.last().unwrap().body, b"firstsecond");
}

/// A body that a test feeds.
struct Fed(mpsc::Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

async fn frame<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

#[tokio::test]
async fn an_application_that_fails_is_a_bad_gateway_or_a_cut() {
    let application = Scripted::start().await;
    let (_maa, blindbox) = in_front_of(&application.url()).await;
    let client = client(&blindbox.tls_root_pem());
    let gateway = async |scripted: Option<&str>| {
        let answering = async {
            if let Some(text) = scripted {
                let (mut stream, _) = application.accept("\r\n\r\n").await;
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        };
        tokio::join!(client.get(blindbox.url()).send(), answering).0.unwrap()
    };
    for nonsense in
        ["", "HTTP/1.1 200", "220 mail.example\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]
    {
        let response = gateway(Some(nonsense)).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{nonsense}");
        let error = json_of(response).await["error"].as_str().unwrap().to_owned();
        assert!(
            error.starts_with("the application gave no response: ") && error.contains(&application.url()),
            "{error}"
        );
    }
    // What ends too early is no whole response.
    let (response, mut stream) = tokio::join!(client.get(blindbox.url()).send(), async {
        let (mut stream, _) = application.accept("\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.").await.unwrap();
        stream
    });
    let mut response = response.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "five.");
    stream.shutdown().await.unwrap();
    assert!(response.chunk().await.unwrap_err().is_decode(), "the connection to the client is cut");
    // Nor with a fault, which changes only what is whole.
    blindbox.fail_times("/", 1, Fault::Headers(1));
    let mut response = gateway(Some("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.")).await;
    assert_eq!((response.status(), response.headers().get("x-many")), (StatusCode::OK, None));
    assert_eq!(response.chunk().await.unwrap().unwrap(), "five.");
    assert!(response.chunk().await.unwrap_err().is_decode(), "the fault made a whole response of a part");

    let url = application.url();
    drop(application);
    let response = client.get(blindbox.url()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = json_of(response).await["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with(&format!("the application gave no response: no connection to {url}: ")), "{error}");
    assert_eq!(attest_again(&client, &blindbox).await, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_to_the_application() {
    let application = Scripted::start().await;
    let (_maa, blindbox) = in_front_of(&application.url()).await;
    let client = client(&blindbox.tls_root_pem());
    let (response, (mut stream, _)) = tokio::join!(client.get(blindbox.url()).send(), async {
        let (mut stream, head) = application.accept("\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").await.unwrap();
        (stream, head)
    });
    drop(response.unwrap());
    let mut left = Vec::new();
    let ended = soon(stream.read_to_end(&mut left)).await;
    assert!(ended.is_ok(), "the connection to the application stays open");
}

#[test]
fn an_address_that_is_none_of_an_application() {
    for (url, why) in [
        ("127.0.0.1:8000", "relative URL without a base"),
        ("https://127.0.0.1:8000", "only http: TLS ends at the emulator"),
        ("http://user@127.0.0.1:8000", "without a user name: clients send credentials in headers"),
        ("http://127.0.0.1:8000/?x", "without a query and a fragment"),
    ] {
        let error = Application::at(url).unwrap_err();
        let expected = "expected the application as a URL such as http://127.0.0.1:8000: ";
        assert_eq!((error.kind(), error.to_string()), (std::io::ErrorKind::InvalidInput, format!("{expected}{why}")));
    }
}

/// A service that responds with the body of the request, or fails.
#[derive(Clone)]
struct Echo;

impl tower_service::Service<http::Request<IncomingBody>> for Echo {
    type Response = http::Response<IncomingBody>;
    type Error = String;
    type Future = Ready<Result<Self::Response, String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<IncomingBody>) -> Self::Future {
        ready(match request.uri().path() {
            "/fails" => Err("not today".to_owned()),
            _ => Ok(http::Response::builder().status(203).header("x-echo", "1").body(request.into_body()).unwrap()),
        })
    }
}

#[tokio::test]
async fn a_service_of_the_test_is_the_application() {
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).application(Application::service(Echo)).page("/page", "text/plain", "fixed");
    let blindbox = blindbox.start().await.unwrap();
    let client = client(&blindbox.tls_root_pem());
    let echo = async |path: &str, body: &'static str| {
        let response = client.post(blindbox.url() + path).body(body).send().await.unwrap();
        (response.status().as_u16(), response.headers().contains_key("x-echo"), response.text().await.unwrap())
    };
    assert_eq!(echo("/any", "hello").await, (203, true, "hello".to_owned()));
    assert_eq!(echo("/page", "").await, (200, false, "fixed".to_owned()));
    let failed = r#"{"error":"the application gave no response: not today"}"#;
    assert_eq!(echo("/fails", "").await, (502, false, failed.to_owned()));
    assert_eq!(blindbox.traffic().requests()[0].body, b"hello");

    blindbox.fail_times("/any", 1, Fault::Replace { from: "l".into(), to: "L".into() });
    assert_eq!(echo("/any", "hello").await, (203, true, "heLLo".to_owned()));
    blindbox.fail_times("/any", 1, Fault::Slow(Duration::from_millis(1)));
    assert_eq!(echo("/any", "hello").await, (203, true, "hello".to_owned()));
    blindbox.fail_times("/any", 1, Fault::status(429));
    assert_eq!(echo("/any", "hello").await, (429, false, r#"{"error":"emulated status 429"}"#.to_owned()));
    assert_eq!(attest_again(&client, &blindbox).await, StatusCode::OK);
}
