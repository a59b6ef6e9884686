//! [`Outcome`]: what a call returns, and [`Failure`]: why there is nothing else.

use std::sync::Arc;

use blindbox_facade::{self as facade, Error};

use crate::bodies::Response;
use crate::offline::Policy;
use crate::sessions::{Collected, Session, Verifier};

/// An error as plain data. The appraisal holds values that identify a machine: the host keeps it out of messages.
#[derive(uniffi::Record)]
pub struct Failure {
    pub code: String,
    pub number: i32,
    pub category: String,
    pub retryable: bool,
    pub request_sent: bool,
    pub message: String,
    pub appraisal: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.to_owned(),
            number: error.number.into(),
            category: error.category.to_owned(),
            retryable: error.retryable,
            request_sent: error.request_sent,
            message: error.message,
            appraisal: error.appraisal,
        }
    }
}

/// A header. The value may be bytes that are no text.
#[derive(uniffi::Record)]
pub struct Header {
    pub name: String,
    pub value: Vec<u8>,
}

/// The head of a response, and the beginning of its body.
#[derive(uniffi::Record)]
pub struct Head {
    pub status: i32,
    pub version: String,
    pub url: String,
    pub headers: Vec<Header>,
    pub early: Vec<u8>,
    /// Whether the beginning is the whole body.
    pub complete: bool,
}

/// What a call returns.
#[derive(uniffi::Enum)]
pub enum Outcome {
    Failed {
        failure: Failure,
    },
    Opened {
        verifier: Arc<Verifier>,
    },
    Parsed {
        policy: Arc<Policy>,
    },
    Connected {
        session: Arc<Session>,
    },
    Gathered {
        evidence: Arc<Collected>,
    },
    Responded {
        response: Arc<Response>,
        head: Head,
    },
    /// The next bytes of a body.
    Pulled {
        bytes: Vec<u8>,
    },
    /// The end of a body.
    Ended,
    Made {
        text: String,
    },
    Done,
}

/// The outcome of work.
pub(crate) fn outcome<T>(result: Result<T, Error>, made: impl FnOnce(T) -> Outcome) -> Outcome {
    result.map_or_else(|error| Outcome::Failed { failure: error.into() }, made)
}

/// The outcome of work that makes a text.
pub(crate) fn text(result: Result<String, Error>) -> Outcome {
    outcome(result, |text| Outcome::Made { text })
}

impl Outcome {
    /// The outcome of a request.
    pub(crate) fn responded(response: facade::Response) -> Self {
        let early = response.early();
        let headers = response.headers.iter();
        let headers = headers.map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect();
        let head = Head {
            status: response.status.into(),
            version: response.version.to_owned(),
            url: response.url.clone(),
            headers,
            early: early.bytes.into(),
            complete: early.complete,
        };
        Self::Responded { response: Arc::new(Response::new(response)), head }
    }
}
