//! The instance that the messages of a session are sealed to: its attested key, and how a front end leads requests to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::agent_protocol::join_path;
use crate::attestation::Attestation;
use crate::base_url::BaseUrl;
use crate::fetch::MessageOffer;
use crate::message::exchange::client::Recipient;
use crate::message::exchange::keys::Offer;
use crate::message::exchange::outer;

/// The holder of the message key that one attestation names. All that share the attestation share this, so that no number is used twice.
pub(crate) struct MessageRecipient {
    recipient: Recipient,
    url: Url,
    headers: HeaderMap,
    lost: AtomicBool,
}

impl MessageRecipient {
    /// `None` unless the evidence names a message key, and a session came with it.
    pub(super) fn new(
        attested: &Attestation,
        offer: Option<MessageOffer>,
        base: &BaseUrl,
        front_end_headers: &HeaderMap,
    ) -> Option<Arc<Self>> {
        let (config, offer) = (attested.message_key.clone()?, offer?);
        let url = join_path(base.url(), outer::PATH);
        let mut headers = front_end_headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(outer::REQUEST_TYPE));
        headers.insert(ACCEPT, HeaderValue::from_static(outer::RESPONSE_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(instance) = HeaderValue::try_from(outer::instance(&config)) {
            headers.insert(HeaderName::from_static(outer::INSTANCE_FIELD), instance);
        }
        if let Some(cookies) = offer.cookies {
            headers.insert(COOKIE, cookies);
        }
        let recipient = Recipient::new(Offer { config, session: offer.session });
        Some(Arc::new(Self { recipient, url, headers, lost: AtomicBool::new(false) }))
    }

    /// Seals requests.
    pub(crate) fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Where sealed requests are sent.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What a front end sees beside the sealed request.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether requests no longer reach the holder of the key, as far as the responses say. It is not authenticated: the next request
    /// attests an instance again, and nothing that was sealed is affected.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

/// Omits the session and the cookies.
impl fmt::Debug for MessageRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageRecipient({}, lost: {})", self.url, self.is_lost())
    }
}
