//! The client of hosts that have the network themselves: each step by hand, over an HTTP client of the test.

mod documents;
mod network;

use std::time::Duration;

use blindbox_attestation::emulator::{Fault, FrontEnd, FrontEndKnob, Knob};
use blindbox_attestation::message_client::{
    AgentBusy, BegunExchange, ExchangeFailed, FetchedDocuments, HOST_RANDOM_LEN, HostResponse, MessageClient,
    MessageExchange, NeededDocuments, RequestToSeal, ResponsePart,
};
use blindbox_attestation::{AttestationError, ChannelNotBound, KeySetSource, Policy, UnixTime, Verdict, Violation};
use zeroize::Zeroizing;

use super::Behind;

struct Host {
    behind: Behind,
    http: reqwest::Client,
    client: MessageClient,
    drawn: u16,
    /// What the caller states about each request.
    idempotent: bool,
}

impl Host {
    async fn start() -> Self {
        let behind = Behind::start().await;
        let client = client(behind.front_end.url(), behind.policy()).unwrap();
        Self::over(behind, client)
    }

    fn over(behind: Behind, client: MessageClient) -> Self {
        let root = reqwest::Certificate::from_pem(behind.lab.blindbox.tls_root_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
        Self { behind, http, client, drawn: 0, idempotent: false }
    }

    fn now(&self) -> UnixTime {
        self.behind.lab.blindbox.clock().now()
    }

    /// Bytes that no other call has.
    fn random(&mut self) -> Zeroizing<Vec<u8>> {
        self.drawn += 1;
        let drawn = self.drawn.to_le_bytes();
        Zeroizing::new((0..HOST_RANDOM_LEN).map(|at| u8::try_from(at).unwrap() ^ drawn[at % drawn.len()]).collect())
    }

    async fn post(&self, url: &str, headers: &[(String, String)], body: Vec<u8>) -> (u16, String, Vec<u8>) {
        let request = headers.iter().fold(self.http.post(url), |request, (name, value)| request.header(name, value));
        let response = request.body(body).send().await.unwrap();
        let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        (status, content_type.unwrap_or_default(), response.bytes().await.unwrap().to_vec())
    }

    /// The steps before the verification.
    async fn needed(&mut self) -> Result<NeededDocuments, AttestationError> {
        let (random, now) = (self.random(), self.now());
        let asked = self.client.begin(random, now)?;
        let (status, content_type, body) = self.post(&asked.url, &[], asked.body.into_bytes()).await;
        let response = HostResponse::Received { status, content_type: &content_type, body: &body };
        let key_set = self.behind.lab.maa.key_set();
        self.client.evidence(response, Some(Ok(key_set.as_bytes())), KeySetSource::Given)
    }

    async fn attest(&mut self) -> Result<(), AttestationError> {
        let (needed, now) = (self.needed().await?, self.now());
        assert_eq!(needed, NeededDocuments::default());
        self.client.attest(FetchedDocuments::default(), now).map(|_| ())
    }

    fn seal(&mut self, method: &str, attempt: u8) -> Result<BegunExchange, AttestationError> {
        let (random, now) = (self.random(), self.now());
        let url = format!("{}/echo", self.behind.front_end.url());
        let headers = vec![("x-secret".to_owned(), b"the secret".to_vec())];
        let idempotent = self.idempotent;
        let request = RequestToSeal { method, url: &url, headers, repeatable: true, idempotent, attempt };
        self.client.seal(request, random, now)
    }

    async fn exchange(&mut self, method: &str, text: &str) -> Result<String, ExchangeFailed> {
        let now = self.now();
        let BegunExchange { url, headers, start, mut exchange, .. } = self.seal(method, 0).unwrap();
        let sealed = [start, exchange.content(text.as_bytes(), now).unwrap(), exchange.end(now).unwrap()].concat();
        let (status, content_type, body) = self.post(&url, &headers, sealed).await;
        if !MessageExchange::is_sealed(status, &content_type) {
            return Err(exchange.refuse(HostResponse::Received { status, content_type: &content_type, body: &body }));
        }
        let mut parts = Vec::new();
        for piece in body.chunks(100) {
            parts.extend(exchange.open(piece)?);
        }
        let (last, trailers) = exchange.finish()?;
        parts.extend(last);
        assert_eq!(trailers, []);
        assert!(matches!(parts.first(), Some(ResponsePart::Head { status: 200, .. })), "{parts:?}");
        let content = parts.into_iter().filter_map(|part| match part {
            ResponsePart::Content(bytes) => Some(bytes),
            ResponsePart::Head { .. } => None,
        });
        Ok(String::from_utf8(content.flatten().collect()).unwrap())
    }
}

fn client(url: impl AsRef<str>, policy: Policy) -> Result<MessageClient, AttestationError> {
    MessageClient::new(url.as_ref(), policy, Default::default(), Default::default())
}

#[tokio::test]
async fn a_host_attests_and_exchanges_messages() {
    let mut host = Host::start().await;
    assert_eq!(host.client.is_attested(host.now()), Ok(false));
    assert_eq!(host.seal("POST", 0).map(|_| ()), Err(AttestationError::AttestationExpired));
    host.attest().await.unwrap();
    assert_eq!(host.exchange("POST", "the secret").await.as_deref(), Ok("the secret"));
    assert_eq!(host.behind.front_end.count_seen("the secret"), 0);
    // The end of the attestation, which a clock that is set back does not move.
    let (began, end) = (host.now(), host.client.attestation().unwrap().expires_at());
    assert_eq!(host.client.is_attested(end), Ok(false));
    assert_eq!(host.client.is_attested(began), Ok(false));
    assert_eq!(host.seal("POST", 0).map(|_| ()), Err(AttestationError::AttestationExpired));
}

/// A response that is verified when the lifetime that counts from its challenge is over attests nothing, and refuses nothing.
#[tokio::test]
async fn an_attestation_that_comes_too_late_is_none() {
    let mut host = Host::start().await;
    let age = 60 * 60;
    host.needed().await.unwrap();
    host.behind.lab.blindbox.clock().advance(age);
    let now = host.now();
    let late = host.client.attest(FetchedDocuments::default(), now).map(|_| ());
    assert_eq!(late, Err(AttestationError::AttestationExpired));
    assert_eq!(host.client.is_attested(now), Ok(false));
    // One that comes in time ends when its lifetime is over since the challenge.
    let asked_at = host.now();
    host.needed().await.unwrap();
    host.behind.lab.blindbox.clock().advance(age / 2);
    let now = host.now();
    let attested = host.client.attest(FetchedDocuments::default(), now).unwrap();
    assert_eq!(attested.expires_at(), asked_at.plus(age));
}

#[tokio::test]
async fn a_refusal_ends_a_client_until_another_attestation() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    let BegunExchange { mut exchange, .. } = host.seal("POST", 0).unwrap();
    host.behind.lab.blindbox.set(Knob::Debug);
    let error = host.attest().await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error}");
    let poisoned = AttestationError::SessionPoisoned { cause: "debug-mode" };
    assert_eq!(host.client.is_attested(host.now()), Err(poisoned.clone()));
    assert_eq!(host.seal("POST", 0).map(|_| ()), Err(poisoned.clone()));
    assert_eq!(exchange.content(b"more", host.now()), Err(poisoned.clone()));
    assert_eq!(exchange.end(host.now()), Err(poisoned.clone()));
    let failed = exchange.open(&[0; 64]).unwrap_err();
    assert_eq!(failed.error, AttestationError::RequestInterrupted { reason: Box::new(poisoned) });
    assert_eq!(failed.again_after_ms, None);
    host.behind.lab.blindbox.reset();
    host.attest().await.unwrap();
    assert_eq!(host.exchange("POST", "again").await.as_deref(), Ok("again"));
    // What was begun before the refusal stays refused.
    assert_eq!(exchange.content(b"more", host.now()).map_err(|error| error.code()), Err("session-poisoned"));
    assert_eq!(exchange.open(&[0; 64]).unwrap_err().error.code(), "session-poisoned");
}

