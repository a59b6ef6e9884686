//! Custom anchors from one PEM text.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::anchors::{AmdAnchors, CustomAnchors};
use super::certificates_from_pem;
use super::error::ReportError;
use crate::types::Product;
use crate::x509::CertificateError;

/// The beginnings of AMD's common names: ARK, ASK and ASVK.
const ROLES: [&str; 3] = ["ARK-", "SEV-", "SEV-VLEK-"];

/// The reason why a text cannot be used as anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorsError {
    /// The text is not PEM, or has more certificates than three families have.
    #[error(transparent)]
    Pem(#[from] CertificateError),
    /// A certificate cannot be parsed.
    #[error("certificate {number} is not an X.509 certificate")]
    NotACertificate {
        /// Its place in the text, from 1.
        number: usize,
    },
    /// A certificate is not one of AMD's by its common name.
    #[error(
        "expected ARK-, SEV- or SEV-VLEK- followed by Milan, Genoa or Turin as the name of certificate {number}, found {name:?}: leave it out"
    )]
    UnknownName {
        /// Its place in the text, from 1.
        number: usize,
        /// Its common name.
        name: String,
    },
    /// Two certificates have the same common name.
    #[error("holds {name} twice: leave one out")]
    Duplicate {
        /// The common name.
        name: String,
    },
    /// A family has one or two of its three certificates.
    #[error("the roots of {product} are incomplete: add {}", .missing.join(" and "))]
    Incomplete {
        /// The family.
        product: Product,
        /// The common names of the missing certificates.
        missing: Vec<String>,
    },
    /// The certificates do not form AMD's chains.
    #[error(transparent)]
    Chain(#[from] ReportError),
}

impl AmdAnchors {
    /// Parses anchors that replace AMD's: ARK, ASK and ASVK of one to three processor families in PEM, in any order, recognized by
    /// their common names.
    ///
    /// Every certificate must have its place: an incomplete family would be a family without roots, whose reports are refused
    /// much later with another error.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] for another text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AnchorsError> {
        let certificates = certificates_from_pem(pem)?;
        let mut named: Vec<(String, &[u8])> = Vec::new();
        for (number, der) in (1..).zip(&certificates) {
            let (_, certificate) =
                X509Certificate::from_der(der).map_err(|_| AnchorsError::NotACertificate { number })?;
            let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            let name = name.unwrap_or_default().to_owned();
            let known = |product: &Product| ROLES.iter().any(|role| format!("{role}{product}") == name);
            if !Product::ALL.iter().any(known) {
                return Err(AnchorsError::UnknownName { number, name });
            }
            if named.iter().any(|(earlier, _)| *earlier == name) {
                return Err(AnchorsError::Duplicate { name });
            }
            named.push((name, der.as_slice()));
        }
        let mut families = Vec::new();
        for product in Product::ALL {
            let found = ROLES.map(|role| {
                let name = format!("{role}{product}");
                named.iter().find(|(found, _)| *found == name).map(|(_, der)| *der).ok_or(name)
            });
            match found {
                [Ok(ark), Ok(ask), Ok(asvk)] => families.push(CustomAnchors { product, ark, ask, asvk }),
                found if found.iter().all(Result::is_err) => {}
                found => {
                    let missing = found.into_iter().filter_map(Result::err).collect();
                    return Err(AnchorsError::Incomplete { product, missing });
                }
            }
        }
        Ok(Self::custom(families)?)
    }
}
