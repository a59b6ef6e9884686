//! The signature algorithms of certificates and CRLs, each in the encodings that are in use.

use crate::crypto::{Hash, Scheme};
use crate::der::{CONTEXT_0, CONTEXT_1, CONTEXT_2, CONTEXT_3, DerReader, INTEGER, NULL, OBJECT_IDENTIFIER, SEQUENCE};

/// The accepted algorithms, for messages.
pub(super) const ACCEPTED: &str = "RSA (PKCS#1 v1.5 or PSS) or ECDSA, with SHA-256, SHA-384 or SHA-512";

/// An `AlgorithmIdentifier` that is accepted. The curve of ECDSA is that of the issuer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    Rsa(Scheme),
    Ecdsa(Hash),
}

/// 1.2.840.113549.1.1, the arc of PKCS#1.
const PKCS_1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3, `ecdsa-with-SHA2` (RFC 5758 section 3.2).
const ECDSA_WITH_SHA_2: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// 2.16.840.1.101.3.4.2, the arc of NIST's hashes.
const NIST_HASH: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const MGF_1: u8 = 8;
const RSASSA_PSS: u8 = 10;

impl SignatureAlgorithm {
    /// Reads the DER of an `AlgorithmIdentifier`.
    ///
    /// RSA PKCS#1 has NULL as parameters (RFC 4055 section 5), ECDSA none (RFC 5758), PSS the hash, MGF1 with the same
    /// hash and a salt of the hash's length (RFC 4055 section 3.1).
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut outside = DerReader::new(der);
        let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
        outside.finish()?;
        let oid = inside.expect(OBJECT_IDENTIFIER)?.contents;
        if let Some([last]) = oid.strip_prefix(&ECDSA_WITH_SHA_2) {
            inside.finish()?;
            return match last {
                2 => Some(Self::Ecdsa(Hash::Sha256)),
                3 => Some(Self::Ecdsa(Hash::Sha384)),
                4 => Some(Self::Ecdsa(Hash::Sha512)),
                _ => None,
            };
        }
        let [last] = oid.strip_prefix(&PKCS_1)? else { return None };
        if *last == RSASSA_PSS {
            let parameters = inside.expect(SEQUENCE)?.contents;
            inside.finish()?;
            return read_pss(DerReader::new(parameters)).map(Self::Rsa);
        }
        let null = inside.expect(NULL)?.contents;
        inside.finish()?;
        match (last, null) {
            (11, []) => Some(Self::Rsa(Scheme::RsaPkcs1Sha256)),
            (12, []) => Some(Self::Rsa(Scheme::RsaPkcs1Sha384)),
            (13, []) => Some(Self::Rsa(Scheme::RsaPkcs1Sha512)),
            _ => None,
        }
    }

    /// Whether an `AlgorithmIdentifier` is that of AMD's certificates and CRLs: PSS with SHA-384.
    pub(crate) fn is_rsa_pss_sha384(der: &[u8]) -> bool {
        Self::read(der) == Some(Self::Rsa(Scheme::RsaPssSha384))
    }
}

fn read_pss(mut parameters: DerReader<'_>) -> Option<Scheme> {
    let hash = read_hash(parameters.expect(CONTEXT_0)?.contents)?;
    let mut mask = DerReader::new(parameters.expect(CONTEXT_1)?.contents);
    let mut generator = DerReader::new(mask.expect(SEQUENCE)?.contents);
    mask.finish()?;
    if generator.expect(OBJECT_IDENTIFIER)?.contents.strip_prefix(&PKCS_1) != Some(&[MGF_1]) {
        return None;
    }
    let of_mask = read_hash(generator.expect(SEQUENCE)?.whole)?;
    generator.finish()?;
    let mut salt = DerReader::new(parameters.expect(CONTEXT_2)?.contents);
    let length = salt.expect(INTEGER)?.contents;
    salt.finish()?;
    // The default trailer field, which DER omits but AMD's and Microsoft's older certificates contain.
    if parameters.is_next(CONTEXT_3) && parameters.expect(CONTEXT_3)?.contents != [INTEGER, 1, 1] {
        return None;
    }
    parameters.finish()?;
    match (hash, of_mask, length) {
        (Hash::Sha256, Hash::Sha256, [32]) => Some(Scheme::RsaPssSha256),
        (Hash::Sha384, Hash::Sha384, [48]) => Some(Scheme::RsaPssSha384),
        (Hash::Sha512, Hash::Sha512, [64]) => Some(Scheme::RsaPssSha512),
        _ => None,
    }
}

