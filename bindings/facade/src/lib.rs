//! The attestation client as plain data, for bindings to other languages.
//!
//! No generic, builder, lifetime or trait crosses this interface: strings, bytes, numbers, JSON. It makes no check of its own;
//! every verdict is the core's. A binding adds the idiom of its language and nothing else.
//!
//! | module | contents |
//! |---|---|
//! | `process` | runtimes, made once in each process and never dropped; objects know the process that made them |
//! | `drive` | the runtime of blocking calls, which the threads that call drive |
//! | `task` | [`start`]: completion by callback; [`wait`], [`wait_writing`], [`Call`], [`Started`]: blocking calls that can be interrupted; [`Cancel`] |
//! | `error` | [`Error`]: code, number, category, and the appraisal by a channel of its own; [`codes`] |
//! | `settings` | every setting of the verifier as JSON, unknown fields refused |
//! | `verifier`, `session`, `response` | connections, requests, response bodies |
//! | `upload` | [`Upload`]: request bodies that are written while they are sent |
//! | `limit` | [`Limit`]: how long a blocking call waits for its peer |
//! | `policy`, `offline` | policies, host data, recorded evidence, inspection |
//! | `call` | the same by the name of a function, JSON in and out |
//! | `message` | `MessageHost`: sealed messages for hosts that have the network themselves (feature `crypto-rust`) |
//! | `log` | events of the core, pulled by the host |
//!
//! Without the feature `client` it has what needs no network: `error`, `policy`, `offline`, `call`.
//!
//! # Threads
//!
//! Every function may be called from every thread. Futures run on a runtime of the process ([`start`], [`wait`], [`Call`],
//! [`Started`]); do not poll them anywhere else. Never call the host language from inside a future: complete, and let the host pick the
//! result up.
//!
//! The work of a blocking call runs on the thread that calls, with the tasks of the connections that blocking calls have opened:
//! it needs 512 KiB of stack, and `SIGPIPE` is blocked there. [`wait`] calls `proceed` between the steps of the work, and
//! [`wait_writing`] its source while the work goes on without it: both may make calls themselves. A thread that polls for another
//! runtime of tokio may call too, and blocks that runtime; its work is then driven by a thread of the client.
//!
//! # Fork
//!
//! An object that is used in another process than the one that made it returns the error `forked`: two processes that write on
//! one TLS connection would reuse record nonces. Objects made in the child work, on a runtime of the child's own.

#![forbid(unsafe_code)]

mod call;
#[cfg(feature = "client")]
mod drive;
mod endorsements;
mod error;
#[cfg(feature = "client")]
mod limit;
#[cfg(feature = "client")]
pub mod log;
mod members;
#[cfg(feature = "crypto-rust")]
mod message;
mod offline;
mod policy;
#[cfg(feature = "client")]
mod process;
#[cfg(feature = "client")]
mod response;
#[cfg(feature = "client")]
mod session;
#[cfg(feature = "client")]
mod settings;
#[cfg(feature = "client")]
mod signals;
#[cfg(feature = "client")]
mod task;
#[cfg(feature = "client")]
mod upload;
#[cfg(feature = "client")]
mod verifier;

pub use call::{MAX_CALL_BYTES, call};
pub use error::{Code, Error, codes};
#[cfg(feature = "client")]
pub use limit::Limit;
#[cfg(feature = "crypto-rust")]
pub use message::MessageHost;
pub use offline::{Recorded, inspect, verify_recorded, verify_unappraised};
pub use policy::{Policy, cce_policy, host_data};
#[cfg(feature = "client")]
pub use process::{note_fork, within_process};
#[cfg(feature = "client")]
pub use response::{Early, Response};
#[cfg(feature = "client")]
pub use session::{Request, RequestBody, Session};
#[cfg(feature = "client")]
pub use task::{Call, Cancel, Started, start, wait, wait_writing};
#[cfg(feature = "client")]
pub use upload::Upload;
#[cfg(feature = "client")]
pub use verifier::{Collected, Verifier};

/// Returns the version, which is that of every binding: a binding compares it with its own when it is loaded.
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