/// Evidence that is refused before it is verified is refused as well: what the client was sealed to may no longer be what it was.
#[tokio::test]
async fn a_response_that_is_refused_ends_a_client() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    let BegunExchange { mut exchange, .. } = host.seal("POST", 0).unwrap();
    host.behind.lab.blindbox.set(Knob::RefuseMessageForm);
    let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed };
    assert_eq!(host.needed().await.unwrap_err(), not_named);
    let poisoned = AttestationError::SessionPoisoned { cause: "channel-not-bound" };
    assert_eq!(host.client.is_attested(host.now()), Err(poisoned.clone()));
    assert!(host.client.attestation().is_none());
    assert_eq!(host.seal("POST", 0).map(|_| ()), Err(poisoned.clone()));
    assert_eq!(exchange.content(b"more", host.now()), Err(poisoned));
    host.behind.lab.blindbox.reset();
    host.attest().await.unwrap();
    assert_eq!(host.exchange("POST", "again").await.as_deref(), Ok("again"));
    // What is no verdict refuses nothing.
    host.behind.lab.blindbox.fail("/attest/maa", Fault::status(500));
    assert_eq!(host.needed().await.unwrap_err().code(), "agent-unreachable");
    assert_eq!(host.client.is_attested(host.now()), Ok(true));
    assert_eq!(host.exchange("POST", "still").await.as_deref(), Ok("still"));
}

