//! The runtime data of the bound forms that name a TLS key or connection, byte for byte; and what runtime data name, for errors.
//! `message::exchange::runtime_data` has those that name a message key.

use crate::message::exchange::runtime_data::BOUND_MESSAGE;
use crate::types::{Nonce, Sha256Digest, SpkiDigest, TlsExporter};

/// The name and version of the bound form that names the key: who attests (the server) and what the runtime data means.
const BOUND_SERVER: &str = "blindbox-bound-server/1";

/// The bound form that names the connection too.
pub(super) const BOUND_CONNECTION: &str = "blindbox-bound-connection/1";

/// The name and version of the statement about the key that the agent of a confidential VM has the paravisor attest.
const BOUND_KEY: &str = "blindbox-bound-key/1";

/// The exact runtime data of a bound response that names the key: members in this order, no white space.
pub(super) fn bound_server(nonce: &Nonce, key: &SpkiDigest) -> String {
    format!(r#"{{"nonce":"{nonce}","protocol":"{BOUND_SERVER}","tls-spki-sha256":"{key}"}}"#)
}

/// The same of one that names the connection too.
pub(super) fn bound_connection(nonce: &Nonce, key: &SpkiDigest, exporter: &TlsExporter) -> String {
    format!(
        r#"{{"nonce":"{nonce}","protocol":"{BOUND_CONNECTION}","tls-exporter":"{exporter}","tls-spki-sha256":"{key}"}}"#
    )
}

/// Returns the statement about its TLS key that the agent of a confidential VM writes to the paravisor's report, once, after it made
/// the key: members in this order, no white space. It has no nonce, so that it cannot be confused with runtime data.
pub(crate) fn key_statement(key: &SpkiDigest) -> String {
    format!(r#"{{"protocol":"{BOUND_KEY}","tls-spki-sha256":"{key}"}}"#)
}

/// What an agent's runtime data name, if they are a bound response to this nonce. Only for the error, to distinguish another key or
/// connection from another nonce; the verification compares all bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Key(SpkiDigest),
    Connection {
        key: SpkiDigest,
        exporter: TlsExporter,
    },
    /// A message key, by the digest of its configuration.
    Message(Sha256Digest),
}

impl Named {
    pub(crate) fn parse(runtime_data: &[u8], nonce: &Nonce) -> Option<Self> {
        let (found, named) = Self::read(runtime_data)?;
        (found == *nonce).then_some(named)
    }

    /// Returns the key that runtime data of a bound form name, whichever nonce they are for.
    pub(crate) fn key_in(runtime_data: &[u8]) -> Option<SpkiDigest> {
        match Self::read(runtime_data)?.1 {
            Self::Key(key) | Self::Connection { key, .. } => Some(key),
            Self::Message(_) => None,
        }
    }

    fn read(runtime_data: &[u8]) -> Option<(Nonce, Self)> {
        let text = std::str::from_utf8(runtime_data).ok()?;
        let rest = text.strip_prefix(r#"{"nonce":""#)?.strip_suffix(r#""}"#)?;
        if let Some((nonce, rest)) = rest.split_once(r#"","ohttp-key-config-sha256":""#) {
            let digest = rest.strip_suffix(BOUND_MESSAGE)?.strip_suffix(r#"","protocol":""#)?;
            let (nonce, digest) = (Nonce::from_hex(nonce).ok()?, Sha256Digest::from_hex(digest).ok()?);
            return Some((nonce, Self::Message(digest)));
        }
        let (nonce, rest) = rest.split_once(r#"","protocol":""#)?;
        let nonce = Nonce::from_hex(nonce).ok()?;
        if let Some(key) =
            rest.strip_prefix(BOUND_SERVER).and_then(|rest| rest.strip_prefix(r#"","tls-spki-sha256":""#))
        {
            return SpkiDigest::from_hex(key).ok().map(|key| (nonce, Self::Key(key)));
        }
        let rest = rest.strip_prefix(BOUND_CONNECTION)?.strip_prefix(r#"","tls-exporter":""#)?;
        let (exporter, key) = rest.split_once(r#"","tls-spki-sha256":""#)?;
        let (key, exporter) = (SpkiDigest::from_hex(key).ok()?, TlsExporter::from_hex(exporter).ok()?);
        Some((nonce, Self::Connection { key, exporter }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_runtime_data_is_this_text_and_no_other() {
        let nonce = Nonce::new([0x11; 32]);
        let key = SpkiDigest::new([0xab; 32]);
        let text = bound_server(&nonce, &key);
        let expected = format!(
            r#"{{"nonce":"{}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{}"}}"#,
            "11".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(Named::parse(text.as_bytes(), &nonce), Some(Named::Key(key)));
        assert_eq!(Named::parse(text.as_bytes(), &Nonce::new([0x12; 32])), None);
        assert_eq!(Named::parse(text.replace(':', ": ").as_bytes(), &nonce), None);
        assert_eq!(Named::key_in(text.as_bytes()), Some(key));
        assert_eq!(Named::key_in(br#"{"nonce":"11"}"#), None);
    }

    #[test]
    fn the_runtime_data_of_a_connection_is_this_text_and_no_other() {
        let nonce = Nonce::new([0x11; 32]);
        let (key, exporter) = (SpkiDigest::new([0xab; 32]), TlsExporter::new([0xcd; 32]));
        let text = bound_connection(&nonce, &key, &exporter);
        let expected = format!(
            r#"{{"nonce":"{}","protocol":"blindbox-bound-connection/1","tls-exporter":"{}","tls-spki-sha256":"{}"}}"#,
            "11".repeat(32),
            "cd".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(text.len(), 284);
        assert_eq!(Named::parse(text.as_bytes(), &nonce), Some(Named::Connection { key, exporter }));
        assert_eq!(Named::parse(text.as_bytes(), &Nonce::new([0x12; 32])), None);
        assert_eq!(Named::parse(text.replace("tls-exporter", "tls-unique").as_bytes(), &nonce), None);
    }

    #[test]
    fn the_statement_about_a_key_is_this_text_and_no_other() {
        let key = SpkiDigest::new([0xab; 32]);
        let expected = format!(r#"{{"protocol":"blindbox-bound-key/1","tls-spki-sha256":"{}"}}"#, "ab".repeat(32));
        assert_eq!((key_statement(&key).as_str(), expected.len()), (expected.as_str(), 120));
        // It is no runtime data.
        assert_eq!(Named::key_in(expected.as_bytes()), None);
    }
}
