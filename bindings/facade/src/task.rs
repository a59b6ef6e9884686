//! Work: completion by callback on a thread of the client, and blocking calls that can be interrupted.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::futures::TaskLocalFuture;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::sleep;

use crate::drive::Driver;
use crate::error::Error;
use crate::process::{Owned, Process};
use crate::upload::Upload;

/// Ends work that [`start`] or [`Started`] began, or a [`Call`]. Dropping it ends nothing.
#[derive(Debug)]
pub struct Cancel(Owned<Ends>);

#[derive(Debug)]
enum Ends {
    Task(AbortHandle),
    Call(Arc<Notify>),
}

impl Cancel {
    /// Ends the work: its connections are closed or freed, and its completion is called with `cancelled` unless it has completed.
    /// The peer may have received a request that is cancelled. Does nothing in a forked child.
    pub fn cancel(&self) {
        match self.0.get() {
            Ok(Ends::Task(task)) => task.abort(),
            // It is kept until the call looks.
            Ok(Ends::Call(call)) => call.notify_one(),
            Err(_) => {}
        }
    }
}

/// Starts work on the threads of the client. `done` is called exactly once, on one of them: with the outcome, with
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
    let process = Process::current();
    let (runtime, demand) = (process.runtime()?, process.demand()?);
    let task = task(work, done);
    let task = runtime.spawn(async move {
        let _demand = demand;
        task.await;
    });
    Ok(Cancel(Owned::new(Ends::Task(task.abort_handle()))))
}

fn task<T>(
    work: impl Future<Output = Result<T, Error>>,
    done: impl FnOnce(Result<T, Error>),
) -> impl Future<Output = ()> {
    let sent = Arc::new(AtomicBool::new(false));
    let completion = Completion { done: Some(done), sent: Arc::clone(&sent), outcome: PhantomData };
    SENT.scope(sent, Task { work, completion }.run())
}

/// Work that may be cancelled before it is polled. Then the work is dropped first, as its fields are in their order: it may be about
/// a request that was sent, which the completion reports.
struct Task<W, T, F: FnOnce(Result<T, Error>)> {
    work: W,
    completion: Completion<T, F>,
}

