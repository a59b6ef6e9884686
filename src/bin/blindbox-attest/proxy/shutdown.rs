//! How the proxy stops: no new request, and some time for the responses that run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::MAX_CONNECTIONS;
use crate::exit::note;
use crate::signals::Stop;

/// Tells connections that they are to end.
#[derive(Clone)]
pub struct Ending(watch::Receiver<bool>);

/// Who tells them.
pub struct Signal {
    sender: watch::Sender<bool>,
    /// With all its places when no connection is left.
    room: Arc<Semaphore>,
}

pub fn ending(room: Arc<Semaphore>) -> (Signal, Ending) {
    let (sender, receiver) = watch::channel(false);
    (Signal { sender, room }, Ending(receiver))
}

impl Ending {
    pub async fn begun(&mut self) {
        // An error means that the sender is gone: the proxy stops.
        let _ = self.0.wait_for(|ending| *ending).await;
    }
}

impl Signal {
    /// Ends all connections, each after the response that runs on it. A second request to stop cuts them off.
    /// `grace` is the time that responses have. Connections without a request have `quiet` to be gone before anything is said of
    /// waiting.
    pub async fn end(self, stop: &mut Stop, quiet: Duration, grace: Duration) {
        let _ = self.sender.send(true);
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let ended = async { self.room.acquire_many(all).await.is_ok() };
        let mut ended = std::pin::pin!(ended);
        if tokio::time::timeout(quiet, ended.as_mut()).await.is_ok() {
            return;
        }
        note(&format!(
            "stopping: responses that run have {} seconds to end; a second signal cuts them off at once",
            grace.as_secs()
        ));
        tokio::select! {
            _ = ended => return,
            () = tokio::time::sleep(grace) => {}
            () = stop.asked() => {}
        }
        note("stopped: responses that still ran are cut off");
    }
}
