//! The certificate of the key that signs reports: VCEK and VLEK (AMD 57230).

use super::certificate::{CaCertificate, read_certificate};
use super::product::{hardware_id_len, has_fmc, is_name_of};
use crate::crypto::{PublicKey, Scheme, sha256_digest};
use crate::der::{Signed, ia5_string, octet_string, small_integer};
use crate::types::{ChipId, Product, Sha256Digest, SigningKey, Tcb, UnixTime, shorten};
use crate::x509::{Certificate, CertificateError, Validity};

/// A VCEK or VLEK certificate as received, not verified; see [`super::VerifiedVek`].
#[derive(Clone, Debug)]
pub struct VekCertificate {
    der: Vec<u8>,
    digest: Sha256Digest,
    issuer: Vec<u8>,
    issuer_name: String,
    validity: Validity,
    product: Product,
    product_name: String,
    identity: VekIdentity,
    tcb: Tcb,
    key: PublicKey,
}

/// The owner of a signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VekIdentity {
    /// A VCEK: the chip.
    Chip(ChipId),
    /// A VLEK: the cloud provider.
    CloudProvider(String),
}

impl VekCertificate {
    /// Parses one certificate in DER.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] unless the bytes are exactly one certificate with the fields and extensions of a VCEK or VLEK of
    /// one of AMD's products. Signature and dates are not checked.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = read_certificate(der)?;
        let key = public_key(certificate.public_key())?;
        let (product, kind) = named_issuer(&certificate)?;
        let subject = format!("SEV-{kind}");
        if certificate.subject_common_name() != subject {
            return Err(CertificateError::WrongSubject {
                expected: subject,
                actual: certificate.subject_common_name(),
            });
        }
        let extensions = VekExtensions::read(&certificate)?;
        let product_name = extensions.product_name()?;
        if !is_name_of(product, &product_name) {
            return Err(CertificateError::WrongProductName { expected: product, actual: product_name });
        }
        Ok(Self {
            digest: sha256_digest(der),
            issuer: certificate.issuer().to_vec(),
            issuer_name: certificate.issuer_common_name(),
            validity: certificate.validity(),
            product,
            product_name,
            identity: extensions.identity(product, kind)?,
            tcb: extensions.tcb(product)?,
            key,
            der: der.to_vec(),
        })
    }

    /// Parses the first certificate of a PEM file: alone, or followed by its chain as agents and the THIM service send it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] as [`VekCertificate::from_der`]; [`CertificateError::Malformed`] unless the input is PEM.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let certificates = super::pem::certificates(text)?;
        Self::from_der(certificates.first().ok_or(CertificateError::Malformed)?)
    }

    /// Returns the DER of the certificate.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the SHA-256 of the DER.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Returns the product of the issuer's name.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// Returns the product name in the certificate, such as `Milan-B0`.
    #[must_use]
    pub fn product_name(&self) -> &str {
        &self.product_name
    }

    /// Returns the kind of key: VCEK or VLEK.
    #[must_use]
    pub const fn kind(&self) -> SigningKey {
        match self.identity {
            VekIdentity::Chip(_) => SigningKey::Vcek,
            VekIdentity::CloudProvider(_) => SigningKey::Vlek,
        }
    }

    /// Returns the owner: the chip or the cloud provider.
    #[must_use]
    pub const fn identity(&self) -> &VekIdentity {
        &self.identity
    }

    /// Returns the TCB that the key is derived from.
    #[must_use]
    pub const fn tcb(&self) -> Tcb {
        self.tcb
    }

    /// Returns the first second of its validity.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.validity.not_before
    }

    /// Returns the last second of its validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.validity.not_after
    }

    pub(crate) const fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    pub(crate) fn issuer_name(&self) -> &str {
        &self.issuer_name
    }

    /// Verifies the signature under the issuer's key.
    pub(crate) fn verify_signature(&self, issuer: &CaCertificate) -> Result<(), CertificateError> {
        let signed = Signed::read(&self.der).ok_or(CertificateError::Malformed)?;
        issuer.verify(&signed)
    }

    pub(crate) const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Returns the common name of the issuer of one kind of key of a product.
