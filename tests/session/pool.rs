//! Which of the open connections a request gets.

use std::time::Duration;

use crate::lab::{Lab, hello};
use blindbox_attestation::emulator::{Fault, HttpVersions};

/// Servers close idle connections after a minute or two, and a request that is sent then fails.
#[tokio::test]
async fn an_idle_connection_is_used_for_50_seconds() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let session = lab.connect().await.unwrap();
    for (seconds, connections) in [(0, 1), (49, 1), (49, 1), (50, 2), (0, 2)] {
        lab.blindbox.clock().advance(seconds);
        hello(&session).await.unwrap();
        assert_eq!(lab.blindbox.traffic().tls_connections(), connections, "{seconds}");
    }
}

/// Responses that are given up leave connections that are closed soon. A request takes the one that is ready, however many of the
/// others are newer.
#[tokio::test]
async fn a_request_takes_the_connection_that_is_ready() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let session = lab.connect().await.unwrap();
    // Their bodies never come.
    lab.blindbox.fail("/echo", Fault::Drip(Duration::from_secs(3600)));
    let mut given_up = Vec::new();
    for _ in 0..9 {
        given_up.push(session.post("/echo").body("0123456789").send().await.unwrap());
    }
    hello(&session).await.unwrap();
    assert_eq!(lab.blindbox.traffic().tls_connections(), 10);
    drop(given_up);
    hello(&session).await.unwrap();
    assert_eq!(lab.blindbox.traffic().tls_connections(), 10);
}
