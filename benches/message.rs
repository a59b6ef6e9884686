//! What a sealed message costs beside the bare primitives that it is made of.
//!
//! `cargo bench --bench message`. One call is a request and its response, each with a head and an end, sealed and opened: all four
//! operations of both ends. "Bare" makes the same calls of AWS-LC with inputs of the same sizes, and nothing else: key agreements,
//! HKDF, AES-256-GCM, the nonce of the response. Whatever the crate does not call, bare does not either. The goal is 1.10.
//!
//! A response of 1 MiB more is sealed and opened as a stream, piece by piece. Bare seals and opens each piece in one buffer, which holds
//! it already: what the crate has beside is the copy out of the application's buffer and into that of the client, and the lengths.

mod measure;

use std::cell::RefCell;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as AeadNonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::kem::{DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use blindbox_attestation::Nonce;
use blindbox_attestation::agent::{KeySchedule, MessageKem, MessageKeys, Opened, open};
use blindbox_attestation::emulator::SealingClient;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};

use self::measure::{Case, medians};

/// The content of a full chunk. With its length, two bytes more are sealed.
const PIECE: usize = 16_364;
/// As many make 1 MiB.
const PIECES: usize = 64;
/// The heads of the two messages and the end of each, as binary HTTP.
const REQUEST: [usize; 2] = [118, 2];
const RESPONSE: [usize; 2] = [34, 2];

fn main() {
    for kem in [MessageKem::X25519, MessageKem::XWing] {
        let keys = MessageKeys::new(kem, KeySchedule::default());
        let offer = keys.offer(&Nonce::new([7; 32]), Duration::ZERO).unwrap();
        let client = SealingClient::new(&offer.key_config, &offer.session).unwrap();
        let bare = Bare::new(kem);
        let request = Request::post("https://app.example/generate").header("content-type", "application/json");
        let request = request.body(Vec::new()).unwrap();
        let times = medians(&mut [
            Case::new("bare: a request and its response", || bare.message(0)),
            Case::new("sealed: a request and its response", || exchange(&client, &keys, &request, 0)),
            Case::new("bare: the same with 1 MiB down", || bare.message(PIECES)),
            Case::new("sealed: the same with 1 MiB down", || exchange(&client, &keys, &request, PIECES)),
        ]);
        println!("{kem:?}: a message / bare {:.3} (goal: at most 1.10)", times[1] / times[0]);
        println!("{kem:?}: 1 MiB more / bare {:.3}", (times[3] - times[1]) / (times[2] - times[0]));
    }
}

/// A request that is sealed and opened, and a response to it with as many pieces of content that is sealed and opened.
fn exchange(client: &SealingClient, keys: &MessageKeys, request: &Request<Vec<u8>>, pieces: usize) {
    let (sealed, mut call) = client.seal(request);
    let Ok(Opened::Admitted(exchange)) = at_once(open(keys, body(Bytes::from(sealed), 1), Duration::ZERO)) else {
        panic!("the request does not open")
    };
    let (request, responder) = exchange.accept();
    read(request.into_body(), |_| panic!("the request has no content"));
    let response = Response::builder().header("content-type", "application/json");
    let response = response.body(body(Bytes::from_static(&[7; PIECE]), pieces)).unwrap();
    let mut received = 0;
    let mut take = |piece: Bytes| received += black_box(piece).len();
    read(responder.seal(response).unwrap().into_body(), |sealed| call.push(&sealed, &mut take).unwrap());
    assert_eq!(call.end(&mut take).unwrap().status(), 200);
    assert_eq!(received, pieces * PIECE);
}

/// A body of the same piece so many times.
fn body(piece: Bytes, times: usize) -> Repeated {
    Repeated { piece, left: times }
}

struct Repeated {
    piece: Bytes,
    left: usize,
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

fn read(mut body: impl Body<Data = Bytes, Error: std::fmt::Debug> + Unpin, mut each: impl FnMut(Bytes)) {
    while let Some(frame) = at_once(std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))) {
        each(frame.unwrap().into_data().unwrap());
    }
}

