//! The runtime data of the bound forms, as the agent attests and sends them; with the knobs that change them.
//!
//! Written apart from [`crate::challenge`]: a mistake in a form must not be at both ends.

use serde_json::{Map, Value};

use crate::agent;
use crate::emulator::keys::random;
use crate::emulator::knob::Knob;
use crate::types::{Sha256Digest, SpkiDigest, TlsExporter};

/// The protocol that a request names for evidence about a connection.
const CONNECTION: &str = "blindbox-bound-connection/1";

/// What the runtime data of a bound response name.
#[derive(Clone, Copy)]
pub(crate) enum Named {
    Key(SpkiDigest),
    /// The connection, with the key that it was opened with.
    Connection(SpkiDigest, TlsExporter),
    /// The digest of the configuration of a message key.
    MessageKey(Sha256Digest),
}

impl Named {
    /// The runtime data of the bound form for a nonce.
    pub(crate) fn runtime_data(self, nonce: &str) -> Vec<u8> {
        match self {
            Self::Key(key) => {
                format!(r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{key}"}}"#)
            }
            Self::Connection(key, exporter) => format!(
                r#"{{"nonce":"{nonce}","protocol":"{CONNECTION}","tls-exporter":"{exporter}","tls-spki-sha256":"{key}"}}"#
            ),
            Self::MessageKey(digest) => {
                let protocol = agent::PROTOCOL;
                format!(r#"{{"nonce":"{nonce}","ohttp-key-config-sha256":"{digest}","protocol":"{protocol}"}}"#)
            }
        }
        .into_bytes()
    }

    fn with_key(self, foreign: SpkiDigest) -> Self {
        match self {
            Self::Key(_) => Self::Key(foreign),
            Self::Connection(_, exporter) => Self::Connection(foreign, exporter),
            Self::MessageKey(_) => self,
        }
    }

    fn with_exporter(self, foreign: TlsExporter) -> Self {
        match self {
            Self::Connection(key, _) => Self::Connection(key, foreign),
            Self::Key(_) | Self::MessageKey(_) => self,
        }
    }

    fn with_message_key(self, foreign: Sha256Digest) -> Self {
        match self {
            Self::MessageKey(_) => Self::MessageKey(foreign),
            Self::Key(_) | Self::Connection(..) => self,
        }
    }
}

/// Whether a request is for evidence about the connection.
pub(crate) fn asks_for_connection(request: &Map<String, Value>) -> bool {
    asks_for(request, CONNECTION)
}

/// Whether a request is for evidence that names a message key.
pub(crate) fn asks_for_message_key(request: &Map<String, Value>) -> bool {
    asks_for(request, agent::PROTOCOL)
}

fn asks_for(request: &Map<String, Value>, protocol: &str) -> bool {
    request.get("protocol").and_then(Value::as_str) == Some(protocol)
}

/// What the agent attests and what it sends back in the bound form.
pub(super) fn written(knobs: &[Knob], nonce: &str, mut named: Named) -> (Vec<u8>, Vec<u8>) {
    let (mut attested_nonce, mut said_nonce) = (nonce.to_owned(), nonce.to_owned());
    let (mut attested, mut said) = (None, None);
    for knob in knobs {
        match knob {
            Knob::OldNonce => {
                attested_nonce = hex::encode(random::<32>());
                said_nonce.clone_from(&attested_nonce);
            }
            Knob::OldToken => attested_nonce = hex::encode(random::<32>()),
            Knob::ForeignKey(foreign) => named = named.with_key(*foreign),
            Knob::ForeignExporter(foreign) => named = named.with_exporter(*foreign),
            Knob::ForeignMessageKey(foreign) => named = named.with_message_key(*foreign),
            Knob::RuntimeData(bytes) => (attested, said) = (Some(bytes.clone()), Some(bytes.clone())),
            Knob::RuntimeDataInAnswer(bytes) => said = Some(bytes.clone()),
            _ => {}
        }
    }
    let attested = attested.unwrap_or_else(|| named.runtime_data(&attested_nonce));
    let said = said.unwrap_or_else(|| named.runtime_data(&said_nonce));
    (attested, said)
}
