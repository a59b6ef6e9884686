//! The background threads that run the async API while callers wait.
//!
//! Callers wait on a channel of the standard library and never poll or enter a runtime themselves: nothing that tokio could
//! panic about, and no wake-up that only the caller's own thread could deliver.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::coop;

use crate::error::AttestationError;
use crate::sync::lock;

/// The most threads for the work: signatures take milliseconds, the rest is waiting for the network.
const MAX_WORKERS: usize = 4;

/// The most further threads of each for name lookups, which the system gives as blocking calls only.
const MAX_LOOKUP_THREADS: usize = 4;

const THREAD_NAME: &str = "blindbox-blocking";

/// More than any budget: tokio counts them in a byte.
const MORE_THAN_A_BUDGET: usize = 300;

/// Runs a future on a background thread, and waits for its result.
pub(super) fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, AttestationError> {
    let blocking_runtime = available()?;
    let (give, take) = mpsc::sync_channel(1);
    let task = async move {
        // The caller waits for it.
        let _ = give.send(work.await);
    };
    // Not joined: if the task panics, the sender is dropped and the receiver returns an error.
    drop(blocking_runtime.worker()?.spawn(task));
    take.recv().map_err(|_| {
        misconfigured(
            "the work panicked, and was given up; it calls the verifier's clock, and needs threads for name lookups: look there",
        )
    })
}

/// Checks that [`run`] may be called here.
pub(super) fn check() -> Result<(), AttestationError> {
    available().map(drop)
}

fn available() -> Result<&'static BlockingRuntime, AttestationError> {
    if is_in_async_code() {
        return Err(misconfigured(
            "the blocking API was called in async code, whose thread it would hold up; use the async API there, or call \
             this one within `tokio::task::spawn_blocking`",
        ));
    }
    let blocking_runtime = BlockingRuntime::shared()?;
    blocking_runtime.check_process(std::process::id())?;
    Ok(blocking_runtime)
}

/// Whether tokio is polling a future on this thread, as far as can be seen: see the module above.
fn is_in_async_code() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let mut context = Context::from_waker(Waker::noop());
    let mut spent = Vec::new();
    let mut limited = false;
    while !limited && spent.len() < MORE_THAN_A_BUDGET {
        match coop::poll_proceed(&mut context) {
            Poll::Ready(unit) => spent.push(unit),
            Poll::Pending => limited = true,
        }
    }
    // Each one restores what was there before it: the first must be the last.
    while spent.pop().is_some() {}
    limited
}

/// The threads of the process. They never end: to stop a runtime would block, which is not allowed everywhere.
struct BlockingRuntime {
    workers: Vec<Handle>,
    next: AtomicUsize,
    process: u32,
}

impl BlockingRuntime {
    fn shared() -> Result<&'static Self, AttestationError> {
        static SHARED: OnceLock<BlockingRuntime> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(blocking_runtime) = SHARED.get() {
            return Ok(blocking_runtime);
        }
        let _starting = lock(&STARTING);
        if let Some(blocking_runtime) = SHARED.get() {
            return Ok(blocking_runtime);
        }
        let blocking_runtime = Self::start()?;
        Ok(SHARED.get_or_init(|| blocking_runtime))
    }

    /// Starts the threads. If the system allows fewer than wanted, those suffice.
    fn start() -> Result<Self, AttestationError> {
        let wanted = thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS));
        let mut workers = Vec::new();
        while workers.len() < wanted {
            match start_worker() {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => return Err(no_threads(&error)),
                Err(_) => break,
            }
        }
        Ok(Self { workers, next: AtomicUsize::new(0), process: std::process::id() })
    }

    /// Returns the threads in turn. Any of them will do: connections and wake-ups work across them.
    fn worker(&self) -> Result<&Handle, AttestationError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.workers.len());
        turn.and_then(|turn| self.workers.get(turn)).ok_or_else(|| no_threads(&io::ErrorKind::NotFound.into()))
    }

    /// An error in a child of the process that the threads are in.
    fn check_process(&self, process: u32) -> Result<(), AttestationError> {
        if self.process == process {
            return Ok(());
        }
        Err(misconfigured(
            "this process was forked from one that had used the blocking API, whose threads are not in it; fork first, and \
             connect in the child",
        ))
    }
}

/// A thread with a runtime of its own. One runtime with several threads would be started by tokio, which panics, and waits for
/// ever, where the system gives it fewer of them.
fn start_worker() -> io::Result<Handle> {
    let (give, take) = mpsc::sync_channel(1);
    let work = move || match Builder::new_current_thread()
        .max_blocking_threads(MAX_LOOKUP_THREADS)
        .thread_name(THREAD_NAME)
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => {
            let _ = give.send(Ok(runtime.handle().clone()));
            runtime.block_on(std::future::pending::<()>());
        }
        Err(error) => {
            let _ = give.send(Err(error));
        }
    };
    // Not joined: it never ends.
    drop(thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(work)?);
    take.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn no_threads(error: &io::Error) -> AttestationError {
    misconfigured(&format!("the threads of the blocking API cannot be started: {error}; is there a limit to them?"))
}

fn misconfigured(reason: &str) -> AttestationError {
    AttestationError::Misconfigured { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_for_a_budget_leaves_it_as_it_is() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..10 {
                assert!(is_in_async_code());
                assert!(coop::has_budget_remaining());
            }
        });
        assert!(!is_in_async_code());
        let _entered = runtime.enter();
        assert!(!is_in_async_code());
    }

    #[test]
    fn a_child_process_is_told_that_the_threads_are_not_there() {
        let blocking_runtime = BlockingRuntime::shared().unwrap();
        assert_eq!(blocking_runtime.check_process(std::process::id()), Ok(()));
        let error = blocking_runtime.check_process(std::process::id().wrapping_add(1)).unwrap_err();
        assert!(
            matches!(&error, AttestationError::Misconfigured { reason } if reason.contains("fork first")),
            "{error}"
        );
    }

    #[test]
    fn work_that_panics_is_an_error() {
        let error = run(async { assert_eq!(1, 2, "as a clock might") }).unwrap_err();
        assert!(matches!(&error, AttestationError::Misconfigured { reason } if reason.contains("clock")), "{error}");
        assert_eq!(run(async { 1 }), Ok(1));
    }
}
