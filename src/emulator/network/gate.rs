//! A gate that holds responses back until a test opens it: what is slow in a test is slow for as long as the test says, however busy
//! the machine is.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds responses back until it is opened, for [`Fault::Held`](crate::emulator::Fault::Held). Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    open: bool,
    /// How many responses have come to the gate.
    arrived: usize,
}

impl Gate {
    /// Returns a gate that is closed.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets everything pass that is held back, and everything that comes later.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Waits until so many responses have come to the gate: each is made by then, and not sent unless the gate is open.
    pub async fn arrived(&self, responses: usize) {
        self.wait_for(|state| state.arrived >= responses).await;
    }

    /// Waits until the gate is open.
    pub(crate) async fn pass(&self) {
        self.0.send_modify(|state| state.arrived = state.arrived.saturating_add(1));
        self.wait_for(|state| state.open).await;
    }

    async fn wait_for(&self, condition: impl Fn(&State) -> bool) {
        // The sender is this gate itself: the channel does not close.
        let _ = self.0.subscribe().wait_for(condition).await;
    }
}

impl PartialEq for Gate {
    /// Whether it is the same gate.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}
