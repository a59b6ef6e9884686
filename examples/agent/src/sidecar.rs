//! Microsoft's SKR sidecar as the source of evidence.
//!
//! Weaker than the device, and by more than it looks: the sidecar attests *any* data that *anything* in the container group
//! posts to it. Code in another container, or a server-side request forgery in the application, can have it attest the key of
//! a man in the middle, in the very form that this agent writes. A client cannot see the difference.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::config::{Loopback, MaaHost};
use crate::evidence::{EvidenceError, Hardware};
use crate::http_client::{Failure, Stream, post_json};
use crate::maa::TokenAnswer;

/// A sidecar on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Sidecar(Loopback);

#[derive(Deserialize)]
struct CombinedAnswer {
    evidence: String,
    endorsements: String,
    #[serde(default)]
    uvm_endorsements: String,
}

impl Sidecar {
    /// At this address, which its type keeps on loopback.
    #[must_use]
    pub fn new(address: Loopback) -> Self {
        Self(address)
    }

    pub(crate) async fn token(&self, host: &MaaHost, runtime_data: &[u8]) -> Result<String, EvidenceError> {
        let request = json!({ "maa_endpoint": host.as_str(), "runtime_data": STANDARD.encode(runtime_data) });
        let answer = self.post("/attest/maa", &request).await?;
        let answer: TokenAnswer = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        Ok(answer.token)
    }

    pub(crate) async fn combined(&self, runtime_data: &[u8]) -> Result<Hardware, EvidenceError> {
        let request = json!({ "runtime_data": STANDARD.encode(runtime_data) });
        let answer = self.post("/attest/combined", &request).await?;
        let answer: CombinedAnswer = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| unreadable());
        let uvm_endorsement = decode(&answer.uvm_endorsements)?;
        Ok(Hardware {
            report: decode(&answer.evidence)?,
            certificates: String::from_utf8(decode(&answer.endorsements)?).map_err(|_| unreadable())?,
            uvm_endorsement: (!uvm_endorsement.is_empty()).then_some(uvm_endorsement),
        })
    }

    async fn post(&self, path: &str, request: &Value) -> Result<Bytes, EvidenceError> {
        let Loopback(address) = self.0;
        let connect = async {
            let stream: Box<dyn Stream> = Box::new(TcpStream::connect(address).await?);
            Ok(stream)
        };
        post_json(connect, &address.to_string(), path, request).await.map_err(|failure| match failure {
            Failure::Away(reason) => EvidenceError::Away(format!("the sidecar, {path}: {reason}")),
            Failure::Refused(reason) => EvidenceError::Sidecar(format!("{path}: {reason}")),
        })
    }
}

fn unreadable() -> EvidenceError {
    EvidenceError::Sidecar("a response that is not in its form".to_owned())
}
