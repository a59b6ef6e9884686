//! Requests as a front end sends them on: with headers of its own, and a body that it cannot read.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::client::http2;
use crate::lab::soon;

/// A connection of HTTP/2.
pub struct Outer {
    sender: SendRequest<Full<Bytes>>,
}

pub struct Received {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Outer {
    pub async fn connect(address: SocketAddr) -> Self {
        let (sender, _) = http2(address).await;
        Self { sender }
    }

    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Received {
        let mut request = Request::builder().method(method).uri(format!("https://front-end.example{path}"));
        for (name, value) in
            [("cookie", "front-end=1"), ("x-outer", "1"), ("x-forwarded-for", "10.0.0.1")].iter().chain(headers)
        {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let (head, body) = soon(self.sender.send_request(request)).await.unwrap().into_parts();
        let body = soon(body.collect()).await.unwrap().to_bytes().to_vec();
        Received { status: head.status, headers: head.headers, body }
    }

    pub async fn request(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Received {
        self.send(method, path, headers, Vec::new()).await
    }

    pub async fn post(&mut self, path: &str, media_type: &str, body: Vec<u8>) -> Received {
        self.send(Method::POST, path, &[("content-type", media_type)], body).await
    }

    pub async fn post_json(&mut self, path: &str, body: &Value) -> Received {
        self.post(path, "application/json", body.to_string().into_bytes()).await
    }
}
