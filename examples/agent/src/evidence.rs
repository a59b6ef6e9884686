//! Where reports come from, and what is checked of them and of the report data they cover before anyone sees them.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::azure_vm::{AzureVm, AzureVmError};
use crate::config::MaaHost;
use crate::maa::MaaClient;
use crate::security_context::{HostCertificates, SecurityContext};
use crate::sidecar::Sidecar;

/// `ATTESTATION_REPORT` has this many bytes (AMD 56860 table 23).
const REPORT_LEN: usize = 0x4a0;

/// Something that makes reports over 64 bytes: the guest device, or one that a test emulates.
///
/// Blocks: it is called on a thread for that.
pub trait Device: Send + Sync + 'static {
    /// A report with these bytes as `REPORT_DATA`, as the firmware made it.
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, EvidenceError>;
}

/// Where evidence comes from.
#[derive(Clone)]
pub enum Source {
    /// Reports from a device that only this process can reach, certificates from the security context.
    Device(Arc<dyn Device>, SecurityContext),
    /// Everything from Microsoft's SKR sidecar, which attests what *anything* in the container group posts to it.
    Sidecar(Sidecar),
    /// The virtual TPM of an Azure confidential VM, which attests by `/attest/azure-vm` alone.
    AzureVm(Arc<AzureVm>),
}

/// A hardware report and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hardware {
    pub(crate) report: Vec<u8>,
    /// VCEK (or VLEK), ASK (or ASVK), ARK in PEM.
    pub(crate) certificates: String,
    /// A COSE_Sign1 document; none outside confidential containers.
    pub(crate) uvm_endorsement: Option<Vec<u8>>,
}

/// Why there is no evidence. Callers learn no more than that; the operator reads this.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The guest device refuses.
    #[error("the guest device gives no report: {0}")]
    Device(String),
    /// A file of the security context is missing or not in its form.
    #[error("the security context cannot be used: {0}")]
    SecurityContext(String),
    /// The report is not 1184 bytes over the data that were asked for.
    #[error("the report is not one over the data that were asked for")]
    WrongReport,
    /// The host's certificate is not for the TCB in the report: it was updated since the container group started.
    #[error("the host's certificate is for TCB {certificate}, the report for {report}: restart the container group")]
    AnotherTcb {
        /// Of the certificate, as bytes in a report.
        certificate: String,
        /// Of the report.
        report: String,
    },
    /// MAA refuses, or responds with something else than a token.
    #[error("MAA gives no token: {0}")]
    Maa(String),
    /// The sidecar refuses, or responds with something else.
    #[error("the sidecar gives no evidence: {0}")]
    Sidecar(String),
    /// The virtual TPM of a confidential VM.
    #[error("the confidential VM gives no evidence: {0}")]
    AzureVm(AzureVmError),
    /// The device, the sidecar or MAA cannot be reached, is late, or says to try later. Callers may.
    #[error("no response from {0}")]
    Away(String),
}

impl Source {
    pub(crate) async fn hardware(&self, runtime_data: &[u8]) -> Result<Hardware, EvidenceError> {
        let report_data = report_data(runtime_data);
        let hardware = match self {
            Self::Sidecar(sidecar) => sidecar.combined(runtime_data).await?,
            Self::Device(device, context) => {
                let (device, context) = (Arc::clone(device), context.clone());
                let work = tokio::task::spawn_blocking(move || from_device(device.as_ref(), &context, &report_data));
                work.await.map_err(|error| EvidenceError::Device(error.to_string()))??
            }
            Self::AzureVm(_) => return Err(EvidenceError::Device("a confidential VM has no such device".to_owned())),
        };
        // Wherever it is from: a report over other data must not leave under this nonce.
        if hardware.report.len() != REPORT_LEN || hardware.report.get(0x50..0x90) != Some(report_data.as_slice()) {
            return Err(EvidenceError::WrongReport);
        }
        Ok(hardware)
    }

    pub(crate) async fn token(
        &self,
        maa: &MaaClient,
        host: &MaaHost,
        runtime_data: &[u8],
    ) -> Result<String, EvidenceError> {
        match self {
            Self::Sidecar(sidecar) => sidecar.token(host, runtime_data).await,
            Self::Device(..) | Self::AzureVm(_) => {
                maa.token(host, &self.hardware(runtime_data).await?, runtime_data).await
            }
        }
    }
}

impl Hardware {
    /// `REPORTED_TCB`, the one of the key that signed: its bytes as they stand in the report.
    pub(crate) fn reported_tcb(&self) -> String {
        hex::encode(self.report.get(0x180..0x188).unwrap_or_default())
    }
}

/// SHA-256 of the runtime data, and 32 zero bytes.
pub(crate) fn report_data(runtime_data: &[u8]) -> [u8; 64] {
    let mut report_data = [0; 64];
    let digest = digest(&SHA256, runtime_data);
    report_data.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    report_data
}

fn from_device(device: &dyn Device, context: &SecurityContext, data: &[u8; 64]) -> Result<Hardware, EvidenceError> {
    let HostCertificates { certificates, tcb } = context.host_certificates()?;
    let uvm_endorsement = Some(context.uvm_endorsement()?);
    let hardware = Hardware { report: device.report(data)?, certificates, uvm_endorsement };
    let report = hardware.reported_tcb();
    // With the wrong certificate no client can verify it, and the reason would be hard to find.
    if report != tcb {
        return Err(EvidenceError::AnotherTcb { certificate: tcb, report });
    }
    Ok(hardware)
}
