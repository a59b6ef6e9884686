//! The emulator does what its knobs say, seen by a plain HTTP client and verified with plain cryptography.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::claims::TokenShape;
use blindbox_attestation::emulator::*;
use blindbox_attestation::{Measurement, ReportData, SpkiDigest, UnixTime};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Version};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::lab::{lasting, soon, until};

mod application;
mod blindbox;
mod hardware;
mod kds;
mod maa;
mod network;

const NONCE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn builder(root_pem: &str) -> ClientBuilder {
    Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(root_pem.as_bytes()).unwrap()])
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(Duration::from_secs(20))
}

fn client(root_pem: &str) -> Client {
    builder(root_pem).build().unwrap()
}

async fn post(client: &Client, url: String, body: Value) -> Response {
    client.post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn bound_request(blindbox: &BlindBox) -> Value {
    json!({ "maa_endpoint": blindbox.maa_issuer().authority(), "nonce": NONCE })
}

/// One attestation in the bound form on a connection of its own.
async fn attest(blindbox: &BlindBox) -> Value {
    let client = client(&blindbox.tls_root_pem());
    let response = post(&client, blindbox.agent_url() + "/attest/maa", bound_request(blindbox)).await;
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await
}

async fn claims_of(blindbox: &BlindBox) -> Value {
    payload(attest(blindbox).await["token"].as_str().unwrap())
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn payload(token: &str) -> Value {
    part(token, 1)
}

fn runtime_data(answer: &Value) -> String {
    String::from_utf8(STANDARD.decode(answer["runtime_data"].as_str().unwrap()).unwrap()).unwrap()
}

fn bound_text(nonce: &str, key: SpkiDigest) -> String {
    format!(r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{key}"}}"#)
}

fn sha256_hex(data: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data))
}

/// RS256 with the key of the same `kid`: from `n` and `e`, else from the certificate.
fn verifies(token: &str, key_set: &str) -> bool {
    let key_set: Value = serde_json::from_str(key_set).unwrap();
    let kid = part(token, 0)["kid"].clone();
    let Some(key) = key_set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid) else { return false };
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let decode = |name: &str| key[name].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    if let (Some(n), Some(e)) = (decode("n"), decode("e")) {
        let key = RsaPublicKeyComponents { n, e };
        return key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).is_ok();
    }
    let der = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let spki = &certificate.public_key().subject_public_key.data;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki);
    key.verify(input.as_bytes(), &signature).is_ok()
}

async fn pair() -> (Maa, BlindBox) {
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).start().await.unwrap();
    (maa, blindbox)
}
