//! One runtime for each process, and objects that know which process made them.

use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::{panic, process, thread};

use tokio::runtime::{Builder, Runtime};

use crate::error::Error;
use crate::log::Queue;

/// A process: its id, and how many forks were noted before. The id alone would repeat in a long chain of forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    id: u32,
    forks: u64,
}

static FORKS: AtomicU64 = AtomicU64::new(0);

/// Notes that this process is a fork of another. Optional: objects also compare process ids. Call it in the child, for example
/// from `os.register_at_fork` or `pthread_atfork`; it takes no lock.
pub fn note_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
}

impl ProcessId {
    pub(crate) fn current() -> Self {
        Self { id: process::id(), forks: FORKS.load(Ordering::SeqCst) }
    }
}

/// What exists once in each process.
pub(crate) struct Process {
    id: ProcessId,
    pub(crate) runtime: Runtime,
    pub(crate) events: Queue,
    /// Of a child that was forked later.
    next: OnceLock<Box<Process>>,
}

/// The first process that needed a runtime. A child keeps its parent's runtime, whose threads do not exist in it, and never
/// touches it: nothing here is ever dropped, so that there is no order of shutdown to get wrong.
static FIRST: OnceLock<Box<Process>> = OnceLock::new();

impl Process {
    /// Returns what belongs to this process, and makes it on first use.
    ///
    /// Takes no lock of its own that another thread may have held while the process was forked: a `OnceLock` is set with a value that
    /// was made before. The threads of a runtime take one of `tracing` for a moment when they start to report their events, and a child
    /// that was forked in that moment would wait for ever: a process that forks makes its first session before, or after.
    pub(crate) fn current() -> Result<&'static Self, Error> {
        let id = ProcessId::current();
        let mut place = &FIRST;
        let mut made: Option<Box<Self>> = None;
        loop {
            if let Some(process) = place.get() {
                if process.id == id {
                    // Another thread was faster.
                    if let Some(own) = made {
                        own.runtime.shutdown_background();
                    }
                    return Ok(process);
                }
                place = &process.next;
                continue;
            }
            let own = match made.take() {
                Some(own) => own,
                None => Box::new(Self { id, runtime: runtime()?, events: Queue::default(), next: OnceLock::new() }),
            };
            if let Err(own) = place.set(own) {
                made = Some(own);
            }
        }
    }
}

fn runtime() -> Result<Runtime, Error> {
    // Tokio panics where no thread can be started.
    let built = panic::catch_unwind(|| {
        // The other half is for the threads of the host. A second worker on two processors wakes for nothing at each request: that
        // costs a request 10 us, and much more on a machine that is busy.
        let workers = (thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 4);
        let count = AtomicUsize::new(0);
        Builder::new_multi_thread()
            .worker_threads(workers)
            // For the resolution of names only.
            .max_blocking_threads(8)
            .thread_name_fn(move || format!("blindbox-{}", count.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(|| {
                block_broken_pipe();
                crate::log::subscribe_thread();
            })
            .enable_all()
            .build()
    });
    match built {
        Ok(Ok(runtime)) => Ok(runtime),
        Ok(Err(error)) => Err(Error::internal(format!("the threads of the client cannot be started: {error}"))),
        Err(_) => Err(Error::internal("the threads of the client cannot be started")),
    }
}

/// Makes this thread see a connection that its peer has closed as an error. The default of a program that is not written in Rust is the
/// signal `SIGPIPE`, which ends it; Go ends by it too if the thread is not its own. What the host does with the signal elsewhere is its
/// own concern.
#[cfg(unix)]
fn block_broken_pipe() {
    let mut signals = nix::sys::signal::SigSet::empty();
    signals.add(nix::sys::signal::SIGPIPE);
    // It fails for no set that holds known signals.
    let _ = signals.thread_block();
}

#[cfg(not(unix))]
fn block_broken_pipe() {}

/// A value that belongs to the process that made it. In another process it is neither used nor dropped: dropping could wait for a
/// lock that a thread of the parent held during the fork.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    process: ProcessId,
    value: Option<T>,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { process: ProcessId::current(), value: Some(value) }
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// `forked` in another process.
    pub(crate) fn get(&self) -> Result<&T, Error> {
        self.value.as_ref().filter(|_| self.process == ProcessId::current()).ok_or_else(Error::forked)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != ProcessId::current() {
            mem::forget(self.value.take());
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use nix::sys::signal::{SIGPIPE, SigSet};

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test")]
    fn threads_of_the_runtime_do_not_end_the_process_over_a_closed_connection() {
        let blocked = || SigSet::thread_get_mask().unwrap().contains(SIGPIPE);
        let work = async move { Ok((blocked(), tokio::task::spawn_blocking(blocked).await.unwrap())) };
        let outcome = crate::wait(work, std::time::Duration::from_secs(60), || Err("it takes too long"));
        assert_eq!(outcome.unwrap().unwrap(), (true, true));
        assert!(!blocked(), "the threads of the host are not changed");
    }
}
