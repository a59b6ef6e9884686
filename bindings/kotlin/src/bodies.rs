//! Bodies of responses, as they are pulled, and of requests, as they are written.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use blindbox_facade::{self as facade, Error};

use crate::calls::Calls;
use crate::outcome::Outcome;

/// How often a wait that nothing interrupts looks up.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The body of a response.
#[derive(uniffi::Object)]
pub struct Response(facade::Response);

impl Response {
    pub(crate) fn new(response: facade::Response) -> Self {
        Self(response)
    }
}

#[uniffi::export]
impl Response {
    /// Pulls the next bytes: [`Outcome::Pulled`] or [`Outcome::Ended`].
    pub fn chunk(&self, calls: Arc<Calls>, id: i64) {
        let made = |chunk: Option<bytes::Bytes>| match chunk {
            Some(bytes) => Outcome::Pulled { bytes: bytes.into() },
            None => Outcome::Ended,
        };
        calls.start(id, self.0.chunk(), made);
    }

    /// Gives up the rest of the body, and that of the request. (UniFFI's own `close` frees the object.)
    pub fn end(&self) {
        self.0.close();
    }
}

/// A request body that is written while it is sent. The writing functions block: they are for a thread of their own.
#[derive(uniffi::Object)]
pub struct Upload(pub(crate) facade::Upload);

#[uniffi::export]
impl Upload {
    /// Creates an upload; `length` is what it has in all, if that is known.
    #[uniffi::constructor]
    pub fn new(length: Option<u64>) -> Arc<Self> {
        Arc::new(Self(facade::Upload::new(length)))
    }

    /// Waits until the request takes more. Returns `false` if it takes no more.
    pub fn ready(&self) -> bool {
        wants(self.0.ready())
    }

    /// Waits until the request takes more, and gives it the next piece. Returns `false` if it takes no more.
    pub fn write(&self, piece: Vec<u8>) -> bool {
        wants(self.0.write(piece.into()))
    }

    /// Ends the body.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Ends the body because its source failed.
    pub fn fail(&self, reason: String) {
        self.0.fail(&reason);
    }
}

fn wants(work: impl Future<Output = Result<bool, Error>> + Send + 'static) -> bool {
    let outcome = facade::wait(work, INTERVAL, || Ok::<(), Infallible>(()));
    matches!(outcome, Ok(Ok(true)))
}
