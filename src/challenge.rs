//! The challenge of one connection: nonce, peer and time. The verification takes it by value, so that it is used once.

mod runtime_data;

use serde::Serialize;

use self::runtime_data::{BOUND_CONNECTION, bound_connection, bound_server};
pub(crate) use self::runtime_data::{Named, key_statement};
use crate::crypto;
use crate::error::AttestationError;
use crate::message::exchange::runtime_data::{BOUND_MESSAGE, runtime_data as naming_message_key};
use crate::message::key_config::KeyConfig;
use crate::types::{Nonce, SpkiDigest, TlsExporter, UnixTime};

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
    /// Each request is sealed to a key that the evidence names, and its response to the request (RFC 9458). TLS may end at a front
    /// end, which can neither read nor change them.
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
    /// its name. Nothing else says who the peer is, since the evidence does not name its key: one that was not validated is refused.
    ///
    /// # Errors
    ///
    /// As [`Challenge::bound`].
    pub fn unbound_tls(server_name: ServerNameCheck, now: UnixTime) -> Result<Self, AttestationError> {
        Self::new(Peer::UnboundTls { server_name: server_name.of_peer() }, now)
    }

    /// Creates a challenge over plain HTTP. Only a policy with `allow_unbound_plain_http` accepts it.
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

    /// Adds the key exchange group that TLS negotiated for the application's connection, by its IANA name, such as
    /// `X25519MLKEM768`. A policy with `require_post_quantum` needs it.
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
        naming_message_key(&self.nonce, config).into_bytes()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Sha256Digest;

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
    fn every_challenge_has_its_own_nonce() {
        let now = UnixTime::from_secs(0);
        let (a, b) = (Challenge::unbound_cleartext(now).unwrap(), Challenge::unbound_cleartext(now).unwrap());
        assert_ne!(a.nonce(), b.nonce());
    }
}
