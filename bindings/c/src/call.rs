//! The frame of every call: panics become errors, errors become numbers, and work is waited for.

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use blindbox_facade::{Call, Error, Started, within_process};

use crate::cancel::{Registration, bb_cancel};
use crate::error::bb_error;

/// Runs the body of a function, and reports how it ended: 0, or the number of the error, whose details go to `error`. No function calls
/// the host.
pub(crate) fn call(error: Option<&mut MaybeUninit<*mut bb_error>>, body: impl FnOnce() -> Result<(), Error>) -> u32 {
    let outcome = catch_unwind(AssertUnwindSafe(|| within_process(body)));
    match outcome.unwrap_or_else(|panic| Err(Error::panicked(panic.as_ref()))) {
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
    drop(catch_unwind(AssertUnwindSafe(|| within_process(body))));
}

/// Work that was started.
pub(crate) struct Running<T> {
    work: Started<T>,
    _registration: Option<Registration>,
}

impl<T: Send + 'static> Running<T> {
    /// Starts work, which ends when `cancel` is triggered.
    pub(crate) fn start(
        cancel: Option<&bb_cancel>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Self, Error> {
        cancel.map(bb_cancel::check).transpose()?;
        let work = Started::new(work)?;
        let registration = cancel.map(|cancel| cancel.register(work.cancel()));
        Ok(Self { work, _registration: registration })
    }

    /// Blocks until the work has ended.
    pub(crate) fn wait(&self) -> Result<T, Error> {
        self.work.wait()
    }

    /// Ends the work.
    pub(crate) fn stop(&self) {
        self.work.cancel().cancel();
    }
}

/// Runs work, and blocks until it has ended or `cancel` is triggered.
pub(crate) fn wait<T: Send + 'static>(
    cancel: Option<&bb_cancel>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    cancel.map(bb_cancel::check).transpose()?;
    let call = Call::new(work)?;
    let ends = cancel.map(|cancel| {
        let ends = Arc::new(call.cancel());
        (cancel.register(&ends), ends)
    });
    let outcome = call.wait();
    drop(ends);
    outcome
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
        assert!(crate::error::bb_error_request_sent(Some(&error)));
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
}
