//! The reference: the crate itself.

use std::fs;
use std::time::Duration;

use blindbox_attestation::snp::AmdAnchors;
use blindbox_attestation::{
    AttestationError, Category, KeySetSource, Method, Policy, Response, Session, UnixTime, Verifier, verify_recorded,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::runner::Runner;
use crate::scenario::Failure;

/// Carries out commands with the crate.
pub(crate) struct Reference {
    runtime: Runtime,
    session: Option<Session>,
}

impl Reference {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { runtime: Runtime::new()?, session: None })
    }
}

impl Runner for Reference {
    fn run(&mut self, command: &Value) -> Result<Value, Failure> {
        let Self { runtime, session } = self;
        runtime.block_on(async {
            let outcome = match text(command, "do") {
                "connect" => connect(command, session).await?,
                "reattest" => match given(session)?.reattest().await {
                    Ok(attestation) => {
                        Ok(json!({ "channel": attestation.channel(), "checks": attestation.appraisal() }))
                    }
                    Err(error) => Err(error),
                },
                "request" => request(command, given(session)?).await?,
                "recorded" => recorded(command).await?,
                "policy" => text(command, "policy")
                    .parse::<Policy>()
                    .map_err(AttestationError::from)
                    .map(|policy| json!({ "digest": policy.digest().to_string() })),
                "close" => {
                    *session = None;
                    Ok(json!({}))
                }
                other => return Err(format!("the command {other:?} is not known").into()),
            };
            Ok(outcome.unwrap_or_else(|error| json!({ "error": described(&error) })))
        })
    }
}

type Outcome = Result<Result<Value, AttestationError>, Failure>;

fn text<'c>(command: &'c Value, name: &str) -> &'c str {
    command[name].as_str().unwrap_or_default()
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
    if let Some(limit) = command["deadline_ms"].as_u64() {
        builder = builder.deadline(Duration::from_millis(limit));
    }
    if let Some(limit) = command["request_timeout_ms"].as_u64() {
        builder = builder.request_timeout(Duration::from_millis(limit));
    }
    Ok(builder.build())
}

async fn connect(command: &Value, place: &mut Option<Session>) -> Outcome {
    let (policy, verifier) = match (text(command, "policy").parse::<Policy>(), verifier(command)?) {
        (Err(error), _) => return Ok(Err(error.into())),
        (_, Err(error)) => return Ok(Err(error)),
        (Ok(policy), Ok(verifier)) => (policy, verifier),
    };
    Ok(match verifier.connect(text(command, "url"), &policy).await {
        Ok(session) => {
            let attestation = session.attestation();
            *place = Some(session);
            Ok(json!({ "channel": attestation.channel(), "checks": attestation.appraisal() }))
        }
        Err(error) => Err(error),
    })
}

async fn request(command: &Value, session: &Session) -> Outcome {
    let method = Method::from_bytes(text(command, "method").as_bytes())?;
    let mut request = session.request(method, text(command, "target"));
    for header in command["headers"].as_array().into_iter().flatten() {
        // Latin-1: each character is one byte.
        let value: Result<Vec<u8>, _> = text(header, "value").chars().map(u8::try_from).collect();
        request = request.header(text(header, "name"), value?);
    }
    if let Some(length) = command["bytes"].as_u64() {
        // A piece that is lost, repeated or in another place gives other bytes.
        let body: Vec<u8> = (b'a'..b'x').cycle().take(usize::try_from(length)?).collect();
        request = if command["streamed"] == true {
            request.body_reader(std::io::Cursor::new(body))
        } else {
            request.body(body)
        };
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(Err(error)),
    };
    let mut outcome = head(command, &response);
    match response.bytes().await {
        Ok(body) => {
            outcome["length"] = json!(body.len());
            outcome["sha256"] = json!(digest(&body));
            outcome["begins"] = json!(String::from_utf8_lossy(body.get(..30).unwrap_or(&body)));
        }
        // A body that breaks off.
        Err(error) => outcome["error"] = described(&error),
    }
    Ok(Ok(outcome))
}

fn head(command: &Value, response: &Response) -> Value {
    let mut outcome = json!({ "status": response.status().as_u16() });
    for name in command["show"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let value = response.headers().get(name).map(|value| value.as_bytes().iter().map(|b| char::from(*b)));
        outcome[name] = json!(value.map(Iterator::collect::<String>));
    }
    outcome
}

async fn recorded(command: &Value) -> Outcome {
    let policy: Policy = text(command, "policy").parse()?;
    let bundle = match verifier(command)??.collect(text(command, "url"), &policy).await {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Err(error)),
    };
    let mut endorsements = bundle.endorsements()?;
    let beside = command["beside"] == true;
    endorsements.key_set_source = if beside { KeySetSource::BesideEvidence } else { KeySetSource::Given };
    let later = command["later"].as_u64().unwrap_or(0);
    let at = UnixTime::from_secs(bundle.asked_at.as_secs().saturating_add(later));
    let verdict = verify_recorded(&bundle.evidence, &endorsements, &policy, at);
    Ok(verdict.map(|verdict| json!({ "checks": verdict.appraisal() })))
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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
