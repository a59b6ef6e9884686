//! Counts the steps of the parsers of untrusted bytes, in unit tests only: a bound on work that no busy machine changes.
//!
//! A parser calls [`step`] for each element that it reads and each comparison whose number an input can choose. Outside
//! of unit tests the call is nothing.

/// One step of a parser.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn step() {}

/// One step of a parser.
#[cfg(test)]
pub(crate) fn step() {
    STEPS.with(|steps| steps.set(steps.get().saturating_add(1)));
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::STEPS;
    use crate::json;
    use crate::maa::{KeySet, KeySetError};
    use crate::snp::{CertificateError, VekCertificate, certificates_from_pem};
    use crate::uvm::{CoseError, EndorsementError, MAX_ENDORSEMENT_LEN, read_unverified};

    fn steps_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        STEPS.set(0);
        let result = work();
        (result, STEPS.get())
    }

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], contents].concat()
    }

    /// A certificate of the greatest length, all of it extensions: it is refused after the 33rd.
    #[test]
    fn a_certificate_full_of_extensions_costs_what_32_cost() {
        let with = |count: usize| {
            let each = |arc: usize| {
                let arc = u16::try_from(arc).unwrap();
                let oid = [0x2a, 0x81, u8::try_from(0x80 | (arc >> 7)).unwrap(), u8::try_from(arc & 0x7f).unwrap()];
                [&[0x30, 8, 6, 4][..], &oid, &[4, 0]].concat()
            };
            let extensions = element(0xa3, &element(0x30, &(0..count).flat_map(each).collect::<Vec<u8>>()));
            let algorithm = [0x30, 0];
            let times = *b"\x30\x1e\x17\x0d230101000000Z\x17\x0d330101000000Z";
            let head =
                [&[0xa0, 3, 2, 1, 2, 2, 1, 1][..], &algorithm, &[0x30, 0], &times, &[0x30, 0], &[0x30, 0]].concat();
            let body = element(0x30, &[head, extensions].concat());
            element(0x30, &[&body[..], &algorithm, &[3, 1, 0]].concat())
        };
        let largest = with(800);
        assert!((8_000..=8_192).contains(&largest.len()), "{}", largest.len());
        let (refused, steps) = steps_of(|| VekCertificate::from_der(&largest).err());
        assert_eq!(refused, Some(CertificateError::TooManyExtensions { limit: 32 }));
        assert_eq!(steps, steps_of(|| VekCertificate::from_der(&with(33)).err()).1);
        // 3 or 4 elements for each of 33 extensions, 32 * 31 / 2 comparisons, and the rest of the certificate.
        assert!((500..800).contains(&steps), "{steps}");
    }

    /// A step for each line.
    #[test]
    fn a_pem_text_costs_its_lines() {
        let text = "x\n".repeat(73_000);
        let (refused, steps) = steps_of(|| certificates_from_pem(text.as_bytes()).err());
        assert_eq!(refused, Some(CertificateError::Malformed));
        assert_eq!(steps, 73_000);
    }

    /// The most members of one object, in the worst order and with names that differ at their ends only.
    #[test]
    fn json_costs_n_log_n() {
        let member = |number: usize| format!("\"{}{number:05}\":0", "n".repeat(80));
        let document = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| member(number * 7_919 % count)).collect();
            format!("{{{}}}", members.join(","))
        };
        // 16,384 values are read: the object and its members.
        let (read, steps) = steps_of(|| json::parse(document(16_383).as_bytes()).is_ok());
        assert!(read);
        // A step for each value, and a sort: n log2 n is 16,384 * 14.
        assert!((16_384..16_384 * 16).contains(&steps), "{steps}");
        let (refused, steps) = steps_of(|| json::parse(document(16_384).as_bytes()).err());
        assert_eq!(refused, Some(json::JsonError::TooManyValues { max: 16_384 }));
        assert!(steps <= 16_384 + 1, "{steps}");
        let zeros = format!("{{\"keys\":[{}]}}", vec!["0"; 1 << 20].join(","));
        let (refused, steps) = steps_of(|| KeySet::from_json(zeros.as_bytes()).err());
        assert!(matches!(
            refused,
            Some(KeySetError::NotJson(json::JsonError::TooManyValues { .. }) | KeySetError::TooLarge { .. })
        ));
        assert!(steps <= 16_385, "{steps}");
    }

    /// The most keys of one map in a protected header: a head for each key and value, and a set of them.
    #[test]
    fn a_cbor_map_costs_n_log_n() {
        let pairs: Vec<u8> = (0..15_000_u16).flat_map(|key| [&[0x19][..], &key.to_be_bytes(), &[0]].concat()).collect();
        let header = [&[0xb9][..], &15_000_u16.to_be_bytes(), &pairs].concat();
        let length = u16::try_from(header.len()).unwrap().to_be_bytes();
        let document = [&[0xd2, 0x84, 0x59][..], &length, &header, &[0xa0, 0x40, 0x40]].concat();
        assert!(document.len() > MAX_ENDORSEMENT_LEN - 6_000 && document.len() <= MAX_ENDORSEMENT_LEN);
        let (_, steps) = steps_of(|| read_unverified(&document));
        assert!((30_000..15_000 * 20).contains(&steps), "{steps}");
        // Nesting ends at its limit.
        let deep = [&[0xd2, 0x84, 0x59, 0xf0, 0x00, 0xa1, 0x01][..], &[0x81; 0xeffe], &[0xa0, 0x40, 0x40]].concat();
        let (refused, steps) = steps_of(|| read_unverified(&deep).err());
        assert_eq!(refused, Some(EndorsementError::Malformed(CoseError::TooDeep)));
        assert!(steps < 64, "{steps}");
    }
}
