//! The gateway of production: `BLINDBOX_URL=https://my-app.example BLINDBOX_POLICY=policy.toml gateway`.

use std::env;
use std::error::Error;
use std::time::Duration;

use blindbox_attestation::{Policy, Verifier};
use gateway::{Config, gateway};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let policy = std::fs::read_to_string(env::var("BLINDBOX_POLICY")?)?;
    let config = Config {
        blindbox: env::var("BLINDBOX_URL")?,
        policy: Policy::from_toml(&policy)?,
        verifier: Verifier::builder(),
        cool_down: Duration::from_secs(10),
    };
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, gateway(config)?).await?;
    Ok(())
}
