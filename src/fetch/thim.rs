//! Azure's Trusted Hardware Identity Management: the certificate of the machine that it is asked on, as
//! `{"vcekCert", "tcbm", "certificateChain", "cacheControl"}`.
//!
//! It is of use to whoever verifies a guest on the same machine, or serves the same answer from elsewhere. It is not trusted: a
//! certificate that does not verify, or is of another chip or TCB, is as good as none.

use std::time::Duration;

use reqwest::Client;
use url::Url;

use super::deadline::Deadline;
use super::http::{Answered, Exchange};
use crate::json::{self, Value};
use crate::snp::{AmdAnchors, CollateralRequest, VerifiedVek, certificates_from_pem};
use crate::types::Product;

/// The largest answer that is read, in bytes: stops a server that never ends. A genuine one has 10 KB.
const MAX_ANSWER: u64 = 64 << 10;

/// How long it may take, and no more than half of what is left: where it hangs, AMD's must still be asked.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Thim {
    client: Client,
    url: Url,
}

impl Thim {
    pub(crate) fn new(client: Client, url: Url) -> Self {
        Self { client, url }
    }

    /// The certificate that a report needs, if this service has it.
    pub(super) async fn certificate(
        &self,
        request: &CollateralRequest,
        product: Product,
        anchors: &AmdAnchors,
        deadline: Deadline,
    ) -> Option<VerifiedVek> {
        let (doing, what) = ("fetching the host's certificate", "the answer with the host's certificate");
        let deadline = Deadline::after(deadline.half_left().min(PATIENCE));
        let exchange = Exchange { doing, what, limit: MAX_ANSWER, deadline, reconnects: true };
        // Azure's metadata services want this header, so that a page in a browser cannot ask them.
        let answer = exchange.run(|| self.client.get(self.url.clone()).header("Metadata", "true")).await;
        let Ok(Answered { status: 200, body, .. }) = answer else { return None };
        let Ok(Value::Object(answer)) = json::parse(&body) else { return None };
        let certificates = certificates_from_pem(answer.required::<&str>("vcekCert").ok()?.as_bytes()).ok()?;
        let vek = VerifiedVek::verify(certificates.first()?, None, anchors).ok()?;
        request.is_met_by(product, &vek).then_some(vek)
    }
}
