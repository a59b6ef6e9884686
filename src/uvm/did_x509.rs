//! `did:x509`: names a signer by the fingerprint of a certificate authority and by policies for the leaf certificate.
//!
//! `did:x509:0:sha256:<fingerprint>::eku:<object identifier>` (the did:x509 method specification, version 0). The
//! fingerprint alone would accept every signer under that authority; the policies restrict it to one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{DidX509Error, EndorsementError};
use crate::crypto::sha256_digest;
use crate::parser_steps;
use crate::types::{Sha256Digest, shorten, shorten_all};
use crate::x509::Certificate;

/// The longest `did:x509` that is read, in bytes. Microsoft's have 110.
const MAX_LEN: usize = 1024;

/// A parsed `did:x509`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DidX509 {
    fingerprint: Sha256Digest,
    policies: Vec<Policy>,
}

#[derive(Debug, PartialEq, Eq)]
enum Policy {
    /// The leaf has this extended key usage.
    Eku(String),
    /// The leaf's subject has these attributes: name, object identifier, value.
    Subject(Vec<(String, String, String)>),
}

/// Checks that an issuer is a `did:x509` that endorsements can be verified under.
pub(crate) fn check_issuer(issuer: &str) -> Result<(), DidX509Error> {
    DidX509::parse(issuer).map(drop)
}

impl DidX509 {
    /// Parses a `did:x509`.
    pub(super) fn parse(text: &str) -> Result<Self, DidX509Error> {
        if text.len() > MAX_LEN {
            return Err(DidX509Error::TooLong { max: MAX_LEN, actual: text.len() });
        }
        let mut parts = text.split("::");
        let fingerprint = parts
            .next()
            .and_then(|prefix| prefix.strip_prefix("did:x509:0:sha256:"))
            .and_then(|fingerprint| URL_SAFE_NO_PAD.decode(fingerprint).ok())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(DidX509Error::NotDidX509)?;
        let policies = parts.map(Policy::parse).collect::<Result<Vec<_>, _>>()?;
        if policies.is_empty() {
            return Err(DidX509Error::NotDidX509);
        }
        Ok(Self { fingerprint: Sha256Digest::new(fingerprint), policies })
    }

    /// Checks that a certificate authority of the chain has the fingerprint.
    pub(super) fn check_authority(&self, chain: &[Certificate<'_>]) -> Result<(), EndorsementError> {
        let mut last = None;
        for authority in chain.iter().skip(1) {
            let fingerprint = sha256_digest(authority.der());
            if fingerprint == self.fingerprint {
                return Ok(());
            }
            last = Some(fingerprint);
        }
        Err(EndorsementError::FingerprintNotInChain {
            expected: self.fingerprint,
            actual: last.unwrap_or(Sha256Digest::new([0; 32])),
        })
    }

    /// Returns the extended key usages that the leaf must have and every authority above it must allow.
    pub(super) fn leaf_uses(&self) -> Vec<&str> {
        let uses = self.policies.iter().filter_map(|policy| match policy {
            Policy::Eku(oid) => Some(oid.as_str()),
            Policy::Subject(_) => None,
        });
        uses.collect()
    }

    /// Checks the leaf certificate against the policies.
    pub(super) fn check_leaf(&self, leaf: &Certificate<'_>) -> Result<(), EndorsementError> {
        self.policies.iter().try_for_each(|policy| policy.check(leaf))
    }
}

impl Policy {
    fn parse(text: &str) -> Result<Self, DidX509Error> {
        let (name, value) = text.split_once(':').ok_or(DidX509Error::MalformedPolicy)?;
        match name {
            "eku" => {
                let is_oid = value.contains('.')
                    && value.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|digit| digit.is_ascii_digit()));
                if is_oid { Ok(Self::Eku(value.to_owned())) } else { Err(DidX509Error::MalformedPolicy) }
            }
            "subject" => {
                let fields: Vec<&str> = value.split(':').collect();
                let (pairs, rest) = fields.as_chunks::<2>();
                if pairs.is_empty() || !rest.is_empty() {
                    return Err(DidX509Error::MalformedPolicy);
                }
                let mut attributes: Vec<(String, String, String)> = Vec::new();
                for [name, value] in pairs {
                    let oid = attribute_oid(name).ok_or(DidX509Error::MalformedPolicy)?;
                    if attributes.iter().any(|(_, seen, _)| {
                        parser_steps::step();
                        *seen == oid
                    }) {
                        return Err(DidX509Error::MalformedPolicy);
                    }
                    let value = percent_decode(value).ok_or(DidX509Error::MalformedPolicy)?;
                    attributes.push(((*name).to_owned(), oid, value));
                }
                Ok(Self::Subject(attributes))
            }
            _ => Err(DidX509Error::UnsupportedPolicy),
        }
    }

    fn check(&self, leaf: &Certificate<'_>) -> Result<(), EndorsementError> {
        match self {
            Self::Eku(expected) => {
                let uses = leaf.extensions().key_uses();
                if uses.contains(expected) {
                    return Ok(());
                }
                Err(EndorsementError::WrongLeafUse { expected: shorten(expected, 100), actual: shorten_all(&uses) })
            }
            Self::Subject(attributes) => attributes.iter().try_for_each(|(name, oid, expected)| {
                let actual = leaf.subject_values(oid);
                if actual.contains(expected) {
                    return Ok(());
                }
                Err(EndorsementError::WrongLeafSubject {
                    attribute: shorten(name, 100),
                    expected: shorten(expected, 100),
                    actual: shorten_all(&actual),
                })
            }),
        }
    }
}

