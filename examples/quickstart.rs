//! A client that talks to one BlindBox and to nobody else, with everything it needs inside: an emulated BlindBox with its agent, an
//! emulated MAA, and a man in the middle, on loopback, with real TLS and real signatures.
//!
//! ```console
//! $ cargo run --example quickstart
//! ```

use std::error::Error;

use blindbox_attestation::emulator::{AgentForm, BlindBox, Knob, Maa, Relay, RelayMode};
use blindbox_attestation::{AttestationError, HostData, Policy, Trust, UvmSvn, Verifier, Workload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let maa = Maa::start().await?;
    let blindbox = BlindBox::builder(&maa).start().await?;

    // What this client insists on. The emulated MAA is not one of Microsoft's shared instances, so its policy is pinned.
    let trust = Trust::maa(maa.issuer())?.require_maa_policy_hash(blindbox.maa_policy_hash())?;
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let policy = Policy::confidential_container(trust, workload, UvmSvn::at_least(100))?;
    // The emulator's roots enter by the same door as real ones.
    let verifier = Verifier::builder().collateral_roots(maa.tls_root_pem()).build()?;

    heading("the genuine BlindBox");
    let session = verifier.connect(blindbox.url(), &policy).await?;
    println!("{}", session.attestation());
    let answer = session.post("/echo").body("a secret for the proven peer").send().await?;
    println!("POST /echo: {} {:?}", answer.status(), answer.text().await?);

    heading("everybody else");
    let refused = async |what: &str| show(what, verifier.connect(blindbox.url(), &policy).await.err());
    blindbox.set(Knob::Debug);
    refused("a debug guest").await;
    blindbox.reset();

    blindbox.set(Knob::ComplianceStatus(None));
    refused("a non-compliant UVM").await;
    blindbox.reset();

    blindbox.set(Knob::HostData(HostData::new([0x66; 32])));
    refused("another workload").await;
    blindbox.reset();

    blindbox.set(Knob::OldNonce);
    refused("a replayed nonce").await;
    blindbox.reset();

    let relay = Relay::builder().mode(RelayMode::Forward).start(&blindbox).await?;
    show("a man in the middle", verifier.connect(relay.url(), &policy).await.err());
    println!("{:<22} {} bytes of the application reached him", "", relay.traffic().application_bytes());

    let legacy = BlindBox::builder(&maa).agent(AgentForm::Legacy).start().await?;
    show("a BlindBox that binds no key", verifier.connect(legacy.url(), &policy).await.err());
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}

fn show(what: &str, error: Option<AttestationError>) {
    match error {
        Some(error) => println!("{what:<28} error[{}]: {error}", error.code()),
        None => panic!("{what} was accepted"),
    }
}
