//! The machine under an emulated guest: a processor of AMD's, and an endorsed utility VM.

use std::sync::{Arc, LazyLock};

use super::hardware_knob::HardwareKnob;
use super::uvm::UvmSigner;
use crate::claims::{Bit, GuestPolicy};
use crate::emulator::amd::registry::{self, HierarchyOwner, hierarchy};
use crate::emulator::amd::{ReportBuilder, SignedVek, pem, tcb_bytes};
use crate::emulator::blindbox::agent::{HardwareEvidence, ReportSource};
use crate::emulator::guest::Guest;
use crate::emulator::keys::random;
use crate::snp::AmdAnchors;
use crate::types::{ChipId, Product, ReportData, SigningKey, Tcb};
use crate::uvm::EndorsementForm;

/// An emulated machine. Given to a [`crate::emulator::BlindBoxBuilder`] it makes the agent serve `/attest/raw` and
/// `/attest/combined` with genuine reports under the emulated AMD's roots.
///
/// Token and report say the same of the guest. Chip, processor family, TCB and the issuer of the utility VM's
/// endorsement are the machine's ([`Platform::place`]); a [`crate::emulator::Knob::ReportedTcb`] makes AMD certify the chip's key
/// for that TCB, as it does for real ones.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use blindbox_attestation::Product;
/// use blindbox_attestation::emulator::{BlindBox, HardwareKnob, Kds, Knob, Maa, Platform};
///
/// let (maa, kds) = (Maa::start().await?, Kds::start().await?);
/// let platform = Platform::new(Product::Genoa);
/// let blindbox = BlindBox::builder(&maa).platform(&platform).start().await?;
/// println!("{} on {platform:?}, revocation lists at {}", blindbox.url(), kds.url());
///
/// blindbox.set(Knob::Hardware(HardwareKnob::MaskedChipId)); // from now on the report does not name the chip
/// # Ok(())
/// # }
/// ```
///
/// All machines of a process have the same AMD, whose RSA-4096 keys are made when the first machine is: that takes about
/// a second.
#[derive(Clone)]
pub struct Platform(Arc<PlatformBuilder>);

/// Settings of a machine.
#[derive(Clone)]
pub struct PlatformBuilder {
    product: Product,
    kind: SigningKey,
    chip_id: ChipId,
    tcb: Tcb,
    report_version: u32,
    report: Arc<dyn Fn(ReportBuilder) -> ReportBuilder + Send + Sync>,
    endorser: UvmSigner,
    form: EndorsementForm,
}

impl PlatformBuilder {
    /// Reports are signed by the cloud provider's VLEK and say no chip id.
    #[must_use]
    pub fn vlek(self) -> Self {
        Self { kind: SigningKey::Vlek, ..self }
    }

    /// The chip; a new one unless set. On Turin 8 bytes count, the others should be zero.
    #[must_use]
    pub fn chip_id(self, chip_id: ChipId) -> Self {
        Self { chip_id, ..self }
    }

    /// The TCB that the machine runs and reports.
    #[must_use]
    pub fn tcb(self, tcb: Tcb) -> Self {
        Self { tcb: registry::in_layout_of(self.product, tcb), ..self }
    }

    /// The version of the reports: 3 unless set.
    #[must_use]
    pub fn report_version(self, version: u32) -> Self {
        Self { report_version: version, ..self }
    }

    /// Fills in what the guest does not decide: platform info, firmware versions, the other TCBs, mitigation vectors.
    #[must_use]
    pub fn report(self, fill_in: impl Fn(ReportBuilder) -> ReportBuilder + Send + Sync + 'static) -> Self {
        Self { report: Arc::new(fill_in), ..self }
    }

    /// Who endorses utility VMs; one signer for the whole process unless set.
    #[must_use]
    pub fn endorser(self, signer: &UvmSigner) -> Self {
        Self { endorser: signer.clone(), ..self }
    }

    /// The form of endorsements: [`EndorsementForm::TextHeaders`] unless set.
    #[must_use]
    pub fn endorsement_form(self, form: EndorsementForm) -> Self {
        Self { form, ..self }
    }

