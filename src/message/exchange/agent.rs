//! The agent's end: opens a request, marks its number as used, and only then gives it out.
//!
//! The sender of a request knew the public key and no more. Until a chunk has decrypted, every fault is the same error: one that said
//! more would help an attacker who sends changed requests to learn about others.

use std::time::Duration;

use super::fields;
use super::keys::{MessageKeys, UsedNumbers};
use super::replay::MessageNumber;
use super::stream::{Ending, MessageError, MessageReader, MessageWriter};
use crate::crypto::sealing::SealingError;
use crate::message::binary_http::{self, BinaryHttpError, Control, Field, Head, Kind, Part};
use crate::message::chunks::ChunkOpener;
use crate::message::request::{OpenedRequest, RequestStart};
use crate::message::response::ResponseSealer;

/// The number was used, the session is not known, or the request has a reserved field. It may have been processed before.
pub(super) const REFUSED: &str = "refused";
/// The number was not used before and is now; the request was not processed and never will be.
pub(super) const DECLINED: &str = "declined";

/// The request does not open: the only error that is not sealed. The HTTP response to it has one status and one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is not sealed to a message key of this instance")]
pub(crate) struct NotOpened;

/// Reads a sealed request up to its head.
pub(crate) struct RequestReader {
    state: State,
}

enum State {
    /// Before the encapsulated key is complete: at most 1127 bytes.
    Start(Vec<u8>),
    Head(Box<Opened>),
    Failed,
}

struct Opened {
    numbers: UsedNumbers,
    reader: MessageReader<ChunkOpener>,
    response: ResponseSealer,
}

/// What becomes of a request whose head has been opened.
pub(crate) enum Verdict {
    /// Its number was not used before, and is now.
    Admitted(Box<Admitted>),
    /// It is not processed. The sealed response says so.
    Refused(Vec<u8>),
}

impl RequestReader {
    pub(crate) fn new() -> Self {
        Self { state: State::Start(Vec::new()) }
    }

    /// Takes the next bytes of the content. `None` until the head is complete. After a verdict, bytes go to
    /// [`RequestContent::push`].
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        keys: &MessageKeys,
        now: Duration,
    ) -> Result<Option<Verdict>, NotOpened> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => Err(NotOpened),
            State::Start(mut received) => {
                // Most requests come with their first piece up to the head and beyond: it is read where it is.
                let start = if received.is_empty() {
                    bytes
                } else {
                    received.extend_from_slice(bytes);
                    &received
                };
                match RequestStart::read(start).map_err(|_| NotOpened)? {
                    None => {
                        self.state = State::Start(start.to_vec());
                        Ok(None)
                    }
                    Some((start, rest)) => self.head(Opened::open(start, keys, now)?, rest),
                }
            }
            State::Head(opened) => self.head(*opened, bytes),
        }
    }

    /// Ends the content before [`RequestReader::push`] gave a verdict: all of the request is in the final chunk, or it is cut.
    pub(crate) fn finish(self) -> Result<Verdict, NotOpened> {
        let State::Head(opened) = self.state else { return Err(NotOpened) };
        let Opened { numbers, reader, response } = *opened;
        let Ending { parts, trailers } = reader.finish().map_err(|_| NotOpened)?;
        let mut parts = parts.into_iter();
        let Some(Part::Head(head)) = parts.next() else { return Err(NotOpened) };
        let content = RequestContent { state: Content::Ended(Ending { parts: parts.collect(), trailers }) };
        Admitted::decide(&numbers, head, content, response)
    }

    fn head(&mut self, mut opened: Opened, bytes: &[u8]) -> Result<Option<Verdict>, NotOpened> {
        opened.reader.push(bytes);
        match opened.reader.next().map_err(|_| NotOpened)? {
            None => {
                self.state = State::Head(Box::new(opened));
                Ok(None)
            }
            Some(Part::Head(head)) => {
                let content = RequestContent { state: Content::Open(Box::new(opened.reader)) };
                Admitted::decide(&opened.numbers, head, content, opened.response).map(Some)
            }
            Some(Part::Content(_)) => Err(NotOpened),
        }
    }
}

impl Opened {
    fn open(start: RequestStart, keys: &MessageKeys, now: Duration) -> Result<Self, NotOpened> {
        let key = keys.find(&start, now).ok_or(NotOpened)?;
        let OpenedRequest { chunks, response } = key.open(start).map_err(|SealingError| NotOpened)?;
        Ok(Self { numbers: key.used_numbers(), reader: MessageReader::new(chunks, Kind::Request), response })
    }
}

