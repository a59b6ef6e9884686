//! Verifies recorded evidence from files. No network, and the time is what you say it is.
//!
//! ```console
//! $ cargo run --example offline -- --token token.jwt --jwks certs.json --issuer https://sharedeus.eus.attest.azure.net --at 1791503200
//! $ cargo run --example offline -- --report report.bin --vek vcek.der --uvm uvm.cose --at 1755000000 --policy policy.toml
//! ```
//!
//! Exit code 0 and the appraisal on standard output; else `error[<code>]: <message>` on standard error, or how this is used, and the
//! exit codes of `blindbox-attest`: 1 rejected, 2 untrusted, 3 no verdict, 4 misconfigured, 64 usage.
//! Without a policy the evidence is verified and nothing is required of it, and the output says so.

#[path = "support/exit.rs"]
mod exit;

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blindbox_attestation::azure_vm::{HclReport, Quote};
use blindbox_attestation::cce_policy::{FoundCcePolicy, find_cce_policies};
use blindbox_attestation::files::{
    FileError, read_certificates, read_crl, read_hcl_report, read_key_set, read_pcrs, read_report, read_text,
    read_token, read_tpm_quote, read_tpm_signature, read_uvm_endorsement,
};
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::{Crl, UnverifiedReport, Vek, certificates_from_pem_or_der};
use blindbox_attestation::{
    AttestationError, Claims, Endorsements, Evidence, HostData, MaaIssuer, Policy, RecordedAttestation, UnixTime,
    VerifiedEvidence, verify_recorded, verify_unappraised,
};
use clap::{ArgGroup, Parser};
use serde_json::{Value, json};

/// Verify recorded attestation evidence from files, without a network.
#[derive(Parser)]
#[command(group = ArgGroup::new("a_report").args(["report", "hcl_report"]).multiple(true))]
struct Arguments {
    /// The MAA token (a JWT).
    #[arg(long, value_name = "FILE", requires_all = ["jwks"])]
    token: Option<PathBuf>,
    /// The key set of the MAA instance, as its /certs gives it.
    #[arg(long, value_name = "FILE", requires = "token")]
    jwks: Option<PathBuf>,
    /// The MAA instance that must have issued the token, such as https://sharedeus.eus.attest.azure.net.
    #[arg(long, value_name = "URL", requires = "token")]
    issuer: Option<String>,
    /// The hardware report: 1184 bytes.
    #[arg(long, value_name = "FILE", requires = "vek")]
    report: Option<PathBuf>,
    /// The certificate of the key that signed the report (VCEK or VLEK), DER or PEM.
    #[arg(long, value_name = "FILE", requires = "a_report")]
    vek: Option<PathBuf>,
    /// The certificates above it (ASK or ASVK, ARK), PEM. Not needed: AMD's are built in, and these must be AMD's.
    #[arg(long, value_name = "FILE", requires = "a_report")]
    chain: Option<PathBuf>,
    /// A revocation list of AMD, DER. Several can be given: AMD signs one about the issuer of VCEKs and one about that of VLEKs.
    #[arg(long, value_name = "FILE", requires = "a_report")]
    crl: Vec<PathBuf>,
    /// The report of the paravisor of a confidential VM, with the hardware report in it.
    #[arg(long, value_name = "FILE", requires = "vek", conflicts_with = "policy")]
    hcl_report: Option<PathBuf>,
    /// The quote of its virtual TPM: the signed message (TPMS_ATTEST).
    #[arg(long, value_name = "FILE", requires_all = ["hcl_report", "tpm_signature", "pcrs"])]
    tpm_quote: Option<PathBuf>,
    /// The signature of the quote: 256 bytes, or TPMT_SIGNATURE.
    #[arg(long, value_name = "FILE", requires = "tpm_quote")]
    tpm_signature: Option<PathBuf>,
    /// The values of the PCRs that the quote selects: a JSON array of SHA-256 digests.
    #[arg(long, value_name = "FILE", requires = "tpm_quote")]
    pcrs: Option<PathBuf>,
    /// The certificates of the attestation key, leaf first: DER or PEM. Azure's root is built in.
    #[arg(long, value_name = "FILE", requires = "hcl_report")]
    ak_chain: Option<PathBuf>,
    /// The endorsement of the utility VM: a COSE_Sign1 document.
    #[arg(long, value_name = "FILE")]
    uvm: Option<PathBuf>,
    /// The CCE policy (base64, or the Rego text) whose digest the host data must be.
    #[arg(long, value_name = "FILE")]
    cce_policy: Option<PathBuf>,
    /// The runtime data that the evidence must cover.
    #[arg(long, value_name = "FILE")]
    runtime_data: Option<PathBuf>,
    /// The time to verify for, in seconds since 1970-01-01 UTC.
    #[arg(long, value_name = "UNIX_SECONDS")]
    at: u64,
    /// The policy to appraise against, TOML or JSON.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print JSON: every claim and every check.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    match run(&arguments).and_then(|output| say(&output).map_err(|error| bad_file(Path::new("standard output"), error)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, code, message }) => {
            eprintln!("error[{code}]: {message}");
            ExitCode::from(exit)
        }
    }
}

