//! Writes the seed corpora of the fuzz targets: `cargo run --example fuzz-seeds -- DIRECTORY`.
//!
//! All of it is the emulator's: evidence with real signatures, under keys that no target trusts. A fuzzer that starts from
//! nothing does not get past the first length.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::azure_vm::{VirtualTpm, VirtualTpmAuthority};
use blindbox_attestation::emulator::uvm::{SigningAlgorithm, UvmSigner};
use blindbox_attestation::emulator::{BlindBox, CCE_POLICY, Maa};
use blindbox_attestation::uvm::EndorsementForm;
use blindbox_attestation::{Measurement, Policy, Product, Trust, UvmRequirement, Verifier, Workload};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The directory of the corpora: one below it for each target.
struct Corpora(PathBuf);

impl Corpora {
    /// Writes one seed of a target; everything is a seed of `inspect` too, which takes any file.
    fn write(&self, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
        for target in [target, "inspect"] {
            let directory = self.0.join(target);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(name), bytes)?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).ok_or("expected the directory to write to")?;
    let corpora = Corpora(Path::new(&directory).to_owned());
    hardware(&corpora)?;
    endorsements(&corpora)?;
    azure_vm(&corpora)?;
    corpora.write("cce_policy", "emulated.rego", CCE_POLICY.as_bytes())?;
    messages(&corpora)?;
    tokens(&corpora).await
}

/// Reports, certificates, PEM bundles and revocation lists of every family.
fn hardware(corpora: &Corpora) -> Result<()> {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        for (vek, kind) in [(amd.vcek().issue(), "vcek"), (amd.vlek().issue(), "vlek")] {
            corpora.write("vek", &format!("{product}-{kind}.der"), vek.der())?;
            corpora.write("vek", &format!("{product}-{kind}.pem"), vek.pem().as_bytes())?;
            for version in 2..=5 {
                let report = amd.report().version(version).sign(&vek);
                corpora.write("report", &format!("{product}-{kind}-{version}.bin"), &report)?;
            }
        }
        for (name, der) in [("ark", amd.ark()), ("ask", amd.ask()), ("asvk", amd.asvk())] {
            corpora.write("vek", &format!("{product}-{name}.der"), der)?;
        }
        corpora.write("crl", &format!("{product}.der"), &amd.crl().issue())?;
        corpora.write("crl", &format!("{product}-revoked.der"), &amd.crl().revoke_serial(&[2, 0, 1]).issue())?;
    }
    Ok(())
}

/// Endorsements in both forms, with each kind of key.
fn endorsements(corpora: &Corpora) -> Result<()> {
    for (name, leaf) in [
        ("p256", SigningAlgorithm::EcdsaP256),
        ("p384", SigningAlgorithm::EcdsaP384),
        ("p521", SigningAlgorithm::EcdsaP521),
    ] {
        let signer = UvmSigner::builder().leaf(leaf).build()?;
        for (form, kind) in [(EndorsementForm::TextHeaders, "text"), (EndorsementForm::CwtHashEnvelope, "cwt")] {
            let document = signer.endorse(form, 101, &Measurement::new([0xab; 48]))?;
            corpora.write("endorsement", &format!("{name}-{kind}.cose"), &document)?;
        }
    }
    Ok(())
}

/// The evidence of a confidential VM: the paravisor's report, its claims, quotes, certificates.
fn azure_vm(corpora: &Corpora) -> Result<()> {
    let amd = AmdHierarchy::new(Product::Milan);
    let (vcek, tpm, azure) = (amd.vcek().issue(), VirtualTpm::new(), VirtualTpmAuthority::new()?);
    let hcl = tpm.hcl_report();
    corpora.write("hcl_report", "milan.bin", &hcl.sign(amd.report(), &vcek))?;
    corpora.write("hcl_report", "claims.json", hcl.claims_json().as_bytes())?;
    corpora.write("tpm_quote", "all.msg", &tpm.quote().extra_data(&[5; 32]).message())?;
    corpora.write("tpm_quote", "some.msg", &tpm.quote().select(&[4, 7, 11]).message())?;
    for (index, certificate) in azure.certificate(&tpm).chain()?.iter().enumerate() {
        corpora.write("ak_certificate", &format!("{index}.der"), certificate)?;
    }
    corpora.write("ak_certificate", "root.der", azure.root())
}

/// Key configurations, sealed requests and binary HTTP: the vectors of the crate.
fn messages(corpora: &Corpora) -> Result<()> {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../src/message/vectors.json"))?;
    for (index, vector) in vectors.as_array().into_iter().flatten().enumerate() {
        let text = |value: &serde_json::Value| value.as_str().map(hex::decode).ok_or("a vector lacks a member");
        corpora.write("key_config", &format!("{index}.bin"), &text(&vector["key_config"])??)?;
        corpora.write("encapsulated_request", &format!("{index}.bin"), &text(&vector["request"])??)?;
        for kind in ["request", "response"] {
            let mut message = Vec::new();
            for chunk in vector[format!("binary_http_{kind}_chunks")].as_array().into_iter().flatten() {
                message.extend(text(chunk)??);
            }
            corpora.write("binary_http", &format!("{index}-{kind}.bin"), &message)?;
            corpora.write("sealed_text", &format!("{index}-{kind}.bin"), &message)?;
        }
    }
    // The layout is right, the keys are none that a message can be sealed to.
    let x_wing = |part: u8| [&[1, 0x64, 0x7a], [part; 1216].as_slice(), &[0, 4, 0, 1, 0, 2]].concat();
    corpora.write("key_config", "low-order.bin", &x_wing(0))?;
    corpora.write("key_config", "coefficient.bin", &x_wing(0xff))
}

/// A token, its key set and policies, as a client meets them.
async fn tokens(corpora: &Corpora) -> Result<()> {
    let maa = Maa::start().await?;
    let blindbox = BlindBox::builder(&maa).start().await?;
    let trust = Trust::maa(blindbox.maa_issuer().as_str())?.require_maa_policy_hash(blindbox.maa_policy_hash())?;
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(100))?;
    corpora.write("policy", "container.toml", policy.to_toml().as_bytes())?;
    corpora.write("policy", "container.json", policy.to_json().as_bytes())?;
    let verifier = Verifier::builder()
        .clock(blindbox.clock().clone())
        .only_application_roots(blindbox.tls_root_pem())
        .collateral_roots(maa.tls_root_pem())
        .build()?;
    let collected = verifier.collect(blindbox.url(), &policy).await?;
    let token = collected.evidence.token.ok_or("the emulator gave no token")?;
    corpora.write("token", "emulated.jwt", token.as_bytes())?;
    let keys = collected.key_set.ok_or("the emulator gave no key set")?;
    corpora.write("key_set", "emulated.json", &keys)?;
    Ok(())
}
