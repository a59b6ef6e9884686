//! Key sets, tokens and claims.

use super::*;

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
async fn tokens_are_spoiled_as_asked() {
    let clock = EmulatedClock::stopped_at(UnixTime::from_secs(1_800_000_000));
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

/// Every claim of a real token is in an emulated one, with the same JSON type.
#[tokio::test]
async fn claims_are_those_of_recorded_tokens() {
    let Some(vectors) = crate::common::vectors() else { return };
    let maa = Maa::start().await.unwrap();
    let recorded =
        |path: &str| -> Value { serde_json::from_slice(&std::fs::read(vectors.join(path)).unwrap()).unwrap() };
    let mut container = recorded("maa-payload-only-aci/aci_payload_2023.json");
    container.as_object_mut().unwrap().remove("nonce");
    let newest = recorded("maa-sharedeus-sevsnpvm-2026/payload.json");
    let td = recorded("maa-sharedwus-tdxvm-2026/payload.json");
    let vm = recorded("maa-sharedeus2-azurevm-2025-01/payload.json");
    let runtime_data = br#"{"nonce":"n"}"#;
    for (recorded, guest) in [
        (&container, Guest::container()),
        (&newest, Guest::confidential_vm_direct()),
        (&vm, Guest::confidential_vm()),
        (&td, Guest::tdx_vm()),
        (&vm["x-ms-isolation-tee"], Guest::confidential_vm()),
    ] {
        let emulated = maa.claims(&guest, runtime_data);
        let nested = emulated.value().get("x-ms-isolation-tee").filter(|_| recorded.get("iss").is_none());
        let emulated = nested.unwrap_or(emulated.value());
        for (name, value) in recorded.as_object().unwrap() {
            let same_type = emulated.get(name).is_some_and(|found| {
                std::mem::discriminant(found) == std::mem::discriminant(value) && found.is_u64() == value.is_u64()
            });
            assert!(same_type, "{name}: recorded {value}, emulated {:?}", emulated.get(name));
        }
    }
}
