//! The certificate of an attestation key, down to Azure's root of virtual TPMs.
//!
//! The certificate shows that Azure's service certified the key as one of a confidential VM, independently of AMD's keys: the
//! machine stands in Azure. It proves no TEE by itself, and there is no revocation of such certificates: they carry no address of
//! a CRL.

use std::sync::Arc;

use serde::Serialize;

use super::attestation_key::AttestationKey;
use super::error::AkCertificateError;
use crate::crypto;
use crate::types::{Sha256Digest, UnixTime, shorten, shorten_all};
use crate::x509::{Certificate, CertificateError, KeyUse, MAX_CERTIFICATE_LEN};

/// The most certificates of a chain: real ones have up to three, without the root.
pub const MAX_AK_CHAIN: usize = 5;

/// The largest certificate of a chain that is read, in bytes: real ones have 1.3 to 2 KB.
pub const MAX_AK_CERTIFICATE_LEN: usize = MAX_CERTIFICATE_LEN;

/// `tcg-kp-AIKCertificate`: the use of attestation keys (TCG EK Credential Profile).
const ATTESTATION_KEY_USE: &str = "2.23.133.8.3";
/// The end of the names of confidential VMs. VMs with Trusted Launch have `TrustedVM` in the same place, under the same root.
const CONFIDENTIAL_VM: &str = ".ConfidentialVM.Azure.windows.net";
const COMMON_NAME: &str = "2.5.4.3";

/// Azure Virtual TPM Root Certificate Authority 2023.
const ROOT: &[u8] = include_bytes!("roots/root_2023.der");
/// Global Virtual TPM CA - 03: the one authority that no address serves.
const CA_03: &[u8] = include_bytes!("roots/ca_03.der");

/// Extensions that may be critical although they are ignored: none is in any known certificate.
const IGNORED: [&[u8]; 0] = [];

/// The root that the certificate of an attestation key must lead to, and authorities below it that need not come with it.
///
/// [`AkAnchors::builtin`] has Azure's. A custom root, for an emulated Azure, replaces it, and can be set in code only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkAnchors {
    root: Arc<[u8]>,
    custom: bool,
}

impl Default for AkAnchors {
    fn default() -> Self {
        Self::builtin()
    }
}

impl AkAnchors {
    /// Returns Azure's root of virtual TPMs of 2023.
    #[must_use]
    pub fn builtin() -> Self {
        Self { root: ROOT.into(), custom: false }
    }

    /// Creates an anchor that replaces Azure's root.
    ///
    /// # Errors
    ///
    /// [`AkCertificateError::Certificate`] unless it is the certificate of an authority (DER) that signed itself.
    pub fn custom(root: &[u8]) -> Result<Self, AkCertificateError> {
        let refuse = |cause| AkCertificateError::Certificate { index: 0, cause };
        let read = read(root).map_err(refuse)?;
        read.check_issued_by(&read).map_err(refuse)?;
        if !read.extensions().basic_constraints().is_some_and(|constraints| constraints.ca) {
            return Err(refuse(CertificateError::NotACa));
        }
        Ok(Self { root: root.into(), custom: true })
    }

    /// Whether this is a custom root.
    #[must_use]
    pub const fn is_custom(&self) -> bool {
        self.custom
    }

    /// Checks a chain as [`VerifiedAkCertificate::verify`] does, whatever key it certifies, and returns the last second at which all its
    /// certificates are valid: for an agent, which sends no chain that clients would refuse and compares the key itself.
    ///
    /// # Errors
    ///
    /// [`AkCertificateError`] for the first condition that does not hold.
    pub fn check_chain(&self, chain: &[Vec<u8>], now: UnixTime) -> Result<UnixTime, AkCertificateError> {
        VerifiedPath::verify(chain, self, now).map(|path| path.expires_at)
    }

    /// Returns the SHA-256 of the root.
    #[must_use]
    pub fn root_digest(&self) -> Sha256Digest {
        crypto::sha256_digest(&self.root)
    }
}

/// The certificate of an attestation key whose chain was verified; only [`VerifiedAkCertificate::verify`] creates one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct VerifiedAkCertificate {
    subject: String,
    issuer: String,
    not_before: UnixTime,
    expires_at: UnixTime,
    sha256: Sha256Digest,
    custom_anchors: bool,
}

