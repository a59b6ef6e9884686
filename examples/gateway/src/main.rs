//! The gateway of production: `BLINDBOX_URL=https://my-app.example BLINDBOX_POLICY=policy.toml gateway`.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use blindbox_attestation::{Policy, Verifier};
use gateway::{Config, gateway};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_ansi(false).init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let blindbox = setting("BLINDBOX_URL", "where the BlindBox is", "https://my-app.example")?;
    let file = setting("BLINDBOX_POLICY", "the file that says what must run there", "policy.toml")?;
    let config =
        Config { blindbox, policy: policy(&file)?, verifier: Verifier::builder(), cool_down: Duration::from_secs(10) };
    let routes = gateway(config)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await.map_err(|error| format!("127.0.0.1:3000: {error}"))?;
    tracing::info!("listening on http://127.0.0.1:3000");
    axum::serve(listener, routes).await?;
    Ok(())
}

/// A variable of the environment. There is no default: whom to trust is nothing to guess.
fn setting(name: &str, what: &str, example: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        Err(env::VarError::NotUnicode(_)) => Err(format!("the variable {name} ({what}) is not text in UTF-8")),
        _ => Err(format!("the variable {name} is not set: {what}, such as {name}={example}")),
    }
}

fn policy(file: &str) -> Result<Policy, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("BLINDBOX_POLICY: {file}: {error}"))?;
    let json = text.trim_start().starts_with('{');
    let policy = if json { Policy::from_json(&text) } else { Policy::from_toml(&text) };
    policy.map_err(|error| format!("BLINDBOX_POLICY: {file}: {error}; `blindbox-attest policy new` writes one"))
}
