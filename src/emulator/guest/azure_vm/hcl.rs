//! Reports of the paravisor: the hardware report and the runtime claims in their blob.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::VirtualTpm;
use crate::emulator::amd::{ReportBuilder, SignedVek};
use crate::emulator::keys::sha256;
use crate::types::VmId;

/// A blob to fill in and sign. Without more it is that of a production VM with secure boot.
#[derive(Clone, Debug)]
pub struct HclReportBuilder {
    modulus: String,
    vm_id: VmId,
    secure_boot: bool,
    console: bool,
    user_data: Option<[u8; 64]>,
    further: String,
    claims: Option<String>,
    report_data: Option<[u8; 64]>,
    len: usize,
    patches: Vec<(usize, Vec<u8>)>,
}

impl HclReportBuilder {
    pub(super) fn new(tpm: &VirtualTpm) -> Self {
        Self {
            modulus: tpm.key().n(),
            vm_id: tpm.vm_id(),
            secure_boot: true,
            console: true,
            user_data: Some([0; 64]),
            further: String::new(),
            claims: None,
            report_data: None,
            len: 2600,
            patches: Vec::new(),
        }
    }

    /// The modulus of another attestation key (`HCLAkPub`): of a TPM outside of this process.
    #[must_use]
    pub fn attestation_key(self, modulus: &[u8]) -> Self {
        Self { modulus: URL_SAFE_NO_PAD.encode(modulus), ..self }
    }

    /// `vmUniqueId`.
    #[must_use]
    pub fn vm_id(self, vm_id: VmId) -> Self {
        Self { vm_id, ..self }
    }

    /// `secure-boot`.
    #[must_use]
    pub fn secure_boot(self, secure_boot: bool) -> Self {
        Self { secure_boot, ..self }
    }

    /// `console-enabled`.
    #[must_use]
    pub fn console(self, console: bool) -> Self {
        Self { console, ..self }
    }

    /// `user-data`; `None` leaves it out.
    #[must_use]
    pub fn user_data(self, user_data: Option<[u8; 64]>) -> Self {
        Self { user_data, ..self }
    }

    /// Further members of `vm-configuration` in JSON, each with a comma before it.
    #[must_use]
    pub fn further_configuration(self, members: &str) -> Self {
        Self { further: members.to_owned(), ..self }
    }

    /// Claims instead of those of the virtual TPM.
    #[must_use]
    pub fn claims(self, json: &str) -> Self {
        Self { claims: Some(json.to_owned()), ..self }
    }

    /// Report data instead of the digest of the claims.
    #[must_use]
    pub fn report_data(self, report_data: [u8; 64]) -> Self {
        Self { report_data: Some(report_data), ..self }
    }

    /// The length of the blob, which zeros fill.
    #[must_use]
    pub fn len(self, len: usize) -> Self {
        Self { len, ..self }
    }

    /// Writes bytes over the finished blob.
    #[must_use]
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// The runtime claims, as the paravisor writes them.
    #[must_use]
    pub fn claims_json(&self) -> String {
        if let Some(claims) = &self.claims {
            return claims.clone();
        }
        let Self { modulus, vm_id, secure_boot, console, further, .. } = self;
        let key = |kid: &str, operation: &str| {
            format!(r#"{{"kid":"{kid}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{modulus}"}}"#)
        };
        let user_data = match self.user_data {
            Some(bytes) => format!(r#","user-data":"{}""#, hex::encode(bytes)),
            None => String::new(),
        };
        format!(
            r#"{{"keys":[{},{}],"vm-configuration":{{"root-cert-thumbprint":"","console-enabled":{console},"secure-boot":{secure_boot},"tpm-enabled":true,"tpm-persisted":true,"vmUniqueId":"{vm_id}"{further}}}{user_data}}}"#,
            key("HCLAkPub", "sign"),
            key("HCLEkPub", "encrypt"),
        )
    }

    /// The blob, with this report, whose `REPORT_DATA` becomes that of the claims, signed by this key.
    #[must_use]
    pub fn sign(&self, report: ReportBuilder, vek: &SignedVek) -> Vec<u8> {
        let claims = self.claims_json();
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(&sha256(claims.as_bytes()));
        self.wrap(report.report_data(self.report_data.unwrap_or(report_data)).sign(vek))
    }

    /// The blob, with this hardware report as it is.
    #[must_use]
    pub fn wrap(&self, report: Vec<u8>) -> Vec<u8> {
        let claims = self.claims_json();
        let claims_len = u32::try_from(claims.len()).unwrap_or(u32::MAX);
        let data_size = claims_len.saturating_add(20);
        let numbers = |all: &[u32]| all.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let mut blob = [
            b"HCLA".to_vec(),
            numbers(&[2, data_size.saturating_add(0x4c0), 2, 0, 0, 0, 0]),
            report,
            numbers(&[data_size, 1, 2, 1, claims_len]),
            claims.into_bytes(),
        ]
        .concat();
        blob.resize(self.len, 0);
        for (offset, bytes) in &self.patches {
            for (to, from) in blob.iter_mut().skip(*offset).zip(bytes) {
                *to = *from;
            }
        }
        blob
    }
}
