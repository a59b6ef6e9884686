//! Events of a connection: which are reported, at which level, and that none identifies a machine.

use std::collections::BTreeSet;

use blindbox_attestation::emulator::{Fault, FrontEnd, FrontEndKnob, HardwareKnob, Knob, Platform, Relay};
use blindbox_attestation::{AttestationError, Product, Trust, Workload};
use lab::{Lab, hello, noticed};
use tracing::Level;

use super::{Told, above, check_documented, event, events, field, lab, listen, text};

#[tokio::test]
async fn an_accepted_connection_is_told_step_by_step() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let ear = listen();
    let session = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap();
    let told = ear.take();
    check_documented(&told);

    let loud: Vec<_> = above(&told, Level::INFO);
    assert_eq!(events(&loud), ["attested"]);
    let attested = event(&told, "attested");
    assert_eq!(
        (field(attested, "outcome"), attested.within.as_slice()),
        ("accepted", ["connect", "attest"].as_slice())
    );
    assert!(field(attested, "duration_ms").parse::<f64>().unwrap() > 0.0);
    let spans: Vec<_> = loud.iter().filter(|told| told.is_span).map(|told| told.name.as_str()).collect();
    assert_eq!(spans, ["connect", "attest"]);
    assert_eq!(field(&loud[0], "origin"), lab.blindbox.url().trim_end_matches('/'));

    let steps: BTreeSet<_> = told.iter().filter(|told| told.name == "step").map(|told| field(told, "step")).collect();
    assert_eq!(steps, BTreeSet::from(["dial", "agent", "key-set", "certificates", "verify"]));
    for step in told.iter().filter(|told| told.name == "step") {
        assert_eq!(step.within.last(), Some(&field(step, "step")));
        assert_eq!(field(step, "outcome"), "ok");
    }
    let fetches: BTreeSet<_> = told
        .iter()
        .filter(|told| told.name == "fetch")
        .map(|told| (field(told, "what"), field(told, "source")))
        .collect();
    assert_eq!(fetches, BTreeSet::from([("key-set", "network"), ("vcek", "network"), ("crl", "network")]));
    let join = event(&told, "join");
    assert_eq!((field(join, "key"), field(join, "keys")), (lab.blindbox.tls_key().to_string().as_str(), "1"));
    assert_eq!(field(event(&told, "connect"), "outcome"), "ok");

    // Of the application's own requests nothing is reported.
    let request = session.post("/echo").query("q", "query-secret").header("x-token", "header-secret");
    let _ = request.body("body-secret").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(text(&ear.take()), "");
}

#[tokio::test]
async fn a_refused_connection_is_told_with_its_code() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    let ear = listen();
    let error = lab.refusal().await;
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["not attested"]);
    let refused = event(&told, "not attested");
    assert_eq!(refused.level, Level::WARN);
    assert_eq!(refused.within, ["connect", "attest"]);
    assert_eq!(field(refused, "outcome"), "debug-mode");
    assert_eq!(field(refused, "number"), error.number().to_string());
    assert_eq!((field(refused, "category"), field(refused, "retryable")), ("rejected", "false"));
    assert_eq!(field(event(&told, "reason"), "error"), error.to_string());
    assert_eq!(field(event(&told, "connect"), "outcome"), "debug-mode");
    assert_eq!(field(event(&told, "refuse"), "key"), lab.blindbox.tls_key().to_string());

    // No one there.
    lab.blindbox.stop().await;
    let error = lab.refusal().await;
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["no connection"]);
    assert_eq!(field(event(&told, "no connection"), "outcome"), error.code());
}

#[tokio::test]
async fn what_could_not_be_fetched_is_told_even_where_the_policy_goes_on_without() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.kds().fail("/", Fault::status(500));
    let policy = lab.hardware_policy(Trust::amd().allow_best_effort_revocation().unwrap());
    let ear = listen();
    let _ = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["not fetched", "attested"]);
    let missing = event(&told, "not fetched");
    assert_eq!((field(missing, "what"), field(missing, "outcome")), ("crl", "kds-unreachable"));
}

/// Nothing of evidence, machines, keys and tokens, in whole or in part.
/// The session was closed by evidence of a debug guest.
fn assert_closed(told: &[Told]) {
    assert_eq!(events(&above(told, Level::INFO)), ["not attested", "leave"]);
    let leave = event(told, "leave");
    assert_eq!((field(leave, "outcome"), field(leave, "keys"), field(leave, "poisoned")), ("debug-mode", "0", "true"));
}

fn assert_not_identifying(lab: &Lab, told: &[Told]) {
    let text = text(&above(told, Level::INFO)).to_lowercase();
    let mut secrets = vec![lab.blindbox.tls_key().to_string(), lab.blindbox.host_data().to_string()];
    if let Some(platform) = lab.blindbox.platform() {
        secrets.push(platform.chip_id().unwrap().to_string());
    }
    for secret in secrets {
        assert!(secret.len() >= 64, "{secret}");
        assert!(!text.contains(&secret[..8]), "{secret} in {text}");
    }
    assert!(!text.contains("eyj"), "a token in {text}");
    // Whatever else has digits: hexadecimal or base64 of any length.
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_number = digits == word.len();
        assert!(digits == 0 || is_number || word.len() < 12, "{word:?} in {text}");
    }
}

