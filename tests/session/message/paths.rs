//! One front end before several workloads, each below a path of its own: what is attested or refused at one path says nothing of another.

use blindbox_attestation::emulator::{BlindBox, FrontEnd, Knob};
use blindbox_attestation::{AttestationError, Policy, Session, Verifier, Workload};

use crate::lab::Lab;

/// Two BlindBoxes that one policy accepts, behind one front end.
struct TwoPaths {
    lab: Lab,
    other: BlindBox,
    front_end: FrontEnd,
    verifier: Verifier,
    policy: Policy,
}

impl TwoPaths {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let other = BlindBox::builder(&lab.maa).authority(lab.blindbox.authority()).start().await.unwrap();
        let behind = FrontEnd::builder().path_prefix("/b").start([&other]).await.unwrap();
        let front_end = FrontEnd::builder().path_prefix("/a").also_serves(&behind);
        let front_end = front_end.start([&lab.blindbox]).await.unwrap();
        let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
        Self { verifier: lab.verifier(), lab, other, front_end, policy }
    }

    /// Opens a session with each path of one verifier at the same time.
    async fn connect(&self) -> [Result<Session, AttestationError>; 2] {
        let [a, b] = ["/a", "/b"].map(|path| self.front_end.url().replace("/a", path));
        tokio::join!(self.verifier.connect(&a, &self.policy), self.verifier.connect(&b, &self.policy)).into()
    }

    /// How many requests of this path each BlindBox got.
    fn counts(&self, path: &str) -> [usize; 2] {
        [&self.lab.blindbox, &self.other].map(|blindbox| blindbox.traffic().count(path))
    }
}

#[tokio::test]
async fn sessions_at_two_paths_of_a_front_end_share_no_attestation() {
    let two = TwoPaths::start().await;
    let [a, b] = two.connect().await.map(Result::unwrap);
    assert_eq!(two.counts("/attest/maa"), [1, 1]);
    assert_ne!(a.attestation().message_key(), b.attestation().message_key());
    for (session, processed) in [(&a, [1, 0]), (&b, [1, 1])] {
        let response = session.post("/echo").bearer_auth("of this path alone").body("x").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "x");
        assert_eq!(two.counts("/echo"), processed);
    }
    // Attested again at the same time.
    let (again_a, again_b) = tokio::join!(a.reattest(), b.reattest());
    assert_ne!(again_a.unwrap().message_key(), again_b.unwrap().message_key());
    assert_eq!(two.counts("/attest/maa"), [2, 2]);
    b.post("/echo").body("x").send().await.unwrap();
    assert_eq!(two.counts("/echo"), [1, 2]);
}

#[tokio::test]
async fn a_refusal_at_one_path_of_a_front_end_refuses_no_other() {
    let two = TwoPaths::start().await;
    two.lab.blindbox.set(Knob::RuntimeData(b"{}".to_vec()));
    let [a, b] = two.connect().await;
    let error = a.unwrap_err();
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error}");
    assert_eq!(b.unwrap().post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    assert_eq!(two.counts("/echo"), [0, 1]);
}
