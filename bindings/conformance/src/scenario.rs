//! [`Scenario`]: what is changed about the peer, what a client does, and what must come of it. A member that is not known is refused:
//! a misspelt one would weaken the scenario without a sign.

use std::collections::BTreeMap;
use std::error::Error;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::content;
use crate::emulator::Emulator;
use crate::runner::Runner;
use crate::stage::Stage;

/// What a front end must not see in clear: the body of every request that has one, the response to `/`, and a path.
const PLAINTEXT: [&str; 3] = ["abcdefghijklmnopqrstuvw", "hello from a BlindBox", "/echo"];

/// The end of a code in `expect` that says whether the request was sent.
const SENT: &str = "sent)";

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A scenario, as in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Arguments of `blindbox-attest emulate`.
    #[serde(default)]
    pub(crate) emulator: Vec<String>,
    /// Orders that it gets first.
    #[serde(default)]
    orders: Vec<String>,
    /// The policy: a file in `policies/`, without its extension, in place of the emulator's.
    pub(crate) policy_file: Option<String>,
    /// Texts in the policy that are replaced.
    #[serde(default)]
    policy: Vec<(String, String)>,
    /// Members that are set in every command.
    #[serde(default)]
    with: With,
    /// Whether the messages of errors are compared too. Not where they say which of several things happened first.
    #[serde(default = "yes")]
    pub(crate) messages: bool,
    /// Whether it is compared how many requests the application received. Not where one is cancelled on its way.
    #[serde(default = "yes")]
    requests: bool,
    steps: Vec<Step>,
    /// For each step but orders: the code of the error, the status, `ok`, or `cancelled`. Behind a code may be ` (sent)` or
    /// ` (not sent)`: whether the application may have received the request.
    pub(crate) expect: Vec<Value>,
}

/// Settings of the verifier.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct With {
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_timeout_ms: Option<u64>,
}

/// A step: an order to the emulator, or a command for the runner, whose members `README.md` describes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Order {
        order: String,
    },
    Connect {
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    Reattest {},
    Request(Box<RequestStep>),
    Recorded(Box<RecordedStep>),
    Policy {},
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RequestStep {
    method: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing)]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    streamed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    show: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_ms: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RecordedStep {
    /// Files of recorded evidence below the vectors, by the names of `fetch`; without them the evidence is that of the emulator.
    #[serde(default, skip_serializing)]
    files: BTreeMap<String, String>,
    /// The file in which one bit of a byte is changed, and the byte.
    #[serde(skip_serializing)]
    flip: Option<(String, usize)>,
    /// A key set from elsewhere, below the vectors.
    #[serde(skip_serializing)]
    key_set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    beside: bool,
}

