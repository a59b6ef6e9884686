//! What commands have as files and text, and the digest of what was received: so that runners need not make them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::scenario::Failure;
use crate::stage::Stage;

/// How many bytes of a content are shown.
const SHOWN: usize = 30;

/// Writes a body of so many bytes, and returns its path.
pub(crate) fn body(length: u64, stage: &Stage) -> Result<PathBuf, Failure> {
    // A piece that is lost, repeated or in another place gives other bytes.
    let content: Vec<u8> = (b'a'..b'x').cycle().take(usize::try_from(length)?).collect();
    stage.file("body", &content)
}

/// What a source of a request body reads so that it fails: `read` gives an error there, at the first byte.
pub(crate) const UNREADABLE: &str = "/proc/self/mem";

/// Writes the settings of the verifier as one JSON object, for languages that take them so, and returns its path.
pub(crate) fn settings(command: &Value, stage: &Stage) -> Result<PathBuf, Failure> {
    let mut settings = json!({});
    for name in ["application_roots", "collateral_roots", "amd_roots", "ak_root"] {
        if let Some(path) = command[name].as_str() {
            settings[name] = json!(fs::read_to_string(path)?);
        }
    }
    for name in ["kds", "deadline_ms", "request_timeout_ms"] {
        if let Some(value) = command.get(name) {
            settings[name] = value.clone();
        }
    }
    stage.file("settings", settings.to_string().as_bytes())
}

/// Puts length, CRC-32 and first bytes in place of a content, which is in hexadecimal.
pub(crate) fn digested(mut outcome: Value) -> Result<Value, Failure> {
    let Some(content) = outcome.as_object_mut().and_then(|members| members.remove("content")) else {
        return Ok(outcome);
    };
    // How much of a body arrives before it breaks off differs.
    if outcome.get("error").is_some() {
        return Ok(outcome);
    }
    let content = hex(content.as_str().ok_or("expected a content in hexadecimal")?)?;
    outcome["length"] = json!(content.len());
    outcome["crc32"] = json!(crc32(&content));
    outcome["begins"] = json!(String::from_utf8_lossy(content.get(..SHOWN).unwrap_or(&content)));
    Ok(outcome)
}

/// Puts the name of a header, and the path of a file with its value, in place of both: each character is a byte in Latin-1.
pub(crate) fn with_header(command: &mut Value, header: &str, stage: &Stage) -> Result<(), Failure> {
    let (name, value) = header.split_once(": ").ok_or("expected a header as NAME: VALUE")?;
    let value: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
    (command["header"], command["value"]) = (json!(name), json!(stage.file("value", &value?)?));
    Ok(())
}

/// Puts texts in place of the values of headers, which are in hexadecimal: each byte is a character in Latin-1. One that is absent is
/// empty.
pub(crate) fn with_texts(outcome: &mut Value, names: &str) -> Result<(), Failure> {
    if outcome.get("status").is_none() {
        return Ok(());
    }
    for name in names.split_whitespace() {
        let value = hex(outcome[name].as_str().unwrap_or_default())?;
        outcome[name] = json!(value.into_iter().map(char::from).collect::<String>());
    }
    Ok(())
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn hex(text: &str) -> Result<Vec<u8>, Failure> {
    if !text.len().is_multiple_of(2) {
        return Err("expected an even number of hexadecimal digits".into());
    }
    let bytes = text.as_bytes().chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    bytes.collect()
}

/// CRC-32 as in Ethernet and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_bytes_for_a_runner_and_text_in_the_file() -> Result<(), Failure> {
        let stage = Stage::new("content", PathBuf::new(), None)?;
        let mut command = json!({ "header": "x-mine: café" });
        with_header(&mut command, "x-mine: café", &stage)?;
        assert_eq!(command["header"], "x-mine");
        assert_eq!(fs::read(command["value"].as_str().unwrap_or_default())?, b"caf\xe9");
        assert!(with_header(&mut command, "x-mine: ĉ", &stage).is_err());
        let mut outcome = json!({ "status": 200, "x-mine": "636166e9" });
        with_texts(&mut outcome, "etag x-mine")?;
        assert_eq!(outcome, json!({ "status": 200, "x-mine": "café", "etag": "" }));
        Ok(())
    }

    #[test]
    fn a_content_is_compared_by_its_digest() -> Result<(), Failure> {
        let found = digested(json!({ "status": 200, "content": "313233343536373839" }))?;
        assert_eq!(found, json!({ "status": 200, "length": 9, "crc32": 0xcbf4_3926_u32, "begins": "123456789" }));
        assert_eq!(digested(json!({ "status": 204 }))?, json!({ "status": 204 }));
        assert_eq!(digested(json!({ "content": "31", "error": {} }))?, json!({ "error": {} }));
        assert!(digested(json!({ "content": "3" })).is_err());
        assert!(digested(json!({ "content": "3x" })).is_err());
        assert!(digested(json!({ "content": null })).is_err());
        Ok(())
    }
}
