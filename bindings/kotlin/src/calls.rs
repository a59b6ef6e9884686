//! [`Calls`]: work that is under way, and outcomes that the host pulls.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use blindbox_facade::{self as facade, Cancel, Error};

use crate::outcome::{Outcome, outcome};

/// The calls of one loaded package. The host chooses an id for each, starts it, and pulls outcomes on a thread of its own.
#[derive(Default, uniffi::Object)]
pub struct Calls {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// `None` while a call is being started.
    running: HashMap<i64, Option<Cancel>>,
    ended: VecDeque<Completion>,
}

/// A call that has ended.
#[derive(uniffi::Record)]
pub struct Completion {
    pub id: i64,
    pub outcome: Outcome,
}

#[uniffi::export]
impl Calls {
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for the next call that ends. Each call that was started ends once.
    pub fn next(&self) -> Completion {
        let mut state = self.lock();
        loop {
            if let Some(completion) = state.ended.pop_front() {
                return completion;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends a call: its outcome is then `cancelled`, unless it has another one.
    pub fn cancel(&self, id: i64) {
        // Not under the lock, which the completion takes.
        let cancel = self.lock().running.get_mut(&id).and_then(Option::take);
        if let Some(cancel) = cancel {
            cancel.cancel();
        }
    }
}

impl Calls {
    /// Starts work whose outcome gets an id.
    pub(crate) fn start<T: Send + 'static>(
        self: Arc<Self>,
        id: i64,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        made: impl FnOnce(T) -> Outcome + Send + 'static,
    ) {
        self.lock().running.insert(id, None);
        let calls = Arc::clone(&self);
        match facade::start(work, move |result| calls.end(id, outcome(result, made))) {
            Ok(cancel) => {
                // It is not there if the call has ended.
                if let Some(running) = self.lock().running.get_mut(&id) {
                    *running = Some(cancel);
                }
            }
            Err(error) => self.end(id, Outcome::Failed { failure: error.into() }),
        }
    }

    fn end(&self, id: i64, outcome: Outcome) {
        let mut state = self.lock();
        state.running.remove(&id);
        state.ended.push_back(Completion { id, outcome });
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
