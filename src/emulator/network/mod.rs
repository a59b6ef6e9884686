//! What servers of the emulator have in common: sockets, TLS, HTTP, faults, and the record of what arrived.

pub(crate) mod body;
pub(crate) mod fault;
pub(crate) mod gate;
mod port;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod tcp_proxy;
pub(crate) mod tls;
pub(crate) mod traffic;
