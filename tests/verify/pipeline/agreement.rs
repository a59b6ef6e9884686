//! Token, report and endorsement in one verification tell one story.

use blindbox_attestation::claims::Cpuid;
use blindbox_attestation::emulator::TokenClaims;
use blindbox_attestation::emulator::amd::ReportBuilder;
use blindbox_attestation::snp::{ReportError, Vek};
use blindbox_attestation::{
    AttestationError, Channel, ChipId, Measurement, Policy, Product, SigningKey, Trust, Verdict, verify,
};
use serde_json::{Value, json};

use crate::scene::*;

/// The error of two documents that state different values: each with its source.
fn mismatch(
    field: &'static str,
    (left_source, left): (&'static str, impl ToString),
    (right_source, right): (&'static str, impl ToString),
) -> AttestationError {
    let (left, right) = (left.to_string(), right.to_string());
    AttestationError::EvidenceMismatch { field, left_source, left, right_source, right }
}

const TOKEN: &str = "token";
const REPORT: &str = "hardware report";

/// A claim as errors show it.
fn text(claim: &Value) -> String {
    claim.as_str().map_or_else(|| claim.to_string(), str::to_owned)
}

#[test]
fn evidence_that_agrees_passes() {
    let attested = attest(&endorsed_container(), &both_policy()).unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    let claims = attested.claims();
    assert!(claims.maa.is_some() && claims.hardware.is_some() && claims.uvm.is_some());
    let check = attested.appraisal().check("hardware report").unwrap();
    assert_eq!((check.verdict, &*check.actual), (Verdict::Allowed, "signed down to the CALLER'S OWN Milan root"));
}

/// Each claim that MAA copies from the report, the name it has in errors, and another value.
fn claims_of_the_report() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("x-ms-sevsnpvm-reportid", "report id", json!("11".repeat(32))),
        ("x-ms-sevsnpvm-launchmeasurement", "launch measurement", json!("11".repeat(48))),
        ("x-ms-sevsnpvm-hostdata", "host data", json!("11".repeat(32))),
        ("x-ms-sevsnpvm-reportdata", "report data", json!("11".repeat(64))),
        ("x-ms-sevsnpvm-guestsvn", "report guest svn", json!(3)),
        ("x-ms-sevsnpvm-vmpl", "vmpl", json!(1)),
        ("x-ms-sevsnpvm-is-debuggable", "guest policy debug", json!(true)),
        ("x-ms-sevsnpvm-migration-allowed", "guest policy migrate-ma", json!(true)),
        ("x-ms-sevsnpvm-smt-allowed", "guest policy smt", json!(false)),
        ("x-ms-sevsnpvm-singlesocket", "guest policy single-socket", json!(true)),
        ("x-ms-sevsnpvm-cxl-allowed", "guest policy cxl-allow", json!(true)),
        ("x-ms-sevsnpvm-mem-aes256-xts-required", "guest policy mem-aes-256-xts", json!(true)),
        ("x-ms-sevsnpvm-rapl-disabled", "guest policy rapl-dis", json!(true)),
        ("x-ms-sevsnpvm-ciphertext-hiding-dram-enabled", "guest policy ciphertext-hiding-dram", json!(true)),
        ("x-ms-sevsnpvm-page-swap-disabled", "guest policy page-swap-disable", json!(true)),
        ("x-ms-sevsnpvm-bootloader-svn", "reported tcb bootloader", json!(99)),
        ("x-ms-sevsnpvm-tee-svn", "reported tcb tee", json!(99)),
        ("x-ms-sevsnpvm-snpfw-svn", "reported tcb snp", json!(99)),
        ("x-ms-sevsnpvm-microcode-svn", "reported tcb microcode", json!(99)),
        ("x-ms-sevsnpvm-idkeydigest", "id key digest", json!("11".repeat(48))),
        ("x-ms-sevsnpvm-authorkeydigest", "author key digest", json!("11".repeat(48))),
        ("x-ms-sevsnpvm-familyId", "family id", json!("11".repeat(16))),
        ("x-ms-sevsnpvm-imageId", "image id", json!("11".repeat(16))),
        ("x-ms-sevsnpvm-chipid", "chip id", json!("11".repeat(64))),
        ("x-ms-sevsnpvm-chip-family", "product", json!("Genoa")),
    ]
}

