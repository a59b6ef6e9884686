//! Which connections there are, and which of them give way to another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::idle::IdleTracker;

/// Those that are open, from the oldest to the newest.
#[derive(Default)]
pub(crate) struct OpenConnections(Vec<Weak<OpenConnection>>);

/// One of them, as long as it is held.
pub(crate) struct OpenConnection {
    pub(crate) idle: Arc<IdleTracker>,
    established: AtomicBool,
    asked: AtomicBool,
    close: Notify,
}

impl OpenConnections {
    /// A connection whose handshake begins.
    pub(crate) fn add(&mut self) -> Arc<OpenConnection> {
        self.0.retain(|connection| connection.strong_count() > 0);
        let (established, asked) = Default::default();
        let idle = Arc::new(IdleTracker::new());
        let added = Arc::new(OpenConnection { idle, established, asked, close: Notify::new() });
        self.0.push(Arc::downgrade(&added));
        added
    }

    /// Asks the oldest handshake to close if there are so many.
    pub(crate) fn limit_handshakes(&self, most: usize) {
        let mut handshakes = self.staying().filter(|connection| !connection.established.load(Ordering::Relaxed));
        let oldest = handshakes.next();
        if let Some(oldest) = oldest
            && handshakes.count().saturating_add(1) >= most
        {
            oldest.ask_to_close();
        }
    }

    /// Asks the connection that has been idle for the longest time to close, if any is idle.
    pub(crate) fn close_idle(&self) {
        let idle = self.staying().filter_map(|connection| Some((connection.idle.quiet_since()?, connection)));
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.ask_to_close();
        }
    }

    /// Those that were not asked to close.
    fn staying(&self) -> impl Iterator<Item = Arc<OpenConnection>> {
        let open = self.0.iter().filter_map(Weak::upgrade);
        open.filter(|connection| !connection.asked.load(Ordering::Relaxed))
    }
}

impl OpenConnection {
    /// The handshake is done.
    pub(crate) fn establish(&self) {
        self.established.store(true, Ordering::Relaxed);
    }

    /// Waits until it is to close.
    pub(crate) async fn asked_to_close(&self) {
        self.close.notified().await;
    }

    fn ask_to_close(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.close.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Which of these were asked to close.
    fn asked(connections: &[Arc<OpenConnection>]) -> Vec<bool> {
        connections.iter().map(|connection| connection.asked.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_the_longest_time_gives_way_and_none_with_a_request() {
        let mut open = OpenConnections::default();
        let connections = [open.add(), open.add(), open.add()];
        connections.iter().for_each(|connection| connection.establish());
        // The first has a request, and the second had one later than the third.
        let request = connections[0].idle.begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(connections[1].idle.begin());
        open.close_idle();
        assert_eq!(asked(&connections), [false, false, true]);
        connections[2].asked_to_close().await;
        // Asked once, it is not counted upon again while it closes.
        open.close_idle();
        assert_eq!(asked(&connections), [false, true, true]);
        open.close_idle();
        assert_eq!(asked(&connections), [false, true, true]);
        drop(request);
        open.close_idle();
        assert_eq!(asked(&connections), [true, true, true]);
    }

    #[test]
    fn the_oldest_handshake_gives_way_beyond_the_bound() {
        let mut open = OpenConnections::default();
        let connections = [open.add(), open.add(), open.add()];
        connections[0].establish();
        open.limit_handshakes(3);
        assert_eq!(asked(&connections), [false, false, false]);
        open.limit_handshakes(2);
        assert_eq!(asked(&connections), [false, true, false]);
        open.limit_handshakes(2);
        assert_eq!(asked(&connections), [false, true, false]);
        // What is closed is forgotten.
        drop(connections);
        let last = open.add();
        assert_eq!(open.0.len(), 1);
        open.limit_handshakes(1);
        assert_eq!(asked(&[last]), [true]);
    }
}
