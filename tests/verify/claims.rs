//! Step 2: each claim of a token is what it must be, or the token is refused for exactly that.

use crate::sign::{
    ISSUER, KEY_ID, NOW, any_of_each_type, base64_url, check, check_claims, container_claims, header, keys, refusal,
    signer, vm_claims,
};
use blindbox_attestation::claims::{Bit, TokenShape};
use blindbox_attestation::maa::{TokenError, TokenExpectations, TokenPart, verify};
use blindbox_attestation::{JsonType, MaaIssuer, Measurement, Product, ReportData, Tcb, UnixTime};
use serde_json::{Value, json};

#[test]
fn each_time_has_its_own_error() {
    let with = |issued_at: u64, not_before: u64, expires_at: u64| {
        let mut claims = container_claims();
        claims["iat"] = issued_at.into();
        claims["nbf"] = not_before.into();
        claims["exp"] = expires_at.into();
        check_claims(&claims).map(|_| ())
    };
    let time = UnixTime::from_secs;
    let never = |issued_at, not_before, expires_at| {
        let (issued_at, not_before, expires_at) = (time(issued_at), time(not_before), time(expires_at));
        Err(TokenError::InvalidLifetime { issued_at, not_before, expires_at })
    };
    assert_eq!(with(NOW + 60, NOW, NOW + 100), Ok(()));
    assert_eq!(with(NOW, NOW + 60, NOW + 100), Ok(()));
    assert_eq!(with(NOW - 100, NOW, NOW - 59), never(NOW - 100, NOW, NOW - 59));
    assert_eq!(with(NOW - 100, NOW - 100, NOW - 59), Ok(()));
    assert_eq!(
        with(NOW + 61, NOW, NOW + 100),
        Err(TokenError::IssuedInFuture { issued_at: time(NOW + 61), now: time(NOW) })
    );
    assert_eq!(
        with(NOW, NOW + 61, NOW + 100),
        Err(TokenError::NotYetValid { not_before: time(NOW + 61), now: time(NOW) })
    );
    assert_eq!(with(NOW - 100, NOW, NOW - 60), never(NOW - 100, NOW, NOW - 60));
    assert_eq!(
        with(NOW - 100, NOW - 100, NOW - 60),
        Err(TokenError::Expired { expires_at: time(NOW - 60), now: time(NOW) })
    );
    assert_eq!(with(NOW, NOW, NOW), never(NOW, NOW, NOW));
    assert_eq!(with(NOW + 1, NOW, NOW), never(NOW + 1, NOW, NOW));
    assert_eq!(with(0, 0, u64::MAX), Ok(()));
    assert_eq!(with(u64::MAX, 0, u64::MAX), never(u64::MAX, 0, u64::MAX));
}

#[test]
fn a_token_of_another_instance_is_refused_as_that() {
    for actual in
        ["https://maa.example/", "https://MAA.example", "https://evil.example", "https://maa.example.evil.example", ""]
    {
        let mut claims = container_claims();
        claims["iss"] = actual.into();
        let expected = MaaIssuer::new(ISSUER).unwrap();
        assert_eq!(refusal(check_claims(&claims)), TokenError::WrongIssuer { expected, actual: actual.into() });
    }
}

