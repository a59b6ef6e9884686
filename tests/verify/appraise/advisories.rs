//! Advisories by processor: what is required, what is advice, what evidence does not say.

use blindbox_attestation::advisories::{Advisory, Mitigation};
use blindbox_attestation::claims::Cpuid;
use blindbox_attestation::emulator::amd::ReportBuilder;
use blindbox_attestation::snp::{ReportError, Vek, VekCertificate};
use blindbox_attestation::{
    AttestationError, BitRequirement, Endorsements, Evidence, Measurement, PlatformInfoBit, Policy, PolicyError,
    Product, Tcb, TcbMinima, TcbMinimum, Trust, Verdict, Violation, verify, verify_recorded,
};

use super::{Verdicts, allowed, failed, not_reported, passed};
use crate::common::vectors;
use crate::scene::*;

const MILAN_X: Cpuid = Cpuid { family: 0x19, model: 1, stepping: 2 };

fn policy(trust: Trust) -> Policy {
    Policy::confidential_container(trust, workload(), own_uvm()).unwrap()
}

/// A report and its certificate of this TCB.
fn attest_tcb(policy: &Policy, tcb: Tcb, change: impl FnOnce(ReportBuilder) -> ReportBuilder) -> Verdicts {
    let mut guest = endorsed_container();
    guest.snp.reported_tcb = tcb;
    let vek = amd().vcek().tcb(tcb).issue();
    let challenge = bound();
    let data = challenge.runtime_data();
    let mut evidence = evidence(&guest, &data);
    evidence.report = Some(change(report(&guest, &data)).sign(&vek));
    let mut endorsements = endorsements();
    endorsements.vek = Some(Vek::from_der(vek.der()));
    verify(&evidence, &endorsements, challenge, policy, NOW)
}

fn tcb(snp: u8, microcode: u8) -> Tcb {
    Tcb::new(None, 4, 0, snp, microcode)
}

#[test]
fn microcode_is_compared_with_the_floor_of_its_processor() {
    let policy = policy(Trust::amd());
    for (cpuid, floor) in [(None, 219), (Some(MILAN_X), 68)] {
        let of = |microcode| {
            attest_tcb(&policy, tcb(24, microcode), |report| match cpuid {
                Some(cpuid) => report.cpuid(cpuid),
                None => report,
            })
        };
        passed(of(floor), "AMD-SB-3019", &format!("bootloader 4, tee 0, snp 24, microcode {floor}"));
        failed(
            of(floor - 1),
            "AMD-SB-3019",
            Violation::TcbTooOld {
                tcb: "reported",
                part: "microcode",
                minimum: floor,
                actual: Some(floor - 1),
                advisory: Some("AMD-SB-3019".to_owned()),
            },
        );
    }
}

#[test]
fn a_processor_that_is_not_known_has_no_microcode_that_passes() {
    let policy = policy(Trust::amd());
    let unknown = Cpuid { family: 0x19, model: 1, stepping: 0 };
    let verdict = attest_tcb(&policy, tcb(24, 255), |report| report.cpuid(unknown));
    not_reported(verdict, "AMD-SB-3019", "a known stepping");
    let verdict = attest_tcb(&policy, tcb(24, 255), |report| report.version(2));
    not_reported(verdict, "AMD-SB-3019", "cpuid");
    // What holds for every processor of the product needs no stepping.
    let verdict = attest_tcb(&policy, tcb(23, 255), |report| report.version(2));
    assert_eq!(verdict.unwrap_err().code(), "tcb-too-old");
}

/// A signed CPUID of a processor without figures must not free a report of another product's floors.
#[test]
fn a_cpuid_of_another_product_than_the_certificate_is_refused() {
    for (cpuid, product) in [
        (Cpuid { family: 0x19, model: 0x11, stepping: 1 }, Product::Genoa),
        (Cpuid { family: 0x19, model: 0x1f, stepping: 7 }, Product::Genoa),
        (Cpuid { family: 0x1a, model: 0x02, stepping: 1 }, Product::Turin),
    ] {
        for version in [3, 5] {
            let verdict =
                attest_tcb(&policy(Trust::amd()), tcb(24, 255), |report| report.version(version).cpuid(cpuid));
            let expected = ReportError::ProductMismatch { report: product, certificate: Product::Milan };
            assert_eq!(verdict.unwrap_err(), AttestationError::InvalidReport(expected), "{cpuid:?}");
        }
    }
}

