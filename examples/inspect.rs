//! Prints a token, a report, a certificate or an endorsement in full. Nothing is verified but what the output says is.
//!
//! ```console
//! $ cargo run --example inspect -- token.jwt
//! $ cargo run --example inspect -- report.bin vcek.der uvm.cose
//! ```
//!
//! Only what can be told from the file alone is verified: a certificate against AMD's built-in roots, an endorsement against
//! Microsoft's production issuer. A token needs a key set and a report its certificate: that is what the example `offline` is for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blindbox_attestation::snp::{
    AmdAnchors, CertificateError, REPORT_LEN, UnverifiedReport, VekCertificate, VerifiedVek, certificates_from_pem,
};
use blindbox_attestation::uvm::{self, EndorsementExpectations};
use clap::Parser;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Print attestation evidence in full, verified or not, and say which.
#[derive(Parser)]
struct Arguments {
    /// A token (JWT), a report (1184 bytes), a certificate (DER or PEM) or an endorsement (COSE_Sign1).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let mut exit = ExitCode::SUCCESS;
    for file in &Arguments::parse().files {
        match inspect(file) {
            Ok(outputs) => {
                for output in outputs {
                    println!("{}", serde_json::to_string_pretty(&output).unwrap_or_default());
                }
            }
            Err(message) => {
                eprintln!("error[unreadable]: {}: {message}", file.display());
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}

fn inspect(file: &Path) -> Result<Vec<Value>, String> {
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        let bundle = certificates_from_pem(&bytes).map_err(|error| error.to_string())?;
        return bundle.iter().map(|der| certificate(der)).collect();
    }
    let output = match bytes.first() {
        _ if bytes.len() == REPORT_LEN => report(&bytes),
        Some(0x30) => certificate(&bytes),
        Some(b'e') => token(&bytes),
        _ => endorsement(&bytes),
    };
    output.map(|output| vec![output])
}

fn report(bytes: &[u8]) -> Result<Value, String> {
    let report = UnverifiedReport::read(bytes).map_err(|error| error.to_string())?;
    Ok(
        json!({ "kind": "report", "verified": false, "why": "a report alone cannot be verified; see `offline`", "report": report }),
    )
}

fn token(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let part = |part: Option<&str>| -> Result<Value, String> {
        let json = URL_SAFE_NO_PAD.decode(part.unwrap_or_default()).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    };
    let mut parts = text.trim_end().split('.');
    Ok(json!({
        "kind": "token",
        "verified": false,
        "why": "a token alone cannot be verified; see `offline`",
        "header": part(parts.next())?,
        "claims": part(parts.next())?,
    }))
}

fn certificate(der: &[u8]) -> Result<Value, String> {
    let vek = match VekCertificate::from_der(der) {
        Ok(vek) => vek,
        Err(error) => return other_certificate(der, &error),
    };
    let verified = VerifiedVek::verify(der, None, &AmdAnchors::builtin());
    Ok(json!({
        "kind": "certificate",
        "verified": verified.is_ok(),
        "why": verified.err().map_or("signed down to AMD's built-in root; dates and revocation were not looked at".to_owned(), |error| error.to_string()),
        "signing_key": vek.kind(),
        "product": vek.product(),
        "product_name": vek.product_name(),
        "identity": format!("{:?}", vek.identity()),
        "tcb": vek.tcb(),
        "not_before": vek.not_before(),
        "not_after": vek.not_after(),
        "sha256": vek.digest(),
    }))
}

fn endorsement(bytes: &[u8]) -> Result<Value, String> {
    let unverified = uvm::read_unverified(bytes).map_err(|error| error.to_string())?;
    let verified = uvm::verify(bytes, &EndorsementExpectations::production());
    Ok(json!({
        "kind": "endorsement",
        "verified": verified.is_ok(),
        "why": verified.as_ref().err().map_or("signed by Microsoft's production issuer".to_owned(), ToString::to_string),
        "claims": verified.ok().map(|endorsement| endorsement.claims().clone()),
        "document": unverified,
    }))
}

/// A certificate that is not of a signing key: AMD's authorities, or anything else.
fn other_certificate(der: &[u8], error: &CertificateError) -> Result<Value, String> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let extensions = certificate.extensions().iter().map(|extension| extension.oid.to_id_string());
    Ok(json!({
        "kind": "certificate",
        "verified": false,
        "why": format!("as the certificate of a VCEK or VLEK it is refused: {error}"),
        "subject": certificate.subject().to_string(),
        "issuer": certificate.issuer().to_string(),
        "serial": certificate.raw_serial_as_string(),
        "not_before": certificate.validity().not_before.timestamp(),
        "not_after": certificate.validity().not_after.timestamp(),
        "signature_algorithm": certificate.signature_algorithm.algorithm.to_id_string(),
        "extensions": extensions.collect::<Vec<_>>(),
        "trailing_bytes": rest.len(),
    }))
}