/// Each claim: its name, its type, whether it may be absent, and values of the right type that it cannot have.
fn claim_table() -> Vec<(&'static str, JsonType, bool, Vec<Value>)> {
    use JsonType::{Boolean, Object, String, UnsignedInteger};
    let hex = |digits: usize| {
        let good = "ab".repeat(digits / 2);
        vec![
            json!(""),
            json!(good[1..]),
            json!(good.clone() + "0"),
            json!(good.to_uppercase()),
            json!(good.replace('b', "g")),
        ]
    };
    let svn = vec![json!(256), json!(u64::MAX)];
    let name = vec![json!(""), json!("x".repeat(513))];
    vec![
        ("iss", String, false, vec![]),
        ("iat", UnsignedInteger, false, vec![]),
        ("nbf", UnsignedInteger, false, vec![]),
        ("exp", UnsignedInteger, false, vec![]),
        ("jti", String, false, name.clone()),
        ("x-ms-ver", String, false, vec![json!(""), json!("1"), json!("1.00"), json!("2.0")]),
        (
            "x-ms-policy-hash",
            String,
            false,
            vec![json!(""), json!("AAAA"), json!(base64_url(&[0; 33])), json!(base64_url(&[0; 32]) + "=")],
        ),
        ("x-ms-runtime", Object, true, vec![]),
        ("x-ms-attestation-type", String, false, vec![]),
        ("x-ms-compliance-status", String, true, name),
        ("x-ms-sevsnpvm-authorkeydigest", String, false, hex(96)),
        ("x-ms-sevsnpvm-bootloader-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-chip-family", String, true, vec![json!(""), json!("genoa"), json!("Rome")]),
        ("x-ms-sevsnpvm-chipid", String, true, hex(128)),
        ("x-ms-sevsnpvm-ciphertext-hiding-dram-enabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-cxl-allowed", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-familyId", String, false, hex(32)),
        ("x-ms-sevsnpvm-guestsvn", UnsignedInteger, false, vec![json!(1_u64 << 32)]),
        ("x-ms-sevsnpvm-hostdata", String, false, hex(64)),
        ("x-ms-sevsnpvm-idkeydigest", String, false, hex(96)),
        ("x-ms-sevsnpvm-imageId", String, false, hex(32)),
        ("x-ms-sevsnpvm-is-debuggable", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-launchmeasurement", String, false, hex(96)),
        ("x-ms-sevsnpvm-mem-aes256-xts-required", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-microcode-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-migration-allowed", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-page-swap-disabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-rapl-disabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-reportdata", String, false, hex(128)),
        ("x-ms-sevsnpvm-reportid", String, false, hex(64)),
        ("x-ms-sevsnpvm-singlesocket", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-smt-allowed", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-snpfw-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-tee-svn", UnsignedInteger, false, svn),
        ("x-ms-sevsnpvm-vmpl", UnsignedInteger, false, vec![json!(4), json!(u32::MAX), json!(1_u64 << 32)]),
        ("x-ms-sevsnpvm-uvm-endorsement", Object, false, vec![]),
        ("x-ms-sevsnpvm-uvm-endorsement-headers", Object, false, vec![]),
    ]
}

/// The object that has the claim, in a token of either shape.
fn holder<'c>(claims: &'c mut Value, name: &str) -> &'c mut Value {
    let is_the_tees =
        name.starts_with("x-ms-sevsnpvm-") || ["x-ms-attestation-type", "x-ms-compliance-status"].contains(&name);
    if is_the_tees && claims.get("x-ms-isolation-tee").is_some() { &mut claims["x-ms-isolation-tee"] } else { claims }
}

#[test]
fn each_claim_is_what_it_must_be() {
    for base in [container_claims(), vm_claims()] {
        assert!(check_claims(&base).is_ok());
        for (name, expected, may_be_absent, invalid) in claim_table() {
            let mut claims = base.clone();
            holder(&mut claims, name).as_object_mut().unwrap().remove(name);
            match check_claims(&claims) {
                Ok(_) => assert!(may_be_absent, "{name} may be absent"),
                Err(error) => assert_eq!((error, may_be_absent), (TokenError::MissingClaim { name }, false)),
            }
            for (value, found) in any_of_each_type() {
                let mut claims = base.clone();
                holder(&mut claims, name)[name] = value;
                if found != expected {
                    let error = TokenError::WrongClaimType { name, expected, found };
                    assert_eq!(refusal(check_claims(&claims)), error);
                }
            }
            for value in invalid {
                let mut claims = base.clone();
                holder(&mut claims, name)[name] = value.clone();
                let error = refusal(check_claims(&claims));
                let TokenError::InvalidClaim { name: named, .. } = error else { panic!("{name} as {value}: {error}") };
                assert_eq!(named, name);
            }
            let mut claims = base.clone();
            let text = holder(&mut claims, name).to_string();
            let twice = text.replacen('{', &format!("{{\"{name}\":null,"), 1);
            let payload = base.to_string().replacen(&text, &twice, 1);
            let error = TokenError::DuplicateMember { part: TokenPart::Payload, name: name.into() };
            assert_eq!(refusal(check(&signer().token(&header().to_string(), &payload))), error);
        }
    }
}

#[test]
fn numbers_that_are_no_integers_are_no_times() {
    for time in ["1e400", "1.0", "1e3", "-1", "18446744073709551616", "\"1\""] {
        let payload =
            container_claims().to_string().replace(&format!("\"exp\":{}", NOW + 28_800), &format!("\"exp\":{time}"));
        let error = refusal(check(&signer().token(&header().to_string(), &payload)));
        let found = if time.starts_with('"') { JsonType::String } else { JsonType::OtherNumber };
        assert_eq!(error, TokenError::WrongClaimType { name: "exp", expected: JsonType::UnsignedInteger, found });
    }
}

