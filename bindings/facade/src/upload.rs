//! [`Upload`]: a request body that the host writes while it is sent, in bounded memory.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::error::Error;
use crate::process::Owned;

/// How much is held for the connection, in bytes. One more piece is taken while it holds less.
const BUFFER_BYTES: usize = 256 << 10;

/// A request body that the host writes while it is sent: give a clone to [`crate::Request::body`], and write to this one.
///
/// Nothing is asked of the host before the request has a connection to an attested peer. The host stops when [`Upload::ready`] or
/// [`Upload::write`] returns `false`: the request has ended, and its own outcome says why. An upload is sent once.
///
/// When the last handle is dropped before [`Upload::finish`], the body has failed, and does not look as if it had ended.
#[derive(Clone)]
pub struct Upload(Arc<Owned<Host>>);

/// The end that the host writes to.
struct Host(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when [`State::wants`] may have changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    length: Option<u64>,
    written: u64,
    pieces: VecDeque<Bytes>,
    held: usize,
    stage: Stage,
    end: End,
    reader: Option<Waker>,
}

/// What the request does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No request was made of it.
    #[default]
    Unused,
    /// A request has it, and no connection yet.
    Waiting,
    Reading,
    Over,
}

/// Whether the host has ended the body, and how.
#[derive(Debug, Default)]
enum End {
    #[default]
    Open,
    Finished,
    Failed(String),
}

impl State {
    /// Whether the host may write, and `None` while that is not known.
    fn wants(&self) -> Option<bool> {
        match (self.stage, &self.end) {
            (Stage::Over, _) | (_, End::Finished | End::Failed(_)) => Some(false),
            (Stage::Reading, End::Open) if self.held < BUFFER_BYTES => Some(true),
            _ => None,
        }
    }

    fn push(&mut self, bytes: Bytes) {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(size);
        match self.length {
            Some(length) if self.written > length => {
                self.fail(format!("the source has more than the {length} bytes that were announced"));
            }
            _ if bytes.is_empty() => {}
            _ => {
                self.held = self.held.saturating_add(bytes.len());
                self.pieces.push_back(bytes);
            }
        }
    }

    fn finish(&mut self) {
        match self.length {
            _ if !matches!(self.end, End::Open) => {}
            Some(length) if self.written < length => {
                let written = self.written;
                self.fail(format!("the source ended after {written} of the {length} bytes that were announced"));
            }
            _ => self.end = End::Finished,
        }
    }

    fn fail(&mut self, reason: String) {
        if matches!(self.end, End::Open) {
            self.end = End::Failed(reason);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes both sides.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        self.changed.notify_waiters();
        outcome
    }

    /// Waits until it is known whether the host may write; where it may, and there is something, takes it.
    async fn wanted(&self, mut piece: Option<Bytes>) -> bool {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the state is read, so that no change in between goes unnoticed.
            changed.as_mut().enable();
            let wants = self.lock().wants();
            if let Some(wants) = wants {
                if let Some(bytes) = piece.take().filter(|_| wants) {
                    self.change(|state| state.push(bytes));
                }
                return wants;
            }
            changed.await;
        }
    }
}

impl Upload {
    /// Creates an upload. With a `length`, it is sent with `Content-Length`, and fails if it has more or fewer bytes.
    #[must_use]
    pub fn new(length: Option<u64>) -> Self {
        let state = Mutex::new(State { length, ..State::default() });
        Self(Arc::new(Owned::new(Host(Arc::new(Shared { state, ..Shared::default() })))))
    }

    fn shared(&self) -> Result<Arc<Shared>, Error> {
        Ok(Arc::clone(&self.0.get()?.0))
    }

    /// Waits until the request takes more. Returns `false` if it takes no more, now or ever.
    ///
    /// # Errors
    ///
    /// `forked` in another process.
    pub fn ready(&self) -> impl Future<Output = Result<bool, Error>> + Send + use<> {
        let shared = self.shared();
        async move { Ok(shared?.wanted(None).await) }
    }

    /// Waits until the request takes more, and gives it the next piece of the body. Returns `false` if it takes no more, now or
    /// ever; the piece is then dropped. At most 256 KiB and one piece are held.
    ///
    /// # Errors
    ///
    /// `forked` in another process.
    pub fn write(&self, piece: Bytes) -> impl Future<Output = Result<bool, Error>> + Send + use<> {
        let shared = self.shared();
        async move { Ok(shared?.wanted(Some(piece)).await) }
    }

    /// Takes a piece without waiting, or the end. Returns whether to ask again.
    pub(crate) fn put(&self, piece: Option<Bytes>) -> bool {
        let Ok(shared) = self.shared() else { return false };
        match piece {
            Some(bytes) => shared.change(|state| {
                if state.stage != Stage::Over {
                    state.push(bytes);
                }
            }),
            None => shared.change(State::finish),
        }
        !matches!(shared.lock().wants(), Some(false))
    }

