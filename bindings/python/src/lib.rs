//! The native part of the Python package: classes over the facade, with futures as callbacks and blocking calls that a signal ends.
//!
//! It adds no behaviour: what a Python user sees is in `python/blindbox_attestation`.

#![forbid(unsafe_code)]

mod bodies;
mod call;
mod exit;
mod offline;
mod sessions;

use blindbox_facade as facade;
use pyo3::prelude::*;

/// The native part of `blindbox_attestation`.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::bodies::{Response, Upload};
    #[pymodule_export]
    use super::call::{Cancel, set_error_factory};
    #[pymodule_export]
    use super::exit::end;
    #[pymodule_export]
    use super::offline::{Policy, cce_policy, host_data, inspect, verify_recorded, verify_unappraised};
    #[pymodule_export]
    use super::sessions::{Collected, Session, Verifier};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", facade::version())
    }

    /// Returns `(code, number, category, retryable, name)` of each error.
    #[pyfunction]
    fn codes() -> Vec<(&'static str, u16, &'static str, bool, &'static str)> {
        let codes = facade::codes().into_iter();
        codes.map(|code| (code.code, code.number, code.category, code.retryable, code.name)).collect()
    }

    /// The error of a request that took longer than so many seconds.
    #[pyfunction]
    fn timeout(py: Python<'_>, after: f64) -> PyResult<Py<PyAny>> {
        let after = call::duration(py, after)?;
        Ok(call::exception(py, facade::Error::timeout(after)).into_value(py).into_any())
    }

    /// Notes that this process is a fork of another.
    #[pyfunction]
    fn note_fork() {
        facade::note_fork();
    }

    /// Sets which events are kept.
    #[pyfunction]
    fn log_level(py: Python<'_>, level: &str) -> PyResult<()> {
        facade::log::set_level(level).map_err(|error| call::exception(py, error))
    }

    /// Waits for an event, at most so many seconds: `(level, message, fields, dropped)`.
    #[pyfunction]
    fn log_next(py: Python<'_>, seconds: f64) -> PyResult<Option<(&'static str, String, String, u64)>> {
        let timeout = call::duration(py, seconds)?;
        let event =
            crate::exit::detached(py, || facade::log::next(timeout)).map_err(|error| call::exception(py, error))?;
        Ok(event.map(|event| (event.level, event.message, event.fields, event.dropped)))
    }
}
