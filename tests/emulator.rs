//! The emulator does what its knobs say, seen by a plain HTTP client and verified with plain cryptography.
#![cfg(feature = "emulator")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::emulator::*;
use blindbox_attestation::{Measurement, ReportData, SpkiDigest, TokenShape, UnixTime};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Version};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const NONCE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn builder(root_pem: &str) -> ClientBuilder {
    Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(root_pem.as_bytes()).unwrap()])
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(Duration::from_secs(20))
}

fn client(root_pem: &str) -> Client {
    builder(root_pem).build().unwrap()
}

async fn post(client: &Client, url: String, body: Value) -> Response {
    client.post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn bound_request(blindbox: &BlindBox) -> Value {
    json!({ "maa_endpoint": blindbox.maa_issuer().authority(), "nonce": NONCE })
}

/// One attestation in the bound form on a connection of its own.
async fn attest(blindbox: &BlindBox) -> Value {
    let client = client(&blindbox.tls_root_pem());
    let response = post(&client, blindbox.agent_url() + "/attest/maa", bound_request(blindbox)).await;
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await
}

async fn claims_of(blindbox: &BlindBox) -> Value {
    payload(attest(blindbox).await["token"].as_str().unwrap())
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn payload(token: &str) -> Value {
    part(token, 1)
}

fn runtime_data(answer: &Value) -> String {
    String::from_utf8(STANDARD.decode(answer["runtime_data"].as_str().unwrap()).unwrap()).unwrap()
}

fn bound_text(nonce: &str, key: SpkiDigest) -> String {
    format!(r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{key}"}}"#)
}

fn sha256_hex(data: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data))
}

/// RS256 with the key of the same `kid`: from `n` and `e`, else from the certificate.
fn verifies(token: &str, key_set: &str) -> bool {
    let key_set: Value = serde_json::from_str(key_set).unwrap();
    let kid = part(token, 0)["kid"].clone();
    let Some(key) = key_set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid) else { return false };
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let decode = |name: &str| key[name].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    if let (Some(n), Some(e)) = (decode("n"), decode("e")) {
        let key = RsaPublicKeyComponents { n, e };
        return key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).is_ok();
    }
    let der = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let spki = &certificate.public_key().subject_public_key.data;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki);
    key.verify(input.as_bytes(), &signature).is_ok()
}

async fn pair() -> (Maa, BlindBox) {
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).start().await.unwrap();
    (maa, blindbox)
}

#[tokio::test]
async fn a_blindbox_serves_and_is_attested_for_the_key_of_the_connection() {
    let (maa, blindbox) = pair().await;
    let client = client(&blindbox.tls_root_pem());
    let hello = client.get(blindbox.url()).send().await.unwrap();
    assert_eq!((hello.status(), hello.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(hello.text().await.unwrap(), "hello from a BlindBox");
    let answer = post(&client, blindbox.url() + "/generate", json!({ "prompt": "hi" })).await;
    assert_eq!(json_of(answer).await, json!({ "text": "an answer to: hi" }));
    let status = client.get(blindbox.url() + "/status").send().await.unwrap();
    assert_eq!(json_of(status).await, json!({ "message": "Status OK" }));

    let answer = attest(&blindbox).await;
    let expected = bound_text(NONCE, blindbox.tls_key());
    assert_eq!(runtime_data(&answer), expected);
    let token = answer["token"].as_str().unwrap();
    let maa_client = self::client(&maa.tls_root_pem());
    let key_set = maa_client.get(format!("{}/certs", maa.issuer())).send().await.unwrap().text().await.unwrap();
    assert!(verifies(token, &key_set));
    assert_eq!(maa.key_set_fetches(), 1);
    let header = part(token, 0);
    let jku = format!("{}/certs", maa.issuer());
    assert_eq!(header, json!({ "alg": "RS256", "jku": jku, "kid": maa.kid(), "typ": "JWT" }));
    let claims = payload(token);
    assert_eq!(claims["iss"], maa.issuer());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), TOKEN_LIFETIME);
    assert_eq!(claims["x-ms-sevsnpvm-hostdata"], blindbox.host_data().to_string());
    assert_eq!(claims["x-ms-sevsnpvm-launchmeasurement"], blindbox.measurement().to_string());
    assert_eq!(claims["x-ms-runtime"], serde_json::from_str::<Value>(&expected).unwrap());
    let report_data = sha256_hex(expected.as_bytes()) + &"0".repeat(64);
    assert_eq!(claims["x-ms-sevsnpvm-reportdata"], report_data);
    assert_eq!(sha256_hex(&STANDARD.decode(blindbox.cce_policy()).unwrap()), blindbox.host_data().to_string());

    let traffic = blindbox.traffic();
    assert_eq!((traffic.count("/"), traffic.count("/attest/maa"), traffic.application_requests()), (1, 1, 2));
    let request = traffic.requests().into_iter().find(|request| request.path == "/attest/maa").unwrap();
    assert_eq!(request.json().unwrap(), bound_request(&blindbox));
    assert_eq!(traffic.tls_connections(), 2);
    assert!(traffic.connections().iter().all(|connection| connection.key == Some(blindbox.tls_key())));
}

