//! The API for callers without a runtime: the same verdicts, and nothing that hangs or panics wherever it is called from.

mod callers;
mod requests;
mod session;

use std::io::{ErrorKind, Read as _};

use blindbox_attestation::blocking::{self, BodyReader, Response, Session, Verifier};
use blindbox_attestation::emulator::BlindBoxBuilder;
use blindbox_attestation::{AttestationError, Channel, Policy};
use tokio::runtime::{Builder, Runtime};

use crate::lab::Lab;

/// A lab on threads of its own, for tests that are not asynchronous.
struct Bench {
    lab: Lab,
    runtime: Runtime,
}

impl Bench {
    fn start() -> Self {
        Self::with(|blindbox| blindbox)
    }

    fn with(change: impl FnOnce(BlindBoxBuilder) -> BlindBoxBuilder) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { lab: runtime.block_on(Lab::with(change)), runtime }
    }

    fn verifier(&self) -> Verifier {
        self.lab.builder().build_blocking().unwrap()
    }

    fn connect(&self) -> Session {
        self.verifier().connect(self.lab.blindbox.url(), &self.lab.policy()).unwrap()
    }

    /// The error of a connection that must fail without a byte for the application.
    fn refusal(&self) -> AttestationError {
        let error = self.verifier().connect(self.lab.blindbox.url(), &self.lab.policy()).unwrap_err();
        assert_eq!(self.lab.blindbox.traffic().application_bytes(), 0);
        error
    }

    /// Everything that can be asked for, from wherever this is called.
    fn kit(&self) -> Kit {
        let session = self.connect();
        let answer = || session.get("/").send().unwrap();
        let (response, reader) = (answer(), answer().reader());
        let (verifier, url, policy) = (self.verifier(), self.lab.blindbox.url(), self.lab.policy());
        self.lab.blindbox.traffic().clear_requests();
        Kit { verifier, url, policy, session, response, reader }
    }
}

struct Kit {
    verifier: Verifier,
    url: String,
    policy: Policy,
    session: Session,
    response: Response,
    reader: BodyReader,
}

impl Kit {
    fn works(mut self) {
        let session = self.verifier.connect(&self.url, &self.policy).unwrap();
        assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
        self.session.reattest().unwrap();
        assert_eq!(hello(&self.session).unwrap(), "hello from a BlindBox");
        assert_eq!(self.response.text().unwrap(), "hello from a BlindBox");
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello from a BlindBox");
    }

    fn refuses(self) {
        drop(self.refuses_here());
    }

    /// Gives back what can be used elsewhere.
    fn refuses_here(mut self) -> (Session, BodyReader) {
        assert_in_async_code(&self.verifier.connect(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&self.verifier.collect(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&blocking::verify_connection(&self.url, &self.policy).unwrap_err());
        assert_in_async_code(&self.session.get("/").send().unwrap_err());
        assert_in_async_code(&self.session.reattest().unwrap_err());
        assert_in_async_code(&self.response.bytes().unwrap_err());
        let error = self.reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_in_async_code(error.get_ref().unwrap().downcast_ref().unwrap());
        // What does not block can be called anywhere.
        assert_eq!(self.session.channel(), Channel::Bound);
        assert!(self.session.attestation().key().is_some());
        (self.session, self.reader)
    }
}

fn hello(session: &Session) -> Result<String, AttestationError> {
    session.get("/").send()?.text()
}

fn assert_in_async_code(error: &AttestationError) {
    let AttestationError::Misconfigured { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("async code") && reason.contains("spawn_blocking"), "{reason}");
}
