//! Faults, transports, keys that change, and the people in the middle.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

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
    let time = Duration::from_millis(60);
    assert_eq!(lasting(time, ask(Fault::Slow(time))).await.status(), StatusCode::OK);
    blindbox.fail("/status", Fault::Drip(Duration::from_millis(2)));
    // 23 bytes, with a pause after each but the last.
    let dripping = async { json_of(client.get(blindbox.url() + "/status").send().await.unwrap()).await };
    let said = lasting(Duration::from_millis(2 * 22), dripping).await;
    assert_eq!(said, json!({ "message": "Status OK" }));
    for (fault, timed_out) in [(Fault::CloseEarly, false), (Fault::Hang, true)] {
        blindbox.recover();
        blindbox.fail("/attest/", fault);
        // Short for the one that must not come; a connection that is closed has all the time of a busy machine.
        let time = if timed_out { Duration::from_millis(300) } else { Duration::from_secs(60) };
        let request = client.post(url()).timeout(time).body(bound_request(&blindbox).to_string());
        assert_eq!(request.send().await.unwrap_err().is_timeout(), timed_out);
    }
    blindbox.recover();
    blindbox.fail_times("/attest/maa", 1, Fault::status(503));
    assert_eq!(post(&client, url(), bound_request(&blindbox)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&client, url(), bound_request(&blindbox)).await.status(), StatusCode::OK);
}

/// What a client still sends must not decide between an end and a reset, nor lose what was sent to it.
#[tokio::test]
async fn a_connection_is_closed_alike_whatever_is_unread() {
    let kds = Kds::builder().plain_http().start().await.unwrap();
    let address = kds.url().strip_prefix("http://").unwrap().to_owned();
    for (fault, expected) in [(Fault::CloseEarly, ""), (Fault::BadStatusLine, "HTTP/1.1 banana\r\n\r\n")] {
        kds.recover();
        kds.fail("/", fault);
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n{}", "x".repeat(4 << 20));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, expected);
    }
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

    let http1 = BlindBox::builder(&maa).http(HttpVersions::Http1).key_kind(KeyKind::P384).page("/own", "text/x", "y");
    let http1 = http1.start().await.unwrap();
    let page = client(&http1.tls_root_pem()).get(http1.url() + "/own").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/x");
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
async fn a_relay_shows_its_own_key_and_someone_elses_evidence() {
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
    relay.drop_connections().await;
    let (key, _) = attest(&client()).await;
    assert_eq!(key, blindbox.tls_key().to_string());
    assert_eq!(relay.traffic().connections().last().unwrap().state, ConnectionState::Tunnelled);
}

#[tokio::test]
async fn a_relay_with_its_own_certificate_is_known_by_no_one() {
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
    proxy.delay(Duration::from_millis(30));
    let delayed = lasting(Duration::from_millis(60), client().get(proxy.url()).send()).await;
    assert_eq!(delayed.unwrap().status(), StatusCode::OK);
    proxy.delay(Duration::ZERO);
    proxy.cut_after(Some(20_000));
    let cut = client().get(proxy.url() + "/large").send().await.unwrap().bytes().await;
    assert!(cut.is_err());
    proxy.cut_after(None);
    let kept = client();
    let slow = kept.get(proxy.url() + "/slow?ms=600000").send();
    let cutting = async {
        until("the request arrives", || second.traffic().count("/slow") > 0).await;
        proxy.cut();
    };
    assert!(tokio::join!(slow, cutting).0.is_err());
    proxy.refuse(true);
    assert!(client().get(proxy.url()).send().await.is_err());
}

/// While a server is stopped, its port is not given to others, whom its clients would reach.
#[tokio::test]
async fn a_server_that_is_stopped_keeps_its_port() {
    let kds = Kds::builder().plain_http().start().await.unwrap();
    let address = kds.url().strip_prefix("http://").unwrap().parse().unwrap();
    for _ in 0..2 {
        kds.stop().await;
        kds.stop().await;
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let taken = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        kds.restart().await.unwrap();
        kds.restart().await.unwrap();
        TcpStream::connect(address).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_after_a_drop() -> Result<(), Box<dyn Error>> {
    // Another test may get a port as soon as it is free, but not each time.
    for _ in 0..3 {
        if nothing_listens_after_a_drop().await? {
            return Ok(());
        }
    }
    panic!("a port is still served");
}

async fn nothing_listens_after_a_drop() -> Result<bool, Box<dyn Error>> {
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
    drop(client);
    until("no task is left", || metrics.num_alive_tasks() == 0).await;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(false),
            Err(refused) => assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused),
        }
    }
    Ok(true)
}

#[tokio::test]
async fn key_exchange_groups_are_as_set() {
    let maa = Maa::start().await.unwrap();
    let groups = [
        (KeyExchange::Any, "X25519MLKEM768"),
        (KeyExchange::Classical, "X25519"),
        (KeyExchange::PostQuantum, "X25519MLKEM768"),
    ];
    for (groups, agreed) in groups {
        let blindbox = BlindBox::builder(&maa).key_exchange(groups).start().await.unwrap();
        let response = client(&blindbox.tls_root_pem()).get(blindbox.url()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let connection = blindbox.traffic().connections().pop().unwrap();
        assert_eq!(connection.key_exchange.as_deref(), Some(agreed), "{groups:?}");
        // The groups stay what they are when the key changes.
        blindbox.rotate_tls_key(OpenConnections::Drop);
        client(&blindbox.tls_root_pem()).get(blindbox.url()).send().await.unwrap();
        let connection = blindbox.traffic().connections().pop().unwrap();
        assert_eq!(connection.key_exchange.as_deref(), Some(agreed), "{groups:?}");
    }
}
