//! Opens sealed requests.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body::Body;

use super::body::{BoxError, RequestContent};
use super::keys::MessageKeys;
use super::respond::{self, Responder};
use crate::message::binary_http::{Control, Head};
use crate::message::exchange::agent::{Admitted, NotOpened, RequestReader, Verdict};
use crate::message::headers;

/// A sealed request whose head has been opened.
pub enum Opened<B> {
    /// Its number was not used before, and is now: it is processed or declined here, and nowhere again.
    Admitted(Box<SealedExchange<B>>),
    /// It is not processed. This is the content of the sealed response, whole: the number was used, the session is not known, or the
    /// request has no form that HTTP has.
    Answered(Bytes),
}

/// Why a request was not opened. Nothing of it was given out; its number may be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// The body of the outer request failed before the head of the sealed request was complete.
    #[error("the request did not arrive whole")]
    Body(#[source] E),
    /// It is not sealed to a key of this instance that is still kept, or it was changed or cut. The response is
    /// [`not_opened`](super::not_opened) in every case.
    #[error("the request is not sealed to a message key of this instance")]
    NotOpened,
}

/// One request with the way to respond to it.
pub struct SealedExchange<B> {
    request: Request<RequestContent<B>>,
    responder: Responder,
}

/// Reads a sealed request up to its head, and marks its number as used.
///
/// The sender is not authenticated: anyone can seal requests to a public key. The caller bounds the time of this call, the number of calls
/// at a time, and how long `body` may be silent.
///
/// For a method that has no content as a rule (`GET`, `HEAD`, `DELETE`, `OPTIONS`), it also waits for the first piece of the content or
/// its end, so that [`Body::is_end_stream`] says whether there is any.
///
/// # Errors
///
/// [`OpenError::NotOpened`] if it does not open, [`OpenError::Body`] if the outer body fails.
pub async fn open<B>(keys: &MessageKeys, mut body: B, now: Duration) -> Result<Opened<B>, OpenError<B::Error>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut reader = RequestReader::new();
    let verdict = loop {
        match next_data(&mut body).await.map_err(OpenError::Body)? {
            None => break reader.finish()?,
            Some(data) => {
                if let Some(verdict) = reader.push(&data, &keys.0, now)? {
                    break verdict;
                }
            }
        }
    };
    let admitted = match verdict {
        Verdict::Refused(response) => return Ok(Opened::Answered(response.into())),
        Verdict::Admitted(admitted) => admitted,
    };
    let Some(request) = request(admitted.head()) else {
        let (_, _, responder) = admitted.accept();
        let response = respond::whole(responder, StatusCode::BAD_REQUEST).map_err(|_| OpenError::NotOpened)?;
        return Ok(Opened::Answered(response));
    };
    let exchange = SealedExchange::new(request, *admitted, body);
    exchange.with_first_content().await.map(|exchange| Opened::Admitted(Box::new(exchange)))
}

impl<E> From<NotOpened> for OpenError<E> {
    fn from(NotOpened: NotOpened) -> Self {
        Self::NotOpened
    }
}

impl<B> SealedExchange<B> {
    fn new(request: Request<()>, admitted: Admitted, body: B) -> Self {
        let (_, content, responder) = admitted.accept();
        let responder = Responder::new(responder, request.method().clone());
        Self { request: request.map(|()| RequestContent::new(content, body)), responder }
    }

    /// The request as the client wrote it: method, path and query, `Host` and headers. The outer request says nothing about it.
    #[must_use]
    pub fn request(&self) -> &Request<RequestContent<B>> {
        &self.request
    }

    /// Processes the request. Only once the end of the content has been read, the request is complete: an error of the content means
    /// that it was cut or changed on the way.
    #[must_use]
    pub fn accept(self) -> (Request<RequestContent<B>>, Responder) {
        (self.request, self.responder)
    }

    /// Does not process the request, because the instance is busy or stops. Returns the content of the sealed response. The client may
    /// send the request again, under another number: this one stays used.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn decline(self) -> Result<Bytes, super::NoKey> {
        self.responder.decline()
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> SealedExchange<B> {
    async fn with_first_content(mut self) -> Result<Self, OpenError<B::Error>> {
        if matches!(*self.request.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
            let content = self.request.body_mut();
            // A content that fails says so again to its reader; here it only shows that the request does not open.
            std::future::poll_fn(|cx| content.poll_first(cx)).await.map_err(|_| OpenError::NotOpened)?;
        }
        Ok(self)
    }
}

/// The next data of the outer body. Its trailers are not a part of the message.
async fn next_data<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Option<Bytes>, B::Error> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose()? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The head in origin form with `Host`, as HTTP/1.1 has it. `None` if HTTP has no such request.
fn request(head: &Head) -> Option<Request<()>> {
    let Control::Request { method, authority, path, .. } = &head.control else { return None };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    let headers = request.headers_mut();
    // A sealed request has no field `host`: the authority has its place in the control data.
    if !authority.is_empty() {
        headers.insert(HOST, HeaderValue::from_str(authority).ok()?);
    }
    headers::append(headers, &head.fields)?;
    Some(request)
}
