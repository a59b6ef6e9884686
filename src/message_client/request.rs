//! The request that the host gives, and its head as binary HTTP (RFC 9292) has it.

use url::Url;

use crate::base_url::BaseUrl;
use crate::error::AttestationError;
use crate::message::binary_http::{Field, Head};
use crate::message::exchange::fields;

/// A request to seal.
#[derive(Clone, Debug)]
pub struct RequestToSeal<'a> {
    /// The method.
    pub method: &'a str,
    /// The absolute URL. Its origin must be that of the client.
    pub url: &'a str,
    /// The headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whether all of the content is there to be sent again.
    pub repeatable: bool,
    /// Whether the caller states that to process it twice has the same effect as to process it once. `GET`, `HEAD` and `OPTIONS` are
    /// idempotent without it. Without effect unless it is `repeatable`.
    pub idempotent: bool,
    /// How often this request was sealed before.
    pub attempt: u8,
}

/// Control data and fields of a request, as binary HTTP has them.
pub(super) fn head(request: &RequestToSeal<'_>, base: &BaseUrl, url: &Url) -> Result<Head, AttestationError> {
    let mut sealed = Vec::new();
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if fields::is_of_the_client(&name) {
            return Err(AttestationError::InvalidRequest { reason: fields::OF_THE_CLIENT });
        }
        sealed.push(Field { name, value: value.trim_ascii().to_vec() });
    }
    if sealed.iter().all(|field| field.name != "accept") {
        sealed.push(Field { name: "accept".to_owned(), value: b"*/*".to_vec() });
    }
    Ok(Head { control: base.control_data(request.method, url), fields: sealed })
}
