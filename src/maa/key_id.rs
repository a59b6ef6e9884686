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
        return STANDARD.encode(spki_digest(spki)) == key_id;
    }
    certificate.is_some_and(|der| URL_SAFE_NO_PAD.encode(crypto::sha1_for_x5t(der)) == key_id)
}

/// The digest of a key as MAA computes it: for the id of the key, and for the report data of the TEE that holds it.
pub(super) fn spki_digest(spki: &[u8]) -> [u8; 32] {
    crypto::sha256(pem_and_nul(spki).as_bytes())
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
