//! HTTP messages sealed to a key: binary HTTP (RFC 9292) in chunked Oblivious HTTP (RFC 9458 and
//! draft-ietf-ohai-chunked-ohttp-08) under HPKE (RFC 9180). Without I/O, clock or environment.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`hpke`] | the encryption to a public key |
//! | [`key_config`] | the public key and its algorithms, as an agent names them |
//! | [`public_key`] | which public keys are usable |
//! | [`chunks`] | a sequence of encrypted chunks, of which the last is marked |
//! | [`request`], [`response`] | the sealed messages, both ends |
//! | [`binary_http`] | method, path, status, fields, content and trailers as bytes |
//! | [`headers`] | fields as headers, and back |
//! | [`varint`] | lengths |
//! | [`exchange`] | the protocol between a client and an agent: `blindbox-bound-message/1` |
//!
//! Whatever is read here came over a network from an unknown sender. Every length is bounded before anything of that length is
//! kept, and nothing decrypted is returned before its tag has verified.

pub(crate) mod binary_http;
pub(crate) mod chunks;
pub(crate) mod exchange;
#[cfg(any(feature = "agent", feature = "client"))]
pub(crate) mod headers;
pub(crate) mod hpke;
pub(crate) mod key_config;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod public_key;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod suite;
pub(crate) mod varint;

#[cfg(test)]
mod tests;
