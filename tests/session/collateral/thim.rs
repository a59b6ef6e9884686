//! Certificates of the host, from its THIM service.

use super::*;

#[tokio::test]
async fn the_hosts_own_certificate_is_asked_for_first_and_used_only_if_it_fits() {
    let platform = Platform::new(Product::Genoa);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
    let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().vcek_fetches(), 0);

    // Another machine's, none at all, or no response: AMD's own is asked.
    let elsewhere = Platform::builder(Product::Genoa).chip_id(ChipId::new([7; 64])).build();
    let other = Kds::builder().plain_http().thim(&elsewhere).start().await.unwrap();
    let down = Kds::builder().plain_http().start().await.unwrap();
    let hangs = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    hangs.fail("/", Fault::Hang);
    let long = Duration::from_secs(60);
    for (service, fetches, limit) in [(&other, 1, long), (&down, 2, long), (&hangs, 3, Duration::from_secs(1))] {
        let verifier = lab.builder().thim(service.thim_url()).optional_timeout(limit).build().unwrap();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        assert_eq!(lab.kds().vcek_fetches(), fetches);
    }
}

/// As services of this kind were seen to send it.
#[tokio::test]
async fn a_thim_service_is_understood_or_named_in_the_error() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    lab.kds().fail(&vcek_path(&platform), Fault::status(404));
    let pem = platform.certificates_pem();
    let (vek, chain) = pem.split_once("-----END CERTIFICATE-----\n").unwrap();
    let vek = format!("{vek}-----END CERTIFICATE-----\n");
    let base64: String = vek.lines().filter(|line| !line.starts_with("-----")).collect();
    let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    let connect = |body: String| {
        service.recover();
        service.fail("/", Fault::Body(body));
        let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
        let (url, policy) = (lab.blindbox.url().to_owned(), lab.amd_policy());
        async move { verifier.connect(&url, &policy).await.map(drop) }
    };
    let with = |certificate: &str| serde_json::json!({ "vcekCert": certificate }).to_string();
    for certificate in [
        vek.clone(),
        vek.replace('\n', "\r\n"),
        vek.trim_end().to_owned(),
        vek.clone() + "\0",
        vek.replace('\n', "\\n"),
        base64.clone(),
        chain.to_owned() + &vek,
    ] {
        assert_eq!(connect(with(&certificate)).await, Ok(()), "{certificate:?}");
    }
    let host = service.thim_url().rsplit_once("/metadata").unwrap().0.to_owned();
    let elsewhere = amd::pem(AmdHierarchy::new(Product::Milan).vcek().tcb(platform.tcb()).issue().der());
    for (body, says) in [
        (with("x"), "\"vcekCert\" cannot be read: expected exactly one X.509 certificate"),
        (with(chain), "the VCEK/VLEK certificate is refused: "),
        (with(&elsewhere), "expected a VCEK of the chip that made the report"),
        ("{}".to_owned(), "expected the string \"vcekCert\" in its response"),
        ("[]".to_owned(), "expected a JSON object, found something else"),
    ] {
        let Err(AttestationError::KdsUnreachable { reason, .. }) = connect(body.clone()).await else {
            panic!("{body}")
        };
        let kds = lab.kds().url();
        let begins =
            format!("{kds}: it has no certificate for this chip and TCB (status 404); the THIM service at {host}: ");
        assert!(reason.starts_with(&begins) && reason.contains(says), "{body}: {reason}");
    }
}
