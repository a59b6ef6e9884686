//! How what serves is told to stop.

use std::io;

use crate::exit::Failure;

/// From now on Ctrl-C, or a request to terminate, does not end this program at once: whoever has this ends it in good order.
pub struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    pub fn listen() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::setting(format!("signals cannot be waited for: {error}"));
        Self::new().map_err(failed)
    }

    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    /// Waits until that is asked for.
    #[cfg(unix)]
    pub async fn asked(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub async fn asked(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