#[tokio::test]
async fn nothing_that_identifies_is_told_aloud() {
    let lab = Lab::on(&Platform::new(Product::Genoa)).await;
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let ear = listen();
    let mut all = Vec::new();
    for knob in [
        None,
        Some(Knob::Debug),
        Some(Knob::Hardware(HardwareKnob::CertificateOfAnotherChip)),
        Some(Knob::Hardware(HardwareKnob::NoCertificates)),
        Some(Knob::TokenOfAnotherReport),
        Some(Knob::claim("iss", "https://eyJ.example/0123456789abcdef")),
    ] {
        lab.blindbox.reset();
        if let Some(knob) = knob {
            lab.blindbox.set(knob);
        }
        let _ = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await;
        all.extend(ear.take());
    }
    lab.blindbox.reset();
    lab.blindbox
        .fail("/attest", Fault::Status { code: 403, retry_after: None, body: "{\"error\":\"eyJsecret\"}".into() });
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap_err();
    lab.blindbox.recover();
    let error = lab.verifier().connect(relay.url(), &lab.both_policy()).await.unwrap_err();
    assert!(matches!(error, AttestationError::ChannelMismatch { .. }));
    all.extend(ear.take());
    check_documented(&all);
    assert_not_identifying(&lab, &all);
    // Who asks for it at debug level gets it.
    let quiet = text(&all);
    assert!(quiet.contains(&lab.blindbox.tls_key().to_string()) && quiet.contains(&relay.tls_key().to_string()));
    assert!(quiet.contains("eyJsecret"));
    for level in [Level::INFO, Level::WARN] {
        assert!(all.iter().any(|told| told.level == level));
    }
}

#[tokio::test]
async fn renewal_and_leaving_are_told() {
    let lab = Lab::start().await;
    let ear = listen();
    let session = lab.connect().await.unwrap();
    ear.take();
    lab.blindbox.clock().advance(3000);
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(field(event(&told, "renew"), "outcome"), "accepted");
    assert_eq!(event(&told, "attested").within, ["renew", "attest"]);

    // The old attestation goes on where there is no verdict.
    lab.blindbox.clock().advance(3000);
    lab.blindbox.fail("/attest", Fault::status(500));
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(field(event(&told, "renew"), "outcome"), "agent-unreachable");
    assert_eq!(events(&above(&told, Level::INFO)), ["not attested"]);
    lab.blindbox.recover();

    // Nor where there is no connection: the one that the request opens is used.
    lab.blindbox.clock().advance(300);
    lab.blindbox.drop_connections().await;
    noticed().await;
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    let renewals = told.iter().filter(|told| told.name == "renew" && !told.is_span);
    let outcomes: Vec<_> = renewals.map(|renewal| field(renewal, "outcome")).collect();
    assert_eq!(outcomes, ["no-connection", "accepted"]);

    lab.blindbox.clock().advance(3600);
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!((field(event(&told, "expire"), "ended"), field(event(&told, "join"), "keys")), ("1", "1"));

    lab.blindbox.clock().advance(3000);
    lab.blindbox.set(Knob::Debug);
    hello(&session).await.unwrap_err();
    let told = ear.take();
    check_documented(&told);
    assert_closed(&told);
    assert_not_identifying(&lab, &told);
    // A poisoned session asks no one.
    hello(&session).await.unwrap_err();
    assert_eq!(text(&ear.take()), "");
}

/// Also where the instance was given up before: then no key is left that could be refused.
#[tokio::test]
async fn a_session_without_keys_that_closes_is_told() {
    let lab = Lab::start().await;
    let front_end = FrontEnd::builder().start([&lab.blindbox]).await.unwrap();
    let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
    let session = lab.verifier().connect(front_end.url(), &policy).await.unwrap();
    front_end.set(FrontEndKnob::ReportUnknownKey);
    session.post("/echo").body("x").send().await.unwrap_err();
    front_end.reset();
    lab.blindbox.set(Knob::Debug);
    let ear = listen();
    hello(&session).await.unwrap_err();
    let told = ear.take();
    check_documented(&told);
    assert_closed(&told);
    // Once: after that it asks for nothing until the caller does, and what is refused then closes nothing.
    session.reattest().await.unwrap_err();
    assert_eq!(events(&above(&ear.take(), Level::INFO)), ["not attested"]);
}

#[test]
fn the_library_writes_to_no_stream_and_installs_nothing() {
    fn check(directory: &std::path::Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("bin") {
                check(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                for line in code {
                    for word in ["print!(", "println!(", "dbg!(", "set_global", "install_default(", "set_hook("] {
                        assert!(!line.contains(word), "{}: {line}", path.display());
                    }
                }
            }
        }
    }
    check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}
