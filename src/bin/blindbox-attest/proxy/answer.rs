//! Answers to local clients: the application's, passed on as it comes, or the proxy's own.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use blindbox_attestation::AttestationError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::guard::Refusal;
use crate::outcome::error_json;

/// The header with the code of an answer that is the proxy's own, which no answer of the application has.
pub const ERROR_HEADER: &str = "x-blindbox-error";

/// The body of an answer.
pub enum AnswerBody {
    Own(Option<Bytes>),
    /// Of the application, with what may still come.
    Passed(Box<reqwest::Body>, u64),
}

/// An answer in place of the application's, where there is no attested peer to ask.
pub fn of_error(error: &AttestationError) -> Response<AnswerBody> {
    let status = match error {
        AttestationError::InvalidRequest { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    };
    own(status, error.code(), error_json(error))
}

pub fn of_refusal(refusal: &Refusal) -> Response<AnswerBody> {
    let error = json!({ "code": refusal.code, "category": "proxy", "message": refusal.message });
    own(refusal.status, refusal.code, error)
}

fn own(status: StatusCode, code: &'static str, error: Value) -> Response<AnswerBody> {
    let body = json!({ "error": error }).to_string();
    let mut answer = Response::new(AnswerBody::Own(Some(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR_HEADER, HeaderValue::from_static(code));
    answer
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Passed(body, left) => {
                let frame = match Pin::new(body.as_mut()).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => frame,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                };
                // Trailers are left out, as everything else that is between two hops.
                let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
                let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
                let Some(rest) = left.checked_sub(size) else {
                    return Poll::Ready(Some(Err("the answer is larger than --max-answer".into())));
                };
                *left = rest;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Passed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| u64::try_from(text.len()).unwrap_or(u64::MAX)))
            }
            Self::Passed(body, _) => body.size_hint(),
        }
    }
}
