//! The work under way of each environment: the main thread of Node, and every worker.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blindbox_facade as facade;
use napi::Env;

thread_local! {
    /// An environment does not leave its thread.
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// The calls of an environment. When it ends, so do they: their outcomes could reach nothing any more, and a request that hangs
/// would keep its connection.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    last: u64,
    /// None while a call starts.
    by_number: HashMap<u64, Option<Arc<facade::Cancel>>>,
}

impl Running {
    /// Returns the calls of the environment of this thread.
    pub(crate) fn current(env: &Env) -> napi::Result<Self> {
        RUNNING.with(|place| {
            let running = match place.take() {
                Some(running) => running,
                None => {
                    let running = Self::default();
                    env.add_env_cleanup_hook(running.clone(), |running| {
                        RUNNING.with(Cell::take);
                        running.end();
                    })?;
                    running
                }
            };
            place.set(Some(running.clone()));
            Ok(running)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place for a call that starts.
    pub(crate) fn enter(&self) -> u64 {
        let mut calls = self.lock();
        calls.last = calls.last.wrapping_add(1);
        let number = calls.last;
        calls.by_number.insert(number, None);
        number
    }

    /// Notes how a call is ended. It may have completed already.
    pub(crate) fn started(&self, number: u64, call: Arc<facade::Cancel>) {
        if let Some(place) = self.lock().by_number.get_mut(&number) {
            *place = Some(call);
        }
    }

    /// Forgets a call that has completed.
    pub(crate) fn completed(&self, number: u64) {
        drop(self.lock().by_number.remove(&number));
    }

    fn end(&self) {
        let calls = std::mem::take(&mut self.lock().by_number);
        for call in calls.into_values().flatten() {
            call.cancel();
        }
    }
}
