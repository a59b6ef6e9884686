//! The digests that MAA uses as ids of its keys.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::crypto;

/// Whether a key id has one of the two forms in which it is a digest of the key or its certificate.
pub(super) fn is_digest(key_id: &str) -> bool {
    is_spki_digest(key_id) || is_certificate_digest(key_id)
}

/// Whether a key id is the digest of this key or its certificate.
///
/// MAA's own keys: standard base64 of SHA-256 over the `SubjectPublicKeyInfo` as PEM text, with its final line end and one
/// more NUL byte. Keys with a chain: base64url of SHA-1 over the certificate (`x5t`, RFC 7517 section 4.8). Both
/// verified on the published key sets of 2021 to 2026.
pub(super) fn is_digest_of(key_id: &str, spki: &[u8], certificate: Option<&[u8]>) -> bool {
    if is_spki_digest(key_id) {
        return STANDARD.encode(crypto::sha256(pem_and_nul(spki).as_bytes())) == key_id;
    }
    certificate.is_some_and(|der| URL_SAFE_NO_PAD.encode(crypto::sha1_for_x5t(der)) == key_id)
}

fn is_spki_digest(key_id: &str) -> bool {
    STANDARD.decode(key_id).is_ok_and(|digest| digest.len() == 32)
}

fn is_certificate_digest(key_id: &str) -> bool {
    URL_SAFE_NO_PAD.decode(key_id).is_ok_and(|digest| digest.len() == 20)
}

fn pem_and_nul(spki: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    // 48 bytes make the 64 characters of a line.
    for line in spki.chunks(48) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n\0");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (len, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 0x7f]),
            (128, &[4, 0x81, 0x80]),
            (255, &[4, 0x81, 0xff]),
            (256, &[4, 0x82, 1, 0]),
            (65_535, &[4, 0x82, 0xff, 0xff]),
        ] {
            let written = tlv(4, &[&vec![7; len]]);
            assert_eq!(written.split_at(head.len()), (head, &vec![7; len][..]), "{len}");
        }
    }

    /// The sizes at which the lengths of a key's DER change their form.
    #[test]
    fn the_der_of_a_key_is_read_back() {
        for len in [125, 126, 127, 128, 253, 254, 255, 256, 257, 1024] {
            for first in [1, 0x7f, 0x80, 0xff] {
                let mut n = vec![0xff; len];
                n[0] = first;
                let spki = RsaNumbers { n: n.clone(), e: vec![1, 0, 1] }.spki();
                let (rest, read) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
                let Ok(PublicKey::RSA(key)) = read.parsed() else { panic!("no RSA key of {len} bytes") };
                assert_eq!(
                    (rest.len(), without_sign(key.modulus), without_sign(key.exponent)),
                    (0, Some(n), Some(vec![1, 0, 1]))
                );
            }
        }
    }

    #[test]
    fn a_certificate_of_a_key_set_is_read_up_to_64_kib() {
        // Its key comes before its extensions, which are not looked at.
        let certificate = |len: usize| {
            let key = RsaNumbers { n: vec![0xff; 256], e: vec![1, 0, 1] }.spki();
            let empty: &[u8] = &[0x30, 0];
            let with = |padding: usize| {
                let extensions = tlv(0xa3, &[&vec![0; padding]]);
                let body = [&[0xa0, 3, 2, 1, 2, 2, 1, 1], empty, empty, empty, empty, &key, &extensions].concat();
                tlv(0x30, &[&tlv(0x30, &[&body]), empty, &[3, 2, 0, 1]])
            };
            let fixed = with(60_000).len() - 60_000;
            with(len - fixed)
        };
        assert_eq!((certificate(65_535).len(), certificate(65_000).len()), (65_535, 65_000));
        assert!(RsaNumbers::of_certificate(&certificate(65_535)).is_some());
        // What is longer than 65,539 bytes needs a longer length; the limit comes first.
        assert!(RsaNumbers::of_certificate(&[certificate(65_535), vec![0; 2]].concat()).is_none());
    }
}
