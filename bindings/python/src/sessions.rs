//! Verifiers and sessions.

use blindbox_facade::{self as facade, Request};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bodies::{Response, Upload};
use crate::call::{self, Cancel, exception};
use crate::offline::Policy;

type Headers = Vec<(String, Vec<u8>)>;

/// Opens sessions.
#[pyclass(frozen)]
pub(crate) struct Verifier(facade::Verifier);

#[pymethods]
impl Verifier {
    #[new]
    fn new(py: Python<'_>, settings: &str) -> PyResult<Self> {
        crate::exit::detached(py, || facade::Verifier::new(settings)).map(Self).map_err(|error| exception(py, error))
    }

    fn connect(&self, py: Python<'_>, url: &str, policy: &Policy) -> PyResult<Session> {
        call::block(py, self.0.connect(url, &policy.0), None).map(Session)
    }

    fn connect_start(&self, py: Python<'_>, url: &str, policy: &Policy, done: Py<PyAny>) -> PyResult<Cancel> {
        let connect = self.0.connect(url, &policy.0);
        call::start(py, connect, done, |py, session| Ok(Py::new(py, Session(session))?.into_any()))
    }

    fn collect(&self, py: Python<'_>, url: &str, policy: &Policy) -> PyResult<Collected> {
        call::block(py, self.0.collect(url, &policy.0), None).map(Collected)
    }

    fn collect_start(&self, py: Python<'_>, url: &str, policy: &Policy, done: Py<PyAny>) -> PyResult<Cancel> {
        let collect = self.0.collect(url, &policy.0);
        call::start(py, collect, done, |py, collected| Ok(Py::new(py, Collected(collected))?.into_any()))
    }
}

/// Evidence that is not verified.
#[pyclass(frozen)]
pub(crate) struct Collected(facade::Collected);

#[pymethods]
impl Collected {
    /// The documents by the names of their files.
    fn documents<'py>(&self, py: Python<'py>) -> Vec<(&'static str, Bound<'py, PyBytes>)> {
        let documents = self.0.documents().into_iter();
        documents.map(|(name, bytes)| (name, PyBytes::new(py, &bytes))).collect()
    }

    fn about(&self) -> String {
        self.0.about_json()
    }

    fn verify(&self, py: Python<'_>, policy: &Policy) -> PyResult<String> {
        crate::exit::detached(py, || self.0.verify(&policy.0)).map_err(|error| exception(py, error))
    }
}

/// A session with an attested peer.
#[pyclass(frozen)]
pub(crate) struct Session(facade::Session);

#[pymethods]
impl Session {
    /// `source` returns the next piece of a body in its place, or None at its end; `length` is what it has in all.
    #[pyo3(signature = (method, target, headers, body, timeout, limit, source=None, length=None, idempotent=false))]
    #[expect(clippy::too_many_arguments, reason = "one flat call is what crosses the languages")]
    fn send(
        &self,
        py: Python<'_>,
        method: String,
        target: String,
        headers: Headers,
        body: Option<Vec<u8>>,
        timeout: Option<f64>,
        limit: Option<f64>,
        source: Option<Py<PyAny>>,
        length: Option<u64>,
        idempotent: bool,
    ) -> PyResult<Response> {
        let mut request = request(py, method, target, headers, body, timeout)?;
        request.idempotent = idempotent;
        let Some(source) = source else {
            return call::block(py, self.0.send(request), limit).map(Response::new);
        };
        let upload = facade::Upload::new(length);
        request.body = Some(upload.clone().into());
        let mut upload = call::Upload { upload, source, ended: false };
        let response = call::block_writing(py, self.0.send(request), &mut upload, limit, || ())?;
        Ok(Response::writing(response, upload))
    }

    #[pyo3(signature = (method, target, headers, body, upload, timeout, idempotent, done))]
    #[expect(clippy::too_many_arguments, reason = "one flat call is what crosses the languages")]
    fn send_start(
        &self,
        py: Python<'_>,
        method: String,
        target: String,
        headers: Headers,
        body: Option<Vec<u8>>,
        upload: Option<&Upload>,
        timeout: Option<f64>,
        idempotent: bool,
        done: Py<PyAny>,
    ) -> PyResult<Cancel> {
        let mut request = request(py, method, target, headers, body, timeout)?;
        request.idempotent = idempotent;
        if let Some(upload) = upload {
            request.body = Some(upload.0.clone().into());
        }
        call::start(py, self.0.send(request), done, |py, response| Ok(Py::new(py, Response::new(response))?.into_any()))
    }

    fn reattest(&self, py: Python<'_>) -> PyResult<String> {
        call::block(py, self.0.reattest(), None)
    }

    fn reattest_start(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Cancel> {
        call::start(py, self.0.reattest(), done, |py, json| Ok(json.into_pyobject(py)?.into_any().unbind()))
    }

    fn url(&self, py: Python<'_>) -> PyResult<String> {
        self.0.url().map_err(|error| exception(py, error))
    }

    fn attestation(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let both = self.0.attestation_json().and_then(|json| Ok((json, self.0.attestation_text()?)));
        both.map_err(|error| exception(py, error))
    }

    fn close(&self) {
        self.0.close();
    }
}

fn request(
    py: Python<'_>,
    method: String,
    target: String,
    headers: Headers,
    body: Option<Vec<u8>>,
    timeout: Option<f64>,
) -> PyResult<Request> {
    let timeout = timeout.map(|seconds| call::duration(py, seconds)).transpose()?;
    Ok(Request { method, target, headers, body: body.map(Into::into), timeout, idempotent: false })
}
