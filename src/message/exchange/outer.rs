//! The HTTP messages that sealed ones travel in. A front end reads and writes all of this; neither end believes any of it.

use crate::message::key_config::KeyConfig;
use crate::types::is_media_type;

/// The path of sealed requests, below the address of the agent. No application has it: the prefix is reserved.
pub(crate) const PATH: &str = "attest/message";
/// The media type of a sealed request (draft-ietf-ohai-chunked-ohttp-08 section 9).
pub(crate) const REQUEST_TYPE: &str = "message/ohttp-chunked-req";
/// The media type of a sealed response.
pub(crate) const RESPONSE_TYPE: &str = "message/ohttp-chunked-res";

/// The member of an agent's response with the key configuration (RFC 9458 section 3), in base64.
pub(crate) const KEY_CONFIG_MEMBER: &str = "key_config";
/// The member with the id of the session, 32 lower-case hexadecimal digits.
pub(crate) const SESSION_MEMBER: &str = "session";

/// What an agent responds with to a request that does not open: whatever the fault was, one status and one text, since more would
/// help an attacker who sends changed requests.
pub(crate) const NOT_OPENED_STATUS: u16 = 400;
/// Problem details (RFC 9457).
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";
/// The type of that problem (RFC 9458 section 5.3).
pub(crate) const KEY_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#ohttp-key";

/// The field of a sealed request that names the instance, for the rules of a front end that spreads requests over instances.
pub(crate) const INSTANCE_FIELD: &str = "blindbox-instance";

/// Whether the content of a response may be that of the instance.
pub(crate) fn is_sealed(status: u16, content_type: &str) -> bool {
    status == 200 && is_media_type(content_type, RESPONSE_TYPE)
}

/// The content of the response to a request that does not open.
pub(crate) fn not_opened() -> String {
    format!(r#"{{"type":"{KEY_PROBLEM}","title":"the request is not sealed to a message key of this instance"}}"#)
}

/// The value of [`INSTANCE_FIELD`]: the first 16 hexadecimal digits of the digest of the key configuration.
pub(crate) fn instance(config: &KeyConfig) -> String {
    config.digest().to_string().chars().take(16).collect()
}
