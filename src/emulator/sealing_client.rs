//! Sealed messages without a network and without evidence.

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};

use crate::message::binary_http::{Control, Head, Part};
use crate::message::exchange::client::{Recipient, ResponseReader};
use crate::message::exchange::keys::Offer;
use crate::message::exchange::replay::SessionId;
use crate::message::exchange::stream::Ending;
use crate::message::headers::{from_fields, to_fields};
use crate::message::key_config::KeyConfig;

/// The client's end of sealed messages for a key that nothing attests: to test and to measure an agent. A [`Session`](crate::Session)
/// seals to attested keys only.
pub struct SealingClient(Recipient);

/// Opens the response to one request of a [`SealingClient`].
pub struct SealedCall {
    reader: ResponseReader,
    head: Option<Response<()>>,
}

impl SealingClient {
    /// Takes the key configuration and the session that an agent has returned. `None` if they are none of the protocol.
    #[must_use]
    pub fn new(key_config: &[u8], session: &str) -> Option<Self> {
        let (config, session) = (KeyConfig::from_bytes(key_config).ok()?, SessionId::from_hex(session)?);
        Some(Self(Recipient::new(Offer { config, session })))
    }

    /// Seals a request with its content, under a number of its own. Returns the content of the request that carries it.
    ///
    /// # Panics
    ///
    /// If the request has a header or a target that a sealed request cannot have.
    #[must_use]
    pub fn seal(&self, request: &Request<Vec<u8>>) -> (Vec<u8>, SealedCall) {
        let uri = request.uri();
        let control = Control::Request {
            method: request.method().to_string(),
            scheme: "https".to_owned(),
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            path: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        };
        let head = Head { control, fields: to_fields(request.headers()) };
        let (mut writer, mut sealed, reader) = self.0.seal(head).expect("a request that can be sealed");
        sealed.extend(writer.content(request.body()).expect("content that can be sealed"));
        sealed.extend(writer.finish(&[]).expect("an end that can be sealed"));
        (sealed, SealedCall { reader, head: None })
    }
}

impl SealedCall {
    /// Opens a whole response. `None` if it is not the response to this request, or not complete.
    #[must_use]
    pub fn open(mut self, content: &[u8]) -> Option<Response<Vec<u8>>> {
        let mut opened = Vec::new();
        let mut take = |piece: Bytes| opened.extend_from_slice(&piece);
        self.push(content, &mut take)?;
        let response = self.end(&mut take)?;
        Some(response.map(|()| opened))
    }

    /// Opens what has come of the response, and gives each piece of its content to `take`. `None` if it is not the response to this request.
    #[must_use]
    pub fn push(&mut self, content: &[u8], mut take: impl FnMut(Bytes)) -> Option<()> {
        self.reader.push(content);
        while let Some(part) = self.reader.next().ok()? {
            read(part, &mut self.head, &mut take)?;
        }
        Some(())
    }

    /// Ends the response. `None` if it is not complete: then what was opened is not the whole of it.
    #[must_use]
    pub fn end(mut self, mut take: impl FnMut(Bytes)) -> Option<Response<()>> {
        let Ending { parts, .. } = self.reader.finish().ok()?;
        for part in parts {
            read(part, &mut self.head, &mut take)?;
        }
        self.head
    }
}

fn read(part: Part, response: &mut Option<Response<()>>, take: &mut impl FnMut(Bytes)) -> Option<()> {
    match part {
        Part::Content(bytes) => take(bytes),
        Part::Head(head) => {
            let Control::Response { status } = head.control else { return None };
            let mut opened = Response::new(());
            *opened.status_mut() = StatusCode::from_u16(status).ok()?;
            *opened.headers_mut() = from_fields(&head.fields)?;
            *response = Some(opened);
        }
    }
    Some(())
}

impl std::fmt::Debug for SealingClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingClient").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SealedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedCall").finish_non_exhaustive()
    }
}
