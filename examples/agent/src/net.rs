//! One request over one connection of its own: to the application, to the sidecar, to MAA.
//!
//! Connections are not kept. So nothing that one request leaves behind can be read as a part of the next one's answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
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

/// How long MAA or the sidecar may take for an answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// The most bytes of their answers: evidence with certificates has about 25 kB.
const MAX_ANSWER: usize = 256 * 1024;

/// A byte stream to somebody.
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

/// Posts JSON and takes the whole answer: status and body. Redirects are not followed.
pub(crate) async fn post_json(
    connect: impl Future<Output = io::Result<Box<dyn Stream>>>,
    host: &str,
    path: &str,
    body: &Value,
) -> Result<(StatusCode, Bytes), BoxError> {
    let exchange = async {
        let request = Request::post(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(body.to_string())))?;
        let (head, body) = send(connect.await?, request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok((head.status, body))
    };
    tokio::time::timeout(DEADLINE, exchange).await?
}
