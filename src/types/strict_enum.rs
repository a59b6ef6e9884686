//! Enums that are read from a string alone, for types below `policy`, whose `strict_serde` does the same.
//!
//! What serde derives for an enum also takes a table of one member for the name of a variant, such as `{"milan": null}` for
//! `"milan"`. There is one way to say a value.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads one of `values` by its name, which stands at the same place in `names`.
pub(super) fn strict_enum<'de, D: Deserializer<'de>, T: Copy, const N: usize>(
    deserializer: D,
    names: &'static [&'static str; N],
    values: [T; N],
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Name { names, values })
}

struct Name<T, const N: usize> {
    names: &'static [&'static str; N],
    values: [T; N],
}

impl<T, const N: usize> Visitor<'_> for Name<T, N> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, string: &str) -> Result<T, E> {
        let Self { names, values } = self;
        let named = names.iter().zip(values).find(|(name, _)| **name == string);
        named.map(|(_, value)| value).ok_or_else(|| E::unknown_variant(string, names))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use crate::types::{ChipId, FirmwareVersion, HostData, Product, Sha256Digest, SigningKey, UnixTime};

    fn error<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        serde_json::from_str::<T>(json).unwrap_err().to_string()
    }

    #[test]
    fn a_value_is_said_in_one_way() {
        assert_eq!(serde_json::from_str::<Product>("\"genoa\"").unwrap(), Product::Genoa);
        assert_eq!(serde_json::from_str::<SigningKey>("\"vlek\"").unwrap(), SigningKey::Vlek);
        for product in Product::ALL {
            assert_eq!(Product::deserialize(serde_json::to_value(product).unwrap()).unwrap(), product);
        }
        for key in [SigningKey::Vcek, SigningKey::Vlek] {
            assert_eq!(SigningKey::deserialize(serde_json::to_value(key).unwrap()).unwrap(), key);
        }
        let map = "invalid type: map, expected a string";
        assert!(error::<Product>(r#"{"milan":null}"#).starts_with(map));
        assert!(error::<SigningKey>(r#"{"vcek":null}"#).starts_with(map));
        for (json, found) in [("null", "null"), ("0", "integer `0`"), ("[\"milan\"]", "sequence"), ("true", "boolean")]
        {
            assert!(error::<Product>(json).starts_with(&format!("invalid type: {found}")), "{json}");
            assert!(error::<SigningKey>(json).starts_with(&format!("invalid type: {found}")), "{json}");
        }
        let unknown = "unknown variant `Milan`, expected one of `milan`, `genoa`, `turin`";
        assert!(error::<Product>("\"Milan\"").starts_with(unknown));
    }

    /// The other public types that are read outside of policy files: strings and one number.
    #[test]
    fn a_table_is_no_string_and_no_number() {
        let table = r#"{"0":null}"#;
        for error in [
            error::<HostData>(table),
            error::<ChipId>(table),
            error::<Sha256Digest>(table),
            error::<FirmwareVersion>(table),
            error::<UnixTime>(table),
        ] {
            assert!(error.starts_with("invalid type: map"), "{error}");
        }
        for json in ["[1]", "\"1\"", "-1", "1.0", "null"] {
            assert!(error::<UnixTime>(json).starts_with("invalid "), "{json}");
        }
        assert!(error::<FirmwareVersion>("[1,55,29]").starts_with("invalid type: sequence"));
    }
}
