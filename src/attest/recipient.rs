//! The instance that the messages of a session are sealed to: its attested key, and how a front end leads requests to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::agent_protocol::join_path;
use crate::attestation::Attestation;
use crate::base_url::BaseUrl;
use crate::fetch::{AttestRequest, MessageOffer};
use crate::message::exchange::client::Recipient;
use crate::message::exchange::keys::Offer;
use crate::message::exchange::outer;
use crate::message::key_config::KeyConfig;

/// A header that the request with a sealed message has of its own.
struct OwnHeader {
    name: HeaderName,
    value: fn(&KeyConfig, &MessageOffer) -> Option<HeaderValue>,
}

/// All headers of such a request, except those for a front end: none of those may replace one of these.
const OWN_HEADERS: [OwnHeader; 5] = [
    OwnHeader { name: CONTENT_TYPE, value: |_, _| Some(HeaderValue::from_static(outer::REQUEST_TYPE)) },
    OwnHeader { name: ACCEPT, value: |_, _| Some(HeaderValue::from_static(outer::RESPONSE_TYPE)) },
    OwnHeader { name: CACHE_CONTROL, value: |_, _| Some(HeaderValue::from_static("no-store")) },
    OwnHeader {
        name: HeaderName::from_static(outer::INSTANCE_FIELD),
        value: |config, _| HeaderValue::try_from(outer::instance(config)).ok(),
    },
    OwnHeader { name: COOKIE, value: |_, offer| offer.cookies.clone() },
];

/// Whether a request for evidence or one with a sealed message has this header of its own.
pub(crate) fn has_own_header(name: &HeaderName) -> bool {
    AttestRequest::has_own_header(name) || OWN_HEADERS.iter().any(|own| own.name == *name)
}

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
        for OwnHeader { name, value } in OWN_HEADERS {
            if let Some(value) = value(&config, &offer) {
                headers.insert(name, value);
            }
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

    /// The cookies by which a front end leads to this instance.
    pub(super) fn cookies(&self) -> Option<&HeaderValue> {
        self.headers.get(COOKIE)
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
