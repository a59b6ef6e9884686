//! The body of an answer, which is cut off when its peer is refused meanwhile, or was attested too long ago.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::{Response, ResponseBuilderExt as _};

use super::standing::Ending;

/// The same answer, whose body ends with an error at this ending. What was read until then has been given out.
pub(super) fn guarded(response: Response, ending: Ending) -> Response {
    let url = response.url().clone();
    let (mut parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    // The one thing that is lost on the way.
    if let Ok(with_url) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(with_url.into_parts().0.extensions);
    }
    let body = reqwest::Body::wrap(Guarded { body: Some(body), ending });
    Response::from(http::Response::from_parts(parts, body))
}

struct Guarded {
    /// `None` once it was cut off, so that nothing holds on to the connection.
    body: Option<reqwest::Body>,
    ending: Ending,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx).map_err(Into::into);
        // The end of an answer is the end: there is nothing left to cut off, and nothing to wait for.
        if let Poll::Ready(None) = polled {
            return polled;
        }
        match self.ending.as_mut().poll(cx) {
            Poll::Ready(error) => {
                self.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
