//! Responses to local clients: the application's, streamed, or the proxy's own.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use blindbox_attestation::{AttestationError, Category};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::access::{Refusal, refusal};
use super::headers;
use super::redirects::Redirects;
use crate::exit::error_json;

/// The header with the code of a response of the proxy's own, which no response of the application has.
pub const ERROR_HEADER: &str = "x-blindbox-error";

/// When a client may ask again after a 503.
const RETRY_AFTER_SECONDS: &str = "5";

/// How responses of the application are forwarded.
pub struct Answers {
    pub redirects: Redirects,
    /// The largest body, in bytes.
    pub most: u64,
}

impl Answers {
    /// Returns the response to a request for `asked`, which is a URL of the application.
    pub fn pass_on(
        &self,
        method: &Method,
        asked: &Url,
        response: Response<impl Body<Data = Bytes, Error = AttestationError> + Send + Sync + 'static>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (head, body) = response.into_parts();
        if head.status.is_informational() {
            let message = "the application switched to another protocol, which was not requested";
            return Err(refusal(StatusCode::BAD_GATEWAY, "answer-refused", message));
        }
        // A response without a body may state a length all the same.
        let empty = *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !empty && body.size_hint().lower() > self.most {
            let message = "the response is larger than --max-answer";
            return Err(refusal(StatusCode::BAD_GATEWAY, "answer-too-large", message));
        }
        // The length is that of the body, whatever else was said of it: what is cut off by it would look whole.
        let of_body = |name: &HeaderName| *name == CONTENT_LENGTH && !empty;
        let kept = head.headers.iter().filter(|(name, _)| headers::of_answer(name, &head.headers) && !of_body(name));
        let mut headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.redirects.rewrite(asked, &mut headers)?;
        // Nothing else of the head: not its version, nor what the HTTP library keeps with it.
        let mut answer = Response::new(AnswerBody::Passed(Box::pin(body), self.most));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

/// The body of a response.
pub enum AnswerBody {
    Own(Option<Bytes>),
    /// Of the application, with what may still come.
    Passed(Pin<Box<dyn Body<Data = Bytes, Error = AttestationError> + Send + Sync>>, u64),
}

/// A response in place of the application's, if there is no attested peer.
pub fn of_error(error: &AttestationError) -> Response<AnswerBody> {
    let status = match error {
        AttestationError::InvalidRequest { .. } => StatusCode::BAD_REQUEST,
        // What closed the session was a refusal.
        AttestationError::SessionPoisoned { .. } => StatusCode::BAD_GATEWAY,
        // No verdict: the same request may pass later.
        error if error.category() == Category::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut answer = own(status, error.code(), error_json(error));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    answer
}

/// The connection ends with it: who is not let in cannot keep it, and what else was sent on it is not read.
pub fn of_refusal(refusal: &Refusal) -> Response<AnswerBody> {
    let error = json!({ "code": refusal.code, "category": "proxy", "message": refusal.message });
    let mut answer = own(refusal.status, refusal.code, error);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    answer
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
                let frame = match body.as_mut().poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => frame,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                };
                // Trailers are left out, as everything else that is between two hops.
                let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
                let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
                let Some(rest) = left.checked_sub(size) else {
                    return Poll::Ready(Some(Err("the response is larger than --max-answer".into())));
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Whole(Option<Bytes>);

    impl Body for Whole {
        type Data = Bytes;
        type Error = AttestationError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, AttestationError>>> {
            Poll::Ready(self.0.take().map(|text| Ok(Frame::data(text))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.as_ref().map_or(0, |text| u64::try_from(text.len()).unwrap()))
        }
    }

    fn passed_on(
        status: u16,
        lines: &[(&'static str, &'static [u8])],
        body: &'static str,
    ) -> Result<Response<AnswerBody>, &'static str> {
        let redirects = Redirects::new("https://app.example", false).unwrap();
        let mut response = Response::new(Whole(Some(Bytes::from(body))));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).unwrap();
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        let asked = Url::parse("https://app.example/a/b").unwrap();
        let answers = Answers { redirects, most: 10 };
        answers.pass_on(&Method::GET, &asked, response).map_err(|refusal| refusal.code)
    }

    #[test]
    fn an_answer_that_is_none() {
        for status in [100, 101, 103, 199] {
            assert_eq!(passed_on(status, &[], "").err(), Some("answer-refused"), "{status}");
        }
        assert_eq!(passed_on(200, &[], "hello world").err(), Some("answer-too-large"));
        let two: &[(_, &[u8])] = &[("location", b"/x"), ("location", b"https://evil.example/")];
        for status in [200, 201, 302, 304] {
            assert_eq!(passed_on(status, two, "").err(), Some("redirect-refused"), "{status}");
        }
    }

    #[test]
    fn a_length_that_is_not_that_of_the_body() {
        for length in [&b"3"[..], b"8", b"5"] {
            let answer =
                passed_on(200, &[("transfer-encoding", b"chunked"), ("content-length", length)], "hello").unwrap();
            assert_eq!((answer.headers().len(), answer.body().size_hint().exact()), (0, Some(5)));
        }
        // Where there is no body it is all that is known.
        let unchanged = passed_on(304, &[("content-length", b"8")], "").unwrap();
        assert_eq!(unchanged.headers()[CONTENT_LENGTH], "8");
    }

    #[test]
    fn lines_of_the_same_name_and_bytes_of_any_kind_stay() {
        let lines: &[(_, &[u8])] =
            &[("set-cookie", b"a=b; Secure"), ("set-cookie", b"c=d"), ("x-name", b"caf\xe9"), ("location", b"c")];
        let answer = passed_on(201, lines, "hello").unwrap();
        let found = answer.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let expected: &[(_, &[u8])] =
            &[("set-cookie", b"a=b; Secure"), ("set-cookie", b"c=d"), ("x-name", b"caf\xe9"), ("location", b"/a/c")];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!((answer.status(), answer.body().size_hint().exact()), (StatusCode::CREATED, Some(5)));
    }
}
