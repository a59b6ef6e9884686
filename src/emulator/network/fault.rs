//! Ways in which a server can fail to send a proper response.

use std::convert::identity;
use std::future::Future;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use hyper::Response;
use hyper::header::CONTENT_TYPE;

use super::body::ResponseBody;
use super::gate::Gate;
use super::request::{Arrival, Reply};
use super::response::{BufferedResponse, error_json, quoted};
use crate::emulator::lock;
use crate::emulator::option_row::{OptionError, OptionRow, constant, milliseconds, number, rows, status, text};

/// The longest time for which a server keeps silent when it hangs.
const HANGING: Duration = Duration::from_secs(300);

/// A GOAWAY with NO_ERROR that names stream 0 as the last one: length 8, type 7, no flags, stream 0 (RFC 9113 section 6.8).
static GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a server does in place of the proper response. On a command line in the form of [`Fault::rows`], such as `slow:500`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The proper response, after this time.
    Slow(Duration),
    /// The proper response, once the gate is open.
    Held(Gate),
    /// No response at all while the connection stays open (for five minutes at most).
    Hang,
    /// The proper response, one byte at a time with this pause before each.
    Drip(Duration),
    /// The connection is closed without a response.
    CloseEarly,
    /// HTTP/2: the connection ends with a GOAWAY below the stream of the request (RFC 9113 section 6.8), which therefore was not
    /// processed. HTTP/1.1: the connection is closed.
    GoAway,
    /// HTTP/2: the stream is reset with REFUSED_STREAM (RFC 9113 section 8.7). HTTP/1.1: the connection is closed.
    RefuseStream,
    /// HTTP/2: the stream is reset with CANCEL. HTTP/1.1: the connection is closed.
    ResetStream,
    /// The proper response with so many more headers.
    Headers(usize),
    /// Bytes that are no response: over HTTP/1.1 a bad status line, over HTTP/2 no frame.
    BadStatusLine,
    /// The headers announce the whole response, half of the body is sent, the connection is cut.
    Truncated,
    /// The proper response followed by so many bytes of white space, without an announced length.
    Oversized(u64),
    /// As [`Self::Oversized`], but the head announces the length, so that a client can refuse before it reads.
    OversizedAnnounced(u64),
    /// Another status and body, with a `Retry-After` header of so many seconds if given.
    Status {
        /// The HTTP status code.
        code: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
        /// The body, sent as `application/json`.
        body: String,
    },
    /// A redirect (307) to another address.
    Redirect(String),
    /// The proper response under another `Content-Type`; without one if empty.
    ContentType(String),
    /// The proper response as a gzip stream with `Content-Encoding: gzip`, although the client did not accept it.
    Gzip,
    /// The proper response without its last byte, complete as far as HTTP is concerned: JSON that does not end.
    MalformedJson,
    /// The proper response with its first member once more at the end.
    DuplicateMember,
    /// The proper response followed by a second JSON object.
    TrailingJson,
    /// Another body under the headers of the proper response.
    Body(String),
    /// The proper response with one text replaced by another.
    Replace {
        /// The text to look for.
        from: String,
        /// What to put there, everywhere.
        to: String,
    },
}

rows! {
    ROWS: Fault => Fault, identity;
    "Faults" {
        "slow:MS", "the proper response, after this time" => Slow(milliseconds);
        "hang", "no response while the connection stays open" => Hang;
        "drip:MS", "the proper response, one byte at a time" => Drip(milliseconds);
        "close-early", "the connection is closed without a response" => CloseEarly;
        "go-away", "HTTP/2: GOAWAY; the request was not processed" => GoAway;
        "refuse-stream", "HTTP/2: REFUSED_STREAM; the request was not processed" => RefuseStream;
        "reset-stream", "HTTP/2: the stream is reset with CANCEL" => ResetStream;
        "headers:COUNT", "the proper response with so many more headers" => Headers(number);
        "bad-status-line", "bytes that are no response" => BadStatusLine;
        "truncated", "half of the body, then the connection is cut" => Truncated;
        "oversized:BYTES", "so much white space behind the response" => Oversized(number);
        "oversized-announced:BYTES", "the same, announced in the head" => OversizedAnnounced(number);
        "status:CODE", "another status" => Status via |value: &str| status(value).map(Fault::status);
        "forbidden", "403 with an error" => Status via constant(Fault::forbidden());
        "forbidden-twice", "403 with two JSON objects in a row" => Status via constant(Fault::forbidden_twice());
        "too-many-requests:SECONDS", "429 with Retry-After" => Status via |value: &str| number(value).map(Fault::too_many_requests);
        "redirect:URL", "a redirect (307)" => Redirect(text);
        "content-type:TYPE", "another content type" => ContentType(text);
        "gzip", "compressed, although it was not requested" => Gzip;
        "malformed-json", "JSON that does not end" => MalformedJson;
        "duplicate-member", "JSON with its first member twice" => DuplicateMember;
        "trailing-json", "a second JSON object behind the response" => TrailingJson;
        "body:TEXT", "another body" => Body(text);
    }
    // A gate opens in the process that holds it; two texts of any characters have no form on a command line.
    in code only { Held, Replace }
}

