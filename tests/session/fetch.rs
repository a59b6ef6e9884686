//! Fetching: how often, from whom, and what is made of failures that pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::lab::{Lab, hello, lasting, until};
use blindbox_attestation::AttestationError;
use blindbox_attestation::emulator::{Fault, KeyForm, KeySetKnob};
use blindbox_attestation::maa::TokenError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_key_set_is_kept_for_an_hour() {
    let lab = Lab::start().await;
    let (verifier, policy) = (lab.verifier(), lab.policy());
    for (seconds, fetches) in [(0, 1), (0, 1), (3599, 1), (1, 2), (0, 2)] {
        lab.blindbox.clock().advance(seconds);
        let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        assert_eq!(lab.maa.key_set_fetches(), fetches);
    }
    // Another verifier shares nothing.
    let _ = lab.connect().await.unwrap();
    assert_eq!(lab.maa.key_set_fetches(), 3);
}

#[tokio::test]
async fn an_unknown_key_id_is_looked_up_again_but_not_at_any_rate() {
    let lab = Lab::start().await;
    let (verifier, policy) = (lab.verifier(), lab.policy());
    let connect = || verifier.connect(lab.blindbox.url(), &policy);
    let _ = connect().await.unwrap();
    lab.maa.rotate_key();
    // Too soon after the last fetch for another, without which the new key is neither accepted nor refused.
    let error = connect().await.unwrap_err();
    let AttestationError::MaaUnreachable { issuer, reason, source } = &error else { panic!("{error:?}") };
    assert_eq!((issuer.as_str(), source.is_some(), error.is_retryable()), (lab.maa.issuer(), false, true));
    assert!(
        reason.starts_with("the token names the key \"") && reason.ends_with("fetched at most once in 10 s: try again"),
        "{reason}"
    );
    assert_eq!(lab.maa.key_set_fetches(), 1);
    lab.blindbox.clock().advance(10);
    let _ = connect().await.unwrap();
    assert_eq!(lab.maa.key_set_fetches(), 2);

    // The new set replaced the old one: a key that was taken back is gone with it.
    lab.maa.sign_with_unpublished_key();
    lab.blindbox.clock().advance(10);
    // Each set decides about the attestation for which it was fetched, and no number of them makes MAA send more.
    for fetches in [3, 4] {
        let error = connect().await.unwrap_err();
        assert!(matches!(error, AttestationError::InvalidToken(TokenError::UnknownKey { .. })), "{error:?}");
        for _ in 0..3 {
            assert_eq!(connect().await.unwrap_err().code(), "maa-unreachable");
        }
        assert_eq!(lab.maa.key_set_fetches(), fetches);
        lab.blindbox.clock().advance(10);
    }
}

#[tokio::test]
async fn key_sets_of_every_age_can_be_used() {
    for knob in [
        KeySetKnob::Form(KeyForm::CertificateOnly),
        KeySetKnob::Form(KeyForm::NumbersOnly),
        KeySetKnob::ChainOfThree,
        KeySetKnob::LargeCertificates,
        KeySetKnob::LegacyRsa1024,
    ] {
        let lab = Lab::start().await;
        lab.maa.set(knob.clone());
        let session = lab.connect().await;
        assert!(session.is_ok(), "{knob:?}: {session:?}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let lab = Lab::start().await;
    for fault in [Fault::status(503), Fault::status(502), Fault::too_many_requests(0), Fault::CloseEarly] {
        let before = lab.maa.key_set_fetches();
        lab.maa.fail_times(2, fault.clone());
        let _ = lab.connect().await.unwrap();
        assert_eq!(lab.maa.key_set_fetches() - before, 3, "{fault:?}");
    }
    for fault in [Fault::status(404), Fault::status(500), Fault::Gzip, Fault::too_many_requests(60)] {
        let before = lab.maa.key_set_fetches();
        lab.maa.fail_times(1, fault.clone());
        let error = lab.connect().await.unwrap_err();
        assert!(matches!(error, AttestationError::MaaUnreachable { .. }), "{error:?}");
        assert_eq!(lab.maa.key_set_fetches() - before, 1, "{fault:?}");
    }
    lab.maa.recover();

    // An agent that is busy, on the same connection.
    lab.blindbox.traffic().clear_requests();
    lab.blindbox.fail_times("/attest/", 2, Fault::status(503));
    let _ = lab.connect().await.unwrap();
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 3);

    // Retry-After is followed.
    lab.maa.fail_times(1, Fault::too_many_requests(1));
    let _ = lasting(Duration::from_secs(1), lab.connect()).await.unwrap();
}

#[tokio::test]
async fn the_key_set_is_fetched_while_the_agent_works() {
    let lab = Lab::start().await;
    // The agent does not come to an end: what is fetched all the same is fetched while it works.
    lab.blindbox.fail("/attest/", Fault::Hang);
    let (verifier, policy, url) = (lab.verifier(), lab.policy(), lab.blindbox.url().to_owned());
    let connecting = tokio::spawn(async move { verifier.connect(url, &policy).await });
    until("the key set is fetched", || lab.maa.key_set_fetches() == 1).await;
    until("the agent is asked", || lab.blindbox.traffic().count("/attest/maa") == 1).await;
    assert!(!connecting.is_finished());
    connecting.abort();
}

#[tokio::test]
async fn requests_for_collateral_carry_nothing_of_the_caller() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    session.get("/").header("authorization", "Bearer secret").send().await.unwrap();
    session.reattest().await.unwrap();
    for request in lab.maa.traffic().requests() {
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((request.path.as_str(), names.as_slice()), ("/certs", &["accept"][..]));
    }
    for request in lab.blindbox.traffic().requests().into_iter().filter(|request| request.for_agent) {
        assert_eq!(request.header("authorization"), None);
    }
}

/// A proxy of the kind that knows `CONNECT` only.
async fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, served) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                let mut server = tokio::net::TcpStream::connect(target).await?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                count.fetch_add(1, Ordering::SeqCst);
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (url, served)
}

#[tokio::test]
async fn a_proxy_is_used_if_set_and_tls_goes_through_it() {
    let lab = Lab::start().await;
    let (url, served) = proxy().await;
    let verifier = lab.builder().proxy(url).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
    // One tunnel to the application, one to MAA.
    assert_eq!(served.load(Ordering::SeqCst), 2);
}
