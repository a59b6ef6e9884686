//! Newtypes for byte strings and numbers with a specific meaning, such as digests, ids and TCB versions.
//!
//! The lowest floor: nothing here depends on evidence, its sources or policies.

mod calendar;
mod firmware_version;
mod maa_issuer;
mod printable;
mod revocation;
mod signing_key;
mod strict_enum;
mod tee_kind;
mod time;
mod vm_id;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use strict_enum::strict_enum;

pub(crate) use calendar::DateTime;
pub use firmware_version::FirmwareVersion;
pub use maa_issuer::{MaaIssuer, MaaIssuerError};
pub use printable::{printable, printable_json};
pub use revocation::Revocation;
pub use signing_key::SigningKey;
pub use tee_kind::TeeKind;
pub use time::UnixTime;
pub(crate) use time::difference;
pub use vm_id::{VmId, VmIdError};

/// The error for a string that is not a fixed number of bytes in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits, found {found}")]
#[non_exhaustive]
pub struct HexError {
    /// The expected number of digits.
    pub expected: usize,
    /// The fault: a wrong length, or a character that is not a digit.
    pub found: HexErrorKind,
}

/// The fault of a string that should be hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HexErrorKind {
    /// The string has this many bytes.
    Length(usize),
    /// A character is not one of `0-9a-f`.
    NotADigit,
}

impl fmt::Display for HexErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a text of {len} bytes"),
            Self::NotADigit => f.write_str("another character"),
        }
    }
}

/// Decodes exactly `out.len() * 2` digits of `0-9a-f`, so that each value has only one representation.
pub(crate) fn decode_hex(text: &str, out: &mut [u8]) -> Result<(), HexError> {
    let expected = out.len().saturating_mul(2);
    let refuse = |found| HexError { expected, found };
    if text.len() != expected {
        return Err(refuse(HexErrorKind::Length(text.len())));
    }
    // No early exit, so that the compiler can vectorize the loop: evidence has a thousand digits.
    let mut all = 0;
    for ([high, low], byte) in text.as_bytes().as_chunks().0.iter().zip(out) {
        let (high, low) = (hex_digit(*high), hex_digit(*low));
        all |= high | low;
        *byte = high << 4 | low;
    }
    if all == NOT_A_DIGIT { Err(refuse(HexErrorKind::NotADigit)) } else { Ok(()) }
}

const NOT_A_DIGIT: u8 = 0xff;

fn hex_digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character.wrapping_sub(b'0'),
        b'a'..=b'f' => character.wrapping_sub(b'a' - 10),
        _ => NOT_A_DIGIT,
    }
}

macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        ///
        /// Displayed and serialized as lower-case hexadecimal.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// Wraps the bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Parses lower-case hexadecimal.
            ///
            /// # Errors
            ///
            /// [`HexError`] for another length or any other character.
            pub fn from_hex(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $len];
                decode_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }

            /// Returns the bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Whether every byte is zero, which in SEV-SNP evidence means "not set".
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0.iter().all(|byte| *byte == 0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                Self::from_hex(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::from_hex(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

byte_string!(
    /// The nonce of one attestation: 32 random bytes, used once.
    Nonce,
    32
);
byte_string!(
    /// The launch measurement (`MEASUREMENT`, AMD 56860 table 23): SHA-384 over the initial memory of the guest.
    Measurement,
    48
);
byte_string!(
    /// `HOST_DATA` (AMD 56860 table 23). In a confidential container it is the SHA-256 of the CCE policy.
    ///
    /// The *host* sets it. It means something only together with a utility VM that enforces the policy it names,
    /// so a [`crate::Policy`] that requires it also requires an endorsed UVM or a list of measurements.
    HostData,
    32
);
byte_string!(
    /// `REPORT_DATA` (AMD 56860 table 23): 64 bytes chosen inside the guest.
    ReportData,
    64
);
byte_string!(
    /// `user-data` of the runtime claims of an Azure confidential VM: 64 bytes chosen inside the guest, which the hardware report
    /// covers through the claims.
    UserData,
    64
);
byte_string!(
    /// `REPORT_ID` (AMD 56860 table 23): identifies one running guest.
    ReportId,
    32
);
byte_string!(
    /// `CHIP_ID` (AMD 56860 table 23). On Turin the first 8 bytes are used; all zero when masked or under a VLEK.
    ChipId,
    64
);
byte_string!(
    /// SHA-384 of an ID or author key (`ID_KEY_DIGEST`, `AUTHOR_KEY_DIGEST`, AMD 56860 table 23).
    KeyDigest,
    48
);
byte_string!(
    /// The channel binding `tls-exporter` of a TLS 1.3 connection (RFC 9266): both ends derive the same value, and no other
    /// connection has it. It is not secret.
    TlsExporter,
    32
);
byte_string!(
    /// A register of a trust domain that holds an id, not a measurement (Intel TDX: `MRCONFIGID`, `MROWNER`, `MROWNERCONFIG`,
    /// `MRSIGNERSEAM`).
    TdxRegister,
    48
);
byte_string!(
    /// `TEE_TCB_SVN` of a TD report (Intel TDX module ABI): the security versions of the parts of the TCB.
    TeeTcbSvn,
    16
);
byte_string!(
    /// `FAMILY_ID` (AMD 56860 table 23), provided by the ID block.
    FamilyId,
    16
);
byte_string!(
    /// `IMAGE_ID` (AMD 56860 table 23), provided by the ID block.
    ImageId,
    16
);
byte_string!(
    /// SHA-256 of a TLS key as encoded in a certificate (the DER of `SubjectPublicKeyInfo`, RFC 5280 section 4.1).
    SpkiDigest,
    32
);
byte_string!(
    /// Another SHA-256 digest, such as that of a policy or a certificate.
    Sha256Digest,
    32
);

impl ReportData {
    /// Returns report data of a digest: the digest, then 32 zero bytes.
    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// A product: a family of AMD EPYC processors with its own signing hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, 8004: Genoa, and Bergamo and Siena, which share its hierarchy.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// Returns AMD's spelling, as in certificates and KDS addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Returns all products that this crate has roots for.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];
}

impl<'de> Deserialize<'de> for Product {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict_enum(deserializer, &["milan", "genoa", "turin"], Self::ALL)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The security version numbers of the parts of the trusted computing base (`TCB_VERSION`, AMD 56860 tables 3 and 4).
///
/// TCBs are compared by component: the layouts of the products differ, so that comparing whole numbers is meaningless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Tcb {
    /// Firmware of the FMC; Turin and later, absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// PSP boot loader.
    pub bootloader: u8,
    /// PSP operating system ("TEE").
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Lowest microcode patch level of all cores.
    pub microcode: u8,
}

impl Tcb {
    /// Returns the components in display order.
    #[must_use]
    pub const fn new(fmc: Option<u8>, bootloader: u8, tee: u8, snp: u8, microcode: u8) -> Self {
        Self { fmc, bootloader, tee, snp, microcode }
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        write!(f, "bootloader {}, tee {}, snp {}, microcode {}", self.bootloader, self.tee, self.snp, self.microcode)
    }
}

/// Returns at most `max` characters of an untrusted string, with control characters escaped, for an error message.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(max) else { return printable(text).into_owned() };
    let mut shown = printable(text.get(..end).unwrap_or_default()).into_owned();
    shown.push('…');
    shown
}

/// Whether a `Content-Type` is of a media type, whatever its parameters are.
pub(crate) fn is_media_type(content_type: &str, expected: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

/// Formats `a`, or `one of a, b`.
pub(crate) fn any_of<T: fmt::Display>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}

/// Returns the first of the texts that a stranger wrote, shortened, for an error message.
pub(crate) fn shorten_all(texts: &[String]) -> Vec<String> {
    texts.iter().take(8).map(|text| shorten(text, 100)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_text_for_each_value() {
        let text = "00".repeat(31) + "0f";
        assert_eq!(Nonce::from_hex(&text).unwrap().to_string(), text);
        let refuse = |found| Err(HexError { expected: 64, found });
        assert_eq!(Nonce::from_hex(&text.to_uppercase()), refuse(HexErrorKind::NotADigit));
        assert_eq!(Nonce::from_hex(&text[1..]), refuse(HexErrorKind::Length(63)));
        assert_eq!(Nonce::from_hex(&text.replace('f', "g")), refuse(HexErrorKind::NotADigit));
    }

    #[test]
    fn a_foreign_text_is_cut_and_escaped() {
        assert_eq!(shorten("a\u{1b}[31mb", 10), "a\\u{1b}[31mb");
        assert_eq!(shorten("abcdef", 3), "abc…");
        assert_eq!(shorten("abcdef", 6), "abcdef");
        let texts: Vec<String> = (98..=107).map(|length| "x".repeat(length)).collect();
        let cut = format!("{}…", "x".repeat(100));
        let shown = [&texts[0], &texts[1], &texts[2], &cut, &cut, &cut, &cut, &cut];
        assert_eq!(shorten_all(&texts).iter().collect::<Vec<_>>(), shown);
        assert_eq!(shorten(r#"{"a":"it's"}"#, 20), r#"{"a":"it's"}"#);
    }
}
