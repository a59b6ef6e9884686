//! The test vectors of the protocol's pages hold.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::emulator::report_data;
use blindbox_attestation::{Challenge, ServerNameCheck, SpkiDigest, TlsExporter, UnixTime};
use http::StatusCode;
use serde_json::Value;

use super::{PROTOCOL, PROTOCOL_MESSAGE, PROTOCOL_VECTORS, blocks, rows, source};
use crate::words::files;

/// The agent has a workspace of its own, which is not part of the package.
#[test]
fn every_status_of_the_reference_agent_is_in_the_table_of_errors() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agent/src");
    if !sources.exists() {
        println!("skipped: {} is not there", sources.display());
        return;
    }
    let mut paths = Vec::new();
    files(&sources, "rs", &mut paths);
    let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let name = |status: &StatusCode| status.canonical_reason().unwrap().to_uppercase().replace([' ', '-'], "_");
    let errors =
        (400..600).filter_map(|code| StatusCode::from_u16(code).ok().filter(|it| it.canonical_reason().is_some()));
    let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let named: BTreeSet<_> =
        text.split("StatusCode::").skip(1).filter_map(|rest| rest.split(|c| !is_of_name(c)).next()).collect();
    let sent: Vec<_> = errors.filter(|status| named.contains(name(status).as_str())).collect();
    assert!(sent.len() >= 10, "{sent:?}");
    let section = PROTOCOL.split("\n### ").find(|section| section.starts_with("Errors")).unwrap();
    let listed: BTreeSet<_> =
        rows(section).flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    let missing: Vec<_> = sent.iter().filter(|status| !listed.contains(status.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} are not in the table of docs/protocol.md");
}

/// The tests of the crate seal and open this one.
#[test]
fn the_test_vector_of_sealed_messages_is_the_one_that_is_tested() {
    let json = blocks(PROTOCOL_MESSAGE, "json");
    let [("vectors", text)] = json[..] else { panic!("one block of vectors: {json:?}") };
    let shown: Value = serde_json::from_str(text).unwrap();
    let tested: Value = serde_json::from_str(&source("src/message/vectors.json")).unwrap();
    assert_eq!(shown, tested);
}

#[test]
fn the_test_vectors_of_the_protocol_hold() {
    let json = blocks(PROTOCOL_VECTORS, "json");
    let [("vectors", text)] = json[..] else { panic!("one block of vectors: {json:?}") };
    let Value::Array(vectors) = serde_json::from_str(text).unwrap() else { panic!("an array") };
    let (mut bound, mut statements) = (0, 0);
    for vector in &vectors {
        let field = |name: &str| vector.get(name).and_then(Value::as_str);
        let runtime_data = field("runtime_data").unwrap();
        let nonce = field("nonce").unwrap();
        match field("spki_sha256") {
            Some(key) => {
                bound += 1;
                let (form, exporter, length) = match field("tls_exporter") {
                    Some(exporter) => ("connection", format!("\"tls-exporter\":\"{exporter}\","), 284),
                    None => ("server", String::new(), 198),
                };
                let written = format!(
                    "{{\"nonce\":\"{nonce}\",\"protocol\":\"blindbox-bound-{form}/1\",{exporter}\"tls-spki-sha256\":\"{key}\"}}"
                );
                assert_eq!(runtime_data, written);
                assert_eq!(runtime_data.len(), length);
                if let Some(der) = field("spki_der") {
                    assert_eq!(key, sha256(&hex::decode(der).unwrap()));
                }
            }
            None => {
                assert_eq!(runtime_data, format!("{{\"nonce\":\"{nonce}\"}}"));
                assert_eq!(runtime_data.len(), 76);
            }
        }
        let digest = sha256(runtime_data.as_bytes());
        assert_eq!(field("sha256"), Some(digest.as_str()));
        let expected = digest.clone() + &"00".repeat(32);
        assert_eq!(field("report_data"), Some(expected.as_str()));
        assert_eq!(report_data(runtime_data.as_bytes()).to_string(), expected);
        if let Some(text) = field("runtime_data_base64") {
            assert_eq!(text, STANDARD.encode(runtime_data));
        }
        if let Some(statement) = field("key_statement") {
            let form = blocks(PROTOCOL, "text")[2].1.lines().next().unwrap();
            let key = field("spki_sha256").unwrap();
            assert_eq!(statement, form.replace("<SPKI digest, 64 hex digits>", key));
            let expected = sha256(statement.as_bytes()) + &"00".repeat(32);
            assert_eq!((statement.len(), field("user_data")), (120, Some(expected.as_str())));
            statements += 1;
        }
        if let Some(text) = field("client_payload_nonce") {
            assert_eq!(text, STANDARD.encode(&digest));
        }
    }
    assert_eq!((vectors.len(), bound, statements), (4, 3, 1));
}

/// Nonces are random, so the vectors themselves cannot be asked of a challenge: the form of the document is.
#[test]
fn a_challenge_expects_the_runtime_data_of_the_document() {
    let form = blocks(PROTOCOL, "text")[0].1;
    let (now, key) = (UnixTime::from_secs(0), SpkiDigest::new([0xab; 32]));
    let challenge = Challenge::bound(key, ServerNameCheck::Validated, now).unwrap();
    let text = form
        .replace("<nonce, 64 hex digits>", &challenge.nonce().to_string())
        .replace("<SPKI digest, 64 hex digits>", &key.to_string());
    assert_eq!(challenge.runtime_data(), text.as_bytes());

    let form = blocks(PROTOCOL, "text")[1].1;
    let exporter = TlsExporter::new([0xcd; 32]);
    let challenge = Challenge::bound_connection(key, exporter, ServerNameCheck::Validated, now).unwrap();
    let text = form
        .replace("<nonce, 64 hex digits>", &challenge.nonce().to_string())
        .replace("<exporter, 64 hex digits>", &exporter.to_string())
        .replace("<SPKI digest, 64 hex digits>", &key.to_string());
    assert_eq!(challenge.runtime_data(), text.as_bytes());

    let challenge = Challenge::unbound_tls(ServerNameCheck::Validated, now).unwrap();
    let text = format!("{{\"nonce\":\"{}\"}}", challenge.nonce());
    assert_eq!(challenge.runtime_data(), text.as_bytes());
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
