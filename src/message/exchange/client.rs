//! The client's end: seals requests to one attested key, and reads the responses to them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::agent::{DECLINED, REFUSED};
use super::fields;
use super::keys::Offer;
use super::replay::{MessageNumber, SessionId, WINDOW};
use super::stream::{Ending, MessageError, MessageReader, MessageWriter};
use crate::message::binary_http::{self, Field, Head, Kind, Part};
use crate::message::key_config::KeyConfig;
use crate::message::request;
use crate::message::response::ResponseOpener;
use crate::sync::lock;

/// The holder of an attested key, with what numbers its requests.
///
/// Not `Clone`: two counters would use each number twice. [`Recipient::new`] is called once for an attestation, after the evidence
/// verified for the digest of this key configuration.
pub(crate) struct Recipient {
    config: KeyConfig,
    session: SessionId,
    numbers: Arc<Mutex<Numbers>>,
}

/// The numbers of one session.
#[derive(Default)]
struct Numbers {
    next: u64,
    /// Of requests whose response has not begun: they may not have arrived.
    under_way: BTreeSet<u64>,
}

/// The number of a request that is not sealed yet.
pub(crate) struct Numbered<'r> {
    recipient: &'r Recipient,
    under_way: UnderWay,
}

/// A number whose request may not have arrived. It is forgotten when this is dropped.
struct UnderWay {
    numbers: Arc<Mutex<Numbers>>,
    number: u64,
}

impl UnderWay {
    /// Takes the next number. None is given out that would put the window of the agent above one that is under way: the request of
    /// that one would be refused if it came later.
    fn begin(numbers: &Arc<Mutex<Numbers>>) -> Option<Self> {
        let mut state = lock(numbers);
        let number = state.free()?;
        state.next = number.checked_add(1)?;
        state.under_way.insert(number);
        Some(Self { numbers: Arc::clone(numbers), number })
    }
}

impl Numbers {
    /// The next number, if it can be given out.
    fn free(&self) -> Option<u64> {
        let oldest = self.under_way.first().copied().unwrap_or(self.next);
        (self.next.saturating_sub(oldest) < WINDOW).then_some(self.next)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.numbers).under_way.remove(&self.number);
    }
}

impl Recipient {
    pub(crate) fn new(offer: Offer) -> Self {
        Self { config: offer.config, session: offer.session, numbers: Arc::default() }
    }

    /// Takes a number for a request. `None` while the response to one that is [`WINDOW`] below the next has not begun, however few are
    /// waited for: requests are then sealed under another attestation, whose numbers begin again.
    pub(crate) fn number(&self) -> Option<Numbered<'_>> {
        Some(Numbered { recipient: self, under_way: UnderWay::begin(&self.numbers)? })
    }

    /// Whether [`Recipient::number`] gives one.
    #[cfg(feature = "crypto-rust")]
    pub(crate) fn has_number(&self) -> bool {
        lock(&self.numbers).free().is_some()
    }

    /// Takes a number and seals the head of a request under it, as [`Numbered::seal`].
    pub(crate) fn seal(&self, head: Head) -> Result<(MessageWriter, Vec<u8>, ResponseReader), MessageError> {
        self.number().ok_or(MessageError::TooManyUnderWay)?.seal(head)
    }
}

impl Numbered<'_> {
    /// Seals the head of a request. Returns what writes its content, the bytes so far, and what reads the response.
    pub(crate) fn seal(self, mut head: Head) -> Result<(MessageWriter, Vec<u8>, ResponseReader), MessageError> {
        let Self { recipient: Recipient { config, session, .. }, under_way } = self;
        fields::check_request(&head.fields)?;
        let number = MessageNumber { session: *session, number: under_way.number };
        let value = number.to_string().into_bytes();
        head.fields.insert(0, Field { name: fields::MESSAGE.to_owned(), value });
        let sealed = request::seal(config)?;
        let (writer, start) = MessageWriter::begin(sealed.start, sealed.chunks, &binary_http::head(&head)?)?;
        let reader = MessageReader::new(sealed.response, Kind::Response);
        Ok((writer, start, ResponseReader { reader, author: Author::Unknown, under_way: Some(under_way) }))
    }
}

