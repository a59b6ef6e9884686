//! `blindbox-bound-message/1`: requests and responses sealed to an attested key, both ends.
//!
//! | module | what it has |
//! |---|---|
//! | [`runtime_data`] | what evidence covers: the nonce and the digest of the key configuration |
//! | [`replay`] | protection against replays: session ids, numbers, and the window of used numbers |
//! | [`keys`] | the keys of one agent, from their generation until they are wiped |
//! | [`fields`] | the fields that only the client or the ends of the protocol write |
//! | [`stream`] | binary HTTP in chunks, written and read |
//! | [`agent`] | the request that an agent opens, and its sealed response |
//! | [`client`] | the request that a client seals, and the response to it |
//! | [`attest_limit`] | how many attestations a client requests through a front end |
//! | [`resending`] | whether a request may be sealed and sent again |
//! | [`outer`] | the HTTP messages that sealed ones travel in |
//! | [`not_sealed`] | what a response says that is not sealed |
//!
//! The front end between them ends TLS, and is the attacker: it keeps, changes, cuts, repeats and swaps messages, and seals messages
//! of its own. The models of `models/` have the same parties.

pub(crate) mod agent;
pub(crate) mod attest_limit;
pub(crate) mod client;
pub(crate) mod fields;
pub(crate) mod keys;
pub(crate) mod not_sealed;
pub(crate) mod outer;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub(crate) mod replay;
pub(crate) mod resending;
pub(crate) mod runtime_data;
pub(crate) mod stream;
#[cfg(any(test, fuzzing))]
mod world;

#[cfg(test)]
mod tests;
