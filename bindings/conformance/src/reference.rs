//! The reference: the crate itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blindbox_attestation::azure_vm::AkAnchors;
use blindbox_attestation::files::read_certificate;
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::AmdAnchors;
use blindbox_attestation::{
    AttestationError, Category, EvidenceFiles, KeySetSource, Method, Policy, Response, Session, UnixTime, Verifier,
    verify_recorded,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::content;
use crate::runner::{Runner, resident};
use crate::scenario::Failure;

/// Carries out commands with the crate.
pub(crate) struct Reference {
    runtime: Runtime,
    session: Option<Session>,
    directory: PathBuf,
}

impl Reference {
    pub(crate) fn new(directory: PathBuf) -> Result<Self, Failure> {
        Ok(Self { runtime: Runtime::new()?, session: None, directory })
    }
}

impl Runner for Reference {
    fn run(&mut self, command: &Value) -> Result<Value, Failure> {
        let Self { runtime, session, directory } = self;
        runtime.block_on(async {
            let outcome = match text(command, "do") {
                "connect" => connect(command, session).await?,
                "reattest" => match given(session)?.reattest().await {
                    Ok(attestation) => Ok(json!({ "attestation": *attestation })),
                    Err(error) => Err(error),
                },
                "request" => request(command, given(session)?).await?,
                "recorded" => recorded(command, directory)?,
                "collect" => collect(command).await?,
                "policy" => policy(command)?.map(|policy| json!({ "digest": policy.digest().to_string() })),
                "close" => {
                    *session = None;
                    Ok(json!({}))
                }
                other => return Err(format!("the command {other:?} is not known").into()),
            };
            Ok(outcome.unwrap_or_else(|error| json!({ "error": described(&error) })))
        })
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn memory(&self) -> Option<u64> {
        resident("self")
    }
}

type Outcome = Result<Result<Value, AttestationError>, Failure>;

fn text<'c>(command: &'c Value, name: &str) -> &'c str {
    command[name].as_str().unwrap_or_default()
}

fn policy(command: &Value) -> Result<Result<Policy, AttestationError>, Failure> {
    Ok(fs::read_to_string(text(command, "policy"))?.parse().map_err(AttestationError::from))
}

fn given(session: &Option<Session>) -> Result<&Session, Failure> {
    Ok(session.as_ref().ok_or("there is no session")?)
}

fn verifier(command: &Value) -> Result<Result<Verifier, AttestationError>, Failure> {
    let mut builder = Verifier::builder()
        .only_application_roots(fs::read(text(command, "application_roots"))?)
        .collateral_roots(fs::read(text(command, "collateral_roots"))?);
    if let Some(kds) = command["kds"].as_str() {
        builder = builder.kds(kds).amd_anchors(AmdAnchors::from_pem(&fs::read(text(command, "amd_roots"))?)?);
    }
    if let Some(anchors) = ak_anchors(command)? {
        builder = builder.ak_anchors(anchors);
    }
    if let Some(limit) = command["deadline_ms"].as_u64() {
        builder = builder.deadline(Duration::from_millis(limit));
    }
    if let Some(limit) = command["request_timeout_ms"].as_u64() {
        builder = builder.request_timeout(Duration::from_millis(limit));
    }
    Ok(builder.build())
}

fn ak_anchors(command: &Value) -> Result<Option<AkAnchors>, Failure> {
    let Some(path) = command["ak_root"].as_str() else { return Ok(None) };
    Ok(Some(AkAnchors::custom(&read_certificate(&fs::read(path)?)?)?))
}

async fn connect(command: &Value, place: &mut Option<Session>) -> Outcome {
    let (policy, verifier) = match (policy(command)?, verifier(command)?) {
        (Err(error), _) => return Ok(Err(error)),
        (_, Err(error)) => return Ok(Err(error)),
        (Ok(policy), Ok(verifier)) => (policy, verifier),
    };
    Ok(match verifier.connect(text(command, "url"), &policy).await {
        Ok(session) => {
            let attestation = session.attestation();
            *place = Some(session);
            Ok(json!({ "attestation": *attestation }))
        }
        Err(error) => Err(error),
    })
}

