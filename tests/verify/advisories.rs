//! What real reports say of AMD's advisories, and where each floor begins.

use blindbox_attestation::PlatformInfoBit;
use blindbox_attestation::advisories::{self, AdvisoryStatus, Unmet, UnverifiedAdvisories};
use blindbox_attestation::claims::Silicon;
use blindbox_attestation::snp::ReportError;

const fn old(part: &'static str, minimum: u8, actual: u8) -> AdvisoryStatus {
    AdvisoryStatus::NotFixed(Unmet::Tcb { part, minimum, actual: Some(actual) })
}

const NO_VECTORS: AdvisoryStatus = AdvisoryStatus::NotReported { claim: "launch mitigations" };

fn status(found: &UnverifiedAdvisories, name: &str) -> AdvisoryStatus {
    found.findings.iter().find(|finding| finding.advisory.name == name).unwrap().status
}

#[test]
fn reports_of_real_machines_say_which_advisories_are_fixed() {
    use AdvisoryStatus::{Fixed, NothingKnown};
    let Some(vectors) = crate::common::vectors() else { return };
    let bit_2 = AdvisoryStatus::NotFixed(Unmet::Mitigation { vector: "launch", expected: 4, actual: 0xb });
    let names = advisories::all().iter().map(|advisory| advisory.name).collect::<Vec<_>>();
    assert_eq!(
        names,
        ["AMD-SB-3015", "AMD-SB-3019", "AMD-SB-3020", "AMD-SB-3027", "AMD-SB-3023", "AMD-SB-3016", "AMD-SB-3030"]
    );
    for (folder, silicon, expected) in [
        (
            "snp-aci-milan-v3-20250617",
            Silicon::Milan,
            [Fixed, Fixed, NO_VECTORS, NothingKnown, old("snp", 27, 24), old("snp", 27, 24), old("snp", 29, 24)],
        ),
        (
            "snp-aci-genoa-v3-tav",
            Silicon::Genoa,
            [
                Fixed,
                Fixed,
                old("snp", 27, 23),
                old("microcode", 86, 84),
                NothingKnown,
                old("snp", 27, 23),
                NothingKnown,
            ],
        ),
        // A Bergamo or Siena: its microcode 27 is new, though it is below every number of Genoa.
        ("snp-genoa-v5-live", Silicon::Bergamo, [Fixed, Fixed, Fixed, NothingKnown, NothingKnown, bit_2, NothingKnown]),
        // What a VLEK stands for is older than what the machine runs.
        (
            "snp-milan-v3-vlek-aws-ue2",
            Silicon::Milan,
            [
                Fixed,
                old("microcode", 219, 217),
                NO_VECTORS,
                NothingKnown,
                old("snp", 27, 24),
                old("snp", 27, 24),
                old("snp", 29, 24),
            ],
        ),
    ] {
        let report = std::fs::read(vectors.join(folder).join("report.bin")).unwrap();
        let found = UnverifiedAdvisories::read(&report).unwrap();
        assert_eq!(found.silicon, Some(silicon), "{folder}");
        let statuses: Vec<_> = found.findings.iter().map(|finding| finding.status).collect();
        assert_eq!(statuses, expected, "{folder}");
    }
    // A report of version 2 does not say which product it is of.
    let report = std::fs::read(vectors.join("snp-aci-milan-v2-uvm22").join("report.bin")).unwrap();
    let found = UnverifiedAdvisories::read(&report).unwrap();
    assert_eq!((found.product, found.cpuid), (None, None));
    assert_eq!(status(&found, "AMD-SB-3019"), AdvisoryStatus::NotReported { claim: "product" });
    assert_eq!(status(&found, "AMD-SB-3015"), AdvisoryStatus::NotReported { claim: "platform alias-check" });
}

