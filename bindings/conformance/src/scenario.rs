//! [`Scenario`]: what is changed about the peer, what a client does, and what must come of it. A member that is not known is refused:
//! a misspelt one would weaken the scenario without a sign.

use std::error::Error;
use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::content;
use crate::emulator::Emulator;
use crate::runner::Runner;
use crate::stage::Stage;
use crate::step::{Step, With, extend};

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
    /// The time in which what is counted has to happen. Steps that take longer show something else, and are run again.
    pub(crate) within_seconds: Option<u64>,
    /// Languages whose interface shows something else by intention.
    #[serde(default)]
    pub(crate) not_in: Vec<String>,
    steps: Vec<Step>,
    /// For each step but orders: the code of the error, the status, `ok`, or `cancelled`. Behind a code may be ` (sent)` or
    /// ` (not sent)`: whether the application may have received the request.
    pub(crate) expect: Vec<Value>,
}

impl Scenario {
    /// Whether a language without a network can run it: only recorded evidence and policies.
    pub(crate) fn is_offline(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Recorded(_) | Step::Policy {} | Step::Order { .. }))
    }

    /// Runs it, and returns what each command gave, then what the peer received. The collector collects the evidence that is recorded:
    /// each language is to verify the same, those without a network too. Time limits of requests are `longer` times those of the file.
    pub(crate) fn run(
        &self,
        emulator: &mut Emulator,
        stage: &Stage,
        runner: &mut dyn Runner,
        collector: &mut dyn Runner,
        longer: u64,
    ) -> Result<Vec<Value>, Failure> {
        emulator.order("reset")?;
        // A request that an earlier scenario gave up must not arrive in this one.
        emulator.order("drop-connections")?;
        if emulator.has_front_end() {
            emulator.order("forget-seen")?;
        }
        for order in &self.orders {
            emulator.order(&emulator.filled(order, stage)?)?;
        }
        let before = emulator.order("traffic")?;
        let policy = stage.file("policy", self.policy(emulator, stage)?.as_bytes())?;
        let mut session = None;
        let mut outcomes = Vec::new();
        for step in &self.steps {
            if let Step::Order { order } = step {
                emulator.order(&emulator.filled(order, stage)?)?;
                continue;
            }
            if matches!(step, Step::Connect { .. }) {
                close(session.take(), runner)?;
            }
            let directory = runner.directory().to_owned();
            fs::read_dir(&directory)?.try_for_each(|entry| fs::remove_file(entry?.path()))?;
            let mut command = emulator.about.clone();
            command["policy"] = json!(policy);
            extend(&mut command, &self.with.longer(longer), emulator, stage)?;
            extend(&mut command, step, emulator, stage)?;
            command["settings"] = json!(content::settings(&command, stage)?);
            match step {
                Step::Connect { .. } if self.cancels() => command["cancels"] = json!(true),
                Step::Request(step) => step.lay_out(&mut command, session.as_deref().unwrap_or_default(), stage)?,
                Step::Recorded(step) => step.lay_out(&mut command, &directory, stage, collector)?,
                _ => {}
            }
            let mut outcome = content::digested(step.carry_out(&command, runner)?)?;
            if let Some(names) = command["show"].as_str() {
                content::with_texts(&mut outcome, names)?;
            }
            if matches!(step, Step::Connect { .. }) && outcome.get("error").is_none() {
                session = command["url"].as_str().map(str::to_owned);
            }
            outcomes.push(outcome);
        }
        close(session, runner)?;
        let refused = outcomes.iter().all(|outcome| outcome.get("error").is_some());
        outcomes.push(self.traffic(emulator, &before, refused)?);
        Ok(outcomes)
    }

    /// Whether it is about a time limit of a request, which on a busy machine may end another step than the one that it is about.
    pub(crate) fn has_time_limit(&self) -> bool {
        self.with.request_timeout_ms.is_some()
    }

    /// Whether a request is cancelled.
    fn cancels(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Request(step) if step.cancel_ms.is_some()))
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
            Some(name) => fs::read_to_string(stage.policies.join(name).with_extension("toml"))?,
            None => emulator.policy.clone(),
        };
        for (from, to) in &self.policy {
            if !policy.contains(from.as_str()) {
                return Err(format!("{}: the policy has no {from:?}:\n{policy}", self.name).into());
            }
            policy = policy.replace(from.as_str(), &emulator.filled(to, stage)?);
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
        let sent =
            commands.iter().filter(|outcome| outcome.pointer("/error/request_sent") == Some(&json!(true))).count();
        let arrived = number(received, "requests").saturating_add(number(received, "sealed"));
        if self.has_time_limit() && arrived < u64::try_from(sent).unwrap_or(u64::MAX) {
            return Err("a request ended before it arrived".to_owned());
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

/// Closes the session of a runner, if it has one.
fn close(session: Option<String>, runner: &mut dyn Runner) -> Result<(), Failure> {
    session.map_or(Ok(()), |_| runner.run(&json!({ "do": "close" })).map(drop))
}

fn yes() -> bool {
    true
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
