//! Which documents of AMD a host is asked for, and what the client makes of those that it gets.

use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::{
    Fault, Guest, HardwareKnob, Kds, KdsKnob, KeySetKnob, Knob, MaaEvidence, Platform,
};
use blindbox_attestation::maa::KeyEvidenceError;
use blindbox_attestation::message_client::{FetchedDocuments, MessageClient, NeededDocuments};
use blindbox_attestation::snp::{CertificateRole, CrlError, ReportError};
use blindbox_attestation::{
    Attestation, AttestationError, AttestedKeyRequirement, MaaKeyError, Policy, Product, Trust, UvmRequirement,
    Workload,
};

use super::{Behind, Host};

const UNNAMED: KdsKnob = KdsKnob::CrlNamesNoDistributionPoint;

async fn mirror(knobs: &[KdsKnob]) -> Kds {
    knobs.iter().cloned().fold(Kds::builder().plain_http(), |kds, knob| kds.knob(knob)).start().await.unwrap()
}

fn ask_revoked(product: Product) -> ReportError {
    let role = CertificateRole::Ask;
    ReportError::Revoked { role, serial: hex::encode(AmdHierarchy::new(product).serial(role)) }
}

/// The paths of certificates, of CRLs, and of the CRLs for the other kind of key.
fn listed(needed: &NeededDocuments) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    fn paths(paths: &[String]) -> Vec<&str> {
        paths.iter().map(String::as_str).collect()
    }
    (paths(&needed.certificates), paths(&needed.crls), paths(&needed.other_crls))
}

impl Host {
    /// A host whose policy trusts AMD.
    async fn on(platform: &Platform, trust: Trust) -> Self {
        let behind = Behind::with(|blindbox| blindbox.platform(platform)).await;
        let uvm = UvmRequirement::at_least(100).issued_by(behind.lab.blindbox.uvm_issuer().unwrap());
        let workload = Workload::binds_its_own_message_key(behind.lab.blindbox.host_data());
        let policy = Policy::confidential_container(trust, workload, uvm).unwrap();
        let anchors = platform.anchors();
        let client = MessageClient::new(&behind.front_end.url(), policy, anchors, Default::default()).unwrap();
        Self::over(behind, client)
    }

    /// As a page does it: what cannot be fetched is left out.
    async fn attest_with(&mut self, kds: &Kds) -> Result<&Attestation, AttestationError> {
        let needed = self.needed().await?;
        let mut fetched = FetchedDocuments::default();
        for path in &needed.certificates {
            if fetched.certificate.is_none() {
                fetched.certificate = self.document(kds, path).await;
            }
        }
        for path in needed.crls.iter().chain(&needed.other_crls) {
            fetched.crls.extend(self.document(kds, path).await);
        }
        let now = self.now();
        self.client.attest(fetched, now)
    }

    async fn document(&self, kds: &Kds, path: &str) -> Option<Vec<u8>> {
        let response = self.http.get(format!("{}{path}", kds.url())).send().await.unwrap();
        if response.status() == 200 { Some(response.bytes().await.unwrap().to_vec()) } else { None }
    }
}

/// AMD's CRLs of 2024 and 2025 name no distribution point: one in place of the other passes for it, so that both count.
#[tokio::test]
async fn of_crls_that_name_no_distribution_point_either_counts() {
    let mut host = Host::on(&Platform::new(Product::Milan), Trust::amd()).await;
    assert_eq!(listed(&host.needed().await.unwrap()), (vec![], vec!["/vcek/v1/Milan/crl"], vec!["/vlek/v1/Milan/crl"]));
    host.attest_with(&mirror(&[UNNAMED]).await).await.unwrap();
    for knobs in [&[UNNAMED, KdsKnob::IssuerRevoked][..], &[UNNAMED, KdsKnob::CrlOfOtherKind, KdsKnob::IssuerRevoked]] {
        let refused = host.attest_with(&mirror(knobs).await).await.err();
        assert_eq!(refused, Some(AttestationError::InvalidReport(ask_revoked(Product::Milan))), "{knobs:?}");
    }
    // The other one is a help, and its absence no reason to refuse.
    let kds = mirror(&[UNNAMED]).await;
    kds.fail("/vlek", Fault::status(500));
    host.attest_with(&kds).await.unwrap();
    kds.fail("/vcek", Fault::status(500));
    let missing = AttestationError::RevocationUnavailable { reason: CrlError::Missing };
    assert_eq!(host.attest_with(&kds).await.err(), Some(missing));
}

