//! Every error of an attestation through MAA: made by a fault of the emulator, met through the public interface.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use crate::lab::{Lab, hello, interrupted, long_enough, noticed, unreachable_reason};
use AttestationError::*;
use blindbox_attestation::emulator::{
    AgentForm, Fault, Gate, KeySetKnob, Knob, Maa, OpenConnections, ServerCertificate, TokenFault, Transport,
};
use blindbox_attestation::maa::{KeySet, KeySetError, TokenError};
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, Category, ChannelNotAllowed, ChannelNotBound, ChipId, GuestIdentity,
    GuestPolicyBit, HostData, Issuer, KeyDigest, Measurement, NetworkError, Policy, SpkiDigest, Tcb, TcbMinima,
    TcbMinimum, Verdict, Violation,
};

type Change = fn(Policy) -> Policy;

/// A connection with another policy, to a peer with a knob turned.
async fn refused(lab: &Lab, knob: Knob, policy: Change) -> AttestationError {
    lab.blindbox.reset();
    lab.blindbox.set(knob);
    let error = lab.verifier().connect(lab.blindbox.url(), &policy(lab.policy())).await.unwrap_err();
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

fn same(policy: Policy) -> Policy {
    policy
}

macro_rules! assert_error {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
        error
    }};
}

/// The most severe violation is this one.
macro_rules! assert_rejected {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(error.violation(), Some($pattern) $(if $guard)?), "{error:?}");
        error
    }};
}