    /// Makes the machine. The first one of a process waits for AMD's keys.
    #[must_use]
    pub fn build(self) -> Platform {
        let platform = Platform(Arc::new(self));
        // From now on AMD knows the chip.
        let _ = platform.vek();
        platform
    }
}

impl Platform {
    /// A machine with a new chip, whose key is a VCEK.
    #[must_use]
    pub fn new(product: Product) -> Self {
        Self::builder(product).build()
    }

    /// Settings before it is made.
    #[must_use]
    pub fn builder(product: Product) -> PlatformBuilder {
        PlatformBuilder {
            product,
            kind: SigningKey::Vcek,
            chip_id: new_chip_id(product),
            tcb: registry::in_layout_of(product, Tcb::new(Some(1), 4, 0, 24, 219)),
            report_version: 3,
            report: Arc::new(|report| report),
            endorser: ENDORSER.clone(),
            form: EndorsementForm::TextHeaders,
        }
    }

    /// The processor family.
    #[must_use]
    pub fn product(&self) -> Product {
        self.0.product
    }

    /// Which kind of key signs reports.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.0.kind
    }

    /// The chip; not said under a VLEK.
    #[must_use]
    pub fn chip_id(&self) -> Option<ChipId> {
        (self.0.kind == SigningKey::Vcek).then_some(self.0.chip_id)
    }

    /// The TCB that it reports.
    #[must_use]
    pub fn tcb(&self) -> Tcb {
        self.0.tcb
    }

    /// The key that signs its reports, with its certificate.
    #[must_use]
    pub fn vek(&self) -> SignedVek {
        registry::vek(HierarchyOwner::Amd, self.0.product, self.chip_id(), self.0.tcb)
    }

    /// The roots of the emulated AMD, for every family: what a verifier is given in place of AMD's.
    #[must_use]
    pub fn anchors(&self) -> AmdAnchors {
        registry::anchors()
    }

    /// The emulated AMD's certificates for its family as PEM: ARK, ASK, ASVK. For verifiers in other processes.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        let hierarchy = hierarchy(HierarchyOwner::Amd, self.0.product);
        [hierarchy.ark(), hierarchy.ask(), hierarchy.asvk()].map(pem).concat()
    }

    /// A CRL for its family that revokes nothing and names no distribution point, in DER.
    #[must_use]
    pub fn crl(&self) -> Vec<u8> {
        hierarchy(HierarchyOwner::Amd, self.0.product).crl().issue()
    }

    /// Who endorses the utility VM: the `did:x509` that a policy names.
    #[must_use]
    pub fn uvm_issuer(&self) -> &str {
        self.0.endorser.issuer()
    }

    /// Moves a guest onto this machine: chip, family and TCB become the machine's, and its endorser the issuer of the
    /// utility VM's endorsement.
    pub fn place(&self, guest: &mut Guest) {
        guest.snp.product = Some(self.0.product);
        guest.snp.chip_id = self.chip_id();
        guest.snp.reported_tcb = self.0.tcb;
        if let Some(uvm) = &mut guest.uvm {
            self.uvm_issuer().clone_into(&mut uvm.issuer);
        }
    }

    /// The certificates of its key, in PEM, as its agents send them: VCEK or VLEK, issuer, root.
    #[must_use]
    pub fn certificates_pem(&self) -> String {
        self.vek().pem() + &hierarchy(HierarchyOwner::Amd, self.0.product).chain_pem(self.0.kind)
    }

    /// What Azure's THIM service hands to this machine: certificate, chain and TCB in one JSON object.
    pub(crate) fn thim(&self) -> serde_json::Value {
        let vek = self.vek();
        let mut tcb = tcb_bytes(self.0.product, vek.tcb());
        // A number here, most significant byte first; in reports and in `endorsed_tcb` it is the other way round.
        tcb.reverse();
        serde_json::json!({
            "vcekCert": vek.pem(),
            "tcbm": hex::encode(tcb),
            "certificateChain": hierarchy(HierarchyOwner::Amd, self.0.product).chain_pem(self.0.kind),
            "cacheControl": "86400",
        })
    }

    fn report(&self, guest: &Guest, report_data: &ReportData, signer: &Signer, knobs: &[HardwareKnob]) -> Vec<u8> {
        let snp = &guest.snp;
        let report = hierarchy(signer.owner, signer.product)
            .report()
            .version(self.0.report_version)
            .guest_svn(snp.report_guest_svn)
            .policy(policy_bits(&snp.policy))
            .family_id(*snp.family_id.as_bytes())
            .image_id(*snp.image_id.as_bytes())
            .vmpl(snp.vmpl)
            .key_info(u32::from(!snp.author_key_digest.is_zero()))
            .report_data(*report_data.as_bytes())
            .measurement(*snp.measurement.as_bytes())
            .host_data(*snp.host_data.as_bytes())
            .id_key_digest(*snp.id_key_digest.as_bytes())
            .author_key_digest(*snp.author_key_digest.as_bytes())
            .report_id(*snp.report_id.as_bytes());
        let report = knobs.iter().fold((self.0.report)(report), |report, knob| match knob {
            HardwareKnob::ReportBytes(offset, bytes) => report.patch(*offset, bytes),
            HardwareKnob::ReportData(data) => report.report_data(*data.as_bytes()),
            HardwareKnob::ReportVersion(version) => report.version(*version),
            HardwareKnob::MaskedChipId => report.chip_id(ChipId::new([0; 64])),
            HardwareKnob::HostRequested => report.vmpl(u32::MAX),
            HardwareKnob::Unsigned => report.signing_key(7),
            _ => report,
        });
        let signed = report.sign(&signer.vek());
        knobs.iter().fold(signed, |mut report, knob| match knob {
            HardwareKnob::ReportBitFlipped(bit) => flipped(report, *bit),
            HardwareKnob::Report(bytes) => bytes.clone(),
            HardwareKnob::Unsigned => {
                report.iter_mut().skip(0x2a0).for_each(|byte| *byte = 0);
                report
            }
            _ => report,
        })
    }

    fn endorsement(&self, guest: &Guest, knobs: &[HardwareKnob]) -> Vec<u8> {
        let Some(uvm) = &guest.uvm else { return Vec::new() };
        let mut signer = self.0.endorser.clone();
        let (mut form, mut feed, mut svn, mut measurement) = (self.0.form, uvm.feed.clone(), uvm.svn, uvm.measurement);
        for knob in knobs {
            match knob {
                HardwareKnob::EndorsementForm(other) => form = *other,
                HardwareKnob::EndorsedByAnother => signer = OTHER_ENDORSER.clone(),
                HardwareKnob::ForgedEndorsement => signer = OTHER_ENDORSER.claiming(self.uvm_issuer()),
                HardwareKnob::EndorserUse(oid) => {
                    signer = signer.with_leaf_uses([oid.as_str()]).expect("a leaf can be signed again");
                }
                HardwareKnob::EndorsedFeed(other) => feed.clone_from(other),
                HardwareKnob::EndorsedSvn(other) => svn = *other,
                HardwareKnob::EndorsedMeasurement(other) => measurement = *other,
                _ => {}
            }
        }
        let signed = signer.endorse_feed(form, &feed, svn, &measurement).expect("an endorsement can be signed");
        knobs.iter().fold(signed, |endorsement, knob| match knob {
            HardwareKnob::EndorsementBitFlipped(bit) => flipped(endorsement, *bit),
            HardwareKnob::Endorsement(bytes) => bytes.clone(),
            HardwareKnob::NoEndorsement => Vec::new(),
            _ => endorsement,
        })
    }
}