#[test]
fn every_claim_reaches_its_place() {
    let token = check_claims(&container_claims()).unwrap();
    let (maa, snp) = (token.maa(), token.tee().snp().unwrap());
    assert_eq!((maa.shape, maa.issuer.as_str(), maa.key_id.as_str()), (TokenShape::SevSnpVm, ISSUER, KEY_ID));
    assert_eq!((maa.token_id.as_str(), maa.policy_hash.as_bytes()), ("the token", &[0x90; 32]));
    assert_eq!(snp.measurement, Measurement::new([0x3e; 48]));
    assert_eq!(snp.report_data, ReportData::new([0x4d; 64]));
    assert_eq!((snp.host_data.as_bytes(), snp.report_id.as_bytes()), (&[0x0d; 32], &[0x1e; 32]));
    assert_eq!((snp.id_key_digest.as_bytes(), snp.author_key_digest.as_bytes()), (&[0x1d; 48], &[0x0a; 48]));
    assert_eq!((snp.family_id.as_bytes(), snp.image_id.as_bytes()), (&[0xf1; 16], &[0x1a; 16]));
    assert_eq!((snp.report_guest_svn, snp.vmpl, snp.product), (2, 0, Some(Product::Milan)));
    assert_eq!(snp.chip_id.unwrap().as_bytes(), &[0xc1; 64]);
    assert_eq!(snp.reported_tcb, Tcb::new(None, 4, 1, 23, 211));
    let policy = snp.policy;
    assert_eq!((policy.debug, policy.migrate_ma, policy.smt), (false, false, true));
    assert_eq!([policy.single_socket, policy.cxl_allow, policy.page_swap_disable], [Bit::Clear; 3]);
    assert_eq!([policy.mem_aes_256_xts, policy.rapl_dis, policy.ciphertext_hiding_dram], [Bit::Set; 3]);
    let uvm = token.uvm().unwrap();
    assert_eq!(
        (uvm.svn, uvm.feed.as_str(), uvm.issuer.as_str()),
        (104, "ContainerPlat-AMD-UVM", "did:x509:0:sha256:x::eku:1")
    );
    for (name, read) in [
        (
            "x-ms-sevsnpvm-is-debuggable",
            (|policy| policy.debug) as fn(blindbox_attestation::claims::GuestPolicy) -> bool,
        ),
        ("x-ms-sevsnpvm-migration-allowed", |policy| policy.migrate_ma),
    ] {
        let mut claims = container_claims();
        claims[name] = true.into();
        assert!(read(check_claims(&claims).unwrap().tee().snp().unwrap().policy), "{name}");
    }
    let mut masked = container_claims();
    masked["x-ms-sevsnpvm-chipid"] = "00".repeat(64).into();
    assert_eq!(check_claims(&masked).unwrap().tee().snp().unwrap().chip_id, None);
}

#[test]
fn an_endorsement_is_whole_or_absent() {
    const BODY: &str = "x-ms-sevsnpvm-uvm-endorsement";
    const HEADERS: &str = "x-ms-sevsnpvm-uvm-endorsement-headers";
    const SVN: &str = "x-ms-sevsnpvm-guestsvn";
    let mut none = container_claims();
    none.as_object_mut().unwrap().remove(BODY);
    none.as_object_mut().unwrap().remove(HEADERS);
    assert_eq!(check_claims(&none).unwrap().uvm(), None);

    for (object, name) in [(BODY, SVN), (BODY, "x-ms-sevsnpvm-launchmeasurement"), (HEADERS, "feed"), (HEADERS, "iss")]
    {
        let mut claims = container_claims();
        claims[object].as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(check_claims(&claims)), TokenError::MissingClaim { name });
        claims[object][name] = 5.into();
        let (expected, found) = (JsonType::String, JsonType::UnsignedInteger);
        assert_eq!(refusal(check_claims(&claims)), TokenError::WrongClaimType { name, expected, found });
    }
    let with_svn = |svn: &str| {
        let mut claims = container_claims();
        claims[BODY] = json!({ SVN: svn, "x-ms-sevsnpvm-launchmeasurement": "3e".repeat(48) });
        check_claims(&claims)
    };
    for (text, svn) in [("0", 0), ("99", 99), ("104", 104), ("18446744073709551615", u64::MAX)] {
        assert_eq!(with_svn(text).unwrap().uvm().unwrap().svn, svn);
    }
    for text in ["", " 1", "1 ", "+1", "-1", "01", "1.0", "1e2", "0x1", "١", "18446744073709551616"] {
        let expected = "a decimal number without leading zeros";
        assert_eq!(refusal(with_svn(text)), TokenError::InvalidClaim { name: SVN, expected, found: text.into() });
    }
    let mut two_versions = container_claims();
    two_versions[BODY]["x-ms-sevsnpvm-guestsvn-int"] = 105.into();
    assert_eq!(
        refusal(check_claims(&two_versions)),
        TokenError::InvalidClaim {
            name: "x-ms-sevsnpvm-guestsvn-int",
            expected: "the number that x-ms-sevsnpvm-guestsvn says",
            found: "105".into()
        }
    );
}