#[tokio::test]
async fn the_two_messages_of_old() {
    let lab = Lab::start().await;
    let error = refused(&lab, Knob::ComplianceStatus(Some("azure-signed-katacc-uvm".into())), same).await;
    assert_rejected!(&error, Violation::NonCompliantUvm { status: Some(status), .. } if status == "azure-signed-katacc-uvm");
    assert_eq!(
        error.to_string(),
        "attestation validation failed (non-compliant uvm): expected azure-compliant-uvm, found azure-signed-katacc-uvm"
    );
    let error = refused(&lab, Knob::Debug, same).await;
    assert_rejected!(&error, Violation::DebugMode);
    let message = error.to_string();
    let expected = "attestation validation failed (enclave is in debug mode): expected a guest policy without debugging, \
                    found debugging allowed";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn genuine_evidence_that_the_policy_does_not_accept() {
    let lab = Lab::start().await;
    let check = |error: AttestationError, code: &str| {
        assert_eq!((error.code(), error.category()), (code, Category::Rejected), "{error:?}");
        let appraisal = error.appraisal().expect("every check is listed");
        assert!(appraisal.checks().iter().any(|check| check.verdict == Verdict::Failed));
        assert!(!error.is_retryable());
    };
    let other = Measurement::new([7; 48]);
    let digest = KeyDigest::new([7; 48]);

    let error = assert_rejected!(refused(&lab, Knob::Debug, same).await, Violation::DebugMode);
    check(error, "debug-mode");
    let error = assert_rejected!(refused(&lab, Knob::MigrationAllowed, same).await, Violation::MigrationAllowed);
    check(error, "migration-allowed");
    let error = refused(&lab, Knob::ComplianceStatus(None), same).await;
    check(assert_rejected!(error, Violation::NonCompliantUvm { status: None, .. }), "non-compliant-uvm");
    let error = refused(&lab, Knob::HostData(HostData::new([7; 32])), same).await;
    let error = assert_rejected!(error, Violation::InvalidEnclaveCode { expected, actual, .. }
        if *expected == [lab.blindbox.host_data()] && *actual == HostData::new([7; 32]));
    check(error, "invalid-enclave-code");
    let error =
        refused(&lab, Knob::Vmpl(0), |policy| policy.require_measurements([Measurement::new([7; 48])]).unwrap());
    check(
        assert_rejected!(error.await, Violation::WrongMeasurement { expected, .. } if *expected == [other]),
        "wrong-measurement",
    );
    let error = refused(&lab, Knob::UvmIssuer("did:x509:0:sha256:x::eku:1".into()), same).await;
    check(assert_rejected!(error, Violation::WrongUvm { field: "issuer", .. }), "wrong-uvm");
    let error = refused(&lab, Knob::UvmFeed("ConfAKS-AMD-UVM".into()), same).await;
    check(assert_rejected!(error, Violation::WrongUvm { field: "feed", .. }), "wrong-uvm");
    let error = refused(&lab, Knob::UvmSvn(99), same).await;
    check(assert_rejected!(error, Violation::UvmTooOld { minimum: 100, actual: 99, .. }), "uvm-too-old");
    let error =
        refused(&lab, Knob::claim("x-ms-policy-hash", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), same).await;
    check(assert_rejected!(error, Violation::WrongMaaPolicy { .. }), "wrong-maa-policy");
    let error = assert_rejected!(refused(&lab, Knob::Vmpl(1), same).await, Violation::WrongVmpl { actual: 1, .. });
    check(error, "wrong-vmpl");
    let error = refused(&lab, Knob::Vmpl(0), |policy| policy.require_id_keys([KeyDigest::new([7; 48])]).unwrap()).await;
    check(
        assert_rejected!(error, Violation::WrongGuestIdentity { expected, .. } if *expected == digest.to_string()),
        "wrong-guest-identity",
    );
    let error = refused(&lab, Knob::ReportedTcb(Tcb::new(None, 4, 0, 23, 219)), |policy| {
        let mut minimum = TcbMinimum::default();
        minimum.snp = Some(24);
        policy.require_reported_tcb(TcbMinima::any(minimum)).unwrap()
    });
    let error = assert_rejected!(
        error.await,
        Violation::TcbTooOld { tcb: "reported", part: "snp", minimum: 24, actual: Some(23), .. }
    );
    check(error, "tcb-too-old");
    let error = refused(&lab, Knob::ReportGuestSvn(2), |policy| policy.require_report_guest_svn(3).unwrap()).await;
    check(assert_rejected!(error, Violation::GuestSvnTooOld { minimum: 3, actual: 2, .. }), "guest-svn-too-old");
    let error = refused(&lab, Knob::claim("x-ms-sevsnpvm-smt-allowed", true), |policy| {
        policy.require_guest_policy(GuestPolicyBit::Smt, BitRequirement::Clear).unwrap()
    });
    check(
        assert_rejected!(error.await, Violation::WrongGuestPolicy { bit: Some(GuestPolicyBit::Smt), .. }),
        "wrong-guest-policy",
    );
    let error = refused(&lab, Knob::Vmpl(0), |policy| policy.require_chip_ids([ChipId::new([7; 64])]).unwrap()).await;
    check(assert_rejected!(error, Violation::WrongChip { field: "chip id", .. }), "wrong-chip");
    let error = refused(&lab, Knob::without_claim("x-ms-sevsnpvm-chipid"), |policy| {
        policy.require_chip_ids([ChipId::new([7; 64])]).unwrap()
    });
    check(assert_rejected!(error.await, Violation::NotReported { .. }), "not-reported");
    let error = refused(&lab, Knob::Token(TokenFault::IssuedAgo(30)), |policy| {
        policy.require_max_token_age(Duration::from_secs(10)).unwrap()
    });
    check(assert_rejected!(error.await, Violation::TokenTooOld { .. }), "token-too-old");

    lab.blindbox.reset();
    let policy = Policy::confidential_vm(lab.trust(), GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let policy = policy.require_compliance_status(["azure-compliant-uvm"]).unwrap();
    let error = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
    check(assert_rejected!(error, Violation::WrongTeeKind { .. }), "wrong-tee-kind");
}

#[tokio::test]
async fn several_violations_are_all_listed_and_the_gravest_is_the_error() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::UvmSvn(3));
    lab.blindbox.set(Knob::Debug);
    let error = assert_rejected!(lab.refusal().await, Violation::DebugMode);
    let failed = error.appraisal().unwrap().checks().iter().filter(|check| check.verdict == Verdict::Failed);
    assert_eq!(failed.count(), 2);
}