/// Returns the object identifier of an attribute: one that the specification names, or a literal object identifier.
fn attribute_oid(name: &str) -> Option<String> {
    let oid = match name {
        "CN" => "2.5.4.3",
        "C" => "2.5.4.6",
        "L" => "2.5.4.7",
        "ST" => "2.5.4.8",
        "STREET" => "2.5.4.9",
        "O" => "2.5.4.10",
        "OU" => "2.5.4.11",
        dotted if dotted.contains('.') && dotted.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => dotted,
        _ => return None,
    };
    Some(oid.to_owned())
}

/// Decodes percent-encoding (RFC 3986 section 2.1). Outside of an escape only letters, digits, `.`, `-` and `_` are allowed.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut octet = [0];
                hex::decode_to_slice([bytes.next()?, bytes.next()?], &mut octet).ok()?;
                decoded.extend(octet);
            }
            b'.' | b'-' | b'_' => decoded.push(byte),
            letter if letter.is_ascii_alphanumeric() => decoded.push(letter),
            _ => return None,
        }
    }
    if decoded.is_empty() {
        return None;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s";

    #[test]
    fn the_production_issuer_names_a_root_and_a_use() {
        let did = DidX509::parse(crate::uvm::PRODUCTION_ISSUER).unwrap();
        assert_eq!(did.fingerprint.to_string(), "23ffe2b8bdb9a1711515d4cffda04bc7f793d513c76c243f1020507d8669b7db");
        assert_eq!(did.policies, [Policy::Eku("1.3.6.1.4.1.311.76.59.1.2".into())]);
    }

    #[test]
    fn a_subject_is_percent_decoded() {
        let did = DidX509::parse(&format!("{ROOT}::subject:CN:Test%20Leaf%20%28x%29:O:M::eku:1.2")).unwrap();
        assert_eq!(
            did.policies,
            [
                Policy::Subject(vec![
                    ("CN".into(), "2.5.4.3".into(), "Test Leaf (x)".into()),
                    ("O".into(), "2.5.4.10".into(), "M".into())
                ]),
                Policy::Eku("1.2".into())
            ]
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let with = |policies: &str| format!("{ROOT}{policies}");
        for (text, defect) in [
            (String::new(), DidX509Error::NotDidX509),
            ("did:web:example.org".into(), DidX509Error::NotDidX509),
            (with(""), DidX509Error::NotDidX509),
            (with("=::eku:1.2"), DidX509Error::NotDidX509),
            (ROOT.replace(":0:", ":1:") + "::eku:1.2", DidX509Error::NotDidX509),
            (ROOT.replace("sha256", "sha384") + "::eku:1.2", DidX509Error::NotDidX509),
            ("did:x509:0:sha256:AAAA::eku:1.2".into(), DidX509Error::NotDidX509),
            (with("::"), DidX509Error::MalformedPolicy),
            (with("::eku"), DidX509Error::MalformedPolicy),
            (with("::eku:"), DidX509Error::MalformedPolicy),
            (with("::eku:1..2"), DidX509Error::MalformedPolicy),
            (with("::eku:1.2:1.3"), DidX509Error::MalformedPolicy),
            (with("::eku:1.2%2e3"), DidX509Error::MalformedPolicy),
            (with("::subject:CN"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:a:O"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:a:CN:b"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:a:2.5.4.3:b"), DidX509Error::MalformedPolicy),
            (with("::subject:XX:a"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:a b"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:%2"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:%gg"), DidX509Error::MalformedPolicy),
            (with("::subject:CN:%ff"), DidX509Error::MalformedPolicy),
            (with("::san:email:a%40b"), DidX509Error::UnsupportedPolicy),
            (with("::eku:1.2::fulcio-issuer:x"), DidX509Error::UnsupportedPolicy),
        ] {
            assert_eq!(DidX509::parse(&text), Err(defect), "{text}");
        }
    }
}
