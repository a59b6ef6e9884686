//! Times that are not in the one form of RFC 5280 are refused in every place where a time stands.

use blindbox_attestation::Product;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::snp::{
    AmdAnchors, CaChain, CertificateError, CertificateRole, CrlError, CustomAnchors, ReportError, VerifiedCrl,
    VerifiedVek,
};

use crate::malformed_times::malformed_times;

#[test]
fn revocation_lists_with_a_malformed_time_are_refused() {
    let amd = AmdHierarchy::new(Product::Milan);
    let serial_1 = [2, 1, 1];
    for (what, time) in malformed_times() {
        let entry = [&[0x30, u8::try_from(serial_1.len() + time.len()).unwrap()][..], &serial_1, &time].concat();
        let lists = [
            ("thisUpdate", amd.crl().raw_this_update(&time)),
            ("nextUpdate", amd.crl().raw_next_update(&time)),
            ("revocationDate", amd.crl().raw_entry(&entry)),
        ];
        for (place, list) in lists {
            let refused = VerifiedCrl::verify(&list.issue(), Product::Milan, &amd.anchors()).err();
            assert_eq!(refused, Some(CrlError::Malformed), "{what} as {place}");
        }
    }
}

#[test]
fn certificates_with_a_malformed_time_are_refused() {
    let amd = AmdHierarchy::new(Product::Genoa);
    let (begin, end) = (&b"\x17\x0d230101000000Z"[..], &b"\x18\x0f20510101000000Z"[..]);
    let refuse = |role| ReportError::Certificate { role, cause: CertificateError::MalformedTime };
    let good = amd.vcek().raw_validity(begin, end).issue();
    let issued = |role, [not_before, not_after]: [&[u8]; 2]| amd.ca(role).raw_validity(not_before, not_after).issue();
    let anchors = |ark: &[u8], ask: &[u8], asvk: &[u8]| {
        AmdAnchors::custom([CustomAnchors { product: Product::Genoa, ark, ask, asvk }]).err()
    };
    assert!(VerifiedVek::verify(good.der(), None, &amd.anchors()).is_ok());
    assert_eq!(anchors(&issued(CertificateRole::Ark, [begin, end]), amd.ask(), amd.asvk()), None);
    for (what, time) in malformed_times() {
        for (place, validity) in [("notBefore", [&time[..], end]), ("notAfter", [begin, &time[..]])] {
            let vek = amd.vcek().raw_validity(validity[0], validity[1]).issue();
            let refused = VerifiedVek::verify(vek.der(), None, &amd.anchors()).err();
            assert_eq!(refused, Some(refuse(CertificateRole::Vek)), "{what} as {place}");

            let [ark, ask, asvk] = [CertificateRole::Ark, CertificateRole::Ask, CertificateRole::Asvk]
                .map(|role| (refuse(role), issued(role, validity)));
            for (refused, expected) in [
                (anchors(&ark.1, amd.ask(), amd.asvk()), &ark.0),
                (anchors(amd.ark(), &ask.1, amd.asvk()), &ask.0),
                (anchors(amd.ark(), amd.ask(), &asvk.1), &asvk.0),
            ] {
                assert_eq!(refused.as_ref(), Some(expected), "{what} as {place}");
            }
            for (chain, expected) in [
                (CaChain { issuer: &ask.1, ark: amd.ark() }, &ask.0),
                (CaChain { issuer: amd.ask(), ark: &ark.1 }, &ark.0),
            ] {
                let refused = VerifiedVek::verify(good.der(), Some(chain), &amd.anchors()).err();
                assert_eq!(refused.as_ref(), Some(expected), "{what} as {place}");
            }
        }
    }
}
