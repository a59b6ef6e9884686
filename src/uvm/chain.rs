//! The certificate chain of an endorsement: every link, with nothing taken from the chain on trust.
//!
//! A small validator of its own, because a general one asks what this chain cannot give (a server name, a TLS use, the
//! present time) and accepts more algorithms than these chains have.

use super::error::EndorsementError;
use crate::types::UnixTime;
use crate::x509::{Certificate, CertificateError, KeyUse};

/// A leaf and at least one certificate authority.
pub(super) const MIN_CHAIN: usize = 2;
/// Real chains have three. A long one would make the reader check many signatures for nothing.
pub(super) const MAX_CHAIN: usize = 8;

/// Extensions that may be critical and decide nothing in a chain that a fingerprint pins: names, policies and key
/// identifiers.
const DECIDE_NOTHING: [&[u8]; 5] =
    [&[0x55, 0x1d, 0x0e], &[0x55, 0x1d, 0x11], &[0x55, 0x1d, 0x12], &[0x55, 0x1d, 0x20], &[0x55, 0x1d, 0x23]];

/// Reads the certificates of a chain, leaf first.
pub(super) fn read_chain(chain: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, EndorsementError> {
    if chain.len() < MIN_CHAIN || chain.len() > MAX_CHAIN {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: chain.len() });
    }
    chain.iter().enumerate().map(|(index, der)| read(der).map_err(refuse(index))).collect()
}

/// Reads one certificate; a critical extension that is not evaluated is refused.
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
/// The time of the chain is the first second of the leaf's validity: endorsements outlive their leaf, which is valid for
/// a year, and what ends an endorsement is the least security version that the policy accepts. The last certificate's
/// own signature proves nothing and is not looked at: its fingerprint is what the issuer pins.
pub(super) fn verify_chain(chain: &[Certificate<'_>], uses: &[&str]) -> Result<(), EndorsementError> {
    let Some((leaf, authorities)) = chain.split_first() else {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: 0 });
    };
    let at = leaf.validity().not_before;
    check_signs_documents(leaf).map_err(refuse(0))?;
    leaf.validity().check(at).map_err(refuse(0))?;
    // An issuer that names no use is content with the leaf's own ones.
    let of_leaf = leaf.extensions().key_uses();
    let of_leaf: Vec<&str> = of_leaf.iter().map(String::as_str).collect();
    let uses = if uses.is_empty() { &of_leaf } else { uses };
    let mut below: u32 = 0;
    for (index, authority) in (1..).zip(authorities) {
        check_authority(authority, at, below).map_err(refuse(index))?;
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

/// Whether a certificate may sign certificates at a time, with `below` authorities between it and the leaf.
fn check_authority(authority: &Certificate<'_>, at: UnixTime, below: u32) -> Result<(), CertificateError> {
    authority.validity().check(at)?;
    let extensions = authority.extensions();
    let constraints = extensions.basic_constraints().filter(|found| found.ca).ok_or(CertificateError::NotACa)?;
    if let Some(allowed) = constraints.path_len.map(u32::from)
        && below > allowed
    {
        return Err(CertificateError::PathTooLong { allowed, actual: below });
    }
    match extensions.key_usage() {
        Some(usage) if !usage.key_cert_sign() => Err(CertificateError::WrongKeyUsage(KeyUse::Certificates)),
        _ => Ok(()),
    }
}

fn check_signs_documents(leaf: &Certificate<'_>) -> Result<(), CertificateError> {
    match leaf.extensions().key_usage() {
        Some(usage) if !usage.digital_signature() => Err(CertificateError::WrongKeyUsage(KeyUse::Documents)),
        _ => Ok(()),
    }
}
