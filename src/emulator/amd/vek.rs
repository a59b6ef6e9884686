//! VCEKs and VLEKs: the key that signs reports, and its certificate.

use std::sync::Arc;

use super::keys::{CaKey, ReportKey};
use super::{
    AmdHierarchy, DEFAULT_VALIDITY, Extension, der, pem, rsa_pss, rsa_pss_parameters, rsa_pss_with_trailer, signed,
};
use crate::snp::CertificateRole;
use crate::types::{ChipId, Product, SigningKey, Tcb, UnixTime};

const ARC: &str = "1.3.6.1.4.1.3704.1";

/// A key that signs reports, with its certificate.
#[derive(Clone)]
pub struct SignedVek {
    der: Vec<u8>,
    pub(super) key: Arc<ReportKey>,
    pub(super) kind: SigningKey,
    pub(super) chip_id: ChipId,
    pub(super) tcb: Tcb,
}

impl std::fmt::Debug for SignedVek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedVek({} for {})", self.kind, self.tcb)
    }
}

impl SignedVek {
    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem(&self.der)
    }

    /// The chip; zero for a VLEK.
    #[must_use]
    pub const fn chip_id(&self) -> ChipId {
        self.chip_id
    }

    /// The TCB that the key stands for.
    #[must_use]
    pub const fn tcb(&self) -> Tcb {
        self.tcb
    }
}

/// A VCEK or VLEK to issue.
#[derive(Clone)]
pub struct VekBuilder {
    kind: SigningKey,
    chip_id: ChipId,
    tcb: Tcb,
    subject: String,
    issuer: Vec<u8>,
    version: Vec<u8>,
    validity: [Vec<u8>; 2],
    inner_algorithm: Vec<u8>,
    outer_algorithm: Vec<u8>,
    extensions: Vec<Extension>,
    signer: &'static CaKey,
    key: Option<Arc<ReportKey>>,
    public_key: Option<Vec<u8>>,
}

impl std::fmt::Debug for VekBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VekBuilder({} for {})", self.kind, self.tcb)
    }
}

/// The `CSP_ID` of the certificates of emulated VLEKs.
pub const CSP_ID: &str = "CN=cc-emulated.example";

impl VekBuilder {
    pub(super) fn new(hierarchy: &AmdHierarchy, kind: SigningKey) -> Self {
        let role = match kind {
            SigningKey::Vcek => CertificateRole::Ask,
            SigningKey::Vlek => CertificateRole::Asvk,
        };
        let product = hierarchy.product();
        let is_turin = product == Product::Turin;
        let (chip_id, identity) = match kind {
            SigningKey::Vcek => (default_chip_id(product), Extension::new(&format!("{ARC}.4"), false, Vec::new())),
            SigningKey::Vlek => {
                let provider = der::ia5_string(CSP_ID);
                (ChipId::new([0; 64]), Extension::new(&format!("{ARC}.5"), false, provider))
            }
        };
        let name = match (product, kind) {
            (Product::Milan, SigningKey::Vcek) => "Milan-B0",
            _ => product.as_str(),
        };
        let small = |suffix: &str, value: u8| Extension::new(&format!("{ARC}.{suffix}"), false, der::integer(&[value]));
        let mut extensions = vec![small("1", u8::from(is_turin))];
        extensions.push(Extension::new(&format!("{ARC}.2"), false, der::ia5_string(name)));
        let parts: &[&str] = if is_turin {
            &["3.9", "3.1", "3.2", "3.3", "3.5", "3.6", "3.7", "3.8"]
        } else {
            &["3.1", "3.2", "3.4", "3.5", "3.6", "3.7", "3.3", "3.8"]
        };
        extensions.extend(parts.iter().map(|part| small(part, 0)));
        extensions.push(identity);

        let builder = Self {
            kind,
            chip_id,
            tcb: Tcb::new(None, 0, 0, 0, 0),
            subject: format!("SEV-{kind}"),
            issuer: der::name(&hierarchy.name(role)),
            version: der::element(0xa0, &der::integer(&[2])),
            validity: [der::time(DEFAULT_VALIDITY.0), der::time(DEFAULT_VALIDITY.1)],
            inner_algorithm: rsa_pss(),
            outer_algorithm: rsa_pss(),
            extensions,
            signer: hierarchy.key(role),
            key: None,
            public_key: None,
        };
        let builder = match kind {
            SigningKey::Vcek => builder.chip_id(chip_id),
            SigningKey::Vlek => builder,
        };
        builder.tcb(Tcb::new(is_turin.then_some(1), 4, 0, 24, 219))
    }

    /// The TCB that the key stands for.
    #[must_use]
    pub fn tcb(self, tcb: Tcb) -> Self {
        let Tcb { fmc, bootloader, tee, snp, microcode } = tcb;
        let mut builder = Self { tcb, ..self };
        for (suffix, value) in [("3.1", bootloader), ("3.2", tee), ("3.3", snp), ("3.8", microcode)] {
            builder = builder.replace_extension(&format!("{ARC}.{suffix}"), &der::integer(&[value]));
        }
        match fmc {
            Some(fmc) => builder.replace_extension(&format!("{ARC}.3.9"), &der::integer(&[fmc])),
            None => builder,
        }
    }

