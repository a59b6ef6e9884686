//! A response that is not sealed: of the front end, or of an agent that cannot open the request. Nothing authenticates it.

use std::fmt;

use super::outer::{KEY_PROBLEM, NOT_OPENED_STATUS, PROBLEM_TYPE};
use super::resending::Failure;
use crate::json::{self, Value};
use crate::types::is_media_type;

/// What such a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSealed {
    /// The instance that was reached does not have the message key.
    UnknownKey,
    /// A success that is no sealed message.
    AnotherType,
    /// Any other response, by its status.
    Status(u16),
}

impl NotSealed {
    /// Whether the content may say that the message key is not known. Only then it has to be read.
    pub(crate) fn is_problem(status: u16, content_type: &str) -> bool {
        status == NOT_OPENED_STATUS && is_media_type(content_type, PROBLEM_TYPE)
    }

    /// Reads a response. `content` is empty if it was not read.
    pub(crate) fn of(status: u16, content_type: &str, content: &[u8]) -> Self {
        match status {
            _ if Self::is_problem(status, content_type) && names_key(content) => Self::UnknownKey,
            200 => Self::AnotherType,
            status => Self::Status(status),
        }
    }

    /// The failure of the request, if another attestation may repair it.
    pub(crate) fn failure(self) -> Option<Failure> {
        (self == Self::UnknownKey).then_some(Failure::Unauthenticated)
    }

    /// Whether a front end says this where it cannot reach an instance. The next request attests one again: else a session would fail
    /// until the attestation of an instance that is gone has ended.
    pub(crate) fn is_of_absent_instance(self) -> bool {
        matches!(self, Self::Status(404 | 421 | 502 | 503 | 504))
    }
}

impl fmt::Display for NotSealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str(
                "no instance that was reached has the message key, as after a restart, or with several instances behind a front end \
                 without affinity",
            ),
            Self::AnotherType => f.write_str("the front end responded with something else than a sealed message"),
            Self::Status(status) => {
                write!(f, "the front end responded with the status {status}, which the instance has not sealed")
            }
        }
    }
}

/// Whether the content is the problem of RFC 9458 section 5.3.
fn names_key(content: &[u8]) -> bool {
    let Ok(Value::Object(problem)) = json::parse(content) else { return false };
    problem.required::<&str>("type").is_ok_and(|kind| kind == KEY_PROBLEM)
}
