//! An application that says how each request ended for it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use blindbox_attestation::emulator::IncomingBody;
use http::{Request, Response};
use http_body::Body as _;
use tower_service::Service;

/// Responds with the body of a request that is whole, and else fails.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Vec<Result<String, String>>>>);

impl Received {
    /// The bodies that came to their end, and why the others did not.
    pub fn bodies(&self) -> Vec<Result<String, String>> {
        self.0.lock().unwrap().clone()
    }
}

impl Service<Request<IncomingBody>> for Received {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<String>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<IncomingBody>) -> Self::Future {
        let bodies = Arc::clone(&self.0);
        Box::pin(async move {
            let body = whole(request.into_body()).await;
            bodies.lock().unwrap().push(body.as_ref().map(String::clone).map_err(io::Error::to_string));
            body.map(Response::new)
        })
    }
}

async fn whole(mut body: IncomingBody) -> io::Result<String> {
    let mut received = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        received.extend_from_slice(frame?.data_ref().map_or(&[], |data| data));
    }
    String::from_utf8(received).map_err(io::Error::other)
}
