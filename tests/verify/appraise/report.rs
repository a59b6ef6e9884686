//! What only a hardware report carries.

use blindbox_attestation::advisories::Mitigation;
use blindbox_attestation::emulator::amd::ReportBuilder;
use blindbox_attestation::snp::{ReportError, Vek};
use blindbox_attestation::{
    AbiVersion, AttestationError, BitRequirement, FirmwareVersion, PlatformInfoBit, Policy, Product, ReportId, Tcb,
    TcbMinima, TcbMinimum, Trust, Verdict, Violation, verify,
};

use super::{Verdicts, allowed, failed, not_reported, passed};
use crate::scene::*;

fn under_both(change: impl Fn(Policy) -> Policy) -> [Policy; 2] {
    [amd_policy(), both_policy()].map(change)
}

/// A report of version 2 does not say its processor, and so not whether its microcode has the fix of AMD-SB-3019.
fn waiving(change: impl Fn(Policy) -> Policy) -> [Policy; 2] {
    let trusts = [Trust::amd(), Trust::maa_and_amd(ISSUER).unwrap()];
    trusts.map(|trust| {
        let trust = trust.allow_tcb_below("AMD-SB-3019").unwrap();
        change(Policy::confidential_container(trust, workload(), own_uvm()).unwrap())
    })
}

fn report_with(policy: &Policy, change: impl FnOnce(ReportBuilder) -> ReportBuilder) -> Verdicts {
    attest_report(&endorsed_container(), policy, change)
}

const FIRMWARE: fn(u8, u8, u8) -> FirmwareVersion = |major, minor, build| FirmwareVersion { major, minor, build };

#[test]
fn the_other_tcbs_are_new_enough() {
    type Require = fn(Policy, TcbMinima) -> Policy;
    type Write = fn(ReportBuilder, Tcb) -> ReportBuilder;
    let tcbs: [(&'static str, &'static str, Require, Write); 3] = [
        ("committed", "committed tcb", |p, m| p.require_committed_tcb(m).unwrap(), ReportBuilder::committed_tcb),
        ("current", "current tcb", |p, m| p.require_current_tcb(m).unwrap(), ReportBuilder::current_tcb),
        ("launch", "launch tcb", |p, m| p.require_launch_tcb(m).unwrap(), ReportBuilder::launch_tcb),
    ];
    let minima = TcbMinima::for_product(Product::Milan, TcbMinimum::new().snp(25).microcode(220));
    for (tcb, name, require, write) in tcbs {
        for policy in under_both(|policy| require(policy, minima)) {
            let shown = "bootloader 5, tee 2, snp 25, microcode 220";
            // What runs is at least what was committed to.
            let with =
                |tcb| report_with(&policy, |report| write(report.current_tcb(Tcb::new(None, 255, 255, 255, 255)), tcb));
            passed(with(Tcb::new(None, 5, 2, 25, 220)), name, shown);
            let old = with(Tcb::new(None, 255, 255, 25, 219));
            failed(
                old,
                name,
                Violation::TcbTooOld { tcb, part: "microcode", minimum: 220, actual: Some(219), advisory: None },
            );
        }
        let turin = TcbMinima::for_product(Product::Turin, TcbMinimum::new().fmc(1));
        for policy in under_both(|policy| require(policy, turin)) {
            failed(
                report_with(&policy, |report| report),
                name,
                Violation::WrongChip {
                    field: "product",
                    expected: "a product that the policy has a minimum for".to_owned(),
                    actual: "Milan".to_owned(),
                },
            );
        }
    }
}

#[test]
fn a_published_weakness_is_refused_unless_waived() {
    let guest = {
        let mut guest = endorsed_container();
        guest.snp.reported_tcb = Tcb::new(None, 4, 0, 23, 219);
        guest
    };
    let old = amd().vcek().tcb(guest.snp.reported_tcb).issue();
    let attest = |trust: Trust| {
        let policy = Policy::confidential_container(trust, workload(), own_uvm()).unwrap();
        let challenge = bound();
        let data = challenge.runtime_data();
        let mut evidence = evidence(&guest, &data);
        evidence.report = Some(report(&guest, &data).sign(&old));
        let mut endorsements = endorsements();
        endorsements.vek = Some(Vek::from_der(old.der()));
        verify(&evidence, &endorsements, challenge, &policy, NOW)
    };
    for trust in [Trust::amd(), Trust::maa_and_amd(ISSUER).unwrap()] {
        failed(
            attest(trust.clone()),
            "AMD-SB-3019",
            Violation::TcbTooOld {
                tcb: "reported",
                part: "snp",
                minimum: 24,
                actual: Some(23),
                advisory: Some("AMD-SB-3019".to_owned()),
            },
        );
        let shown = "NOT FIXED: bootloader 4, tee 0, snp 23, microcode 219, and snp 24 or later is needed; microcode \
                     patches with a forged signature could be loaded";
        allowed(attest(trust.allow_tcb_below("AMD-SB-3019").unwrap()), "AMD-SB-3019", shown);
    }
}

