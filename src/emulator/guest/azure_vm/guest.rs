//! The evidence that a confidential VM sends: see [`AzureVmGuest::evidence`].

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{AzureVmKnob, HclReportBuilder, VirtualTpm, VirtualTpmAuthority};
use crate::azure_vm::Quote;
use crate::emulator::HardwareEvidence;
use crate::emulator::amd::pem;
use crate::emulator::keys::{random, sha256};
use crate::emulator::maa::claims::report_data;
use crate::types::{ReportData, Sha256Digest, SpkiDigest};

/// A confidential VM: its virtual TPM, and who certified its key.
pub(crate) struct AzureVmGuest {
    tpm: Arc<VirtualTpm>,
    authority: VirtualTpmAuthority,
    /// The virtual TPM of another VM. Made when a knob needs it.
    another: OnceLock<VirtualTpm>,
}

/// What a request is for.
pub(crate) struct AzureVmRequest<'a> {
    /// Quoted by digest.
    pub(crate) runtime_data: &'a [u8],
    /// The TLS key that the guest made after it was started.
    pub(crate) key: SpkiDigest,
    pub(crate) knobs: &'a [AzureVmKnob],
}

/// The evidence, and the runtime claims in it, which MAA puts into a token.
pub(crate) struct AzureVmEvidence {
    pub(crate) members: Map<String, Value>,
    pub(crate) runtime_claims: String,
}

impl AzureVmGuest {
    pub(crate) fn new(tpm: Arc<VirtualTpm>) -> Self {
        let authority = VirtualTpmAuthority::new().expect("an authority of virtual TPMs");
        Self { tpm, authority, another: OnceLock::new() }
    }

    fn another(&self) -> &VirtualTpm {
        self.another.get_or_init(VirtualTpm::new)
    }

    pub(crate) fn tpm(&self) -> &VirtualTpm {
        &self.tpm
    }

    pub(crate) fn authority(&self) -> &VirtualTpmAuthority {
        &self.authority
    }

    /// The evidence for a request. `machine` makes a hardware report with these report data.
    pub(crate) fn evidence<E>(
        &self,
        request: &AzureVmRequest<'_>,
        machine: impl FnOnce(&ReportData) -> Result<HardwareEvidence, E>,
    ) -> Result<AzureVmEvidence, E> {
        let (hcl, report_data) = self.hcl_report(request);
        let hardware = machine(&report_data)?;
        let Quote { message, signature, pcrs } = self.quote(request);
        let mut members = Map::new();
        hardware.write_certificates(&mut members);
        members.insert("hcl_report".into(), STANDARD.encode(hcl.wrap(hardware.report)).into());
        members.insert("tpm_quote".into(), STANDARD.encode(message).into());
        members.insert("tpm_signature".into(), STANDARD.encode(signature).into());
        members.insert("pcrs".into(), json!(pcrs));
        if let Some(chain) = self.ak_chain(request.knobs) {
            members.insert("ak_chain".into(), STANDARD.encode(chain).into());
        }
        Ok(AzureVmEvidence { members, runtime_claims: hcl.claims_json() })
    }

    /// The report of the paravisor, to be filled with a hardware report that has these report data.
    fn hcl_report(&self, request: &AzureVmRequest<'_>) -> (HclReportBuilder, ReportData) {
        let of_key = |key: &SpkiDigest| Some(*user_data(key).as_bytes());
        let mut hcl = self.tpm.hcl_report().user_data(of_key(&request.key));
        let mut claims_of = None;
        for knob in request.knobs {
            hcl = match knob {
                AzureVmKnob::HclReportOfAnotherVm => self.another().hcl_report().user_data(of_key(&request.key)),
                AzureVmKnob::RuntimeClaimsOfAnotherVm => {
                    claims_of = Some(report_data(hcl.claims_json().as_bytes()));
                    self.another().hcl_report()
                }
                AzureVmKnob::EarlierBoot => hcl.user_data(of_key(&SpkiDigest::new(random()))),
                AzureVmKnob::UserData(data) => hcl.user_data(*data),
                AzureVmKnob::SecureBoot(on) => hcl.secure_boot(*on),
                AzureVmKnob::Console(on) => hcl.console(*on),
                AzureVmKnob::FurtherConfiguration(members) => hcl.further_configuration(members),
                AzureVmKnob::HclReportBytes(offset, bytes) => hcl.patch(*offset, bytes),
                _ => hcl,
            };
        }
        let report_data = claims_of.unwrap_or_else(|| report_data(hcl.claims_json().as_bytes()));
        (hcl, report_data)
    }

