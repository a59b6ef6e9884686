//! One connection: one request at a time over HTTP/1.1, many over HTTP/2.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::error::{Stage, TransportError, classify};
use super::http2_tasks::Http2Tasks;
use super::proxy::Proxy;
use crate::error::BoxError;
use crate::types::{SpkiDigest, TlsExporter};

/// The flow-control window of an HTTP/2 connection, for all its streams together. Each stream has a window of its own (2 MiB). If
/// the connection's window were only a few times that, a few responses that nothing reads would block all others.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// A stream of bytes, of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Takes over the stream of a connection whose peer has switched to another protocol.
pub(crate) async fn upgraded(response: &mut Response<Incoming>) -> Result<Box<dyn Io>, TransportError> {
    match hyper::upgrade::on(response).await {
        Ok(upgraded) => Ok(Box::new(TokioIo::new(upgraded))),
        Err(error) => Err(classify(&error, Stage::SENDING).caused_by(error)),
    }
}

/// An open connection. It is closed when its last handle is dropped and no exchange is under way.
pub(crate) struct Connection {
    sender: Sender,
    security: Security,
    /// The proxy that forwards requests in cleartext, if there is one.
    forward: Option<Proxy>,
    socket: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<OutgoingBody>),
    Http2(http2::SendRequest<OutgoingBody>),
}

/// What the TLS handshake has shown; nothing for a connection in cleartext.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Security {
    /// The key that the peer has proven to hold.
    pub(crate) key: Option<SpkiDigest>,
    /// The exporter of this connection, if its connector derives one; TLS 1.3 only.
    pub(crate) exporter: Option<TlsExporter>,
    /// The negotiated key exchange group, such as `X25519MLKEM768`.
    pub(crate) key_exchange: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Connection {
    /// Begins HTTP on a stream. A task in the current runtime drives the connection.
    pub(super) async fn start<S>(
        stream: S,
        protocol: Protocol,
        security: Security,
        forward: Option<Proxy>,
    ) -> Result<Self, BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        // Boxed: the handshakes contain the stream several times, and every future around them would.
        if protocol == Protocol::Http1 {
            let (sender, connection) = Box::pin(http1::handshake(io)).await?;
            // With upgrades, the task gives up the stream after a response with the status 101.
            let socket = tokio::spawn(connection.with_upgrades()).abort_handle();
            return Ok(Self { sender: Sender::Http1(sender), security, forward, socket });
        }
        let tasks = Http2Tasks::default();
        let mut builder = http2::Builder::new(tasks.clone());
        let handshake = builder.initial_connection_window_size(CONNECTION_WINDOW).handshake(io);
        let (sender, requests) = Box::pin(handshake).await?;
        let socket = tasks.drive(requests);
        Ok(Self { sender: Sender::Http2(sender), security, forward, socket })
    }

    pub(crate) fn security(&self) -> Security {
        self.security
    }

    /// Returns another handle of an HTTP/2 connection; `None` for HTTP/1.1, which has one exchange at a time.
    pub(crate) fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let (sender, socket) = (Sender::Http2(sender.clone()), self.socket.clone());
        Some(Self { sender, security: self.security, forward: self.forward.clone(), socket })
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready() && !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Whether no request can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Waits until a request can be sent; false if none can be any more. An HTTP/1.1 connection is ready again when its task has
    /// processed the end of the previous exchange.
    pub(crate) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Returns a handle that closes the socket at once. Data that the operating system has may still be sent.
    pub(crate) fn socket(&self) -> AbortHandle {
        self.socket.clone()
    }

    /// Sends a request with an absolute URL, and waits for the headers of the response.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, TransportError> {
        let outcome = match &mut self.sender {
            Sender::Http1(sender) => {
                address_http1(&mut request, self.forward.as_ref());
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        outcome.map_err(|error| {
            // The library returns a request only if it wrote nothing of it.
            if error.message().is_some() {
                return TransportError::not_sent();
            }
            let error = error.into_error();
            classify(&error, Stage::SENDING).caused_by(error)
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?})", self.security.key)
    }
}

/// Writes the path alone into the request line of HTTP/1.1, and host and port into `Host` (RFC 9112 section 3.2). A proxy that
/// forwards in cleartext gets the whole URL and its credentials.
fn address_http1(request: &mut Request<OutgoingBody>, forward: Option<&Proxy>) {
    // For these methods the HTTP library would leave out a body of unknown size, as if the caller had none.
    let (body, is_bodiless) = (request.body(), matches!(*request.method(), Method::GET | Method::HEAD));
    if is_bodiless
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !request.headers().contains_key(CONTENT_LENGTH)
    {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let uri = request.uri();
    let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    match forward {
        None => *request.uri_mut() = Uri::from(path),
        Some(Proxy { authorization: Some(value), .. }) => {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
        }
        Some(_) => {}
    }
}

/// The body of a request, of any kind.
pub(crate) struct OutgoingBody(Option<Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>>);

impl OutgoingBody {
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    pub(crate) fn new(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self(Some(Box::pin(body)))
    }

    /// Returns a body of bytes that is sent without further checks of the peer.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(Whole(Some(bytes.into())))
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| body.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}