#[test]
fn advice_is_shown_and_refuses_only_where_it_is_required() {
    let plain = policy(Trust::amd());
    let shown = "NOT FIXED: bootloader 4, tee 0, snp 28, microcode 219, and snp 29 or later is needed; the host could change \
                 the routing of memory-mapped registers, which yields the signing key";
    allowed(attest_tcb(&plain, tcb(28, 219), |report| report), "AMD-SB-3030", shown);
    let attested = attest_tcb(&plain, tcb(28, 219), |report| report).unwrap();
    for (name, verdict) in [
        ("AMD-SB-3015", Verdict::Passed),
        ("AMD-SB-3019", Verdict::Passed),
        ("AMD-SB-3020", Verdict::NotEvaluated("not required, and the evidence does not carry what would show the fix")),
        ("AMD-SB-3027", Verdict::NotEvaluated("no source says what shows the fix on this processor")),
        ("AMD-SB-3023", Verdict::Passed),
        ("AMD-SB-3016", Verdict::NotEvaluated("not required, and the evidence does not carry what would show the fix")),
    ] {
        assert_eq!(attested.appraisal().check(name).unwrap().verdict, verdict, "{name}");
    }
    for required in [
        plain.clone().require_advisories(["AMD-SB-3030"]).unwrap(),
        policy(Trust::maa_and_amd(ISSUER).unwrap()).require_advisories(["AMD-SB-3030", "AMD-SB-3023"]).unwrap(),
    ] {
        failed(
            attest_tcb(&required, tcb(28, 219), |report| report),
            "AMD-SB-3030",
            Violation::TcbTooOld {
                tcb: "reported",
                part: "snp",
                minimum: 29,
                actual: Some(28),
                advisory: Some("AMD-SB-3030".to_owned()),
            },
        );
        let shown = "bootloader 4, tee 0, snp 29, microcode 219";
        passed(attest_tcb(&required, tcb(29, 219), |report| report), "AMD-SB-3030", shown);
    }
}

#[test]
fn what_shows_a_fix_is_all_of_it() {
    let required = policy(Trust::amd()).require_advisories(["AMD-SB-3016"]).unwrap();
    let with = |launch: u64, current: u64| {
        attest_tcb(&required, tcb(27, 219), move |report| {
            report.version(5).launch_mitigation_vector(launch).current_mitigation_vector(current)
        })
    };
    let shown = "bootloader 4, tee 0, snp 27, microcode 219, mitigation of AMD-SB-3016 set";
    passed(with(0b100, 0b110), "AMD-SB-3016", shown);
    for (vector, verdict, actual) in [("launch", with(0b011, 0b100), 0b011), ("current", with(0b100, 0b1000), 0b1000)] {
        failed(
            verdict,
            "AMD-SB-3016",
            Violation::MissingMitigations { vector, expected: Mitigation::AmdSb3016.mask(), actual },
        );
    }
    // A report of version 3 does not have the vectors: what it cannot show is not passed over.
    not_reported(attest_tcb(&required, tcb(27, 219), |report| report), "AMD-SB-3016", "launch mitigations");
    let bad_ram = policy(Trust::amd()).require_advisories(["AMD-SB-3015"]).unwrap();
    let clear = attest_tcb(&bad_ram, tcb(27, 219), |report| report.platform_info(0x05));
    failed(
        clear,
        "AMD-SB-3015",
        Violation::WrongPlatformInfo { bit: PlatformInfoBit::AliasCheckComplete, must: BitRequirement::Set },
    );
}

#[test]
fn a_processor_without_a_known_fix_meets_a_day_and_no_name() {
    let named = policy(Trust::amd()).require_advisories(["AMD-SB-3027"]).unwrap();
    not_reported(attest_tcb(&named, tcb(24, 219), |report| report), "AMD-SB-3027", "a fix for this processor");
    let by_day = policy(Trust::amd()).require_advisories_until("2026-02-10").unwrap();
    let complete = |snp| {
        attest_tcb(&by_day, tcb(snp, 219), |report| {
            report.version(5).launch_mitigation_vector(0b10).current_mitigation_vector(0b10)
        })
    };
    allowed(complete(27), "AMD-SB-3027", "NOT KNOWN: no source says what shows the fix on this processor");
    // The day itself is included, the next advisory is not.
    failed(
        complete(26),
        "AMD-SB-3023",
        Violation::TcbTooOld {
            tcb: "reported",
            part: "snp",
            minimum: 27,
            actual: Some(26),
            advisory: Some("AMD-SB-3023".to_owned()),
        },
    );
    let attested = complete(27).unwrap();
    assert_eq!(attested.appraisal().check("AMD-SB-3030").unwrap().verdict, Verdict::Allowed);
}

