//! Variable-length integers of RFC 9000 section 16: the two highest bits of the first byte give the length.

/// The largest value: 2^62 - 1.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Reads an integer from the start of `bytes`, with the number of bytes that it takes. `None` if it is not there in full. Every
/// encoding of a value is accepted, as RFC 9000 section 16 says.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len: usize = match first >> 6 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

/// Appends a length in its shortest encoding. `None`, and nothing appended, above [`MAX`].
pub(super) fn write(value: usize, out: &mut Vec<u8>) -> Option<()> {
    let value = u64::try_from(value).ok().filter(|value| *value <= MAX)?;
    let bytes = value.to_be_bytes();
    let (len, mark): (usize, u8) = match value {
        0..=0x3f => (1, 0x00),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        _ => (8, 0xc0),
    };
    let shortest = bytes.get(bytes.len().checked_sub(len)?..)?;
    let (first, rest) = shortest.split_first()?;
    out.push(first | mark);
    out.extend_from_slice(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    /// The examples of RFC 9000 appendix A.1, and the borders of each length.
    #[test]
    fn integers_of_every_length() {
        for (encoded, value) in [
            ("c2197c5eff14e88c", 151_288_809_941_952_652),
            ("9d7f3e7d", 494_878_333),
            ("7bbd", 15_293),
            ("25", 37),
            ("00", 0),
            ("3f", 63),
            ("4040", 64),
            ("7fff", 16_383),
            ("80004000", 16_384),
            ("bfffffff", 1_073_741_823),
            ("c000000040000000", 1_073_741_824),
            ("ffffffffffffffff", super::MAX),
        ] {
            let bytes = hex::decode(encoded).unwrap();
            assert_eq!(read(&bytes), Some((value, bytes.len())));
            for len in 0..bytes.len() {
                assert_eq!(read(&bytes[..len]), None, "{encoded} cut to {len}");
            }
            let mut written = Vec::new();
            write(usize::try_from(value).unwrap(), &mut written).unwrap();
            assert_eq!(hex::encode(written), encoded);
        }
        assert_eq!(read(&[0x40, 0x25, 0xff]), Some((37, 2)), "a longer encoding of 37");
        let mut written = Vec::new();
        assert_eq!(write(usize::try_from(super::MAX + 1).unwrap(), &mut written), None);
        assert!(written.is_empty());
    }
}