/// Prints a text. A reader who has gone away (`| head`) is no failure, and changes nothing of the exit code.
fn say(text: &impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

struct Failure {
    exit: u8,
    code: &'static str,
    message: String,
}

impl<E: Into<AttestationError>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut message = error.to_string();
        if let Some(appraisal) = error.appraisal() {
            message = format!("{message}\n\n{}", appraisal.full());
        }
        Self { exit: exit::code(&error), code: error.code(), message }
    }
}

fn run(arguments: &Arguments) -> Result<String, Failure> {
    let policy = arguments.policy.as_deref().map(read_policy).transpose()?;
    let issuer = arguments.issuer.as_ref().map(|url| MaaIssuer::new(url).map_err(|error| bad_usage("--issuer", error)));
    let issuer = issuer.transpose()?;
    let (evidence, endorsements) = (evidence(arguments)?, endorsements(arguments)?);
    if evidence.token.is_none() && evidence.report.is_none() && evidence.hcl_report.is_none() {
        return Err(bad_usage("--token, --report or --hcl-report", "one of them is needed"));
    }
    let now = UnixTime::from_secs(arguments.at);
    let Some(policy) = policy else {
        if evidence.token.is_some() && issuer.is_none() {
            return Err(bad_usage("--issuer", "is needed with --token where no --policy says who may have issued it"));
        }
        let verified = verify_unappraised(&evidence, &endorsements, issuer.as_ref(), now)?;
        check_host_data(arguments, verified.claims())?;
        return Ok(if arguments.json {
            unappraised_json(&evidence, &verified)
        } else {
            format!("{}{}", on_whose_word(arguments), unappraised_text(&verified))
        });
    };
    if let Some(issuer) = &issuer {
        // The policy names who may judge; a second opinion on the command line must not be ignored in silence.
        if policy.maa_issuer() != Some(issuer) {
            return Err(bad_usage("--issuer", "is not the MAA instance that the policy names"));
        }
    }
    let recorded = verify_recorded(&evidence, &endorsements, &policy, now)?;
    check_host_data(arguments, recorded.claims())?;
    Ok(if arguments.json {
        recorded_json(&evidence, &recorded)
    } else {
        format!("{}{}", on_whose_word(arguments), recorded_text(&recorded))
    })
}

/// Who is believed without proof: no signature protects a key set, and the time decides what is current.
fn on_whose_word(arguments: &Arguments) -> String {
    let keys = arguments.jwks.as_ref().map(|path| {
        format!(
            "trusted without proof: the keys of MAA, as {} has them (the author of this file decides which tokens are genuine)\n",
            path.display()
        )
    });
    format!(
        "{}trusted without proof: the time of --at, {}\n",
        keys.unwrap_or_default(),
        UnixTime::from_secs(arguments.at)
    )
}

fn evidence(arguments: &Arguments) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    if let Some(path) = &arguments.token {
        evidence.token = Some(read_token(&read(path)?).map_err(|error| bad_file(path, error))?);
    }
    evidence.report = read_as(arguments.report.as_deref(), read_report)?;
    evidence.hcl_report = read_as(arguments.hcl_report.as_deref(), read_hcl_report)?;
    evidence.quote = quote(arguments)?;
    evidence.ak_chain = arguments.ak_chain.as_deref().map(certificates).transpose()?.unwrap_or_default();
    evidence.uvm_endorsement = read_as(arguments.uvm.as_deref(), read_uvm_endorsement)?;
    evidence.runtime_data = arguments.runtime_data.as_deref().map(read).transpose()?;
    Ok(evidence)
}

/// The quote of a virtual TPM, which is three files.
fn quote(arguments: &Arguments) -> Result<Option<Quote>, Failure> {
    let message = read_as(arguments.tpm_quote.as_deref(), read_tpm_quote)?;
    let signature = read_as(arguments.tpm_signature.as_deref(), read_tpm_signature)?;
    let (Some(message), Some(signature), Some(pcrs)) = (message, signature, &arguments.pcrs) else { return Ok(None) };
    let values = read_pcrs(&read(pcrs)?).map_err(|error| bad_file(pcrs, error))?;
    Ok(Some(Quote::new(message, signature, values)))
}

fn endorsements(arguments: &Arguments) -> Result<Endorsements, Failure> {
    let mut endorsements = Endorsements::default();
    if let Some(path) = &arguments.jwks {
        let json = read_key_set(&read(path)?).map_err(|error| bad_file(path, error))?;
        endorsements.key_set = Some(KeySet::from_json(&json)?);
    }
    if let Some(path) = &arguments.vek {
        let bytes = read_certificates(&read(path)?).map_err(|error| bad_file(path, error))?;
        let vek = Vek::from_pem_or_der(&bytes).map_err(|error| bad_file(path, error))?;
        endorsements.vek = Some(match (&arguments.chain, vek) {
            // The certificates above it may be in the same file.
            (None, vek) => vek,
            (Some(chain), Vek::Bundle(bundle)) => match <[Vec<u8>; 2]>::try_from(certificates(chain)?) {
                Ok([issuer, ark]) => Vek::Received { der: bundle.vek().to_vec(), chain: Some((issuer, ark)) },
                Err(_) => return Err(bad_usage("--chain", "expected two certificates: ASK or ASVK, then ARK")),
            },
            (Some(_), vek) => vek,
        });
    }
    for path in &arguments.crl {
        let crl = read_crl(&read(path)?).map_err(|error| bad_file(path, error))?;
        endorsements.crls.push(Crl::Received(crl));
    }
    Ok(endorsements)
}