impl<T, W: Future<Output = Result<T, Error>>, F: FnOnce(Result<T, Error>)> Task<W, T, F> {
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
    let mut call = match Call::new(work) {
        Ok(call) => call,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match call.until(async { sleep(interval).await }) {
            Ok(Step::Ended(outcome)) => return Ok(outcome),
            // Not within the runtime: it may run code of the host that makes a call.
            Ok(Step::Event(())) => {
                if let Err(stopped) = proceed() {
                    call.give_up();
                    return Err(stopped);
                }
            }
            Err(error) => return Ok(Err(error)),
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
    // A task of its own: a source may block for long, and what the request has to do in that time, such as to end at its limit, is done.
    let mut work = match Started::new(work) {
        Ok(work) => work,
        Err(error) => return Ok(Err(error)),
    };
    // Until the request takes no more: its outcome then says why.
    let mut takes_more = true;
    let mut asked = Instant::now();
    loop {
        // By the time that has passed: a source that always has a piece leaves no interval without an event.
        if asked.elapsed() >= interval {
            asked = Instant::now();
            if let Err(stopped) = proceed() {
                work.cancel.cancel();
                return Err(stopped);
            }
        }
        let ready = async {
            if !takes_more {
                return pending().await;
            }
            upload.ready().await
        };
        let left = interval.saturating_sub(asked.elapsed());
        let event = async {
            tokio::select! {
                biased;
                wants = ready => Some(wants),
                () = sleep(left) => None,
            }
        };
        match work.until(event) {
            Ok(Step::Ended(outcome)) => return Ok(outcome),
            Ok(Step::Event(Some(Ok(true)))) => match source() {
                Ok(piece) => takes_more = upload.put(piece),
                Err(stopped) => {
                    upload.fail("its source failed");
                    work.cancel.cancel();
                    return Err(stopped);
                }
            },
            Ok(Step::Event(Some(_))) => takes_more = false,
            Ok(Step::Event(None)) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Work that notes whether it sends a request.
type BoxedWork<W> = Pin<Box<TaskLocalFuture<Arc<AtomicBool>, W>>>;

/// Work that the thread which waits for it runs to its end.
pub struct Call<W> {
    /// `None` once it has ended. It is boxed so that it can be left alone in a forked child.
    work: Owned<Option<BoxedWork<W>>>,
    sent: Arc<AtomicBool>,
    cancel: Arc<Notify>,
    driver: &'static Driver,
}

/// What a call waited for.
enum Step<T, V> {
    /// The work has ended.
    Ended(Result<T, Error>),
    /// Something else has happened; the work goes on with the next step.
    Event(V),
}

impl<T, W: Future<Output = Result<T, Error>>> Call<W> {
    /// Prepares work, which begins when it is waited for.
    ///
    /// # Errors
    ///
    /// `internal` if there is no runtime.
    pub fn new(work: W) -> Result<Self, Error> {
        let driver = Process::current().driver()?;
        let sent = Arc::new(AtomicBool::new(false));
        let work = Owned::new(Some(Box::pin(SENT.scope(Arc::clone(&sent), work))));
        Ok(Self { work, sent, cancel: Arc::default(), driver })
    }

    /// Returns what ends the work from another thread.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        Cancel(Owned::new(Ends::Call(Arc::clone(&self.cancel))))
    }

    /// Runs the work to its end, and blocks this thread.
    ///
    /// # Errors
    ///
    /// That of the work, `cancelled`, or `internal` if there are no threads.
    pub fn wait(mut self) -> Result<T, Error> {
        match self.until(pending::<Infallible>())? {
            Step::Ended(outcome) => outcome,
            Step::Event(never) => match never {},
        }
    }

    /// Runs the work until it has ended or something else has happened, and blocks this thread.
    fn until<V>(&mut self, event: impl Future<Output = V>) -> Result<Step<T, V>, Error> {
        let Self { work: place, sent, cancel, driver } = self;
        // Code of the host may have forked this process between two steps.
        let place = place.get_mut()?;
        let step = async {
            let Some(work) = place.as_mut() else { return Step::Ended(Err(Error::closed("call"))) };
            let ended = tokio::select! {
                biased;
                () = cancel.notified() => None,
                outcome = caught(work.as_mut()) => Some(outcome),
                value = event => return Step::Event(value),
            };
            // Dropped before the flag is read: it may be about a request that was sent.
            drop(place.take());
            Step::Ended(match ended {
                Some(outcome) => outcome,
                None => {
                    // What it leaves to the tasks of connections is done now, such as the reset of its stream.
                    yield_now().await;
                    Err(cancelled(sent))
                }
            })
        };
        driver.block_on(step)
    }

    /// Ends the work without an outcome. Does nothing in a forked child.
    fn give_up(mut self) {
        let Ok(place) = self.work.get_mut() else { return };
        let drop_work = async {
            drop(place.take());
            yield_now().await;
        };
        // Where it cannot be dropped within the runtime, it is dropped with the call.
        drop(self.driver.block_on(drop_work));
    }
}

/// Where the outcome of a task comes.
type Outcome<T> = oneshot::Receiver<Result<T, Error>>;

/// Work that goes on without being waited for.
pub struct Started<T> {
    outcome: Owned<Mutex<Option<Outcome<T>>>>,
    cancel: Arc<Cancel>,
    driver: &'static Driver,
}

impl<T: Send + 'static> Started<T> {
    /// Starts work.
    ///
    /// # Errors
    ///
    /// `internal` if there are no threads to run it on.
    pub fn new(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<Self, Error> {
        let driver = Process::current().driver()?;
        let (sender, outcome) = oneshot::channel();
        // The receiver may be gone: the outcome is then of no interest.
        let task = driver.spawn(task(work, move |outcome| drop(sender.send(outcome))))?;
        let cancel = Arc::new(Cancel(Owned::new(Ends::Task(task))));
        Ok(Self { outcome: Owned::new(Mutex::new(Some(outcome))), cancel, driver })
    }

    /// Returns what ends the work.
    #[must_use]
    pub fn cancel(&self) -> &Arc<Cancel> {
        &self.cancel
    }

    /// Blocks until the work has ended. Its outcome can be had once.
    ///
    /// # Errors
    ///
    /// That of the work, `cancelled`, `closed` at a second time, `misconfigured` while another thread waits, or `forked` in another
    /// process.
    pub fn wait(&self) -> Result<T, Error> {
        // Held while this thread waits: threads may share an exchange, and one of them has the outcome.
        let mut outcome = match self.outcome.get()?.try_lock() {
            Ok(outcome) => outcome,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::argument("exchange: expected one thread to wait, found a second one"));
            }
        };
        let outcome = outcome.take().ok_or_else(|| Error::closed("exchange"))?;
        self.driver.block_on(outcome)?.unwrap_or_else(|_| Err(Error::closed("exchange")))
    }

    /// Waits until the work has ended or something else has happened, and blocks this thread.
    fn until<V>(&mut self, event: impl Future<Output = V>) -> Result<Step<T, V>, Error> {
        // Code of the host may have forked this process between two steps.
        let place = self.outcome.get_mut()?.get_mut().unwrap_or_else(PoisonError::into_inner);
        let outcome = place.as_mut().ok_or_else(|| Error::closed("call"))?;
        self.driver.block_on(async {
            tokio::select! {
                biased;
                ended = outcome => Step::Ended(ended.unwrap_or_else(|_| Err(Error::closed("call")))),
                value = event => Step::Event(value),
            }
        })
    }
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
            done(Err(cancelled(&self.sent)));
        }
    }
}