#[test]
fn what_is_no_sev_snp_tee_is_refused_as_that() {
    let not = |attestation_type: &str| TokenError::NotAnEnclave { attestation_type: attestation_type.into() };
    for kind in ["sgx", "tdxVm", "SevSnpVm", "openenclave", ""] {
        let mut claims = container_claims();
        claims["x-ms-attestation-type"] = kind.into();
        assert_eq!(refusal(check_claims(&claims)), not(kind));
        let mut claims = vm_claims();
        claims["x-ms-isolation-tee"]["x-ms-attestation-type"] = kind.into();
        assert_eq!(refusal(check_claims(&claims)), not(kind));
    }
    let mut trusted_launch = vm_claims();
    trusted_launch.as_object_mut().unwrap().remove("x-ms-isolation-tee");
    assert_eq!(refusal(check_claims(&trusted_launch)), not("azurevm"));
    // No matter who issued it, and how old it is: what it is about comes first.
    trusted_launch["iss"] = "https://evil.example".into();
    assert_eq!(refusal(check_claims(&trusted_launch)), not("azurevm"));
}

#[test]
fn a_token_has_one_shape() {
    let mixed = |shape, claim: &str| TokenError::MixedShapes { shape, claim: claim.into() };
    for (claim, value) in [
        ("x-ms-isolation-tee", crate::sign::snp_claims()),
        ("x-ms-isolation-tee", Value::Null),
        ("x-ms-azurevm-vmid", json!("x")),
    ] {
        let mut claims = container_claims();
        claims[claim] = value.clone();
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::SevSnpVm, claim));
        let mut claims = vm_claims();
        claims["x-ms-isolation-tee"][claim] = value;
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::AzureVm, claim));
    }
    for (claim, value) in [("x-ms-sevsnpvm-is-debuggable", json!(false)), ("x-ms-sevsnpvm-hostdata", Value::Null)] {
        let mut claims = vm_claims();
        claims[claim] = value;
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::AzureVm, claim));
    }
    let mut claims = vm_claims();
    claims["x-ms-isolation-tee"] = Value::Null;
    let (expected, found) = (JsonType::Object, JsonType::Null);
    assert_eq!(
        refusal(check_claims(&claims)),
        TokenError::WrongClaimType { name: "x-ms-isolation-tee", expected, found }
    );
}

#[test]
fn what_the_guest_wrote_is_never_a_claim() {
    let written_by_the_guest = [crate::sign::container_claims(), crate::sign::vm_claims()];
    for guest in written_by_the_guest {
        for place in ["x-ms-runtime", "x-ms-inittime"] {
            for (base, name) in [(container_claims(), "x-ms-sevsnpvm-hostdata"), (vm_claims(), "x-ms-policy-hash")] {
                let mut claims = base;
                claims[place] = guest.clone();
                assert!(check_claims(&claims).is_ok());
                claims.as_object_mut().unwrap().remove(name);
                assert_eq!(refusal(check_claims(&claims)), TokenError::MissingClaim { name });
            }
        }
    }
}