impl ReportSource for Platform {
    fn evidence(&self, guest: &Guest, report_data: &ReportData, knobs: &[HardwareKnob]) -> HardwareEvidence {
        let signer = Signer {
            owner: if knobs.contains(&HardwareKnob::ForgedHierarchy) {
                HierarchyOwner::Forger
            } else {
                HierarchyOwner::Amd
            },
            product: guest.snp.product.unwrap_or(self.0.product),
            chip: (self.0.kind == SigningKey::Vcek).then(|| guest.snp.chip_id.unwrap_or(self.0.chip_id)),
            tcb: guest.snp.reported_tcb,
        };
        let (endorsements_pem, endorsed_tcb) = signer.certificates(knobs);
        HardwareEvidence {
            report: self.report(guest, report_data, &signer, knobs),
            endorsements_pem,
            uvm_endorsements: self.endorsement(guest, knobs),
            endorsed_tcb: hex::encode(tcb_bytes(signer.product, endorsed_tcb)),
        }
    }
}

/// The same machine, not one with the same settings.
impl PartialEq for Platform {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Platform {}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Platform({} with a {}, {})", self.0.product, self.0.kind, self.0.tcb)
    }
}

impl std::fmt::Debug for PlatformBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PlatformBuilder({} with a {}, {})", self.product, self.kind, self.tcb)
    }
}

