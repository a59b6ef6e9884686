//! The challenge of one connection: nonce, peer and time. The verification takes it by value, so that it is used once.

use serde::Serialize;

use crate::crypto;
use crate::error::AttestationError;
use crate::message::exchange::runtime_data::{self, BOUND_MESSAGE};
use crate::message::key_config::KeyConfig;
use crate::types::{Nonce, Sha256Digest, SpkiDigest, TlsExporter, UnixTime};

/// The name and version of the bound form that names the key: who attests (the server) and what the runtime data means.
const BOUND_SERVER: &str = "blindbox-bound-server/1";

/// The bound form that names the connection too.
const BOUND_CONNECTION: &str = "blindbox-bound-connection/1";

/// The name and version of the statement about the key that the agent of a confidential VM has the paravisor attest.
const BOUND_KEY: &str = "blindbox-bound-key/1";

/// A challenge to one peer: a fresh nonce, and the properties of the channel that it is sent over.
///
/// Not `Clone`: a response to a challenge is verified once.
///
/// ```
/// use blindbox_attestation::{Challenge, Channel, ServerNameCheck, SpkiDigest, UnixTime};
///
/// let key = SpkiDigest::new([0xab; 32]); // SHA-256 of the key in the certificate of this connection
/// let now = UnixTime::from_secs(1_791_503_200);
/// let challenge = Challenge::bound(key, ServerNameCheck::Validated, now)?;
/// assert_eq!(challenge.channel(), Channel::Bound);
///
/// // The whole content of a bound request: the caller cannot choose what is attested.
/// let host = "sharedneu.neu.attest.azure.net";
/// let request = format!(r#"{{"maa_endpoint":"{host}","nonce":"{}"}}"#, challenge.nonce());
/// # assert!(request.ends_with("\"}"));
///
/// // The runtime data that genuine evidence covers is computed here, and never taken from the response.
/// let covered = String::from_utf8(challenge.runtime_data())?;
/// assert!(covered.contains(&challenge.nonce().to_string()) && covered.contains(&key.to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a challenge that is not verified against proves nothing"]
pub struct Challenge {
    nonce: Nonce,
    peer: Peer,
    key_exchange: Option<String>,
    made_at: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Bound {
        key: SpkiDigest,
        server_name: ServerNameCheck,
    },
    BoundConnection {
        key: SpkiDigest,
        exporter: TlsExporter,
        server_name: ServerNameCheck,
    },
    /// The peer of the connection is a front end, which is not attested.
    BoundMessage {
        server_name: ServerNameCheck,
    },
    UnboundTls {
        server_name: ServerNameCheck,
    },
    UnboundCleartext,
}

/// How the connection is bound to the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Channel {
    /// TLS, and the evidence names the key of the connection.
    Bound,
    /// TLS 1.3, and the evidence names the key and this very connection, by its exporter (RFC 9266).
    BoundConnection,
    /// Each request and response is sealed (RFC 9458) to a key that the evidence names. TLS may end at a front end, which reads and
    /// changes nothing of them.
    BoundMessage,
    /// TLS with a validated server name; the evidence does not name the key. The policy allowed it.
    UnboundTls,
    /// Plain HTTP. The policy allowed it.
    UnboundCleartext,
}

/// Whether the server's certificate was validated for the name in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerNameCheck {
    /// Validated by a trusted authority (Web PKI), which shows whose instance it is.
    Validated,
    /// Validated for a front end, which chooses the instance: it shows whose front end it is, not whose instance.
    ValidatedFrontEnd,
    /// Not validated: the evidence shows what runs, not whose instance it is.
    NotEvaluated,
}

impl Challenge {
    /// Creates a challenge to the peer of a TLS connection, whose key the evidence must name.
    ///
    /// `key` is the SHA-256 of the `SubjectPublicKeyInfo` of *this* connection's certificate, after the handshake has
    /// shown that the peer holds it.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] if the operating system provides no random bytes.
    pub fn bound(key: SpkiDigest, server_name: ServerNameCheck, now: UnixTime) -> Result<Self, AttestationError> {
        Self::new(Peer::Bound { key, server_name: server_name.of_peer() }, now)
    }

    /// Creates a challenge to the peer of one TLS 1.3 connection: the evidence must name its key and its exporter.
    ///
    /// `exporter` is the exported keying material of *this* connection for the label `EXPORTER-Channel-Binding`, without context,
    /// 32 bytes (RFC 9266). The request carries the nonce and `"protocol": "blindbox-bound-connection/1"`.
    ///
    /// # Errors
    ///
    /// As [`Challenge::bound`].
    pub fn bound_connection(
        key: SpkiDigest,
        exporter: TlsExporter,
        server_name: ServerNameCheck,
        now: UnixTime,
    ) -> Result<Self, AttestationError> {
        Self::new(Peer::BoundConnection { key, exporter, server_name: server_name.of_peer() }, now)
    }