/// The result of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// The primitives of a message, on keys that are there.
struct Bare {
    x25519: PrivateKey,
    ml_kem: Option<(DecapsulationKey, Vec<u8>)>,
    /// A full chunk with the place for its tag.
    buffer: RefCell<Vec<u8>>,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn extract(salt: &[u8], input: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    context.update(input);
    context.sign().as_ref().try_into().unwrap()
}

fn expand<const N: usize>(key: &[u8; 32], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key).expand(&[info], Length(N)).unwrap().fill(&mut out).unwrap();
    out
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap())
}

impl Bare {
    fn new(kem: MessageKem) -> Self {
        let ml_kem = (kem == MessageKem::XWing).then(|| {
            let key = DecapsulationKey::generate(&ML_KEM_768).unwrap();
            let public = key.encapsulation_key().unwrap().key_bytes().unwrap().as_ref().to_vec();
            (key, public)
        });
        let buffer = RefCell::new(vec![7; PIECE + 2 + 16]);
        Self { x25519: PrivateKey::generate(&X25519).unwrap(), ml_kem, buffer }
    }

    /// A request and a response, each a chunk with its head and one with its end, and full chunks in between in the response.
    fn message(&self, pieces: usize) {
        let own = self.x25519.compute_public_key().unwrap();
        let ephemeral = PrivateKey::generate(&X25519).unwrap();
        let public = ephemeral.compute_public_key().unwrap();
        let here = agree(&ephemeral, UnparsedPublicKey::new(&X25519, own.as_ref()), (), |dh| Ok(dh.to_vec())).unwrap();
        let there =
            agree(&self.x25519, UnparsedPublicKey::new(&X25519, public.as_ref()), (), |dh| Ok(dh.to_vec())).unwrap();
        let secrets = match &self.ml_kem {
            None => [here, there].map(|dh| expand(&extract(&[], &dh), &[1; 100])),
            Some((key, public)) => {
                let (ciphertext, secret) = EncapsulationKey::new(&ML_KEM_768, public).unwrap().encapsulate().unwrap();
                let opened = key.decapsulate(ciphertext).unwrap();
                [(secret, here), (opened, there)].map(|(secret, dh)| {
                    let combined = [secret.as_ref(), &dh, &[1; 70]].concat();
                    digest::digest(&digest::SHA3_256, &combined).as_ref().try_into().unwrap()
                })
            }
        };
        let [up, down] = secrets.map(|secret: [u8; 32]| {
            // `KeySchedule` of RFC 9180 section 5.1, and the export for the response.
            let mut context = [0; 90];
            context[..32].copy_from_slice(&extract(&[], &[2; 28]));
            context[32..64].copy_from_slice(&extract(&[], &[3; 63]));
            let prk = extract(&secret, &[4; 23]);
            let _: [u8; 12] = expand(&prk, &context);
            let exporter: [u8; 32] = expand(&prk, &context);
            (aead(&expand(&prk, &context)), expand::<32>(&exporter, &[5; 52]))
        });
        let mut buffer = self.buffer.borrow_mut();
        for len in REQUEST {
            chunk(&up.0, &down.0, &mut buffer[..len + 16]);
        }
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).unwrap();
        let [sealing, opening] = [up.1, down.1].map(|exported| {
            let prk = extract(&[nonce, nonce].concat(), &exported);
            let _: [u8; 12] = expand(&prk, b"nonce");
            aead(&expand(&prk, b"key"))
        });
        let [head, end] = RESPONSE;
        for len in std::iter::once(head).chain(std::iter::repeat_n(PIECE + 2, pieces)).chain([end]) {
            chunk(&sealing, &opening, &mut buffer[..len + 16]);
        }
    }
}

/// Seals and opens what is before the place for the tag.
fn chunk(sealing: &LessSafeKey, opening: &LessSafeKey, buffer: &mut [u8]) {
    let nonce = || AeadNonce::assume_unique_for_key([0; 12]);
    let (text, place) = buffer.split_last_chunk_mut::<16>().unwrap();
    let tag = sealing.seal_in_place_separate_tag(nonce(), Aad::empty(), text).unwrap();
    place.copy_from_slice(tag.as_ref());
    black_box(opening.open_in_place(nonce(), Aad::empty(), buffer).unwrap());
}