pub(crate) fn issuer_name(product: Product, kind: SigningKey) -> String {
    match kind {
        SigningKey::Vcek => format!("SEV-{product}"),
        SigningKey::Vlek => format!("SEV-VLEK-{product}"),
    }
}

fn named_issuer(certificate: &Certificate<'_>) -> Result<(Product, SigningKey), CertificateError> {
    let actual = certificate.issuer_common_name();
    for product in Product::ALL {
        for kind in [SigningKey::Vcek, SigningKey::Vlek] {
            if issuer_name(product, kind) == actual {
                return Ok((product, kind));
            }
        }
    }
    let expected = "SEV-{Milan,Genoa,Turin} or SEV-VLEK-{Milan,Genoa,Turin}".into();
    Err(CertificateError::WrongIssuer { expected, actual })
}

/// Reads an uncompressed P-384 key from its canonical `SubjectPublicKeyInfo` (RFC 5480).
fn public_key(spki: &[u8]) -> Result<PublicKey, CertificateError> {
    PublicKey::from_der(Scheme::EcdsaP384Sha384, spki)
        .map_err(|_| CertificateError::UnsupportedKey { expected: "an uncompressed P-384 key" })
}

/// The values of the extensions under AMD's arc, at the places of [`EXTENSIONS`].
struct VekExtensions<'a> {
    values: [Option<&'a [u8]>; EXTENSIONS.len()],
}

/// 1.3.6.1.4.1.3704.1, AMD's arc for the extensions of VCEKs and VLEKs.
const ARC: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];
const ARC_TEXT: &str = "1.3.6.1.4.1.3704.1";

const STRUCT_VERSION: &[u8] = &[1];
const PRODUCT_NAME: &[u8] = &[2];
const BOOTLOADER: &[u8] = &[3, 1];
const TEE: &[u8] = &[3, 2];
const SNP: &[u8] = &[3, 3];
const SPL_4: &[u8] = &[3, 4];
const SPL_5: &[u8] = &[3, 5];
const SPL_6: &[u8] = &[3, 6];
const SPL_7: &[u8] = &[3, 7];
const MICROCODE: &[u8] = &[3, 8];
const FMC: &[u8] = &[3, 9];
const HARDWARE_ID: &[u8] = &[4];
const CSP_ID: &[u8] = &[5];

/// The extensions of VCEKs and VLEKs of all products.
const EXTENSIONS: [&[u8]; 13] = [
    STRUCT_VERSION,
    PRODUCT_NAME,
    BOOTLOADER,
    TEE,
    SNP,
    SPL_4,
    SPL_5,
    SPL_6,
    SPL_7,
    MICROCODE,
    FMC,
    HARDWARE_ID,
    CSP_ID,
];

impl<'a> VekExtensions<'a> {
    fn read(certificate: &Certificate<'a>) -> Result<Self, CertificateError> {
        let mut values = [None; EXTENSIONS.len()];
        for extension in certificate.extensions().iter() {
            let known = extension.oid.strip_prefix(&ARC[..]);
            let place = known.and_then(|suffix| EXTENSIONS.iter().position(|name| *name == suffix));
            let Some(value) = place.and_then(|place| values.get_mut(place)) else {
                return Err(CertificateError::UnexpectedExtension { oid: extension.id() });
            };
            *value = Some(extension.value);
        }
        Ok(Self { values })
    }

