//! Requests as servers of the emulator take them: with a body that still arrives, or whole.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response};

use super::body::{Body, next_data};
use super::traffic::Traffic;
use crate::types::{SpkiDigest, TlsExporter};

/// A request that is read whole and has a larger body is cut off.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// A request whose head has arrived.
pub(crate) struct Arrival {
    pub(crate) request: Request<RequestBody>,
    /// The TLS of the connection; none in clear.
    pub(crate) tls: Option<ServerTls>,
}

/// What a server knows of one TLS connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerTls {
    /// The key that it proved.
    pub(crate) key: SpkiDigest,
    /// TLS 1.3 only.
    pub(crate) exporter: Option<TlsExporter>,
}

/// A request that has arrived in full.
pub(crate) struct Call {
    pub(crate) method: hyper::Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
    /// The TLS of the connection; none in clear.
    pub(crate) tls: Option<ServerTls>,
}

/// What a server does about a request.
pub(crate) enum Reply {
    Response(Response<Body>),
    /// Closes the connection without a response.
    Close,
    /// Writes these bytes past the HTTP library, and closes the connection.
    Raw(&'static [u8]),
    /// Resets the stream.
    Reset(h2::Reason),
}

/// What a server does about requests, from the moment their heads have arrived.
pub(crate) type Handler = Arc<dyn Fn(Arrival) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// A handler of requests that are read whole first.
pub(crate) fn of_whole_requests<F, R>(handle: F) -> Handler
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let handle = Arc::new(handle);
    Arc::new(move |arrival: Arrival| {
        let handle = Arc::clone(&handle);
        Box::pin(async move {
            match arrival.whole().await {
                Some(call) => handle(call).await,
                None => Reply::Close,
            }
        })
    })
}

impl Arrival {
    /// Reads the body; `None` if it is larger than 32 MiB.
    pub(crate) async fn whole(self) -> Option<Call> {
        let (parts, mut incoming) = self.request.into_parts();
        let mut body = Vec::new();
        while let Some(data) = next_data(&mut incoming).await {
            if body.len() + data.len() > BODY_LIMIT {
                return None;
            }
            body.extend_from_slice(&data);
        }
        Some(Call {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body: body.into(),
            tls: self.tls,
        })
    }
}

/// The body of a request to an [`Application`](crate::emulator::Application), as it arrives.
pub struct RequestBody {
    incoming: Incoming,
    traffic: Traffic,
    /// The number of the request in the record.
    number: u64,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, traffic: Traffic, number: u64) -> Self {
        Self { incoming, traffic, number }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.traffic.body(self.number, data);
        }
        polled.map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}