#[test]
fn firmware_is_new_enough_and_committed() {
    for policy in under_both(|policy| policy.require_minimum_firmware(FIRMWARE(1, 55, 29)).unwrap()) {
        for enough in [FIRMWARE(1, 55, 29), FIRMWARE(1, 56, 0), FIRMWARE(2, 0, 0)] {
            let verdict = report_with(&policy, |report| report.current_firmware(enough));
            passed(verdict, "running firmware", &enough.to_string());
        }
        for old in [FIRMWARE(1, 55, 28), FIRMWARE(1, 54, 99), FIRMWARE(0, 99, 99)] {
            let verdict = report_with(&policy, |report| report.current_firmware(old));
            failed(
                verdict,
                "running firmware",
                Violation::FirmwareTooOld {
                    firmware: "running",
                    expected: "1.55.29 or later".to_owned(),
                    actual: old.to_string(),
                },
            );
        }
    }
    for policy in under_both(|policy| policy.require_minimum_committed_firmware(FIRMWARE(1, 55, 29)).unwrap()) {
        let verdict = report_with(&policy, |report| report.committed_firmware(FIRMWARE(1, 55, 30)));
        passed(verdict, "committed firmware", "1.55.30");
        let verdict = report_with(&policy, |report| report.committed_firmware(FIRMWARE(1, 54, 29)));
        failed(
            verdict,
            "committed firmware",
            Violation::FirmwareTooOld {
                firmware: "committed",
                expected: "1.55.29 or later".to_owned(),
                actual: "1.54.29".to_owned(),
            },
        );
    }
    for policy in under_both(|policy| policy.require_committed_firmware_only().unwrap()) {
        let same = "running 1.55.29, committed 1.55.29";
        passed(report_with(&policy, |report| report), "provisional firmware", same);
        let provisional = report_with(&policy, |report| report.current_firmware(FIRMWARE(1, 55, 30)));
        failed(
            provisional,
            "provisional firmware",
            Violation::FirmwareTooOld {
                firmware: "running",
                expected: "the committed one".to_owned(),
                actual: "running 1.55.30, committed 1.55.29".to_owned(),
            },
        );
        let tcb = report_with(&policy, |report| report.current_tcb(Tcb::new(None, 4, 0, 24, 220)));
        assert_eq!(tcb.unwrap_err().code(), "firmware-too-old");
    }
}

#[test]
fn each_bit_of_the_platform_is_as_required() {
    use PlatformInfoBit::{
        AliasCheckComplete, CiphertextHidingDramEn, EccEn, IommuWriteSafe, RaplDis, SmtEn, TioEn, TsmeEn,
    };
    let bits = [
        (SmtEn, "platform smt-en", 0),
        (TsmeEn, "platform tsme-en", 1),
        (EccEn, "platform ecc-en", 2),
        (RaplDis, "platform rapl-dis", 3),
        (CiphertextHidingDramEn, "platform ciphertext-hiding", 4),
        (AliasCheckComplete, "platform alias-check", 5),
        (IommuWriteSafe, "platform iommu-write-safe", 6),
        (TioEn, "platform tio-en", 7),
    ];
    for (bit, name, at) in bits {
        for must in [BitRequirement::Set, BitRequirement::Clear] {
            for policy in under_both(|policy| policy.require_platform_info(bit, must).unwrap()) {
                let (good, bad, shown) = match must {
                    BitRequirement::Set => (1 << at, !(1 << at) & 0xff, "set"),
                    BitRequirement::Clear => (!(1 << at) & 0xff, 1 << at, "clear"),
                };
                let of = |info| move |report: ReportBuilder| report.version(5).platform_info(info);
                passed(report_with(&policy, of(good)), name, shown);
                failed(report_with(&policy, of(bad)), name, Violation::WrongPlatformInfo { bit, must });
            }
        }
    }
    // What a version of the report does not define, it does not say, whatever stands there.
    for (bit, name, version) in [
        (AliasCheckComplete, "platform alias-check", 2),
        (IommuWriteSafe, "platform iommu-write-safe", 4),
        (TioEn, "platform tio-en", 3),
    ] {
        for must in [BitRequirement::Set, BitRequirement::Clear] {
            for policy in waiving(|policy| policy.require_platform_info(bit, must).unwrap()) {
                let verdict = report_with(&policy, |report| report.version(version).platform_info(0xff));
                not_reported(verdict, name, name);
            }
        }
    }
}

