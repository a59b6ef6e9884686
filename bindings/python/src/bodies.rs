//! Responses.

use blindbox_facade as facade;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{self, Cancel};

/// A response: its head, and its body as it is pulled.
#[pyclass(frozen)]
pub(crate) struct Response(facade::Response);

impl Response {
    pub(crate) fn new(response: facade::Response) -> Self {
        Self(response)
    }
}

#[pymethods]
impl Response {
    #[getter]
    fn status(&self) -> u16 {
        self.0.status
    }

    #[getter]
    fn version(&self) -> &'static str {
        self.0.version
    }

    #[getter]
    fn url(&self) -> &str {
        &self.0.url
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> Vec<(&str, Bound<'py, PyBytes>)> {
        let headers = self.0.headers.iter();
        headers.map(|(name, value)| (name.as_str(), PyBytes::new(py, value))).collect()
    }

    /// The beginning of the body, and whether it is all of it.
    fn early<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, bool) {
        let early = self.0.early();
        (PyBytes::new(py, &early.bytes), early.complete)
    }

    #[pyo3(signature = (limit))]
    fn chunk<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        // A chunk of a pull that was given up is lost: what follows must not look like the whole body.
        let chunk = call::block_or(py, self.0.chunk(), limit, || self.0.close())?;
        Ok(chunk.map(|bytes| PyBytes::new(py, &bytes)))
    }

    fn chunk_start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Cancel> {
        call::start(py, self.0.chunk(), done, |py, chunk| {
            Ok(match chunk {
                Some(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
                None => py.None(),
            })
        })
    }

    fn close(&self) {
        self.0.close();
    }
}
