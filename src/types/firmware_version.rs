//! The version of the SNP firmware.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of the SNP firmware. Ordered by major, minor, build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirmwareVersion {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

impl Serialize for FirmwareVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FirmwareVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut parts = text.split('.').map(version_part);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(build)), None) => Ok(Self { major, minor, build }),
            _ => Err(serde::de::Error::custom("expected a firmware version such as \"1.55.29\"")),
        }
    }
}

/// A number in its one form: `str::parse` would take a sign and leading zeros, so that one version had many texts.
fn version_part(text: &str) -> Option<u8> {
    let part: u8 = text.parse().ok()?;
    (part.to_string() == text).then_some(part)
}
