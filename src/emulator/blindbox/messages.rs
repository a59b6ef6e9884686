//! Sealed messages to the agent inside the guest.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Request, Response};

use crate::agent::{
    KeySchedule, MessageKem, MessageKeys, MessageOffer, OpenError, Opened, not_opened, open, sealed_response,
};
use crate::clock::TimeProvider as _;
use crate::emulator::clock::EmulatedClock;
use crate::emulator::lock;
use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::request::{IncomingBody, Reply};
use crate::types::Nonce;

/// The message keys of one emulated instance. Their time is that of the emulator's clock.
pub(crate) struct Messages {
    kem: MessageKem,
    schedule: KeySchedule,
    clock: EmulatedClock,
    started: Instant,
    keys: Mutex<Arc<MessageKeys>>,
}

impl Messages {
    pub(crate) fn new(kem: MessageKem, schedule: KeySchedule, clock: &EmulatedClock) -> Self {
        let keys = Mutex::new(Arc::new(MessageKeys::new(kem, schedule)));
        Self { kem, schedule, clock: clock.clone(), started: clock.monotonic(), keys }
    }

    /// The instance starts again: no key and no session is left.
    pub(crate) fn restart(&self) {
        *lock(&self.keys) = Arc::new(MessageKeys::new(self.kem, self.schedule));
    }

    pub(crate) fn offer(&self, nonce: &Nonce) -> MessageOffer {
        self.keys().offer(nonce, self.now()).expect("a key can be generated")
    }

    /// Opens a request, and seals the reply of `serve` to it.
    pub(crate) async fn reply<F>(
        &self,
        sealed: IncomingBody,
        declines: bool,
        serve: impl FnOnce(Request<IncomingBody>) -> F,
    ) -> Reply
    where
        F: Future<Output = Reply>,
    {
        let outer = sealed.recorder();
        let exchange = match open(&self.keys(), sealed, self.now()).await {
            Ok(Opened::Admitted(exchange)) => exchange,
            Ok(Opened::Answered(response)) => return whole(response),
            Err(OpenError::NotOpened) => return Reply::Response(not_opened().map(ResponseBody::whole)),
            // Only its own stream ends, and not what else the connection of a front end carries.
            Err(OpenError::Body(_)) => return Reply::Reset(h2::Reason::CANCEL),
        };
        if declines {
            return exchange.decline().map_or(Reply::Close, whole);
        }
        let (request, responder) = exchange.accept();
        let (parts, content) = request.into_parts();
        let body = IncomingBody::sealed(content, outer.sealed(&parts));
        match serve(Request::from_parts(parts, body)).await {
            Reply::Response(response) => responder
                .seal(response)
                .map_or(Reply::Close, |response| Reply::Response(response.map(ResponseBody::passed))),
            other => other,
        }
    }

    fn keys(&self) -> Arc<MessageKeys> {
        Arc::clone(&lock(&self.keys))
    }

    fn now(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.started)
    }
}

fn whole(content: Bytes) -> Reply {
    let response: Response<Bytes> = sealed_response(content);
    Reply::Response(response.map(ResponseBody::whole))
}
