//! The client's end of `docs/protocol-message.md`, written from the document: none of it is the crate's.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use hpke::aead::{AeadCtxS, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable as _, Kem, OpModeS, Serializable as _};

/// An attested key with its session.
pub struct Recipient {
    pub key_config: Vec<u8>,
    pub session: String,
}

/// Opens the response to one request.
pub struct Opener {
    encapsulated: Vec<u8>,
    secret: [u8; 32],
}

/// A response as the application sent it: its status, its fields and its content.
#[derive(Debug, PartialEq)]
pub struct Inner {
    pub status: u64,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
}

impl Inner {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A request before it is sealed.
pub struct Plain<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub fields: &'a [(&'a str, &'a str)],
    pub content: &'a [u8],
}

/// The most bytes of content in a chunk.
const PIECE: usize = 10_000;

impl Recipient {
    pub fn seal(&self, number: u64, request: &Plain<'_>) -> (Vec<u8>, Opener) {
        self.seal_in_pieces(number, request, PIECE)
    }

    /// The same with at most this much content in a chunk.
    pub fn seal_in_pieces(&self, number: u64, request: &Plain<'_>, piece: usize) -> (Vec<u8>, Opener) {
        match self.key_config[1..3] {
            [0x64, 0x7a] => self.seal_for::<XWing>(number, request, piece),
            _ => self.seal_for::<X25519HkdfSha256>(number, request, piece),
        }
    }

    fn seal_for<K: Kem>(&self, number: u64, request: &Plain<'_>, piece: usize) -> (Vec<u8>, Opener) {
        let (head, key) = self.key_config.split_at(3);
        let (key, algorithms) = key.split_at(key.len() - 6);
        assert_eq!(algorithms, [0, 4, 0, 1, 0, 2]);
        let header = [head, &algorithms[2..]].concat();
        let info = [b"message/bhttp chunked request\0".as_slice(), &header].concat();
        let key = K::PublicKey::from_bytes(key).unwrap();
        let (encapsulated, mut context) =
            hpke::setup_sender::<AesGcm256, HkdfSha256, K>(&OpModeS::Base, &key, &info).unwrap();
        let mut secret = [0; 32];
        context.export(b"message/bhttp chunked response", &mut secret).unwrap();
        let encapsulated = encapsulated.to_bytes().to_vec();
        let mut sealed = [header, encapsulated.clone()].concat();

        let mut text = vec![2];
        for part in [request.method, "https", "app.example", request.path] {
            string(part.as_bytes(), &mut text);
        }
        let value = format!("{}.{number}", self.session);
        for (name, value) in [("blindbox-message", value.as_str())].iter().chain(request.fields) {
            string(name.as_bytes(), &mut text);
            string(value.as_bytes(), &mut text);
        }
        text.push(0);
        chunk(&mut context, &text, &mut sealed);
        for piece in request.content.chunks(piece) {
            let mut text = Vec::new();
            string(piece, &mut text);
            chunk(&mut context, &text, &mut sealed);
        }
        sealed.push(0);
        sealed.extend(context.seal(&[0, 0], b"final").unwrap());
        (sealed, Opener { encapsulated, secret })
    }
}

fn chunk<K: Kem>(context: &mut AeadCtxS<AesGcm256, HkdfSha256, K>, text: &[u8], out: &mut Vec<u8>) {
    string(&context.seal(text, b"").unwrap(), out);
}

impl Opener {
    /// `None` if it is not whole, or not the response to this request.
    pub fn open(&self, response: &[u8]) -> Option<Inner> {
        let (nonce, mut rest) = response.split_at_checked(32)?;
        let prk = Salt::new(HKDF_SHA256, &[&self.encapsulated, nonce].concat()).extract(&self.secret);
        let (mut key, mut base) = ([0; 32], [0; 12]);
        prk.expand(&[b"key"], Length(32)).unwrap().fill(&mut key).unwrap();
        prk.expand(&[b"nonce"], Length(12)).unwrap().fill(&mut base).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let (mut text, mut count) = (Vec::new(), 0u32);
        loop {
            let (len, after) = integer(rest)?;
            let (sealed, aad, next) = match len {
                0 => (after, b"final".as_slice(), None),
                len => {
                    let (sealed, next) = after.split_at_checked(usize::try_from(len).unwrap())?;
                    (sealed, b"".as_slice(), Some(next))
                }
            };
            let mut nonce = base;
            nonce[8..].iter_mut().zip(count.to_be_bytes()).for_each(|(to, byte)| *to ^= byte);
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            text.extend_from_slice(key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?);
            count += 1;
            match next {
                Some(next) => rest = next,
                None => return inner(&text),
            }
        }
    }
}

fn inner(text: &[u8]) -> Option<Inner> {
    let (framing, text) = integer(text)?;
    assert_eq!(framing, 3);
    let (status, mut text) = integer(text)?;
    let mut fields = Vec::new();
    loop {
        let (name, rest) = read_string(text)?;
        if name.is_empty() {
            text = rest;
            break;
        }
        let (value, rest) = read_string(rest)?;
        fields.push((String::from_utf8(name).ok()?, String::from_utf8(value).ok()?));
        text = rest;
    }
    let mut content = Vec::new();
    loop {
        let (piece, rest) = read_string(text)?;
        if piece.is_empty() {
            // No trailers.
            return (rest == [0]).then_some(Inner { status, fields, content });
        }
        content.extend(piece);
        text = rest;
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// RFC 9000 section 16, in the shortest form.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    match u32::try_from(bytes.len()).unwrap() {
        len @ 0..64 => out.push(u8::try_from(len).unwrap()),
        len @ 64..16_384 => out.extend((u16::try_from(len).unwrap() | 0x4000).to_be_bytes()),
        len => out.extend((len | 0x8000_0000).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(len)?;
    let value = number.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value & (u64::MAX >> (66 - 8 * len)), rest))
}

fn read_string(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (len, rest) = integer(bytes)?;
    let (string, rest) = rest.split_at_checked(usize::try_from(len).unwrap())?;
    Some((string.to_vec(), rest))
}
