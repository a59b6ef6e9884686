//! Peers with other keys: each is attested before it gets anything.

use blindbox_attestation::Violation;
use blindbox_attestation::emulator::{BlindBox, HttpVersions, Knob, OpenConnections, TcpProxy};
use serde_json::json;

use crate::lab::{Lab, hello, noticed};

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
