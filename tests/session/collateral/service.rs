//! Certificates and CRLs of AMD's service, or of a mirror of it.

use super::*;

#[tokio::test]
async fn what_the_agent_does_not_send_comes_from_amds_service_once() {
    for product in Product::ALL {
        let lab = Lab::on(&Platform::new(product)).await;
        lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
        let (verifier, policy) = (lab.verifier(), lab.amd_policy());
        for _ in 0..2 {
            let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        }
        assert_eq!((lab.kds().vcek_fetches(), lab.kds().crl_fetches()), (1, 1));
        // A list is looked at again after an hour.
        lab.blindbox.clock().advance(3600);
        let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        assert_eq!((lab.kds().vcek_fetches(), lab.kds().crl_fetches()), (1, 2));
    }
    // A report of version 2 does not say its family: the likeliest is tried first.
    let lab = Lab::on(&Platform::builder(Product::Genoa).report_version(2).build()).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    // Nor whether the processor has the fix of EntrySign, which a policy has to waive.
    let waived = lab.hardware_policy(Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap());
    let _ = lab.verifier().connect(lab.blindbox.url(), &waived).await.unwrap();
    assert_eq!(lab.kds().vcek_fetches(), 2);
}

#[tokio::test]
async fn the_list_is_fetched_while_the_certificate_is() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let session = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    let chip = session.attestation().claims().tee.snp().unwrap().chip_id.unwrap();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    lab.kds().fail(&format!("/vcek/v1/Milan/{}", hex::encode(chip.as_bytes())), Fault::Hang);
    let (verifier, url, policy) = (lab.verifier(), lab.blindbox.url(), lab.amd_policy());
    let connecting = tokio::spawn(async move { verifier.connect(url, &policy).await.map(drop) });
    until("both are fetched", || (lab.kds().vcek_fetches(), lab.kds().crl_fetches()) == (1, 2)).await;
    assert!(!connecting.is_finished());
    connecting.abort();
}

#[tokio::test]
async fn a_mirror_needs_no_trust() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let mirror = Kds::builder().plain_http().start().await.unwrap();
    let verifier = || lab.builder().kds(mirror.url()).build().unwrap();
    let _ = verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().traffic().requests(), []);

    // A certificate that is not the one of the report's key is as good as none.
    for (knob, says) in [
        (KdsKnob::ForgedVcek, "it sent a certificate that does not verify"),
        (KdsKnob::VcekOfAnotherChip, "it sent the certificate of another chip, TCB or product"),
    ] {
        let mirror = Kds::builder().plain_http().knob(knob).start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
        let AttestationError::KdsUnreachable { reason, .. } = error else { panic!("{error:?}") };
        assert!(reason.starts_with(&format!("{}: {says}", mirror.url())), "{reason}");
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    }
    let revoked =
        |role| ReportError::Revoked { role, serial: hex::encode(AmdHierarchy::new(Product::Milan).serial(role)) };
    let of_genoa = CrlError::WrongIssuer { expected: "ARK-Milan".to_owned(), actual: "ARK-Genoa".to_owned() };
    for (knob, expected) in [
        (KdsKnob::ForgedCrl, ReportError::Crl(CrlError::WrongSignature)),
        (KdsKnob::CrlOf(Product::Genoa), ReportError::Crl(of_genoa)),
        (KdsKnob::IssuerRevoked, revoked(CertificateRole::Ask)),
        (KdsKnob::RootRevoked, revoked(CertificateRole::Ark)),
    ] {
        let mirror = Kds::builder().plain_http().knob(knob.clone()).start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
        assert_eq!(error, AttestationError::InvalidReport(expected), "{knob:?}");
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    }
    // An old CRL is no attack, and of no use either.
    let mirror = Kds::builder().plain_http().knob(KdsKnob::ExpiredCrl).start().await.unwrap();
    let verifier = lab.builder().kds(mirror.url()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
    let AttestationError::RevocationUnavailable { reason: CrlError::Stale { .. } } = error else { panic!("{error:?}") };
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

#[tokio::test]
async fn a_service_that_is_down_is_a_refusal_only_where_its_word_is_required() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let best_effort = lab.hardware_policy(Trust::amd().allow_best_effort_revocation().unwrap());
    let off = lab.hardware_policy(Trust::amd().allow_no_revocation_check().unwrap());
    for (fault, says) in [
        (Fault::status(500), "it responded with the status 500"),
        (Fault::too_many_requests(3600), "it responded with the status 429"),
        (Fault::CloseEarly, "the connection was closed early"),
        (Fault::status(404), "it has no CRL at this path (status 404)"),
        (Fault::Gzip, "it sent compressed data, which was not requested"),
    ] {
        lab.kds().fail("/", fault);
        let error = refused(&lab, &lab.amd_policy()).await;
        let AttestationError::KdsUnreachable { reason, .. } = error else { panic!("{error:?}") };
        assert_eq!(reason, format!("{}: {says}", lab.kds().url()));
        for policy in [&best_effort, &off] {
            let _ = lab.verifier().connect(lab.blindbox.url(), policy).await.unwrap();
        }
        lab.kds().recover();
    }
    lab.kds().fail("/", Fault::Oversized(2 << 20));
    let error = refused(&lab, &lab.amd_policy()).await;
    assert_eq!(error, AttestationError::TooLarge { what: "AMD's response", limit: 64 << 10 });
    lab.kds().recover();
    // What passes is tried again.
    lab.kds().fail_times("/", 2, Fault::status(503));
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
}