    fn quote(&self, request: &AzureVmRequest<'_>) -> Quote {
        let quoted = request.knobs.contains(&AzureVmKnob::QuoteOfAnotherVm);
        let tpm = if quoted { self.another() } else { &*self.tpm };
        let quote = tpm.quote().vm_id(tpm.vm_id()).extra_data(&sha256(request.runtime_data));
        let quote = request.knobs.iter().fold(quote, |quote, knob| match knob {
            AzureVmKnob::ExtraData(data) => quote.extra_data(data),
            AzureVmKnob::SelectedPcrs(indices) => quote.select(indices),
            AzureVmKnob::Pcr(index, value) => quote.pcr(*index, *value),
            AzureVmKnob::QuoteBytes(offset, bytes) => quote.patch(*offset, bytes),
            _ => quote,
        });
        let mut quote = quote.sign();
        for knob in request.knobs {
            match knob {
                AzureVmKnob::PcrValues(values) => quote.pcrs.clone_from(values),
                AzureVmKnob::SignatureBitFlipped(bit) => {
                    if let Some(byte) = quote.signature.get_mut(bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                _ => {}
            }
        }
        quote
    }

    /// The certificates in PEM.
    fn ak_chain(&self, knobs: &[AzureVmKnob]) -> Option<String> {
        if knobs.contains(&AzureVmKnob::NoAkCertificate) {
            return None;
        }
        let forged = knobs.contains(&AzureVmKnob::ForgedAkCertificate);
        let forger = forged.then(|| VirtualTpmAuthority::impostor().expect("an authority of virtual TPMs"));
        let authority = forger.as_ref().unwrap_or(&self.authority);
        let of_another = knobs.contains(&AzureVmKnob::AkCertificateOfAnotherVm);
        let certificate = authority.certificate(if of_another { self.another() } else { &self.tpm });
        let certificate = knobs.iter().fold(certificate, |certificate, knob| match knob {
            AzureVmKnob::AkCertificateOfTrustedLaunch => {
                certificate.subject("01d451636602.TrustedVM.Azure.windows.net")
            }
            AzureVmKnob::AkCertificateExpired => certificate.not_after("251231000000Z"),
            _ => certificate,
        });
        let chain = certificate.chain().expect("a certificate can be signed");
        let sent = if knobs.contains(&AzureVmKnob::NoAkAuthority) { 1 } else { chain.len() };
        Some(chain.iter().take(sent).map(|der| pem(der)).collect())
    }
}

/// What an agent writes to NV index 0x01400002 once it has its TLS key: the digest of its statement, and 32 zero bytes.
fn user_data(key: &SpkiDigest) -> ReportData {
    report_data(format!(r#"{{"protocol":"blindbox-bound-key/1","tls-spki-sha256":"{key}"}}"#).as_bytes())
}

/// PCR 6 of a VM, as Azure's firmware extends it.
pub(super) fn pcr_of_vm_id(vm_id: &str) -> Sha256Digest {
    let extend = |value: [u8; 32], event: &[u8]| sha256(&[value, sha256(event)].concat());
    let named = extend([0; 32], format!("UUID: {}", vm_id.to_ascii_uppercase()).as_bytes());
    Sha256Digest::new(extend(named, &[0; 4]))
}