/// A hash with NULL as parameters, as RFC 4055 section 2.1 has it.
fn read_hash(der: &[u8]) -> Option<Hash> {
    let mut outside = DerReader::new(der);
    let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
    outside.finish()?;
    let oid = inside.expect(OBJECT_IDENTIFIER)?.contents;
    if !inside.expect(NULL)?.contents.is_empty() {
        return None;
    }
    inside.finish()?;
    match oid.strip_prefix(&NIST_HASH)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSS_SHA_384: &str = "3041 06092a864886f70d01010a 3034 a00f 300d 0609608648016503040202 0500 \
        a11c 301a 06092a864886f70d010108 300d 0609608648016503040202 0500 a203 020130";

    fn read(text: &str) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::read(&hex::decode(text.replace(' ', "")).unwrap())
    }

    #[test]
    fn each_algorithm_has_its_encodings() {
        for (text, expected) in [
            ("300d 06092a864886f70d01010b 0500", SignatureAlgorithm::Rsa(Scheme::RsaPkcs1Sha256)),
            ("300d 06092a864886f70d01010c 0500", SignatureAlgorithm::Rsa(Scheme::RsaPkcs1Sha384)),
            ("300d 06092a864886f70d01010d 0500", SignatureAlgorithm::Rsa(Scheme::RsaPkcs1Sha512)),
            ("300a 06082a8648ce3d040302", SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            ("300a 06082a8648ce3d040303", SignatureAlgorithm::Ecdsa(Hash::Sha384)),
            ("300a 06082a8648ce3d040304", SignatureAlgorithm::Ecdsa(Hash::Sha512)),
            (PSS_SHA_384, SignatureAlgorithm::Rsa(Scheme::RsaPssSha384)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        let trailer = PSS_SHA_384.replace("3041 ", "3046 ").replace("3034 ", "3039 ") + " a303 020101";
        assert_eq!(read(&trailer), Some(SignatureAlgorithm::Rsa(Scheme::RsaPssSha384)));
        assert!(SignatureAlgorithm::is_rsa_pss_sha384(&hex::decode(trailer.replace(' ', "")).unwrap()));
        for (sha, salt, scheme) in [("01", "20", Scheme::RsaPssSha256), ("03", "40", Scheme::RsaPssSha512)] {
            let other = PSS_SHA_384
                .replace("0609608648016503040202", &format!("06096086480165030402{sha}"))
                .replace("a203 020130", &format!("a203 0201{salt}"));
            assert_eq!(read(&other), Some(SignatureAlgorithm::Rsa(scheme)));
            assert!(!SignatureAlgorithm::is_rsa_pss_sha384(&hex::decode(other.replace(' ', "")).unwrap()));
        }
    }

    #[test]
    fn anything_else_is_no_algorithm() {
        let trailer_2 = PSS_SHA_384.replace("3041 ", "3046 ").replace("3034 ", "3039 ") + " a303 020102";
        let other_mask = PSS_SHA_384.replacen("0202 0500", "0201 0500", 1);
        let other_salt = PSS_SHA_384.replace("020130", "020120");
        for text in [
            // SHA-1, MD5 and SHA-224.
            "300d 06092a864886f70d010105 0500",
            "300d 06092a864886f70d010104 0500",
            "300d 06092a864886f70d01010e 0500",
            "3009 06072a8648ce3d0401",
            "300a 06082a8648ce3d040301",
            // Parameters that do not belong, and missing ones.
            "300c 06082a8648ce3d040303 0500",
            "300b 06092a864886f70d01010b",
            "300b 06092a864886f70d01010a",
            "300e 06092a864886f70d01010b 050100",
            "300f 06092a864886f70d01010b 0500 0500",
            "3043 06092a864886f70d01010a 3034 a00f 300d 0609608648016503040202 0500 \
             a11c 301a 06092a864886f70d010108 300d 0609608648016503040202 0500 a203 020130 0500",
            "300d 06092a864886f70d01010a 3000",
            &other_mask,
            &other_salt,
            &trailer_2,
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