/// A report of version 2 does not name its product.
#[tokio::test]
async fn a_report_without_a_product_makes_a_host_look_for_both() {
    let platform = Platform::builder(Product::Genoa).report_version(2).build();
    // Nor whether the processor has the fix of EntrySign, which a policy has to waive.
    let mut host = Host::on(&platform, Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap()).await;
    host.behind.lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let needed = host.needed().await.unwrap();
    let (certificates, crls, other_crls) = listed(&needed);
    let of: Vec<_> = certificates.iter().map(|path| path.rsplit_once('/').unwrap().0).collect();
    assert_eq!(of, ["/vcek/v1/Milan", "/vcek/v1/Genoa"]);
    assert_eq!(crls, ["/vcek/v1/Milan/crl", "/vcek/v1/Genoa/crl"]);
    assert_eq!(other_crls, ["/vlek/v1/Milan/crl", "/vlek/v1/Genoa/crl"]);
    host.attest_with(&mirror(&[]).await).await.unwrap();
    let revoked = AttestationError::InvalidReport(ask_revoked(Product::Genoa));
    assert_eq!(host.attest_with(&mirror(&[KdsKnob::IssuerRevoked]).await).await.err(), Some(revoked));
}

/// The key of MAA that a container holds is verified with AMD's CRL for the machine of that container, as over a session.
#[tokio::test]
async fn the_crl_for_the_key_of_maa_is_requested_where_the_policy_needs_it() {
    let (machine, of_maa) = (Platform::new(Product::Milan), Platform::new(Product::Genoa));
    let behind = Behind::with(|blindbox| blindbox.platform(&machine)).await;
    let blindbox = &behind.lab.blindbox;
    let requirement = AttestedKeyRequirement::new([Guest::container().snp.host_data], 104);
    let requirement = requirement.with_uvm_issuer(of_maa.uvm_issuer());
    let client = |requirement| {
        let trust = behind.lab.trust().require_attested_maa_key(requirement).unwrap();
        let workload = Workload::binds_its_own_message_key(blindbox.host_data());
        let uvm = UvmRequirement::at_least(100).issued_by(blindbox.uvm_issuer().unwrap());
        let policy = Policy::confidential_container(trust, workload, uvm).unwrap();
        MessageClient::new(&behind.front_end.url(), policy, machine.anchors(), Default::default()).unwrap()
    };
    let (required, off) = (client(requirement.clone()), client(requirement.allow_no_revocation_check()));
    let mut host = Host::over(behind, required);
    // Without evidence there is nothing to fetch a CRL for.
    assert_eq!(host.needed().await, Ok(NeededDocuments::default()));
    let no_evidence = AttestationError::UnattestedMaaKey(MaaKeyError::Evidence(KeyEvidenceError::NoEvidence));
    let now = host.now();
    assert_eq!(host.client.attest(FetchedDocuments::default(), now).err(), Some(no_evidence));
    host.behind.lab.maa.set(KeySetKnob::OwnEvidence(Box::new(MaaEvidence::new(&of_maa))));
    assert_eq!(listed(&host.needed().await.unwrap()), (vec![], vec!["/vcek/v1/Genoa/crl"], vec!["/vlek/v1/Genoa/crl"]));
    let missing = AttestationError::RevocationUnavailable { reason: CrlError::Missing };
    assert_eq!(host.client.attest(FetchedDocuments::default(), now).err(), Some(missing));
    let kds = mirror(&[]).await;
    let attestation = host.attest_with(&kds).await.unwrap();
    assert_eq!(attestation.appraisal().check("maa key revocation").unwrap().actual, "not revoked");
    // A CRL without a distribution point may be for either kind of key, so that a mirror could swap the two.
    let swapped = mirror(&[UNNAMED, KdsKnob::CrlOfOtherKind, KdsKnob::IssuerRevoked]).await;
    let revoked = MaaKeyError::Report(ask_revoked(Product::Genoa));
    assert_eq!(host.attest_with(&swapped).await.err(), Some(AttestationError::UnattestedMaaKey(revoked)));
    host.client = off;
    assert_eq!(host.needed().await, Ok(NeededDocuments::default()));
    let attestation = host.client.attest(FetchedDocuments::default(), now).unwrap();
    let shown = &attestation.appraisal().check("maa key revocation").unwrap().actual;
    assert_eq!(shown, "NOT CHECKED: the policy turns it off");
}
