//! [`Scenario`]: what is changed about the peer, what a client does, and what must come of it.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::emulator::{Emulator, application};
use crate::runner::Runner;

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
    /// Texts in the emulator's policy that are replaced.
    #[serde(default)]
    policy: Vec<(String, String)>,
    /// Members that are set in every command.
    #[serde(default)]
    with: serde_json::Map<String, Value>,
    /// Whether the messages of errors are compared too. Not where they say which of several things happened first.
    #[serde(default = "yes")]
    pub(crate) messages: bool,
    /// Commands for the runner; one with `order` is for the emulator.
    steps: Vec<Value>,
    /// For each command of the runner: the code of the error, the status, or `ok`.
    expect: Vec<Value>,
}

/// What is there besides an emulator: an application with responses that the emulator's own has not, and a canary, which notices
/// connections.
pub(crate) struct Stage {
    pub(crate) application: String,
    pub(crate) canary: String,
    touched: Arc<AtomicUsize>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Failure> {
        let canary = TcpListener::bind("127.0.0.1:0")?;
        let address = canary.local_addr()?;
        let touched = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&touched);
        std::thread::spawn(move || {
            for _ in canary.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { application: application()?, canary: format!("https://{address}"), touched })
    }

    /// Puts the addresses of this run in their places.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("{canary}", &self.canary).replace("{application}", &self.application)
    }
}

impl Scenario {
    /// Runs it, and returns what each command gave, then what the peer and the canary got.
    pub(crate) fn run(
        &self,
        emulator: &mut Emulator,
        stage: &mut Stage,
        runner: &mut dyn Runner,
    ) -> Result<Vec<Value>, Failure> {
        emulator.order("reset")?;
        for order in &self.orders {
            emulator.order(&stage.filled(order))?;
        }
        let (before, touched) = (emulator.order("traffic")?, stage.touched.load(Ordering::SeqCst));
        let mut policy = emulator.policy.clone();
        for (from, to) in &self.policy {
            if !policy.contains(from.as_str()) {
                return Err(format!("{}: the policy has no {from:?}", self.name).into());
            }
            policy = policy.replace(from.as_str(), to);
        }
        let mut outcomes = Vec::new();
        for step in &self.steps {
            if let Some(order) = step.get("order").and_then(Value::as_str) {
                emulator.order(&stage.filled(order))?;
                continue;
            }
            let mut command = emulator.about.clone();
            command["policy"] = json!(policy);
            for (name, value) in self.with.iter().chain(step.as_object().into_iter().flatten()) {
                command[name.as_str()] = match value {
                    Value::String(text) => json!(stage.filled(text)),
                    other => other.clone(),
                };
            }
            outcomes.push(runner.run(&command)?);
        }
        runner.run(&json!({ "do": "close" }))?;
        let after = emulator.order("traffic")?;
        let touched = stage.touched.load(Ordering::SeqCst).saturating_sub(touched);
        let requests = number(&after, "application_requests").saturating_sub(number(&before, "application_requests"));
        let mut received = json!({ "requests": requests, "connections_of_canary": touched });
        // The bytes of a request are the client's own; none must have come where all was refused.
        if outcomes.iter().all(|outcome| outcome.get("error").is_some()) {
            received["bytes"] =
                json!(number(&after, "application_bytes").saturating_sub(number(&before, "application_bytes")));
        }
        outcomes.push(received);
        Ok(outcomes)
    }

    /// Compares the outcomes with what the file expects.
    pub(crate) fn check(&self, outcomes: &[Value]) -> Result<(), String> {
        let Some((received, commands)) = outcomes.split_last() else { return Err("no outcome".to_owned()) };
        let found: Vec<Value> = commands.iter().map(brief).collect();
        if found != self.expect {
            return Err(format!("expected {:?}, found {found:?}", self.expect));
        }
        let unwanted = number(received, "bytes").saturating_add(number(received, "connections_of_canary"));
        if unwanted > 0 { Err("bytes reached a peer that was refused".to_owned()) } else { Ok(()) }
    }
}

fn yes() -> bool {
    true
}

/// The code of an error, the status of a response, or `ok`.
fn brief(outcome: &Value) -> Value {
    match (outcome.pointer("/error/code"), outcome.get("status")) {
        (Some(code), _) => code.clone(),
        (None, Some(status)) => status.clone(),
        (None, None) => json!("ok"),
    }
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario() -> Result<Scenario, Failure> {
        let text = r#"{"name": "a", "steps": [], "expect": ["ok", 200, "debug-mode"]}"#;
        Ok(serde_json::from_str(text)?)
    }

    #[test]
    fn what_was_not_expected_fails() -> Result<(), Failure> {
        let scenario = scenario()?;
        let commands = [json!({}), json!({ "status": 200 }), json!({ "error": { "code": "debug-mode" } })];
        let with = |received: Value| commands.iter().cloned().chain([received]).collect::<Vec<_>>();
        assert_eq!(scenario.check(&with(json!({ "bytes": 0, "connections_of_canary": 0 }))), Ok(()));
        for received in [json!({ "bytes": 1 }), json!({ "connections_of_canary": 1 })] {
            assert_eq!(scenario.check(&with(received)), Err("bytes reached a peer that was refused".to_owned()));
        }
        let other = [json!({}), json!({ "status": 200 }), json!({ "status": 200 }), json!({})];
        assert!(scenario.check(&other).is_err_and(|difference| difference.contains("Number(200)]")));
        Ok(())
    }
}
