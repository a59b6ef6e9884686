//! Clients and instances with a front end between them, for tests and fuzz targets. The front end has all sealed bytes.

use std::time::Duration;

use super::agent::{NotOpened, RequestReader, ResponseHead, Verdict};
use super::client::{Recipient, ResponseError, ResponseReader};
use super::keys::{KeySchedule, MessageKeys};
use super::stream::{Ending, MessageError};
use crate::message::binary_http::{Control, Field, Head, Part};
use crate::message::hpke::Kem;

/// What no sealed byte may show.
pub(super) const SECRET: &str = "the secret";
pub(super) const SCHEDULE: KeySchedule =
    KeySchedule { lifetime: Duration::from_secs(3_600), kept: Duration::from_secs(3_600) };

/// A message as an application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) head: Head,
    pub(super) content: Vec<u8>,
    pub(super) trailers: Vec<Field>,
}

impl Message {
    /// A request with a number, which its path, a field, the content and a trailer carry.
    pub(super) fn request(number: usize, len: usize) -> Self {
        let control = Control::Request {
            method: "POST".to_owned(),
            scheme: "https".to_owned(),
            authority: "app.example".to_owned(),
            path: format!("/{number}?{}", SECRET.replace(' ', "+")),
        };
        Self::new(control, number, len)
    }

    /// The response of the application to that request.
    pub(super) fn response(request: &Self) -> Self {
        let mut response = Self {
            head: Head { control: Control::Response { status: 207 }, ..request.head.clone() },
            ..request.clone()
        };
        response.content.extend(b" was received");
        response
    }

    fn new(control: Control, number: usize, len: usize) -> Self {
        let field = |name: &str| Field { name: name.to_owned(), value: format!("{SECRET} {number}").into_bytes() };
        let content = [SECRET.as_bytes(), &vec![b'x'; len]].concat();
        Self { head: Head { control, fields: vec![field("x-field")] }, content, trailers: vec![field("x-trailer")] }
    }
}

/// An instance of the accepted code: an agent before an application.
pub(super) struct Instance {
    pub(super) keys: MessageKeys,
    /// Whether the agent declines requests.
    pub(super) busy: bool,
    /// The heads that the application got, in order.
    pub(super) begun: Vec<Head>,
    /// The requests that it got whole.
    pub(super) processed: Vec<Message>,
    /// How many requests it got in part.
    pub(super) cut: usize,
}

impl Instance {
    pub(super) fn new(kem: Kem) -> Self {
        let keys = MessageKeys::new(kem, SCHEDULE);
        Self { keys, busy: false, begun: Vec::new(), processed: Vec::new(), cut: 0 }
    }

    /// Takes a sealed request that comes in pieces of some size, and returns the sealed response.
    pub(super) fn deliver(&mut self, sealed: &[u8], size: usize, now: Duration) -> Result<Vec<u8>, NotOpened> {
        let mut reader = RequestReader::new();
        let mut pieces = sealed.chunks(size);
        let verdict = loop {
            match pieces.next() {
                None => break reader.finish()?,
                Some(piece) => {
                    if let Some(verdict) = reader.push(piece, &self.keys, now)? {
                        break verdict;
                    }
                }
            }
        };
        let admitted = match verdict {
            Verdict::Refused(response) => return Ok(response),
            Verdict::Admitted(admitted) if self.busy => return admitted.accept().2.decline().map_err(|_| NotOpened),
            Verdict::Admitted(admitted) => admitted,
        };
        self.begun.push(admitted.head().clone());
        let (head, mut content, responder) = admitted.accept();
        let mut body = Vec::new();
        let read = || -> Result<Vec<Field>, MessageError> {
            loop {
                while let Some(part) = content.next()? {
                    add(&mut body, part);
                }
                match pieces.next() {
                    Some(piece) => content.push(piece),
                    None => break,
                }
            }
            let Ending { parts, trailers } = content.finish()?;
            parts.into_iter().for_each(|part| add(&mut body, part));
            Ok(trailers)
        };
        let Ok(trailers) = read() else {
            self.cut = self.cut.saturating_add(1);
            // The application closes the connection: a cut request has no response here.
            return Err(NotOpened);
        };
        let request = Message { head, content: body, trailers };
        let response = Message::response(&request);
        self.processed.push(request);
        let (mut writer, mut out) =
            responder.begin(&ResponseHead::new(response.head).map_err(|_| NotOpened)?).map_err(|_| NotOpened)?;
        out.extend(writer.content(&response.content).map_err(|_| NotOpened)?);
        out.extend(writer.finish(&response.trailers).map_err(|_| NotOpened)?);
        Ok(out)
    }
}

fn add(body: &mut Vec<u8>, part: Part) {
    if let Part::Content(bytes) = part {
        body.extend(bytes);
    }
}

/// Seals a whole request.
pub(super) fn seal(recipient: &Recipient, request: &Message) -> Result<(Vec<u8>, ResponseReader), MessageError> {
    let (mut writer, mut sealed, reader) = recipient.seal(request.head.clone())?;
    sealed.extend(writer.content(&request.content)?);
    sealed.extend(writer.finish(&request.trailers)?);
    Ok((sealed, reader))
}

/// Reads a response that comes in pieces of some size. `Ok` only if it is complete.
pub(super) fn receive(mut reader: ResponseReader, sealed: &[u8], size: usize) -> Result<Message, ResponseError> {
    let (mut head, mut content) = (None, Vec::new());
    let mut take = |part| match part {
        Part::Head(found) => head = Some(found),
        Part::Content(bytes) => content.extend(bytes),
    };
    for piece in sealed.chunks(size) {
        reader.push(piece);
        while let Some(part) = reader.next()? {
            take(part);
        }
    }
    let Ending { parts, trailers } = reader.finish()?;
    parts.into_iter().for_each(take);
    head.map(|head| Message { head, content, trailers }).ok_or(ResponseError::Malformed)
}

/// Whether sealed bytes show anything of what was said.
pub(super) fn shows_secret(sealed: &[u8]) -> bool {
    let spellings = [SECRET.to_owned(), SECRET.replace(' ', "+"), "app.example".to_owned(), "POST".to_owned()];
    spellings.iter().any(|text| sealed.windows(text.len()).any(|window| window == text.as_bytes()))
}
