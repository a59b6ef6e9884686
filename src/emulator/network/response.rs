//! A response that a server holds whole, so that a fault can change it before it is sent.

use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{ResponseBody, next_data};
use super::request::Reply;

/// A proper response, before any fault.
#[derive(Clone, Debug)]
pub(crate) struct BufferedResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

impl BufferedResponse {
    pub(crate) fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let response = Self { status, headers: Vec::new(), body: body.into() };
        response.header("content-type", content_type)
    }

    /// A response that is read whole, so that a fault can change it. `Err` for one that breaks off: what came of it, and then a cut. It
    /// must not become a whole response, whose end a client would trust.
    pub(crate) async fn read(response: Response<ResponseBody>) -> Result<Self, Reply> {
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(data) = next_data(&mut incoming).await {
            match data {
                Ok(data) => body.extend_from_slice(&data),
                Err(_) => {
                    let cut = ResponseBody::cut_after(body.into());
                    return Err(Reply::Response(Response::from_parts(head, cut)));
                }
            }
        }
        let headers = head.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
        let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { status: head.status.as_u16(), headers, body: body.into() })
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", body.into())
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::json_text(200, value.to_string())
    }

    pub(crate) fn json_text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(status, "application/json; charset=utf-8", text.into())
    }

    /// `{"error": text}`, as the agents write it.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        Self::json_text(status, error_json(text))
    }

    pub(crate) fn not_found() -> Self {
        Self::text(404, "404 page not found")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = HeaderValue::from_str(&value.into()).expect("headers of the emulator are valid");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    pub(super) fn with_length(self, length: usize) -> Self {
        self.header("content-length", length.to_string())
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(String) -> String) {
        self.body = edit(String::from_utf8_lossy(&self.body).into_owned()).into();
    }

    /// Changes the members of a JSON object; anything else stays as it is.
    pub(crate) fn change_json(mut self, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> Self {
        if let Ok(mut members) = serde_json::from_slice(&self.body) {
            change(&mut members);
            self.body = serde_json::Value::Object(members).to_string().into();
        }
        self
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Changes the body if it is of this type.
    pub(crate) fn change_bytes(mut self, content_type: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        let is_type = |(name, value): &(HeaderName, HeaderValue)| name == CONTENT_TYPE && value == content_type;
        if self.headers.iter().any(is_type) {
            self.body = change(&self.body).into();
        }
        self
    }

    pub(crate) fn into_reply(mut self) -> Reply {
        let body = ResponseBody::whole(std::mem::take(&mut self.body));
        self.send(body)
    }

    pub(super) fn send(self, body: ResponseBody) -> Reply {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).expect("statuses of the emulator are valid");
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        Reply::Response(response)
    }
}

pub(super) fn error_json(text: &str) -> String {
    format!("{{\"error\":{}}}", quoted(text))
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
