//! The trust anchors of hardware reports: AMD's roots and issuers.

use std::sync::{Arc, LazyLock};

use super::certificate::{CaCertificate, read_certificate};
use super::error::{CertificateRole, ReportError};
use crate::crypto::sha256_digest;
use crate::types::{Product, Sha256Digest, SigningKey};
use crate::x509::CertificateError;

/// The certificates that every chain must end in: the ARK, ASK and ASVK of each processor family.
///
/// [`AmdAnchors::builtin`] has AMD's own. Custom anchors, for an emulated AMD, replace all of them, and can be set in code only.
#[derive(Clone, Debug)]
pub struct AmdAnchors {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    products: Vec<ProductAnchors>,
    custom: bool,
}

/// The anchors of one processor family.
#[derive(Clone, Debug)]
pub(crate) struct ProductAnchors {
    pub(crate) product: Product,
    pub(crate) ark: Arc<CaCertificate>,
    pub(crate) ask: Arc<CaCertificate>,
    pub(crate) asvk: Arc<CaCertificate>,
}

/// The three certificates of one processor family, in DER, to build own anchors from.
#[derive(Clone, Copy, Debug)]
pub struct CustomAnchors<'a> {
    /// The processor family.
    pub product: Product,
    /// The root.
    pub ark: &'a [u8],
    /// The issuer of VCEKs.
    pub ask: &'a [u8],
    /// The issuer of VLEKs.
    pub asvk: &'a [u8],
}

impl AmdAnchors {
    /// Returns AMD's roots for Milan, Genoa (with Bergamo and Siena) and Turin, compiled into this crate.
    #[must_use]
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<AmdAnchors> = LazyLock::new(|| {
            // A test verifies the links between these certificates, not each start of the program. If one did not parse, its
            // product would have no roots, and all its reports would be refused.
            let products = BUILTIN_CERTIFICATES.iter().filter_map(|files| ProductAnchors::read(files).ok()).collect();
            AmdAnchors { inner: Arc::new(Inner { products, custom: false }) }
        });
        BUILTIN.clone()
    }

    /// Creates anchors that replace AMD's. Products that are not given have no roots, and their reports are refused.
    ///
    /// # Errors
    ///
    /// [`ReportError::Certificate`] unless each ARK signed itself, its ASK and its ASVK, with AMD's names, key sizes and
    /// algorithms.
    pub fn custom<'a>(anchors: impl IntoIterator<Item = CustomAnchors<'a>>) -> Result<Self, ReportError> {
        let mut products: Vec<ProductAnchors> = Vec::new();
        for files in anchors {
            let read = ProductAnchors::read_and_verify(&files)?;
            products.retain(|earlier| earlier.product != read.product);
            products.push(read);
        }
        Ok(Self { inner: Arc::new(Inner { products, custom: true }) })
    }

    /// Whether these are custom anchors.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.inner.custom
    }

    /// Returns the SHA-256 over the certificates, by which sets of anchors can be compared.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256Digest {
        let mut all = Vec::new();
        for product in &self.inner.products {
            for certificate in [&product.ark, &product.ask, &product.asvk] {
                all.extend_from_slice(sha256_digest(&certificate.der).as_bytes());
            }
        }
        sha256_digest(&all)
    }

    pub(crate) fn product(&self, product: Product) -> Option<&ProductAnchors> {
        self.inner.products.iter().find(|anchors| anchors.product == product)
    }
}

/// AMD's own.
impl Default for AmdAnchors {
    fn default() -> Self {
        Self::builtin()
    }
}

impl ProductAnchors {
    fn read(files: &CustomAnchors<'_>) -> Result<Self, ReportError> {
        let product = files.product;
        let ark = Arc::new(read(CertificateRole::Ark, files.ark, product)?);
        let ask = Arc::new(read(CertificateRole::Ask, files.ask, product)?);
        let asvk = Arc::new(read(CertificateRole::Asvk, files.asvk, product)?);
        Ok(Self { product, ark, ask, asvk })
    }

    fn read_and_verify(files: &CustomAnchors<'_>) -> Result<Self, ReportError> {
        let read = Self::read(files)?;
        for certificate in [&read.ark, &read.ask, &read.asvk] {
            verify_issued_by(certificate.role, &certificate.der, &read.ark)?;
        }
        Ok(read)
    }

