//! The application that the emulated guest runs unless it is given one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::network::request::Call;
use crate::emulator::network::response::BufferedResponse;

/// The longest wait that a caller of `/slow` can ask for.
const SLOWEST: u64 = 3_600_000;

/// Fixed responses by path: content type and body.
pub(crate) type Pages = BTreeMap<String, (String, Vec<u8>)>;

/// `/` hello, `/echo` the body, `/generate` a text for `{"prompt": ...}`, `/headers` what was sent, `/redirect` to `/`,
/// `/slow?ms=` a response after that time, `/large?bytes=` so many bytes.
pub(crate) async fn answer(pages: &Pages, call: &Call) -> BufferedResponse {
    if let Some((content_type, body)) = pages.get(&call.path) {
        return BufferedResponse::bytes(200, content_type, body.clone());
    }
    match (call.method.as_str(), call.path.as_str()) {
        ("GET" | "HEAD", "/") => BufferedResponse::text(200, "hello from a BlindBox"),
        ("POST" | "PUT" | "PATCH", "/echo") => {
            let content_type = call.headers.get("content-type").and_then(|value| value.to_str().ok());
            BufferedResponse::bytes(200, content_type.unwrap_or("application/octet-stream"), call.body.clone())
        }
        ("DELETE" | "OPTIONS", "/echo") => BufferedResponse::text(200, call.method.as_str()),
        ("POST", "/generate") => generate(call),
        ("GET", "/headers") => {
            let headers = call.headers.iter();
            let headers =
                headers.map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
            BufferedResponse::json(&headers.collect())
        }
        ("GET", "/redirect") => {
            let to = query(call, "to").unwrap_or("/");
            BufferedResponse::text(302, "").header("location", to)
        }
        ("GET", "/slow") => {
            let wait = query(call, "ms").and_then(|text| text.parse().ok()).unwrap_or(1_000);
            tokio::time::sleep(Duration::from_millis(std::cmp::min(wait, SLOWEST))).await;
            BufferedResponse::text(200, "at last")
        }
        ("GET", "/large") => {
            let bytes = query(call, "bytes").and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
            BufferedResponse::bytes(200, "application/octet-stream", vec![b'x'; std::cmp::min(bytes, 64 * 1024 * 1024)])
        }
        _ => BufferedResponse::not_found(),
    }
}

fn generate(call: &Call) -> BufferedResponse {
    match serde_json::from_slice::<Value>(&call.body) {
        Ok(request) => match request.get("prompt").and_then(Value::as_str) {
            Some(prompt) => BufferedResponse::json(&json!({ "text": format!("a response to: {prompt}") })),
            None => BufferedResponse::error(400, "prompt is required"),
        },
        Err(_) => BufferedResponse::error(400, "the request is not JSON"),
    }
}

/// The value of a parameter as it stands: nothing here needs percent decoding.
fn query<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    let mut pairs = call.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}