#[test]
fn a_token_is_held_to_what_is_required_and_shows_no_microcode() {
    let maa = || Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), own_uvm()).unwrap();
    let guest = endorsed_container();
    let attested = attest(&guest, &maa()).unwrap();
    assert_eq!(attested.appraisal().check("AMD-SB-3019"), None);
    let codes: Vec<_> = maa().lint().iter().map(|lint| lint.code).collect();
    assert!(codes.contains(&"no-advisory-floors"), "{codes:?}");
    let microcode = maa().require_advisories(["AMD-SB-3019"]).unwrap();
    not_reported(attest(&guest, &microcode), "AMD-SB-3019", "cpuid");
    // SNP firmware is of the product, which newer tokens name.
    let snp = maa().require_advisories(["AMD-SB-3023"]).unwrap();
    let mut new = guest.clone();
    new.snp.reported_tcb = tcb(27, 219);
    passed(attest(&new, &snp), "AMD-SB-3023", "bootloader 4, tee 0, snp 27, microcode 219");
    assert_eq!(attest(&guest, &snp).unwrap_err().code(), "tcb-too-old");
    new.snp.product = None;
    not_reported(attest(&new, &snp), "AMD-SB-3023", "product");
}

#[test]
fn a_processor_has_a_minimum_of_its_own() {
    let minima = TcbMinima::for_product(blindbox_attestation::Product::Milan, TcbMinimum::new().snp(24).microcode(219))
        .with_silicon(blindbox_attestation::claims::Silicon::MilanX, TcbMinimum::new().microcode(70));
    let required = policy(Trust::amd()).require_reported_tcb(minima).unwrap();
    let x = |microcode| attest_tcb(&required, tcb(24, microcode), |report| report.cpuid(MILAN_X));
    passed(x(70), "reported tcb", "bootloader 4, tee 0, snp 24, microcode 70");
    failed(
        x(69),
        "reported tcb",
        Violation::TcbTooOld { tcb: "reported", part: "microcode", minimum: 70, actual: Some(69), advisory: None },
    );
    passed(
        attest_tcb(&required, tcb(24, 219), |report| report),
        "reported tcb",
        "bootloader 4, tee 0, snp 24, microcode 219",
    );
    // A token could be of either, and says neither.
    let maa = policy(Trust::maa(ISSUER).unwrap()).require_reported_tcb(minima).unwrap();
    not_reported(attest(&endorsed_container(), &maa), "reported tcb", "cpuid");
}

#[test]
fn the_provider_of_a_vlek_is_required_by_name() {
    let required = policy(Trust::amd()).require_csp_ids(["Example", "Other"]).unwrap();
    not_reported(attest(&endorsed_container(), &required), "csp id", "csp id");
    let with_vlek = |provider: &str| {
        let vlek = amd().vlek().csp_id(provider).issue();
        let mut guest = endorsed_container();
        // A VLEK is the same on many chips: neither token nor report names one.
        guest.snp.chip_id = None;
        let challenge = bound();
        let data = challenge.runtime_data();
        let mut evidence = evidence(&guest, &data);
        evidence.report = Some(report(&guest, &data).chip_id(vlek.chip_id()).sign(&vlek));
        let mut endorsements = endorsements();
        endorsements.vek = Some(Vek::from_der(vlek.der()));
        verify(&evidence, &endorsements, challenge, &required, NOW)
    };
    passed(with_vlek("Example"), "csp id", "Example");
    passed(with_vlek("Other"), "csp id", "Other");
    let (whole, cut) = ("x".repeat(64), format!("{}…", "x".repeat(64)));
    let expected = "one of Example, Other";
    failed(
        with_vlek(&"x".repeat(65)),
        "csp id",
        Violation::WrongChip { field: "csp id", expected: expected.into(), actual: cut },
    );
    for wrong in ["example", "Example ", "Examples", "CN=Example", &whole] {
        failed(
            with_vlek(wrong),
            "csp id",
            Violation::WrongChip { field: "csp id", expected: expected.into(), actual: wrong.into() },
        );
    }
}

