//! What a host says that it received: sizes, statuses, and what arrives of a request.

use blindbox_attestation::message_client::{BegunExchange, HostResponse};
use blindbox_attestation::{AttestationError, KeySetSource};

use super::Host;

/// Without the limit, an agent could send a page as much as it likes. At the limit, the content is what is refused.
#[tokio::test]
async fn a_response_of_an_agent_is_bounded() {
    let mut host = Host::start().await;
    let limit = 256 << 10;
    for (len, code) in [(limit, "invalid-agent-answer"), (limit + 1, "too-large")] {
        let (random, now) = (host.random(), host.now());
        host.client.begin(random, now).unwrap();
        let body = vec![b' '; len];
        let response = HostResponse::Received { status: 200, content_type: "application/json", body: &body };
        let error = host.client.evidence(response, None, KeySetSource::Given).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        if len > limit {
            let expected =
                AttestationError::TooLarge { what: "the response of the attestation agent", limit: 256 << 10 };
            assert_eq!(error, expected);
        }
    }
}

/// A status that says that the instance is not there costs an attestation. Any other costs the request alone.
#[tokio::test]
async fn an_instance_that_is_not_there_is_attested_again() {
    let mut host = Host::start().await;
    for (status, is_attested) in [(429, true), (500, true), (502, false), (404, false)] {
        host.attest().await.unwrap();
        let BegunExchange { mut exchange, .. } = host.seal("POST", 0).unwrap();
        let failed = exchange.refuse(HostResponse::Received { status, content_type: "text/plain", body: b"" });
        assert_eq!((failed.error.code(), failed.again_after_ms), ("application-unreachable", None), "{status}");
        assert_eq!(host.client.is_attested(host.now()), Ok(is_attested), "{status}");
    }
}

#[tokio::test]
async fn headers_arrive_inside_and_nowhere_else() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    host.exchange("POST", "x").await.unwrap();
    let requests = host.behind.lab.blindbox.traffic().requests();
    let of = |path: &str| requests.iter().filter(|request| request.path == path).collect::<Vec<_>>();
    let [inside] = of("/echo")[..] else { panic!("{requests:?}") };
    assert_eq!((inside.header("x-secret"), inside.header("accept")), (Some("the secret"), Some("*/*")));
    let [outside] = of("/attest/message")[..] else { panic!("{requests:?}") };
    assert_eq!(outside.header("x-secret"), None);
}