#[tokio::test]
async fn evidence_that_is_not_genuine_or_not_about_this_peer() {
    let lab = Lab::start().await;
    let foreign = SpkiDigest::new([7; 32]);
    let token = |fault| refused(&lab, Knob::Token(fault), same);

    assert_error!(token(TokenFault::Sgx).await, NotAnEnclave { attestation_type } if attestation_type == "sgx");
    let issuer = "https://sharedeus.eus.attest.azure.net";
    let error = assert_error!(token(TokenFault::Issuer(issuer.to_owned())).await, WrongAttester { .. });
    assert_eq!(error, WrongAttester { expected: lab.blindbox.maa_issuer(), actual: issuer.to_owned() });
    let error = refused(&lab, Knob::ForeignKey(foreign), same).await;
    assert_eq!(error, ChannelMismatch { attested: foreign, connected: lab.blindbox.tls_key() });
    for knob in [Knob::AnswerInLegacyForm, Knob::RefuseBoundForm] {
        let error = refused(&lab, knob, same).await;
        assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer });
    }
    for knob in [Knob::OldNonce, Knob::RuntimeData(b"{}".to_vec()), Knob::RuntimeDataInAnswer(b"{}".to_vec())] {
        assert_error!(refused(&lab, knob, same).await, FalseAttestationReport { what: "runtime data", .. });
    }
    let changed = Knob::claim("x-ms-runtime/nonce", "00");
    assert_error!(refused(&lab, changed, same).await, FalseAttestationReport { what: "x-ms-runtime", .. });
    let changed = Knob::claim("x-ms-sevsnpvm-reportdata", "00".repeat(64));
    assert_error!(refused(&lab, changed, same).await, FalseAttestationReport { what: "report data", .. });
    assert_error!(token(TokenFault::IssuedAgo(120)).await, FalseAttestationReport { what: "a token issued after", .. });
    let error = refused(&lab, Knob::UvmMeasurement(Measurement::new([7; 48])), same).await;
    assert_error!(error, EvidenceMismatch { field: "launch measurement", .. });

    let invalid = [
        (TokenFault::Expired, "expired"),
        (TokenFault::NotYetValid, "not valid before"),
        (TokenFault::IssuedInTheFuture, "compare the clocks"),
        (TokenFault::ForeignKey, "signature"),
        (TokenFault::BadSignature, "signature"),
        (TokenFault::TamperedClaims, "signature"),
        (TokenFault::AlgNone, "algorithm"),
        (TokenFault::Hs256, "algorithm"),
        (TokenFault::NotAToken("x".to_owned()), "three parts"),
    ];
    for (fault, word) in invalid {
        let error = assert_error!(token(fault).await, InvalidToken(_));
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_error!(token(TokenFault::UnknownKid).await, InvalidToken(TokenError::UnknownKey { .. }));

    lab.blindbox.reset();
    lab.maa.set(KeySetKnob::NoKeys);
    assert_eq!(lab.refusal().await, InvalidKeySet(KeySetError::NoUsableKey { entries: 0 }));
    let lab = Lab::start().await;
    lab.maa.set(KeySetKnob::Text("[]".to_owned()));
    assert_eq!(lab.refusal().await, InvalidKeySet(KeySetError::Malformed));
}

#[tokio::test]
async fn an_attester_of_another_name_is_refused_although_its_signature_is_good() {
    let lab = Lab::start().await;
    let other = Maa::start().await.unwrap();
    lab.blindbox.attest_with(&other);
    let error = lab.refusal().await;
    // Its key is not in the key set of the instance that the policy names.
    assert_error!(error, InvalidToken(TokenError::UnknownKey { .. }));
    let pinned = KeySet::from_json(other.key_set().as_bytes()).unwrap();
    let verifier = lab.builder().pin_key_set(pinned).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    let expected = Issuer::new(lab.maa.issuer()).unwrap();
    assert_eq!(error, WrongAttester { expected, actual: other.issuer().to_owned() });
}

