//! HTTP proxies: a tunnel for TLS (`CONNECT`, RFC 9110 section 9.3.6); for plain HTTP, the proxy gets the whole URL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use url::{Position, Url};

use super::connection::OutgoingBody;
use crate::error::BoxError;

/// The proxy that connections go through.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(super) uri: Uri,
    /// `host:port`, as errors name it: without user and password.
    pub(super) address: String,
    pub(super) authorization: Option<HeaderValue>,
}

/// Why a proxy opened no tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the proxy {0} requires authentication (status 407): give user and password in its address")]
    AuthenticationRequired(String),
    #[error("the proxy {0} refused the tunnel with the status {1}")]
    Refused(String, u16),
    #[error("the proxy {0} sent a response that cannot be read")]
    Unreadable(String),
}

impl Proxy {
    /// Returns `None` if this is not the address of an HTTP proxy.
    pub(crate) fn new(url: &Url) -> Option<Self> {
        let address = url[Position::BeforeHost..Position::AfterPort].to_owned();
        let uri = format!("http://{address}/").parse().ok()?;
        let address = if url.port().is_some() { address } else { format!("{address}:80") };
        let authorization = if url.username().is_empty() { None } else { Some(basic(url)?) };
        Some(Self { uri, address, authorization })
    }

    /// The error for a response that is not one to `CONNECT`.
    pub(super) fn unreadable(&self) -> ProxyError {
        ProxyError::Unreadable(self.address.clone())
    }

    /// Asks for a tunnel over a connection to the proxy. Returns what followed the response of the proxy as well: the beginning of what
    /// the server sends, if it sends first.
    pub(super) async fn tunnel(&self, tcp: TcpStream, target: &Authority) -> Result<(TcpStream, Bytes), BoxError> {
        let unreadable = || self.unreadable();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let mut request = Request::new(OutgoingBody::empty());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::from(target.clone());
        request.headers_mut().insert(HOST, HeaderValue::from_str(target.as_str())?);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let driver = tokio::spawn(connection.with_upgrades());
        let outcome = async {
            let response = sender.send_request(request).await.map_err(|_| unreadable())?;
            match response.status() {
                status if status.is_success() => {}
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    return Err(ProxyError::AuthenticationRequired(self.address.clone()));
                }
                status => return Err(ProxyError::Refused(self.address.clone(), status.as_u16())),
            }
            let upgraded = hyper::upgrade::on(response).await.map_err(|_| unreadable())?;
            let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| unreadable())?;
            Ok((parts.io.into_inner(), parts.read_buf))
        };
        let outcome = outcome.await;
        driver.abort();
        Ok(outcome?)
    }
}

/// The credentials in the proxy's address (RFC 7617).
fn basic(url: &Url) -> Option<HeaderValue> {
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