async fn request(command: &Value, session: &Session) -> Outcome {
    let method = Method::from_bytes(text(command, "method").as_bytes())?;
    let mut request = session.request(method, text(command, "target"));
    if let Some(name) = command["header"].as_str() {
        request = request.header(name, fs::read(text(command, "value"))?);
    }
    if let Some(path) = command["body"].as_str() {
        request = if command["streamed"] == true {
            request.body_reader(tokio::fs::File::open(path).await?)
        } else {
            request.body(fs::read(path)?)
        };
    }
    if command["idempotent"] == true {
        request = request.idempotent();
    }
    let Some(limit) = command["cancel_ms"].as_u64() else { return received(command, request.send()).await };
    let outcome = tokio::time::timeout(Duration::from_millis(limit), received(command, request.send())).await;
    outcome.unwrap_or_else(|_| Ok(Ok(json!({ "cancelled": true }))))
}

async fn received(command: &Value, response: impl Future<Output = Result<Response, AttestationError>>) -> Outcome {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return Ok(Err(error)),
    };
    let mut outcome = head(command, &response);
    match response.bytes().await {
        Ok(body) => {
            outcome["content"] = json!(content::to_hex(&body));
        }
        // A body that breaks off.
        Err(error) => outcome["error"] = described(&error),
    }
    Ok(Ok(outcome))
}

fn head(command: &Value, response: &Response) -> Value {
    let mut outcome = json!({ "status": response.status().as_u16() });
    for name in text(command, "show").split_whitespace() {
        outcome[name] = json!(response.headers().get(name).map(|value| content::to_hex(value.as_bytes())));
    }
    outcome
}

/// Collects evidence into a directory.
async fn collect(command: &Value) -> Outcome {
    let policy = policy(command)??;
    let bundle = match verifier(command)??.collect(text(command, "url"), &policy).await {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Err(error)),
    };
    for (name, content) in bundle.files().iter() {
        fs::write(Path::new(text(command, "directory")).join(name), content)?;
    }
    Ok(Ok(json!({ "asked_at": bundle.asked_at.as_secs() })))
}

fn recorded(command: &Value, directory: &Path) -> Outcome {
    let policy = match policy(command)? {
        Ok(policy) => policy,
        Err(error) => return Ok(Err(error)),
    };
    let mut files = EvidenceFiles::default();
    for name in text(command, "documents").split_whitespace() {
        if let Err(error) = files.insert(name, fs::read(directory.join(name))?) {
            return Ok(Err(error.into()));
        }
    }
    let key_set = command["key_set"].as_str().map(fs::read).transpose()?;
    let at = UnixTime::from_secs(command["at"].as_u64().ok_or("expected a time")?);
    Ok(verdict(command, &files, key_set.as_deref(), &policy, at))
}

fn verdict(
    command: &Value,
    files: &EvidenceFiles,
    key_set: Option<&[u8]>,
    policy: &Policy,
    at: UnixTime,
) -> Result<Value, AttestationError> {
    let wrong = |error: &dyn std::fmt::Display| AttestationError::Misconfigured { reason: error.to_string() };
    let mut endorsements = files.endorsements()?;
    if let Some(document) = key_set {
        endorsements.key_set = Some(KeySet::from_json(document)?);
        endorsements.key_set_source = KeySetSource::Given;
    }
    if let Some(path) = command["amd_roots"].as_str() {
        let pem = fs::read(path).map_err(|error| wrong(&error))?;
        endorsements.amd_anchors = AmdAnchors::from_pem(&pem).map_err(|error| wrong(&error))?;
    }
    if let Some(anchors) = ak_anchors(command).map_err(|error| wrong(&error))? {
        endorsements.ak_anchors = anchors;
    }
    let verdict = verify_recorded(&files.evidence()?, &endorsements, policy, at)?;
    Ok(json!({ "attestation": verdict }))
}

/// An error: all that a caller sees of it.
fn described(error: &AttestationError) -> Value {
    let category = match error.category() {
        Category::Rejected => "rejected",
        Category::Untrusted => "untrusted",
        Category::Unavailable => "unavailable",
        Category::Misconfigured => "misconfigured",
        _ => "internal",
    };
    let name = AttestationError::codes().find(|code| code.code == error.code()).map(|code| code.name);
    json!({
        "code": error.code(),
        "number": error.number(),
        "category": category,
        "name": name,
        "retryable": error.is_retryable(),
        "request_sent": error.request_sent(),
        "message": error.to_string(),
        "checks": error.appraisal(),
    })
}
