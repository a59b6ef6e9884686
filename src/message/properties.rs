//! Properties of the parsers that hold for any bytes: unit tests check them on vectors, fuzz targets on everything else.
//!
//! Every function panics if its property does not hold.

use super::binary_http::{self, BinaryHttpError, Decoder, Field, Head, Kind, Part};
use super::chunks::{ChunkError, ChunkOpener, ChunkSealer, Chunks, MAX_TEXT};
#[cfg(fuzzing)]
pub use super::exchange::properties::{front_end, message_number, sessions};
use super::exchange::runtime_data::runtime_data;
use super::hpke::{Kem, PrivateKey};
use super::key_config::{KeyConfig, KeyConfigError};
use super::request::{self, RequestStart};
use crate::crypto::sealing::X25519PrivateKey;
use crate::types::Nonce;

/// The private key of RFC 9458 appendix A.
const PRIVATE_KEY: [u8; 32] = [
    0x3c, 0x16, 0x89, 0x75, 0x67, 0x4b, 0x2f, 0xa8, 0xe4, 0x65, 0x97, 0x0b, 0x79, 0xc8, 0xdc, 0xf0, 0x9f, 0x1c, 0x74,
    0x16, 0x26, 0x48, 0x0b, 0xd4, 0xc6, 0x16, 0x2f, 0xc5, 0xb6, 0xa9, 0x8e, 0x1a,
];
/// How messages are cut into pieces.
const PIECES: [usize; 3] = [1, 7, usize::MAX];

/// A key configuration that is read is written as the same bytes, and a message can be sealed to it. Nothing can be sealed to a key that
/// is refused.
///
/// # Panics
///
/// If it is not.
pub fn key_config(bytes: &[u8]) {
    match KeyConfig::from_bytes(bytes) {
        Ok(config) => {
            assert_eq!(config.to_bytes(), bytes);
            assert_eq!(config.digest(), crate::crypto::sha256_digest(bytes));
            assert_eq!(runtime_data(&Nonce::new([0; 32]), &config).len(), 207);
            let sealed = request::seal(&config).map(|sealed| sealed.start);
            let read = sealed.as_ref().map(|start| RequestStart::read(start));
            assert!(matches!(read, Ok(Ok(Some((start, [])))) if start.names(&config)));
        }
        Err(KeyConfigError::PublicKey(_)) => {
            let refused = || {
                let ([key_id, kem @ ..], rest) = bytes.split_first_chunk::<3>()?;
                let (public_key, _) = rest.split_last_chunk::<6>()?;
                KeyConfig::new(*key_id, Kem::from_id(*kem)?, public_key.to_vec())
            };
            assert!(refused().is_some_and(|config| request::seal(&config).is_err()));
        }
        Err(_) => {}
    }
}

/// An encapsulated request gives the same texts, or the same error, in whatever pieces it comes.
///
/// # Panics
///
/// If it does not.
pub fn encapsulated_request(bytes: &[u8]) {
    let is_x_wing = bytes.get(1..3) == Some(&Kem::XWing.id());
    let private_key = if is_x_wing { x_wing_key() } else { x25519_key() };
    assert!(private_key.is_some(), "the private key of the vectors is not usable");
    let all = PIECES.map(|size| {
        let (start, rest) = RequestStart::read(bytes).ok().flatten()?;
        Some(open(start.open(private_key.as_ref()?).ok()?.chunks, rest, size))
    });
    let [first, rest @ ..] = all;
    assert!(rest.iter().all(|other| *other == first), "{first:?} and {rest:?}");
}

fn x25519_key() -> Option<PrivateKey> {
    X25519PrivateKey::from_bytes(&PRIVATE_KEY).map(PrivateKey::X25519).ok()
}

/// The key of the vector for X-Wing, as it is expanded from the seed there.
pub(super) fn x_wing_key() -> Option<PrivateKey> {
    let parts = hex::decode(include_str!("x_wing_private_key.hex").split_whitespace().collect::<String>());
    PrivateKey::x_wing(&parts.ok()?).ok()
}