/// A request whose number has been marked as used. It is either processed or declined.
pub(crate) struct Admitted {
    head: Head,
    content: RequestContent,
    response: ResponseSealer,
}

impl Admitted {
    /// The only place where requests are admitted: nothing of a request is given out unless its number was marked.
    fn decide(
        numbers: &UsedNumbers,
        mut head: Head,
        content: RequestContent,
        response: ResponseSealer,
    ) -> Result<Verdict, NotOpened> {
        if admits(numbers, &mut head) {
            return Ok(Verdict::Admitted(Box::new(Self { head, content, response })));
        }
        // 409 (RFC 9110 section 15.5.10).
        notice(response, 409, REFUSED).map(Verdict::Refused).map_err(|_| NotOpened)
    }

    /// Method, authority, path and fields, without the number: what decides whether the request can be processed now.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Processes the request: its head, its content, and the way to respond.
    pub(crate) fn accept(self) -> (Head, RequestContent, Responder) {
        (self.head, self.content, Responder { response: self.response })
    }
}

fn admits(numbers: &UsedNumbers, head: &mut Head) -> bool {
    let Ok(Some(value)) = fields::message(&head.fields) else { return false };
    let Some(request) = MessageNumber::from_value(value) else { return false };
    head.fields.retain(|field| field.name != fields::MESSAGE);
    // A client that is right sends no such field, so its number is not worth keeping.
    fields::check_request(&head.fields).is_ok() && numbers.mark(request)
}

/// A whole sealed response that the agent writes itself.
fn notice(response: ResponseSealer, status: u16, reason: &str) -> Result<Vec<u8>, MessageError> {
    let field = Field { name: fields::MESSAGE.to_owned(), value: reason.as_bytes().to_vec() };
    let head = Head { control: Control::Response { status }, fields: vec![field] };
    let (start, chunks) = response.begin()?;
    let (writer, mut out) = MessageWriter::begin(start, chunks, &binary_http::head(&head)?)?;
    out.extend(writer.finish(&[])?);
    Ok(out)
}

/// The content of a request that is processed.
pub(crate) struct RequestContent {
    state: Content,
}

enum Content {
    Open(Box<MessageReader<ChunkOpener>>),
    /// All of it was in the final chunk.
    Ended(Ending),
}

impl RequestContent {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Content::Open(reader) = &mut self.state {
            reader.push(bytes);
        }
    }

    /// Returns the next piece, or `None` until more has been pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, MessageError> {
        match &mut self.state {
            Content::Open(reader) => reader.next(),
            Content::Ended(_) => Ok(None),
        }
    }

    /// Returns the last pieces and the trailers, once the content has ended: only then the request is complete.
    pub(crate) fn finish(self) -> Result<Ending, MessageError> {
        match self.state {
            Content::Open(reader) => reader.finish(),
            Content::Ended(ending) => Ok(ending),
        }
    }
}

/// Responds to one request.
pub(crate) struct Responder {
    response: ResponseSealer,
}

impl Responder {
    /// Does not process the request, of which the application has got nothing, because the instance is busy or stops. Returns the
    /// sealed response. The client may send the request again, under another number.
    pub(crate) fn decline(self) -> Result<Vec<u8>, MessageError> {
        // 503 (RFC 9110 section 15.6.4).
        notice(self.response, 503, DECLINED)
    }

    /// Begins the response of the application.
    pub(crate) fn begin(self, head: &ResponseHead) -> Result<(MessageWriter, Vec<u8>), MessageError> {
        let (start, chunks) = self.response.begin()?;
        MessageWriter::begin(start, chunks, &head.0)
    }
}

/// The head of an application's response, written in full before anything of the response is sealed: one that cannot be sealed can
/// still be replaced.
pub(crate) struct ResponseHead(Vec<u8>);

impl ResponseHead {
    /// Fields that are not the application's to write are left out: a response that an application passes on could otherwise say that
    /// its request was declined.
    pub(crate) fn new(mut head: Head) -> Result<Self, BinaryHttpError> {
        head.fields.retain(|field| !fields::is_reserved(&field.name));
        binary_http::head(&head).map(Self)
    }
}
