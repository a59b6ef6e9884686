//! What serves the requests of a BlindBox that are not for its agent.

mod builtin;
mod upstream;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::body::{Body as HttpBody, Bytes};
use hyper::{Request, Response};
use tower_service::Service;

use crate::emulator::lock;
use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::fault::Faults;
use crate::emulator::network::request::{Arrival, IncomingBody, Reply};
use crate::emulator::network::response::BufferedResponse;
use crate::error::BoxError;
pub(crate) use builtin::Pages;
use upstream::Upstream;

/// What serves the requests that are not for the agent: [`BlindBoxBuilder::application`](super::BlindBoxBuilder::application).
///
/// It gets each request as the client sent it, with the client's `Host`, but without the headers of one connection (RFC 9110
/// section 7.6.1). Nothing is added to it.
#[derive(Clone)]
pub struct Application(Arc<dyn Serve>);

type Responding<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>> + Send + 'a>>;

trait Serve: Send + Sync {
    fn serve(&self, request: Request<IncomingBody>) -> Responding<'_>;
}

impl Application {
    /// A server that speaks HTTP/1.1 without TLS, such as `http://127.0.0.1:8000`. A path becomes the base of all requests.
    ///
    /// Each request has a connection of its own. Trailers are passed on in both directions where both connections can carry
    /// them; an `Upgrade`, to WebSocket for instance, is not offered to the server.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if this is not an `http` URL with a host, or has a user, a query or a fragment.
    pub fn at(url: &str) -> io::Result<Self> {
        Ok(Self(Arc::new(Upstream::new(url)?)))
    }

    /// A service in this process, such as a `Router` of axum. Each request is served by a clone.
    pub fn service<S, B>(service: S) -> Self
    where
        S: Service<Request<IncomingBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(InProcess(Mutex::new(service))))
    }
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

struct InProcess<S>(Mutex<S>);

impl<S, B> Serve for InProcess<S>
where
    S: Service<Request<IncomingBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn serve(&self, request: Request<IncomingBody>) -> Responding<'_> {
        let mut service = lock(&self.0).clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(ResponseBody::passed))
        })
    }
}

/// The application of one BlindBox.
pub(crate) struct GuestApplication {
    pub(crate) pages: Pages,
    /// The emulator's own routes unless set.
    pub(crate) application: Option<Application>,
}

impl GuestApplication {
    /// Serves a request, with the fault that is scheduled for its path.
    pub(crate) async fn reply(&self, arrival: Arrival, faults: &Faults) -> Reply {
        let path = arrival.request.uri().path().to_owned();
        let Some(Application(application)) = self.application.as_ref().filter(|_| !self.pages.contains_key(&path))
        else {
            let call = match arrival.whole().await {
                Ok(call) => call,
                Err(reply) => return reply,
            };
            let answer = builtin::answer(&self.pages, &call).await;
            return faults.reply(&path, answer).await;
        };
        let serve = |arrival: Arrival| async move {
            let response = application.serve(arrival.request).await;
            Reply::Response(response.unwrap_or_else(|error| bad_gateway(&error)))
        };
        faults.serve(&path, arrival, serve).await
    }
}

fn bad_gateway(error: &BoxError) -> Response<ResponseBody> {
    let text = format!("the application gave no response: {error}");
    match BufferedResponse::error(502, &text).into_reply() {
        Reply::Response(response) => response,
        Reply::Close | Reply::Raw(_) | Reply::Reset(_) => Response::new(ResponseBody::whole(text)),
    }
}