/// One certificate in DER, or a bundle in PEM.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = read_certificates(&read(path)?).map_err(|error| bad_file(path, error))?;
    certificates_from_pem_or_der(&bytes).map_err(|error| bad_file(path, error))
}

/// A file, read as what an option gives it for.
fn read_as(
    path: Option<&Path>,
    as_kind: impl Fn(&[u8]) -> Result<Vec<u8>, FileError>,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    as_kind(&read(path)?).map(Some).map_err(|error| bad_file(path, error))
}

/// The host data of the evidence against a CCE policy given by file.
fn check_host_data(arguments: &Arguments, claims: &Claims) -> Result<(), Failure> {
    let Some(path) = &arguments.cce_policy else { return Ok(()) };
    let expected = read_cce_policy(path)?;
    let actual = claims.tee.snp().map(|snp| snp.host_data);
    if actual == Some(expected) {
        return Ok(());
    }
    Err(Failure {
        exit: 1,
        code: "invalid-enclave-code",
        message: format!(
            "attestation validation failed (invalid enclave code): expected host data {expected} (the digest of {}), \
             found {}",
            path.display(),
            actual.map_or_else(|| "none".to_owned(), |actual| actual.to_string())
        ),
    })
}

/// The one policy of a file, in whatever form people have it.
fn read_cce_policy(path: &Path) -> Result<HostData, Failure> {
    let found = find_cce_policies(&read(path)?).map_err(|error| bad_file(path, error))?;
    match found.as_slice() {
        [FoundCcePolicy { policy: Ok(policy), .. }] => Ok(policy.digest()),
        [FoundCcePolicy { policy: Err(error), .. }] => Err(bad_file(path, error.clone())),
        several => Err(bad_file(path, format!("expected one policy, found {}", several.len()))),
    }
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let text = read_text(&read(path)?).map_err(|error| bad_file(path, error))?;
    let json = text.trim_start().starts_with('{');
    Ok(if json { Policy::from_json(&text)? } else { Policy::from_toml(&text)? })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| bad_file(path, error))
}

fn bad_usage(what: &str, error: impl Into<Box<dyn Error>>) -> Failure {
    Failure { exit: exit::USAGE, code: "usage", message: format!("{what}: {}", error.into()) }
}

fn bad_file(path: &Path, error: impl Into<Box<dyn Error>>) -> Failure {
    let message = format!("{}: {}", path.display(), error.into());
    Failure { exit: exit::MISCONFIGURED, code: "misconfigured", message }
}

fn recorded_text(recorded: &RecordedAttestation) -> String {
    let (at, end) = (recorded.verified_for(), recorded.expires_at());
    format!("verified and accepted for {at}; the verdict ends at {end}\n\n{}", recorded.appraisal().full())
        .trim_end()
        .to_owned()
}

fn unappraised_text(verified: &VerifiedEvidence) -> String {
    let claims = serde_json::to_string_pretty(verified.claims()).unwrap_or_default();
    format!(
        "verified for {}; NOTHING WAS APPRAISED: no policy was given, so this says what the evidence claims, not that it \
         is acceptable\n\n{claims}",
        verified.verified_for()
    )
}

fn recorded_json(evidence: &Evidence, recorded: &RecordedAttestation) -> String {
    to_json(evidence, true, recorded.verified_for(), recorded.claims(), json!(recorded.appraisal()))
}

fn unappraised_json(evidence: &Evidence, verified: &VerifiedEvidence) -> String {
    to_json(evidence, false, verified.verified_for(), verified.claims(), json!([]))
}

fn to_json(evidence: &Evidence, appraised: bool, at: UnixTime, claims: &Claims, checks: Value) -> String {
    // The report's fields as they stand in its bytes, which by now are verified, if the report was asked for.
    let in_blob =
        || HclReport::read(evidence.hcl_report.as_deref()?).ok()?.snp_report().ok().map(<[u8; 1184]>::as_slice);
    let report = claims.hardware.as_ref().and_then(|_| evidence.report.as_deref().or_else(in_blob));
    let report = report.and_then(|bytes| UnverifiedReport::read(bytes).ok());
    let output = json!({
        "report": report,
        "verified": true,
        // Whose keys and which time were taken as given.
        "key_set_source": evidence.token.as_ref().map(|_| "given"),
        "appraised": appraised,
        "verified_for": at,
        "claims": claims,
        "checks": checks,
    });
    serde_json::to_string_pretty(&output).unwrap_or_default()
}
