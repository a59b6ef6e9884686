//! An Azure confidential VM with AMD SEV-SNP: evidence comes from the paravisor, by its virtual TPM.
//!
//! The guest cannot request a hardware report over data of its choice. It writes 64 bytes to an NV index, which the next report of the
//! paravisor states as `user-data`, and has the virtual TPM quote 32 bytes under a key that this report names.
//!
//! So each TLS key costs one report, which is made once after the key, and each request one quote.
//!
//! | file | content |
//! |---|---|
//! | `config` | the table `[azure-vm]` |
//! | `report` | the paravisor's blob, as far as the agent reads it |
//! | `statement` | one report for each TLS key, and the two seconds in which the paravisor makes none |
//! | `ak_certificate` | Azure's certificate of the attestation key: its age, and who issued it |
//! | `issuers` | the certificates of its issuers |
//! | `issuer_host` | which hosts these may be fetched from |
//! | `public_address` | which IP addresses a name may lead to |
//! | `upkeep` | what is fetched in the background: those certificates, and that of the chip |
//! | `request` | `POST /attest/azure-vm` |

mod ak_certificate;
mod config;
mod issuer_host;
mod issuers;
mod public_address;
mod report;
mod request;
mod statement;
mod upkeep;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;

pub use config::{AzureVmConfig, MetadataService};
pub use issuer_host::{IssuerHost, IssuerHosts};

use crate::config::InvalidConfig;
use crate::evidence::{EvidenceError, Hardware};
use crate::tpm::{Quoted, Tpm, TpmAddress, TpmError};
use issuers::{AkChain, Issuers};
use report::ParavisorReport;
use statement::StatedKey;
use upkeep::ChipCertificates;
pub(crate) use upkeep::Said;

/// The NV index of the paravisor's report.
const REPORT_INDEX: u32 = 0x0140_0001;
/// The NV index whose content the next report states.
const USER_DATA_INDEX: u32 = 0x0140_0002;
/// The NV index of the certificate of the attestation key.
const AK_CERTIFICATE_INDEX: u32 = 0x01c1_01d0;
/// The attestation key.
const AK_HANDLE: u32 = 0x8100_0003;

/// The virtual TPM of this VM, and what goes with its quotes.
pub struct AzureVm {
    tpm: TpmAddress,
    metadata: MetadataService,
    issuers: Issuers,
    /// Held by the one that speaks to the TPM: what it writes and reads next belong together.
    turn: Mutex<()>,
    /// The newest TLS keys, the last one last.
    keys: watch::Sender<Vec<StatedKey>>,
    /// The last chain that clients accept: the certificate of the attestation key, then its issuers.
    ak_chain: watch::Sender<Option<AkChain>>,
    chip: watch::Sender<Option<ChipCertificates>>,
}

/// Why a confidential VM gives no evidence.
#[derive(Debug, thiserror::Error)]
pub enum AzureVmError {
    /// The TPM.
    #[error("{what}: {error}")]
    Tpm {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        error: TpmError,
    },
    /// No NV index of the paravisor's report.
    #[error("the TPM has no NV index 0x01400001, where Azure's paravisor reports: this is no confidential VM of Azure")]
    NoReport,
    /// No attestation key.
    #[error("the TPM has no key at 0x81000003, where Azure's paravisor keeps the attestation key; restart the VM")]
    NoAttestationKey,
    /// The blob has another form.
    #[error("the report of the paravisor (NV index 0x01400001) cannot be used: {0}")]
    Report(String),
    /// The report does not state what was written.
    #[error(
        "the report of the paravisor states user-data {found}, not {expected}, after {attempts} attempts: another program writes NV index \
         0x01400002 at the same time, or the paravisor makes no new report"
    )]
    StaleReport {
        /// What was written.
        expected: String,
        /// What the last report has.
        found: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The report names another key than the TPM has.
    #[error(
        "the key at 0x81000003 is not the one that the report of the paravisor names (HCLAkPub): it was replaced; restart the VM"
    )]
    AnotherKey,
}

impl AzureVmError {
    fn tpm(what: &'static str) -> impl FnOnce(TpmError) -> Self {
        move |error| Self::Tpm { what, error }
    }
}

