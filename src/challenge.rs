//! The challenge of one connection: nonce, peer and time. The verification takes it by value, so that it is used once.

use serde::Serialize;

use crate::crypto;
use crate::error::AttestationError;
use crate::types::{Nonce, SpkiDigest, UnixTime};

/// The name and version of the bound protocol, which says who attests (the server) and what the runtime data means.
const PROTOCOL: &str = "blindbox-bound-server/1";

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
    Bound { key: SpkiDigest, server_name: ServerNameCheck },
    UnboundTls { server_name: ServerNameCheck },
    UnboundCleartext,
}

/// How the connection is bound to the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Channel {
    /// TLS, and the evidence names the key of the connection.
    Bound,
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
        Self::new(Peer::Bound { key, server_name }, now)
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
        Self::new(Peer::UnboundTls { server_name }, now)
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
            Peer::UnboundTls { .. } => Channel::UnboundTls,
            Peer::UnboundCleartext => Channel::UnboundCleartext,
        }
    }

    /// Returns the runtime data that genuine evidence covers, byte for byte.
    ///
    /// For a bound channel the agent writes it, and the client computes it here from its own nonce and the key of the
    /// connection; for an unbound one the client sends it.
    #[must_use]
    pub fn runtime_data(&self) -> Vec<u8> {
        match self.peer {
            Peer::Bound { key, .. } => runtime_data(&self.nonce, &key),
            Peer::UnboundTls { .. } | Peer::UnboundCleartext => format!(r#"{{"nonce":"{}"}}"#, self.nonce),
        }
        .into_bytes()
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

/// The exact runtime data of a bound response: keys in this order, no white space.
fn runtime_data(nonce: &Nonce, key: &SpkiDigest) -> String {
    format!(r#"{{"nonce":"{nonce}","protocol":"{PROTOCOL}","tls-spki-sha256":"{key}"}}"#)
}

/// Returns the TLS key that an agent's runtime data names, if it is a bound response to this nonce.
///
/// Only for the error, to distinguish another key from another nonce; the verification compares all bytes.
pub(crate) fn parse_bound_key(runtime_data: &[u8], nonce: &Nonce) -> Option<SpkiDigest> {
    let text = std::str::from_utf8(runtime_data).ok()?;
    let prefix = format!(r#"{{"nonce":"{nonce}","protocol":"{PROTOCOL}","tls-spki-sha256":""#);
    SpkiDigest::from_hex(text.strip_prefix(&prefix)?.strip_suffix(r#""}"#)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_runtime_data_is_this_text_and_no_other() {
        let nonce = Nonce::new([0x11; 32]);
        let key = SpkiDigest::new([0xab; 32]);
        let text = runtime_data(&nonce, &key);
        let expected = format!(
            r#"{{"nonce":"{}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{}"}}"#,
            "11".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(parse_bound_key(text.as_bytes(), &nonce), Some(key));
        assert_eq!(parse_bound_key(text.as_bytes(), &Nonce::new([0x12; 32])), None);
        assert_eq!(parse_bound_key(text.replace(':', ": ").as_bytes(), &nonce), None);
    }

    #[test]
    fn every_challenge_has_its_own_nonce() {
        let now = UnixTime::from_secs(0);
        let (a, b) = (Challenge::unbound_cleartext(now).unwrap(), Challenge::unbound_cleartext(now).unwrap());
        assert_ne!(a.nonce(), b.nonce());
    }
}
