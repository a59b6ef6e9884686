//! One line of the log for each request, and its counters: method, status and duration. Never a path, a header or a body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::{Method, Response, StatusCode};

use super::response::ERROR_HEADER;
use crate::log::TARGET;

const REQUESTS: &str = "blindbox_proxy_requests_total";
const DURATION: &str = "blindbox_proxy_request_duration_seconds";

/// Names the counters for a recorder.
pub fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests of local clients, by method, status and how they ended");
    metrics::describe_histogram!(DURATION, metrics::Unit::Seconds, "Time from a request to the end of its response");
}

/// A request that is under way. What drops it before its response ended is a client that went away.
pub struct Record {
    begun: Instant,
    method: &'static str,
    status: Option<StatusCode>,
    code: Option<String>,
    outcome: &'static str,
}

impl Record {
    pub fn begin(method: &Method) -> Self {
        let method = method_name(method);
        Self { begun: Instant::now(), method, status: None, code: None, outcome: "canceled" }
    }

    /// The response with what notes its end.
    pub fn follow<B: Body<Data = Bytes> + Unpin>(
        mut self,
        method: &Method,
        response: Response<B>,
    ) -> Response<Followed<B>> {
        let (head, body) = response.into_parts();
        self.status = Some(head.status);
        let code = head.headers.get(ERROR_HEADER).and_then(|code| code.to_str().ok());
        self.code = code.map(str::to_owned);
        let bodiless =
            *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let left = if bodiless { Some(0) } else { body.size_hint().exact() };
        let mut followed = Followed { body, record: self, left };
        followed.note_end(0);
        Response::from_parts(head, followed)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let (method, outcome) = (self.method, self.outcome);
        let status = self.status.map(|status| status.as_u16());
        let duration_ms = (duration.as_secs_f64() * 10_000.0).round() / 10.0;
        let code = self.code.as_deref();
        tracing::info!(target: TARGET, method, status, code, outcome, duration_ms, "request");
        let label = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        metrics::counter!(REQUESTS, "method" => method, "status" => label, "outcome" => outcome).increment(1);
        metrics::histogram!(DURATION, "outcome" => outcome).record(duration.as_secs_f64());
    }
}

/// What a method is called: the registered ones, so that no client chooses texts of the log or labels.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The body of a response whose end is noted.
pub struct Followed<B> {
    body: B,
    record: Record,
    /// What is still to come, where that is known: the HTTP library looks no further then.
    left: Option<u64>,
}

impl<B: Body<Data = Bytes> + Unpin> Followed<B> {
    fn note_end(&mut self, sent: usize) {
        let sent = u64::try_from(sent).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(sent));
        if self.left == Some(0) || self.body.is_end_stream() {
            self.record.outcome = "complete";
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Followed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => this.note_end(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(_))) => this.record.outcome = "cut",
            Poll::Ready(None) => this.record.outcome = "complete",
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
