//! Authorities that evidence on Azure meets, known by their certificates.

use crate::crypto::sha256_digest;
use crate::snp::BUILTIN_CERTIFICATES;

/// Azure's authorities of virtual TPMs, which certify the attestation keys of confidential VMs, by SHA-256 of their
/// certificates. Nothing is verified under them here.
const VIRTUAL_TPM: [(&str, &str); 3] = [
    (
        "e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95",
        "Azure's root of virtual TPMs (Azure Virtual TPM Root Certificate Authority 2023)",
    ),
    (
        "a2daccd149cd2eadb82045d3cd24336699a0b2d4e50237a76448d107896cf8c7",
        "Azure's authority of virtual TPMs (Global Virtual TPM CA - 01)",
    ),
    (
        "fd7c92dabce4dcec9feaa30f8b087ada0598413189182152b881f5564064a29c",
        "Azure's authority of virtual TPMs (Global Virtual TPM CA - 03)",
    ),
];

/// The name of an authority whose certificate this is, byte for byte.
pub(super) fn name(der: &[u8]) -> Option<String> {
    for family in BUILTIN_CERTIFICATES {
        let roles = [(family.ark, "ARK"), (family.ask, "ASK"), (family.asvk, "ASVK")];
        if let Some((_, role)) = roles.into_iter().find(|(known, _)| *known == der) {
            return Some(format!("AMD's {role} of {}", family.product));
        }
    }
    let digest = sha256_digest(der).to_string();
    VIRTUAL_TPM.into_iter().find(|(known, _)| *known == digest).map(|(_, name)| name.to_owned())
}