impl FromStr for Fault {
    type Err = OptionError;

    /// `NAME` or `NAME:VALUE`.
    fn from_str(written: &str) -> Result<Self, OptionError> {
        let (name, value) = written.split_once(':').unwrap_or((written, ""));
        OptionRow::find(Self::rows(), "fault", name, Some(value).filter(|value| !value.is_empty()))
    }
}

impl Fault {
    /// Every fault that has a form on a command line.
    pub fn rows() -> impl Iterator<Item = &'static OptionRow<Self>> {
        ROWS.iter()
    }

    /// A status with a JSON body that names the error, as the agents write it.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None, body: error_json(&format!("emulated status {code}")) }
    }

    /// `403` with `{"error": ...}`.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::Status { code: 403, retry_after: None, body: error_json("attestation is not available") }
    }

    /// `403` with two JSON objects in a row: BlindBox's agent as first released goes on after writing its error.
    #[must_use]
    pub fn forbidden_twice() -> Self {
        let body = error_json("attestation is not available") + "{\"token\":\"\"}";
        Self::Status { code: 403, retry_after: None, body }
    }

    /// `429` that asks to wait for so many seconds.
    #[must_use]
    pub fn too_many_requests(retry_after: u64) -> Self {
        Self::Status { code: 429, retry_after: Some(retry_after), body: error_json("too many requests") }
    }

    /// Whether nothing of the proper response is sent.
    fn replaces_response(&self) -> bool {
        matches!(
            self,
            Self::Hang
                | Self::CloseEarly
                | Self::GoAway
                | Self::RefuseStream
                | Self::ResetStream
                | Self::BadStatusLine
                | Self::Status { .. }
                | Self::Redirect(_)
        )
    }

    /// Changes a response that is yet to be read. One that breaks off stays as it is.
    async fn apply_to(self, response: Response<ResponseBody>) -> Reply {
        match BufferedResponse::read(response).await {
            Ok(response) => self.apply(response).await,
            Err(cut) => cut,
        }
    }

    pub(crate) async fn apply(self, mut response: BufferedResponse) -> Reply {
        match self {
            Self::Slow(time) => tokio::time::sleep(time).await,
            Self::Held(gate) => gate.pass().await,
            Self::Hang => {
                tokio::time::sleep(HANGING).await;
                return Reply::Close;
            }
            Self::CloseEarly => return Reply::Close,
            Self::GoAway => return Reply::Raw(&GO_AWAY),
            Self::RefuseStream => return Reply::Reset(h2::Reason::REFUSED_STREAM),
            Self::ResetStream => return Reply::Reset(h2::Reason::CANCEL),
            Self::BadStatusLine => return Reply::Raw(b"HTTP/1.1 banana\r\n\r\n"),
            Self::Headers(count) => {
                for number in 0..count {
                    response = response.header("x-many", number.to_string());
                }
            }
            Self::Drip(every) => {
                let length = response.body.len();
                let body = ResponseBody::dripping(std::mem::take(&mut response.body), every);
                return response.with_length(length).send(body);
            }
            Self::Truncated => {
                let length = response.body.len();
                let half = response.body.split_to(length / 2);
                return response.with_length(length).send(ResponseBody::cut_after(half));
            }
            Self::Oversized(padding) => {
                let first = std::mem::take(&mut response.body);
                return response.send(ResponseBody::Padded { first, padding });
            }
            Self::OversizedAnnounced(padding) => {
                let first = std::mem::take(&mut response.body);
                let length = first.len().saturating_add(usize::try_from(padding).unwrap_or(usize::MAX));
                return response.with_length(length).send(ResponseBody::Padded { first, padding });
            }
            Self::Status { code, retry_after, body } => {
                response = BufferedResponse::json_text(code, body);
                if let Some(seconds) = retry_after {
                    response = response.header("retry-after", seconds.to_string());
                }
            }
            Self::Redirect(to) => response = BufferedResponse::text(307, "").header("location", to),
            Self::ContentType(value) => {
                response.headers.retain(|(name, _)| name != CONTENT_TYPE);
                if !value.is_empty() {
                    response = response.header("content-type", value);
                }
            }
            Self::Gzip => {
                response.body = gzip(&response.body).into();
                response = response.header("content-encoding", "gzip");
            }
            Self::MalformedJson => response.body.truncate(response.body.len().saturating_sub(1)),
            Self::DuplicateMember => response.edit(|text| match serde_json::from_str(&text) {
                Ok(serde_json::Value::Object(members)) => {
                    let again = members.iter().next().map(|(name, value)| format!("{}:{value}", quoted(name)));
                    format!("{},{}}}", text.strip_suffix('}').unwrap_or(&text), again.unwrap_or_default())
                }
                _ => text,
            }),
            Self::TrailingJson => response.edit(|text| text + "{}"),
            Self::Body(text) => response.body = text.into(),
            Self::Replace { from, to } => response.edit(|text| text.replace(&from, &to)),
        }
        response.into_reply()
    }
}