#[tokio::test]
async fn a_message_key_that_nothing_can_be_sealed_to_is_refused_in_a_host_too() {
    let mut host = Host::start().await;
    for (knob, error) in super::unusable_keys() {
        host.behind.lab.blindbox.reset();
        host.behind.lab.blindbox.set(knob);
        assert_eq!(host.attest().await.unwrap_err(), error);
        let poisoned = AttestationError::SessionPoisoned { cause: "invalid-agent-answer" };
        assert_eq!(host.client.is_attested(host.now()), Err(poisoned));
    }
}

/// One response that does not begin: after 1,023 further requests the host attests again, and the first one goes on.
#[tokio::test]
async fn a_slow_request_makes_a_host_attest_for_others() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    let BegunExchange { mut exchange, .. } = host.seal("POST", 0).unwrap();
    for _ in 1..1_024 {
        assert_eq!(host.client.is_attested(host.now()), Ok(true));
        drop(host.seal("POST", 0).unwrap());
    }
    assert_eq!(host.client.is_attested(host.now()), Ok(false));
    let error = host.seal("POST", 0).map(|_| ()).unwrap_err();
    assert_eq!((error.code(), error.request_sent()), ("application-unreachable", false));
    host.attest().await.unwrap();
    assert_eq!(host.exchange("POST", "other").await.as_deref(), Ok("other"));
    exchange.content(b"more", host.now()).unwrap();
    exchange.end(host.now()).unwrap();
}

/// What was begun under an earlier attestation ends with a refusal too.
#[tokio::test]
async fn a_refusal_ends_what_was_begun_under_an_earlier_attestation() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    let BegunExchange { mut exchange, .. } = host.seal("POST", 0).unwrap();
    host.attest().await.unwrap();
    exchange.content(b"more", host.now()).unwrap();
    host.behind.lab.blindbox.set(Knob::Debug);
    assert_eq!(host.attest().await.unwrap_err().code(), "debug-mode");
    assert_eq!(exchange.end(host.now()).map_err(|error| error.code()), Err("session-poisoned"));
    assert_eq!(exchange.open(&[0; 64]).unwrap_err().error.code(), "session-poisoned");
}

/// A request whose content comes slowly: what was sealed before may have arrived.
#[tokio::test]
async fn a_request_ends_with_the_attestation_that_it_began_under() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    let end = host.client.attestation().unwrap().expires_at();
    let begun = host.now();
    let (random, url) = (host.random(), format!("{}/echo", host.behind.front_end.url()));
    let headers = Vec::new();
    let request =
        RequestToSeal { method: "POST", url: &url, headers, repeatable: false, idempotent: false, attempt: 0 };
    let BegunExchange { mut exchange, .. } = host.client.seal(request, random, begun).unwrap();
    exchange.content(b"in time", begun).unwrap();
    for at in [end, begun] {
        let error = exchange.content(b"late", at).unwrap_err();
        assert_eq!(
            error,
            AttestationError::RequestInterrupted { reason: Box::new(AttestationError::AttestationExpired) }
        );
        assert_eq!((error.code(), error.request_sent()), ("attestation-expired", true));
    }
    assert_eq!(exchange.end(begun).unwrap_err().code(), "attestation-expired");
    host.behind.lab.blindbox.clock().advance(end.as_secs() - begun.as_secs());
    host.attest().await.unwrap();
    assert_eq!(exchange.content(b"late", end).unwrap_err().code(), "attestation-expired");
}

