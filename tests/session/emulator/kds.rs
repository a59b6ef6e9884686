//! AMD's Key Distribution Service and Azure's cache of it.

use blindbox_attestation::snp::{
    self, AmdAnchors, CaChain, CertificateError, CertificateRole, Collateral, CollateralRequest, CrlError, ReportError,
    Revocation, VerifiedReport, chain_path, crl_path, vcek_path,
};
use blindbox_attestation::{ChipId, Product, SigningKey, Tcb};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn report_of(platform: &Platform) -> Vec<u8> {
    let mut guest = Guest::container();
    platform.place(&mut guest);
    platform.evidence(&guest, &ReportData::new([1; 64]), &[]).report
}

async fn fetch(client: &Client, url: String) -> (u16, Vec<u8>) {
    let response = client.get(url).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

/// Everything for a report from the KDS, and the report under it.
async fn verify(kds: &Kds, client: &Client, report: &[u8]) -> Result<VerifiedReport, ReportError> {
    let request = CollateralRequest::from_report(report).unwrap();
    let product = request.product().unwrap();
    let get = async |path: String| fetch(client, kds.url().to_owned() + &path).await;
    let (_, vcek) = get(request.vcek_path(product).unwrap()).await;
    let (_, chain) = get(request.chain_path(product)).await;
    let chain = snp::certificates_from_pem(&chain)
        .map_err(|cause| ReportError::Certificate { role: CertificateRole::Ark, cause })?;
    let (_, crl) = get(request.crl_path(product)).await;
    let collateral = Collateral::new(&vcek).with_chain(CaChain { issuer: &chain[0], ark: &chain[1] }).with_crl(&crl);
    snp::verify(report, &collateral, &anchors(), Revocation::Require, NOW)
}

fn anchors() -> AmdAnchors {
    Platform::new(Product::Milan).anchors()
}

#[tokio::test]
async fn it_has_the_collateral_of_every_machine() {
    let kds = Kds::start().await.unwrap();
    let client = client(&kds.tls_root_pem());
    for product in Product::ALL {
        let platform = Platform::new(product);
        let verified = verify(&kds, &client, &report_of(&platform)).await.unwrap();
        assert_eq!((verified.product(), verified.snp().chip_id), (product, platform.chip_id()));
        let path = vcek_path(product, platform.chip_id().unwrap(), platform.tcb());
        assert_eq!(fetch(&client, kds.url().to_owned() + &path).await.1, platform.vek().der());
        let vlek = Platform::builder(product).vlek().build();
        let (_, chain) = fetch(&client, kds.url().to_owned() + &chain_path(product, SigningKey::Vlek)).await;
        let (_, crl) = fetch(&client, kds.url().to_owned() + &crl_path(product, SigningKey::Vlek)).await;
        let chain = snp::certificates_from_pem(&chain).unwrap();
        let vek = vlek.vek();
        let chain = CaChain { issuer: &chain[0], ark: &chain[1] };
        let collateral = Collateral::new(vek.der()).with_chain(chain).with_crl(&crl);
        let verified = snp::verify(&report_of(&vlek), &collateral, &anchors(), Revocation::Require, NOW).unwrap();
        assert_eq!(verified.hardware().signing_key, SigningKey::Vlek);
    }
    assert_eq!((kds.vcek_fetches(), kds.chain_fetches(), kds.crl_fetches()), (6, 6, 6));
    assert_eq!(kds.count("/vcek/v1/Milan/crl"), 1);
}

#[tokio::test]
async fn it_refuses_what_is_no_chip_of_a_product() {
    let kds = Kds::start().await.unwrap();
    let client = client(&kds.tls_root_pem());
    let platform = Platform::new(Product::Turin);
    let (chip, tcb) = (platform.chip_id().unwrap(), platform.tcb());
    let good = vcek_path(Product::Turin, chip, tcb);
    let status = async |path: &str| fetch(&client, kds.url().to_owned() + path).await.0;
    assert_eq!(status(&good).await, 200);
    assert_eq!(status(&vcek_path(Product::Turin, ChipId::new([7; 64]), tcb)).await, 404);
    assert_eq!(status(&vcek_path(Product::Milan, chip, Tcb::new(None, 1, 1, 1, 1))).await, 404);
    for (from, to) in [
        ("fmcSPL=01&", ""),
        ("ucodeSPL=219", "ucodeSPL=256"),
        ("ucodeSPL=219", "ucodeSPL=219&snpSPL=24"),
        ("ucodeSPL=219", "ucodeSPL=219&spl4=0"),
        ("?", "00?"),
        ("?", "zz?"),
    ] {
        assert_eq!(status(&good.replacen(from, to, 1)).await, 400, "{to}");
    }
    for path in ["/vcek/v1/Naples/crl", "/vcek/v2/Milan/crl", "/vlek/v1/Milan/cert", "/", "/vcek/v1/Milan/crl/"] {
        assert_eq!(status(path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn knobs_change_what_it_hands_out() {
    let kds = Kds::start().await.unwrap();
    let client = client(&kds.tls_root_pem());
    let platform = Platform::new(Product::Milan);
    let report = report_of(&platform);
    let certificate = |role, cause| ReportError::Certificate { role, cause };
    let by_genoa = CrlError::WrongIssuer { expected: "ARK-Milan".to_owned(), actual: "ARK-Genoa".to_owned() };
    let of_genoa = CertificateError::WrongSubject { expected: "ARK-Milan".to_owned(), actual: "ARK-Genoa".to_owned() };
    let forged = CertificateError::NotPinned { product: Product::Milan };
    let ended = UnixTime::from_secs(1_603_387_385 + 365 * 24 * 60 * 60);
    let revoked = |role, serial: &str| ReportError::Revoked { role, serial: serial.to_owned() };
    for (knob, expected) in [
        (KdsKnob::ForgedVcek, certificate(CertificateRole::Vek, CertificateError::WrongSignature)),
        (KdsKnob::ForgedChain, certificate(CertificateRole::Ark, forged)),
        (KdsKnob::ChainOf(Product::Genoa), certificate(CertificateRole::Ark, of_genoa)),
        (KdsKnob::ForgedCrl, ReportError::Crl(CrlError::WrongSignature)),
        (KdsKnob::CrlOf(Product::Genoa), ReportError::Crl(by_genoa)),
        (KdsKnob::ExpiredCrl, ReportError::Crl(CrlError::Stale { next_update: ended, now: NOW })),
        (KdsKnob::IssuerRevoked, revoked(CertificateRole::Ask, "010001")),
        (KdsKnob::RootRevoked, revoked(CertificateRole::Ark, "010000")),
    ] {
        kds.set(knob.clone());
        assert_eq!(verify(&kds, &client, &report).await, Err(expected), "{knob:?}");
        kds.recover();
    }
    kds.set(KdsKnob::VcekOfAnotherChip);
    let refused = verify(&kds, &client, &report).await;
    assert!(matches!(refused, Err(ReportError::ChipIdMismatch { .. })), "{refused:?}");
    kds.recover();
    kds.set(KdsKnob::VcekTcb(Tcb::new(None, 4, 0, 25, 219)));
    let refused = verify(&kds, &client, &report).await;
    assert!(matches!(refused, Err(ReportError::TcbMismatch { part: snp::TcbPart::Snp, .. })), "{refused:?}");
    kds.recover();
    assert!(verify(&kds, &client, &report).await.is_ok());
}

#[tokio::test]
async fn it_fails_as_asked() {
    let kds = Kds::start().await.unwrap();
    let client = client(&kds.tls_root_pem());
    let crl = kds.url().to_owned() + "/vcek/v1/Milan/crl";
    let chain = kds.url().to_owned() + "/vcek/v1/Milan/cert_chain";
    kds.fail_times("/vcek/v1/Milan/crl", 1, Fault::too_many_requests(7));
    let busy = client.get(&crl).send().await.unwrap();
    assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    let (status, good) = fetch(&client, crl.clone()).await;
    assert_eq!(status, 200);
    kds.fail("/vcek/v1/Milan/crl", Fault::status(500));
    assert_eq!(fetch(&client, crl.clone()).await.0, 500);
    assert_eq!(fetch(&client, chain.clone()).await.0, 200);
    kds.recover();
    kds.fail("/", Fault::Oversized(100_000));
    assert_eq!(fetch(&client, crl.clone()).await.1.len(), good.len() + 100_000);
    kds.recover();
    kds.fail("/", Fault::Body("garbage".into()));
    assert_eq!(fetch(&client, crl.clone()).await.1, b"garbage");
    kds.recover();
    kds.fail("/", Fault::Slow(Duration::from_millis(200)));
    assert_eq!(lasting(Duration::from_millis(200), fetch(&client, chain.clone())).await.0, 200);
    kds.recover();
    kds.stop().await;
    assert!(client.get(&crl).send().await.unwrap_err().is_connect());
    kds.restart().await.unwrap();
    assert_eq!(fetch(&client, crl).await.1.len(), good.len());
}

#[tokio::test]
async fn thim_hands_a_machine_its_own_certificates() {
    let mut id = [0; 64];
    id[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let tcb = Tcb::new(Some(0x11), 0x12, 0x13, 0x14, 0xd5);
    for (product, tcbm) in [(Product::Turin, "d500000014131211"), (Product::Milan, "d514000000001312")] {
        let platform = Platform::builder(product).chip_id(ChipId::new(id)).tcb(tcb).build();
        let kds = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
        let client = client(&kds.tls_root_pem());
        assert_eq!(fetch(&client, kds.thim_url()).await.0, 400);
        let answer = client.get(kds.thim_url()).header("Metadata", "true").send().await.unwrap();
        let answer = json_of(answer).await;
        assert_eq!(answer["tcbm"], tcbm);
        assert_eq!(answer["cacheControl"], "86400");
        let vcek = snp::certificates_from_pem(answer["vcekCert"].as_str().unwrap().as_bytes()).unwrap();
        let chain = snp::certificates_from_pem(answer["certificateChain"].as_str().unwrap().as_bytes()).unwrap();
        let collateral = Collateral::new(&vcek[0]).with_chain(CaChain { issuer: &chain[0], ark: &chain[1] });
        let verified = snp::verify(&report_of(&platform), &collateral, &anchors(), Revocation::Off, NOW).unwrap();
        assert_eq!(verified.snp().chip_id, Some(ChipId::new(id)));
    }
    let kds = Kds::start().await.unwrap();
    assert_eq!(fetch(&client(&kds.tls_root_pem()), kds.thim_url()).await.0, 404);
}
