//! [`Response`]: status and headers, and the body, which the host pulls in pieces.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as BlockingMutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, Notify};

use crate::error::Error;
use crate::process::Owned;
use crate::task::AboutSentRequest;
use crate::upload::UploadSender;

/// The largest announced body that is read together with the head, in bytes.
const EARLY_BYTES: u64 = 64 << 10;

/// How long the head waits for such a body: a peer that announces a body and stalls must not hold back the head.
const EARLY_WAIT: Duration = Duration::from_millis(1);

/// How much of what is ready is gathered in one chunk, in bytes. Each chunk costs a change of threads, which takes longer than a
/// copy.
const CHUNK_BYTES: usize = 256 << 10;

/// A response of the attested peer.
#[derive(Debug)]
pub struct Response {
    /// The status; those of errors and redirects are responses like any other.
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// The URL of the request, against which a relative `Location` is read.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    early: Early,
    body: Arc<Owned<Body>>,
}

/// The beginning of a body, which came with the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Early {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether they are the whole body, so that no chunk is left to pull.
    pub complete: bool,
}

#[derive(Debug)]
struct Body {
    /// None when it was closed.
    rest: Mutex<Option<blindbox_attestation::Response>>,
    /// The body of the request, which a peer may read on after it has begun to respond. It ends with this.
    upload: BlockingMutex<Option<UploadSender>>,
    closed: AtomicBool,
    close: Notify,
}

impl Response {
    pub(crate) async fn new(mut response: blindbox_attestation::Response, upload: Option<UploadSender>) -> Self {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        let version = match response.version() {
            blindbox_attestation::Version::HTTP_2 => "HTTP/2",
            blindbox_attestation::Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let (status, url) = (response.status().as_u16(), response.url().to_owned());
        let early = early(&mut response).await;
        let body = Body {
            rest: Mutex::new(Some(response)),
            upload: BlockingMutex::new(upload),
            closed: AtomicBool::new(false),
            close: Notify::new(),
        };
        Self { status, version, url, headers, early, body: Arc::new(Owned::new(body)) }
    }

    /// Returns the beginning of the body, which [`Response::chunk`] does not return again.
    #[must_use]
    pub fn early(&self) -> Early {
        self.early.clone()
    }

    /// Checks that this process received the response: the beginning of its body is not to be read in another one either.
    ///
    /// # Errors
    ///
    /// `forked` in another process.
    pub fn check_process(&self) -> Result<(), Error> {
        self.body.get().map(drop)
    }

    /// Pulls the next bytes of the body behind [`Response::early`], at least one; `None` at its end. Calls are served one after
    /// another. A body that broke off is an error on every call, and never an end. A call that is given up may have pulled a chunk
    /// already, which is then lost: call [`Response::close`], so that the rest cannot be taken for the whole.
    pub fn chunk(&self) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send + use<> {
        let body = Arc::clone(&self.body);
        let about = AboutSentRequest;
        async move {
            let _about = about;
            body.get()?.chunk().await
        }
    }

    /// Gives up the rest of the body, and that of the request if it is being written; their stream or connection is freed. Further
    /// pulls return `closed`. In another process it does nothing.
    pub fn close(&self) {
        let Ok(body) = self.body.get() else { return };
        body.closed.store(true, Ordering::SeqCst);
        drop(body.upload.lock().unwrap_or_else(PoisonError::into_inner).take());
        body.close.notify_waiters();
        // Where a pull holds it, that pull takes it out.
        if let Ok(mut rest) = body.rest.try_lock() {
            rest.take();
        }
    }
}

impl Body {
    async fn chunk(&self) -> Result<Option<Bytes>, Error> {
        let mut closed = pin!(self.close.notified());
        // Registered before the flag is read, so that no close in between goes unnoticed.
        closed.as_mut().enable();
        let pull = async {
            let mut rest = self.rest.lock().await;
            if self.closed.load(Ordering::SeqCst) {
                rest.take();
            }
            match rest.as_mut() {
                Some(response) => pull(response).await,
                None => Err(Error::closed("response")),
            }
        };
        let outcome = tokio::select! {
            biased;
            () = closed => Err(Error::closed("response")),
            outcome = pull => outcome,
        };
        if self.closed.load(Ordering::SeqCst)
            && let Ok(mut rest) = self.rest.try_lock()
        {
            rest.take();
        }
        outcome
    }
}

/// A body in chunks, which repeats a failure and its end.
trait Chunks {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
}

impl Chunks for blindbox_attestation::Response {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.chunk().await?)
    }
}

