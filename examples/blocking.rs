//! A program without an async runtime that talks to one BlindBox and to no other peer.
//!
//! ```console
//! $ cargo run --example blocking
//! ```

use std::error::Error;
use std::io::BufRead;

use blindbox_attestation::emulator::{BlindBox, Knob, Maa};
use blindbox_attestation::{Policy, Trust, UvmRequirement, Verifier, Workload};

fn main() -> Result<(), Box<dyn Error>> {
    // The emulator is asynchronous and runs on its own threads. A real BlindBox is far away, and needs none of this.
    let elsewhere = tokio::runtime::Runtime::new()?;
    let (maa, blindbox) = elsewhere.block_on(async {
        let maa = Maa::start().await?;
        let page = b"one line\nand another\n";
        let blindbox = BlindBox::builder(&maa).page("/lines", "text/plain", page).start().await?;
        Ok::<_, std::io::Error>((maa, blindbox))
    })?;

    let trust = Trust::maa(maa.issuer())?.require_maa_policy_hash(blindbox.maa_policy_hash())?;
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(100))?;
    let verifier = Verifier::builder().collateral_roots(maa.tls_root_pem()).build_blocking()?;

    let session = verifier.connect(blindbox.url(), &policy)?;
    println!("{}", session.attestation());
    let answer = session.post("/echo").body("a secret for the proven peer").send()?;
    println!("POST /echo: {} {:?}", answer.status(), answer.text()?);
    for line in session.get("/lines").send()?.reader().lines() {
        println!("GET /lines: {:?}", line?);
    }

    blindbox.set(Knob::Debug);
    match verifier.connect(blindbox.url(), &policy) {
        Err(error) => println!("a debug guest: error[{}]: {error}", error.code()),
        Ok(_) => panic!("a debug guest was accepted"),
    }
    // In async code the same calls are refused: they would hold up the thread of all its tasks.
    let error = elsewhere.block_on(async { session.get("/").send().err() });
    println!("in async code: {}", error.ok_or("expected a refusal")?);
    Ok(())
}
