//! What a sealed message costs beside the bare primitives that it is made of.
//!
//! `cargo bench --bench message`. One call is a request and its response, each with a head and an end, sealed and opened: all four
//! operations of both ends. "Bare" makes the same calls of AWS-LC with inputs of the same sizes, and nothing else: key agreements,
//! HKDF, AES-256-GCM. The goal is 1.10. A large body is compared with AES-256-GCM alone.

mod measure;

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

/// A large body. It is in memory as a whole several times, so that allocations count here which a stream does not have.
const BULK: usize = 1 << 20;
/// The content of a chunk with it, and what a chunk has beside it.
const PIECE: usize = 16_364;

fn main() {
    for kem in [MessageKem::X25519, MessageKem::XWing] {
        let keys = MessageKeys::new(kem, KeySchedule::default());
        let offer = keys.offer(&Nonce::new([7; 32]), Duration::ZERO).unwrap();
        let client = SealingClient::new(&offer.key_config, &offer.session).unwrap();
        let bare = Bare::new(kem);
        let [small, large] = [0, BULK].map(request);
        let times = medians(&mut [
            Case::new("bare: a request and its response", || bare.message(&[1, 1])),
            Case::new("sealed: a request and its response", || exchange(&client, &keys, &small)),
        ]);
        println!("{kem:?}: a message / bare {:.3} (goal: at most 1.10)", times[1] / times[0]);
        // Apart from the others: memory that is given back and taken again would count there.
        let times = medians(&mut [
            Case::new("bare: the same with 1 MiB up", || bare.message(&[BULK, 1])),
            Case::new("sealed: the same with 1 MiB up", || exchange(&client, &keys, &large)),
        ]);
        println!("{kem:?}: 1 MiB / bare {:.3}", times[1] / times[0]);
    }
}

fn request(content: usize) -> Request<Vec<u8>> {
    let request = Request::post("https://app.example/generate").header("content-type", "application/json");
    request.body(vec![7; content]).unwrap()
}

/// A request that is sealed and opened, and a response to it that is sealed and opened.
fn exchange(client: &SealingClient, keys: &MessageKeys, request: &Request<Vec<u8>>) {
    let up = request.body().len();
    let (sealed, call) = client.seal(request);
    let Ok(Opened::Admitted(exchange)) = at_once(open(keys, Whole(Some(sealed.into())), Duration::ZERO)) else {
        panic!("the request does not open")
    };
    let (request, responder) = exchange.accept();
    assert_eq!(read(request.into_body()).len(), up);
    let response = Response::builder().header("content-type", "application/json").body(Whole(None)).unwrap();
    let sealed = read(responder.seal(response).unwrap().into_body());
    assert_eq!(call.open(&sealed).unwrap().status(), 200);
}

/// A body that is there.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn read(mut body: impl Body<Data = Bytes, Error: std::fmt::Debug> + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = at_once(std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))) {
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    all
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
        Self { x25519: PrivateKey::generate(&X25519).unwrap(), ml_kem }
    }

    /// A request with chunks of these sizes in all beside its head, and a response that is one chunk and an end.
    fn message(&self, content: &[usize]) {
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
            let hashes = [extract(&[], &[2; 30]), extract(&[], &[3; 70])].concat();
            let prk = extract(&secret, &[4; 20]);
            let _: [u8; 12] = expand(&prk, &hashes);
            let exporter: [u8; 32] = expand(&prk, &hashes);
            (aead(&expand(&prk, &hashes)), expand::<32>(&exporter, &[5; 50]))
        });
        for bytes in [120].iter().chain(content) {
            one_way(&up.0, &down.0, *bytes);
        }
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).unwrap();
        let [sealing, opening] = [up.1, down.1].map(|exported| {
            let prk = extract(&[nonce, nonce].concat(), &exported);
            let _: [u8; 12] = expand(&prk, b"nonce");
            aead(&expand(&prk, b"key"))
        });
        for bytes in [40, 2] {
            one_way(&sealing, &opening, bytes);
        }
    }
}

/// Seals and opens as many bytes, in chunks.
fn one_way(sealing: &LessSafeKey, opening: &LessSafeKey, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let len = left.min(PIECE);
        left -= len;
        let mut text = vec![7; len + 16];
        let nonce = || AeadNonce::assume_unique_for_key([0; 12]);
        let (in_place, place) = text.split_at_mut(len);
        let tag = sealing.seal_in_place_separate_tag(nonce(), Aad::empty(), in_place).unwrap();
        place.copy_from_slice(tag.as_ref());
        black_box(opening.open_in_place(nonce(), Aad::empty(), &mut text).unwrap());
    }
}
