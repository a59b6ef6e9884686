//! Times that are not in the one form of RFC 5280 are refused in every place where a time stands.

use blindbox_attestation::Product;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::snp::{CrlError, VerifiedCrl};

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
