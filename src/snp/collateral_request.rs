//! The collateral that a report needs, as paths of AMD's Key Distribution Service (AMD 57230). Nothing is fetched here, and
//! nothing that is fetched is trusted.

use std::fmt::Write as _;

use super::chain::VerifiedVek;
use super::error::{ReportError, TcbPart};
use super::product::{hardware_id_len, has_fmc};
use super::report::RawReport;
use super::vek::VekIdentity;
use crate::types::{ChipId, Product, SigningKey, Tcb};

/// The certificate and CRL that are needed to verify a report, according to the *unverified* report.
///
/// The paths are for AMD's service at `https://kdsintf.amd.com`, or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollateralRequest {
    signing_key: SigningKey,
    product: Option<Product>,
    chip_id: ChipId,
    tcb_before_turin: Tcb,
    tcb_from_turin: Tcb,
}

impl CollateralRequest {
    /// Reads the request from a report.
    ///
    /// # Errors
    ///
    /// [`ReportError`] for a report that cannot be verified with any certificate: wrong length, version, reserved bits,
    /// processor or key kind.
    pub fn from_report(report: &[u8]) -> Result<Self, ReportError> {
        Self::of(&RawReport::read(report)?)
    }

    pub(super) fn of(report: &RawReport<'_>) -> Result<Self, ReportError> {
        Ok(Self {
            signing_key: report.signing_key,
            product: report.product,
            chip_id: report.chip_id,
            tcb_before_turin: report.reported_tcb(Product::Milan)?,
            tcb_from_turin: report.reported_tcb(Product::Turin)?,
        })
    }

    /// Returns the kind of key that signed the report. VLEKs are issued to cloud providers only, so agents must send them.
    #[must_use]
    pub const fn signing_key(&self) -> SigningKey {
        self.signing_key
    }

    /// Returns the product; `None` for reports of version 2, which do not name it.
    #[must_use]
    pub const fn product(&self) -> Option<Product> {
        self.product
    }

    /// Returns the products to try, the most likely first; only one if the report names it. For a report of version 2 these are
    /// Milan and Genoa, or Turin by the form of its chip id.
    #[must_use]
    pub fn candidates(&self) -> &'static [Product] {
        let is_short = self.chip_id.as_bytes().iter().skip(hardware_id_len(Product::Turin)).all(|byte| *byte == 0);
        match self.product {
            Some(Product::Milan) => &[Product::Milan],
            Some(Product::Genoa) => &[Product::Genoa],
            Some(Product::Turin) => &[Product::Turin],
            None if is_short && !self.chip_id.is_zero() => &[Product::Turin],
            None => &[Product::Milan, Product::Genoa],
        }
    }

    /// Returns the chip; `None` if the host masked it.
    #[must_use]
    pub fn chip_id(&self) -> Option<ChipId> {
        (!self.chip_id.is_zero()).then_some(self.chip_id)
    }

    /// Returns the TCB that the certificate must have, in the layout of a product.
    #[must_use]
    pub const fn reported_tcb(&self, product: Product) -> Tcb {
        if has_fmc(product) { self.tcb_from_turin } else { self.tcb_before_turin }
    }

    /// Checks that a certificate is for the kind of key, processor family, chip and exactly the TCB that the report names.
    ///
    /// # Errors
    ///
    /// [`ReportError::SigningKeyMismatch`], [`ReportError::ProductMismatch`], [`ReportError::ChipIdMasked`],
    /// [`ReportError::ChipIdMismatch`] or [`ReportError::TcbMismatch`].
    pub fn check(&self, vek: &VerifiedVek) -> Result<(), ReportError> {
        let vek = vek.certificate();
        if self.signing_key != vek.kind() {
            return Err(ReportError::SigningKeyMismatch { report: self.signing_key, certificate: vek.kind() });
        }
        if let Some(product) = self.product
            && product != vek.product()
        {
            return Err(ReportError::ProductMismatch { report: product, certificate: vek.product() });
        }
        if let VekIdentity::Chip(certificate) = vek.identity() {
            if self.chip_id.is_zero() {
                return Err(ReportError::ChipIdMasked);
            }
            if self.chip_id != *certificate {
                return Err(ReportError::ChipIdMismatch {
                    report: self.chip_id.into(),
                    certificate: (*certificate).into(),
                });
            }
        }
        let (reported, certified) = (self.reported_tcb(vek.product()), vek.tcb());
        match first_difference(reported, certified) {
            None => Ok(()),
            Some(part) => Err(ReportError::TcbMismatch { part, report: reported, certificate: certified }),
        }
    }

    /// Returns path and query of the VCEK; `None` for a VLEK or a masked chip id.
    #[must_use]
    pub fn vcek_path(&self, product: Product) -> Option<String> {
        match self.signing_key {
            SigningKey::Vcek => Some(vcek_path(product, self.chip_id()?, self.reported_tcb(product))),
            SigningKey::Vlek => None,
        }
    }

    /// Returns the path of the certificates of issuer and root (PEM).
    #[must_use]
    pub fn chain_path(&self, product: Product) -> String {
        chain_path(product, self.signing_key)
    }

    /// Returns the path of the CRL (DER).
    #[must_use]
    pub fn crl_path(&self, product: Product) -> String {
        crl_path(product, self.signing_key)
    }
}

