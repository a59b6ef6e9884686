//! The version, the kinds of error, and events of the core.

use blindbox_facade as facade;
use napi_derive::napi;

use crate::call::{self, Failure, Outcome};

/// One kind of error.
#[napi(object)]
pub struct Code {
    pub code: String,
    pub number: u32,
    pub category: String,
    pub retryable: bool,
    pub name: String,
}

/// An event of the core.
#[napi(object)]
pub struct Event {
    pub level: String,
    pub message: String,
    /// An object, as JSON.
    pub fields: String,
    /// How many events before it were dropped.
    pub dropped: f64,
}

/// Returns the version of the native part.
#[napi]
pub fn version() -> String {
    facade::version().to_owned()
}

/// Returns all kinds of error.
#[napi]
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

/// Sets which events are kept.
#[napi]
pub fn log_level(level: String) -> Outcome<bool> {
    call::outcome(facade::log::set_level(&level).map(|()| true))
}

/// Takes the next event, if there is one.
#[napi]
pub fn log_next() -> Option<napi::Either<Event, Failure>> {
    match facade::log::next(std::time::Duration::ZERO) {
        Ok(event) => event.map(|event| {
            napi::Either::A(Event {
                level: event.level.to_owned(),
                message: event.message,
                fields: event.fields,
                dropped: u32::try_from(event.dropped).unwrap_or(u32::MAX).into(),
            })
        }),
        Err(error) => Some(napi::Either::B(error.into())),
    }
}