    /// Creates a challenge to an instance behind a front end: the evidence must name the key that messages are sealed to.
    ///
    /// The request carries the nonce and `"protocol": "blindbox-bound-message/1"`. The response carries the key
    /// ([`Evidence::key_config`](crate::Evidence::key_config)), and evidence that covers its digest. `server_name` says whether the
    /// certificate of the front end was validated; it is reported as that of a front end.
    ///
    /// # Errors
    ///
    /// As [`Challenge::bound`].
    pub fn bound_message(server_name: ServerNameCheck, now: UnixTime) -> Result<Self, AttestationError> {
        Self::new(Peer::BoundMessage { server_name: server_name.of_front_end() }, now)
    }

    /// Creates a challenge over TLS to an agent that attests any data. Only a policy with `allow_unbound_channel` accepts it.
    ///
    /// `server_name` says whether the certificate of the *application's* connection, which must be open by now, was validated for
    /// its name: the evidence does not name its key.
    ///
    /// # Errors
    ///
    /// As [`Challenge::bound`].
    pub fn unbound_tls(server_name: ServerNameCheck, now: UnixTime) -> Result<Self, AttestationError> {
        Self::new(Peer::UnboundTls { server_name: server_name.of_peer() }, now)
    }

    /// Creates a challenge over plain HTTP. Only a policy with `allow_plain_http` accepts it.
    ///
    /// # Errors
    ///
    /// As [`Challenge::bound`].
    pub fn unbound_cleartext(now: UnixTime) -> Result<Self, AttestationError> {
        Self::new(Peer::UnboundCleartext, now)
    }

    fn new(peer: Peer, made_at: UnixTime) -> Result<Self, AttestationError> {
        let nonce = crypto::random_32().map_err(|crypto::NoRandomness| AttestationError::Misconfigured {
            reason: "the operating system gives no random bytes for a nonce".to_owned(),
        })?;
        Ok(Self { nonce: Nonce::new(nonce), peer, key_exchange: None, made_at })
    }

    /// Adds the key exchange group that TLS negotiated for the application's connection, by its IANA name, such as `X25519MLKEM768`. A policy with `require_post_quantum` needs it.
    pub fn key_exchange(mut self, group: impl Into<String>) -> Self {
        self.key_exchange = Some(group.into());
        self
    }

    /// Returns the nonce, the only part of the challenge that a bound request carries.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Returns how the connection will be bound to the evidence if it verifies.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self.peer {
            Peer::Bound { .. } => Channel::Bound,
            Peer::BoundConnection { .. } => Channel::BoundConnection,
            Peer::BoundMessage { .. } => Channel::BoundMessage,
            Peer::UnboundTls { .. } => Channel::UnboundTls,
            Peer::UnboundCleartext => Channel::UnboundCleartext,
        }
    }

    /// Returns the runtime data that genuine evidence covers, byte for byte.
    ///
    /// For a bound channel the agent writes it, and the client computes it here from its own nonce, the key of the connection and,
    /// where the form names it, the exporter; for an unbound one the client sends it. It is empty for [`Challenge::bound_message`],
    /// whose key comes with the response: see [`Challenge::runtime_data_naming`].
    #[must_use]
    pub fn runtime_data(&self) -> Vec<u8> {
        match self.peer {
            Peer::Bound { key, .. } => bound_server(&self.nonce, &key),
            Peer::BoundConnection { key, exporter, .. } => bound_connection(&self.nonce, &key, &exporter),
            Peer::BoundMessage { .. } => String::new(),
            Peer::UnboundTls { .. } | Peer::UnboundCleartext => format!(r#"{{"nonce":"{}"}}"#, self.nonce),
        }
        .into_bytes()
    }

    /// Returns the runtime data that genuine evidence covers if messages are sealed to this key configuration (RFC 9458 section 3), as
    /// it was received.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidAgentAnswer`] unless it is exactly one configuration of X-Wing or X25519 with HKDF-SHA256 and
    /// AES-256-GCM.
    pub fn runtime_data_naming(&self, key_config: &[u8]) -> Result<Vec<u8>, AttestationError> {
        read_key_config(key_config).map(|config| self.runtime_data_of(&config))
    }

    pub(crate) fn runtime_data_of(&self, config: &KeyConfig) -> Vec<u8> {
        runtime_data::runtime_data(&self.nonce, config).into_bytes()
    }

    /// Whether the agent writes the runtime data.
    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.peer, Peer::Bound { .. } | Peer::BoundConnection { .. } | Peer::BoundMessage { .. })
    }

    /// The form that a request names; the first one has no name.
    pub(crate) fn requested_protocol(&self) -> Option<&'static str> {
        match self.peer {
            Peer::BoundConnection { .. } => Some(BOUND_CONNECTION),
            Peer::BoundMessage { .. } => Some(BOUND_MESSAGE),
            _ => None,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn negotiated_key_exchange(&self) -> Option<&str> {
        self.key_exchange.as_deref()
    }

    pub(crate) fn made_at(&self) -> UnixTime {
        self.made_at
    }
}