impl Scenario {
    /// Whether a language without a network can run it: only recorded evidence and policies.
    pub(crate) fn is_offline(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Recorded(_) | Step::Policy {} | Step::Order { .. }))
    }

    /// Runs it, and returns what each command gave, then what the peer received. With a `collector`, that collects evidence in place of
    /// a runner without a network.
    pub(crate) fn run(
        &self,
        emulator: &mut Emulator,
        stage: &Stage,
        runner: &mut dyn Runner,
        mut collector: Option<&mut dyn Runner>,
    ) -> Result<Vec<Value>, Failure> {
        emulator.order("reset")?;
        if emulator.has_front_end() {
            emulator.order("forget-seen")?;
        }
        for order in &self.orders {
            emulator.order(&stage.filled(order))?;
        }
        let before = emulator.order("traffic")?;
        let policy = self.policy(emulator, stage)?;
        let mut outcomes = Vec::new();
        for step in &self.steps {
            if let Step::Order { order } = step {
                emulator.order(&stage.filled(order))?;
                continue;
            }
            let mut command = emulator.about.clone();
            command["policy"] = json!(policy);
            extend(&mut command, &self.with, emulator, stage)?;
            extend(&mut command, step, emulator, stage)?;
            command["settings"] = json!(content::settings(&command)?);
            if let Step::Request(step) = step {
                step.lay_out(&mut command, stage)?;
            }
            if let Step::Recorded(step) = step {
                step.lay_out(&mut command, stage)?;
                if let Some(collector) = collector.as_deref_mut().filter(|_| step.files.is_empty()) {
                    step.collect(&mut command, stage, collector)?;
                }
            }
            let mut outcome = content::digested(runner.run(&command)?)?;
            if let Some(names) = command["show"].as_str() {
                content::with_texts(&mut outcome, names)?;
            }
            outcomes.push(outcome);
        }
        runner.run(&json!({ "do": "close" }))?;
        let refused = outcomes.iter().all(|outcome| outcome.get("error").is_some());
        outcomes.push(self.traffic(emulator, &before, refused)?);
        Ok(outcomes)
    }

    /// What the peer, and parties between, received since `before`.
    fn traffic(&self, emulator: &mut Emulator, before: &Value, refused: bool) -> Result<Value, Failure> {
        let after = emulator.order("traffic")?;
        let received = |name: &str| number(&after, name).saturating_sub(number(before, name));
        let mut traffic = json!({});
        if self.requests {
            traffic["requests"] = json!(received("application_requests"));
            traffic["sealed"] = json!(received("sealed_messages"));
        }
        // The bytes of a request are the client's own; none must have come where all was refused.
        if refused {
            let parties = ["application_bytes", "relay_application_bytes", "front_end_application_bytes"];
            traffic["bytes"] = json!(parties.map(received).into_iter().fold(0, u64::saturating_add));
        }
        if emulator.has_front_end() {
            let mut read = received("front_end_application_bytes");
            for text in PLAINTEXT {
                read = read.saturating_add(number(&emulator.order(&format!("seen {text}"))?, "seen"));
            }
            traffic["read"] = json!(read);
        }
        Ok(traffic)
    }

    fn policy(&self, emulator: &Emulator, stage: &Stage) -> Result<String, Failure> {
        let mut policy = match &self.policy_file {
            Some(name) => std::fs::read_to_string(stage.policies.join(name).with_extension("toml"))?,
            None => emulator.policy.clone(),
        };
        for (from, to) in &self.policy {
            if !policy.contains(from.as_str()) {
                return Err(format!("{}: the policy has no {from:?}:\n{policy}", self.name).into());
            }
            policy = policy.replace(from.as_str(), to);
        }
        Ok(policy)
    }

    /// Compares the outcomes with what the file expects.
    pub(crate) fn check(&self, outcomes: &[Value]) -> Result<(), String> {
        let Some((received, commands)) = outcomes.split_last() else { return Err("no outcome".to_owned()) };
        let expected = |at: usize| self.expect.get(at).and_then(Value::as_str).unwrap_or_default();
        let found: Vec<Value> =
            commands.iter().enumerate().map(|(at, outcome)| brief(outcome, expected(at).contains(SENT))).collect();
        if found != self.expect {
            return Err(format!("expected {:?}, found {found:?}", self.expect));
        }
        if number(received, "bytes") > 0 {
            return Err("bytes reached a peer that was refused".to_owned());
        }
        if number(received, "read") > 0 { Err("the front end read what was sealed".to_owned()) } else { Ok(()) }
    }

    /// The codes that it shows.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        let texts = self.expect.iter().filter_map(Value::as_str);
        texts.map(|text| text.split_once(" (").map_or(text, |(code, _)| code))
    }
}

impl RequestStep {
    /// Writes the body, and puts the bytes of the header in its place.
    fn lay_out(&self, command: &mut Value, stage: &Stage) -> Result<(), Failure> {
        if let Some(length) = self.bytes {
            command["body"] = json!(content::body(length, stage)?);
        }
        self.header.as_ref().map_or(Ok(()), |header| content::with_header(command, header))
    }
}

impl RecordedStep {
    /// Puts the files into a directory of the stage, and names it to the runner.
    fn lay_out(&self, command: &mut Value, stage: &Stage) -> Result<(), Failure> {
        if self.files.is_empty() {
            return Ok(());
        }
        let vectors = stage.vectors.as_ref().ok_or("there are no vectors")?;
        let directory = stage.empty_directory("recorded")?;
        for (name, path) in &self.files {
            let path = vectors.join(path);
            let mut content = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if let Some((_, at)) = self.flip.as_ref().filter(|(file, _)| file == name) {
                *content.get_mut(*at).ok_or("the byte to change is beyond the end")? ^= 1;
            }
            std::fs::write(directory.join(name), content)?;
        }
        command["directory"] = json!(directory);
        if let Some(path) = &self.key_set {
            command["key_set"] = json!(vectors.join(path));
        }
        // Recorded evidence is verified under the real roots.
        for name in ["amd_roots", "ak_root"] {
            command.as_object_mut().map(|members| members.remove(name));
        }
        Ok(())
    }
}

