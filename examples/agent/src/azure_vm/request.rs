//! `POST /attest/azure-vm` of `docs/protocol.md`.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};

use super::AzureVmEvidence;
use crate::api::{Asked, Attested, Bound, RETIRED, Refusal, UNSUPPORTED, with_offer};
use crate::connection::ConnectionKey;
use crate::evidence::Source;

#[derive(Serialize)]
struct Members {
    hcl_report: String,
    tpm_quote: String,
    tpm_signature: String,
    pcrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ak_chain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endorsements: Option<String>,
    runtime_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Bound {
    pub(crate) async fn azure_vm(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        key: &ConnectionKey,
    ) -> Result<Value, Refusal> {
        let Source::AzureVm(vm) = &self.source else { return Err(UNSUPPORTED) };
        let Asked { nonce, form, host } = self.asked(request).await?;
        let (vm, maa) = (vm.clone(), self.maa.clone());
        let spki_digest = key.serving().ok_or(RETIRED)?.to_owned();
        let named = self.named(form, nonce, key)?;
        self.attest(caller, async move {
            let Attested { runtime_data, offer } = named.attested()?;
            let AzureVmEvidence { report, quoted, ak_chain, chip } = vm.evidence(&runtime_data, &spki_digest).await?;
            // Of this very report. Its data are the runtime claims, which MAA puts into the token.
            let token = match host {
                Some(host) => Some(maa.token(&host, &vm.hardware(&report)?, report.claims()).await?),
                None => None,
            };
            let answer = json!(Members {
                hcl_report: STANDARD.encode(report.blob()),
                tpm_quote: STANDARD.encode(&quoted.message),
                tpm_signature: STANDARD.encode(&quoted.signature),
                pcrs: quoted.pcrs.iter().map(hex::encode).collect(),
                ak_chain: ak_chain.map(|pem| STANDARD.encode(pem)),
                endorsements: chip.map(|pem| STANDARD.encode(pem)),
                runtime_data: STANDARD.encode(&runtime_data),
                token,
            });
            Ok(with_offer(answer, offer))
        })
        .await
    }
}
