//! One emulated guest, and the evidence of it that MAA, AMD and the endorser of its utility VM would give. No network.
#![allow(dead_code)]

use std::sync::OnceLock;

use blindbox_attestation::claims::{Bit, SnpClaims};
use blindbox_attestation::emulator::amd::{AmdHierarchy, ReportBuilder, SignedVek};
use blindbox_attestation::emulator::uvm::{SigningAlgorithm, UvmSigner};
use blindbox_attestation::emulator::{Guest, TokenClaims, report_data};
use blindbox_attestation::snp::{Crl, Vek};
use blindbox_attestation::uvm::EndorsementForm;
use blindbox_attestation::{
    Attestation, AttestationError, Binding, Challenge, Endorsements, Evidence, GuestIdentity, HostData, KeySetSource,
    Policy, PolicyError, Product, ServerNameCheck, SpkiDigest, Trust, UnixTime, UvmRequirement, Workload, verify,
};
use serde_json::json;

use crate::sign::{KEY_ID, keys, signer};

pub const ISSUER: &str = "https://sharedneu.neu.attest.azure.net";

/// Inside the validity of everything that the emulator issues.
pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

pub const KEY: SpkiDigest = SpkiDigest::new([0xab; 32]);

/// The hierarchy of the process: its keys take a while.
pub fn amd() -> &'static AmdHierarchy {
    static AMD: OnceLock<AmdHierarchy> = OnceLock::new();
    AMD.get_or_init(|| AmdHierarchy::new(Product::Milan))
}

/// The key of the one chip.
pub fn vek() -> &'static SignedVek {
    static VEK: OnceLock<SignedVek> = OnceLock::new();
    VEK.get_or_init(|| amd().vcek().issue())
}

pub fn uvm_signer() -> &'static UvmSigner {
    static SIGNER: OnceLock<UvmSigner> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let quick = SigningAlgorithm::EcdsaP384;
        UvmSigner::builder().authorities(quick).leaf(quick).build().unwrap()
    })
}

/// A container whose report the one chip signs, and whose utility VM Microsoft endorses as far as MAA says.
pub fn container() -> Guest {
    let mut guest = Guest::container();
    guest.snp.chip_id = Some(vek().chip_id());
    guest.snp.reported_tcb = vek().tcb();
    guest
}

/// The same with an endorsement that the emulator can make: its issuer is not Microsoft.
pub fn endorsed_container() -> Guest {
    let mut guest = container();
    guest.uvm.as_mut().unwrap().issuer = uvm_signer().issuer().to_owned();
    guest
}

pub fn host_data() -> HostData {
    Guest::container().snp.host_data
}

pub fn workload() -> Workload {
    Workload::binds_its_own_key(host_data())
}

pub fn maa_policy() -> Policy {
    Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), UvmRequirement::at_least(101)).unwrap()
}

pub fn own_uvm() -> UvmRequirement {
    UvmRequirement::at_least(101).issued_by(uvm_signer().issuer())
}

pub fn both_policy() -> Policy {
    Policy::confidential_container(Trust::maa_and_amd(ISSUER).unwrap(), workload(), own_uvm()).unwrap()
}

pub fn amd_policy() -> Policy {
    Policy::confidential_container(Trust::amd(), workload(), own_uvm()).unwrap()
}

pub fn vm_policy() -> Policy {
    let guest = GuestIdentity::by_measurement([Guest::confidential_vm().snp.measurement]);
    Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, Binding::OwnKey).unwrap()
}

pub fn bound() -> Challenge {
    Challenge::bound(KEY, ServerNameCheck::Validated, NOW).unwrap()
}

/// What MAA says of a guest, to be changed and signed.
pub fn claims(guest: &Guest, runtime_data: &[u8]) -> TokenClaims {
    TokenClaims::new(ISSUER, NOW, guest, runtime_data)
}

pub fn sign(claims: &TokenClaims) -> String {
    let issuer = claims.value()["iss"].as_str().unwrap();
    let header = json!({ "alg": "RS256", "jku": format!("{issuer}/certs"), "kid": KEY_ID, "typ": "JWT" });
    signer().token(&header.to_string(), &claims.to_text())
}

