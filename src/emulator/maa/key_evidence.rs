//! The evidence of an emulated MAA about itself: the container that holds its key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CustomExtension;
use serde_json::json;

use crate::emulator::blindbox::agent::{HardwareEvidence, ReportSource as _};
use crate::emulator::guest::Guest;
use crate::emulator::guest::hardware_knob::HardwareKnob;
use crate::emulator::guest::platform::Platform;
use crate::emulator::keys::RsaSigningKey;
use crate::types::{HostData, ReportData, Tcb};

/// The extension in which an MAA that runs in a confidential container shows its own evidence.
pub(super) const MAA_EVIDENCE: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 105, 1000, 1];

/// The extension that names the kind of that evidence.
const MAA_EVIDENCE_KIND: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 105, 1000, 2];

/// Evidence that a confidential container on a machine holds the keys of an MAA, for [`crate::emulator::KeySetKnob::OwnEvidence`].
///
/// It is made for each key, with real signatures under the roots of the emulated AMD and the endorser of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaaEvidence {
    platform: Platform,
    guest: Guest,
    knobs: Vec<MaaEvidenceKnob>,
}

/// One change to the evidence of an MAA about itself. Several act in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaaEvidenceKnob {
    /// Another host data: another CCE policy.
    HostData(HostData),
    /// Another security version of the utility VM in its endorsement.
    UvmSvn(u64),
    /// Another reported TCB.
    ReportedTcb(Tcb),
    /// The guest policy allows debugging.
    Debug,
    /// The guest policy allows a migration agent.
    MigrationAllowed,
    /// Requested from another privilege level.
    Vmpl(u32),
    /// The report is about another key.
    OfAnotherKey,
    /// Changes the report, its certificates or the endorsement.
    Hardware(HardwareKnob),
    /// Another kind of evidence is named.
    Kind(String),
    /// No kind of evidence is named.
    WithoutKind,
    /// This text in place of the JSON document.
    Document(String),
    /// Removes a member of the JSON document.
    WithoutMember(String),
}

impl MaaEvidence {
    /// Evidence of a container on this machine, as [`Guest::container`] describes it.
    #[must_use]
    pub fn new(platform: &Platform) -> Self {
        let mut guest = Guest::container();
        platform.place(&mut guest);
        Self { platform: platform.clone(), guest, knobs: Vec::new() }
    }

    /// The host data of the container, which a policy requires.
    #[must_use]
    pub fn host_data(&self) -> HostData {
        self.guest.snp.host_data
    }

    /// Changes the evidence; may be called again.
    #[must_use]
    pub fn knob(mut self, knob: MaaEvidenceKnob) -> Self {
        match &knob {
            MaaEvidenceKnob::HostData(host_data) => self.guest.snp.host_data = *host_data,
            MaaEvidenceKnob::UvmSvn(svn) => drop(self.guest.uvm.as_mut().map(|uvm| uvm.svn = *svn)),
            MaaEvidenceKnob::ReportedTcb(tcb) => self.guest.snp.reported_tcb = *tcb,
            MaaEvidenceKnob::Debug => self.guest.snp.policy.debug = true,
            MaaEvidenceKnob::MigrationAllowed => self.guest.snp.policy.migrate_ma = true,
            MaaEvidenceKnob::Vmpl(vmpl) => self.guest.snp.vmpl = *vmpl,
            _ => {}
        }
        self.knobs.push(knob);
        self
    }

    pub(super) fn extensions(&self, key: &RsaSigningKey) -> Vec<CustomExtension> {
        let mut kind = Some("acisevsnp".to_owned());
        let mut document = self.document(key);
        for knob in &self.knobs {
            match knob {
                MaaEvidenceKnob::Kind(other) => kind = Some(other.clone()),
                MaaEvidenceKnob::WithoutKind => kind = None,
                MaaEvidenceKnob::Document(text) => document.clone_from(text),
                _ => {}
            }
        }
        let extension = |oid, text: &str| CustomExtension::from_oid_content(oid, utf8_string(text));
        let document = extension(MAA_EVIDENCE, &document);
        let kind = kind.map(|kind| extension(MAA_EVIDENCE_KIND, &kind));
        std::iter::once(document).chain(kind).collect()
    }

    fn document(&self, key: &RsaSigningKey) -> String {
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(&key.key_digest());
        if self.knobs.contains(&MaaEvidenceKnob::OfAnotherKey) {
            report_data[0] ^= 1;
        }
        let hardware = self.knobs.iter().filter_map(|knob| match knob {
            MaaEvidenceKnob::Hardware(knob) => Some(knob.clone()),
            _ => None,
        });
        let knobs: Vec<_> = hardware.collect();
        let HardwareEvidence { report, endorsements_pem, uvm_endorsements, .. } =
            self.platform.evidence(&self.guest, &ReportData::new(report_data), &knobs);
        let endorsements = json!({ "Uvm": [URL_SAFE_NO_PAD.encode(uvm_endorsements)] }).to_string();
        let mut document = json!({
            "Endorsements": URL_SAFE_NO_PAD.encode(endorsements),
            "SnpReport": URL_SAFE_NO_PAD.encode(report),
            "VcekCertChain": URL_SAFE_NO_PAD.encode(endorsements_pem),
        });
        for knob in &self.knobs {
            if let (MaaEvidenceKnob::WithoutMember(name), Some(members)) = (knob, document.as_object_mut()) {
                members.remove(name);
            }
        }
        document.to_string()
    }
}

/// DER of a `UTF8String`.
fn utf8_string(text: &str) -> Vec<u8> {
    let [.., high, middle, low] = text.len().to_be_bytes();
    let length: &[u8] = match (high, middle, low) {
        (0, 0, 0..=0x7f) => &[low],
        (0, 0, _) => &[0x81, low],
        (0, ..) => &[0x82, middle, low],
        _ => &[0x83, high, middle, low],
    };
    [&[0x0c], length, text.as_bytes()].concat()
}