    /// The chip of a VCEK. On Turin the first 8 bytes stand in the certificate.
    #[must_use]
    pub fn chip_id(self, chip_id: ChipId) -> Self {
        let is_turin = self.extensions.iter().any(|extension| extension.oid == format!("{ARC}.3.9"));
        let length = if is_turin { 8 } else { 64 };
        let id: Vec<u8> = chip_id.as_bytes().iter().copied().take(length).collect();
        Self { chip_id, ..self }.replace_extension(&format!("{ARC}.4"), &id)
    }

    /// The cloud provider of a VLEK.
    #[must_use]
    pub fn csp_id(self, name: &str) -> Self {
        self.replace_extension(&format!("{ARC}.5"), &der::ia5_string(name))
    }

    /// The product name.
    #[must_use]
    pub fn product_name(self, name: &str) -> Self {
        self.replace_extension(&format!("{ARC}.2"), &der::ia5_string(name))
    }

    /// From and until when, both inclusive.
    #[must_use]
    pub fn valid(self, not_before: UnixTime, not_after: UnixTime) -> Self {
        Self { validity: [der::time(not_before.as_secs()), der::time(not_after.as_secs())], ..self }
    }

    /// Any bytes in the places of `notBefore` and `notAfter`.
    #[must_use]
    pub fn raw_validity(self, not_before: &[u8], not_after: &[u8]) -> Self {
        Self { validity: [not_before.to_vec(), not_after.to_vec()], ..self }
    }

    /// The common name.
    #[must_use]
    pub fn subject(self, common_name: &str) -> Self {
        Self { subject: common_name.to_owned(), ..self }
    }

    /// The common name of the issuer.
    #[must_use]
    pub fn issuer(self, common_name: &str) -> Self {
        Self { issuer: der::name(common_name), ..self }
    }

    /// The issuer, of another organisation than AMD.
    #[must_use]
    pub fn issuer_of(self, organization: &str, common_name: &str) -> Self {
        Self { issuer: der::name_of(organization, common_name), ..self }
    }

    /// The value of an extension (its OID dotted), raw.
    #[must_use]
    pub fn replace_extension(mut self, oid: &str, value: &[u8]) -> Self {
        for extension in self.extensions.iter_mut().filter(|extension| extension.oid == oid) {
            extension.value = value.to_vec();
        }
        self
    }

    /// One more extension, also if there is one of this OID.
    #[must_use]
    pub fn add_extension(mut self, oid: &str, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(Extension::new(oid, critical, value.to_vec()));
        self
    }

    /// Leaves an extension out.
    #[must_use]
    pub fn remove_extension(mut self, oid: &str) -> Self {
        self.extensions.retain(|extension| extension.oid != oid);
        self
    }

    /// AMD's older encoding of the signature algorithm.
    #[must_use]
    pub fn older_algorithm_encoding(self) -> Self {
        Self { inner_algorithm: rsa_pss_with_trailer(), outer_algorithm: rsa_pss_with_trailer(), ..self }
    }

    /// Two encodings of the signature algorithm, one inside and one outside of the signed part.
    #[must_use]
    pub fn differing_algorithms(self) -> Self {
        Self { inner_algorithm: rsa_pss_with_trailer(), outer_algorithm: rsa_pss(), ..self }
    }

    /// A signature algorithm with a salt of another length.
    #[must_use]
    pub fn salt_length(self, length: u8) -> Self {
        let algorithm = rsa_pss_parameters(length, &[]);
        Self { inner_algorithm: algorithm.clone(), outer_algorithm: algorithm, ..self }
    }

    /// X.509 version 1.
    #[must_use]
    pub fn version_1(self) -> Self {
        Self { version: Vec::new(), ..self }
    }

    /// Has it signed by another authority of a hierarchy.
    #[must_use]
    pub fn signed_by(self, hierarchy: &AmdHierarchy, role: CertificateRole) -> Self {
        Self { signer: hierarchy.key(role), ..self }
    }

    /// Certifies the key of an earlier certificate.
    #[must_use]
    pub fn key_of(self, vek: &SignedVek) -> Self {
        Self { key: Some(Arc::clone(&vek.key)), ..self }
    }

    /// Another `SubjectPublicKeyInfo` than the key's.
    #[must_use]
    pub fn public_key(self, spki: &[u8]) -> Self {
        Self { public_key: Some(spki.to_vec()), ..self }
    }

    /// Makes the key and its certificate.
    #[must_use]
    pub fn issue(&self) -> SignedVek {
        let key = self.key.clone().unwrap_or_else(|| Arc::new(ReportKey::new()));
        let body = der::sequence(&[
            &self.version,
            // AMD numbers all of them 0.
            &der::integer(&[0]),
            &self.inner_algorithm,
            &self.issuer,
            &der::element(0x30, &self.validity.concat()),
            &der::name(&self.subject),
            self.public_key.as_deref().unwrap_or(&key.public()),
            &der::element(0xa3, &Extension::encode_all(&self.extensions)),
        ]);
        let der = signed(&body, &self.outer_algorithm, self.signer);
        SignedVek { der, key, kind: self.kind, chip_id: self.chip_id, tcb: self.tcb }
    }
}

/// Distinct bytes; on Turin 8 of them.
fn default_chip_id(product: Product) -> ChipId {
    let length = if product == Product::Turin { 8 } else { 64 };
    let mut id = [0; 64];
    for (byte, value) in id.iter_mut().take(length).zip(1..) {
        *byte = value;
    }
    ChipId::new(id)
}
