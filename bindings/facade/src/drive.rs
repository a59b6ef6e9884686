//! [`Driver`]: the runtime of blocking calls, which the threads that call drive themselves.
//!
//! A call that handed its work to a thread of a runtime would wake that thread, and be woken by it: on loopback that costs more than the
//! request. So the work is polled on the thread that waits for it. Of the threads that are in [`Driver::block_on`], tokio lets one hold the
//! scheduler: that one waits for the network and polls the tasks of connections. When it returns, tokio wakes another one to take over.
//!
//! While no thread calls, one in the background drives: connections respond to pings, are renewed and closed at any time. It must not be
//! woken at each request, so it takes over when no call has come for [`QUIET`], and gives way to the next call. Work that goes on without a
//! caller ([`Demand`]) it drives at once, and then it stays: callers only poll their own work.
//!
//! # Why some thread always drives
//!
//! All fields of [`State`] change under its lock. Where there are callers, one of them holds the scheduler or is about to take it, unless
//! the background thread holds it, which drives as well. Without callers, `driving` says whether the background thread drives:
//!
//! - The last caller leaves while there is demand: it sees `driving` unset and wakes the thread. If the thread is on its way from the last
//!   time, it reads the state before it waits.
//! - Demand comes: it sees callers, who drive, or `driving`, or wakes the thread.
//! - No thread calls and there is no demand: it looks at each [`QUIET`] whether calls come. If one caller stays, it sleeps, and the
//!   last caller to leave wakes it (`asleep`).
//!
//! The background thread stops driving only when it is notified, once for each time, with `driving` being reset under the lock: by a caller
//! that comes while there is no demand, or by the end of the last demand while there are callers. The notification is kept until it is
//! read, so it does not matter whether the thread has reached the scheduler by then.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tracing::Dispatch;

use crate::error::Error;
use crate::log;
use crate::process;
use crate::signals::BrokenPipes;

/// How long no call has come when the background thread takes over.
const QUIET: Duration = Duration::from_millis(5);

/// The runtime of blocking calls of one process. Never dropped.
pub(crate) struct Driver {
    runtime: Runtime,
    /// What receives the events of the work, on whichever thread it is polled.
    events: Dispatch,
    broken_pipes: BrokenPipes,
    state: Mutex<State>,
    /// Wakes the background thread while it does not drive.
    changed: Condvar,
    /// Tells the background thread to stop driving.
    leave: Notify,
}

#[derive(Default)]
struct State {
    /// Threads in [`Driver::block_on`].
    callers: usize,
    /// Changes with each call.
    calls: u64,
    /// Work that goes on without a caller.
    demand: usize,
    /// Whether the background thread drives, and was not notified to stop.
    driving: bool,
    /// Whether the background thread waits for the last caller to leave.
    asleep: bool,
    /// Whether the background thread exists.
    started: bool,
}

impl Driver {
    /// Makes a runtime without any thread.
    pub(crate) fn new() -> Result<Self, Error> {
        let mut builder = Builder::new_current_thread();
        // Its threads are for the resolution of names only.
        process::configure(&mut builder);
        let runtime = process::built(|| builder.build())?;
        let (state, changed, leave) = (Mutex::default(), Condvar::new(), Notify::new());
        Ok(Self { runtime, events: log::dispatch(), broken_pipes: BrokenPipes::new(), state, changed, leave })
    }

    /// Polls a future on this thread until it is ready, and drives the runtime as well unless another thread does.
    ///
    /// # Errors
    ///
    /// `internal` if there is no background thread.
    pub(crate) fn block_on<F: Future>(&'static self, future: F) -> Result<F::Output, Error> {
        match Handle::try_current() {
            Err(error) if error.is_missing_context() => {
                let _caller = self.enter()?;
                Ok(self.here(|| self.runtime.block_on(future)))
            }
            // This thread polls for a runtime: tokio does not let it drive one at the same time.
            _ => {
                let _demand = self.demand()?;
                let _runtime = self.runtime.enter();
                Ok(self.here(|| parked(future)))
            }
        }
    }

    /// Starts a task, which goes on without a caller.
    pub(crate) fn spawn(
        &'static self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<tokio::task::AbortHandle, Error> {
        let demand = self.demand()?;
        let task = async move {
            // Dropped with the task, after its work.
            let _demand = demand;
            task.await;
        };
        Ok(self.runtime.spawn(task).abort_handle())
    }

    /// Has the runtime driven as long as the demand exists.
    pub(crate) fn demand(&'static self) -> Result<Demand, Error> {
        let mut state = self.started()?;
        state.demand = state.demand.saturating_add(1);
        if state.callers == 0 && !state.driving {
            self.changed.notify_one();
        }
        Ok(Demand(self))
    }

    fn enter(&'static self) -> Result<Caller, Error> {
        let mut state = self.started()?;
        state.callers = state.callers.saturating_add(1);
        state.calls = state.calls.wrapping_add(1);
        self.give_way(state);
        Ok(Caller(self))
    }

    /// Tells the background thread to stop driving, if it is not needed.
    fn give_way(&self, mut state: MutexGuard<'_, State>) {
        if state.driving && state.callers > 0 && state.demand == 0 {
            state.driving = false;
            drop(state);
            self.leave.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, once the background thread exists.
    fn started(&'static self) -> Result<MutexGuard<'static, State>, Error> {
        let mut state = self.lock();
        if !state.started {
            let thread = thread::Builder::new().name("blindbox".to_owned());
            thread.spawn(|| self.background()).map_err(process::no_threads)?;
            state.started = true;
        }
        Ok(state)
    }

    fn background(&self) {
        process::own_thread();
        let mut state = self.lock();
        loop {
            let seen = state.calls;
            if state.callers > 0 || state.demand == 0 {
                (state, _) = self.changed.wait_timeout(state, QUIET).unwrap_or_else(PoisonError::into_inner);
            }
            if state.callers > 0 && state.calls == seen {
                state.asleep = true;
                while state.callers > 0 {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                state.asleep = false;
                continue;
            }
            if state.callers > 0 {
                continue;
            }
            if state.calls != seen && state.demand == 0 {
                // Calls that end at their first poll leave tasks unpolled: those that are ready get a turn.
                drop(state);
                self.runtime.block_on(yield_now());
                state = self.lock();
                continue;
            }
            state.driving = true;
            drop(state);
            self.runtime.block_on(self.leave.notified());
            state = self.lock();
        }
    }

    /// Polls work on this thread of the host: its events are reported, and `SIGPIPE` is blocked.
    fn here<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _blocked = self.broken_pipes.block();
        let _events = tracing::dispatcher::set_default(&self.events);
        process::within_process(poll)
    }

    /// Ends a runtime that was not used.
    pub(crate) fn discard(self) {
        self.runtime.shutdown_background();
    }
}

/// A thread in [`Driver::block_on`].
struct Caller(&'static Driver);

impl Drop for Caller {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.callers = state.callers.saturating_sub(1);
        if state.callers == 0 && !state.driving && (state.asleep || state.demand > 0) {
            self.0.changed.notify_one();
        }
    }
}

/// Work that goes on without a caller.
pub(crate) struct Demand(&'static Driver);

impl Drop for Demand {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.demand = state.demand.saturating_sub(1);
        self.0.give_way(state);
    }
}

/// Polls a future on this thread, and sleeps between.
fn parked<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
