//! The peer of a connection and its channel: who it is, with which TLS, and bound to evidence or not.

mod identity;
mod key_exchange;
mod unbound;
