//! An application at an address: requests go there over HTTP/1.1, bodies in both directions as they come.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::{Responding, Serve};
use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::request::IncomingBody;
use crate::error::BoxError;

/// How long the application may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Headers of one connection (RFC 9110 section 7.6.1). `Trailer` is not one, and trailers are sent only where it names them.
const HOP_BY_HOP: [HeaderName; 5] =
    [header::CONNECTION, header::PROXY_AUTHORIZATION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// A server that speaks HTTP/1.1 without TLS.
pub(super) struct Upstream {
    url: String,
    host: String,
    port: u16,
    /// Before the path of a request, without a slash at its end.
    base: String,
}

impl Upstream {
    pub(super) fn new(url: &str) -> io::Result<Self> {
        let expected = |what: &str| {
            let expected = "expected the application as a URL such as http://127.0.0.1:8000";
            io::Error::new(io::ErrorKind::InvalidInput, format!("{expected}: {what}"))
        };
        let parsed = Url::parse(url).map_err(|error| expected(&error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(expected("only http: TLS ends at the emulator"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(expected("without a user name: clients send credentials in headers"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(expected("without a query and a fragment"));
        }
        let host = match parsed.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(expected("with a host")),
        };
        let base = parsed.path().trim_end_matches('/').to_owned();
        Ok(Self { url: url.to_owned(), host, port: parsed.port_or_known_default().unwrap_or(80), base })
    }

    async fn send(&self, request: Request<IncomingBody>) -> Result<Response<ResponseBody>, BoxError> {
        let request = self.request(request)?;
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("no connection to {}: {error}", self.url).into()),
            Err(_) => return Err(format!("no connection to {} within {CONNECT_TIME:?}", self.url).into()),
        };
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = Driver(Some(Box::pin(connection)));
        let response = {
            let mut sending = pin!(sender.send_request(request));
            poll_fn(|cx| {
                connection.drive(cx);
                sending.as_mut().poll(cx)
            })
            .await
        };
        let response = response.map_err(|error| format!("{}: {error}", self.url))?;
        let (head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("{} switched to another protocol, which no request asked for", self.url).into());
        }
        // Not the version and the reason phrase: those are of the other connection.
        let mut passed = Response::new(ResponseBody::passed(Streamed { incoming, connection }));
        *passed.status_mut() = head.status;
        *passed.headers_mut() = end_to_end(head.headers);
        Ok(passed)
    }

    /// The request as the application gets it.
    fn request(&self, request: Request<IncomingBody>) -> Result<Request<IncomingBody>, BoxError> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let takes_trailers = head.headers.get(header::TE).is_some_and(|value| value == "trailers");
        let mut headers = end_to_end(head.headers);
        // The server has sent "100 Continue" when it reads the body.
        headers.remove(header::EXPECT);
        if let (None, Some(authority)) = (headers.get(header::HOST), head.uri.authority()) {
            headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
        }
        if takes_trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
        }
        let mut sent = Request::new(body);
        *sent.method_mut() = head.method;
        *sent.uri_mut() = format!("{}{target}", self.base).parse::<Uri>()?;
        *sent.version_mut() = Version::HTTP_11;
        *sent.headers_mut() = headers;
        Ok(sent)
    }
}

impl Serve for Upstream {
    fn serve(&self, request: Request<IncomingBody>) -> Responding<'_> {
        Box::pin(self.send(request))
    }
}

/// The headers that are not about one connection.
fn end_to_end(headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut kept = headers;
    for name in HOP_BY_HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept.remove("keep-alive");
    kept.remove("proxy-connection");
    kept
}

/// A connection, which makes progress only when it is polled: no task outlives the response.
struct Driver(Option<Pin<Box<Wire>>>);

type Wire = Connection<TokioIo<TcpStream>, IncomingBody>;

impl Driver {
    fn drive(&mut self, cx: &mut Context<'_>) {
        // Why it ended is an error of the request or of the body as well.
        if self.0.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
            self.0 = None;
        }
    }
}

/// The body of a response, with the connection that it comes from.
struct Streamed {
    incoming: Incoming,
    connection: Driver,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.connection.drive(cx);
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
