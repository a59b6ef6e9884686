//! Requests as servers of the emulator take them: with a body that still arrives, or whole.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response};

use super::body::ResponseBody;
use super::traffic::Traffic;
use crate::agent::RequestContent;
use crate::types::{SpkiDigest, TlsExporter};

/// A request that is read whole and has a larger body is cut off.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// A request whose head has arrived.
pub(crate) struct Arrival {
    pub(crate) request: Request<IncomingBody>,
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
    Response(Response<ResponseBody>),
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
                Ok(call) => handle(call).await,
                Err(reply) => reply,
            }
        })
    })
}

impl Arrival {
    /// Reads the body. `Err` for one that is larger than 32 MiB, or is cut: then only its own stream ends, and not what else the
    /// connection carries.
    pub(crate) async fn whole(self) -> Result<Call, Reply> {
        let (parts, mut incoming) = self.request.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Reply::Reset(h2::Reason::CANCEL))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > BODY_LIMIT {
                return Err(Reply::Close);
            }
            body.extend_from_slice(&data);
        }
        Ok(Call {
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
pub struct IncomingBody {
    source: Source,
    recorder: Recorder,
}

enum Source {
    Plain(Incoming),
    /// The content of a sealed message, from the body of the request that carries it.
    Sealed(Box<RequestContent<IncomingBody>>),
}

/// Records one request.
#[derive(Clone)]
pub(crate) struct Recorder {
    traffic: Traffic,
    /// The number of the request in the record.
    number: u64,
}

impl Recorder {
    /// Records the request inside of a sealed message.
    pub(crate) fn sealed(&self, inner: &hyper::http::request::Parts) -> Self {
        Self { traffic: self.traffic.clone(), number: self.traffic.sealed(self.number, inner) }
    }
}

impl IncomingBody {
    pub(crate) fn new(incoming: Incoming, traffic: Traffic, number: u64) -> Self {
        Self { source: Source::Plain(incoming), recorder: Recorder { traffic, number } }
    }

    pub(crate) fn sealed(content: RequestContent<Self>, recorder: Recorder) -> Self {
        Self { source: Source::Sealed(Box::new(content)), recorder }
    }

    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = match &mut self.source {
            Source::Plain(incoming) => Pin::new(incoming).poll_frame(cx).map_err(io::Error::other),
            Source::Sealed(content) => Pin::new(content.as_mut()).poll_frame(cx).map_err(io::Error::other),
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.recorder.traffic.body(self.recorder.number, data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Plain(incoming) => incoming.is_end_stream(),
            Source::Sealed(content) => content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Plain(incoming) => incoming.size_hint(),
            Source::Sealed(content) => content.size_hint(),
        }
    }
}

impl std::fmt::Debug for IncomingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingBody").finish_non_exhaustive()
    }
}
