//! Key exchange groups of TLS: offered, and required.

use blindbox_attestation::emulator::{BlindBox, Kds, KeyExchange, Maa, Platform, Traffic};
use blindbox_attestation::{Product, Verdict, Violation};

use crate::lab::{Lab, hello};

#[tokio::test]
async fn a_post_quantum_key_exchange_can_be_required() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_post_quantum().unwrap();
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let check = session.attestation().appraisal().check("key exchange").unwrap().clone();
    assert_eq!((check.verdict, &*check.actual), (Verdict::Passed, "X25519MLKEM768"));
    assert!(session.attestation().to_string().contains("X25519MLKEM768"), "{}", session.attestation());

    let lab = Lab::with(|blindbox| blindbox.key_exchange(KeyExchange::Classical)).await;
    let error = lab.verifier().connect(lab.blindbox.url(), &lab.policy().require_post_quantum().unwrap()).await;
    let error = error.unwrap_err();
    assert_eq!(error.violation(), Some(&Violation::NotPostQuantum { actual: "X25519".to_owned() }));
    assert_eq!(error.appraisal().unwrap().check("key exchange").unwrap().verdict, Verdict::Failed);
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    // Without the requirement the group is shown.
    let session = lab.connect().await.unwrap();
    assert_eq!(session.attestation().appraisal().check("key exchange").unwrap().actual, "X25519");
}

#[tokio::test]
async fn key_exchange_is_x25519mlkem768_where_the_peer_has_it_and_x25519_where_not() {
    let platform = Platform::new(Product::Milan);
    for (groups, agreed) in [(KeyExchange::Any, "X25519MLKEM768"), (KeyExchange::Classical, "X25519")] {
        let maa = Maa::start().await.unwrap();
        let blindbox = BlindBox::builder(&maa).platform(&platform).key_exchange(groups).start().await.unwrap();
        let lab = Lab { maa, blindbox, kds: Some(Kds::start().await.unwrap()) };
        let session = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        let of = |traffic: &Traffic| traffic.connections().pop().unwrap().key_exchange;
        assert_eq!(of(lab.blindbox.traffic()).as_deref(), Some(agreed));
        // Key sets and AMD's lists come from servers that have it.
        assert_eq!(of(lab.maa.traffic()).as_deref(), Some("X25519MLKEM768"));
        assert_eq!(of(lab.kds().traffic()).as_deref(), Some("X25519MLKEM768"));
    }
}
