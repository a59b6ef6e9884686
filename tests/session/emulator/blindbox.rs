//! The agent, in both forms, and what knobs change.

use super::*;

#[tokio::test]
async fn a_blindbox_serves_and_is_attested_for_the_key_of_the_connection() {
    let (maa, blindbox) = pair().await;
    let client = client(&blindbox.tls_root_pem());
    let hello = client.get(blindbox.url()).send().await.unwrap();
    assert_eq!((hello.status(), hello.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(hello.text().await.unwrap(), "hello from a BlindBox");
    let answer = post(&client, blindbox.url() + "/generate", json!({ "prompt": "hi" })).await;
    assert_eq!(json_of(answer).await, json!({ "text": "a response to: hi" }));
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
    blindbox.set(Knob::OldToken);
    let answer = attest(&blindbox).await;
    assert_eq!(runtime_data(&answer), bound_text(NONCE, blindbox.tls_key()));
    assert_ne!(payload(answer["token"].as_str().unwrap())["x-ms-runtime"]["nonce"], NONCE);
    blindbox.reset();
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
async fn another_maa_can_be_asked_or_substituted() {
    let (maa, blindbox) = pair().await;
    let other = Maa::builder().host("localhost").start().await.unwrap();
    assert!(other.issuer().starts_with("https://localhost:"));
    blindbox.attest_with(&other);
    assert_eq!(claims_of(&blindbox).await["iss"], other.issuer());
    blindbox.reset();
    assert_eq!(claims_of(&blindbox).await["iss"], maa.issuer());
    blindbox.add_maa(&other);
    let client = client(&blindbox.tls_root_pem());
    let request = json!({ "maa_endpoint": other.endpoint(), "nonce": NONCE });
    let answer = json_of(post(&client, blindbox.url() + "/attest/maa", request).await).await;
    assert!(verifies(answer["token"].as_str().unwrap(), &other.key_set()));
}

#[tokio::test]
async fn an_agent_can_have_its_own_port_and_hardware_reports() {
    struct Source;
    impl ReportSource for Source {
        fn evidence(&self, guest: &Guest, report_data: &ReportData, _: &[HardwareKnob]) -> HardwareEvidence {
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
        .agent_place(AgentLocation::OwnPort)
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
    let another = Guest::container();
    blindbox.set(Knob::ReportOf(Box::new(another.clone())));
    let combined = post(&client, blindbox.agent_url() + "/attest/combined", bound_request(&blindbox)).await;
    let report = STANDARD.decode(json_of(combined).await["evidence"].as_str().unwrap()).unwrap();
    assert_eq!(&report[64..], another.snp.report_id.as_bytes());
    blindbox.reset();
    let legacy = json!({ "runtime_data": STANDARD.encode("anything") });
    let raw = json_of(post(&client, blindbox.agent_url() + "/attest/raw", legacy.clone()).await).await;
    assert!(raw["report"].as_str().unwrap().starts_with(&sha256_hex(b"anything")));
    let bound = post(&client, blindbox.agent_url() + "/attest/raw", json!({ "nonce": NONCE })).await;
    assert_eq!(bound.status(), StatusCode::NOT_FOUND);
    let combined = json_of(post(&client, blindbox.agent_url() + "/attest/combined", legacy).await).await;
    assert_eq!((combined.get("token"), combined.get("runtime_data")), (None, None));
}
