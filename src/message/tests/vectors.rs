//! RFC 9458 appendix A, draft-ietf-ohai-chunked-ohttp-08 appendix A, and the project's own vectors.

use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::{Deserializable as _, Serializable as _};
use serde_json::Value;

use super::super::exchange::runtime_data::runtime_data;
use super::super::hpke::{setup_recipient, setup_sender_with};
use super::super::response::response_context;
use super::*;
#[cfg(feature = "crypto-rust")]
use crate::crypto::sealing::ml_kem_768_encapsulate_with;
use crate::crypto::sealing::{Aead, X25519PrivateKey, ml_kem_768_encapsulate};
use crate::types::Nonce;

fn x25519(hex: &str) -> X25519PrivateKey {
    X25519PrivateKey::from_bytes(&bytes(hex)).unwrap()
}

/// The form that is not chunked has other labels, and is one chunk without a length.
#[test]
fn messages_of_rfc_9458() {
    let recipient = PrivateKey::X25519(x25519("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a"));
    let public_key = recipient.public_key().unwrap();
    assert_eq!(hex::encode(&public_key), "31e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e798155");
    let header = KeyConfig::new(1, Kem::X25519, public_key.clone()).unwrap().with_aes_128_gcm().header();
    let info = [b"message/bhttp request\0".as_slice(), &header].concat();
    assert_eq!(hex::encode(&info), "6d6573736167652f626874747020726571756573740001002000010001");
    let ephemeral = x25519("bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73");
    let mut sender =
        setup_sender_with(Kem::X25519, Aead::Aes128Gcm, &public_key, &info, &ephemeral, ml_kem_768_encapsulate)
            .unwrap();
    let text = bytes("00034745540568747470730b6578616d706c652e636f6d012f");
    let sealed = sender.context.seal(b"", &text).unwrap();
    assert_eq!(
        hex::encode([header.as_slice(), &sender.encapsulated, &sealed].concat()),
        "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b472\
         6374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525"
    );
    let (mut context, exporter) = setup_recipient(&recipient, Aead::Aes128Gcm, &sender.encapsulated, &info).unwrap();
    assert_eq!(context.open(b"", (&*sealed).into()).unwrap(), text);

    let mut secret = [0; 16];
    exporter.export(b"message/bhttp response", &mut secret).unwrap();
    assert_eq!(hex::encode(secret), "62d87a6ba569ee81014c2641f52bea36");
    let nonce = bytes("c789e7151fcba46158ca84b04464910d");
    let mut context = response_context(Aead::Aes128Gcm, &sender.encapsulated, &secret, &nonce).unwrap();
    assert_eq!(
        hex::encode([nonce, context.seal(b"", &bytes("0140c8")).unwrap()].concat()),
        "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd"
    );
}

#[test]
fn messages_of_the_chunked_draft() {
    let recipient = PrivateKey::X25519(x25519("1c190d72acdbe4dbc69e680503bb781a932c70a12c8f3754434c67d8640d8698"));
    let config = KeyConfig::new(1, Kem::X25519, recipient.public_key().unwrap()).unwrap().with_aes_128_gcm();
    let ephemeral = x25519("b26d565f3f875ed480d1abced3d665159650c99174fd0b124ac4bda0c64ae324");
    let mut sealed = request::seal_with(&config, &ephemeral, ml_kem_768_encapsulate).unwrap();
    let text = bytes("00034745540568747470730b6578616d706c652e636f6d012f");
    let (one, two) = text.split_at(12);
    let content = [
        sealed.start,
        sealed.chunks.chunk(one).unwrap(),
        sealed.chunks.chunk(two).unwrap(),
        sealed.chunks.finish(b"").unwrap(),
    ]
    .concat();
    assert_eq!(
        hex::encode(&content),
        "010020000100018811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032\
         1c2ad24942d4d692563012f2980c8fef437a336b9b2fc938ef77a5834f\
         1d2e33d8fd25577afe31bd1c79d094f76b6250ae6549b473ecd950501311\
         001c6c1395d0ef7c1022297966307b8a7f"
    );
    let opened = opened(&content, &recipient);
    assert_eq!(texts(opened.chunks).unwrap(), [one, two, b""]);

    let nonce = bytes("bcce7f4cb921309ba5d62edf1769ef09");
    let (start, mut chunks) = opened.response.begin_with(&nonce).unwrap();
    let response =
        [start, chunks.chunk(&[0x01]).unwrap(), chunks.chunk(&[0x40, 0xc8]).unwrap(), chunks.finish(b"").unwrap()]
            .concat();
    assert_eq!(
        hex::encode(&response),
        "bcce7f4cb921309ba5d62edf1769ef09\
         1179bf1cc87fa0e2c02de4546945aa3d1e48\
         12b348b5bd4c594c16b6170b07b475845d1f32\
         00ed9d8a796617a5b27265f4d73247f639"
    );
    assert_eq!(response_texts(sealed.response, &response, 3).unwrap(), [[0x01].as_slice(), &[0x40, 0xc8], &[]]);
}