    /// Ends the body: all of it was written. Does nothing in another process, or if the body has ended.
    pub fn finish(&self) {
        if let Ok(shared) = self.shared() {
            shared.change(State::finish);
        }
    }

    /// Ends the body because its source failed: the request fails with `request-body-failed`, and the peer sees that the body is
    /// not complete. Does nothing in another process, or if the body has ended.
    pub fn fail(&self, reason: &str) {
        if let Ok(shared) = self.shared() {
            shared.change(|state| state.fail(reason.to_owned()));
        }
    }

    /// The body for the one request that has it.
    pub(crate) fn body(&self) -> Result<UploadBody, Error> {
        let shared = self.shared()?;
        // One guard over the comparison and the change: another call may be taking the body.
        let mut state = shared.lock();
        if state.stage != Stage::Unused {
            return Err(crate::session::invalid_request("a body that is written while it is sent can be sent once"));
        }
        state.stage = Stage::Waiting;
        drop(state);
        Ok(UploadBody(shared))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.0.change(|state| state.fail("the source was given up before its end".to_owned()));
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// The end that the request reads from.
pub(crate) struct UploadBody(Arc<Shared>);

impl UploadBody {
    /// Ties the body to the future that sends it.
    pub(crate) fn sender(&self) -> UploadSender {
        UploadSender(Arc::clone(&self.0))
    }
}

/// Held by the future that sends the request, then by its response, whose peer may still read the rest of the body: when it is
/// dropped, by cancellation, an error or the closing of the response, the upload has ended. The body itself belongs to the
/// connection, which drops it at some later time, or never if the peer leaves it no window.
pub(crate) struct UploadSender(Arc<Shared>);

impl Drop for UploadSender {
    fn drop(&mut self) {
        self.0.change(|state| state.fail("the request has ended".to_owned()));
    }
}

impl fmt::Debug for UploadSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadSender")
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = SourceFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        let mut state = self.0.lock();
        let began = state.stage != Stage::Reading;
        state.stage = Stage::Reading;
        let piece = state.pieces.pop_front();
        let next = match (piece, &state.end) {
            // What was written before a failure is of no use: the request fails.
            (_, End::Failed(reason)) => Poll::Ready(Some(Err(SourceFailed(reason.clone())))),
            (Some(piece), _) => {
                state.held = state.held.saturating_sub(piece.len());
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            (None, End::Finished) => Poll::Ready(None),
            (None, End::Open) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        drop(state);
        if began || next.is_ready() {
            self.0.changed.notify_waiters();
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        matches!(state.end, End::Finished) && state.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.lock();
        let held = u64::try_from(state.held).unwrap_or(u64::MAX);
        match state.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(state.written).saturating_add(held)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.stage = Stage::Over;
            state.pieces.clear();
            state.held = 0;
        });
    }
}

/// Why the body cannot go on.
#[derive(Debug)]
pub(crate) struct SourceFailed(String);

impl fmt::Display for SourceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SourceFailed {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn poll(body: &mut UploadBody) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn written(write: Pin<&mut impl Future<Output = Result<bool, Error>>>) -> Poll<bool> {
        write.poll(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    }

    #[test]
    fn a_request_that_does_not_read_holds_the_host_back() {
        let upload = Upload::new(None);
        let mut body = upload.body().unwrap();
        assert!(poll(&mut body).is_pending());
        let piece = Bytes::from(vec![0; 100_000]);
        for _ in 0..3 {
            assert_eq!(written(pin!(upload.write(piece.clone()))), Poll::Ready(true));
        }
        // 256 KiB and one piece are held.
        let mut waiting = pin!(upload.write(piece.clone()));
        assert_eq!(written(waiting.as_mut()), Poll::Pending);
        assert!(poll(&mut body).is_ready());
        // There is room again for the piece that waited.
        assert_eq!(written(waiting), Poll::Ready(true));
        for _ in 0..3 {
            assert!(poll(&mut body).is_ready());
        }
        assert!(poll(&mut body).is_pending());
        let mut asked = pin!(upload.ready());
        assert_eq!(written(asked.as_mut()), Poll::Ready(true));
        drop(body);
        assert!(!upload.put(Some(piece)));
    }

    #[test]
    fn a_body_that_outlives_its_request_takes_no_more() {
        let upload = Upload::new(None);
        let mut body = upload.body().unwrap();
        let sender = body.sender();
        assert!(poll(&mut body).is_pending());
        assert!(upload.put(Some("half".into())));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        drop(sender);
        assert!(!upload.put(Some("half".into())));
        // Never an end: a peer would take it for all of the body.
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    }
}
