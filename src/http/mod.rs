//! Requests and responses: what a caller can send to an attested peer and what it gets back, on any connection.
//!
//! Which connection that is, and whether its peer is attested, is decided above, in `session`. This module knows the peer only as a
//! [`Guard`]: every piece of a body asks it whether the exchange may continue.
//!
//! | file | responsibility |
//! |---|---|
//! | `request`, `headers`, `multipart` | what a caller can put into a request |
//! | `methods` | `get`, `post` and their siblings of all sessions |
//! | `parts` | the request for one connection; the check of a switch of protocols |
//! | `request_body` | the sources of a body: bytes, readers, streams |
//! | `guarded_body` | a body on its way, which continues only while its peer is attested |
//! | `response`, `response_body` | the response, whose body is cut off with its peer |
//! | `sealed_request`, `sealed_response` | a request that is sealed to a message key, and the response that is opened |
//! | `stream` | byte streams of other protocols, with the same checks |
//! | `guard` | how long an exchange may continue |

mod guard;
mod guarded_body;
mod headers;
mod methods;
pub mod multipart;
mod parts;
mod request;
mod request_body;
mod response;
mod response_body;
pub(crate) mod sealed_request;
pub(crate) mod sealed_response;
mod stream;

pub(crate) use guard::{Cancelled, Guard};
pub(crate) use guarded_body::Progress;
pub(crate) use headers::{check_all as check_headers, parse as parse_header};
pub(crate) use methods::request_methods;
pub(crate) use parts::{Parts, new_request};
pub use request::Request;
pub(crate) use request::Sender;
pub(crate) use request_body::{CHUNK_SIZE, RequestBody};
pub use response::{BodyError, BodyJsonError, Response, StatusError};
#[cfg(feature = "blocking")]
pub(crate) use response::{json, text};
pub use response_body::Body;
pub use stream::AttestedStream;
