//! The id of a virtual machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id of a virtual machine in Azure (`vmUniqueId`, `vmId` of the instance metadata service): a UUID.
///
/// Displayed, parsed and serialized in lower case (RFC 9562 section 4). The host chooses it: it names a machine only together with
/// evidence of who the host is, such as a certificate of Azure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId([u8; 16]);

/// The error for a text that is not the id of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID in lower case, such as 02fe12ec-5b74-4a1b-b261-8ea46fe9af36")]
#[non_exhaustive]
pub struct VmIdError;

/// The digits of each group, which hyphens separate.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl VmId {
    /// Wraps the bytes, in the order in which the text has them.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, in the order in which the text has them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses an id of evidence, in which paravisors and MAA write upper or lower case.
    pub(crate) fn parse_any_case(text: &str) -> Option<Self> {
        text.to_ascii_lowercase().parse().ok()
    }
}

impl FromStr for VmId {
    type Err = VmIdError;

    fn from_str(text: &str) -> Result<Self, VmIdError> {
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|group| group.len()).ne(GROUPS) {
            return Err(VmIdError);
        }
        let mut bytes = [0; 16];
        super::decode_hex(&groups.concat(), &mut bytes).map_err(|_| VmIdError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let mut rest = digits.as_str();
        for (index, len) in GROUPS.into_iter().enumerate() {
            let (group, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
            rest = after;
            if index > 0 {
                f.write_str("-")?;
            }
            f.write_str(group)?;
        }
        Ok(())
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmId({self})")
    }
}

impl Serialize for VmId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VmId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let text = "02fe12ec-5b74-4a1b-b261-8ea46fe9af36";
        let id: VmId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.as_bytes()[..4], [0x02, 0xfe, 0x12, 0xec]);
        let upper = text.to_ascii_uppercase();
        assert_eq!(VmId::parse_any_case(&upper), Some(id));
        for other in [
            upper.as_str(),
            "",
            "02fe12ec5b744a1bb2618ea46fe9af36",
            "{02fe12ec-5b74-4a1b-b261-8ea46fe9af36}",
            "02fe12ec-5b74-4a1b-b261-8ea46fe9af3",
            "02fe12ec-5b74-4a1b-b261-8ea46fe9af3g",
            "02fe12ec-5b74-4a1b-b2618-ea46fe9af36",
            "02fe12ec-5b74-4a1b-b261-8ea46fe9af36-",
        ] {
            assert_eq!(other.parse::<VmId>(), Err(VmIdError), "{other}");
        }
    }
}