/// Each floor at its number and one below it, on each processor.
#[test]
fn every_floor_begins_at_its_number() {
    let Some(vectors) = crate::common::vectors() else { return };
    let milan = std::fs::read(vectors.join("snp-aci-milan-v3-20250617").join("report.bin")).unwrap();
    let cpuid = |silicon| match silicon {
        Silicon::Milan => [0x19, 0x01, 1],
        Silicon::MilanX => [0x19, 0x01, 2],
        Silicon::Genoa => [0x19, 0x11, 1],
        Silicon::GenoaX => [0x19, 0x11, 2],
        Silicon::Bergamo => [0x19, 0xa0, 2],
        Silicon::Turin => [0x1a, 0x02, 1],
        _ => [0x1a, 0x11, 0],
    };
    // Of version 5, with every mitigation and bit of the platform, and what the fix asks for as its TCB.
    let with = |silicon: Silicon, snp: u8, microcode: u8, mitigations: u8, info: u8| {
        let mut report = milan.clone();
        report[0] = 5;
        report[0x188..0x18b].copy_from_slice(&cpuid(silicon));
        report[0x40] = info;
        for at in [0x1f8, 0x200] {
            report[at] = mitigations;
        }
        for at in [0x38, 0x180, 0x1e0, 0x1f0] {
            report[at..at + 8].fill(0);
            let is_turin = matches!(silicon, Silicon::Turin | Silicon::TurinDense);
            report[at + if is_turin { 3 } else { 6 }] = snp;
            report[at + 7] = microcode;
        }
        UnverifiedAdvisories::read(&report).unwrap()
    };
    for advisory in advisories::all() {
        for silicon in Silicon::ALL {
            let Some(fix) = advisory.fix(silicon) else {
                let found = with(silicon, 255, 255, 255, 255);
                assert_eq!(status(&found, advisory.name), AdvisoryStatus::NothingKnown, "{} {silicon}", advisory.name);
                continue;
            };
            let (snp, microcode) = (fix.tcb.snp.unwrap_or(0), fix.tcb.microcode.unwrap_or(0));
            let of = |snp, microcode, mitigations, info| {
                status(&with(silicon, snp, microcode, mitigations, info), advisory.name)
            };
            assert_eq!(of(snp, microcode, 255, 255), AdvisoryStatus::Fixed, "{} {silicon}", advisory.name);
            if snp > 0 {
                assert_eq!(of(snp - 1, 255, 255, 255), old("snp", snp, snp - 1), "{} {silicon}", advisory.name);
            }
            if microcode > 0 {
                let expected = old("microcode", microcode, microcode - 1);
                assert_eq!(of(255, microcode - 1, 255, 255), expected, "{} {silicon}", advisory.name);
            }
            if let Some(bit) = fix.mitigation {
                let unmet = Unmet::Mitigation {
                    vector: "launch",
                    expected: bit.mask(),
                    actual: u64::from(!(1_u8 << bit.mask().trailing_zeros())),
                };
                let without = u8::try_from(!bit.mask() & 0xff).unwrap();
                assert_eq!(of(255, 255, without, 255), AdvisoryStatus::NotFixed(unmet), "{} {silicon}", advisory.name);
            }
            if let Some(bit) = fix.platform_info {
                let without = if bit == PlatformInfoBit::AliasCheckComplete { !0x20 } else { !0x40 };
                let unmet = AdvisoryStatus::NotFixed(Unmet::PlatformInfo { bit });
                assert_eq!(of(255, 255, 255, without), unmet, "{} {silicon}", advisory.name);
            }
        }
    }
}

/// The numbers of AMD-SB-3019, written out: this is the one that refuses without being asked.
#[test]
fn the_floors_of_entrysign_are_those_of_the_bulletin() {
    let advisory = advisories::all().iter().find(|advisory| advisory.name == "AMD-SB-3019").unwrap();
    let floors = Silicon::ALL.map(|silicon| advisory.fix(silicon).map(|fix| (fix.tcb.snp, fix.tcb.microcode)));
    let floor = |snp, microcode| Some((Some(snp), Some(microcode)));
    assert_eq!(
        floors,
        [floor(0x18, 0xdb), floor(0x18, 0x44), floor(0x17, 0x54), floor(0x17, 0x4f), floor(0x17, 0x19), None, None]
    );
}

#[test]
fn what_is_no_report_is_not_explained() {
    for (bytes, actual) in [(&b""[..], 0), (&[0; 1183], 1183), (&[0; 1185], 1185)] {
        let refused = UnverifiedAdvisories::read(bytes);
        assert_eq!(refused, Err(ReportError::WrongLength { expected: 1184, actual }));
    }
    assert_eq!(UnverifiedAdvisories::read(&[0; 1184]), Err(ReportError::UnsupportedVersion { actual: 0 }));
}
