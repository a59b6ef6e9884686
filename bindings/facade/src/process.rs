//! What exists once in each process, and objects that know which process made them.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::{io, mem, panic, process, thread};

use tokio::runtime::{Builder, Runtime};

use crate::drive::{Demand, Driver};
use crate::error::Error;
use crate::log::Queue;
use crate::signals::block_broken_pipe;

/// A process: its id, and how many forks were noted before. The id alone would repeat in a long chain of forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    id: u32,
    forks: u64,
}

static FORKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The process of this thread, as long as it is known.
    static KNOWN: Cell<Option<ProcessId>> = const { Cell::new(None) };
}

/// Notes that this process is a fork of another. Optional: objects also compare process ids. Call it in the child, for example
/// from `os.register_at_fork` or `pthread_atfork`; it takes no lock.
pub fn note_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    KNOWN.set(None);
}

/// Runs code that does not call the host, which could fork: the system is asked once in which process it runs, and not for each object.
pub fn within_process<T>(body: impl FnOnce() -> T) -> T {
    /// What was known before.
    struct Before(Option<ProcessId>);

    impl Drop for Before {
        fn drop(&mut self) {
            // After a fork nothing is known any more, on any level.
            KNOWN.set(KNOWN.get().and(self.0));
        }
    }

    let _before = Before(KNOWN.replace(Some(ProcessId::current())));
    body()
}

impl ProcessId {
    pub(crate) fn current() -> Self {
        KNOWN.get().unwrap_or_else(|| Self { id: process::id(), forks: FORKS.load(Ordering::SeqCst) })
    }
}

/// What exists once in each process.
pub(crate) struct Process {
    id: ProcessId,
    runtime: OnceLock<Runtime>,
    driver: OnceLock<Driver>,
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
    pub(crate) fn current() -> &'static Self {
        let id = ProcessId::current();
        let mut place = &FIRST;
        let mut made: Option<Box<Self>> = None;
        loop {
            if let Some(process) = place.get() {
                if process.id == id {
                    return process;
                }
                place = &process.next;
                continue;
            }
            let own = made.take().unwrap_or_else(|| {
                let (runtime, driver, next) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
                Box::new(Self { id, runtime, driver, events: Queue::default(), next })
            });
            // Another thread may be faster.
            made = place.set(own).err();
        }
    }

    /// The runtime of work whose completion is called back, on threads of its own.
    pub(crate) fn runtime(&'static self) -> Result<&'static Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        if let Err(own) = self.runtime.set(runtime()?) {
            // Another thread was faster.
            own.shutdown_background();
        }
        self.runtime.get().ok_or_else(|| Error::internal("there is no runtime"))
    }

    /// The runtime of blocking calls, which those who call drive.
    pub(crate) fn driver(&'static self) -> Result<&'static Driver, Error> {
        if let Some(driver) = self.driver.get() {
            return Ok(driver);
        }
        // It has no thread before it is used.
        if let Err(own) = self.driver.set(Driver::new()?) {
            // Another thread was faster.
            own.discard();
        }
        self.driver.get().ok_or_else(|| Error::internal("there is no runtime"))
    }

    /// Has the runtime of blocking calls driven as long as the demand exists, if there is one. Sessions that a blocking call has opened
    /// have their connections there.
    pub(crate) fn demand(&'static self) -> Result<Option<Demand>, Error> {
        self.driver.get().map(Driver::demand).transpose()
    }
}

/// The runtime of work whose completion is called back.
fn runtime() -> Result<Runtime, Error> {
    // The other half is for the threads of the host. A second worker on two processors wakes for nothing at each request: that
    // costs a request 10 us, and much more on a machine that is busy.
    let workers = (thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 4);
    let mut builder = Builder::new_multi_thread();
    configure(&mut builder);
    built(|| builder.worker_threads(workers).build())
}

/// Sets what is the same for all runtimes.
pub(crate) fn configure(builder: &mut Builder) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    builder
        // For the resolution of names only.
        .max_blocking_threads(8)
        .thread_name_fn(|| format!("blindbox-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(own_thread)
        .enable_all();
}

/// Prepares a thread of the client.
pub(crate) fn own_thread() {
    block_broken_pipe();
    crate::log::subscribe_thread();
}

pub(crate) fn built(build: impl FnOnce() -> io::Result<Runtime>) -> Result<Runtime, Error> {
    // Tokio panics where no thread can be started.
    match panic::catch_unwind(AssertUnwindSafe(build)) {
        Ok(built) => built.map_err(no_threads),
        Err(_) => Err(Error::internal("the threads of the client cannot be started")),
    }
}

pub(crate) fn no_threads(error: io::Error) -> Error {
    Error::internal(format!("the threads of the client cannot be started: {error}"))
}

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

    /// As [`Owned::get`].
    pub(crate) fn get_mut(&mut self) -> Result<&mut T, Error> {
        self.value.as_mut().filter(|_| self.process == ProcessId::current()).ok_or_else(Error::forked)
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