    fn find(&self, suffix: &[u8]) -> Option<&'a [u8]> {
        let place = EXTENSIONS.iter().position(|name| *name == suffix)?;
        self.values.get(place).copied().flatten()
    }

    fn require(&self, suffix: &[u8]) -> Result<&'a [u8], CertificateError> {
        self.find(suffix).ok_or_else(|| CertificateError::MissingExtension { oid: dotted(suffix) })
    }

    fn refuse(&self, suffix: &[u8]) -> Result<(), CertificateError> {
        match self.find(suffix) {
            None => Ok(()),
            Some(_) => Err(CertificateError::UnexpectedExtension { oid: dotted(suffix) }),
        }
    }

    fn small_integer(&self, suffix: &[u8]) -> Result<u8, CertificateError> {
        small_integer(self.require(suffix)?).ok_or_else(|| CertificateError::MalformedExtension { oid: dotted(suffix) })
    }

    fn text(&self, suffix: &[u8]) -> Result<String, CertificateError> {
        let text = ia5_string(self.require(suffix)?);
        let text = text.filter(|text| !text.is_empty() && text.len() <= MAX_TEXT_LEN);
        text.map(|text| shorten(text, MAX_TEXT_LEN))
            .ok_or_else(|| CertificateError::MalformedExtension { oid: dotted(suffix) })
    }

    fn product_name(&self) -> Result<String, CertificateError> {
        self.text(PRODUCT_NAME)
    }

    /// Returns the chip's hardware id in a VCEK, or the cloud provider's name in a VLEK.
    ///
    /// AMD's table calls the id an octet string. RFC 5280 requires DER for it, but AMD's service sends the bare bytes. The length
    /// distinguishes the two forms, so that an id is never mistaken for its DER.
    fn identity(&self, product: Product, kind: SigningKey) -> Result<VekIdentity, CertificateError> {
        match kind {
            SigningKey::Vcek => {
                self.refuse(CSP_ID)?;
                let value = self.require(HARDWARE_ID)?;
                let expected = hardware_id_len(product);
                let id = if value.len() == expected { Some(value) } else { octet_string(value) };
                let mut chip_id = [0; ChipId::LEN];
                match id.and_then(|id| Some((chip_id.get_mut(..id.len())?, id))) {
                    Some((start, id)) if id.len() == expected => start.copy_from_slice(id),
                    _ => return Err(CertificateError::MalformedExtension { oid: dotted(HARDWARE_ID) }),
                }
                Ok(VekIdentity::Chip(ChipId::new(chip_id)))
            }
            SigningKey::Vlek => {
                self.refuse(HARDWARE_ID)?;
                Ok(VekIdentity::CloudProvider(self.text(CSP_ID)?))
            }
        }
    }

    fn tcb(&self, product: Product) -> Result<Tcb, CertificateError> {
        let (expected, fmc) = if has_fmc(product) {
            (1, Some(self.small_integer(FMC)?))
        } else {
            self.refuse(FMC)?;
            // Products before Turin have a fourth reserved component in the place of the FMC.
            self.require(SPL_4)?;
            (0, None)
        };
        let actual = self.small_integer(STRUCT_VERSION)?;
        if actual != expected {
            return Err(CertificateError::UnsupportedStructVersion { product, expected, actual });
        }
        for unused in [SPL_5, SPL_6, SPL_7] {
            self.require(unused)?;
        }
        for unused in [SPL_4, SPL_5, SPL_6, SPL_7] {
            // Reserved components are zero in every report, so they must be zero here.
            if self.find(unused).is_some() && self.small_integer(unused)? != 0 {
                return Err(CertificateError::MalformedExtension { oid: dotted(unused) });
            }
        }
        let part = |suffix| self.small_integer(suffix);
        Ok(Tcb::new(fmc, part(BOOTLOADER)?, part(TEE)?, part(SNP)?, part(MICROCODE)?))
    }
}

/// How many characters of product and provider names are shown in results.
const MAX_TEXT_LEN: usize = 200;

fn dotted(suffix: &[u8]) -> String {
    suffix.iter().fold(ARC_TEXT.to_owned(), |text, arc| format!("{text}.{arc}"))
}
