//! [`call`]: functions without the network by their names, JSON in and JSON out. For hosts that pass nothing but bytes, such as those
//! of WebAssembly.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::EvidenceFiles;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::error::{Error, codes};
use crate::members::distinct;
use crate::offline::{Recorded, inspect, verify_recorded, verify_unappraised};
use crate::policy::{Policy, cce_policy, host_data};

/// The longest argument that is read, in bytes. The parts have limits of their own, which are smaller.
pub const MAX_CALL_BYTES: usize = 16 << 20;

/// Bytes as base64 (RFC 4648 section 4).
#[derive(Debug)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|error| D::Error::custom(format!("expected base64: {error}")))
    }
}

/// A member that may be left out. `null` is refused: a variable without a value must not stand for no requirement.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyRecorded {
    #[serde(deserialize_with = "distinct")]
    documents: BTreeMap<String, Base64>,
    #[serde(default, deserialize_with = "given")]
    key_set: Option<Base64>,
    #[serde(default, deserialize_with = "given")]
    amd_roots: Option<String>,
    #[serde(default, deserialize_with = "given")]
    ak_root: Option<String>,
    policy: String,
    at: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyUnappraised {
    #[serde(deserialize_with = "distinct")]
    documents: BTreeMap<String, Base64>,
    #[serde(default, deserialize_with = "given")]
    key_set: Option<Base64>,
    #[serde(default, deserialize_with = "given")]
    amd_roots: Option<String>,
    #[serde(default, deserialize_with = "given")]
    ak_root: Option<String>,
    #[serde(default, deserialize_with = "given")]
    attester: Option<String>,
    at: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inspect {
    content: Base64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    policy: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostDataText {
    hex: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CcePolicyText {
    base64: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Calls a function with a JSON object of its arguments, and returns `{"ok": ...}` or `{"error": {...}, "appraisal": [...]}`.
///
/// | function | arguments | result |
/// |---|---|---|
/// | `about` | | `version`, `codes`, and `documents`: the names of files of `fetch` |
/// | `verify_recorded` | `documents`: name of a file of `fetch` to its content; `policy`: text; `at`: seconds since 1970-01-01 UTC; optional `key_set`, `amd_roots`, `ak_root` | as [`verify_recorded`] |
/// | `verify_unappraised` | `documents`, `at`; optional `attester`, `key_set`, `amd_roots`, `ak_root` | as [`verify_unappraised`] |
/// | `inspect` | `content` | as [`inspect`] |
/// | `policy` | `policy`: text | `policy`, `toml`, `digest`, `attester`, `lint` |
/// | `host_data` | `hex` | as [`host_data`] |
/// | `cce_policy` | `base64` | as [`cce_policy`] |
///
/// `content`, `key_set` and the contents of `documents` are base64. Other members, repeated ones and `null` are refused. The appraisal
/// is a member of its own: it holds values that identify a machine.
#[must_use]
pub fn call(function: &str, arguments: &[u8]) -> String {
    let outcome = match function {
        "about" => read(arguments).map(|Nothing {}| about()),
        "verify_recorded" => read(arguments).and_then(recorded),
        "verify_unappraised" => read(arguments).and_then(unappraised),
        "inspect" => read(arguments).and_then(|Inspect { content }| inspect(&content.0)),
        "policy" => read(arguments).and_then(described),
        "host_data" => read(arguments).and_then(|HostDataText { hex }| host_data(&hex)),
        "cce_policy" => read(arguments).and_then(|CcePolicyText { base64 }| cce_policy(&base64)),
        _ => Err(Error::argument(format!("the function {function:?} is not known"))),
    };
    match outcome {
        Ok(json) => format!(r#"{{"ok":{json}}}"#),
        Err(error) => failure(&error).to_string(),
    }
}

/// `{"error": {...}, "appraisal": [...]}`.
pub(crate) fn failure(error: &Error) -> Value {
    let appraisal: Value =
        error.appraisal.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    json!({ "error": error, "appraisal": appraisal })
}

pub(crate) fn read<T: DeserializeOwned>(arguments: &[u8]) -> Result<T, Error> {
    if arguments.len() > MAX_CALL_BYTES {
        let found = arguments.len();
        return Err(Error::argument(format!("arguments: expected at most {MAX_CALL_BYTES} bytes, found {found}")));
    }
    // An array would be read as the members in their order.
    if arguments.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::argument("arguments: expected a JSON object"));
    }
    serde_json::from_slice(arguments).map_err(|error| Error::argument(format!("arguments: {error}")))
}

fn about() -> String {
    let documents: Vec<_> = EvidenceFiles::NAMES.into_iter().chain(EvidenceFiles::OF_REQUEST).collect();
    json!({ "version": crate::version(), "codes": codes(), "documents": documents }).to_string()
}

fn recorded(arguments: VerifyRecorded) -> Result<String, Error> {
    let policy = Policy::parse(&arguments.policy)?;
    let VerifyRecorded { documents, key_set, amd_roots, ak_root, at, .. } = arguments;
    verify_recorded(&saved(documents, key_set, amd_roots, ak_root), &policy, at)
}

fn unappraised(arguments: VerifyUnappraised) -> Result<String, Error> {
    let VerifyUnappraised { documents, key_set, amd_roots, ak_root, attester, at } = arguments;
    verify_unappraised(&saved(documents, key_set, amd_roots, ak_root), attester.as_deref(), at)
}

fn saved(
    documents: BTreeMap<String, Base64>,
    key_set: Option<Base64>,
    amd_roots: Option<String>,
    ak_root: Option<String>,
) -> Recorded {
    let documents = documents.into_iter().map(|(name, content)| (name, content.0)).collect();
    Recorded { documents, key_set: key_set.map(|content| content.0), amd_roots, ak_root }
}

fn described(PolicyText { policy }: PolicyText) -> Result<String, Error> {
    let policy = Policy::parse(&policy)?;
    let parsed = |json: &str| serde_json::from_str::<Value>(json).map_err(Error::internal);
    Ok(json!({
        "policy": parsed(&policy.to_json())?,
        "toml": policy.to_toml(),
        "digest": policy.digest(),
        "attester": policy.maa_issuer(),
        "lint": parsed(&policy.lint_json())?,
    })
    .to_string())
}
