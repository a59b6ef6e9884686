//! Which connections of clients are kept when there is no room for another: one on which no request was accepted yet is closed for a
//! newer one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// What is known of the client of one connection.
#[derive(Default)]
pub struct Client {
    admitted: AtomicBool,
    evict: Notify,
}

impl Client {
    /// A request of it passed every check of access, the token's first of all.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    pub fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Until it has to give way.
    pub async fn evicted(&self) {
        loop {
            self.evict.notified().await;
            // It may have been let in after it was chosen.
            if !self.is_admitted() {
                return;
            }
        }
    }
}

/// The clients that may have to give way, oldest first.
#[derive(Default)]
pub struct Silent(VecDeque<Weak<Client>>);

impl Silent {
    pub fn add(&mut self, client: &Arc<Client>) {
        self.0.retain(|client| client.upgrade().is_some_and(|client| !client.is_admitted()));
        self.0.push_back(Arc::downgrade(client));
    }

    /// Has the oldest of them give way. Where there is none, newer ones wait.
    pub fn evict_oldest(&mut self) {
        while let Some(oldest) = self.0.pop_front() {
            if let Some(client) = oldest.upgrade().filter(|client| !client.is_admitted()) {
                return client.evict.notify_one();
            }
        }
    }
}
