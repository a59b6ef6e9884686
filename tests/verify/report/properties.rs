//! No input makes the verifier panic, and none but the genuine one is accepted.

use std::sync::LazyLock;

use blindbox_attestation::Product;
use blindbox_attestation::emulator::amd::{AmdHierarchy, SignedVek};
use blindbox_attestation::snp::{
    self, CaChain, Collateral, CollateralRequest, REPORT_LEN, Revocation, VekCertificate, VerifiedCrl,
    certificates_from_pem,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, prop_assume, proptest};
use proptest::sample::Index;

use super::NOW;

struct Genuine {
    amd: AmdHierarchy,
    vek: SignedVek,
    crl: Vec<u8>,
    reports: Vec<Vec<u8>>,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let amd = AmdHierarchy::new(Product::Turin);
    let vek = amd.vcek().issue();
    let reports = (2..=5).map(|version| amd.report().version(version).sign(&vek)).collect();
    let crl = amd.crl().revoke_serial(&[1, 2, 3]).issue();
    Genuine { amd, vek, crl, reports }
});

fn verify(report: &[u8], vek: &[u8], chain: Option<CaChain<'_>>, crl: &[u8]) -> bool {
    let mut collateral = Collateral::new(vek).with_crl(crl);
    if let Some(chain) = chain {
        collateral = collateral.with_chain(chain);
    }
    snp::verify(report, &collateral, &GENUINE.amd.anchors(), Revocation::Require, NOW).is_ok()
}

/// Overwrites, cuts and inserts.
fn mutate(bytes: &[u8], edits: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for (place, kind, value) in edits {
        if out.is_empty() {
            break;
        }
        let at = place.index(out.len());
        match kind % 8 {
            0 => out.truncate(at),
            1 => out.insert(at, *value),
            2 => {
                out.remove(at);
            }
            _ => out[at] = *value,
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..2000)) {
        let Genuine { amd, vek, crl, reports } = &*GENUINE;
        prop_assert!(!verify(&bytes, vek.der(), None, crl));
        prop_assert!(!verify(&reports[0], &bytes, None, crl));
        prop_assert!(!verify(&reports[0], vek.der(), None, &bytes));
        let (issuer, ark) = (amd.ask(), amd.ark());
        for chain in [CaChain { issuer: &bytes, ark }, CaChain { issuer, ark: &bytes }] {
            prop_assert!(!verify(&reports[0], vek.der(), Some(chain), crl));
        }
        prop_assert!(VekCertificate::from_pem(&bytes).is_err());
        prop_assert!(certificates_from_pem(&bytes).is_err());
    }

    #[test]
    fn a_report_of_arbitrary_fields_is_refused(
        bytes in vec(any::<u8>(), REPORT_LEN),
        version in 2_u8..=5,
        model in 0_u8..=0x11,
    ) {
        let mut report = bytes;
        report[..4].copy_from_slice(&[version, 0, 0, 0]);
        report[0x188..0x18b].copy_from_slice(&[0x1a, model, 0]);
        prop_assert!(!verify(&report, GENUINE.vek.der(), None, &GENUINE.crl));
        let _ = CollateralRequest::from_report(&report);
    }

    #[test]
    fn mutated_evidence_is_refused(which in 0_usize..5, edits in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..6)) {
        let Genuine { amd, vek, crl, reports } = &*GENUINE;
        for report in reports {
            let parts = [report.as_slice(), vek.der(), amd.ask(), amd.ark(), crl];
            let changed = mutate(parts[which], &edits);
            prop_assume!(changed != parts[which]);
            let part = |index: usize| if index == which { &changed[..] } else { parts[index] };
            let chain = CaChain { issuer: part(2), ark: part(3) };
            prop_assert!(!verify(part(0), part(1), Some(chain), part(4)), "part {}", which);
            let _ = VekCertificate::from_der(&changed);
            prop_assert!(VerifiedCrl::verify(&changed, Product::Turin, &amd.anchors()).is_err());
        }
    }

    #[test]
    fn the_genuine_evidence_is_accepted_at_any_time_of_its_validity(offset in 0_u64..700_000_000) {
        let Genuine { amd, vek, crl, reports } = &*GENUINE;
        let now = blindbox_attestation::UnixTime::from_secs(1_603_387_385 + offset);
        let collateral = Collateral::new(vek.der()).with_crl(crl);
        let verified = snp::verify(&reports[3], &collateral, &amd.anchors(), Revocation::Require, now);
        prop_assert_eq!(verified.map(|verified| verified.product()), Ok(Product::Turin));
    }
}
