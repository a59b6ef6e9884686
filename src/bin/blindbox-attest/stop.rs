//! How what serves is told to stop.

use std::io;

use crate::outcome::Failure;

/// Waits for Ctrl-C, or a request to terminate.
pub async fn asked() -> Result<(), Failure> {
    let signal = tokio::select! {
        signal = tokio::signal::ctrl_c() => signal,
        signal = termination() => signal,
    };
    signal.map_err(|error| Failure::setting(format!("signals cannot be waited for: {error}")))
}

#[cfg(unix)]
async fn termination() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

#[cfg(not(unix))]
async fn termination() -> io::Result<()> {
    std::future::pending().await
}
