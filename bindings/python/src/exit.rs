//! The end of the interpreter: from then on, no thread but the one that ends it enters the interpreter through this module.
//!
//! Before Python 3.14, an interpreter that ends kills every other thread that asks for its lock, by unwinding the thread's stack. Frames of
//! Rust do not survive that: the process would crash. Daemon threads in a blocking call, and the threads of the runtime, ask for the lock
//! at any time. So a handler of `atexit` closes the gate, and waits for those that are inside.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long the end of the interpreter waits for threads that are inside. One of them may run a source of the caller that blocks.
const PATIENCE: Duration = Duration::from_secs(1);

static ENDING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The thread that ends the interpreter, which may go on: it is the one that is not killed.
static ENDS: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Held while a thread enters the interpreter or is inside.
struct Inside;

impl Inside {
    fn enter() -> Option<Self> {
        // Counted first: `end` sees either the count, or is seen.
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Self;
        let is_open = !ENDING.load(Ordering::SeqCst) || *lock() == Some(thread::current().id());
        is_open.then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<ThreadId>> {
    ENDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters the interpreter from a thread outside of it. Returns `None` once the interpreter ends.
pub(crate) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let _inside = Inside::enter()?;
    Python::try_attach(work)
}

/// Runs work without the interpreter's lock. If the interpreter has ended when it is done, this thread waits for the end of the process:
/// there is no interpreter to return to.
pub(crate) fn detached<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    let (outcome, inside) = py.detach(|| {
        let outcome = work();
        loop {
            if let Some(inside) = Inside::enter() {
                return (outcome, inside);
            }
            thread::park();
        }
    });
    drop(inside);
    outcome
}

/// Closes the gate. Called when the interpreter ends, by its last handler of `atexit`.
#[pyfunction]
pub(crate) fn end(py: Python<'_>) {
    *lock() = Some(thread::current().id());
    ENDING.store(true, Ordering::SeqCst);
    // Those that are inside need the lock to get out.
    py.detach(|| {
        let started = Instant::now();
        while INSIDE.load(Ordering::SeqCst) > 0 && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    });
}