/// AMD signs with a new key of the issuer of VCEKs, and says so in the certificates that it sends with them.
#[tokio::test]
async fn an_issuer_with_a_new_key_is_taken_from_the_services_and_only_if_the_root_signed_it() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    // The new key is one that nothing else here needs.
    let (amd, ask, new_key) = (AmdHierarchy::new(Product::Milan), CertificateRole::Ask, CertificateRole::Asvk);
    let own = platform.vek();
    let vcek = amd.vcek().chip_id(own.chip_id()).tcb(platform.tcb()).key_of(&own).signed_by(&amd, new_key).issue();
    let issuer = amd.ca(ask).with_key_of(new_key);
    let with_root = |issuer: Vec<u8>, root: &[u8]| amd::pem(&issuer) + &amd::pem(root);
    let genuine = with_root(issuer.issue(), amd.ark());
    let not_by_the_root = with_root(issuer.clone().signed_by(ask).issue(), amd.ark());
    let of_other_root = with_root(issuer.issue(), AmdHierarchy::impostor(Product::Milan).ark());
    let crl = platform.crl();
    let refused = "it sent a certificate that does not verify: the VCEK/VLEK certificate is refused: its signature does not verify";
    let unchanged = amd.chain_pem(SigningKey::Vcek);
    for (chain, accepted) in [
        (&genuine, true),
        (&not_by_the_root, false),
        (&of_other_root, false),
        (&unchanged, false),
        (&String::new(), false),
    ] {
        let files = vec![
            ("/vcek/v1/Milan/cert_chain", chain.clone().into_bytes()),
            ("/vcek/v1/Milan/crl", crl.clone()),
            ("/vcek/v1/Milan/", vcek.der().to_vec()),
        ];
        let kds = serving(files).await;
        let verifier = lab.builder().kds(kds.as_str()).build().unwrap();
        let outcome = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.map(drop);
        match outcome {
            Ok(()) => assert!(accepted, "{chain}"),
            Err(AttestationError::KdsUnreachable { reason, .. }) => {
                assert!(!accepted && reason.starts_with(&format!("{kds}: {refused}")), "{reason}");
            }
            Err(error) => panic!("{error:?}"),
        }

        // THIM sends the chain along; AMD's service has the certificate of the old issuer.
        let response = serde_json::json!({ "vcekCert": vcek.pem(), "certificateChain": chain });
        let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
        service.fail("/", Fault::Body(response.to_string()));
        let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
        let before = lab.kds().vcek_fetches();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        assert_eq!(lab.kds().vcek_fetches() - before, usize::from(!accepted), "{chain}");
    }
    // Under the pinned issuer nothing more is fetched.
    let before = lab.kds().chain_fetches();
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().chain_fetches(), before);
}

/// A service that sends these files; the first that the path begins with.
async fn serving(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let files = std::sync::Arc::new(files);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let files = std::sync::Arc::clone(&files);
            // A client may give up a connection, or open one that it does not use.
            tokio::spawn(async move { send_file(client, &files).await });
        }
    });
    url
}

async fn send_file(mut client: tokio::net::TcpStream, files: &[(&'static str, Vec<u8>)]) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let file = files.iter().find(|(path, _)| head.starts_with(&format!("GET {path}")));
    let (status, body) = file.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    client.write_all(&[head.as_bytes(), body].concat()).await?;
    client.shutdown().await?;
    // Until the client closes: a connection that is dropped with unread bytes is reset.
    tokio::io::copy(&mut client, &mut tokio::io::sink()).await.map(drop)
}