    /// Returns the issuer of one kind of key.
    pub(crate) const fn issuer(&self, kind: SigningKey) -> &Arc<CaCertificate> {
        match kind {
            SigningKey::Vcek => &self.ask,
            SigningKey::Vlek => &self.asvk,
        }
    }
}

/// Reads a CA certificate that must have AMD's name for its place.
pub(crate) fn read(role: CertificateRole, der: &[u8], product: Product) -> Result<CaCertificate, ReportError> {
    let refuse = |cause| ReportError::Certificate { role, cause };
    let certificate = read_certificate(der).map_err(refuse)?;
    let expected = match role {
        CertificateRole::Ark => format!("ARK-{product}"),
        CertificateRole::Asvk => format!("SEV-VLEK-{product}"),
        CertificateRole::Ask | CertificateRole::Vek => format!("SEV-{product}"),
    };
    if certificate.subject_common_name() != expected {
        let actual = certificate.subject_common_name();
        return Err(refuse(CertificateError::WrongSubject { expected, actual }));
    }
    CaCertificate::read(role, &certificate).map_err(refuse)
}

/// Whether a root issued a certificate: by name and by signature.
pub(crate) fn verify_issued_by(role: CertificateRole, der: &[u8], ark: &CaCertificate) -> Result<(), ReportError> {
    let refuse = |cause| ReportError::Certificate { role, cause };
    let certificate = read_certificate(der).map_err(refuse)?;
    if certificate.issuer() != ark.subject {
        let (expected, actual) = (ark.subject_name.clone(), certificate.issuer_common_name());
        return Err(refuse(CertificateError::WrongIssuer { expected, actual }));
    }
    ark.verify(certificate.signed()).map_err(refuse)
}

/// AMD's public certificates; `roots/README.md` has their origin and digests.
pub(crate) const BUILTIN_CERTIFICATES: [CustomAnchors<'static>; 3] = [
    CustomAnchors {
        product: Product::Milan,
        ark: include_bytes!("roots/milan_ark.der"),
        ask: include_bytes!("roots/milan_ask.der"),
        asvk: include_bytes!("roots/milan_asvk.der"),
    },
    CustomAnchors {
        product: Product::Genoa,
        ark: include_bytes!("roots/genoa_ark.der"),
        ask: include_bytes!("roots/genoa_ask.der"),
        asvk: include_bytes!("roots/genoa_asvk.der"),
    },
    CustomAnchors {
        product: Product::Turin,
        ark: include_bytes!("roots/turin_ark.der"),
        ask: include_bytes!("roots/turin_ask.der"),
        asvk: include_bytes!("roots/turin_asvk.der"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_certificates_are_amds_and_form_chains() {
        let pins = [
            (
                Product::Milan,
                "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
                "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b",
                "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5",
                "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
            ),
            (
                Product::Genoa,
                "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
                "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521",
                "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372",
                "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
            ),
            (
                Product::Turin,
                "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
                "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185",
                "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c",
                "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
            ),
        ];
        assert_eq!(AmdAnchors::custom(BUILTIN_CERTIFICATES).err(), None);
        for (product, ark, ask, asvk, ark_key) in pins {
            let builtin = AmdAnchors::builtin();
            let anchors = builtin.product(product).unwrap();
            assert_eq!(sha256_digest(&anchors.ark.der).to_string(), ark);
            assert_eq!(sha256_digest(&anchors.ask.der).to_string(), ask);
            assert_eq!(sha256_digest(&anchors.asvk.der).to_string(), asvk);
            assert_eq!(anchors.ark.key_digest.to_string(), ark_key);
        }
        assert!(!AmdAnchors::builtin().is_custom());
    }

    #[test]
    fn anchors_of_mixed_products_are_refused() {
        let [milan, genoa, _] = BUILTIN_CERTIFICATES;
        let mixed = CustomAnchors { ask: genoa.ask, ..milan };
        let cause = CertificateError::WrongSubject { expected: "SEV-Milan".into(), actual: "SEV-Genoa".into() };
        let refused = AmdAnchors::custom([mixed]).err();
        assert_eq!(refused, Some(ReportError::Certificate { role: CertificateRole::Ask, cause }));
    }
}
