//! The certificate chain of an endorsement: verifies every link, up to the authority that the issuer pins.
//!
//! A general validator does not fit: it requires what these chains do not have (a server name, a TLS usage, validity at the
//! present time) and accepts more algorithms than they use.

use super::error::EndorsementError;
use crate::x509::{Certificate, CertificateError, KeyUse};

/// A leaf and at least one certificate authority.
pub(super) const MIN_CHAIN: usize = 2;
/// Genuine chains have three. The limit bounds the number of signatures to verify.
pub(super) const MAX_CHAIN: usize = 8;

/// Extensions that may be critical although they are ignored, because a fingerprint pins the chain: names, policies and key
/// identifiers.
const DECIDE_NOTHING: [&[u8]; 5] =
    [&[0x55, 0x1d, 0x0e], &[0x55, 0x1d, 0x11], &[0x55, 0x1d, 0x12], &[0x55, 0x1d, 0x20], &[0x55, 0x1d, 0x23]];

/// Parses the certificates of a chain, leaf first.
pub(super) fn read_chain(chain: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, EndorsementError> {
    if chain.len() < MIN_CHAIN || chain.len() > MAX_CHAIN {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: chain.len() });
    }
    chain.iter().enumerate().map(|(index, der)| read(der).map_err(refuse(index))).collect()
}

/// Parses one certificate, and refuses critical extensions that are not evaluated.
pub(super) fn read(der: &[u8]) -> Result<Certificate<'_>, CertificateError> {
    let certificate = Certificate::read(der)?;
    certificate.extensions().check_critical(&DECIDE_NOTHING)?;
    Ok(certificate)
}

fn refuse(index: usize) -> impl Fn(CertificateError) -> EndorsementError {
    move |cause| EndorsementError::Certificate { index, cause }
}

/// Verifies every link from the leaf to the last certificate. `uses` are the uses that the issuer names for the leaf.
///
/// The chain is evaluated at the first second of the leaf's validity: endorsements outlive their leaf, which is valid for a year,
/// and the minimum security version of the policy ends an endorsement. The last certificate's own signature is not checked,
/// because the issuer pins its fingerprint.
pub(super) fn verify_chain(chain: &[Certificate<'_>], uses: &[&str]) -> Result<(), EndorsementError> {
    let Some((leaf, authorities)) = chain.split_first() else {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: 0 });
    };
    let at = leaf.validity().not_before;
    check_signs_documents(leaf).map_err(refuse(0))?;
    leaf.validity().check(at).map_err(refuse(0))?;
    // An issuer that names no usage accepts those of the leaf.
    let of_leaf = leaf.extensions().key_uses();
    let of_leaf: Vec<&str> = of_leaf.iter().map(String::as_str).collect();
    let uses = if uses.is_empty() { &of_leaf } else { uses };
    let mut below: u32 = 0;
    for (index, authority) in (1..).zip(authorities) {
        authority.check_authority(at, below).map_err(refuse(index))?;
        authority.extensions().check_issues_for(uses).map_err(refuse(index))?;
        // RFC 5280 section 4.2.1.9: a self-issued certificate does not count.
        if !authority.is_self_issued() {
            below = below.saturating_add(1);
        }
    }
    for (index, (certificate, issuer)) in chain.iter().zip(authorities).enumerate() {
        certificate.check_issued_by(issuer).map_err(refuse(index))?;
    }
    Ok(())
}

fn check_signs_documents(leaf: &Certificate<'_>) -> Result<(), CertificateError> {
    match leaf.extensions().key_usage() {
        Some(usage) if !usage.digital_signature() => Err(CertificateError::WrongKeyUsage(KeyUse::Documents)),
        _ => Ok(()),
    }
}
