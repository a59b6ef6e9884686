//! Work on the runtime: completion by callback, and blocking calls that can be interrupted.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::process::{Owned, Process};
use crate::upload::Upload;

/// Ends work that [`start`] began. Dropping it ends nothing.
#[derive(Debug)]
pub struct Cancel(Owned<AbortHandle>);

impl Cancel {
    /// Ends the work: its connections are closed or freed, and its completion is called with `cancelled` unless it has completed.
    /// The peer may have received a request that is cancelled. Does nothing in a forked child.
    pub fn cancel(&self) {
        if let Ok(task) = self.0.get() {
            task.abort();
        }
    }
}

/// Starts work on the runtime of this process. `done` is called exactly once, on a thread of the runtime: with the outcome, with
/// `cancelled` after [`Cancel::cancel`], or with `internal` if the work panicked.
///
/// `done` must not block, and must not panic.
///
/// # Errors
///
/// `internal` if there are no threads to run it on; `done` is not called then.
pub fn start<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    done: impl FnOnce(Result<T, Error>) + Send + 'static,
) -> Result<Cancel, Error> {
    let sent = Arc::new(AtomicBool::new(false));
    let completion = Completion { done: Some(done), sent: Arc::clone(&sent), outcome: PhantomData };
    let task = Process::current()?.runtime.spawn(SENT.scope(sent, Started { work, completion }.run()));
    Ok(Cancel(Owned::new(task.abort_handle())))
}

/// Work that may be cancelled before it is polled. Then the work is dropped first, as its fields are in their order: it may be about
/// a request that was sent, which the completion reports.
struct Started<W, T, F: FnOnce(Result<T, Error>)> {
    work: W,
    completion: Completion<T, F>,
}

impl<T, W: Future<Output = Result<T, Error>>, F: FnOnce(Result<T, Error>)> Started<W, T, F> {
    async fn run(self) {
        let Self { work, completion } = self;
        let outcome = caught(work).await;
        completion.complete(outcome);
    }
}

tokio::task_local! {
    /// Whether the peer may have received the request that the work is about.
    static SENT: Arc<AtomicBool>;
}

/// Notes that the work of this task sends a request of the application from now on: its cancellation then says so.
pub(crate) fn sends_a_request() {
    // A future may also be polled elsewhere, where nothing is cancelled.
    let _ = SENT.try_with(|sent| sent.store(true, Ordering::SeqCst));
}

/// Is part of work about a request that was sent before: its cancellation says so, also one that comes before the first poll.
pub(crate) struct AboutSentRequest;

impl Drop for AboutSentRequest {
    fn drop(&mut self) {
        // The work of a task is dropped as part of it.
        sends_a_request();
    }
}

/// Runs work to its end, and blocks this thread. Each `interval` it asks `proceed`, on this thread, whether to go on: an
/// error ends the work and is returned.
///
/// # Errors
///
/// That of the work, or of `proceed` (as `Err(Err(_))`).
pub fn wait<T: Send + 'static, E>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    interval: Duration,
    mut proceed: impl FnMut() -> Result<(), E>,
) -> Result<Result<T, Error>, E> {
    let (sender, receiver) = sync_channel(1);
    let cancel = match start(work, move |outcome| drop(sender.try_send(outcome))) {
        Ok(cancel) => cancel,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match receiver.recv_timeout(interval) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = proceed() {
                    cancel.cancel();
                    return Err(error);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Err(Error::internal("the work ended without an outcome")));
            }
        }
    }
}

