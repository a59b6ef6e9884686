//! Calls into the runtime, and errors on their way to Python.

use std::time::Duration;

use blindbox_facade::{self as facade, Error, Limit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// How often a blocking call looks for signals, such as that of Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

static ERROR_FACTORY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Sets the function that makes exceptions: `(code, number, category, retryable, request_sent, message, appraisal)`.
#[pyfunction]
pub(crate) fn set_error_factory(py: Python<'_>, factory: Py<PyAny>) {
    // The first one stays: the package sets it when it is imported.
    drop(ERROR_FACTORY.set(py, factory));
}

/// The exception of an error.
pub(crate) fn exception(py: Python<'_>, error: Error) -> PyErr {
    let Some(factory) = ERROR_FACTORY.get(py) else {
        return pyo3::exceptions::PyRuntimeError::new_err(error.message);
    };
    let Error { code, number, category, retryable, request_sent, message, appraisal } = error;
    match factory.call1(py, (code, number, category, retryable, request_sent, message, appraisal)) {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(failure) => failure,
    }
}

/// Reads a number of seconds.
pub(crate) fn duration(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        exception(py, Error::argument(format!("expected a number of seconds that is not negative, found {seconds}")))
    })
}

/// Runs work and blocks, without the interpreter's lock, until it ends, a signal handler raises, or `limit` seconds are over.
pub(crate) fn block<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    limit: Option<f64>,
) -> PyResult<T> {
    block_or(py, work, limit, || ())
}

/// As [`block`]. `abandoned` is called where the work was given up: it may have ended at the same moment, and its result is lost.
pub(crate) fn block_or<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    limit: Option<f64>,
    abandoned: impl FnOnce(),
) -> PyResult<T> {
    let limit = limited(py, limit)?;
    let outcome = crate::exit::detached(py, || facade::wait(work, limit.interval(SIGNALS), || proceed(&limit)));
    finished(py, outcome, abandoned)
}

/// As [`block_or`], and writes an upload from its source at the same time, on this thread. The limit starts again with each piece:
/// it is one for the wait for the peer, and a long upload is no wait.
pub(crate) fn block_writing<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    upload: &mut Upload,
    limit: Option<f64>,
    abandoned: impl FnOnce(),
) -> PyResult<T> {
    let limit = limited(py, limit)?;
    let Upload { upload, source, ended } = upload;
    let outcome = crate::exit::detached(py, || {
        let next = || match crate::exit::attached(|py| piece(py, source)) {
            Some(Ok(piece)) => {
                *ended = piece.is_none();
                Ok(piece.map(Into::into))
            }
            Some(Err(raised)) => Err(Stop::Raised(raised)),
            None => Err(Stop::Ending),
        };
        facade::wait_writing(work, upload, limit.interval(SIGNALS), limit.restarting(next), || proceed(&limit))
    });
    finished(py, outcome, abandoned)
}

/// Calls a source, which returns bytes, or None at its end.
fn piece(py: Python<'_>, source: &Py<PyAny>) -> PyResult<Option<Vec<u8>>> {
    source.call0(py)?.extract(py)
}

/// A request body that is written by blocking calls.
pub(crate) struct Upload {
    pub(crate) upload: facade::Upload,
    pub(crate) source: Py<PyAny>,
    /// Whether the source has ended.
    pub(crate) ended: bool,
}

fn finished<T>(py: Python<'_>, outcome: Result<Result<T, Error>, Stop>, abandoned: impl FnOnce()) -> PyResult<T> {
    match outcome {
        Ok(outcome) => outcome.map_err(|error| exception(py, error)),
        Err(stop) => {
            abandoned();
            Err(match stop {
                Stop::Raised(raised) => raised,
                Stop::Timeout(after) => exception(py, Error::timeout(after)),
                Stop::Ending => exception(py, Error::cancelled()),
            })
        }
    }
}

/// How long a blocking call may take. Only calls about a request have one: its error says that the request may have been sent.
fn limited(py: Python<'_>, seconds: Option<f64>) -> PyResult<Limit> {
    Ok(Limit::new(seconds.map(|seconds| duration(py, seconds)).transpose()?))
}

fn proceed(limit: &Limit) -> Result<(), Stop> {
    if let Some(after) = limit.over() {
        return Err(Stop::Timeout(after));
    }
    // None while the interpreter ends, when there is no handler to call.
    crate::exit::attached(|py| py.check_signals()).unwrap_or(Ok(())).map_err(Stop::Raised)
}

enum Stop {
    Raised(PyErr),
    Timeout(Duration),
    /// The interpreter ends.
    Ending,
}

/// Ends a call that was started.
#[pyclass(frozen)]
pub(crate) struct Cancel(facade::Cancel);

#[pymethods]
impl Cancel {
    /// Ends it.
    fn cancel(&self) {
        self.0.cancel();
    }
}

/// Starts work. `done(value, exception)` is called once, on a thread of the runtime.
pub(crate) fn start<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    done: Py<PyAny>,
    convert: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Cancel> {
    let started = facade::start(work, move |outcome| {
        // Not while the interpreter ends: there is nothing left to call.
        crate::exit::attached(|py| {
            let outcome = outcome.map_err(|error| exception(py, error)).and_then(|value| convert(py, value));
            let called = match outcome {
                Ok(value) => done.call1(py, (value, py.None())),
                Err(error) => done.call1(py, (py.None(), error.into_value(py))),
            };
            if let Err(error) = called {
                error.write_unraisable(py, None);
            }
        });
    });
    started.map(Cancel).map_err(|error| exception(py, error))
}