/// The public key as the crate `hpke` derives it: that of X-Wing from a seed.
fn public_key(kem: Kem, private_key: &[u8]) -> Vec<u8> {
    fn of<K: ::hpke::Kem>(private_key: &[u8]) -> Vec<u8> {
        K::sk_to_pk(&K::PrivateKey::from_bytes(private_key).unwrap()).to_bytes().to_vec()
    }
    match kem {
        Kem::X25519 => of::<X25519HkdfSha256>(private_key),
        Kem::XWing => of::<XWing>(private_key),
    }
}

/// Request and response of `blindbox-bound-message/1`, with what evidence of their key names.
#[test]
fn messages_of_the_project() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    for vector in vectors.as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let chunks = |name: &str| -> Vec<Vec<u8>> {
            vector[name].as_array().unwrap().iter().map(|chunk| bytes(chunk.as_str().unwrap())).collect()
        };
        let config = KeyConfig::from_bytes(&bytes(text("key_config"))).unwrap();
        let public_key = public_key(config.kem(), &bytes(text("private_key")));
        assert_eq!(config, KeyConfig::new(1, config.kem(), public_key).unwrap());
        assert_eq!(config.digest().to_string(), text("key_config_sha256"));
        let recipient = match config.kem() {
            Kem::X25519 => PrivateKey::X25519(x25519(text("private_key"))),
            Kem::XWing => properties::x_wing_key().unwrap(),
        };

        let random = vector.get("ml_kem_768_randomness").map(|_| bytes(text("ml_kem_768_randomness")));
        // Of the two libraries, the one in Rust takes the randomness.
        #[cfg(feature = "crypto-rust")]
        let ml_kem_768 = |key: &[u8]| ml_kem_768_encapsulate_with(key, &random.unwrap().try_into().unwrap());
        #[cfg(not(feature = "crypto-rust"))]
        let ml_kem_768 = if random.is_some() { continue } else { ml_kem_768_encapsulate };
        let mut sealed = request::seal_with(&config, &x25519(text("ephemeral_private_key")), ml_kem_768).unwrap();
        let request = chunks("binary_http_request_chunks");
        let [first, last] = request.as_slice() else { panic!("{} chunks", request.len()) };
        let content = [sealed.start, sealed.chunks.chunk(first).unwrap(), sealed.chunks.finish(last).unwrap()].concat();
        assert_eq!(hex::encode(&content), text("request"));
        let opened = opened(&content, &recipient);
        assert_eq!(texts(opened.chunks).unwrap(), request);
        let (head, content, trailers) = properties::read(binary_http::Kind::Request, &request.concat(), usize::MAX);
        let mut expected = request_head();
        let number = format!("{}.0", text("session")).into_bytes();
        expected.fields.insert(0, Field { name: "blindbox-message".to_owned(), value: number });
        assert_eq!((head, content, trailers), (Some(expected), br#"{"prompt":"hi"}"#.to_vec(), Ok(Vec::new())));

        let response = chunks("binary_http_response_chunks");
        let [first, last] = response.as_slice() else { panic!("{} chunks", response.len()) };
        let (nonce, mut chunks) = opened.response.begin_with(&bytes(text("response_nonce"))).unwrap();
        let content = [nonce, chunks.chunk(first).unwrap(), chunks.finish(last).unwrap()].concat();
        assert_eq!(hex::encode(&content), text("response"));
        assert_eq!(response_texts(sealed.response, &content, 11).unwrap(), response);
        let (head, content, trailers) = properties::read(binary_http::Kind::Response, &response.concat(), 1);
        assert_eq!(head.unwrap().control, Control::Response { status: 200 });
        assert_eq!((content, trailers), (br#"{"text":"hello"}"#.to_vec(), Ok(Vec::new())));

        properties::key_config(&config.to_bytes());
        properties::encapsulated_request(&bytes(text("request")));
        properties::binary_http(&request.concat());
        properties::binary_http(&response.concat());
    }
}

/// The digest that evidence names is that of the bytes, and the runtime data are those bytes and no others.
#[test]
fn runtime_data_of_the_project() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    for vector in vectors.as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let config = KeyConfig::from_bytes(&bytes(text("key_config"))).unwrap();
        let nonce = Nonce::from_hex(text("nonce")).unwrap();
        let runtime_data = runtime_data(&nonce, &config);
        assert_eq!(runtime_data, text("runtime_data"));
        assert_eq!(runtime_data.len(), 207);
        let sha256 = crate::crypto::sha256_digest(runtime_data.as_bytes()).to_string();
        assert_eq!(sha256, text("sha256"));
        assert_eq!(format!("{sha256}{}", "0".repeat(64)), text("report_data"));
    }
}
