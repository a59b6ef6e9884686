//! Connects to a real BlindBox under a policy from a file, shows what was proven, and sends one request.
//!
//! ```console
//! $ cargo run --example connect -- https://my-app.example policy.toml /status
//! ```

use std::fs;
use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Policy, verify_connection};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, policy, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: connect URL POLICY_FILE [TARGET]");
        return ExitCode::FAILURE;
    };
    let target = rest.first().map_or("/", String::as_str);
    match run(url, policy, target).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            if let Some(appraisal) = error.appraisal() {
                eprintln!("\n{appraisal}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, policy: &str, target: &str) -> Result<(), AttestationError> {
    let text = fs::read_to_string(policy)
        .map_err(|error| AttestationError::Misconfigured { why: format!("{policy}: {error}") })?;
    let policy = Policy::from_toml(&text)?;
    for open in policy.lint() {
        eprintln!("note: {open}");
    }
    let session = verify_connection(url, &policy).await?;
    println!("{}", session.attestation());
    let response = session.get(target).send().await?;
    println!("GET {target}: {}", response.status());
    Ok(())
}
