//! The runtime data of evidence that names a message key.

use crate::message::key_config::KeyConfig;
use crate::types::Nonce;

/// The name and version of this form: who attests, and what the runtime data means.
pub(crate) const BOUND_MESSAGE: &str = "blindbox-bound-message/1";

/// The exact runtime data, 207 bytes: members in this order, no white space.
///
/// The agent writes them from the nonce of the request and its own key. The client writes them from its own nonce and the key
/// configuration that it received, and accepts evidence that covers exactly these: a key configuration that was exchanged on the way
/// has another digest.
pub(crate) fn runtime_data(nonce: &Nonce, config: &KeyConfig) -> String {
    let digest = config.digest();
    format!(r#"{{"nonce":"{nonce}","ohttp-key-config-sha256":"{digest}","protocol":"{BOUND_MESSAGE}"}}"#)
}