/// What is reported of work that was dropped before it had an outcome.
fn cancelled(sent: &AtomicBool) -> Error {
    if sent.load(Ordering::SeqCst) { Error::cancelled() } else { Error::cancelled_unsent() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc::channel;
    use std::task::Poll;

    use http_body::Body as _;

    use super::*;

    /// What is reported of work that is dropped before it was polled.
    fn unpolled(work: impl Future<Output = Result<(), Error>>) -> bool {
        let (sender, outcomes) = channel();
        drop(task(work, move |outcome| sender.send(outcome).unwrap()));
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

    #[test]
    fn a_second_thread_that_waits_is_refused_and_takes_nothing() {
        let started = Started::<()>::new(pending()).unwrap();
        // What a thread that waits holds.
        let waiting = started.outcome.get().unwrap().lock().unwrap();
        let error = started.wait().unwrap_err();
        assert_eq!(error.code, "misconfigured");
        assert!(error.message.contains("expected one thread to wait, found a second one"), "{error}");
        drop(waiting);
        started.cancel().cancel();
        assert_eq!(started.wait().unwrap_err().code, "cancelled");
    }

    #[test]
    fn work_goes_on_while_the_source_of_its_body_blocks() {
        const LONG: Duration = Duration::from_secs(60);
        let upload = Upload::new(None);
        let mut body = upload.body().unwrap();
        let (asks, asked) = oneshot::channel();
        let (ends, ended) = channel();
        let work = async move {
            // The request takes more, and a source is asked for it.
            poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_pending())).await;
            asked.await.unwrap();
            yield_now().await;
            ends.send(()).unwrap();
            Ok(())
        };
        let mut asks = Some(asks);
        let source = || {
            asks.take().unwrap().send(()).unwrap();
            ended.recv_timeout(LONG).map(|()| None)
        };
        wait_writing(work, &upload, LONG, source, || Ok(())).unwrap().unwrap();
    }
}
