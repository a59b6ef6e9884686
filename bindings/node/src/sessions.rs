//! Verifiers and sessions.

use blindbox_facade::{self as facade, Error, Request};
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::bodies::{Response, Upload};
use crate::call::{self, Cancel, Outcome, outcome};
use crate::offline::{Document, Policy};

/// Opens sessions.
#[napi]
pub struct Verifier(facade::Verifier);

#[napi]
impl Verifier {
    /// Creates a verifier from settings in JSON.
    #[napi]
    pub fn create(settings: String) -> Outcome<Verifier> {
        outcome(facade::Verifier::new(&settings).map(Self))
    }

    #[napi]
    pub fn connect<'env>(
        &self,
        env: &'env Env,
        url: String,
        policy: &Policy,
        cancel: &Cancel,
    ) -> napi::Result<Object<'env>> {
        call::start(env, Some(cancel), self.0.connect(&url, &policy.0), Session)
    }

    #[napi]
    pub fn collect<'env>(
        &self,
        env: &'env Env,
        url: String,
        policy: &Policy,
        cancel: &Cancel,
    ) -> napi::Result<Object<'env>> {
        call::start(env, Some(cancel), self.0.collect(&url, &policy.0), Collected)
    }
}

/// Evidence that is not verified.
#[napi]
pub struct Collected(facade::Collected);

#[napi]
impl Collected {
    #[napi]
    pub fn documents(&self) -> Vec<Document> {
        let documents = self.0.documents().into_iter();
        documents.map(|(name, bytes)| Document { name: name.to_owned(), content: bytes.into() }).collect()
    }

    #[napi]
    pub fn about(&self) -> String {
        self.0.about_json()
    }

    #[napi]
    pub fn verify(&self, policy: &Policy) -> Outcome<String> {
        outcome(self.0.verify(&policy.0))
    }
}

/// A session with an attested peer.
#[napi]
pub struct Session(facade::Session);

#[napi]
impl Session {
    /// Sends a request. `headers` has names and values in turn; a value is a string of bytes (Latin-1), as in the interface
    /// `Headers` of fetch.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "one flat call is what crosses the languages")]
    pub fn send<'env>(
        &self,
        env: &'env Env,
        method: String,
        target: String,
        headers: Vec<String>,
        body: Option<&[u8]>,
        upload: Option<&Upload>,
        idempotent: bool,
        cancel: &Cancel,
    ) -> napi::Result<Object<'env>> {
        let body = match upload {
            Some(upload) => Some(upload.0.clone().into()),
            None => body.map(|bytes| bytes.to_vec().into()),
        };
        // The limit of a request is that of the verifier, or a signal's.
        let request =
            pairs(headers).map(|headers| Request { method, target, headers, body, timeout: None, idempotent });
        let sent = request.map(|request| self.0.send(request));
        call::start(env, Some(cancel), async move { sent?.await }, Response::new)
    }

    #[napi]
    pub fn reattest<'env>(&self, env: &'env Env, cancel: &Cancel) -> napi::Result<Object<'env>> {
        call::start(env, Some(cancel), self.0.reattest(), |json| json)
    }

    #[napi]
    pub fn url(&self) -> Outcome<String> {
        outcome(self.0.url())
    }

    /// Returns the attestation as JSON.
    #[napi]
    pub fn attestation(&self) -> Outcome<String> {
        outcome(self.0.attestation_json())
    }

    /// Returns the attestation as a table for people.
    #[napi]
    pub fn attestation_text(&self) -> Outcome<String> {
        outcome(self.0.attestation_text())
    }

    #[napi]
    pub fn close(&self) {
        self.0.close();
    }
}

fn pairs(flat: Vec<String>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut flat = flat.into_iter();
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        let bytes: Result<Vec<u8>, _> = value.chars().map(|c| u8::try_from(u32::from(c))).collect();
        let value = bytes.map_err(|_| Error::argument(format!("header {name:?}: expected a value of bytes")))?;
        headers.push((name, value));
    }
    Ok(headers)
}