#[tokio::test]
async fn claims_have_the_names_and_types_of_real_ones() {
    let (maa, blindbox) = pair().await;
    let claims = claims_of(&blindbox).await;
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    for name in ["x-ms-sevsnpvm-chipid", "x-ms-sevsnpvm-singlesocket", "x-ms-sevsnpvm-familyId", "jti", "x-ms-ver"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(claims["x-ms-sevsnpvm-uvm-endorsement"]["x-ms-sevsnpvm-guestsvn"], "104");
    assert_eq!(claims["x-ms-sevsnpvm-uvm-endorsement-headers"]["feed"], UVM_FEED);
    assert_eq!(claims["x-ms-sevsnpvm-is-debuggable"], false);

    let vm = BlindBox::builder(&maa).guest(Guest::confidential_vm()).start().await.unwrap();
    let answer = attest(&vm).await;
    let claims = payload(answer["token"].as_str().unwrap());
    assert_eq!(claims["x-ms-attestation-type"], "azurevm");
    let tee = &claims["x-ms-isolation-tee"];
    assert_eq!(tee["x-ms-compliance-status"], "azure-compliant-cvm");
    let nonce = STANDARD.encode(sha256_hex(runtime_data(&answer).as_bytes()));
    assert_eq!(claims["x-ms-runtime"]["client-payload"], json!({ "nonce": nonce }));
    let hcl = sha256_hex(tee["x-ms-runtime"].to_string().as_bytes());
    assert_eq!(tee["x-ms-sevsnpvm-reportdata"], hcl + &"0".repeat(64));
    assert_eq!(vm.maa_policy_hash(), Maa::policy_hash(TokenShape::AzureVm));

    let direct = BlindBox::builder(&maa).guest(Guest::confidential_vm_direct()).start().await.unwrap();
    let claims = claims_of(&direct).await;
    assert_eq!(claims["x-ms-attestation-type"], "sevsnpvm");
    assert_eq!(claims["x-ms-compliance-status"], "azure-compliant-cvm");
    assert_eq!(claims.get("x-ms-sevsnpvm-uvm-endorsement"), None);
}

#[tokio::test]
async fn every_form_of_key_set_holds_the_key_that_signs() {
    let maa = Maa::start().await.unwrap();
    let keys = |maa: &Maa| serde_json::from_str::<Value>(&maa.key_set()).unwrap()["keys"].as_array().unwrap().clone();
    let token = || maa.sign(&json!({ "iss": maa.issuer() }));
    for form in [KeyForm::NumbersAndCertificate, KeyForm::CertificateOnly, KeyForm::NumbersOnly] {
        maa.set(KeySetKnob::Form(form));
        assert!(verifies(&token(), &maa.key_set()), "{form:?}");
        assert_eq!(keys(&maa)[0].get("n").is_some(), form != KeyForm::CertificateOnly);
        assert_eq!(keys(&maa)[0].get("x5c").is_some(), form != KeyForm::NumbersOnly);
    }
    maa.recover();
    let der = STANDARD.decode(keys(&maa)[0]["x5c"][0].as_str().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), format!("CN={}", maa.issuer()));
    assert_eq!(certificate.issuer(), certificate.subject());

    maa.set(KeySetKnob::LargeCertificates);
    assert!(keys(&maa)[0]["x5c"][0].as_str().unwrap().len() > 40_000);
    maa.recover();
    maa.set(KeySetKnob::ChainOfThree);
    maa.set(KeySetKnob::Form(KeyForm::CertificateOnly));
    assert_eq!(keys(&maa)[0]["x5c"].as_array().unwrap().len(), 3);
    assert!(verifies(&token(), &maa.key_set()));
    maa.recover();
    maa.set(KeySetKnob::LegacyRsa1024);
    let der = STANDARD.decode(keys(&maa)[0]["x5c"][0].as_str().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 1024);
    assert!(verifies(&token(), &maa.key_set()));
    maa.set(KeySetKnob::DuplicateKid);
    assert_eq!(keys(&maa).iter().filter(|key| key["kid"] == maa.kid()).count(), 2);
    maa.set(KeySetKnob::ManyKeys(70));
    assert_eq!(keys(&maa).len(), 74);
    maa.recover();
    maa.set(KeySetKnob::MismatchedCertificate);
    let n = keys(&maa)[0]["n"].clone();
    maa.set(KeySetKnob::WithoutMember("n".into()));
    assert!(n.is_string() && !verifies(&token(), &maa.key_set()));
}

