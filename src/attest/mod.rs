//! Attests the peer of one connection: opens it, requests evidence with a new nonce, and verifies it. Which peers a session keeps
//! is decided above, in `session`.
//!
//! | file | responsibility |
//! |---|---|
//! | `challenger` | what one attestation is: open, challenge, fetch, verify |
//! | `channel_mode` | how the peer is reached and identified |
//! | `peer_id` | what an attestation holds for: a key, or a connection |
//! | `lease` | one attestation and its validity |
//! | `recipient` | the instance that messages are sealed to |
//! | `coalesce` | which tasks share an attestation; which keys were refused |
//! | `evidence_first` | which error counts where evidence and key set are fetched at the same time |
//! | `collect` | evidence without a verdict |

mod challenger;
mod channel_mode;
mod coalesce;
mod collect;
mod evidence_first;
mod lease;
mod peer_id;
mod recipient;

pub(crate) use challenger::Challenger;
pub(crate) use coalesce::{Coalesce, Freshness, RefusalObserver, VerdictKey};
pub use collect::EvidenceBundle;
pub(crate) use collect::collect;
pub(crate) use lease::Lease;
pub(crate) use peer_id::PeerId;
pub(crate) use recipient::{MessageRecipient, has_own_header};
