//! The names that JOSE has for what a key is for: RFC 7518 section 3.1, RFC 7517 sections 4.2 and 4.3.
//!
//! They come from `jsonwebtoken`, whose types these are, except where the crypto library in Rust is used: WebAssembly gets no
//! `jsonwebtoken`, which would bring the bindings of JavaScript. A test compares the two.

#[cfg(all(feature = "crypto-aws-lc", not(blindbox_crypto = "rust")))]
use of_jsonwebtoken as names;
#[cfg(any(blindbox_crypto = "rust", not(feature = "crypto-aws-lc")))]
use written_out as names;

pub(super) use names::{is_operation_verify, is_rs256, is_use_of_signatures};

#[cfg(all(feature = "crypto-aws-lc", any(test, not(blindbox_crypto = "rust"))))]
mod of_jsonwebtoken {
    use std::str::FromStr as _;

    use jsonwebtoken::jwk::{KeyAlgorithm, KeyOperations, PublicKeyUse};
    use serde::Deserialize;
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};

    /// Whether it is the value of `alg` for RSASSA-PKCS1-v1_5 with SHA-256.
    pub(in crate::maa) fn is_rs256(name: &str) -> bool {
        KeyAlgorithm::from_str(name).ok() == Some(KeyAlgorithm::RS256)
    }

    /// Whether it is the value of `use` for signatures.
    pub(in crate::maa) fn is_use_of_signatures(name: &str) -> bool {
        named(name) == Some(PublicKeyUse::Signature)
    }

    /// Whether it is the value in `key_ops` for the verification of signatures.
    pub(in crate::maa) fn is_operation_verify(name: &str) -> bool {
        named(name) == Some(KeyOperations::Verify)
    }

    fn named<'de, T: Deserialize<'de>>(name: &'de str) -> Option<T> {
        let name: StrDeserializer<'de, Error> = name.into_deserializer();
        T::deserialize(name).ok()
    }
}

#[cfg(any(test, blindbox_crypto = "rust", not(feature = "crypto-aws-lc")))]
mod written_out {
    /// Whether it is the value of `alg` for RSASSA-PKCS1-v1_5 with SHA-256.
    pub(in crate::maa) fn is_rs256(name: &str) -> bool {
        name == "RS256"
    }

    /// Whether it is the value of `use` for signatures.
    pub(in crate::maa) fn is_use_of_signatures(name: &str) -> bool {
        name == "sig"
    }

    /// Whether it is the value in `key_ops` for the verification of signatures.
    pub(in crate::maa) fn is_operation_verify(name: &str) -> bool {
        name == "verify"
    }
}

#[cfg(all(test, feature = "crypto-aws-lc"))]
mod tests {
    use super::{of_jsonwebtoken, written_out};

    #[test]
    fn the_names_written_out_are_those_of_the_library() {
        let mut counts = [0; 3];
        for name in [
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "ES256",
            "HS256",
            "none",
            "rs256",
            "RS256 ",
            " RS256",
            "RS-256",
            "0",
            "",
            "sig",
            "Sig",
            "SIG",
            "enc",
            "signature",
            "Signature",
            "sign",
            "verify",
            "Verify",
            "VERIFY",
            "verify ",
            "encrypt",
            "decrypt",
            "wrapKey",
            "unwrapKey",
            "deriveKey",
            "deriveBits",
            "null",
            "true",
        ] {
            let pairs = [
                (of_jsonwebtoken::is_rs256(name), written_out::is_rs256(name)),
                (of_jsonwebtoken::is_use_of_signatures(name), written_out::is_use_of_signatures(name)),
                (of_jsonwebtoken::is_operation_verify(name), written_out::is_operation_verify(name)),
            ];
            for ((library, own), count) in pairs.into_iter().zip(&mut counts) {
                assert_eq!(own, library, "{name:?}");
                *count += usize::from(own);
            }
        }
        assert_eq!(counts, [1, 1, 1]);
    }
}
