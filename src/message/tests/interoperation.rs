//! The crate `ohttp` 0.8.0 on the other end, with AES-128-GCM. Its streams have two defects: they have neither AES-256-GCM, nor
//! ChaCha20-Poly1305 in responses (they reserve 16 bytes for the nonce of 32, and panic); and to a reader whose buffer has space for all of
//! an empty chunk, that chunk is the end of the stream, so that a message that was cut after it is a whole one.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Cursor};
use ohttp::hpke::{Aead as TheirAead, Kdf, Kem as TheirKem};

use super::*;
use crate::crypto::sealing::Aead;
use crate::message::hpke::setup_sender;
use crate::message::varint;

fn their_kem(kem: Kem) -> TheirKem {
    match kem {
        Kem::X25519 => TheirKem::X25519Sha256,
        Kem::XWing => TheirKem::XWing,
    }
}

/// What was written, also while the writer is kept.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Texts of several sizes, from one byte up to more than a chunk.
fn lengths() -> [usize; 4] {
    [1, 100, 16_384, 40_000]
}

#[test]
fn the_crate_ohttp_opens_our_requests_and_we_its_responses() {
    for kem in [Kem::X25519, Kem::XWing] {
        let suite = ohttp::SymmetricSuite::new(Kdf::HkdfSha256, TheirAead::Aes128Gcm);
        let theirs = ohttp::KeyConfig::new(9, their_kem(kem), vec![suite]).unwrap();
        let encoded = theirs.encode().unwrap();
        let public_key = encoded[3..3 + kem.public_key_len()].to_vec();
        let config = KeyConfig::new(9, kem, public_key).unwrap().with_aes_128_gcm();
        assert_eq!(config.to_bytes(), encoded);
        let server = ohttp::Server::new(theirs).unwrap();
        for len in lengths() {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            let mut sealed = request::seal(&config).unwrap();
            let mut content = sealed.start;
            for piece in text.chunks(10_000) {
                content.extend(sealed.chunks.chunk(piece).unwrap());
            }
            content.extend(sealed.chunks.finish(b"").unwrap());
            let response = block_on(async {
                let mut request = server.clone().decapsulate_stream(Cursor::new(content));
                let mut received = Vec::new();
                request.read_to_end(&mut received).await.unwrap();
                assert!(received == text, "{kem:?}, {len} bytes");
                let mut sink = Cursor::new(Vec::new());
                let mut response = request.response(&mut sink).unwrap();
                response.write_all(&text).await.unwrap();
                response.close().await.unwrap();
                sink.into_inner()
            });
            assert!(response_texts(sealed.response, &response, 1_000).unwrap().concat() == text);
        }
    }
}

#[test]
fn we_open_requests_of_the_crate_ohttp_and_it_our_responses() {
    for kem in [Kem::X25519, Kem::XWing] {
        let (key, config) = key(kem);
        let config = config.with_aes_128_gcm();
        for len in lengths() {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            let sink = Sink::default();
            block_on(async {
                let client = ohttp::ClientRequest::from_encoded_config(&config.to_bytes()).unwrap();
                let mut request = client.encapsulate_stream(sink.clone()).unwrap();
                request.write_all(&text).await.unwrap();
                request.close().await.unwrap();
                let opened = opened(&sink.0.lock().unwrap(), &key);
                assert!(texts(opened.chunks).unwrap().concat() == text, "{kem:?}, {len} bytes");
                let (nonce, mut chunks) = opened.response.begin().unwrap();
                let mut sealed = nonce;
                for piece in text.chunks(10_000) {
                    sealed.extend(chunks.chunk(piece).unwrap());
                }
                sealed.extend(chunks.finish(b"").unwrap());
                let mut received = Vec::new();
                request.response(Cursor::new(sealed)).unwrap().read_to_end(&mut received).await.unwrap();
                assert!(received == text);
            });
        }
    }
}

/// A request of these chunks and a final one, without the check that our sealer makes. Also returns how many bytes are before the final one.
fn sealed_unchecked(config: &KeyConfig, texts: &[&[u8]], last: &[u8]) -> (Vec<u8>, usize) {
    let header = config.header();
    let info = [b"message/bhttp chunked request\0".as_slice(), &header].concat();
    let mut sender = setup_sender(config.kem(), Aead::Aes128Gcm, config.public_key(), &info).unwrap();
    let mut content = [header.as_slice(), &sender.encapsulated].concat();
    for text in texts {
        let chunk = sender.context.seal(b"", text).unwrap();
        varint::write(chunk.len(), &mut content).unwrap();
        content.extend(chunk);
    }
    let before_last = content.len();
    content.push(0);
    content.extend(sender.context.seal(b"final", last).unwrap());
    (content, before_last)
}

/// If this fails with a later version of the crate, the defect is repaired there.
#[test]
fn an_empty_chunk_is_refused_here_and_the_end_for_the_crate_ohttp() {
    let texts: [&[u8]; 2] = [b"hello ", b""];
    let suite = ohttp::SymmetricSuite::new(Kdf::HkdfSha256, TheirAead::Aes128Gcm);
    let their_config = ohttp::KeyConfig::new(9, TheirKem::X25519Sha256, vec![suite]).unwrap();
    let public_key = their_config.encode().unwrap()[3..35].to_vec();
    let config = KeyConfig::new(9, Kem::X25519, public_key).unwrap().with_aes_128_gcm();
    let (content, before_last) = sealed_unchecked(&config, &texts, b"world");
    let server = ohttp::Server::new(their_config).unwrap();
    let theirs = |content: &[u8]| {
        let mut received = Vec::new();
        let mut request = server.clone().decapsulate_stream(Cursor::new(content.to_vec()));
        block_on(request.read_to_end(&mut received)).map(|_| received).map_err(|error| error.to_string())
    };
    assert_eq!(theirs(&content), Ok(b"hello ".to_vec()));
    assert_eq!(theirs(&content[..before_last]), Ok(b"hello ".to_vec()), "cut, and whole all the same");
    // Without the empty chunk, it finds that a message is cut.
    let (content, before_last) = sealed_unchecked(&config, &texts[..1], b"world");
    assert_eq!(theirs(&content), Ok(b"hello world".to_vec()));
    assert_eq!(theirs(&content[..before_last]), Err("a field was truncated".to_owned()));

    let (key, config) = key(Kem::X25519);
    let config = config.with_aes_128_gcm();
    let ours = |content: &[u8]| super::texts(opened(content, &key).chunks);
    let (content, before_last) = sealed_unchecked(&config, &texts, b"world");
    assert_eq!(ours(&content), Err(ChunkError::Empty));
    assert_eq!(ours(&content[..before_last]), Err(ChunkError::Empty));
    let (content, before_last) = sealed_unchecked(&config, &texts[..1], b"world");
    assert_eq!(ours(&content).unwrap(), [b"hello ".as_slice(), b"world"]);
    assert_eq!(ours(&content[..before_last]), Err(ChunkError::Truncated));
    // Our sealer makes no such message.
    assert_eq!(request::seal(&config).unwrap().chunks.chunk(b""), Err(ChunkError::Empty));
}