/// Whose key signs a report.
struct Signer {
    owner: HierarchyOwner,
    product: Product,
    /// None for a VLEK.
    chip: Option<ChipId>,
    tcb: Tcb,
}

impl Signer {
    fn vek(&self) -> SignedVek {
        registry::vek(self.owner, self.product, self.chip, self.tcb)
    }

    /// The certificates that are provided for this key, and the TCB that it is said to stand for.
    fn certificates(&self, knobs: &[HardwareKnob]) -> (String, Tcb) {
        let (mut chip, mut tcb) = (self.chip, self.tcb);
        for knob in knobs {
            match knob {
                HardwareKnob::CertificateOfAnotherChip => chip = Some(new_chip_id(self.product)),
                HardwareKnob::CertificateTcb(other) => tcb = *other,
                HardwareKnob::CertificateOfOtherKind => {
                    chip = if chip.is_some() { None } else { Some(new_chip_id(self.product)) };
                }
                _ => {}
            }
        }
        let certified = registry::vek(self.owner, self.product, chip, tcb).pem();
        let kind = if chip.is_some() { SigningKey::Vcek } else { SigningKey::Vlek };
        let chain_of = |owner, product| certified.clone() + &hierarchy(owner, product).chain_pem(kind);
        let shown = knobs.iter().fold(chain_of(self.owner, self.product), |shown, knob| match knob {
            HardwareKnob::ForgedChain => chain_of(HierarchyOwner::Forger, self.product),
            HardwareKnob::ChainOf(product) => chain_of(self.owner, *product),
            HardwareKnob::GarbageChain => certified.clone() + &pem(b"not an issuer") + &pem(b"not a root"),
            HardwareKnob::NoChain => certified.clone(),
            HardwareKnob::NoCertificates => String::new(),
            HardwareKnob::Certificates(text) => text.clone(),
            _ => shown,
        });
        (shown, tcb)
    }
}

/// Made once: their leaves have RSA-3072 keys.
static ENDORSER: LazyLock<UvmSigner> = LazyLock::new(|| UvmSigner::new().expect("a signer of utility VMs"));
static OTHER_ENDORSER: LazyLock<UvmSigner> = LazyLock::new(|| UvmSigner::new().expect("a signer of utility VMs"));

/// `POLICY` (AMD 56860 table 10) as Azure sets it, with the guest's bits.
fn policy_bits(policy: &GuestPolicy) -> u64 {
    const ABI_MINOR: u64 = 0x1f;
    const MUST_BE_ONE: u64 = 1 << 17;
    let bits = [
        (16, policy.smt),
        (18, policy.migrate_ma),
        (19, policy.debug),
        (20, policy.single_socket == Bit::Set),
        (21, policy.cxl_allow == Bit::Set),
        (22, policy.mem_aes_256_xts == Bit::Set),
        (23, policy.rapl_dis == Bit::Set),
        (24, policy.ciphertext_hiding_dram == Bit::Set),
        (25, policy.page_swap_disable == Bit::Set),
    ];
    bits.into_iter().fold(ABI_MINOR | MUST_BE_ONE, |all, (at, set)| all | (u64::from(set) << at))
}

pub(crate) fn new_chip_id(product: Product) -> ChipId {
    let mut id: [u8; 64] = random();
    if product == Product::Turin {
        id[8..].fill(0);
    }
    ChipId::new(id)
}

fn flipped(mut bytes: Vec<u8>, bit: usize) -> Vec<u8> {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    bytes
}
