//! [`Response`]: the head, and the body as it is pulled.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, Notify};

use crate::error::Error;
use crate::process::Owned;

/// The largest announced body that is read together with the head, in bytes.
const EARLY_BYTES: u64 = 64 << 10;

/// How long the head waits for such a body: a peer that announces a body and stalls must not hold back the head.
const EARLY_WAIT: Duration = Duration::from_millis(1);

/// How much of what is ready is gathered in one chunk, in bytes. Each chunk costs a crossing of threads, which is dearer than a
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
    closed: AtomicBool,
    close: Notify,
}

impl Response {
    pub(crate) async fn new(mut response: blindbox_attestation::Response) -> Self {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        let version = match response.version() {
            blindbox_attestation::Version::HTTP_2 => "HTTP/2",
            blindbox_attestation::Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let (status, url) = (response.status().as_u16(), response.url().to_owned());
        let early = early(&mut response).await;
        let body = Body { rest: Mutex::new(Some(response)), closed: AtomicBool::new(false), close: Notify::new() };
        Self { status, version, url, headers, early, body: Arc::new(Owned::new(body)) }
    }

    /// Returns the beginning of the body, which [`Response::chunk`] does not return again.
    #[must_use]
    pub fn early(&self) -> Early {
        self.early.clone()
    }

    /// Pulls the next bytes of the body behind [`Response::early`], at least one; `None` at its end. Calls are served one after another. A body
    /// that broke off is an error on every call, and never an end. A call that is given up may have pulled a chunk already, which is
    /// then lost: call [`Response::close`], so that the rest cannot be taken for the whole.
    pub fn chunk(&self) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send + use<> {
        let body = Arc::clone(&self.body);
        async move { body.get()?.chunk().await }
    }

    /// Gives up the rest of the body; its stream or connection is freed. Further pulls return `closed`. In another process it does
    /// nothing.
    pub fn close(&self) {
        let Ok(body) = self.body.get() else { return };
        body.closed.store(true, Ordering::SeqCst);
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

/// Waits for the next bytes, and gathers what else is ready.
async fn pull(response: &mut blindbox_attestation::Response) -> Result<Option<Bytes>, Error> {
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
async fn nonempty(response: &mut blindbox_attestation::Response) -> Result<Option<Bytes>, Error> {
    loop {
        match response.chunk().await? {
            Some(bytes) if bytes.is_empty() => {}
            next => return Ok(next),
        }
    }
}

/// The next bytes, if they are there already and there is room. A failure or the end is left for the next pull: the core repeats
/// both.
async fn ready(response: &mut blindbox_attestation::Response, gathered: usize) -> Option<Bytes> {
    if gathered >= CHUNK_BYTES {
        return None;
    }
    let mut next = pin!(response.chunk());
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
