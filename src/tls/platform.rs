//! The certificate authorities of the platform, for the names of servers.
//!
//! macOS, Windows and Android validate a name themselves. Elsewhere the platform is files in well-known places, which are read here:
//! `rustls-platform-verifier`, as OpenSSL does, reads `SSL_CERT_FILE` and `SSL_CERT_DIR` in their place, and the environment does not
//! decide what is trusted.

use rustls::pki_types::CertificateDer;

use super::{NameVerifier, misconfigured};
use crate::error::AttestationError;

/// Returns the verifier under the roots of the platform and these.
#[cfg(any(not(unix), target_os = "android", target_vendor = "apple"))]
pub(super) fn verifier(extra: &[CertificateDer<'static>]) -> Result<NameVerifier, AttestationError> {
    use std::sync::Arc;

    match rustls_platform_verifier::Verifier::new_with_extra_roots(extra.to_vec(), super::provider()) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        // The caller's can still be used.
        Err(_) if !extra.is_empty() => super::Roots::Only(extra.to_vec()).verifier(),
        Err(_) => Err(without_roots()),
    }
}

/// Returns the verifier under the roots of the platform and these.
#[cfg(all(unix, not(target_os = "android"), not(target_vendor = "apple")))]
pub(super) fn verifier(extra: &[CertificateDer<'static>]) -> Result<NameVerifier, AttestationError> {
    let mut store = super::store(extra)?;
    // A root that cannot be used is one root less, as for every other program of the platform.
    store.add_parsable_certificates(files::certificates());
    // A minimal container image has no roots; the caller's can still be used.
    if store.is_empty() { Err(without_roots()) } else { super::web_pki(store) }
}

fn without_roots() -> AttestationError {
    misconfigured(
        "the platform has no root certificates; install them (`ca-certificates`) or give roots to the verifier",
    )
}

#[cfg(all(unix, not(target_os = "android"), not(target_vendor = "apple")))]
mod files {
    use std::path::Path;

    use rustls::pki_types::CertificateDer;
    use rustls_native_certs::load_certs_from_paths;

    /// Where distributions keep all roots in one file. The first that exists is read.
    const BUNDLES: &[&str] = if cfg!(target_os = "linux") {
        &[
            "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch, Gentoo, NixOS
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL, Azure Linux
            "/etc/pki/tls/certs/ca-bundle.crt",   // RHEL 6, Amazon Linux
            "/etc/ssl/ca-bundle.pem",             // SUSE
            "/etc/pki/tls/cacert.pem",            // OpenELEC
            "/etc/ssl/cert.pem",                  // Alpine without `ca-certificates`
            "/opt/etc/ssl/certs/ca-certificates.crt", // Entware
            "/etc/ssl/certs/cacert.pem",          // OpenHarmony
        ]
    } else {
        &[
            "/etc/ssl/cert.pem",                            // OpenBSD, FreeBSD
            "/usr/local/etc/ssl/cert.pem",                  // FreeBSD
            "/usr/local/share/certs/ca-root-nss.crt",       // DragonFly
            "/etc/openssl/certs/ca-certificates.crt",       // NetBSD
            "/etc/ssl/cacert.pem",                          // OmniOS
            "/etc/certs/ca-certificates.crt",               // Solaris, OpenIndiana
            "/etc/ssl/certs/ca-certificates.crt",           // SmartOS
            "/boot/system/data/ssl/CARootCertificates.pem", // Haiku
        ]
    };

    /// Where they keep a file for each root, which the bundle may lack. All that exist are read.
    const DIRECTORIES: &[&str] = if cfg!(target_os = "linux") {
        &["/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/security/certificates"]
    } else {
        &["/etc/ssl/certs", "/usr/local/share/certs", "/etc/openssl/certs", "/etc/certs/CA", "/var/ssl/certs"]
    };

    /// Returns the certificates, each once. What cannot be read is left out.
    pub(super) fn certificates() -> Vec<CertificateDer<'static>> {
        let exists = |path: &&Path| path.exists();
        let mut bundle = BUNDLES.iter().map(Path::new).find(exists);
        let directories = DIRECTORIES.iter().map(Path::new).filter(exists);
        // With the first directory, in which it often is: a file is read once.
        let mut certificates: Vec<_> =
            directories.flat_map(|directory| load_certs_from_paths(bundle.take(), Some(directory)).certs).collect();
        certificates.extend(load_certs_from_paths(bundle, None).certs);
        certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        certificates.dedup();
        certificates
    }
}
