//! Requests to stop a command that serves: SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed).

use std::io;
#[cfg(unix)]
use std::task::Poll;

use crate::exit::Failure;

/// Receives the signals, which no longer end the process at once: it stops in good order.
pub struct Stop {
    #[cfg(unix)]
    signals: Vec<tokio::signal::unix::Signal>,
}

impl Stop {
    pub fn listen() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::setting(format!("signals cannot be waited for: {error}"));
        Self::new().map_err(failed)
    }

    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !ignores_hangup() {
            kinds.push(SignalKind::hangup());
        }
        Ok(Self { signals: kinds.into_iter().map(signal).collect::<io::Result<_>>()? })
    }

    /// Waits until that is asked for.
    #[cfg(unix)]
    pub async fn asked(&mut self) {
        std::future::poll_fn(|context| {
            let any = self.signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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

/// Whether SIGHUP is ignored, as `nohup` arranges it: a handler would undo that. Only Linux reports it without unsafe code; on other
/// systems the signal keeps its default action.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return true };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & HANGUP != 0)
}
