//! The body of a request goes on only while its peer is attested.

use crate::lab::{Lab, hello, interrupted, until};
use blindbox_attestation::emulator::{HttpVersions, Knob, TcpProxy};
use blindbox_attestation::{AttestationError, Session};

/// More than lies between here and there when no one reads: buffers of the HTTP library, sockets and the emulator.
const SIZE: usize = 96 << 20;

/// A session over a network that counts, and an upload that is at a stand on its way.
async fn upload(http: HttpVersions) -> (Lab, TcpProxy, Session, tokio::task::JoinHandle<AttestationError>) {
    let lab = Lab::with(|blindbox| blindbox.http(http)).await;
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
    hello(&session).await.unwrap();
    network.stall();
    let (begun, sent) = (network.bytes_from_clients(), network.bytes_to_servers());
    let task = tokio::spawn({
        let session = session.clone();
        async move { session.post("/echo").body(vec![7; SIZE]).send().await.unwrap_err() }
    });
    until("the upload has begun", || network.bytes_from_clients() > begun).await;
    assert_eq!(network.bytes_to_servers(), sent);
    (lab, network, session, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_body_never_reaches_a_peer_that_was_refused_or_has_expired() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        for refused in [true, false] {
            let (lab, network, session, task) = upload(http).await;
            let expected = if refused {
                lab.blindbox.set(Knob::Debug);
                session.reattest().await.unwrap_err()
            } else {
                lab.blindbox.clock().advance(3600);
                AttestationError::AttestationExpired
            };
            let before = network.bytes_to_servers();
            assert_eq!(task.await.unwrap(), interrupted(expected), "{http:?}");
            drop(session);
            network.go_on();
            until("the connections are closed", || network.open_connections() == 0).await;
            let after = network.bytes_to_servers() - before;
            assert!(after < u64::try_from(SIZE / 8).unwrap(), "{after} bytes, {http:?}, refused: {refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_size_arrive_as_they_are() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        for size in [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20] {
            let body: Vec<u8> = (0..=255).cycle().take(size).collect();
            let answer = session.post("/echo").body(body.clone()).send().await.unwrap();
            assert_eq!(answer.bytes().await.unwrap(), body, "{http:?} {size}");
        }
        let requests = lab.blindbox.traffic().requests();
        let lengths = requests.iter().filter(|request| request.path == "/echo");
        let lengths: Vec<_> = lengths.map(|request| request.header("content-length").map(str::to_owned)).collect();
        let expected = [Some("0"), Some("1"), Some("16384"), Some("16385"), Some("3145728")];
        assert_eq!(lengths.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{http:?}");
    }
}
