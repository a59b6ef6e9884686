//! AMD in a box: roots, signing keys, reports and revocation lists of every product, version and kind, with real
//! signatures under keys of this process.
//!
//! ```
//! use blindbox_attestation::emulator::amd::AmdHierarchy;
//! use blindbox_attestation::snp::{self, Collateral, Revocation};
//! use blindbox_attestation::{Product, UnixTime};
//!
//! let amd = AmdHierarchy::new(Product::Genoa);
//! let vcek = amd.vcek().issue();
//! let report = amd.report().report_data([7; 64]).sign(&vcek);
//! let crl = amd.crl().issue();
//!
//! let now = UnixTime::from_secs(1_800_000_000);
//! let collateral = Collateral::new(vcek.der()).with_crl(&crl);
//! let verified = snp::verify(&report, &collateral, &amd.anchors(), Revocation::Require, now)?;
//! assert_eq!(verified.snp().report_data.as_bytes(), &[7; 64]);
//! # Ok::<(), blindbox_attestation::snp::ReportError>(())
//! ```
//!
//! Everything has knobs that make it wrong. What comes out of them is signed all the same, as a hostile AMD would.
#![expect(
    clippy::expect_used,
    reason = "a failure to make keys or to build its own anchors is a bug of the emulator or a machine without randomness"
)]

mod ca;
mod crl;
mod der;
pub(crate) mod kds;
mod keys;
pub(crate) mod registry;
mod report;
mod vek;

pub use ca::CaBuilder;
pub use crl::CrlBuilder;
pub use report::ReportBuilder;
pub(super) use report::tcb_bytes;
pub use vek::{CSP_ID, SignedVek, VekBuilder};

use self::keys::CaKey;
use crate::snp::{AmdAnchors, CaChain, CertificateRole, CustomAnchors, certificate_pem};
use crate::types::{Product, SigningKey};

/// The ARK, ASK and ASVK of one processor family, with AMD's names and this process's keys.
#[derive(Clone, Debug)]
pub struct AmdHierarchy {
    product: Product,
    rotation: usize,
    ark: Vec<u8>,
    ask: Vec<u8>,
    asvk: Vec<u8>,
}

impl AmdHierarchy {
    /// The hierarchy of a processor family: in one process always with the same keys, so that certificates of two
    /// hierarchies of one family fit together.
    #[must_use]
    pub fn new(product: Product) -> Self {
        Self::with_rotation(product, family_index(product))
    }

    /// A forger: the same names, other keys.
    #[must_use]
    pub fn impostor(product: Product) -> Self {
        Self::with_rotation(product, family_index(product).saturating_add(1))
    }

    fn with_rotation(product: Product, rotation: usize) -> Self {
        let mut hierarchy = Self { product, rotation, ark: Vec::new(), ask: Vec::new(), asvk: Vec::new() };
        hierarchy.ark = hierarchy.ca(CertificateRole::Ark).issue();
        hierarchy.ask = hierarchy.ca(CertificateRole::Ask).issue();
        hierarchy.asvk = hierarchy.ca(CertificateRole::Asvk).issue();
        hierarchy
    }

    /// The processor family.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// The root, in DER.
    #[must_use]
    pub fn ark(&self) -> &[u8] {
        &self.ark
    }

    /// The issuer of VCEKs, in DER.
    #[must_use]
    pub fn ask(&self) -> &[u8] {
        &self.ask
    }

    /// The issuer of VLEKs, in DER.
    #[must_use]
    pub fn asvk(&self) -> &[u8] {
        &self.asvk
    }

