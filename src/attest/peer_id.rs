//! What identifies a peer in a session.

use crate::types::{SpkiDigest, TlsExporter};

/// What an attestation holds for: everything with the same id shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerId {
    /// The one peer of an unbound session.
    Unbound,
    /// Any connection to a front end: messages are sealed to the instance that was attested last.
    FrontEnd,
    /// Every connection with this key.
    Key(SpkiDigest),
    /// One connection: another one with the same key has another exporter, and may lead to another party.
    Connection { key: SpkiDigest, exporter: TlsExporter },
}

impl PeerId {
    /// The key that the peer has proven to hold, where it identifies the peer.
    pub(crate) fn key(self) -> Option<SpkiDigest> {
        match self {
            Self::Unbound | Self::FrontEnd => None,
            Self::Key(key) | Self::Connection { key, .. } => Some(key),
        }
    }

    pub(crate) fn is_one_connection(self) -> bool {
        matches!(self, Self::Connection { .. })
    }
}