impl ServerNameCheck {
    /// What is known of the name of the peer itself. That of a front end says nothing about it.
    fn of_peer(self) -> Self {
        if self == Self::Validated { self } else { Self::NotEvaluated }
    }

    fn of_front_end(self) -> Self {
        if self == Self::NotEvaluated { self } else { Self::ValidatedFrontEnd }
    }
}

/// Reads a key configuration as an agent sent it.
pub(crate) fn read_key_config(bytes: &[u8]) -> Result<KeyConfig, AttestationError> {
    KeyConfig::from_bytes(bytes).map_err(|error| AttestationError::InvalidAgentAnswer { reason: error.to_string() })
}

/// The exact runtime data of a bound response that names the key: members in this order, no white space.
fn bound_server(nonce: &Nonce, key: &SpkiDigest) -> String {
    format!(r#"{{"nonce":"{nonce}","protocol":"{BOUND_SERVER}","tls-spki-sha256":"{key}"}}"#)
}

/// The same of one that names the connection too.
fn bound_connection(nonce: &Nonce, key: &SpkiDigest, exporter: &TlsExporter) -> String {
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
    fn the_runtime_data_of_a_message_key_is_this_text_and_no_other() {
        let challenge = Challenge::bound_message(ServerNameCheck::Validated, UnixTime::from_secs(0)).unwrap();
        let bytes = hex::decode("01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e798155000400010002");
        let text = String::from_utf8(challenge.runtime_data_naming(&bytes.unwrap()).unwrap()).unwrap();
        let digest = "f8f9052c1157644f83ae296395ed9e77366546249331a7bdd58774488c54f8cb";
        let expected = format!(
            r#"{{"nonce":"{}","ohttp-key-config-sha256":"{digest}","protocol":"blindbox-bound-message/1"}}"#,
            challenge.nonce()
        );
        assert_eq!((text.as_str(), text.len()), (expected.as_str(), 207));
        let named = Named::Message(Sha256Digest::from_hex(digest).unwrap());
        assert_eq!(Named::parse(text.as_bytes(), challenge.nonce()), Some(named));
        assert_eq!(Named::key_in(text.as_bytes()), None);
        assert_eq!(Named::parse(text.replace("message/1", "message/2").as_bytes(), challenge.nonce()), None);
        assert_eq!(challenge.runtime_data(), b"");
        assert!(matches!(challenge.runtime_data_naming(&[1]), Err(AttestationError::InvalidAgentAnswer { .. })));
    }

    #[test]
    fn the_name_of_a_front_end_is_not_that_of_the_peer() {
        let (now, key) = (UnixTime::from_secs(0), SpkiDigest::new([0xab; 32]));
        use ServerNameCheck::{NotEvaluated, Validated, ValidatedFrontEnd};
        for (given, of_peer, of_front_end) in [
            (Validated, Validated, ValidatedFrontEnd),
            (ValidatedFrontEnd, NotEvaluated, ValidatedFrontEnd),
            (NotEvaluated, NotEvaluated, NotEvaluated),
        ] {
            let bound = Challenge::bound(key, given, now).unwrap();
            assert_eq!(bound.peer(), Peer::Bound { key, server_name: of_peer });
            let message = Challenge::bound_message(given, now).unwrap();
            assert_eq!(message.peer(), Peer::BoundMessage { server_name: of_front_end });
        }
    }

    #[test]
    fn the_statement_about_a_key_is_this_text_and_no_other() {
        let key = SpkiDigest::new([0xab; 32]);
        let expected = format!(r#"{{"protocol":"blindbox-bound-key/1","tls-spki-sha256":"{}"}}"#, "ab".repeat(32));
        assert_eq!((key_statement(&key).as_str(), expected.len()), (expected.as_str(), 120));
        // It is no runtime data.
        assert_eq!(Named::key_in(expected.as_bytes()), None);
    }

    #[test]
    fn every_challenge_has_its_own_nonce() {
        let now = UnixTime::from_secs(0);
        let (a, b) = (Challenge::unbound_cleartext(now).unwrap(), Challenge::unbound_cleartext(now).unwrap());
        assert_ne!(a.nonce(), b.nonce());
    }
}