/// What the agent says instead of a response of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Refused,
    Declined,
}

/// Why there is no complete response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    /// It does not open or is cut; or it opens, and the instance has sent no message of HTTP.
    #[error("{what}: {0}", what = about(.0))]
    Message(#[from] MessageError),
    /// The agent refused the request: it may have been processed before.
    #[error("the instance does not know the session, or received the request before")]
    Refused,
    /// The agent did not process the request and never will.
    #[error("the instance did not process the request")]
    Declined,
    /// A head or content where there is none, or a field that no agent sends.
    #[error("the attested instance sent a response of a form that no agent sends")]
    Malformed,
    /// A trailer field that HTTP does not have.
    #[error("the attested instance sent a malformed response: a trailer field is none that HTTP has")]
    Trailer,
}

/// What an error is about. Only what has been opened is the instance's.
fn about(error: &MessageError) -> &'static str {
    match error {
        MessageError::Chunk(_) => "the response is not that of the attested instance to this request",
        MessageError::BinaryHttp(_) | MessageError::Reserved(_) => "the attested instance sent a malformed response",
        MessageError::TooManyUnderWay => "the request was not sealed",
    }
}

/// Reads the response to one request.
pub(crate) struct ResponseReader {
    reader: MessageReader<ResponseOpener>,
    author: Author,
    /// Until the response begins.
    under_way: Option<UnderWay>,
}

/// Who wrote the response, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    Unknown,
    Application,
    Agent(Notice),
    /// No agent sends it.
    Malformed,
}

impl ResponseReader {
    /// Takes the next bytes. The caller calls [`ResponseReader::next`] until it gives `None` before it pushes more.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// Returns the next part of the application's response, or `None` until more has been pushed. The first part is the head, and no
    /// other is.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, ResponseError> {
        while let Some(part) = self.reader.next()? {
            // The agent marks the number before it responds.
            self.under_way = None;
            if let Some(part) = self.author.take(part)? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Returns the last parts and the trailers, once the content has ended: only then the response is complete. What the agent says
    /// instead of the application counts only if it is complete.
    pub(crate) fn finish(self) -> Result<Ending, ResponseError> {
        let Self { reader, mut author, under_way: _ } = self;
        let Ending { parts, trailers } = reader.finish()?;
        let mut of_application = Vec::new();
        for part in parts {
            of_application.extend(author.take(part)?);
        }
        match author {
            Author::Application => Ok(Ending { parts: of_application, trailers }),
            Author::Agent(Notice::Refused) => Err(ResponseError::Refused),
            Author::Agent(Notice::Declined) => Err(ResponseError::Declined),
            Author::Unknown | Author::Malformed => Err(ResponseError::Malformed),
        }
    }
}

impl Author {
    /// Returns the part if it is the application's.
    fn take(&mut self, part: Part) -> Result<Option<Part>, ResponseError> {
        if let Part::Head(head) = &part {
            *self = if *self == Self::Unknown { Self::of(head) } else { Self::Malformed };
        }
        match (&self, part) {
            (Self::Application, part) => Ok(Some(part)),
            (Self::Agent(_), Part::Head(_)) => Ok(None),
            _ => {
                *self = Self::Malformed;
                Err(ResponseError::Malformed)
            }
        }
    }

    fn of(head: &Head) -> Self {
        if fields::check(&head.fields, fields::is_of_a_connection).is_err() {
            return Self::Malformed;
        }
        match fields::message(&head.fields) {
            Ok(None) => Self::Application,
            Ok(Some(value)) if value == REFUSED.as_bytes() => Self::Agent(Notice::Refused),
            Ok(Some(value)) if value == DECLINED.as_bytes() => Self::Agent(Notice::Declined),
            Ok(Some(_)) | Err(_) => Self::Malformed,
        }
    }
}