#[tokio::test]
async fn answers_that_are_none() {
    let lab = Lab::start().await;
    let faults = [
        (Fault::TrailingJson, "one JSON object"),
        (Fault::DuplicateMember, "twice"),
        (Fault::MalformedJson, "one JSON object"),
        (Fault::Body("[]".to_owned()), "a JSON object, found an array"),
        (Fault::Body("{}".to_owned()), "\"token\", found none"),
        (Fault::Body(r#"{"token":null}"#.to_owned()), "found null"),
        (Fault::Body(r#"{"token":"x","runtime_data":"%"}"#.to_owned()), "base64"),
        (Fault::ContentType("text/html".to_owned()), "application/json"),
        (Fault::ContentType(String::new()), "application/json"),
        (Fault::Redirect("https://evil.example/".to_owned()), "redirect"),
        (Fault::Gzip, "compressed"),
        (Fault::status(204), "status 200"),
    ];
    for (fault, word) in faults {
        lab.blindbox.fail("/attest/", fault.clone());
        let error = assert_error!(lab.refusal().await, InvalidAgentAnswer { .. });
        assert!(error.to_string().contains(word), "{fault:?}: {error}");
        lab.blindbox.recover();
    }
}

#[tokio::test]
async fn no_token_to_give() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::NoToken);
    assert_error!(lab.refusal().await, MaaTokenNotFound { status: 404, .. });
    lab.blindbox.reset();
    for (fault, said) in [
        (Fault::forbidden(), "attestation is not available"),
        // As BlindBox's agent was first released: two objects in a row, shown as they are.
        (Fault::forbidden_twice(), r#"{"error":"attestation is not available"}{"token":""}"#),
        (
            Fault::Status {
                code: 403,
                retry_after: None,
                body: format!("{{\"error\":\"\\u001b[31m{}\"}}", "x".repeat(5000)),
            },
            "\u{5c}u{1b}[31mxxx",
        ),
    ] {
        lab.blindbox.fail("/attest/", fault);
        let error = assert_error!(lab.refusal().await, MaaTokenNotFound { status: 403, .. });
        let MaaTokenNotFound { message, .. } = &error else { unreachable!() };
        assert!(message.starts_with(said) && message.len() < 300 && !message.contains('\u{1b}'), "{message}");
        lab.blindbox.recover();
    }
}

#[tokio::test]
async fn no_one_there() {
    let lab = Lab::start().await;
    for fault in
        [Fault::status(500), Fault::status(503), Fault::too_many_requests(3600), Fault::CloseEarly, Fault::Truncated]
    {
        lab.blindbox.fail("/attest/", fault);
        let error = assert_error!(lab.refusal().await, AgentUnreachable { .. });
        assert!(error.is_retryable());
        lab.blindbox.recover();
    }
    let verifier = lab.builder().agent("https://127.0.0.1:1").build().unwrap();
    assert_error!(verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err(), AgentUnreachable { .. });

    for fault in [
        Fault::status(500),
        Fault::status(404),
        Fault::too_many_requests(3600),
        Fault::CloseEarly,
        Fault::Redirect("https://evil.example/".to_owned()),
        Fault::ContentType("text/html".to_owned()),
        Fault::Gzip,
    ] {
        lab.maa.fail(fault);
        let issuer = lab.blindbox.maa_issuer();
        assert_error!(lab.refusal().await, MaaUnreachable { issuer: named, .. } if *named == issuer);
        lab.maa.recover();
    }
    lab.maa.stop().await;
    assert_error!(lab.refusal().await, MaaUnreachable { .. });
    lab.maa.restart().await.unwrap();

    lab.blindbox.stop().await;
    let error = assert_error!(lab.refusal().await, ApplicationUnreachable { .. });
    assert_eq!(unreachable_reason(&error), format!("{}: connection refused", lab.blindbox.url()));
}

/// The errors among the causes of an error, outermost first.
fn causes(error: &AttestationError) -> Vec<String> {
    let (mut causes, mut next) = (Vec::new(), error.source());
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

#[tokio::test]
async fn the_cause_of_an_unreachable_service_is_in_the_chain_of_sources() {
    let lab = Lab::start().await;
    let refused = |error: &AttestationError| {
        let network = error.source().and_then(|source| source.downcast_ref::<NetworkError>());
        assert_eq!(network.and_then(NetworkError::io).map(std::io::Error::kind), Some(ErrorKind::ConnectionRefused));
        // Stated once: the message of the error itself is not repeated as its cause.
        assert!(!causes(error).contains(&error.to_string()), "{error:?}");
    };
    let verifier = lab.builder().agent("https://127.0.0.1:1").build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    refused(&assert_error!(error, AgentUnreachable { .. }));
    lab.maa.stop().await;
    refused(&assert_error!(lab.refusal().await, MaaUnreachable { .. }));
    lab.maa.restart().await.unwrap();
    lab.blindbox.stop().await;
    refused(&assert_error!(lab.refusal().await, ApplicationUnreachable { .. }));
}

/// Paths of the KDS contain the chip id, which no log should have.
#[tokio::test]
async fn no_cause_contains_the_url_of_the_collateral() {
    let lab = Lab::start().await;
    lab.maa.stop().await;
    let error = assert_error!(lab.refusal().await, MaaUnreachable { .. });
    let causes = causes(&error);
    assert!(!causes.is_empty() && causes.iter().all(|cause| !cause.contains("http")), "{causes:?}");
}

#[tokio::test]
async fn an_agent_without_a_token_is_reported_with_the_instance() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::NoToken);
    let message = lab.refusal().await.to_string();
    let expected =
        format!("the attestation agent provided no MAA token of {} (status 404): ", lab.blindbox.maa_issuer());
    assert!(message.starts_with(&expected), "{message}");
}

#[tokio::test]
async fn collateral_comes_from_servers_with_a_name_only() {
    let lab = Lab::start().await;
    // Roots of the application do not vouch for MAA.
    let verifier = lab.builder().collateral_roots(lab.blindbox.tls_root_pem()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    let MaaUnreachable { issuer, reason, source } = &error else { panic!("{error:?}") };
    assert_eq!(
        (issuer, reason.as_str()),
        (&lab.blindbox.maa_issuer(), "no trusted authority vouches for its certificate")
    );
    assert!(source.is_some(), "{error:?}");
}

#[tokio::test]
async fn too_slow() {
    let lab = Lab::start().await;
    let ends_in = async |what: &'static str, url: &str| {
        long_enough(async |after| {
            let verifier = lab.builder().deadline(after).build().unwrap();
            let error = verifier.connect(url, &lab.policy()).await.unwrap_err();
            assert!(matches!(error, Timeout { after: reported, .. } if reported == after), "{error:?}");
            error == Timeout { what, after }
        })
        .await;
    };
    let url = lab.blindbox.url();
    for fault in [Fault::Hang, Fault::Drip(Duration::from_millis(5)), Fault::Held(Gate::closed())] {
        lab.blindbox.fail("/attest/", fault.clone());
        ends_in("waiting for the attestation agent", &url).await;
        lab.blindbox.recover();
        lab.maa.fail(fault.clone());
        ends_in("fetching the key set of the MAA instance", &url).await;
        lab.maa.recover();
    }
    // A peer accepts the connection, and that is all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    ends_in("opening a connection", &format!("https://{}", silent.local_addr().unwrap())).await;
}

#[tokio::test]
async fn too_large() {
    let lab = Lab::start().await;
    for fault in [Fault::Oversized(300 << 10), Fault::OversizedAnnounced(300 << 10), Fault::Oversized(100 << 20)] {
        lab.blindbox.fail("/attest/", fault);
        let error = lab.refusal().await;
        assert_eq!(error, TooLarge { what: "the response of the attestation agent", limit: 256 << 10 });
        lab.blindbox.recover();
    }
    for fault in [Fault::Oversized(3 << 20), Fault::OversizedAnnounced(100 << 20)] {
        lab.maa.fail(fault);
        assert_eq!(lab.refusal().await, TooLarge { what: "the key set of the MAA instance", limit: 512 << 10 });
        lab.maa.recover();
    }
}

#[tokio::test]
async fn names_that_cannot_be_validated() {
    use ServerCertificate::*;
    for (certificate, word) in [
        (SelfSigned, "vouches"),
        (UnknownAuthority, "vouches"),
        (WrongName, "another name"),
        (Expired, "expired"),
        (NotYetValid, "not valid yet"),
    ] {
        let lab = Lab::with(|blindbox| blindbox.name("my-app.example").certificate(certificate)).await;
        let verifier = lab.builder().resolve("my-app.example", lab.blindbox.address()).build().unwrap();
        let url = format!("https://my-app.example:{}", lab.blindbox.address().port());
        let error = verifier.connect(&url, &lab.policy()).await.unwrap_err();
        let error = assert_error!(error, ServerNameNotValidated { .. });
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(lab.blindbox.traffic().requests(), []);
    }
}

#[tokio::test]
async fn an_older_tls_does_not_do() {
    let lab = Lab::with(|blindbox| blindbox.transport(Transport::Tls12)).await;
    let error = assert_error!(lab.refusal().await, ApplicationUnreachable { .. });
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_refusal_at_renewal_closes_the_session() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    lab.blindbox.set(Knob::Debug);
    assert_rejected!(session.reattest().await.unwrap_err(), Violation::DebugMode);
    let poisoned = SessionPoisoned { cause: "debug-mode" };
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    assert_eq!(lab.blindbox.traffic().count("/"), 1);
    lab.blindbox.reset();
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn a_new_key_each_time_ends_somewhere() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.set(Knob::Debug);
    lab.blindbox.drop_connections();
    noticed().await;
    let mut asked = 0;
    let error = loop {
        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        match hello(&session).await.unwrap_err() {
            error if error.violation() == Some(&Violation::DebugMode) => asked += 1,
            error => break error,
        }
    };
    assert_error!(error, TooManyUnattestedPeers { .. });
    assert_eq!(asked, 120);
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    long_enough(async |after| {
        let error = session.get("/slow?ms=600000").timeout(after).send().await.unwrap_err();
        error == interrupted(Timeout { what: "the request", after })
    })
    .await;

    // The attestation ends while the response is awaited.
    let gate = Gate::closed();
    lab.blindbox.fail_times("/echo", 1, Fault::Held(gate.clone()));
    let waiting = tokio::spawn(session.get("/echo").send());
    gate.arrived(1).await;
    lab.blindbox.clock().advance(3600);
    assert_eq!(waiting.await.unwrap().unwrap_err(), interrupted(AttestationExpired));
    // The next request has it made again.
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn urls_and_settings_that_cannot_be_used() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let plain = lab.blindbox.url().replace("https:", "http:");
    for url in [
        "",
        "my-app.example",
        "ftp://my-app.example",
        "https://user@my-app.example",
        "https://my-app.example/?x",
        &plain,
    ] {
        assert_error!(verifier.connect(url, &lab.policy()).await.unwrap_err(), InvalidUrl { .. });
    }
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    assert_error!(lab.builder().proxy("https://proxy.example").build().unwrap_err(), Misconfigured { .. });
    assert_error!(lab.builder().collateral_roots("nothing").build().unwrap_err(), Misconfigured { .. });
    assert_error!(lab.builder().extra_application_roots("").build().unwrap_err(), Misconfigured { .. });
    assert_error!(lab.builder().agent("my-app.example:8080").build().unwrap_err(), InvalidUrl { .. });
    let verifier = lab.builder().agent("http://127.0.0.1:8080").build().unwrap();
    assert_error!(verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err(), Misconfigured { .. });
}

#[tokio::test]
async fn requests_that_cannot_be_sent() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let mut requests = vec![session.get("//evil.example"), session.get("https://evil.example/"), session.get("/../x")];
    for name in [
        "Host",
        "connection",
        "Upgrade",
        "Proxy-Authorization",
        "transfer-encoding",
        "Content-Length",
        "TE",
        "trailer",
        "Expect",
        "keep-alive",
        ":authority",
        "a b",
        "",
    ] {
        requests.push(session.get("/").header(name, "x"));
    }
    requests.push(session.get("/").header("x-a", "b\r\nHost: evil.example"));
    requests.push(session.request(http::Method::CONNECT, "/"));
    requests.push(session.request(http::Method::TRACE, "/"));
    requests.push(session.post("/").json(&std::collections::HashMap::from([((1, 2), 3)])));
    for request in requests {
        let shown = format!("{request:?}");
        let error = request.send().await.unwrap_err();
        assert!(matches!(error, InvalidRequest { .. }), "{shown}: {error:?}");
    }
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
}

#[tokio::test]
async fn a_workload_that_does_not_bind() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy)).await;
    let error = lab.verifier().connect(lab.blindbox.url(), &lab.unbound_policy()).await.unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    assert_eq!(lab.refusal().await, AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer });
}