impl RecordedStep {
    /// Has evidence collected into a directory of the stage, and names it to the runner.
    fn collect(&self, command: &mut Value, stage: &Stage, collector: &mut dyn Runner) -> Result<(), Failure> {
        let directory = stage.empty_directory("collected")?;
        let mut collect = command.clone();
        (collect["do"], collect["directory"]) = (json!("collect"), json!(directory));
        let collected = collector.run(&collect)?;
        let at = collected["asked_at"].as_u64().ok_or_else(|| format!("expected evidence, found {collected}"))?;
        (command["directory"], command["at"]) = (json!(directory), json!(at));
        let key_set = directory.join("key-set.json");
        if !self.beside && key_set.exists() {
            command["key_set"] = json!(key_set);
        }
        Ok(())
    }
}

/// Sets members of a command, with the addresses of this run in their places.
fn extend(command: &mut Value, members: &impl Serialize, emulator: &Emulator, stage: &Stage) -> Result<(), Failure> {
    let members: Map<String, Value> = serde_json::from_value(serde_json::to_value(members)?)?;
    for (name, value) in members {
        command[name] = match value {
            Value::String(text) => json!(emulator.filled(&text, stage)?),
            other => other,
        };
    }
    Ok(())
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The code of an error, `with_sent` whether the request was sent; `cancelled`, the status of a response, or `ok`.
fn brief(outcome: &Value, with_sent: bool) -> Value {
    match (outcome.pointer("/error/code"), outcome.get("cancelled"), outcome.get("status")) {
        (Some(code), ..) if with_sent => {
            let sent = if outcome["error"]["request_sent"] == true { "sent" } else { "not sent" };
            json!(format!("{} ({sent})", code.as_str().unwrap_or_default()))
        }
        (Some(code), ..) => code.clone(),
        (None, Some(_), _) => json!("cancelled"),
        (None, None, Some(status)) => status.clone(),
        (None, None, None) => json!("ok"),
    }
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(steps: &str) -> Result<Scenario, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"name": "a", "steps": [{steps}], "expect": ["ok", 200, "debug-mode"]}}"#))
    }

    #[test]
    fn what_was_not_expected_fails() -> Result<(), Failure> {
        let scenario = scenario("")?;
        let commands = [json!({}), json!({ "status": 200 }), json!({ "error": { "code": "debug-mode" } })];
        let with = |received: Value| commands.iter().cloned().chain([received]).collect::<Vec<_>>();
        assert_eq!(scenario.check(&with(json!({ "bytes": 0 }))), Ok(()));
        let refused = Err("bytes reached a peer that was refused".to_owned());
        assert_eq!(scenario.check(&with(json!({ "bytes": 1 }))), refused);
        let read = Err("the front end read what was sealed".to_owned());
        assert_eq!(scenario.check(&with(json!({ "read": 1 }))), read);
        let other = [json!({}), json!({ "status": 200 }), json!({ "status": 200 }), json!({})];
        assert!(scenario.check(&other).is_err_and(|difference| difference.contains("Number(200)]")));
        Ok(())
    }

    #[test]
    fn it_is_compared_whether_a_request_was_sent_where_that_is_expected() {
        let error = |sent: bool| json!({ "error": { "code": "timeout", "request_sent": sent } });
        assert_eq!(brief(&error(true), true), "timeout (sent)");
        assert_eq!(brief(&error(false), true), "timeout (not sent)");
        assert_eq!(brief(&error(true), false), "timeout");
    }

    #[test]
    fn a_member_of_a_step_that_is_not_known_is_refused() -> Result<(), Failure> {
        for step in [
            r#"{"do": "request", "method": "GET", "target": "/", "byte": 1}"#,
            r#"{"do": "request", "method": "GET", "targets": "/"}"#,
            r#"{"do": "connect", "urls": "x"}"#,
            r#"{"do": "recorded", "besides": true}"#,
            r#"{"do": "policy", "policy": "x"}"#,
            r#"{"do": "reattest", "x": 1}"#,
            r#"{"do": "order", "orders": "reset"}"#,
            r#"{"do": "conect"}"#,
            r#"{"order": "reset"}"#,
        ] {
            let error = scenario(step).err().ok_or(step)?.to_string();
            assert!(
                ["unknown field", "missing field", "unknown variant"].iter().any(|text| error.contains(text)),
                "{error}"
            );
        }
        scenario(r#"{"do": "request", "method": "GET", "target": "/", "bytes": 1, "streamed": true, "cancel_ms": 5}"#)?;
        Ok(())
    }
}