/// Waits for the next bytes, and gathers what else is ready.
async fn pull(response: &mut impl Chunks) -> Result<Option<Bytes>, Error> {
    let Some(first) = nonempty(response).await? else { return Ok(None) };
    let Some(second) = ready(response, first.len()).await else { return Ok(Some(first)) };
    let mut gathered = BytesMut::from(first);
    gathered.extend_from_slice(&second);
    while let Some(next) = ready(response, gathered.len()).await {
        gathered.extend_from_slice(&next);
    }
    Ok(Some(gathered.freeze()))
}

/// The next bytes: a frame of HTTP/2 may have none, and a host could take that for the end.
async fn nonempty(response: &mut impl Chunks) -> Result<Option<Bytes>, Error> {
    loop {
        match response.next().await? {
            Some(bytes) if bytes.is_empty() => {}
            next => return Ok(next),
        }
    }
}

/// The next bytes, if they are there already and there is room. A failure or the end is left for the next pull: the core repeats
/// both.
async fn ready(response: &mut impl Chunks, gathered: usize) -> Option<Bytes> {
    if gathered >= CHUNK_BYTES {
        return None;
    }
    let mut next = pin!(response.next());
    let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
    match polled {
        Poll::Ready(Ok(bytes)) => bytes,
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// Reads a small body of announced length, for a moment.
async fn early(response: &mut blindbox_attestation::Response) -> Early {
    let Some(length) = response.content_length() else { return Early::default() };
    if length > EARLY_BYTES {
        return Early::default();
    }
    let mut bytes = BytesMut::new();
    let mut complete = length == 0;
    let reading = async {
        while !complete {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => complete = true,
                // It is repeated for the next pull.
                Err(_) => return,
            }
            complete |= u64::try_from(bytes.len()).is_ok_and(|read| read >= length);
        }
    };
    // What was read before the time is up is kept.
    drop(tokio::time::timeout(EARLY_WAIT, reading).await);
    Early { bytes: bytes.freeze(), complete }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::VecDeque;
    use std::task::{Context, Waker};

    use super::*;

    /// What is ready, and whether the end follows it.
    struct Ready(VecDeque<Result<&'static [u8], Error>>, bool);

    impl Chunks for Ready {
        async fn next(&mut self) -> Result<Option<Bytes>, Error> {
            match self.0.front().cloned() {
                Some(Ok(bytes)) => {
                    self.0.pop_front();
                    Ok(Some(Bytes::from_static(bytes)))
                }
                Some(Err(error)) => Err(error),
                None if self.1 => Ok(None),
                None => std::future::pending().await,
            }
        }
    }

    fn pulled(from: &mut Ready) -> Poll<Result<Option<Bytes>, Error>> {
        pin!(pull(from)).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn chunk(bytes: impl Into<Bytes>) -> Poll<Result<Option<Bytes>, Error>> {
        Poll::Ready(Ok(Some(bytes.into())))
    }

    #[test]
    fn what_is_ready_is_gathered() {
        let mut body = Ready([Ok(&b""[..]), Ok(b"one "), Ok(b"two "), Ok(b""), Ok(b"three")].into(), false);
        assert_eq!(pulled(&mut body), chunk("one two three"));
        assert_eq!(pulled(&mut body), Poll::Pending);
        body.0.push_back(Ok(b"four"));
        body.1 = true;
        assert_eq!(pulled(&mut body), chunk("four"));
        assert_eq!(pulled(&mut body), Poll::Ready(Ok(None)));
    }

    #[test]
    fn what_is_gathered_has_a_limit() {
        let piece: &[u8] = &[7; 100 << 10];
        let mut body = Ready([Ok(piece), Ok(piece), Ok(piece), Ok(piece)].into(), true);
        assert_eq!(pulled(&mut body), chunk(vec![7; 300 << 10]));
        assert_eq!(pulled(&mut body), chunk(piece));
        assert_eq!(pulled(&mut body), Poll::Ready(Ok(None)));
    }

    #[test]
    fn a_failure_is_left_for_the_next_pull() {
        let failure = Error::internal("it broke off");
        let mut body = Ready([Ok(&b"half"[..]), Err(failure.clone())].into(), true);
        assert_eq!(pulled(&mut body), chunk("half"));
        assert_eq!(pulled(&mut body), Poll::Ready(Err(failure.clone())));
        assert_eq!(pulled(&mut body), Poll::Ready(Err(failure)));
    }
}
