//! The frame of every call: panics become errors, errors become numbers, and work is waited for.

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, TryLockError};

use blindbox_facade::{self as facade, Error};

use crate::cancel::{Registration, bb_cancel};
use crate::error::bb_error;

/// Runs the body of a function, and reports how it ended: 0, or the number of the error, whose details go to `error`.
pub(crate) fn call(error: Option<&mut MaybeUninit<*mut bb_error>>, body: impl FnOnce() -> Result<(), Error>) -> u32 {
    let panicked = |_| Err(Error::internal("it panicked; please report what standard error says"));
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(panicked) {
        Ok(()) => 0,
        Err(failure) => {
            let number = failure.number.into();
            if let Some(error) = error {
                error.write(Box::into_raw(Box::new(failure.into())));
            }
            number
        }
    }
}

/// Runs a body that cannot fail, such as that of a function that frees: a panic ends it.
pub(crate) fn quiet(body: impl FnOnce()) {
    // The panic was reported on standard error, and there is no way to report it here.
    drop(catch_unwind(AssertUnwindSafe(body)));
}

/// Work on the runtime.
pub(crate) struct Running<T> {
    /// Locked by the thread that waits: threads may share an exchange, and a channel has one receiver.
    outcome: Mutex<Receiver<Result<T, Error>>>,
    task: Arc<facade::Cancel>,
    process: u32,
    _registration: Option<Registration>,
}

impl<T: Send + 'static> Running<T> {
    /// Starts work, which ends when `cancel` is triggered.
    pub(crate) fn start(
        cancel: Option<&bb_cancel>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Self, Error> {
        cancel.map(bb_cancel::check).transpose()?;
        let (sender, outcome) = sync_channel(1);
        // The receiver may be gone: the outcome is then of no interest.
        let task = Arc::new(facade::start(work, move |outcome| drop(sender.try_send(outcome)))?);
        let registration = cancel.map(|cancel| cancel.register(&task));
        Ok(Self { outcome: Mutex::new(outcome), task, process: process::id(), _registration: registration })
    }

    /// Blocks until the work has ended.
    pub(crate) fn wait(&self) -> Result<T, Error> {
        // The threads that would end it do not exist in a forked child.
        if self.process != process::id() {
            return Err(Error::forked());
        }
        let outcome = match self.outcome.try_lock() {
            Ok(outcome) => outcome,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::argument("exchange: expected one thread to wait, found a second one"));
            }
        };
        outcome.recv().unwrap_or_else(|_| Err(Error::closed("exchange")))
    }

    /// Ends the work.
    pub(crate) fn stop(&self) {
        self.task.cancel();
    }
}

/// Runs work, and blocks until it has ended or `cancel` is triggered.
pub(crate) fn wait<T: Send + 'static>(
    cancel: Option<&bb_cancel>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    Running::start(cancel, work)?.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic, reason = "the test is about it")]
    fn a_panic_is_an_error_and_does_not_cross() {
        let mut error = MaybeUninit::uninit();
        assert_eq!(call(Some(&mut error), || panic!("a secret")), 902);
        // SAFETY: a number that is not 0 says that the error was written.
        let error = unsafe { error.assume_init() };
        // SAFETY: `call` makes errors with `Box::into_raw`.
        let error = unsafe { Box::from_raw(error) };
        assert_eq!(crate::error::bb_error_number(Some(&error)), 902);
        assert_eq!(call(None, || panic!("a secret")), 902);
        quiet(|| panic!("a secret"));
    }

    #[test]
    fn work_of_a_triggered_handle_does_not_start() {
        let cancel = bb_cancel::default();
        cancel.trigger();
        let error = wait(Some(&cancel), async { Ok(()) }).unwrap_err();
        assert_eq!((error.code, error.request_sent), ("cancelled", false));
    }

    #[test]
    fn a_handle_ends_the_work_that_it_was_given_to() {
        let cancel = bb_cancel::default();
        let running = Running::<()>::start(Some(&cancel), std::future::pending()).unwrap();
        cancel.trigger();
        let error = running.wait().unwrap_err();
        assert_eq!((error.code, error.request_sent), ("cancelled", false));
        assert_eq!(running.wait().unwrap_err().code, "closed");
    }

    #[test]
    fn a_second_thread_that_waits_is_refused_and_takes_nothing() {
        let cancel = bb_cancel::default();
        let running = Running::<()>::start(Some(&cancel), std::future::pending()).unwrap();
        // What a thread that waits holds.
        let waiting = running.outcome.lock().unwrap();
        let error = running.wait().unwrap_err();
        assert_eq!(error.code, "misconfigured");
        assert!(error.message.contains("expected one thread to wait, found a second one"), "{error}");
        drop(waiting);
        cancel.trigger();
        assert_eq!(running.wait().unwrap_err().code, "cancelled");
    }
}