#[test]
fn a_migration_agent_is_refused_unless_allowed() {
    let with_agent = |report: ReportBuilder| report.report_id_ma([0x33; 32]);
    for policy in under_both(|policy| policy) {
        passed(report_with(&policy, |report| report), "migration agent", "none");
        // An id of which one byte alone is not 0xff is that of an agent too.
        let mut almost_none = [0xff; 32];
        almost_none[31] = 0xfe;
        for id in [[0; 32], [0x33; 32], almost_none] {
            let verdict = report_with(&policy, |report| report.report_id_ma(id));
            failed(verdict, "migration agent", Violation::MigrationAllowed);
        }
        let allowing = policy.allow_migration().unwrap();
        allowed(report_with(&allowing, with_agent), "migration agent", "PRESENT: it can move the guest");
    }
}

#[test]
fn the_abi_that_the_guest_asks_for_is_new_enough() {
    let asks_for = |major: u64, minor: u64| move |report: ReportBuilder| report.policy(0x3_0000 | (major << 8) | minor);
    for policy in under_both(|policy| policy.require_minimum_guest_abi(AbiVersion { major: 1, minor: 51 }).unwrap()) {
        for (major, minor) in [(1, 51), (2, 0)] {
            passed(report_with(&policy, asks_for(major, minor)), "guest abi", &format!("{major}.{minor}"));
        }
        for (major, minor) in [(1, 50), (0, 255)] {
            failed(
                report_with(&policy, asks_for(major, minor)),
                "guest abi",
                Violation::WrongGuestPolicy {
                    bit: None,
                    expected: "1.51 or later".to_owned(),
                    actual: format!("{major}.{minor}"),
                },
            );
        }
    }
}

#[test]
fn an_author_key_was_used() {
    for policy in under_both(|policy| policy.require_any_author_key().unwrap()) {
        passed(report_with(&policy, |report| report.key_info(1)), "author key enabled", "used");
        failed(
            report_with(&policy, |report| report),
            "author key enabled",
            Violation::WrongGuestIdentity {
                field: "author key",
                expected: "an author key".to_owned(),
                actual: "none".to_owned(),
            },
        );
    }
}

#[test]
fn mitigations_are_in_force() {
    type Require = fn(Policy) -> Policy;
    type Write = fn(ReportBuilder, u64) -> ReportBuilder;
    let vectors: [(&'static str, &'static str, Require, Write); 2] = [
        (
            "launch",
            "launch mitigations",
            |policy| policy.require_launch_mitigations(0b101).unwrap(),
            ReportBuilder::launch_mitigation_vector,
        ),
        (
            "current",
            "current mitigations",
            |policy| policy.require_current_mitigations(0b101).unwrap(),
            ReportBuilder::current_mitigation_vector,
        ),
    ];
    for (vector, name, require, write) in vectors {
        for policy in waiving(require) {
            passed(report_with(&policy, |report| write(report.version(5), 0b1111)), name, "0xf");
            failed(
                report_with(&policy, |report| write(report.version(5), 0b1011)),
                name,
                Violation::MissingMitigations { vector, expected: 0b101, actual: 0b1011 },
            );
            for version in [2, 3, 4] {
                not_reported(report_with(&policy, |report| report.version(version)), name, name);
            }
        }
    }
}