/// Runs work to its end as [`wait`] does, asking `proceed` each `interval`, and writes an upload from its source, on this thread.
///
/// `source` returns the next piece, or `None` at its end; it is called only when the request takes more. An error of it fails the
/// upload, ends the work, and is returned. The work may end before the source has: a peer may respond to half of a body. Call it
/// then again for the next work, such as a pull of the response's body.
///
/// # Errors
///
/// That of the work, or of `source` or `proceed` (as `Err(Err(_))`).
pub fn wait_writing<T: Send + 'static, E>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    upload: &Upload,
    interval: Duration,
    mut source: impl FnMut() -> Result<Option<Bytes>, E>,
    mut proceed: impl FnMut() -> Result<(), E>,
) -> Result<Result<T, Error>, E> {
    let (sender, receiver) = channel();
    let done = sender.clone();
    let work = match start(work, move |outcome| drop(done.send(Event::Done(outcome)))) {
        Ok(work) => work,
        Err(error) => return Ok(Err(error)),
    };
    let ask = || {
        let sender = sender.clone();
        start(upload.ready(), move |wants| drop(sender.send(Event::Asked(wants))))
    };
    let mut asking = match ask() {
        Ok(asking) => asking,
        Err(error) => return Ok(Err(error)),
    };
    let mut asked = Instant::now();
    let outcome = loop {
        // By the time that has passed: a source that always has a piece leaves no interval without an event.
        if asked.elapsed() >= interval {
            asked = Instant::now();
            if let Err(error) = proceed() {
                break Err(error);
            }
        }
        let stopped = match receiver.recv_timeout(interval.saturating_sub(asked.elapsed())) {
            Ok(Event::Done(outcome)) => break Ok(outcome),
            Ok(Event::Asked(Ok(true))) => match source() {
                Ok(piece) => {
                    if upload.put(piece) {
                        match ask() {
                            Ok(again) => asking = again,
                            Err(error) => break Ok(Err(error)),
                        }
                    }
                    None
                }
                Err(error) => {
                    upload.fail("its source failed");
                    Some(error)
                }
            },
            // The request takes no more: its outcome says why.
            Ok(Event::Asked(_)) => None,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                break Ok(Err(Error::internal("the work ended without an outcome")));
            }
        };
        if let Some(error) = stopped {
            break Err(error);
        }
    };
    if outcome.is_err() {
        work.cancel();
    }
    asking.cancel();
    outcome
}

enum Event<T> {
    Done(Result<T, Error>),
    Asked(Result<bool, Error>),
}

/// The outcome of work, or `internal` if it panics.
async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
    let polled = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => std::task::Poll::Ready(Err(Error::panicked(panic.as_ref()))),
    });
    polled.await
}

/// Calls its function once: with the outcome, or with `cancelled` when it is dropped before.
struct Completion<T, F: FnOnce(Result<T, Error>)> {
    done: Option<F>,
    sent: Arc<AtomicBool>,
    outcome: PhantomData<fn(T)>,
}

impl<T, F: FnOnce(Result<T, Error>)> Completion<T, F> {
    fn complete(mut self, outcome: Result<T, Error>) {
        if let Some(done) = self.done.take() {
            done(outcome);
        }
    }
}

impl<T, F: FnOnce(Result<T, Error>)> Drop for Completion<T, F> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            let sent = self.sent.load(Ordering::SeqCst);
            done(Err(if sent { Error::cancelled() } else { Error::cancelled_unsent() }));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What is reported of work that is dropped before it was polled.
    fn unpolled(work: impl Future<Output = Result<(), Error>>) -> bool {
        let sent = Arc::new(AtomicBool::new(false));
        let (sender, outcomes) = channel();
        let done = move |outcome| sender.send(outcome).unwrap();
        let completion = Completion { done: Some(done), sent: Arc::clone(&sent), outcome: PhantomData };
        drop(SENT.scope(sent, Started { work, completion }.run()));
        let error: Error = outcomes.recv().unwrap().unwrap_err();
        assert_eq!(error.code, "cancelled");
        error.request_sent
    }

    #[test]
    fn work_that_is_never_polled_reports_the_request_that_it_is_about() {
        assert!(!unpolled(std::future::pending()));
        assert!(!unpolled(async {
            sends_a_request();
            Ok(())
        }));
        let about = AboutSentRequest;
        assert!(unpolled(async move {
            let _about = about;
            Ok(())
        }));
    }
}