    /// The issuer and the root for keys of one kind.
    #[must_use]
    pub fn chain(&self, kind: SigningKey) -> CaChain<'_> {
        let issuer = match kind {
            SigningKey::Vcek => &self.ask,
            SigningKey::Vlek => &self.asvk,
        };
        CaChain { issuer, ark: &self.ark }
    }

    /// The same in PEM, as AMD's KDS and the THIM service send it.
    #[must_use]
    pub fn chain_pem(&self, kind: SigningKey) -> String {
        let CaChain { issuer, ark } = self.chain(kind);
        pem(issuer) + &pem(ark)
    }

    /// Anchors with this family only.
    ///
    /// # Panics
    ///
    /// Never for a hierarchy that [`AmdHierarchy::new`] or [`AmdHierarchy::impostor`] made.
    #[must_use]
    pub fn anchors(&self) -> AmdAnchors {
        AmdAnchors::custom([self.custom_anchors()]).expect("the emulator's own hierarchy")
    }

    /// The three certificates, to put into anchors together with those of other families.
    #[must_use]
    pub fn custom_anchors(&self) -> CustomAnchors<'_> {
        CustomAnchors { product: self.product, ark: &self.ark, ask: &self.ask, asvk: &self.asvk }
    }

    /// A CA certificate to issue again, or wrongly.
    #[must_use]
    pub fn ca(&self, role: CertificateRole) -> CaBuilder {
        CaBuilder::new(self, role)
    }

    /// A VCEK to issue.
    #[must_use]
    pub fn vcek(&self) -> VekBuilder {
        VekBuilder::new(self, SigningKey::Vcek)
    }

    /// A VLEK to issue.
    #[must_use]
    pub fn vlek(&self) -> VekBuilder {
        VekBuilder::new(self, SigningKey::Vlek)
    }

    /// A report to fill in and sign.
    #[must_use]
    pub fn report(&self) -> ReportBuilder {
        ReportBuilder::new(self.product)
    }

    /// A revocation list to issue.
    #[must_use]
    pub fn crl(&self) -> CrlBuilder {
        CrlBuilder::new(self)
    }

    fn key(&self, role: CertificateRole) -> &'static CaKey {
        let place: usize = match role {
            CertificateRole::Ark => 0,
            CertificateRole::Asvk => 2,
            _ => 1,
        };
        CaKey::shared(place.saturating_add(self.rotation).checked_rem(3).unwrap_or_default())
    }

    fn name(&self, role: CertificateRole) -> String {
        let product = self.product;
        match role {
            CertificateRole::Ark => format!("ARK-{product}"),
            CertificateRole::Asvk => format!("SEV-VLEK-{product}"),
            _ => format!("SEV-{product}"),
        }
    }

    /// The serial number of the certificate of an authority, as AMD numbers them.
    #[must_use]
    pub fn serial(&self, role: CertificateRole) -> [u8; 3] {
        let family = u8::try_from(family_index(self.product)).unwrap_or_default().saturating_add(1);
        match role {
            CertificateRole::Ark => [family, 0, 0],
            CertificateRole::Asvk => [family, 1, 1],
            _ => [family, 0, 1],
        }
    }
}

/// A certificate in PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    certificate_pem(der)
}

const fn family_index(product: Product) -> usize {
    match product {
        Product::Milan => 0,
        Product::Genoa => 1,
        Product::Turin => 2,
    }
}

/// RSA-PSS with SHA-384 and a salt of 48 bytes, in AMD's newer encoding.
fn rsa_pss() -> Vec<u8> {
    rsa_pss_parameters(48, &[])
}

/// The same in AMD's older encoding, with the default trailer field written out.
fn rsa_pss_with_trailer() -> Vec<u8> {
    rsa_pss_parameters(48, &der::element(0xa3, &der::integer(&[1])))
}

fn rsa_pss_parameters(salt: u8, more: &[u8]) -> Vec<u8> {
    let sha384 = der::sequence(&[&der::oid("2.16.840.1.101.3.4.2.2"), &der::element(5, &[])]);
    let mgf1 = der::sequence(&[&der::oid("1.2.840.113549.1.1.8"), &sha384]);
    let parameters = der::sequence(&[
        &der::element(0xa0, &sha384),
        &der::element(0xa1, &mgf1),
        &der::element(0xa2, &der::integer(&[salt])),
        more,
    ]);
    der::sequence(&[&der::oid("1.2.840.113549.1.1.10"), &parameters])
}

/// One extension of a certificate or list.
#[derive(Clone, Debug)]
struct Extension {
    oid: String,
    critical: bool,
    value: Vec<u8>,
}

impl Extension {
    fn new(oid: &str, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: oid.to_owned(), critical, value }
    }

    fn encode_all(extensions: &[Self]) -> Vec<u8> {
        let encoded: Vec<Vec<u8>> = extensions
            .iter()
            .map(|extension| {
                let critical = if extension.critical { der::boolean(true) } else { Vec::new() };
                der::sequence(&[&der::oid(&extension.oid), &critical, &der::octet_string(&extension.value)])
            })
            .collect();
        der::element(0x30, &encoded.concat())
    }
}

/// Signed part, algorithm, signature.
fn signed(body: &[u8], algorithm: &[u8], key: &CaKey) -> Vec<u8> {
    der::sequence(&[body, algorithm, &der::bit_string(&key.sign(body))])
}

/// From 2020-10-22 to 2045-10-22, as AMD's first root.
const DEFAULT_VALIDITY: (u64, u64) = (1_603_387_385, 2_392_305_785);