impl From<AzureVmError> for EvidenceError {
    fn from(error: AzureVmError) -> Self {
        match &error {
            AzureVmError::Tpm { error: cause, .. } if cause.is_temporary() => Self::Away(format!("the TPM: {error}")),
            // The next attempt may meet no other program.
            AzureVmError::StaleReport { .. } => Self::Away(format!("the paravisor: {error}")),
            _ => Self::AzureVm(error),
        }
    }
}

/// Evidence for one request.
pub(crate) struct AzureVmEvidence {
    pub(crate) report: Arc<ParavisorReport>,
    pub(crate) quoted: Quoted,
    /// PEM.
    pub(crate) ak_chain: Option<String>,
    /// PEM: the certificate of the chip and its issuers.
    pub(crate) chip: Option<String>,
}

impl AzureVm {
    /// The VM of this configuration. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] if the file of issuers cannot be used.
    pub fn new(config: &AzureVmConfig) -> Result<Self, InvalidConfig> {
        Ok(Self {
            tpm: config.tpm.clone(),
            metadata: config.metadata.clone(),
            issuers: Issuers {
                given: config.issuers()?,
                hosts: config.ak_issuer_hosts.clone(),
                anchors: config.ak_anchors()?,
            },
            turn: Mutex::new(()),
            keys: watch::Sender::default(),
            ak_chain: watch::Sender::default(),
            chip: watch::Sender::default(),
        })
    }

    /// Speaks to the TPM while nothing else of this agent does. Blocks.
    fn with_tpm<T>(&self, work: impl FnOnce(&mut Tpm) -> Result<T, AzureVmError>) -> Result<T, AzureVmError> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tpm = Tpm::open(&self.tpm).map_err(AzureVmError::tpm("opening the virtual TPM"))?;
        let done = work(&mut tpm);
        drop(turn);
        done
    }

    /// The evidence for runtime data that name this TLS key.
    pub(crate) async fn evidence(
        self: &Arc<Self>,
        runtime_data: &[u8],
        spki_digest: &str,
    ) -> Result<AzureVmEvidence, EvidenceError> {
        let report = self.report_of(spki_digest)?;
        let mut extra_data = [0; 32];
        extra_data.iter_mut().zip(digest(&SHA256, runtime_data).as_ref()).for_each(|(to, from)| *to = *from);
        let vm = Arc::clone(self);
        let quote = move || {
            let quoted = vm.with_tpm(|tpm| tpm.quote(AK_HANDLE, &extra_data).map_err(AzureVmError::tpm("quoting")))?;
            Ok::<_, AzureVmError>(quoted)
        };
        let quoted = tokio::task::spawn_blocking(quote);
        let quoted = quoted.await.map_err(|error| EvidenceError::Device(error.to_string()))??;
        let chip = self.chip_certificates(&report).ok();
        let ak_chain = self.ak_chain_of(&report);
        Ok(AzureVmEvidence { report, quoted, ak_chain, chip })
    }

    /// Azure's certificate of the attestation key that a report names, with its issuers, in PEM, as long as they are valid.
    fn ak_chain_of(&self, report: &ParavisorReport) -> Option<String> {
        let chain = self.ak_chain.borrow();
        let serves = |chain: &&AkChain| chain.is_for(&report.ak_modulus) && chain.is_valid(SystemTime::now().into());
        chain.as_ref().filter(serves).map(|chain| chain.pem.clone())
    }

    /// The certificates of the chip in PEM, if they are those of the key that signed this report.
    fn chip_certificates(&self, report: &ParavisorReport) -> Result<String, EvidenceError> {
        let chip = self.chip.borrow().clone();
        let away = || EvidenceError::Away("the metadata service: no certificate of the chip yet".to_owned());
        let ChipCertificates { pem, tcb } = chip.ok_or_else(away)?;
        let reported = report.reported_tcb();
        if tcb == reported { Ok(pem) } else { Err(EvidenceError::AnotherTcb { certificate: tcb, report: reported }) }
    }

    /// What MAA is asked with for a direct token: the hardware report, to which the runtime claims belong.
    pub(crate) fn hardware(&self, report: &ParavisorReport) -> Result<Hardware, EvidenceError> {
        let certificates = self.chip_certificates(report)?;
        Ok(Hardware { report: report.hardware_report().to_vec(), certificates, uvm_endorsement: None })
    }
}
