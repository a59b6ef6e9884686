//! Connections to the application and its agent: DNS, TCP, an HTTP proxy, TLS, HTTP/1.1 and HTTP/2.
//!
//! A [`Connector`] opens a [`Connection`], which reports the TLS key of its peer before anything is sent on it. The session
//! decides what may be sent and when. MAA, KDS and THIM are reached by another HTTP client ([`crate::fetch`]).

mod connection;
mod connector;
mod error;
mod http2_tasks;
mod proxy;

pub(crate) use connection::{Connection, Io, OutgoingBody, Security, upgraded};
pub(crate) use connector::{Connector, Network};
pub(crate) use error::{Stage, TransportError, TransportErrorKind, classify, classify_reqwest};
pub(crate) use proxy::Proxy;