impl VerifiedAkCertificate {
    /// Verifies that Azure certified an attestation key as one of a confidential VM.
    ///
    /// `chain` has the certificates in DER: that of the key, then those of the authorities, each followed by its issuer; the root may
    /// be the last one. All of them must be valid at `now`.
    ///
    /// # Errors
    ///
    /// [`AkCertificateError`] for the first condition that does not hold.
    pub fn verify(
        chain: &[Vec<u8>],
        key: &AttestationKey,
        anchors: &AkAnchors,
        now: UnixTime,
    ) -> Result<Self, AkCertificateError> {
        let VerifiedPath { leaf, expires_at } = VerifiedPath::verify(chain, anchors, now)?;
        if leaf.public_key() != key.spki() {
            return Err(AkCertificateError::AnotherKey);
        }
        Ok(Self {
            subject: leaf.subject_common_name(),
            issuer: leaf.issuer_common_name(),
            not_before: leaf.validity().not_before,
            expires_at,
            sha256: crypto::sha256_digest(leaf.der()),
            custom_anchors: anchors.custom,
        })
    }

    /// Returns the last second at which all certificates of the chain are valid.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Returns the common name of the VM's certificate: 12 hexadecimal digits and `.ConfidentialVM.Azure.windows.net`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether it was verified under a custom root instead of Azure's.
    #[must_use]
    pub const fn has_custom_anchors(&self) -> bool {
        self.custom_anchors
    }
}

/// A chain without the root, in which every link, every date and the leaf were verified.
struct VerifiedPath<'a> {
    leaf: Certificate<'a>,
    /// The last second at which all certificates are valid.
    expires_at: UnixTime,
}

impl<'a> VerifiedPath<'a> {
    fn verify(chain: &'a [Vec<u8>], anchors: &'a AkAnchors, now: UnixTime) -> Result<Self, AkCertificateError> {
        let wrong_length = || AkCertificateError::ChainLength { max: MAX_AK_CHAIN, actual: chain.len() };
        if chain.is_empty() || chain.len() > MAX_AK_CHAIN {
            return Err(wrong_length());
        }
        let given = match chain.split_last() {
            // The pinned root is the anchor, whether it is provided or not.
            Some((last, rest)) if !rest.is_empty() && **last == *anchors.root => rest,
            _ => chain,
        };
        let mut path = Vec::new();
        for (index, der) in given.iter().enumerate() {
            path.push(read(der).map_err(refuse(index))?);
        }
        let root = read(&anchors.root).map_err(refuse(given.len()))?;
        complete(&mut path, &root)?;
        let expires_at = verify_path(&path, &root, now)?;
        let leaf = path.into_iter().next().ok_or_else(wrong_length)?;
        check_leaf(&leaf)?;
        Ok(Self { leaf, expires_at })
    }
}

/// Checks that a certificate (DER) was issued by the owner of another one, by name and by signature: one link of the chain of an
/// attestation key, without its dates. Names alone prove nothing: a certificate of the same name can have any key.
///
/// # Errors
///
/// [`CertificateError`] if one of them cannot be read, such as one of more than [`MAX_AK_CERTIFICATE_LEN`] bytes, or if the other one is
/// not the issuer.
pub fn check_ak_issuer(certificate: &[u8], issuer: &[u8]) -> Result<(), CertificateError> {
    read(certificate)?.check_issued_by(&read(issuer)?)
}

/// Checks that the authority that is built in issued the certificate of an attestation key, for display: without its dates, and
/// whatever key it is for.
pub(crate) fn check_issued_by_azure(der: &[u8]) -> Result<(), AkCertificateError> {
    let root = read(ROOT).map_err(refuse(1))?;
    let mut path = vec![read(der).map_err(refuse(0))?];
    complete(&mut path, &root)?;
    for (index, (certificate, issuer)) in path.iter().zip(path.iter().skip(1).chain([&root])).enumerate() {
        certificate.check_issued_by(issuer).map_err(refuse(index))?;
    }
    path.first().map_or(Ok(()), check_leaf)
}

fn refuse(index: usize) -> impl Fn(CertificateError) -> AkCertificateError {
    move |cause| AkCertificateError::Certificate { index, cause }
}

