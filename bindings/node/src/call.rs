//! Calls into the runtime, and errors on their way to JavaScript.

use std::sync::{Arc, Mutex, PoisonError};

use blindbox_facade::{self as facade, Error};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Either, Env};
use napi_derive::napi;

use crate::running::Running;

/// An error, from which JavaScript makes the one of its class.
#[napi(object)]
pub struct Failure {
    pub code: String,
    pub number: u32,
    pub category: String,
    pub retryable: bool,
    pub request_sent: bool,
    pub message: String,
    /// All checks as JSON, if the evidence was appraised. It is no part of the message.
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

/// A value or a failure.
pub(crate) type Outcome<T> = Either<T, Failure>;

pub(crate) fn outcome<T>(result: Result<T, Error>) -> Outcome<T> {
    match result {
        Ok(value) => Either::A(value),
        Err(error) => Either::B(error.into()),
    }
}

/// Ends the call that it was given to.
#[napi]
#[derive(Default)]
pub struct Cancel(Mutex<Option<Arc<facade::Cancel>>>);

#[napi]
impl Cancel {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the call, if it has begun.
    #[napi]
    pub fn cancel(&self) {
        if let Some(call) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            call.cancel();
        }
    }
}

type Settle<T> = Box<dyn FnOnce(Env) -> napi::Result<Outcome<T>> + Send>;

/// Starts work. Returns a promise of its outcome, which is never rejected.
///
/// When the environment ends before the work (a worker that exits), the work is ended, and its outcome dropped.
pub(crate) fn start<'env, T, V>(
    env: &'env Env,
    cancel: Option<&Cancel>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    convert: impl FnOnce(T) -> V + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
{
    let running = Running::current(env)?;
    let (deferred, promise) = env.create_deferred::<Outcome<V>, Settle<V>>()?;
    let spare = deferred.clone();
    let number = running.enter();
    let ended = running.clone();
    let started = facade::start(work, move |result| {
        ended.completed(number);
        deferred.resolve(Box::new(move |_| Ok(outcome(result.map(convert)))));
    });
    match started {
        Ok(call) => {
            let call = Arc::new(call);
            running.started(number, Arc::clone(&call));
            if let Some(cancel) = cancel {
                *cancel.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
            }
        }
        Err(error) => {
            running.completed(number);
            spare.resolve(Box::new(move |_| Ok(Either::B(error.into()))));
        }
    }
    Ok(promise)
}