fn first_difference(one: Tcb, other: Tcb) -> Option<TcbPart> {
    let parts = [
        (TcbPart::Fmc, one.fmc == other.fmc),
        (TcbPart::Bootloader, one.bootloader == other.bootloader),
        (TcbPart::Tee, one.tee == other.tee),
        (TcbPart::Snp, one.snp == other.snp),
        (TcbPart::Microcode, one.microcode == other.microcode),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
}

/// Returns path and query of the VCEK of a chip at a TCB.
#[must_use]
pub fn vcek_path(product: Product, chip_id: ChipId, tcb: Tcb) -> String {
    let mut path = format!("/vcek/v1/{product}/");
    for byte in chip_id.as_bytes().iter().take(hardware_id_len(product)) {
        let _ = write!(path, "{byte:02x}");
    }
    path.push('?');
    if let Some(fmc) = tcb.fmc.filter(|_| has_fmc(product)) {
        let _ = write!(path, "fmcSPL={fmc:02}&");
    }
    let Tcb { bootloader, tee, snp, microcode, .. } = tcb;
    let _ = write!(path, "blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}");
    path
}

/// Returns the path of the certificates of issuer and root (PEM) of one kind of key.
#[must_use]
pub fn chain_path(product: Product, kind: SigningKey) -> String {
    format!("/{}/v1/{product}/cert_chain", service(kind))
}

/// Returns the path of the CRL (DER) for one kind of key.
#[must_use]
pub fn crl_path(product: Product, kind: SigningKey) -> String {
    format!("/{}/v1/{product}/crl", service(kind))
}

const fn service(kind: SigningKey) -> &'static str {
    match kind {
        SigningKey::Vcek => "vcek",
        SigningKey::Vlek => "vlek",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_product() {
        let mut id = [0; 64];
        for (byte, value) in id.iter_mut().zip(1..=8) {
            *byte = value;
        }
        let chip = ChipId::new(id);
        assert_eq!(
            vcek_path(Product::Turin, chip, Tcb::new(Some(1), 2, 3, 4, 81)),
            "/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=81"
        );
        assert_eq!(
            vcek_path(Product::Genoa, chip, Tcb::new(None, 10, 0, 23, 219)),
            format!("/vcek/v1/Genoa/0102030405060708{}?blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=219", "00".repeat(56))
        );
        assert_eq!(chain_path(Product::Milan, SigningKey::Vlek), "/vlek/v1/Milan/cert_chain");
        assert_eq!(crl_path(Product::Milan, SigningKey::Vcek), "/vcek/v1/Milan/crl");
    }
}