fn read(der: &[u8]) -> Result<Certificate<'_>, CertificateError> {
    let certificate = Certificate::read(der)?;
    certificate.extensions().check_critical(&IGNORED)?;
    Ok(certificate)
}

/// Adds the built-in authority where it is the next one, and checks that the path reaches the root.
fn complete(path: &mut Vec<Certificate<'_>>, root: &Certificate<'_>) -> Result<(), AkCertificateError> {
    let issuer = |path: &[Certificate<'_>]| path.last().map(|last| last.issuer().to_vec()).unwrap_or_default();
    if issuer(path) != root.subject()
        && let Ok(built_in) = read(CA_03)
        && issuer(path) == built_in.subject()
    {
        path.push(built_in);
    }
    match path.last() {
        Some(last) if last.issuer() != root.subject() => Err(AkCertificateError::NotUnderRoot {
            root: root.subject_common_name(),
            index: path.len().saturating_sub(1),
            issuer: shorten(&last.issuer_text(), 200),
        }),
        _ => Ok(()),
    }
}

/// Verifies every link and every date, and returns the last second at which all of them are valid.
fn verify_path(
    path: &[Certificate<'_>],
    root: &Certificate<'_>,
    now: UnixTime,
) -> Result<UnixTime, AkCertificateError> {
    let mut end = root.validity().not_after;
    let issuers = path.iter().skip(1).chain([root]);
    for (index, (certificate, issuer)) in path.iter().zip(issuers).enumerate() {
        let above = index.saturating_add(1);
        certificate.check_issued_by(issuer).map_err(refuse(index))?;
        certificate.validity().check(now).map_err(refuse(index))?;
        // Every certificate but the first is one of an authority.
        issuer.check_authority(now, u32::try_from(index).unwrap_or(u32::MAX)).map_err(refuse(above))?;
        issuer.extensions().check_issues_for(&[ATTESTATION_KEY_USE]).map_err(refuse(above))?;
        end = end.min(certificate.validity().not_after);
    }
    Ok(end)
}

fn check_leaf(leaf: &Certificate<'_>) -> Result<(), AkCertificateError> {
    let extensions = leaf.extensions();
    // An authority of the hierarchy is no attestation key, even where its uses name one.
    if extensions.basic_constraints().is_some_and(|constraints| constraints.ca) {
        return Err(refuse(0)(CertificateError::NotAnEndEntity));
    }
    if !extensions.key_usage().is_some_and(|usage| usage.digital_signature()) {
        return Err(refuse(0)(CertificateError::WrongKeyUsage(KeyUse::Documents)));
    }
    let uses = extensions.key_uses();
    if !uses.iter().any(|found| found == ATTESTATION_KEY_USE) {
        return Err(AkCertificateError::NotForAttestation { found: shorten_all(&uses) });
    }
    let names = leaf.subject_values(COMMON_NAME);
    let is_confidential_vm = |name: &String| {
        let vm = name.strip_suffix(CONFIDENTIAL_VM);
        vm.is_some_and(|vm| !vm.is_empty() && vm.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    match names.as_slice() {
        [name] if is_confidential_vm(name) => Ok(()),
        _ => Err(AkCertificateError::NotAConfidentialVm { subject: leaf.subject_common_name() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_certificates_are_azures_and_form_a_chain() {
        let root = "e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95";
        assert_eq!(AkAnchors::builtin().root_digest().to_string(), root);
        assert!(!AkAnchors::builtin().is_custom());
        let ca_03 = "fd7c92dabce4dcec9feaa30f8b087ada0598413189182152b881f5564064a29c";
        assert_eq!(crypto::sha256_digest(CA_03).to_string(), ca_03);
        let custom = AkAnchors::custom(ROOT).unwrap();
        assert!(custom.is_custom());
        assert_eq!(read(CA_03).unwrap().check_issued_by(&read(ROOT).unwrap()), Ok(()));
    }

    #[test]
    fn a_root_signed_itself() {
        let cause = CertificateError::WrongIssuer {
            expected: "CN=Global Virtual TPM CA - 03".into(),
            actual: "C=US, O=Microsoft Corporation, CN=Azure Virtual TPM Root Certificate Authority 2023".into(),
        };
        assert_eq!(AkAnchors::custom(CA_03), Err(AkCertificateError::Certificate { index: 0, cause }));
    }
}