#[tokio::test]
async fn keys_rotate() {
    let (maa, other) = (Maa::start().await.unwrap(), Maa::start().await.unwrap());
    assert_ne!(maa.kid(), other.kid());
    let old = maa.sign(&json!({}));
    maa.add_key();
    assert!(verifies(&old, &maa.key_set()) && verifies(&maa.sign(&json!({})), &maa.key_set()));
    maa.rotate_key();
    assert!(!verifies(&old, &maa.key_set()) && verifies(&maa.sign(&json!({})), &maa.key_set()));
    maa.sign_with_unpublished_key();
    assert!(!verifies(&maa.sign(&json!({})), &maa.key_set()));
    maa.publish_key();
    assert!(verifies(&maa.sign(&json!({})), &maa.key_set()));
    maa.stop().await;
    let client = client(&maa.tls_root_pem());
    assert!(client.get(format!("{}/certs", maa.issuer())).send().await.unwrap_err().is_connect());
    maa.restart().await.unwrap();
    assert_eq!(client.get(format!("{}/certs", maa.issuer())).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn knobs_show_in_the_claims() {
    let (maa, blindbox) = pair().await;
    let measurement = Measurement::new([7; 48]);
    let guest = |name: &str| format!("/x-ms-sevsnpvm-{name}");
    let endorsement = |name: &str| format!("/x-ms-sevsnpvm-uvm-endorsement/x-ms-sevsnpvm-{name}");
    for (knob, pointer, expected) in [
        (Knob::Debug, guest("is-debuggable"), json!(true)),
        (Knob::MigrationAllowed, guest("migration-allowed"), json!(true)),
        (Knob::Measurement(measurement), guest("launchmeasurement"), json!(measurement)),
        (Knob::Vmpl(2), guest("vmpl"), json!(2)),
        (Knob::ReportGuestSvn(9), guest("guestsvn"), json!(9)),
        (Knob::ComplianceStatus(Some("other".into())), "/x-ms-compliance-status".into(), json!("other")),
        (Knob::ComplianceStatus(None), "/x-ms-compliance-status".into(), Value::Null),
        (Knob::UvmSvn(99), endorsement("guestsvn"), json!("99")),
        (Knob::UvmMeasurement(measurement), endorsement("launchmeasurement"), json!(measurement)),
        (Knob::UvmFeed("f".into()), guest("uvm-endorsement-headers") + "/feed", json!("f")),
        (Knob::NoUvmEndorsement, guest("uvm-endorsement"), Value::Null),
        (Knob::claim("x-ms-sevsnpvm-vmpl", "0"), guest("vmpl"), json!("0")),
        (Knob::without_claim("x-ms-sevsnpvm-vmpl"), guest("vmpl"), Value::Null),
        (Knob::Token(TokenFault::Sgx), "/x-ms-attestation-type".into(), json!("sgx")),
        (Knob::Token(TokenFault::Issuer("https://x".into())), "/iss".into(), json!("https://x")),
    ] {
        blindbox.set(knob.clone());
        let answer = attest(&blindbox).await;
        let token = answer["token"].as_str().unwrap();
        assert_eq!(payload(token).pointer(&pointer).unwrap_or(&Value::Null), &expected, "{knob:?}");
        assert!(verifies(token, &maa.key_set()));
        blindbox.reset();
    }
    let key = SpkiDigest::new([3; 32]);
    blindbox.set(Knob::ForeignKey(key));
    assert_eq!(runtime_data(&attest(&blindbox).await), bound_text(NONCE, key));
    blindbox.reset();
    blindbox.set(Knob::OldNonce);
    assert!(!runtime_data(&attest(&blindbox).await).contains(NONCE));
    blindbox.reset();
    blindbox.set(Knob::RuntimeDataInAnswer(b"{}".to_vec()));
    let answer = attest(&blindbox).await;
    assert_eq!(runtime_data(&answer), "{}");
    assert_eq!(payload(answer["token"].as_str().unwrap())["x-ms-runtime"]["nonce"], NONCE);
    blindbox.reset();
    let first = attest(&blindbox).await;
    blindbox.set(Knob::OldAnswer);
    assert_eq!(attest(&blindbox).await["token"], attest(&blindbox).await["token"]);
    assert_ne!(first["token"], Value::Null);
    blindbox.reset();
    blindbox.set(Knob::AnswerInLegacyForm);
    assert_eq!(attest(&blindbox).await.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn an_old_answer_is_old_even_when_it_is_the_first() {
    let (_maa, blindbox) = pair().await;
    blindbox.set(Knob::OldAnswer);
    let answer = attest(&blindbox).await;
    let data: Value = serde_json::from_str(&runtime_data(&answer)).unwrap();
    assert_ne!(data["nonce"], NONCE);
    assert_eq!(data["tls-spki-sha256"], blindbox.tls_key().to_string());
    assert_eq!(attest(&blindbox).await, answer);
}

#[tokio::test]
async fn tokens_are_spoiled_as_asked() {
    let clock = Clock::stopped_at(UnixTime::from_secs(1_800_000_000));
    let maa = Maa::builder().clock(&clock).start().await.unwrap();
    let claims = maa.claims(&Guest::container(), b"{}");
    let sign = |fault: TokenFault| maa.sign_with(claims.clone(), &[fault]);
    let text = |token: &str, index| {
        String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
    };
    let good = sign(TokenFault::Header("typ".into(), "JWT".into()));
    assert!(verifies(&good, &maa.key_set()));
    assert_eq!(payload(&good)["iat"], 1_800_000_000);
    assert!(payload(&sign(TokenFault::Expired))["exp"].as_u64().unwrap() < 1_800_000_000);
    assert!(payload(&sign(TokenFault::NotYetValid))["nbf"].as_u64().unwrap() > 1_800_000_000);
    assert!(payload(&sign(TokenFault::IssuedInTheFuture))["iat"].as_u64().unwrap() > 1_800_000_000);
    assert_eq!(payload(&sign(TokenFault::IssuedAgo(90)))["iat"], 1_799_999_910);
    for fault in [
        TokenFault::UnknownKid,
        TokenFault::ForeignKey,
        TokenFault::BadSignature,
        TokenFault::TamperedClaims,
        TokenFault::AlgNone,
        TokenFault::Hs256,
    ] {
        assert!(!verifies(&sign(fault.clone()), &maa.key_set()), "{fault:?}");
    }
    assert_eq!(part(&sign(TokenFault::AlgNone), 0)["alg"], "none");
    assert!(sign(TokenFault::AlgNone).ends_with('.'));
    assert_eq!(part(&sign(TokenFault::Hs256), 0)["alg"], "HS256");
    assert_eq!(part(&sign(TokenFault::ForeignKey), 0)["kid"], maa.kid());
    let twice = sign(TokenFault::DuplicateClaim("x-ms-sevsnpvm-is-debuggable".into(), json!(true)));
    assert!(text(&twice, 1).contains(r#""x-ms-sevsnpvm-is-debuggable":false,"x-ms-sevsnpvm-is-debuggable":true"#));
    assert!(verifies(&twice, &maa.key_set()));
    let twice = sign(TokenFault::duplicate_header("alg", "none"));
    assert!(text(&twice, 0).ends_with(r#","alg":"none"}"#));
    assert_eq!(sign(TokenFault::NotAToken("x".into())), "x");
    let raw = maa.sign_raw("{", "}");
    assert_eq!((text(&raw, 0), text(&raw, 1)), ("{".into(), "}".into()));
    clock.advance(60);
    assert_eq!(maa.claims(&Guest::container(), b"{}").value()["iat"], 1_800_000_060);
}

#[tokio::test]
async fn faults_spoil_the_answer() {
    let (_maa, blindbox) = pair().await;
    let client = builder(&blindbox.tls_root_pem()).http1_only().build().unwrap();
    let url = || blindbox.url() + "/attest/maa";
    let ask = async |fault: Fault| {
        blindbox.recover();
        blindbox.fail("/attest/maa", fault);
        post(&client, url(), bound_request(&blindbox)).await
    };
    let body = async |fault: Fault| ask(fault).await.text().await.unwrap();

    let response = ask(Fault::forbidden_twice()).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let text = response.text().await.unwrap();
    assert_eq!(serde_json::Deserializer::from_str(&text).into_iter::<Value>().filter(Result::is_ok).count(), 2);
    let response = ask(Fault::too_many_requests(7)).await;
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"7".parse().unwrap())
    );
    assert_eq!(ask(Fault::status(500)).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(ask(Fault::Redirect("https://x.example/".into())).await.headers()["location"], "https://x.example/");
    assert_eq!(ask(Fault::ContentType("text/html".into())).await.headers()["content-type"], "text/html");
    let zipped = ask(Fault::Gzip).await;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.bytes().await.unwrap()[..3], [0x1f, 0x8b, 8]);
    assert!(serde_json::from_str::<Value>(&body(Fault::MalformedJson).await).is_err());
    assert_eq!(body(Fault::DuplicateMember).await.matches(r#""runtime_data":"#).count(), 2);
    assert!(body(Fault::TrailingJson).await.ends_with("}{}"));
    assert!(body(Fault::Replace { from: "\"token\"".into(), to: "\"t\"".into() }).await.contains("\"t\":"));
    assert_eq!(body(Fault::Body("x".into())).await, "x");
    let large = ask(Fault::OversizedAnnounced(100_000_000)).await;
    assert!(large.content_length().unwrap() > 100_000_000);
    drop(large);
    assert!(body(Fault::Oversized(3_000_000)).await.len() > 3_000_000);
    assert!(ask(Fault::Truncated).await.bytes().await.is_err());
    let started = Instant::now();
    assert_eq!(ask(Fault::Slow(Duration::from_millis(60))).await.status(), StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(60));
    let dripping = body(Fault::Drip(Duration::from_micros(10)));
    assert!(serde_json::from_str::<Value>(&dripping.await).unwrap()["token"].is_string());
    for (fault, timed_out) in [(Fault::CloseEarly, false), (Fault::Hang, true)] {
        blindbox.recover();
        blindbox.fail("/attest/", fault);
        let request = client.post(url()).timeout(Duration::from_millis(300)).body(bound_request(&blindbox).to_string());
        assert_eq!(request.send().await.unwrap_err().is_timeout(), timed_out);
    }
    blindbox.recover();
    blindbox.fail_times("/attest/maa", 1, Fault::status(503));
    assert_eq!(post(&client, url(), bound_request(&blindbox)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&client, url(), bound_request(&blindbox)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_gzip_answer_can_be_unpacked() {
    let (_maa, blindbox) = pair().await;
    blindbox.fail("/large", Fault::Gzip);
    let client = client(&blindbox.tls_root_pem());
    let body = client.get(blindbox.url() + "/large?bytes=70000").send().await.unwrap().bytes().await.unwrap();
    // Stored blocks: header 10, then 5 + 65535, 5 + 4465, then CRC-32 and length.
    assert_eq!(body.len(), 10 + 10 + 70_000 + 8);
    assert_eq!((body[10], body[10 + 5 + 65_535]), (0, 1));
    assert_eq!(body[body.len() - 4..], 70_000_u32.to_le_bytes());
}

#[tokio::test]
async fn agents_take_the_form_they_are_made_for() {
    let maa = Maa::start().await.unwrap();
    let runtime = STANDARD.encode(br#"{"nonce":"legacy"}"#);
    for (form, takes_bound, takes_legacy) in
        [(AgentForm::Bound, true, false), (AgentForm::Legacy, false, true), (AgentForm::Both, true, true)]
    {
        let blindbox = BlindBox::builder(&maa).agent(form).start().await.unwrap();
        let client = client(&blindbox.tls_root_pem());
        let ask = async |body: Value| post(&client, blindbox.url() + "/attest/maa", body).await;
        let status = |taken| if taken { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        assert_eq!(ask(bound_request(&blindbox)).await.status(), status(takes_bound), "{form:?}");
        let legacy = ask(json!({ "maa_endpoint": maa.endpoint(), "runtime_data": runtime })).await;
        assert_eq!(legacy.status(), status(takes_legacy), "{form:?}");
        if takes_legacy {
            let answer = json_of(legacy).await;
            assert_eq!(answer.as_object().unwrap().len(), 1);
            assert_eq!(payload(answer["token"].as_str().unwrap())["x-ms-runtime"], json!({ "nonce": "legacy" }));
        }
        let unknown =
            ask(json!({ "maa_endpoint": "elsewhere.example", "nonce": NONCE, "runtime_data": runtime })).await;
        assert_eq!(unknown.status(), StatusCode::FORBIDDEN);
        blindbox.set(Knob::RefuseBoundForm);
        assert_eq!(ask(bound_request(&blindbox)).await.status(), StatusCode::BAD_REQUEST);
        blindbox.set(Knob::NoToken);
        assert_eq!(ask(bound_request(&blindbox)).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn another_attester_can_be_asked_or_substituted() {
    let (maa, blindbox) = pair().await;
    let other = Maa::builder().host("localhost").start().await.unwrap();
    assert!(other.issuer().starts_with("https://localhost:"));
    blindbox.attest_with(&other);
    assert_eq!(claims_of(&blindbox).await["iss"], other.issuer());
    blindbox.reset();
    assert_eq!(claims_of(&blindbox).await["iss"], maa.issuer());
    blindbox.attested_also_by(&other);
    let client = client(&blindbox.tls_root_pem());
    let request = json!({ "maa_endpoint": other.endpoint(), "nonce": NONCE });
    let answer = json_of(post(&client, blindbox.url() + "/attest/maa", request).await).await;
    assert!(verifies(answer["token"].as_str().unwrap(), &other.key_set()));
}

#[tokio::test]
async fn an_agent_can_have_its_own_port_and_hardware_reports() {
    struct Source;
    impl ReportSource for Source {
        fn evidence(&self, guest: &Guest, report_data: &ReportData) -> HardwareEvidence {
            HardwareEvidence {
                report: [report_data.as_bytes().as_slice(), guest.snp.report_id.as_bytes()].concat(),
                endorsements_pem: "PEM".into(),
                uvm_endorsements: vec![1, 2],
                endorsed_tcb: "0123456789abcdef".into(),
            }
        }
    }
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa)
        .agent_place(AgentPlace::OwnPort)
        .agent(AgentForm::Both)
        .report_source(Arc::new(Source))
        .start()
        .await
        .unwrap();
    assert_ne!(blindbox.url(), blindbox.agent_url());
    let client = client(&blindbox.tls_root_pem());
    let here = post(&client, blindbox.url() + "/attest/maa", bound_request(&blindbox)).await;
    assert_eq!(here.status(), StatusCode::NOT_FOUND);
    assert_eq!(runtime_data(&attest(&blindbox).await), bound_text(NONCE, blindbox.tls_key()));
    assert_eq!((blindbox.agent_traffic().count("/attest/maa"), blindbox.agent_traffic().application_bytes()), (1, 0));

    let combined = post(&client, blindbox.agent_url() + "/attest/combined", bound_request(&blindbox)).await;
    let combined = json_of(combined).await;
    let report = STANDARD.decode(combined["evidence"].as_str().unwrap()).unwrap();
    let claims = payload(combined["token"].as_str().unwrap());
    assert_eq!(claims["x-ms-sevsnpvm-reportdata"], hex::encode(&report[..64]));
    assert_eq!(claims["x-ms-sevsnpvm-reportid"], hex::encode(&report[64..]));
    assert_eq!(combined["endorsements"], STANDARD.encode("PEM"));
    assert_eq!(runtime_data(&combined), bound_text(NONCE, blindbox.tls_key()));
    let legacy = json!({ "runtime_data": STANDARD.encode("anything") });
    let raw = json_of(post(&client, blindbox.agent_url() + "/attest/raw", legacy.clone()).await).await;
    assert!(raw["report"].as_str().unwrap().starts_with(&sha256_hex(b"anything")));
    let combined = json_of(post(&client, blindbox.agent_url() + "/attest/combined", legacy).await).await;
    assert_eq!((combined.get("token"), combined.get("runtime_data")), (None, None));
}

#[tokio::test]
async fn transports_and_certificates_are_as_set() {
    let maa = Maa::start().await.unwrap();
    let start = async |certificate| BlindBox::builder(&maa).certificate(certificate).start().await.unwrap();
    for certificate in [
        ServerCertificate::SelfSigned,
        ServerCertificate::Expired,
        ServerCertificate::NotYetValid,
        ServerCertificate::WrongName,
        ServerCertificate::UnknownAuthority,
    ] {
        let blindbox = start(certificate).await;
        assert!(client(&blindbox.tls_root_pem()).get(blindbox.url()).send().await.is_err(), "{certificate:?}");
        let traffic = blindbox.traffic();
        assert_eq!((traffic.application_bytes(), traffic.tls_connections()), (0, 0), "{certificate:?}");
        let careless = builder(&blindbox.tls_root_pem()).tls_danger_accept_invalid_certs(true).build().unwrap();
        assert_eq!(careless.get(blindbox.url()).send().await.unwrap().status(), StatusCode::OK);
    }
    let clear = BlindBox::builder(&maa).transport(Transport::PlainHttp).start().await.unwrap();
    assert!(clear.url().starts_with("http://127.0.0.1:"));
    assert_eq!(client(&clear.tls_root_pem()).get(clear.url()).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(clear.traffic().connections()[0].state, ConnectionState::Cleartext);

    let old = BlindBox::builder(&maa).transport(Transport::Tls12).host("localhost").start().await.unwrap();
    let modern = builder(&old.tls_root_pem()).tls_version_min(reqwest::tls::Version::TLS_1_3).build().unwrap();
    assert!(modern.get(old.url()).send().await.is_err());
    assert_eq!(client(&old.tls_root_pem()).get(old.url()).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(old.traffic().connections().last().unwrap().server_name.as_deref(), Some("localhost"));

    let http1 = BlindBox::builder(&maa).http(HttpVersions::Http1).key_kind(KeyKind::P384).start().await.unwrap();
    let response = client(&http1.tls_root_pem()).get(http1.url()).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(runtime_data(&attest(&http1).await), bound_text(NONCE, http1.tls_key()));
}

#[tokio::test]
async fn keys_change_with_and_without_their_connections() {
    let (_maa, blindbox) = pair().await;
    let kept = client(&blindbox.tls_root_pem());
    let url = blindbox.url() + "/attest/maa";
    let key_named = async |client: &Client| {
        let answer = json_of(post(client, url.clone(), bound_request(&blindbox)).await).await;
        let data: Value = serde_json::from_str(&runtime_data(&answer)).unwrap();
        data["tls-spki-sha256"].as_str().unwrap().to_owned()
    };
    let first = blindbox.tls_key();
    assert_eq!(key_named(&kept).await, first.to_string());
    blindbox.rotate_tls_key(OpenConnections::Keep);
    let second = blindbox.tls_key();
    assert_ne!(first, second);
    assert_eq!(key_named(&kept).await, first.to_string());
    assert_eq!(key_named(&client(&blindbox.tls_root_pem())).await, second.to_string());
    assert_eq!(blindbox.traffic().connections().len(), 2);

    let report_id = blindbox.guest().snp.report_id;
    let address = blindbox.address();
    blindbox.restart().await.unwrap();
    assert_eq!(blindbox.address(), address);
    assert_ne!(blindbox.guest().snp.report_id, report_id);
    assert_eq!(key_named(&client(&blindbox.tls_root_pem())).await, blindbox.tls_key().to_string());
    blindbox.stop().await;
    let refused = client(&blindbox.tls_root_pem()).get(blindbox.url()).send().await.unwrap_err();
    assert!(refused.is_connect());
}

#[tokio::test]
async fn a_relay_shows_its_own_key_and_somebody_elses_evidence() {
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).agent(AgentForm::Both).start().await.unwrap();
    let relay = Relay::start(&blindbox).await.unwrap();
    let client = || builder(&blindbox.tls_root_pem()).tls_info(true).build().unwrap();
    let attest = async |client: &Client| {
        let response = post(client, relay.url() + "/attest/maa", bound_request(&blindbox)).await;
        let info: &reqwest::tls::TlsInfo = response.extensions().get().unwrap();
        let (_, certificate) = X509Certificate::from_der(info.peer_certificate().unwrap()).unwrap();
        let key = sha256_hex(certificate.public_key().raw);
        (key, json_of(response).await)
    };
    let relayed = client();
    let (key, answer) = attest(&relayed).await;
    assert_eq!(key, relay.tls_key().to_string());
    assert_eq!(runtime_data(&answer), bound_text(NONCE, blindbox.tls_key()));

    relay.set_mode(RelayMode::AttestOwnKey);
    let (_, answer) = attest(&relayed).await;
    assert_eq!(runtime_data(&answer), bound_text(NONCE, relay.tls_key()));
    let claims = payload(answer["token"].as_str().unwrap());
    assert_eq!(claims["x-ms-runtime"]["tls-spki-sha256"], relay.tls_key().to_string());
    assert_eq!(claims["x-ms-runtime"]["nonce"], NONCE);

    relay.set_mode(RelayMode::Replay);
    let (_, first) = attest(&relayed).await;
    assert!(!runtime_data(&first).contains(NONCE));
    assert_eq!(attest(&relayed).await.1, first);
    relay.set_mode(RelayMode::LegacyForm);
    assert_eq!(attest(&relayed).await.1.as_object().unwrap().len(), 1);

    assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));
    assert!(relay.traffic().agent_bytes() > 0);
    let stolen = relayed.post(relay.url() + "/generate").body("secret").send().await.unwrap();
    assert_eq!(stolen.text().await.unwrap(), "intercepted");
    assert_eq!(relay.traffic().application_requests(), 1);
    assert!(relay.traffic().application_bytes() >= 6);

    relay.set_mode(RelayMode::Tunnel);
    relay.drop_connections();
    let (key, _) = attest(&client()).await;
    assert_eq!(key, blindbox.tls_key().to_string());
    assert_eq!(relay.traffic().connections().last().unwrap().state, ConnectionState::Tunnelled);
}

#[tokio::test]
async fn a_relay_with_its_own_certificate_is_known_by_nobody() {
    let (_maa, blindbox) = pair().await;
    let relay = Relay::builder().certificate(RelayCertificate::SelfSigned).start(&blindbox).await.unwrap();
    assert!(client(&blindbox.tls_root_pem()).get(relay.url()).send().await.is_err());
    assert_eq!(relay.traffic().application_bytes(), 0);
}

#[tokio::test]
async fn a_proxy_spreads_cuts_and_delays() {
    let maa = Maa::start().await.unwrap();
    let authority = CertificateAuthority::new("Shared");
    let replica = async || BlindBox::builder(&maa).authority(&authority).start().await.unwrap();
    let (first, second) = (replica().await, replica().await);
    let proxy = TcpProxy::start(&[first.address(), second.address()]).await.unwrap();
    let client = || client(&authority.root_pem());
    for _ in 0..4 {
        assert_eq!(client().get(proxy.url()).send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!((first.traffic().count("/"), second.traffic().count("/"), proxy.connections()), (2, 2, 4));
    assert_ne!(first.tls_key(), second.tls_key());
    proxy.set_targets(&[second.address()]);
    let started = Instant::now();
    proxy.delay(Duration::from_millis(30));
    assert_eq!(client().get(proxy.url()).send().await.unwrap().status(), StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(60));
    proxy.delay(Duration::ZERO);
    proxy.cut_after(Some(3_000));
    let cut = client().get(proxy.url() + "/large").send().await.unwrap().bytes().await;
    assert!(cut.is_err());
    proxy.cut_after(None);
    let kept = client();
    let slow = kept.get(proxy.url() + "/slow?ms=10000").send();
    let cutting = async {
        while second.traffic().count("/slow") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.cut();
    };
    assert!(tokio::join!(slow, cutting).0.is_err());
    proxy.refuse(true);
    assert!(client().get(proxy.url()).send().await.is_err());
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() -> Result<(), Box<dyn Error>> {
    let (maa, blindbox) = pair().await;
    let relay = Relay::start(&blindbox).await?;
    let proxy = TcpProxy::start(&[blindbox.address()]).await?;
    let addresses = [blindbox.address(), relay.address(), proxy.address()];
    let client = client(&blindbox.tls_root_pem());
    blindbox.fail("/slow", Fault::Hang);
    let (url, hanging) = (blindbox.url(), client.clone());
    let hanging = tokio::spawn(async move { hanging.get(url + "/slow").send().await });
    client.get(relay.url()).send().await?;
    client.get(proxy.url()).send().await?;
    drop((maa, blindbox, relay, proxy));
    assert!(hanging.await?.is_err());
    let metrics = tokio::runtime::Handle::current().metrics();
    let deadline = Instant::now() + Duration::from_secs(5);
    drop(client);
    while metrics.num_alive_tasks() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(metrics.num_alive_tasks(), 0);
    for address in addresses {
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    Ok(())
}
