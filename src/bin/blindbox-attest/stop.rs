//! How what serves is told to stop.

use std::io;

use tokio::sync::oneshot;

use crate::outcome::Failure;

/// Waits for Ctrl-C or a request to terminate, and if asked for also until standard input is closed.
pub async fn asked(stdin_counts: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::setting(format!("signals cannot be waited for: {error}"));
    let closed = async {
        if stdin_counts {
            stdin_closed().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = closed => Ok(()),
        signal = tokio::signal::ctrl_c() => signal.map_err(failed),
        signal = termination() => signal.map_err(failed),
    }
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

/// On a thread of its own: nothing can interrupt a read of standard input, and the program must not wait for it.
async fn stdin_closed() {
    let (closed, waiting) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = closed.send(());
    });
    let _ = waiting.await;
}