#[test]
fn a_token_that_differs_in_one_field_is_refused_and_the_field_named() {
    let guest = endorsed_container();
    for (claim, field, other) in claims_of_the_report() {
        let challenge = bound();
        let data = challenge.runtime_data();
        let genuine = claims(&guest, &data);
        let expected = mismatch(field, (TOKEN, text(&other)), (REPORT, text(&genuine.value()[claim])));
        let mut evidence = evidence(&guest, &data);
        evidence.token = Some(sign(&genuine.claim(claim, other)));
        assert_eq!(verify(&evidence, &endorsements(), challenge, &both_policy(), NOW), Err(expected));
    }
}

#[test]
fn every_claim_of_the_report_is_compared() {
    // The claims of the table are all that the token has of a report.
    let compared: Vec<_> = claims_of_the_report().into_iter().map(|(claim, ..)| claim).collect();
    let value = claims(&endorsed_container(), b"{}");
    let of_report = value.value().as_object().unwrap().keys().filter(|name| name.starts_with("x-ms-sevsnpvm-"));
    for name in of_report.filter(|name| !name.contains("uvm-endorsement")) {
        assert!(compared.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_report_that_differs_in_one_field_is_refused_and_the_field_named() {
    type Change = fn(ReportBuilder) -> ReportBuilder;
    let ones = |length| "01".repeat(length);
    let said = |text: &str| text.to_owned();
    let changes: [(&str, String, Change); 17] = [
        ("report id", ones(32), |report| report.report_id([1; 32])),
        ("launch measurement", ones(48), |report| report.measurement([1; 48])),
        ("host data", ones(32), |report| report.host_data([1; 32])),
        ("report data", ones(64), |report| report.report_data([1; 64])),
        ("report guest svn", said("3"), |report| report.guest_svn(3)),
        ("vmpl", said("1"), |report| report.vmpl(1)),
        ("guest policy smt", said("false"), |report| report.policy(0x2_001f)),
        ("guest policy migrate-ma", said("true"), |report| report.policy(0x7_001f)),
        ("guest policy debug", said("true"), |report| report.policy(0xb_001f)),
        ("guest policy single-socket", said("true"), |report| report.policy(0x13_001f)),
        ("guest policy cxl-allow", said("true"), |report| report.policy(0x23_001f)),
        ("guest policy mem-aes-256-xts", said("true"), |report| report.policy(0x43_001f)),
        ("guest policy rapl-dis", said("true"), |report| report.policy(0x83_001f)),
        ("guest policy ciphertext-hiding-dram", said("true"), |report| report.policy(0x103_001f)),
        ("guest policy page-swap-disable", said("true"), |report| report.policy(0x203_001f)),
        ("id key digest", ones(48), |report| report.id_key_digest([1; 48])),
        ("image id", ones(16), |report| report.image_id([1; 16])),
    ];
    let guest = endorsed_container();
    for (named, value, change) in changes {
        let challenge = bound();
        let data = challenge.runtime_data();
        let claims = claims(&guest, &data);
        let (claim, field, _) = claims_of_the_report().into_iter().find(|(_, field, _)| *field == named).unwrap();
        let mut evidence = evidence(&guest, &data);
        evidence.report = Some(change(report(&guest, &data)).sign(vek()));
        let expected = mismatch(field, (TOKEN, text(&claims.value()[claim])), (REPORT, value));
        assert_eq!(verify(&evidence, &endorsements(), challenge, &both_policy(), NOW), Err(expected));
    }
}

/// The report of a VLEK may name no chip: it is not that of a token that names one.
#[test]
fn a_chip_of_the_token_is_not_the_one_that_the_report_hides() {
    let guest = endorsed_container();
    let vlek = amd().vlek().issue();
    let challenge = bound();
    let data = challenge.runtime_data();
    let mut evidence = evidence(&guest, &data);
    evidence.report = Some(report(&guest, &data).chip_id(ChipId::new([0; 64])).sign(&vlek));
    let mut endorsements = endorsements();
    endorsements.vek = Some(Vek::from_der(vlek.der()));
    let expected = mismatch("chip id", (TOKEN, guest.snp.chip_id.unwrap()), (REPORT, "00".repeat(64)));
    assert_eq!(verify(&evidence, &endorsements, challenge, &both_policy(), NOW), Err(expected));
}

#[test]
fn the_token_of_one_guest_with_the_report_of_another_is_refused_by_the_report_id() {
    // A second guest of the same image on the same chip, which attests whatever it is asked to.
    let (one, other) = (endorsed_container(), endorsed_container());
    let challenge = bound();
    let data = challenge.runtime_data();
    let mut mixed = evidence(&one, &data);
    mixed.report = evidence(&other, &data).report;
    let verdict = verify(&mixed, &endorsements(), challenge, &both_policy(), NOW);
    let expected = mismatch("report id", (TOKEN, one.snp.report_id), (REPORT, other.snp.report_id));
    assert_eq!(verdict, Err(expected));
}

#[test]
fn a_report_id_of_zeros_names_no_guest() {
    let mut guest = endorsed_container();
    guest.snp.report_id = blindbox_attestation::ReportId::new([0; 32]);
    let expected = AttestationError::FalseAttestationReport {
        what: "report id",
        expected: "the id of a guest".to_owned(),
        actual: "zeros".to_owned(),
    };
    assert_eq!(attest(&guest, &both_policy()), Err(expected));
}

#[test]
fn an_older_token_that_says_less_is_compared_in_what_it_says() {
    let older = |claims: TokenClaims| {
        let names = [
            "chipid",
            "chip-family",
            "singlesocket",
            "cxl-allowed",
            "mem-aes256-xts-required",
            "rapl-disabled",
            "ciphertext-hiding-dram-enabled",
            "page-swap-disabled",
        ];
        names.into_iter().fold(claims, |claims, name| claims.without(&format!("x-ms-sevsnpvm-{name}")))
    };
    let attested = attest_claims(&endorsed_container(), &both_policy(), older).unwrap();
    // The report says more, and its word is what counts.
    assert_eq!(attested.claims().tee.snp().unwrap().chip_id, Some(vek().chip_id()));
}

#[test]
fn a_chip_that_the_report_masks_is_not_the_one_that_the_token_names() {
    // A report under a VLEK may have its chip masked; then MAA saw no chip either.
    let vlek = amd().vlek().issue();
    let challenge = bound();
    let data = challenge.runtime_data();
    let guest = endorsed_container();
    let mut of_vlek = evidence(&guest, &data);
    of_vlek.report = Some(report(&guest, &data).sign(&vlek));
    let mut endorsements = endorsements();
    endorsements.vek = Some(Vek::from_der(vlek.der()));
    let expected = mismatch("chip id", (TOKEN, guest.snp.chip_id.unwrap()), (REPORT, "00".repeat(64)));
    assert_eq!(verify(&of_vlek, &endorsements, challenge, &both_policy(), NOW), Err(expected));

    let challenge = bound();
    let data = challenge.runtime_data();
    let mut agreeing = evidence(&guest, &data);
    agreeing.report = Some(report(&guest, &data).sign(&vlek));
    agreeing.token = Some(sign(&claims(&guest, &data).claim("x-ms-sevsnpvm-chipid", "0".repeat(128))));
    let policy = both_policy().require_signing_keys([SigningKey::Vlek]).unwrap();
    let attested = verify(&agreeing, &endorsements, challenge, &policy, NOW).unwrap();
    assert_eq!(attested.claims().tee.snp().unwrap().chip_id, None);
}

/// The zeros of a masked chip are compared as they are stated; a token without the claim says nothing.
#[test]
fn a_chip_that_the_token_masks_is_masked_in_the_report() {
    let masked = "0".repeat(128);
    let refused = attest_claims(&endorsed_container(), &both_policy(), |claims| {
        claims.claim("x-ms-sevsnpvm-chipid", masked.clone())
    });
    assert_eq!(refused, Err(mismatch("chip id", (TOKEN, &masked), (REPORT, vek().chip_id()))));
}

#[test]
fn a_product_that_the_report_does_not_say_is_that_of_its_chain() {
    // Nor does it say which processor, without which no microcode has the fix of AMD-SB-3019.
    let trust = Trust::maa_and_amd(ISSUER).unwrap().allow_tcb_below("AMD-SB-3019").unwrap();
    let waiving = Policy::confidential_container(trust, workload(), own_uvm()).unwrap();
    let attested = attest_report(&endorsed_container(), &waiving, |report| report.version(2)).unwrap();
    assert_eq!(attested.claims().tee.snp().unwrap().product, Some(Product::Milan));
    let genoa = Cpuid { family: 0x19, model: 0x11, stepping: 1 };
    let refused = attest_report(&endorsed_container(), &both_policy(), |report| report.cpuid(genoa));
    let of_genoa = ReportError::ProductMismatch { report: Product::Genoa, certificate: Product::Milan };
    assert_eq!(refused, Err(AttestationError::InvalidReport(of_genoa)));
}

#[test]
fn an_endorsement_is_of_this_launch_measurement() {
    let guest = endorsed_container();
    for policy in [amd_policy(), both_policy()] {
        let challenge = bound();
        let mut evidence = evidence(&guest, &challenge.runtime_data());
        let mut other = guest.clone();
        other.uvm.as_mut().unwrap().measurement = Measurement::new([1; 48]);
        evidence.uvm_endorsement = Some(endorsement(&other));
        let verdict = verify(&evidence, &endorsements(), challenge, &policy, NOW);
        let other = ("uvm endorsement", Measurement::new([1; 48]));
        let expected = mismatch("launch measurement", other, ("evidence", guest.snp.measurement));
        assert_eq!(verdict, Err(expected));
    }
    let path = "x-ms-sevsnpvm-uvm-endorsement/x-ms-sevsnpvm-launchmeasurement";
    for (guest, policy) in [(container(), maa_policy()), (guest, both_policy())] {
        let other = |claims: TokenClaims| claims.claim(path, "11".repeat(48));
        let claimed = ("token's uvm endorsement", "11".repeat(48));
        let expected = mismatch("launch measurement", claimed, ("evidence", guest.snp.measurement));
        assert_eq!(attest_claims(&guest, &policy, other), Err(expected));
    }
}

#[test]
fn the_endorsement_that_maa_saw_is_the_one_that_we_see() {
    const ENDORSEMENT: &str = "x-ms-sevsnpvm-uvm-endorsement";
    let guest = endorsed_container();
    let uvm = guest.uvm.clone().unwrap();
    for (path, field, other, seen) in [
        (
            format!("{ENDORSEMENT}-headers/iss"),
            "uvm issuer",
            "did:x509:0:sha256:y::eku:1.2",
            uvm_signer().issuer().to_owned(),
        ),
        (format!("{ENDORSEMENT}-headers/feed"), "uvm feed", "AnotherFeed", uvm.feed),
        (format!("{ENDORSEMENT}/x-ms-sevsnpvm-guestsvn"), "uvm security version", "103", uvm.svn.to_string()),
    ] {
        let refused = attest_claims(&guest, &both_policy(), |claims| claims.claim(&path, other));
        assert_eq!(refused, Err(mismatch(field, (TOKEN, other), ("uvm endorsement", seen))));
    }
}

#[test]
fn what_the_trust_needs_must_be_there() {
    type Change = fn(&mut blindbox_attestation::Evidence, &mut blindbox_attestation::Endorsements);
    let cases: [(&str, Change); 5] = [
        ("an MAA token", |evidence, _| evidence.token = None),
        ("the key set of the MAA instance", |_, endorsements| endorsements.key_set = None),
        ("a hardware report", |evidence, _| evidence.report = None),
        ("the certificate of the key that signed the report", |_, endorsements| endorsements.vek = None),
        ("the endorsement of the utility VM", |evidence, _| evidence.uvm_endorsement = None),
    ];
    for (what, change) in cases {
        let challenge = bound();
        let mut evidence = evidence(&endorsed_container(), &challenge.runtime_data());
        let mut endorsements = endorsements();
        change(&mut evidence, &mut endorsements);
        let verdict = verify(&evidence, &endorsements, challenge, &both_policy(), NOW);
        assert_eq!(verdict, Err(AttestationError::MissingEvidence { what }));
    }
}

#[test]
fn a_measured_container_of_both_needs_no_endorsement() {
    let guest = endorsed_container();
    let trust = Trust::maa_and_amd(ISSUER).unwrap();
    let policy = Policy::confidential_container_by_measurement(trust, workload(), [guest.snp.measurement]).unwrap();
    let challenge = bound();
    let mut evidence = evidence(&guest, &challenge.runtime_data());
    evidence.uvm_endorsement = None;
    let attested = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap();
    assert_eq!(attested.appraisal().check("launch measurement").unwrap().verdict, Verdict::Passed);
}