#[tokio::test]
async fn a_name_that_was_not_validated_is_not_called_validated() {
    let mut host = Host::start().await;
    let lab = &host.behind.lab;
    host.behind.front_end =
        FrontEnd::builder().host("front.example").start(std::slice::from_ref(&lab.blindbox)).await.unwrap();
    let url = host.behind.front_end.url();
    let named = url.parse::<url::Url>().unwrap();
    let address = ([127, 0, 0, 1], named.port().unwrap()).into();
    let root = reqwest::Certificate::from_pem(lab.blindbox.tls_root_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().resolve("front.example", address);
    host.http = http.build().unwrap();
    let by_address = format!("https://127.0.0.1:{}", named.port().unwrap());
    let unknown = client(&url, host.behind.policy()).unwrap().with_unknown_name_validation();
    for (client, is_validated) in [
        (client(&url, host.behind.policy()).unwrap(), true),
        (client(by_address, host.behind.policy()).unwrap(), false),
        (unknown, false),
    ] {
        host.client = client;
        host.attest().await.unwrap();
        let appraisal = host.client.attestation().unwrap().appraisal();
        let check = appraisal.check("server name").unwrap();
        assert_eq!(check.verdict == Verdict::Passed, is_validated, "{check:?}");
        assert_eq!(check.actual == "validated (front end)", is_validated, "{check:?}");
    }
}

/// What may be sealed again, and after how long.
#[tokio::test]
async fn only_what_was_not_processed_or_is_idempotent_is_sealed_again() {
    let mut host = Host::start().await;
    host.attest().await.unwrap();
    for (knob, method, idempotent, again) in [
        (FrontEndKnob::ReportUnknownKey, "POST", false, None),
        (FrontEndKnob::ReportUnknownKey, "POST", true, Some(0)),
        (FrontEndKnob::ReportUnknownKey, "OPTIONS", false, Some(0)),
        (FrontEndKnob::RepeatRequest, "POST", false, None),
        (FrontEndKnob::RepeatRequest, "POST", true, Some(0)),
        (FrontEndKnob::RepeatRequest, "OPTIONS", false, Some(0)),
        (FrontEndKnob::ResponseWithoutFinalChunk, "OPTIONS", true, None),
        (FrontEndKnob::ForgeResponse(503), "OPTIONS", true, None),
    ] {
        host.idempotent = idempotent;
        host.behind.front_end.set(knob.clone());
        let failed = host.exchange(method, "").await.unwrap_err();
        assert_eq!((failed.error.code(), failed.error.request_sent()), ("application-unreachable", true), "{knob:?}");
        assert_eq!(failed.again_after_ms, again, "{knob:?} {method} {idempotent}");
        host.behind.front_end.reset();
        host.attest().await.unwrap();
    }
    host.idempotent = false;
    host.behind.lab.blindbox.set(Knob::DeclineMessages);
    let declined = host.exchange("POST", "").await.unwrap_err();
    assert_eq!((declined.error.request_sent(), declined.again_after_ms), (false, Some(100)));
    // The third attempt is the last.
    for (attempt, again) in [(1, Some(200)), (2, None)] {
        let BegunExchange { url, headers, start, mut exchange, .. } = host.seal("POST", attempt).unwrap();
        let sealed = [start, exchange.end(host.now()).unwrap()].concat();
        let (_, _, body) = host.post(&url, &headers, sealed).await;
        exchange.open(&body).unwrap();
        assert_eq!(exchange.finish().unwrap_err().again_after_ms, again);
    }
}

#[tokio::test]
async fn steps_out_of_order_and_bad_random_bytes_are_refused() {
    let mut host = Host::start().await;
    let misconfigured = |error: AttestationError| assert_eq!(error.code(), "misconfigured", "{error}");
    let now = host.now();
    misconfigured(host.client.attest(FetchedDocuments::default(), now).map(|_| ()).unwrap_err());
    let response = HostResponse::Received { status: 200, content_type: "application/json", body: b"{}" };
    misconfigured(host.client.evidence(response, None, KeySetSource::Given).unwrap_err());
    for len in [0, HOST_RANDOM_LEN - 1, HOST_RANDOM_LEN + 1] {
        let random = (0..len).map(|at| u8::try_from(at).unwrap()).collect();
        misconfigured(host.client.begin(Zeroizing::new(random), now).unwrap_err());
    }
    misconfigured(host.client.begin(Zeroizing::new(vec![7; HOST_RANDOM_LEN]), now).unwrap_err());
    host.attest().await.unwrap();
    host.drawn -= 1;
    misconfigured(host.seal("POST", 0).map(|_| ()).unwrap_err());
    let plain = host.behind.front_end.url().replace("https", "http");
    assert_eq!(client(plain, host.behind.policy()).unwrap_err().code(), "channel-not-allowed");
    // The policy decides on the form before the first byte.
    let mut other = client(host.behind.front_end.url(), host.behind.lab.policy()).unwrap();
    let random = host.random();
    assert_eq!(other.begin(random, now).unwrap_err().code(), "channel-not-allowed");
}

#[test]
fn a_busy_agent_is_asked_again_as_the_native_client_does() {
    let now = UnixTime::from_secs(1_791_505_600);
    let after = |status, retry_after, attempt, remaining_ms| {
        let busy = AgentBusy { status, retry_after, date: Some("Fri, 09 Oct 2026 00:26:40 GMT") };
        let wait = MessageClient::again_after(busy, attempt, Duration::from_millis(remaining_ms), now);
        wait.map(|wait| wait.as_millis())
    };
    for status in [429, 502, 503, 504] {
        assert_eq!([0, 1, 2].map(|attempt| after(status, None, attempt, 10_000)), [Some(200), Some(600), None]);
    }
    for status in [200, 302, 400, 403, 404, 500] {
        assert_eq!(after(status, Some("1"), 0, 10_000), None, "{status}");
    }
    assert_eq!(after(429, Some("1"), 0, 10_000), Some(1_000));
    assert_eq!(after(429, Some("Fri, 09 Oct 2026 00:26:43 GMT"), 1, 10_000), Some(3_000));
    // It does not shorten the wait, and is not obeyed if it is long.
    assert_eq!([after(429, Some("0"), 1, 10_000), after(429, Some("6"), 0, 10_000)], [Some(600), None]);
    // There is no time for another attempt.
    assert_eq!([after(503, None, 0, 200), after(503, None, 0, 201)], [None, Some(200)]);
}

/// A front end that claims again and again that a key is not known.
#[tokio::test]
async fn attestations_are_limited() {
    let mut host = Host::start().await;
    let now = host.now();
    // The first one is the caller's, and after a refusal the next one is.
    host.attest().await.unwrap();
    host.behind.lab.blindbox.set(Knob::Debug);
    host.attest().await.unwrap_err();
    host.behind.lab.blindbox.set(Knob::RuntimeData(b"{}".to_vec()));
    host.attest().await.unwrap_err();
    host.behind.lab.blindbox.reset();
    host.attest().await.unwrap();
    // What ends without a verdict uses up nothing.
    for _ in 0..31 {
        let random = host.random();
        host.client.begin(random, now).unwrap();
        let response = HostResponse::Failed { reason: "down" };
        let error = host.client.evidence(response, None, KeySetSource::Given).unwrap_err();
        assert_eq!(error.code(), "agent-unreachable");
    }
    for _ in 0..29 {
        host.attest().await.unwrap();
    }
    let (random, in_a_minute) = (host.random(), now.plus(59));
    assert_eq!(host.client.begin(random, in_a_minute).unwrap_err().code(), "too-many-unattested-peers");
    let random = host.random();
    host.client.begin(random, now.plus(60)).unwrap();
}