/// What the hardware says of a guest, to be changed and signed.
pub fn report(guest: &Guest, runtime_data: &[u8]) -> ReportBuilder {
    let snp = &guest.snp;
    amd()
        .report()
        .guest_svn(snp.report_guest_svn)
        .policy(policy_bits(snp))
        .family_id(*snp.family_id.as_bytes())
        .image_id(*snp.image_id.as_bytes())
        .vmpl(snp.vmpl)
        .report_data(*report_data(runtime_data).as_bytes())
        .measurement(*snp.measurement.as_bytes())
        .host_data(*snp.host_data.as_bytes())
        .id_key_digest(*snp.id_key_digest.as_bytes())
        .author_key_digest(*snp.author_key_digest.as_bytes())
        .report_id(*snp.report_id.as_bytes())
}

fn policy_bits(snp: &SnpClaims) -> u64 {
    let policy = &snp.policy;
    let bits = [
        (16, policy.smt),
        (17, true),
        (18, policy.migrate_ma),
        (19, policy.debug),
        (20, policy.single_socket == Bit::Set),
        (21, policy.cxl_allow == Bit::Set),
        (22, policy.mem_aes_256_xts == Bit::Set),
        (23, policy.rapl_dis == Bit::Set),
        (24, policy.ciphertext_hiding_dram == Bit::Set),
        (25, policy.page_swap_disable == Bit::Set),
    ];
    bits.into_iter().fold(0x1f, |all, (at, set)| all | (u64::from(set) << at))
}

pub fn endorsement(guest: &Guest) -> Vec<u8> {
    let uvm = guest.uvm.as_ref().unwrap();
    uvm_signer().endorse_feed(EndorsementForm::TextHeaders, &uvm.feed, uvm.svn, &uvm.measurement).unwrap()
}

/// Everything that there is to say of a guest.
pub fn evidence(guest: &Guest, runtime_data: &[u8]) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.token = Some(sign(&claims(guest, runtime_data)));
    evidence.report = Some(report(guest, runtime_data).sign(vek()));
    evidence.uvm_endorsement = guest.uvm.as_ref().map(|_| endorsement(guest));
    evidence.runtime_data = Some(runtime_data.to_vec());
    evidence
}

/// Everything that vouches for it.
pub fn endorsements() -> Endorsements {
    let mut endorsements = Endorsements::default();
    endorsements.key_set = Some(keys());
    endorsements.key_set_source = KeySetSource::BuiltInRoots;
    endorsements.vek = Some(Vek::from_der(vek().der()));
    endorsements.crls = vec![Crl::Received(amd().crl().issue())];
    endorsements.amd_anchors = amd().anchors();
    endorsements
}

/// The verdict on a guest that responds to our challenge as it should.
pub fn attest(guest: &Guest, policy: &Policy) -> Result<Attestation, AttestationError> {
    let challenge = bound();
    let evidence = evidence(guest, &challenge.runtime_data());
    verify(&evidence, &endorsements(), challenge, policy, NOW)
}

/// The verdict where MAA's claims are changed before they are signed.
pub fn attest_claims(
    guest: &Guest,
    policy: &Policy,
    change: impl FnOnce(TokenClaims) -> TokenClaims,
) -> Result<Attestation, AttestationError> {
    let challenge = bound();
    let mut evidence = evidence(guest, &challenge.runtime_data());
    evidence.token = Some(sign(&change(claims(guest, &challenge.runtime_data()))));
    verify(&evidence, &endorsements(), challenge, policy, NOW)
}

/// The verdict where the report is changed before it is signed.
pub fn attest_report(
    guest: &Guest,
    policy: &Policy,
    change: impl FnOnce(ReportBuilder) -> ReportBuilder,
) -> Result<Attestation, AttestationError> {
    let challenge = bound();
    let mut evidence = evidence(guest, &challenge.runtime_data());
    evidence.report = Some(change(report(guest, &challenge.runtime_data())).sign(vek()));
    verify(&evidence, &endorsements(), challenge, policy, NOW)
}

pub fn with(policy: Policy, change: impl FnOnce(Policy) -> Result<Policy, PolicyError>) -> Policy {
    change(policy).unwrap()
}
