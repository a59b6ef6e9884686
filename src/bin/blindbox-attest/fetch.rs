//! `fetch`: saves evidence into a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::snp::certificates_from_pem;
use blindbox_attestation::{AttestationError, EvidenceBundle, Policy};
use clap::Args;
use serde_json::{Value, json};

use crate::connect_args::Connection;
use crate::exit::{Failure, ended, error_json, exit_code, note, print, print_json, verdict};
use crate::files;
use crate::log;
use crate::terminal::with_progress;

#[derive(Args)]
pub struct Arguments {
    /// Where the application is, such as https://my-app.example. A path becomes the base of all requests.
    #[arg(value_name = "URL")]
    url: String,

    #[command(flatten)]
    connection: Connection,

    /// The directory, which is created if it does not exist. Files of earlier evidence are not overwritten: it must be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Print one JSON object: the files, and the verdict.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let policy = connection.policy()?;
    let verifier = connection.verifier()?;
    let failed = |error: io::Error| files::about(&arguments.out, error);
    make_empty(&arguments.out).map_err(failed)?;
    let url = &arguments.url;
    let doing = format!("asking {url}");
    let collected = with_progress(&doing, verifier.collect(url, &policy)).await?;
    // As a record: what is saved here proves nothing later about a connection.
    let outcome = collected.verify(&policy).map(drop);
    let about = describe(url, &policy, &collected, &outcome);
    let written = save(&arguments.out, &collected, &policy, &about).map_err(failed)?;
    Ok(report(&arguments, &collected, &written, &outcome))
}

fn describe(url: &str, policy: &Policy, collected: &EvidenceBundle, outcome: &Result<(), AttestationError>) -> Value {
    let missing: Vec<Value> = collected.missing.iter().map(error_json).collect();
    json!({
        "url": url,
        "asked_at": collected.asked_at,
        "nonce": collected.nonce.to_string(),
        "channel": collected.channel,
        "tls_key": collected.tls_key,
        "policy_digest": policy.digest(),
        "accepted": outcome.is_ok(),
        "error": outcome.as_ref().err().map(error_json),
        "missing": missing,
    })
}

fn save(folder: &Path, collected: &EvidenceBundle, policy: &Policy, about: &Value) -> io::Result<Vec<&'static str>> {
    let evidence = &collected.evidence;
    let pem = collected.certificates.as_deref().is_some_and(|bytes| certificates_from_pem(bytes).is_ok());
    let (token, about, policy) = (evidence.token.as_deref(), format!("{about:#}\n"), policy.to_toml());
    let pcrs = evidence.quote.as_ref().map(|quote| format!("{:#}\n", json!(quote.pcrs)));
    let ak_chain: String = evidence.ak_chain.iter().map(|der| certificate_pem(der)).collect();
    let ak_chain = Some(ak_chain).filter(|pem| !pem.is_empty());
    let documents = [
        ("token.jwt", token.map(str::as_bytes)),
        ("runtime-data.json", evidence.runtime_data.as_deref()),
        ("report.bin", evidence.report.as_deref()),
        ("uvm-endorsement.cose", evidence.uvm_endorsement.as_deref()),
        ("hcl-report.bin", evidence.hcl_report.as_deref()),
        ("tpm-quote.msg", evidence.quote.as_ref().map(|quote| quote.message.as_slice())),
        ("tpm-quote.sig", evidence.quote.as_ref().map(|quote| bare_signature(&quote.signature))),
        ("pcrs.json", pcrs.as_ref().map(String::as_bytes)),
        ("ak-chain.pem", ak_chain.as_ref().map(String::as_bytes)),
        (if pem { "certificates.pem" } else { "vcek.der" }, collected.certificates.as_deref()),
        ("revocation-list.der", collected.revocation_list.as_deref()),
        ("revocation-list-other.der", collected.other_revocation_list.as_deref()),
        ("revocation-list-maa.der", collected.maa_revocation_list.as_deref()),
        ("key-set.json", collected.key_set.as_deref()),
        ("policy.toml", Some(policy.as_bytes())),
        ("about.json", Some(about.as_bytes())),
    ];
    let mut written = Vec::new();
    for (name, bytes) in documents {
        if let Some(bytes) = bytes {
            fs::write(folder.join(name), bytes)?;
            written.push(name);
        }
    }
    Ok(written)
}

/// The 256 bytes of a quote's signature, also of one that is a `TPMT_SIGNATURE` (RSASSA with SHA-256: 6 bytes before them).
fn bare_signature(signature: &[u8]) -> &[u8] {
    const HEADER: [u8; 6] = [0x00, 0x14, 0x00, 0x0b, 0x01, 0x00];
    match signature.strip_prefix(&HEADER[..]) {
        Some(bare) if bare.len() == 256 => bare,
        _ => signature,
    }
}

/// A certificate in PEM (RFC 7468), 64 characters a line.
fn certificate_pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn make_empty(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match fs::read_dir(folder)?.next() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected an empty directory")),
    }
}

fn report(
    arguments: &Arguments,
    collected: &EvidenceBundle,
    written: &[&str],
    outcome: &Result<(), AttestationError>,
) -> ExitCode {
    let printed = if arguments.json {
        print_json(&json!({
            "folder": arguments.out,
            "files": written,
            "verdict": outcome.as_ref().err().map_or("accepted", verdict),
            "accepted": outcome.is_ok(),
            "error": outcome.as_ref().err().map(error_json),
        }))
    } else {
        let lines: String = written.iter().map(|name| format!("{}\n", arguments.out.join(name).display())).collect();
        let printed = print(&lines);
        collected.missing.iter().for_each(|missing| note(&format!("note: {missing}")));
        match outcome {
            Ok(()) => note("the policy accepts this evidence, as a record"),
            Err(error) => log::error(error.code(), &error.to_string()),
        }
        printed
    };
    ended(outcome.as_ref().err().map_or(0, exit_code), printed)
}
