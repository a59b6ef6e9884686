//! The version, the kinds of error, and events of the core.

use std::time::Duration;

use blindbox_facade as facade;

use crate::outcome::{Outcome, outcome};

/// One kind of error.
#[derive(uniffi::Record)]
pub struct Code {
    pub code: String,
    pub number: i32,
    pub category: String,
    pub retryable: bool,
    pub name: String,
}

/// An event of the core.
#[derive(uniffi::Record)]
pub struct Event {
    pub level: String,
    pub message: String,
    /// An object, as JSON.
    pub fields: String,
    /// How many events before it were dropped.
    pub dropped: i64,
}

/// Returns the version of the native part.
#[uniffi::export]
pub fn version() -> String {
    facade::version().to_owned()
}

/// Returns all kinds of error.
#[uniffi::export]
pub fn codes() -> Vec<Code> {
    let codes = facade::codes().into_iter();
    let code = |code: facade::Code| Code {
        code: code.code.to_owned(),
        number: code.number.into(),
        category: code.category.to_owned(),
        retryable: code.retryable,
        name: code.name.to_owned(),
    };
    codes.map(code).collect()
}

/// Sets which events are kept: [`Outcome::Done`].
#[uniffi::export]
pub fn log_level(level: String) -> Outcome {
    outcome(facade::log::set_level(&level), |()| Outcome::Done)
}

/// Waits for the next event, at most so many milliseconds.
#[uniffi::export]
pub fn log_next(timeout_ms: u64) -> Option<Event> {
    let event = facade::log::next(Duration::from_millis(timeout_ms)).ok()??;
    Some(Event {
        level: event.level.to_owned(),
        message: event.message,
        fields: event.fields,
        dropped: i64::try_from(event.dropped).unwrap_or(i64::MAX),
    })
}
