//! Policies with `binding = "own-message-key"`: each request and response is sealed through a front end that ends TLS
//! (`blindbox-bound-message/1`).

#[cfg(feature = "crypto-rust")]
mod host;
mod hostile;
mod keys;
mod paths;
mod received;
mod requests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::emulator::{BlindBox, BlindBoxBuilder, FrontEnd, FrontEndKnob, Knob};
use blindbox_attestation::{AttestationError, Policy, Session, Workload};

use crate::lab::Lab;

/// A BlindBox behind a front end.
struct Behind {
    lab: Lab,
    front_end: FrontEnd,
}

impl Behind {
    async fn start() -> Self {
        Self::with(|blindbox| blindbox).await
    }

    async fn with(change: impl FnOnce(BlindBoxBuilder) -> BlindBoxBuilder) -> Self {
        let lab = Lab::with(change).await;
        let front_end = FrontEnd::start(&lab.blindbox).await.unwrap();
        Self { lab, front_end }
    }

    /// A front end that leads to the lab's BlindBox first, and another replica.
    async fn with_replica() -> (Self, BlindBox) {
        let lab = Lab::start().await;
        let other = BlindBox::builder(&lab.maa).authority(lab.blindbox.authority()).start().await.unwrap();
        let front_end = FrontEnd::builder().start([&lab.blindbox, &other]).await.unwrap();
        (Self { lab, front_end }, other)
    }

    fn policy(&self) -> Policy {
        self.lab.policy_for(Workload::binds_its_own_message_key(self.lab.blindbox.host_data()))
    }

    async fn connect(&self) -> Result<Session, AttestationError> {
        self.lab.verifier().connect(self.front_end.url(), &self.policy()).await
    }

    /// How many requests of this path the application got.
    fn processed(&self, path: &str) -> usize {
        self.lab.blindbox.traffic().count(path)
    }

    fn attestations(&self) -> usize {
        self.lab.blindbox.traffic().count("/attest/maa")
    }

    /// No session comes to be, no message is sent, and the application gets no byte.
    async fn assert_refused(&self) -> AttestationError {
        let error = self.connect().await.expect_err("a session, where there must be none");
        assert_eq!(self.front_end.traffic().count("/attest/message"), 0);
        assert_eq!(self.lab.blindbox.traffic().application_bytes(), 0);
        error
    }

    /// The error of a request that is sealed while the front end does something.
    async fn post_while(&self, session: &Session, knob: FrontEndKnob) -> AttestationError {
        self.front_end.set(knob.clone());
        let outcome = async { session.post("/echo").body("the secret").send().await?.text().await }.await;
        self.front_end.reset();
        match outcome {
            Err(error) => error,
            Ok(text) => panic!("{knob:?}: {text}"),
        }
    }
}

/// Responses whose key configuration is none that a message can be sealed to, with the error.
fn unusable_keys() -> [(Knob, AttestationError); 2] {
    let with = |at: usize, part: u8, defect: &str| {
        let mut config = [&[1, 0x64, 0x7a], [0xab; 1216].as_slice(), &[0, 4, 0, 1, 0, 2]].concat();
        config[at..at + 32].fill(part);
        let reason = format!("the key configuration has no usable public key: {defect}");
        (Knob::answer_member("key_config", STANDARD.encode(config)), AttestationError::InvalidAgentAnswer { reason })
    };
    [
        with(3, 0xff, "its ML-KEM-768 part has a coefficient above 3328"),
        with(3 + 1184, 0, "its X25519 part has a low order"),
    ]
}

/// The text of the error of a request that may have arrived.
fn unreachable_after_sending(error: &AttestationError) -> String {
    match error {
        AttestationError::RequestInterrupted { reason } => match &**reason {
            AttestationError::ApplicationUnreachable { reason, .. } => reason.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
