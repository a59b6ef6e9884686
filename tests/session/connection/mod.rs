//! An attested session over real TLS: what it sends, to whom, and for how long.

mod identity;
mod key_exchange;
mod lifetime;
mod peers;
mod sent;
mod tasks;
mod unbound;
