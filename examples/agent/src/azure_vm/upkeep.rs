//! What is fetched in the background, since neither a caller nor the end of a TLS key may wait for it: the certificate of the
//! attestation key with its issuers, and the certificate of the chip.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blindbox_attestation::UnixTime;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::ak_certificate::{Age, ChainCertificate};
use super::issuers::AkChain;
use super::{AK_CERTIFICATE_INDEX, AK_HANDLE, AzureVm, AzureVmError, MetadataService};
use crate::http_client::{Failure, Stream, exchange};
use crate::log;
use crate::security_context::tcb_of_number;

/// How often everything is looked at again.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The same after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// The most bytes of the metadata service's response: three certificates. Evidence with it stays below what clients read.
const MAX_CHIP_ANSWER: usize = 64 * 1024;

/// Where Azure's metadata service has the certificate of the chip (Trusted Hardware Identity Management).
const CHIP_PATH: &str = "/metadata/THIM/amd/certification";

/// The certificates of the chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChipCertificates {
    /// That of the key that signs, then its issuers.
    pub(super) pem: String,
    /// Of that key, as its bytes stand in a report.
    pub(super) tcb: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChipAnswer {
    vcek_cert: String,
    tcbm: String,
    certificate_chain: String,
}

/// What was said last of the two certificates: the same is not said again.
#[derive(Default)]
pub(crate) struct Said {
    ak: Option<String>,
    chip: Option<String>,
    /// Whether the last attempt lacked anything, so that the next one is due sooner.
    is_incomplete: bool,
}

impl AzureVm {
    /// Looks at everything for as long as the agent runs.
    pub(crate) async fn upkeep(self: Arc<Self>, mut said: Said) {
        loop {
            tokio::time::sleep(if said.is_incomplete { RETRY } else { INTERVAL }).await;
            self.refresh(&mut said).await;
        }
    }

    /// Fetches everything once. What cannot be had is said. What was had before stays as long as it is of use: whether it is, is seen
    /// when it is sent. So an outage, or an attacker on the path of plain HTTP, takes nothing away.
    pub(crate) async fn refresh(self: &Arc<Self>, said: &mut Said) {
        let (ak, chip) = tokio::join!(self.read_ak_chain(), self.fetch_chip_certificates());
        said.is_incomplete = ak.is_err() || chip.is_err();
        let remark = match ak {
            Ok((chain, remark)) => {
                self.ak_chain.send_replace(Some(chain));
                remark
            }
            Err(reason) => Some(match &*self.ak_chain.borrow() {
                Some(last) if last.is_valid(SystemTime::now().into()) => {
                    format!("Azure's certificate of the attestation key stays the last one: {reason}")
                }
                _ => format!("evidence goes without Azure's certificate of the attestation key: {reason}"),
            }),
        };
        say_once(&mut said.ak, remark);
        match chip {
            Ok(chip) => {
                self.chip.send_replace(Some(chip));
                say_once(&mut said.chip, None);
            }
            Err(reason) => say_once(
                &mut said.chip,
                Some(format!("no certificate of the chip from the metadata service, clients ask AMD for it: {reason}")),
            ),
        }
    }

    /// The certificate of the attestation key and its issuers, and what an operator should know of it.
    async fn read_ak_chain(self: &Arc<Self>) -> Result<(AkChain, Option<String>), String> {
        let vm = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || vm.read_ak_certificate());
        let leaf = read.await.map_err(|error| error.to_string())??;
        let now = UnixTime::from(SystemTime::now());
        let remedy = "Azure's guest attestation agent renews it on older VMs; restart the VM on others";
        let remark = match leaf.age(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)) {
            Age::Fresh => None,
            Age::Ageing(days) => Some(format!(
                "Azure's certificate of the attestation key ends in {days} days and was not renewed: {remedy}"
            )),
            Age::Expired => return Err(format!("it has expired: {remedy}")),
        };
        Ok((self.issuers.chain_of(leaf, now).await?, remark))
    }

    /// Reads the certificate of the key that the TPM has now. Blocks.
    fn read_ak_certificate(&self) -> Result<ChainCertificate, String> {
        let read = self.with_tpm(|tpm| {
            let what = "reading the certificate of the attestation key (NV index 0x01c101d0)";
            let content = tpm.nv_read(AK_CERTIFICATE_INDEX).map_err(AzureVmError::tpm(what))?;
            let modulus = tpm.rsa_modulus(AK_HANDLE).map_err(AzureVmError::tpm("reading the attestation key"))?;
            Ok((content, modulus))
        });
        let (content, modulus) = read.map_err(|error| error.to_string())?;
        let certificate =
            ChainCertificate::in_nv_index(&content).map_err(|reason| format!("NV index 0x01c101d0: {reason}"))?;
        // A chain of the key that was there before is of no use to anyone.
        self.ak_chain.send_if_modified(|chain| chain.take_if(|chain| !chain.is_for(&modulus)).is_some());
        if !certificate.is_for(&modulus) {
            return Err("it is for another key than the TPM has: it is of before the key was made again".to_owned());
        }
        Ok(certificate)
    }

    async fn fetch_chip_certificates(&self) -> Result<ChipCertificates, String> {
        let MetadataService(address) = self.metadata;
        let connect = async {
            let stream: Box<dyn Stream> = Box::new(TcpStream::connect(address).await?);
            Ok(stream)
        };
        // Without this header it refuses: a server-side request forgery rarely can send it.
        let request = Request::get(CHIP_PATH).header(HOST, address.to_string()).header("Metadata", "true");
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let body = exchange(connect, request, MAX_CHIP_ANSWER).await.map_err(Failure::reason)?;
        let answer: ChipAnswer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let tcb = tcb_of_number(&answer.tcbm).ok_or("tcbm is not 16 hexadecimal digits")?;
        Ok(ChipCertificates { pem: answer.vcek_cert + &answer.certificate_chain, tcb })
    }
}

fn say_once(said: &mut Option<String>, remark: Option<String>) {
    if let Some(remark) = &remark
        && said.as_ref() != Some(remark)
    {
        log(remark);
    }
    *said = remark;
}
