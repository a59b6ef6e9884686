//! Forms of several parts (`multipart/form-data`, RFC 7578).

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncRead;

use super::request_body::{BoxBody, ReaderBody, RequestBody, StreamedBody, boxed};
use crate::crypto;
use crate::error::BoxError;

/// A form of several parts, for [`Request::multipart`](crate::Request::multipart).
///
/// ```no_run
/// use blindbox_attestation::multipart::{Form, Part};
///
/// # async fn f(session: blindbox_attestation::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let form = Form::new()
///     .text("model", "small")
///     .part("audio", Part::bytes(b"...".as_slice()).file_name("speech.wav").content_type("audio/wav"));
/// let response = session.post("/v1/transcriptions").multipart(form).send().await?;
/// # drop(response);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Form {
    parts: Vec<(String, Part)>,
}

/// One part of a [`Form`].
#[must_use]
pub struct Part {
    content: Content,
    file_name: Option<String>,
    content_type: Option<String>,
}

enum Content {
    Bytes(Bytes),
    Stream(BoxBody),
}

impl Form {
    /// Returns a form without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field with a text.
    pub fn text(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.part(name, Part::bytes(text.into()))
    }

    /// Adds a part.
    pub fn part(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.push((name.into(), part));
        self
    }

    /// Returns the content type, and the body: in memory if all parts are.
    pub(super) fn into_body(self) -> Result<(HeaderValue, RequestBody), &'static str> {
        let random = crypto::random_32().map_err(|_| "expected random bytes from the operating system")?;
        // 128 bits that no part can contain by chance or know in advance.
        let boundary = hex::encode(random.split_at(16).0);
        let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
            .map_err(|_| "expected a boundary that fits into a header")?;
        let mut segments = VecDeque::new();
        for (name, part) in self.parts {
            let header = part.header(&boundary, &name)?;
            segments.push_back(Content::Bytes(header.into()));
            segments.push_back(part.content);
            segments.push_back(Content::Bytes(Bytes::from_static(b"\r\n")));
        }
        segments.push_back(Content::Bytes(format!("--{boundary}--\r\n").into()));
        if segments.iter().any(|segment| matches!(segment, Content::Stream(_))) {
            return Ok((content_type, RequestBody::Stream(StreamedBody::new(boxed(FormBody { segments })))));
        }
        let mut whole = BytesMut::new();
        for segment in segments {
            if let Content::Bytes(bytes) = segment {
                whole.extend_from_slice(&bytes);
            }
        }
        Ok((content_type, RequestBody::Bytes(whole.freeze())))
    }
}

impl Part {
    /// Returns a part with bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(Content::Bytes(bytes.into()))
    }

    /// Returns a part that is read from a file or another reader while it is sent.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::new(Content::Stream(boxed(ReaderBody::new(reader))))
    }

    /// Returns a part that is read from a body while it is sent. Its trailers are ignored.
    pub fn http_body<B>(body: B) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::new(Content::Stream(boxed(body)))
    }

    /// Sets the name of the file.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the media type, such as `image/png`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    fn new(content: Content) -> Self {
        Self { content, file_name: None, content_type: None }
    }

    fn header(&self, boundary: &str, name: &str) -> Result<String, &'static str> {
        let mut header = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", escape(name));
        if let Some(file_name) = &self.file_name {
            header.push_str(&format!("; filename=\"{}\"", escape(file_name)));
        }
        if let Some(content_type) = &self.content_type {
            if HeaderValue::try_from(content_type).is_err() {
                return Err("expected a content type without line breaks for each part");
            }
            header.push_str(&format!("\r\nContent-Type: {content_type}"));
        }
        header.push_str("\r\n\r\n");
        Ok(header)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// Escapes a name as browsers do (HTML standard, "multipart form data"): a quote or a line break would end it.
fn escape(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

struct FormBody {
    segments: VecDeque<Content>,
}

impl Body for FormBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.segments.front_mut() {
                None => return Poll::Ready(None),
                Some(Content::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.segments.pop_front();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Content::Stream(body)) => match std::task::ready!(body.as_mut().poll_frame(cx)) {
                    None => drop(self.segments.pop_front()),
                    Some(Ok(frame)) if !frame.is_data() => {}
                    frame => return Poll::Ready(frame),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut total = 0_u64;
        for segment in &self.segments {
            let size = match segment {
                Content::Bytes(bytes) => u64::try_from(bytes.len()).ok(),
                Content::Stream(body) => body.size_hint().exact(),
            };
            let Some(size) = size else { return SizeHint::default() };
            total = total.saturating_add(size);
        }
        SizeHint::with_exact(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_of_parts_cannot_begin_another_part() {
        let part = || Part::bytes("x").file_name("a\"\r\nb");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"n%22%0D%0A\"; filename=\"a%22%0D%0Ab\"\r\n\r\n";
        assert_eq!(part().header("B", "n\"\r\n").unwrap(), expected);
        let error = part().content_type("text/plain\r\nX: y").header("B", "n").unwrap_err();
        assert_eq!(error, "expected a content type without line breaks for each part");
    }
}
