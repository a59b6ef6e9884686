//! Whole messages: published vectors, the project's own, and the crates `ohttp` and `bhttp` on the other end.

mod interoperation;
mod vectors;

use super::binary_http::{self, Control, Field, Head};
use super::chunks::{ChunkError, ChunkOpener, Chunks};
use super::hpke::{Kem, PrivateKey};
use super::key_config::KeyConfig;
use super::properties;
use super::request::{self, OpenedRequest, RequestStart, UnknownAlgorithms};
use super::response::ResponseOpener;

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn key(kem: Kem) -> (PrivateKey, KeyConfig) {
    let key = PrivateKey::generate(kem).unwrap();
    let config = KeyConfig::new(3, kem, key.public_key().unwrap()).unwrap();
    (key, config)
}

/// Opens what a request starts with; the chunks that follow are pushed.
fn opened(content: &[u8], key: &PrivateKey) -> OpenedRequest {
    let (start, rest) = RequestStart::read(content).unwrap().unwrap();
    let mut opened = start.open(key).unwrap();
    opened.chunks.push(rest);
    opened
}

/// The texts of all chunks.
fn texts(mut chunks: ChunkOpener) -> Result<Vec<Vec<u8>>, ChunkError> {
    let mut texts = Vec::new();
    while let Some(text) = chunks.next()? {
        texts.push(text.to_vec());
    }
    texts.push(chunks.finish()?.to_vec());
    Ok(texts)
}

fn response_texts(mut response: ResponseOpener, content: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, ChunkError> {
    let mut texts = Vec::new();
    for bytes in content.chunks(piece) {
        response.push(bytes);
        while let Some(text) = response.next()? {
            texts.push(text.to_vec());
        }
    }
    texts.push(response.finish()?.to_vec());
    Ok(texts)
}

fn request_head() -> Head {
    Head {
        control: Control::Request {
            method: "POST".to_owned(),
            scheme: "https".to_owned(),
            authority: "app.example".to_owned(),
            path: "/generate".to_owned(),
        },
        fields: vec![Field { name: "content-type".to_owned(), value: b"application/json".to_vec() }],
    }
}

#[test]
fn a_request_and_its_response_go_through_either_kem() {
    for kem in [Kem::X25519, Kem::XWing] {
        let (key, config) = key(kem);
        let mut sealed = request::seal(&config).unwrap();
        let content = [
            sealed.start,
            sealed.chunks.chunk(&binary_http::head(&request_head()).unwrap()).unwrap(),
            sealed.chunks.finish(&binary_http::end(&[]).unwrap()).unwrap(),
        ]
        .concat();
        let (start, _) = RequestStart::read(&content).unwrap().unwrap();
        assert!(start.names(&config));
        let opened = opened(&content, &key);
        let request = texts(opened.chunks).unwrap().concat();
        let message = properties::read(binary_http::Kind::Request, &request, usize::MAX);
        assert_eq!(message, (Some(request_head()), Vec::new(), Ok(Vec::new())));

        let (nonce, mut chunks) = opened.response.begin().unwrap();
        let response = [nonce, chunks.chunk(b"one").unwrap(), chunks.finish(b"two").unwrap()].concat();
        assert_eq!(response_texts(sealed.response, &response, 5).unwrap(), [b"one", b"two"]);
    }
}

#[test]
fn texts_of_any_size_go_through() {
    for len in [0, 1, 16_384, 16_385, 70_001] {
        properties::sealed_text(&vec![0; len]);
        properties::sealed_text(&vec![1; len]);
    }
}

/// The holder of the key cannot respond to one request with the response to another, and nor can anyone in between.
#[test]
fn a_response_opens_for_its_own_request_only() {
    let (key, config) = key(Kem::XWing);
    let respond = |text: &[u8]| {
        let sealed = request::seal(&config).unwrap();
        let content = [sealed.start, sealed.chunks.finish(b"").unwrap()].concat();
        let (nonce, chunks) = opened(&content, &key).response.begin().unwrap();
        (sealed.response, [nonce, chunks.finish(text).unwrap()].concat())
    };
    let ((first, to_first), (second, to_second)) = (respond(b"one"), respond(b"two"));
    assert_eq!(response_texts(first, &to_second, usize::MAX), Err(ChunkError::Unauthentic));
    assert_eq!(response_texts(second, &to_first, usize::MAX), Err(ChunkError::Unauthentic));
    let (third, to_third) = respond(b"three");
    assert_eq!(response_texts(third, &to_third, 1).unwrap(), [b"three"]);
}

#[test]
fn a_response_that_was_cut_anywhere_is_incomplete() {
    let (key, config) = key(Kem::X25519);
    let respond = |len: usize| {
        let sealed = request::seal(&config).unwrap();
        let content = [sealed.start, sealed.chunks.finish(b"").unwrap()].concat();
        let (nonce, mut chunks) = opened(&content, &key).response.begin().unwrap();
        let response = [nonce, chunks.chunk(b"one").unwrap(), chunks.finish(b"").unwrap()].concat();
        (response.len(), response_texts(sealed.response, &response[..len.min(response.len())], usize::MAX))
    };
    let (len, whole) = respond(usize::MAX);
    assert_eq!(whole.unwrap(), [b"one".as_slice(), b""]);
    for cut in 0..len {
        let expected = if cut > 32 + 20 { ChunkError::Unauthentic } else { ChunkError::Truncated };
        assert_eq!(respond(cut).1, Err(expected), "{cut} of {len} bytes");
    }
}

/// The key id and the algorithms are authenticated: they are part of what the key is derived with.
#[test]
fn a_request_with_another_key_id_or_algorithm_does_not_open() {
    let (key, config) = key(Kem::X25519);
    let sealed = request::seal(&config).unwrap();
    let content = [sealed.start, sealed.chunks.finish(b"text").unwrap()].concat();
    let changed = |at: usize, byte: u8| {
        let mut content = content.clone();
        content[at] = byte;
        content
    };
    assert_eq!(texts(opened(&content, &key).chunks).unwrap(), [b"text"]);
    assert_eq!(texts(opened(&changed(0, 4), &key).chunks), Err(ChunkError::Unauthentic));
    for at in 1..7 {
        assert_eq!(RequestStart::read(&changed(at, 0x7f)).err(), Some(UnknownAlgorithms), "byte {at}");
    }
    for len in 0..39 {
        assert!(RequestStart::read(&content[..len]).unwrap().is_none(), "{len} bytes are no start of a request");
    }
}

/// A key of one KEM does not open what names the other.
#[test]
fn a_request_under_another_kem_does_not_open() {
    let ((_, config), (other, _)) = (key(Kem::XWing), key(Kem::X25519));
    let sealed = request::seal(&config).unwrap();
    let (start, _) = RequestStart::read(&sealed.start).unwrap().unwrap();
    assert!(start.open(&other).is_err_and(|error| error == crate::crypto::sealing::SealingError));
}
