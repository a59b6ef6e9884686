//! Policies, recorded evidence, inspection.

use blindbox_facade::{self as facade, Recorded};
use pyo3::prelude::*;

use crate::call::exception;

/// A policy.
#[pyclass(frozen)]
pub(crate) struct Policy(pub(crate) facade::Policy);

#[pymethods]
impl Policy {
    #[new]
    fn new(py: Python<'_>, text: &str) -> PyResult<Self> {
        facade::Policy::parse(text).map(Self).map_err(|error| exception(py, error))
    }

    fn to_toml(&self) -> String {
        self.0.to_toml()
    }

    fn to_json(&self) -> String {
        self.0.to_json()
    }

    fn digest(&self) -> String {
        self.0.digest()
    }

    fn maa_issuer(&self) -> Option<String> {
        self.0.maa_issuer()
    }

    fn lint(&self) -> String {
        self.0.lint_json()
    }
}

/// Host data in hexadecimal, described in JSON.
#[pyfunction]
pub(crate) fn host_data(py: Python<'_>, hex: &str) -> PyResult<String> {
    facade::host_data(hex).map_err(|error| exception(py, error))
}

/// The host data of a CCE policy in base64, described in JSON.
#[pyfunction]
pub(crate) fn cce_policy(py: Python<'_>, base64: &str) -> PyResult<String> {
    facade::cce_policy(base64).map_err(|error| exception(py, error))
}

/// What the bytes of a file are, in JSON.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, bytes: &[u8]) -> PyResult<String> {
    let bytes = bytes.to_vec();
    crate::exit::detached(py, || facade::inspect(&bytes)).map_err(|error| exception(py, error))
}

/// The verdict on recorded evidence, in JSON.
#[pyfunction]
#[pyo3(signature = (*, documents, key_set, amd_roots, ak_root, policy, at))]
pub(crate) fn verify_recorded(
    py: Python<'_>,
    documents: Vec<(String, Vec<u8>)>,
    key_set: Option<Vec<u8>>,
    amd_roots: Option<String>,
    ak_root: Option<String>,
    policy: &Policy,
    at: u64,
) -> PyResult<String> {
    let recorded = Recorded { documents, key_set, amd_roots, ak_root };
    crate::exit::detached(py, || facade::verify_recorded(&recorded, &policy.0, at))
        .map_err(|error| exception(py, error))
}

/// The content of genuine evidence, without a verdict, in JSON.
#[pyfunction]
#[pyo3(signature = (*, documents, key_set, amd_roots, ak_root, maa_issuer, at))]
pub(crate) fn verify_unappraised(
    py: Python<'_>,
    documents: Vec<(String, Vec<u8>)>,
    key_set: Option<Vec<u8>>,
    amd_roots: Option<String>,
    ak_root: Option<String>,
    maa_issuer: Option<&str>,
    at: u64,
) -> PyResult<String> {
    let recorded = Recorded { documents, key_set, amd_roots, ak_root };
    crate::exit::detached(py, || facade::verify_unappraised(&recorded, maa_issuer, at))
        .map_err(|error| exception(py, error))
}
