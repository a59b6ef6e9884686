//! Errors of the category Misconfigured: URLs, names, settings and requests that cannot be used.

use AttestationError::*;
use blindbox_attestation::AttestationError;
use blindbox_attestation::emulator::ServerCertificate;

use crate::lab::Lab;

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
