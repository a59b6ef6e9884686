//! A client that talks to one BlindBox and to no other peer, with everything it needs inside: a container and a confidential VM with
//! their agents, an emulated MAA, an emulated AMD and a man in the middle, on loopback, with real TLS and real signatures.
//!
//! ```console
//! $ cargo run --example quickstart
//! ```

use std::error::Error;

use blindbox_attestation::emulator::azure_vm::{AzureVmKnob, QuoteBuilder};
use blindbox_attestation::emulator::{AgentForm, BlindBox, Guest, HardwareKnob, Kds, Knob, Maa, Platform, Relay};
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, GuestIdentity, HostData, Policy, Product, Sha256Digest, Trust,
    UvmRequirement, Verifier, VmConfigurationBit, Workload,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "starting an emulated machine, its BlindBoxes, an MAA and AMD's key service (their RSA keys take a moment) ..."
    );
    let (maa, amd, machine) = (Maa::start().await?, Kds::start().await?, Platform::new(Product::Genoa));
    container(&maa, &amd, &machine).await?;
    confidential_vm(&maa, &amd, &machine).await
}

/// A confidential container: its CCE policy says what runs in it.
async fn container(maa: &Maa, amd: &Kds, machine: &Platform) -> Result<(), Box<dyn Error>> {
    let blindbox = BlindBox::builder(maa).platform(machine).start().await?;

    // What this client insists on. The emulated MAA is not one of Microsoft's shared instances, so its policy is pinned; the
    // utility VM's vendor is emulated too.
    let maa_alone = Trust::maa(maa.issuer())?.require_maa_policy_hash(blindbox.maa_policy_hash())?;
    let both = Trust::maa_and_amd(maa.issuer())?.require_maa_policy_hash(blindbox.maa_policy_hash())?;
    let expect = |trust| {
        let workload = Workload::binds_its_own_key(blindbox.host_data());
        let uvm = UvmRequirement::at_least(101).issued_by(machine.uvm_issuer());
        Policy::confidential_container(trust, workload, uvm)
    };
    let (maa_alone, both) = (expect(maa_alone)?, expect(both)?);
    // The emulator's roots enter by the same door as real ones.
    let verifier = Verifier::builder()
        .collateral_roots(maa.tls_root_pem() + &amd.tls_root_pem())
        .amd_anchors(machine.anchors())
        .kds(amd.url())
        .build()?;

    heading("the genuine container, under MAA and AMD trust");
    let session = verifier.connect(blindbox.url(), &both).await?;
    println!("{}", session.attestation());
    let answer = session.post("/echo").body("a secret for the proven peer").send().await?;
    println!("POST /echo: {} {:?}", answer.status(), answer.text().await?);

    heading("every other peer is refused");
    let maa_says = async |what: &str| show(what, verifier.connect(blindbox.url(), &maa_alone).await.err());
    let both_say = async |what: &str| show(what, verifier.connect(blindbox.url(), &both).await.err());

    blindbox.set(Knob::Debug);
    maa_says("a debug guest").await;
    blindbox.reset();

    blindbox.set(Knob::ComplianceStatus(None));
    maa_says("a non-compliant UVM").await;
    blindbox.reset();

    blindbox.set(Knob::HostData(HostData::new([0x66; 32])));
    maa_says("another workload").await;
    blindbox.reset();

    blindbox.set(Knob::OldNonce);
    maa_says("a replayed nonce").await;
    blindbox.reset();

    blindbox.set(Knob::Hardware(HardwareKnob::ForgedHierarchy));
    both_say("a forged AMD root").await;
    blindbox.reset();

    blindbox.set(Knob::TokenOfAnotherReport);
    both_say("a token of another TEE").await;
    blindbox.reset();

    let relay = Relay::start(&blindbox).await?;
    show("a man in the middle", verifier.connect(relay.url(), &maa_alone).await.err());
    println!("    (it received {} bytes of the application)", relay.traffic().application_bytes());

    let legacy = BlindBox::builder(maa).agent(AgentForm::Legacy).start().await?;
    show("a BlindBox that binds no key", verifier.connect(legacy.url(), &maa_alone).await.err());
    Ok(())
}

/// A confidential VM: the PCRs of its virtual TPM say what was started, down to AMD's root and without MAA.
async fn confidential_vm(maa: &Maa, amd: &Kds, machine: &Platform) -> Result<(), Box<dyn Error>> {
    let blindbox = BlindBox::builder(maa).guest(Guest::confidential_vm()).platform(machine).start().await?;
    let tpm = blindbox.virtual_tpm().ok_or("a confidential VM on a machine has a virtual TPM")?;
    let anchors = blindbox.ak_anchors().ok_or("and an authority that certified its key")?;

    // The image that was built: Secure Boot, and a unified kernel image with what overrides its command line or extends it.
    let image = [4, 7, 11, 12, 13].into_iter().fold(GuestIdentity::allow_any_azure_cvm(), |guest, index| {
        guest.pcr(index, [QuoteBuilder::default_pcr(index)])
    });
    let policy = Policy::confidential_vm(Trust::amd(), image, Binding::OwnKey)?
        .require_vm_configuration(VmConfigurationBit::SecureBoot, BitRequirement::Set)?
        .require_vm_ids([tpm.vm_id()])?
        .require_ak_certificate()?;
    let verifier = Verifier::builder()
        .collateral_roots(amd.tls_root_pem())
        .amd_anchors(machine.anchors())
        .ak_anchors(anchors)
        .kds(amd.url())
        .build()?;

    heading("the genuine confidential VM, under AMD trust alone");
    let session = verifier.connect(blindbox.url(), &policy).await?;
    println!("{}", session.attestation());
    let answer = session.post("/echo").body("a secret for the proven image").send().await?;
    println!("POST /echo: {} {:?}", answer.status(), answer.text().await?);

    heading("every other VM is refused");
    for (what, knob) in [
        ("another image", Knob::AzureVm(AzureVmKnob::Pcr(11, Sha256Digest::new([0x66; 32])))),
        ("Secure Boot off", Knob::AzureVm(AzureVmKnob::SecureBoot(false))),
        ("a report of an earlier boot", Knob::AzureVm(AzureVmKnob::EarlierBoot)),
        ("a quote of another VM", Knob::AzureVm(AzureVmKnob::QuoteOfAnotherVm)),
        ("a VM with Trusted Launch, which is no TEE", Knob::AzureVm(AzureVmKnob::AkCertificateOfTrustedLaunch)),
        ("a paravisor with CVE-2025-49707", Knob::ReportGuestSvn(7)),
    ] {
        blindbox.set(knob);
        show(what, verifier.connect(blindbox.url(), &policy).await.err());
        blindbox.reset();
    }
    let relay = Relay::start(&blindbox).await?;
    show("a man in the middle", verifier.connect(relay.url(), &policy).await.err());
    println!("    (it received {} bytes of the application)", relay.traffic().application_bytes());
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}

fn show(what: &str, error: Option<AttestationError>) {
    match error {
        Some(error) => println!("{what}\n    error[{}]: {error}", error.code()),
        None => panic!("{what} was accepted"),
    }
}
