//! Responses, and request bodies that are written while they are sent.

use std::sync::{Mutex, PoisonError};

use blindbox_facade as facade;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{self, Cancel};

/// A response: its head, and its body as it is pulled.
#[pyclass(frozen)]
pub(crate) struct Response {
    response: facade::Response,
    /// What is left of the request's body: a peer may respond before it has all of it.
    upload: Mutex<Option<call::Upload>>,
}

impl Response {
    pub(crate) fn new(response: facade::Response) -> Self {
        Self { response, upload: Mutex::new(None) }
    }

    /// A response during whose reading the rest of the upload is written.
    pub(crate) fn writing(response: facade::Response, upload: call::Upload) -> Self {
        let made = Self::new(response);
        made.keep(Some(upload));
        made
    }

    /// Takes what is left: another thread that reads at the same time does without.
    fn take(&self) -> Option<call::Upload> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, upload: Option<call::Upload>) {
        let rest = upload.filter(|upload| !upload.ended && !self.response.early().complete);
        *self.upload.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

#[pymethods]
impl Response {
    #[getter]
    fn status(&self) -> u16 {
        self.response.status
    }

    #[getter]
    fn version(&self) -> &'static str {
        self.response.version
    }

    #[getter]
    fn url(&self) -> &str {
        &self.response.url
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> Vec<(&str, Bound<'py, PyBytes>)> {
        let headers = self.response.headers.iter();
        headers.map(|(name, value)| (name.as_str(), PyBytes::new(py, value))).collect()
    }

    /// The beginning of the body, and whether it is all of it.
    fn early<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, bool)> {
        self.response.check_process().map_err(|error| call::exception(py, error))?;
        let early = self.response.early();
        Ok((PyBytes::new(py, &early.bytes), early.complete))
    }

    #[pyo3(signature = (limit))]
    fn chunk<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        // A chunk of a pull that was given up is lost: what follows must not look like the whole body.
        let (pull, abandoned) = (self.response.chunk(), || self.response.close());
        let chunk = match self.take() {
            Some(mut upload) => {
                let chunk = call::block_writing(py, pull, &mut upload, limit, abandoned)?;
                // At the end of the response the rest is of no use.
                self.keep(chunk.is_some().then_some(upload));
                chunk
            }
            None => call::block_or(py, pull, limit, abandoned)?,
        };
        Ok(chunk.map(|bytes| PyBytes::new(py, &bytes)))
    }

    fn chunk_start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Cancel> {
        call::start(py, self.response.chunk(), done, |py, chunk| {
            Ok(match chunk {
                Some(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
                None => py.None(),
            })
        })
    }

    fn close(&self) {
        self.response.close();
        drop(self.take());
    }
}

/// A request body that a task of asyncio writes while it is sent.
#[pyclass(frozen)]
pub(crate) struct Upload(pub(crate) facade::Upload);

#[pymethods]
impl Upload {
    #[new]
    #[pyo3(signature = (length))]
    fn new(length: Option<u64>) -> Self {
        Self(facade::Upload::new(length))
    }

    /// Waits until the request takes more: False if it takes no more.
    fn ready_start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Cancel> {
        call::start(py, self.0.ready(), done, truth)
    }

    /// Waits until the request takes more, and gives it a piece.
    fn write_start(&self, py: Python<'_>, piece: Vec<u8>, done: Py<PyAny>) -> PyResult<Cancel> {
        call::start(py, self.0.write(piece.into()), done, truth)
    }

    fn finish(&self) {
        self.0.finish();
    }

    fn fail(&self, reason: &str) {
        self.0.fail(reason);
    }
}

fn truth(py: Python<'_>, wants: bool) -> PyResult<Py<PyAny>> {
    Ok(wants.into_pyobject(py)?.to_owned().into_any().unbind())
}
