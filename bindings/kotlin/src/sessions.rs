//! Verifiers and sessions.

use std::sync::Arc;
use std::time::Duration;

use blindbox_facade::{self as facade, Request};

use crate::bodies::Upload;
use crate::calls::Calls;
use crate::offline::Policy;
use crate::outcome::{Header, Outcome, outcome, text};

/// Opens sessions.
#[derive(uniffi::Object)]
pub struct Verifier(facade::Verifier);

/// Creates a verifier from settings in JSON: [`Outcome::Opened`].
#[uniffi::export]
pub fn open_verifier(settings: String) -> Outcome {
    outcome(facade::Verifier::new(&settings), |verifier| Outcome::Opened { verifier: Arc::new(Verifier(verifier)) })
}

#[uniffi::export]
impl Verifier {
    /// Attests a peer and opens a session: [`Outcome::Connected`].
    pub fn connect(&self, calls: Arc<Calls>, id: i64, url: String, policy: &Policy) {
        let made = |session| Outcome::Connected { session: Arc::new(Session(session)) };
        calls.start(id, self.0.connect(&url, &policy.0), made);
    }

    /// Collects evidence without verifying it: [`Outcome::Gathered`].
    pub fn collect(&self, calls: Arc<Calls>, id: i64, url: String, policy: &Policy) {
        let made = |collected| Outcome::Gathered { evidence: Arc::new(Collected(collected)) };
        calls.start(id, self.0.collect(&url, &policy.0), made);
    }
}

/// A document by the name of its file.
#[derive(uniffi::Record)]
pub struct Document {
    pub name: String,
    pub content: Vec<u8>,
}

/// Evidence that is not verified.
#[derive(uniffi::Object)]
pub struct Collected(facade::Collected);

#[uniffi::export]
impl Collected {
    pub fn documents(&self) -> Vec<Document> {
        let documents = self.0.documents().into_iter();
        documents.map(|(name, content)| Document { name: name.to_owned(), content }).collect()
    }

    /// Returns how and when the peer was asked, as JSON.
    pub fn about(&self) -> String {
        self.0.about_json()
    }

    /// Returns the verdict of a policy, as JSON: [`Outcome::Made`].
    pub fn verify(&self, policy: &Policy) -> Outcome {
        text(self.0.verify(&policy.0))
    }
}

/// A session with an attested peer.
#[derive(uniffi::Object)]
pub struct Session(facade::Session);

#[uniffi::export]
impl Session {
    /// Sends a request, with a body in memory or one that is written: [`Outcome::Responded`].
    #[expect(clippy::too_many_arguments, reason = "one flat call is what crosses the languages")]
    pub fn send(
        &self,
        calls: Arc<Calls>,
        id: i64,
        method: String,
        target: String,
        headers: Vec<Header>,
        body: Option<Vec<u8>>,
        upload: Option<Arc<Upload>>,
        timeout_ms: Option<u64>,
        idempotent: bool,
    ) {
        let body = upload.map(|upload| upload.0.clone().into()).or_else(|| body.map(Into::into));
        let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
        let timeout = timeout_ms.map(Duration::from_millis);
        let request = Request { method, target, headers, body, timeout, idempotent };
        calls.start(id, self.0.send(request), Outcome::responded);
    }

    /// Attests the peer again: [`Outcome::Made`].
    pub fn reattest(&self, calls: Arc<Calls>, id: i64) {
        calls.start(id, self.0.reattest(), |text| Outcome::Made { text });
    }

    /// Returns the URL of the session: [`Outcome::Made`].
    pub fn url(&self) -> Outcome {
        text(self.0.url())
    }

    /// Returns the attestation as JSON: [`Outcome::Made`].
    pub fn attestation(&self) -> Outcome {
        text(self.0.attestation_json())
    }

    /// Returns the attestation as a table for people: [`Outcome::Made`].
    pub fn attestation_text(&self) -> Outcome {
        text(self.0.attestation_text())
    }

    /// Closes the session. (UniFFI's own `close` frees the object.)
    pub fn end(&self) {
        self.0.close();
    }
}