/// A text that is sealed to a new key comes out at the other end, and so does its response.
///
/// # Panics
///
/// If one does not.
pub fn sealed_text(text: &[u8]) {
    let kem = if text.first().is_some_and(|byte| byte & 1 == 1) { Kem::XWing } else { Kem::X25519 };
    let exchange = || -> Option<[Vec<u8>; 2]> {
        let key = PrivateKey::generate(kem).ok()?;
        let config = KeyConfig::new(0, kem, key.public_key().ok()?)?;
        let mut sealed = request::seal(&config).ok()?;
        assert_eq!(config.kem(), kem);
        let content = seal(sealed.start, &mut sealed.chunks, text)?;
        let content = [content, sealed.chunks.finish(b"").ok()?].concat();
        let (start, rest) = RequestStart::read(&content).ok().flatten()?;
        let opened = start.open(&key).ok()?;
        let (request, None) = open(opened.chunks, rest, usize::MAX) else { return None };
        let (nonce, mut chunks) = opened.response.begin().ok()?;
        let content = [seal(nonce, &mut chunks, text)?, chunks.finish(b"").ok()?].concat();
        let mut response = Vec::new();
        for piece in content.chunks(1_000) {
            sealed.response.push(piece);
            while let Some(text) = sealed.response.next().ok()? {
                response.extend(text);
            }
        }
        response.extend(sealed.response.finish().ok()?);
        Some([request.concat(), response])
    };
    assert!(exchange().is_some_and(|texts| texts.iter().all(|found| found == text)));
}

fn seal(mut out: Vec<u8>, chunks: &mut ChunkSealer, text: &[u8]) -> Option<Vec<u8>> {
    for piece in text.chunks(MAX_TEXT) {
        out.extend(chunks.chunk(piece).ok()?);
    }
    Some(out)
}

fn open(mut chunks: ChunkOpener, content: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<ChunkError>) {
    let mut texts = Vec::new();
    for piece in content.chunks(size) {
        chunks.push(piece);
        loop {
            match chunks.next() {
                Ok(Some(text)) => texts.push(text.to_vec()),
                Ok(None) => break,
                Err(error) => return (texts, Some(error)),
            }
        }
    }
    match chunks.finish() {
        Ok(text) => {
            texts.push(text.to_vec());
            (texts, None)
        }
        Err(error) => (texts, Some(error)),
    }
}

/// A binary HTTP message is the same in whatever pieces it comes, and once more when it was written again.
///
/// # Panics
///
/// If it is not.
pub fn binary_http(bytes: &[u8]) {
    for kind in [Kind::Request, Kind::Response] {
        let [first, rest @ ..] = PIECES.map(|size| read(kind, bytes, size));
        assert!(rest.iter().all(|other| *other == first), "{first:?} and {rest:?}");
        if let (Some(head), content, Ok(trailers)) = &first {
            let again = write(head, content, trailers).map(|written| read(kind, &written, usize::MAX));
            assert_eq!(again.as_ref(), Ok(&first));
        }
    }
}

/// Head, content and trailers of a message.
pub(super) type Message = (Option<Head>, Vec<u8>, Result<Vec<Field>, BinaryHttpError>);

/// Reads a message that comes in pieces.
pub(super) fn read(kind: Kind, bytes: &[u8], size: usize) -> Message {
    let mut decoder = Decoder::new(kind);
    let (mut head, mut content) = (None, Vec::new());
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(Part::Head(found))) => head = Some(found),
                Ok(Some(Part::Content(piece))) => content.extend(piece),
                Ok(None) => break,
                Err(error) => return (head, content, Err(error)),
            }
        }
    }
    let trailers = decoder.finish();
    (head, content, trailers)
}

fn write(head: &Head, content: &[u8], trailers: &[Field]) -> Result<Vec<u8>, BinaryHttpError> {
    Ok([binary_http::head(head)?, binary_http::content(content)?, binary_http::end(trailers)?].concat())
}
