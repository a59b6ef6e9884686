//! The HTTP client of the agent: one request over one connection of its own, to the application, the sidecar or MAA.
//!
//! Connections are not kept. So nothing that one request leaves behind can be read as a part of the next one's response.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::body::BoxError;
use crate::config::Application;
use crate::connection::BUFFER;

/// How long MAA or the sidecar may take for a response.
const DEADLINE: Duration = Duration::from_secs(15);

/// The most bytes of their responses: evidence with certificates has about 25 kB.
const MAX_ANSWER: usize = 256 * 1024;

/// Why there is no response to use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// None came, none in time, or one that says to try later.
    Away(String),
    /// One came, and no other is to be expected.
    Refused(String),
}

impl Failure {
    /// What an operator reads.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Away(reason) | Self::Refused(reason) => reason,
        }
    }
}

/// A byte stream to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) async fn to_application(application: &Application) -> io::Result<Box<dyn Stream>> {
    Ok(match application {
        Application::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Application::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Sends a request over HTTP/1.1.
pub(crate) async fn send<B>(stream: Box<dyn Stream>, request: Request<B>) -> Result<Response<Incoming>, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut http = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = http.max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its failure is the failure of the request or of the body that is read from it.
        let _ = connection.await;
    });
    Ok(sender.send_request(request).await?)
}

/// Posts JSON and takes the whole body of a response 200.
pub(crate) async fn post_json(
    connect: impl Future<Output = io::Result<Box<dyn Stream>>>,
    host: &str,
    path: &str,
    body: &Value,
) -> Result<Bytes, Failure> {
    let request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::new(Bytes::from(body.to_string())));
    exchange(connect, request.map_err(|error| Failure::Refused(error.to_string()))?, MAX_ANSWER).await
}

/// Sends a request and takes the whole body of a response 200, of so many bytes at most. Redirects are not followed.
pub(crate) async fn exchange(
    connect: impl Future<Output = io::Result<Box<dyn Stream>>>,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Bytes, Failure> {
    let exchange = async {
        let (head, body) = send(connect.await?, request).await?.into_parts();
        let body = Limited::new(body, most).collect().await?.to_bytes();
        Ok::<_, BoxError>((head.status, body))
    };
    match tokio::time::timeout(DEADLINE, exchange).await {
        Err(late) => Err(Failure::Away(late.to_string())),
        // Too long once is too long again.
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::Refused(error.to_string())),
        Ok(Err(error)) => Err(Failure::Away(error.to_string())),
        Ok(Ok((StatusCode::OK, body))) => Ok(body),
        Ok(Ok((status, _))) if says_later(status) => Err(Failure::Away(format!("status {status}"))),
        Ok(Ok((status, _))) => Err(Failure::Refused(format!("status {status}"))),
    }
}

fn says_later(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error()
}