/// A day of which the table knows nothing is shown as such, under MAA trust too.
#[test]
fn what_was_published_after_the_table_is_not_called_fixed() {
    for trust in [Trust::amd(), Trust::maa(ISSUER).unwrap()] {
        for (day, shown) in [(Advisory::AS_OF, false), ("2026-10-09", true)] {
            let until = policy(trust.clone()).require_advisories_until(day).unwrap();
            let appraisal = match attest(&endorsed_container(), &until) {
                Ok(attested) => attested.appraisal().clone(),
                Err(refused) => refused.appraisal().unwrap().clone(),
            };
            let check = appraisal.check("advisories").map(|check| (check.verdict, check.actual.to_string()));
            let known = format!("NOT KNOWN after {}, the day of the table of this release", Advisory::AS_OF);
            assert_eq!(check, shown.then_some((Verdict::Allowed, known)), "{day}");
        }
    }
}

/// A report of AWS with its VLEK. It is of no container of Azure, so that other checks fail; this one is about its provider.
#[test]
fn the_provider_of_a_recorded_vlek_is_accepted_by_its_name_only() {
    let Some(vectors) = vectors() else { return };
    let read = |name: &str| std::fs::read(vectors.join("snp-milan-v3-vlek-aws-ue2").join(name)).unwrap();
    let mut evidence = Evidence::default();
    evidence.report = Some(read("report.bin"));
    let mut endorsements = Endorsements::default();
    let vlek = VekCertificate::from_der(&read("vlek.der")).unwrap();
    endorsements.vek = Some(Vek::from_der(vlek.as_der()));
    let trust = || Trust::amd().allow_no_revocation_check().unwrap();
    let measurement = Measurement::new([1; 48]);
    let policy = |provider| {
        let policy = Policy::confidential_container_by_measurement(trust(), workload(), [measurement]).unwrap();
        policy.require_csp_ids([provider]).unwrap()
    };
    for (provider, verdict) in [
        ("CN=cc-us-east-2.amazonaws.com", Verdict::Passed),
        ("cc-us-east-2.amazonaws.com", Verdict::Failed),
        ("CN=cc-us-east-1.amazonaws.com", Verdict::Failed),
    ] {
        let refused = verify_recorded(&evidence, &endorsements, &policy(provider), vlek.not_before().plus(86_400));
        let refused = refused.unwrap_err();
        let check = refused.appraisal().unwrap().check("csp id").unwrap();
        assert_eq!((check.verdict, &*check.actual), (verdict, "CN=cc-us-east-2.amazonaws.com"), "{provider}");
    }
}

#[test]
fn only_known_advisories_are_required_and_not_what_is_waived() {
    let plain = || policy(Trust::amd());
    let unusable = |requirement, reason| PolicyError::UnusableValue { requirement, reason };
    let unknown = "names an advisory of which this release does not know what shows its fix; `advisories::all` and docs/trust.md list those it \
         knows";
    assert_eq!(plain().require_advisories(["AMD-SB-3034"]), Err(unusable("require.advisories", unknown)));
    let until = |day| plain().require_advisories_until(day);
    let early = "is before the first advisory that this release knows, so it requires nothing";
    assert_eq!(until("2024-01-01"), Err(unusable("require.advisories-until", early)));
    let form = "is not a day in the form `2026-05-31`";
    assert_eq!(until("2026-1-1"), Err(unusable("require.advisories-until", form)));
    let waiving = policy(Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap());
    let refused = waiving.clone().require_advisories(["AMD-SB-3019"]);
    assert!(matches!(&refused, Err(PolicyError::Contradiction { reason }) if reason.contains("waives")), "{refused:?}");
    // A waiver is for one advisory, and a day does not take it back.
    let by_day = waiving.require_advisories_until("2025-02-03").unwrap();
    let attested = attest_tcb(&by_day, tcb(23, 219), |report| report).unwrap();
    assert_eq!(attested.appraisal().check("AMD-SB-3019").unwrap().verdict, Verdict::Allowed);
    let refused = Trust::amd().allow_tcb_below("AMD-SB-3030");
    let nothing = "names an advisory that this release does not require by itself, so there is nothing to waive";
    assert_eq!(refused, Err(unusable("trust.amd.waived-advisories", nothing)));
}