#[test]
fn named_mitigations_are_in_force_and_were_at_launch() {
    let bits = [Mitigation::AmdSb3016, Mitigation::AmdSb3030];
    for policy in waiving(|policy| policy.require_mitigations(bits).unwrap()) {
        let with = |launch, current| {
            let write = move |report: ReportBuilder| report.version(5).launch_mitigation_vector(launch);
            report_with(&policy, move |report| write(report).current_mitigation_vector(current))
        };
        passed(with(0b1_0100, 0b1_0110), "named launch mitigations", "0x14");
        passed(with(0b1_0100, 0b1_0110), "named current mitigations", "0x16");
        for (vector, name, verdict) in [
            ("launch", "named launch mitigations", with(0b0_0100, 0b1_0100)),
            ("current", "named current mitigations", with(0b1_0100, 0b0_0100)),
        ] {
            failed(verdict, name, Violation::MissingMitigations { vector, expected: 0b1_0100, actual: 0b0_0100 });
        }
        let before = report_with(&policy, |report| report.version(3)).unwrap_err();
        let Some(Violation::NotReported { claim, .. }) = before.violation() else { panic!("{before}") };
        assert_eq!(*claim, "named launch mitigations");
    }
}

#[test]
fn bits_of_the_platform_that_have_no_name_are_shown() {
    for policy in under_both(|policy| policy) {
        let none = report_with(&policy, |report| report).unwrap();
        assert_eq!(none.appraisal().check("platform unnamed bits"), None);
        let attested = report_with(&policy, |report| report.platform_info(0x8000_0000_0000_0125)).unwrap();
        let check = attested.appraisal().check("platform unnamed bits").unwrap();
        let reason = "no published table names these bits";
        assert_eq!((check.verdict, &*check.actual), (Verdict::NotEvaluated(reason), "0x8000000000000100"));
    }
}

#[test]
fn a_report_does_not_claim_a_tcb_that_its_platform_does_not_have() {
    type Write = fn(ReportBuilder, Tcb) -> ReportBuilder;
    let tcbs: [(&'static str, Write); 2] =
        [("COMMITTED_TCB", ReportBuilder::committed_tcb), ("CURRENT_TCB", ReportBuilder::current_tcb)];
    let reported = Tcb::new(None, 4, 0, 24, 219);
    for (field, write) in tcbs {
        for (part, actual) in [
            ("bootloader", Tcb::new(None, 3, 0, 24, 219)),
            ("snp", Tcb::new(None, 4, 0, 23, 255)),
            ("microcode", Tcb::new(None, 4, 0, 24, 218)),
        ] {
            for policy in under_both(|policy| policy) {
                let refused = report_with(&policy, |report| write(report, actual)).unwrap_err();
                let error = ReportError::TcbAbovePlatform { part, reported, field, actual };
                assert_eq!(refused, AttestationError::InvalidReport(error));
            }
        }
        let newer = |report: ReportBuilder| {
            write(report.current_tcb(Tcb::new(None, 4, 1, 24, 220)), Tcb::new(None, 4, 1, 24, 220))
        };
        for policy in under_both(|policy| policy) {
            assert!(report_with(&policy, newer).is_ok());
        }
    }
    // Nor that it runs less than it has committed to.
    for (part, committed) in [
        ("bootloader", Tcb::new(None, 6, 1, 25, 220)),
        ("tee", Tcb::new(None, 5, 2, 25, 220)),
        ("snp", Tcb::new(None, 5, 1, 26, 219)),
        ("microcode", Tcb::new(None, 4, 0, 24, 221)),
    ] {
        let current = Tcb::new(None, 5, 1, 25, 220);
        for policy in under_both(|policy| policy) {
            let refused =
                report_with(&policy, |report| report.committed_tcb(committed).current_tcb(current)).unwrap_err();
            let error = ReportError::CommittedTcbAboveCurrent { part, committed, current };
            assert_eq!(refused, AttestationError::InvalidReport(error));
        }
    }
}

#[test]
fn a_report_without_a_guest_is_refused_under_every_trust() {
    let mut guest = endorsed_container();
    guest.snp.report_id = ReportId::new([0; 32]);
    for policy in [maa_policy(), amd_policy(), both_policy()] {
        let error = AttestationError::FalseAttestationReport {
            what: "report id",
            expected: "the id of a guest".to_owned(),
            actual: "zeros".to_owned(),
        };
        assert_eq!(attest(&guest, &policy).unwrap_err(), error);
    }
}