/// The fault of one server, path by path, for a number of responses or until it recovers.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Scheduled>>);

#[derive(Debug)]
struct Scheduled {
    path: String,
    fault: Fault,
    left: Option<u32>,
}

impl Faults {
    /// `times` is `None` for "until it recovers".
    pub(crate) fn schedule(&self, path: &str, fault: Fault, times: Option<u32>) {
        lock(&self.0).push(Scheduled { path: path.to_owned(), fault, left: times });
    }

    pub(crate) fn recover(&self) {
        lock(&self.0).clear();
    }

    /// The first fault on record for the path acts; one that is used up makes way for the next.
    pub(crate) async fn reply(&self, path: &str, response: BufferedResponse) -> Reply {
        let fault = self.next(path);
        match fault {
            Some(fault) => fault.apply(response).await,
            None => response.into_reply(),
        }
    }

    /// Serves a request with the fault that is scheduled for its path. What a fault only delays is streamed. Where a fault replaces the
    /// response, the request is not served: its response may never end.
    pub(crate) async fn serve<F, R>(&self, path: &str, arrival: Arrival, serve: F) -> Reply
    where
        F: FnOnce(Arrival) -> R,
        R: Future<Output = Reply>,
    {
        match self.next(path) {
            None => serve(arrival).await,
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                serve(arrival).await
            }
            Some(Fault::Held(gate)) => {
                gate.pass().await;
                serve(arrival).await
            }
            Some(fault) if fault.replaces_response() => match arrival.whole().await {
                Ok(_) => fault.apply(BufferedResponse::text(200, "")).await,
                Err(reply) => reply,
            },
            Some(fault) => match serve(arrival).await {
                Reply::Response(response) => fault.apply_to(response).await,
                other => other,
            },
        }
    }

    fn next(&self, path: &str) -> Option<Fault> {
        let mut schedule = lock(&self.0);
        schedule.retain(|scheduled| scheduled.left != Some(0));
        let scheduled = schedule.iter_mut().find(|scheduled| path.starts_with(&scheduled.path))?;
        scheduled.left = scheduled.left.map(|left| left.saturating_sub(1));
        Some(scheduled.fault.clone())
    }
}

/// A gzip stream (RFC 1952) of stored blocks (RFC 1951 section 3.2.4): valid for any decoder, and no compressor needed.
fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = data.chunks(0xffff);
    let last = blocks.len().saturating_sub(1);
    for (index, block) in blocks.enumerate() {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(index == last));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out
}