#[test]
fn runtime_data_is_compared_as_a_value() {
    let mut claims = container_claims();
    claims["x-ms-runtime"] = json!({ "nonce": "00ff", "protocol": "p" });
    let token = check_claims(&claims).unwrap();
    assert!(token.runtime_is(br#"{"nonce":"00ff","protocol":"p"}"#));
    assert!(token.runtime_is(br#" {"protocol":"\u0070", "nonce":"00ff"} "#));
    for other in [
        r#"{"nonce":"00ff"}"#,
        r#"{"nonce":"00ff","protocol":"p","more":1}"#,
        r#"{"nonce":"00FF","protocol":"p"}"#,
        r#"{"nonce":"00ff","protocol":"p","protocol":"p"}"#,
        r#"{"nonce":"00ff","protocol":"p"}x"#,
        "null",
        "",
    ] {
        assert!(!token.runtime_is(other.as_bytes()), "{other}");
    }
    claims.as_object_mut().unwrap().remove("x-ms-runtime");
    let token = check_claims(&claims).unwrap();
    assert!(!token.runtime_is(b"{}") && !token.runtime_is(b"null") && !token.runtime_is(b""));
    // A VM's runtime data is not what its report binds.
    let claims = vm_claims();
    let token = check_claims(&claims).unwrap();
    assert!(!token.runtime_is(claims["x-ms-runtime"].to_string().as_bytes()));
}

#[test]
fn a_client_nonce_stands_alone() {
    let nonce = |payload: Value| {
        let mut claims = vm_claims();
        claims["x-ms-runtime"]["client-payload"] = payload;
        check_claims(&claims).map(|token| token.client_nonce().map(<[u8]>::to_vec))
    };
    assert_eq!(nonce(json!({ "nonce": "Y2hhbGxlbmdl" })), Ok(Some(b"challenge".to_vec())));
    for payload in [
        json!({}),
        json!({ "nonce": "" }),
        json!({ "nonce": "Y2hhbGxlbmdl", "price": "" }),
        json!({ "Nonce": "Y2hhbGxlbmdl" }),
        json!({ "nonce": "Y2hhbGxlbmdl=" }),
        json!({ "nonce": "Y2hhbGxlbmd" }),
        json!({ "nonce": "not base64" }),
    ] {
        assert_eq!(nonce(payload.clone()), Ok(None), "{payload}");
    }
    let wrong = |name, expected, found| Err(TokenError::WrongClaimType { name, expected, found });
    assert_eq!(nonce(json!("x")), wrong("client-payload", JsonType::Object, JsonType::String));
    assert_eq!(nonce(json!({ "nonce": 1 })), wrong("nonce", JsonType::String, JsonType::UnsignedInteger));
    let mut claims = container_claims();
    claims["x-ms-runtime"] = json!({ "client-payload": { "nonce": "Y2hhbGxlbmdl" } });
    assert_eq!(check_claims(&claims).unwrap().client_nonce(), None);
}

#[test]
fn texts_from_a_token_are_shortened_and_escaped() {
    let mut claims = container_claims();
    claims["iss"] = format!("\u{1b}[31m{}", "x".repeat(10_000)).into();
    let TokenError::WrongIssuer { actual, .. } = refusal(check_claims(&claims)) else { panic!("another error") };
    assert!(actual.len() < 200 && actual.starts_with("\\u{1b}[31mxxx"), "{actual}");
}

#[test]
fn a_malformed_chip_id_is_not_repeated_in_full() {
    let found = |text: String| {
        let mut claims = container_claims();
        claims["x-ms-sevsnpvm-chipid"] = text.into();
        let TokenError::InvalidClaim { name, found, .. } = refusal(check_claims(&claims)) else {
            panic!("another error")
        };
        assert_eq!(name, "x-ms-sevsnpvm-chipid");
        found
    };
    assert_eq!(found("C1".repeat(64)), "C1C1C1C1C1C1C1C1…");
    assert_eq!(found("c1".repeat(63)), "c1c1c1c1c1c1c1c1… (126 bytes)");
    assert_eq!(found(String::new()), " (0 bytes)");
}

#[test]
fn any_mutation_of_a_signed_payload_is_read_without_panic() {
    use proptest::prelude::*;
    let payload = vm_claims().to_string().into_bytes();
    let (keys, issuer) = (keys(), MaaIssuer::new(ISSUER).unwrap());
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(at in 0..payload.len(), bytes in prop::collection::vec(any::<u8>(), 0..4), cut in 0_usize..8)| {
        let mut changed = payload.clone();
        changed.splice(at..(at + cut).min(payload.len()), bytes);
        let signed = format!("{}.{}", base64_url(header().to_string().as_bytes()), base64_url(&changed));
        let token = format!("{signed}.{}", base64_url(&signer().sign(signed.as_bytes())));
        let _ = verify(&token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW));
    });
    proptest!(|(token in r"[A-Za-z0-9_\-.=]{0,80}")| {
        let _ = verify(&token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW));
    });
}
