//! [`Step`]: an order to the emulator, or a command for the runner, whose members `README.md` describes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::content;
use crate::emulator::Emulator;
use crate::runner::Runner;
use crate::scenario::Failure;
use crate::stage::Stage;

/// A step, as in the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Step {
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

/// Settings of the verifier.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct With {
    #[serde(skip_serializing_if = "Option::is_none")]
    application_roots: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_timeout_ms: Option<u64>,
}

impl With {
    /// The same with so many times the time for a request.
    pub(crate) fn longer(&self, times: u64) -> Self {
        let request_timeout_ms = self.request_timeout_ms.map(|limit| limit.saturating_mul(times));
        Self { request_timeout_ms, ..self.clone() }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestStep {
    method: String,
    target: String,
    #[serde(skip_serializing)]
    header: Option<String>,
    #[serde(skip_serializing)]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    streamed: bool,
    /// The body is streamed from what cannot be read.
    #[serde(default, skip_serializing)]
    unreadable: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    idempotent: bool,
    #[serde(default)]
    show: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancel_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedStep {
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
    #[serde(default, skip_serializing)]
    later: u64,
    #[serde(default, skip_serializing)]
    beside: bool,
}

impl Step {
    /// Has a runner carry out its command, and notes how long after its cancellation it returned.
    pub(crate) fn carry_out(&self, command: &Value, runner: &mut dyn Runner) -> Result<Value, Failure> {
        let start = Instant::now();
        let mut outcome = runner.run(command)?;
        if let Self::Request(step) = self
            && outcome.get("cancelled").is_some()
        {
            let limit = Duration::from_millis(step.cancel_ms.unwrap_or(0));
            outcome["milliseconds"] = json!(u64::try_from(start.elapsed().saturating_sub(limit).as_millis())?);
        }
        Ok(outcome)
    }
}

impl RequestStep {
    /// Names the files of body and header, and the URL of the target.
    pub(crate) fn lay_out(&self, command: &mut Value, session: &str, stage: &Stage) -> Result<(), Failure> {
        let target = command["target"].as_str().unwrap_or_default();
        let url = if target.starts_with('/') { format!("{session}{target}") } else { target.to_owned() };
        command["url"] = json!(url);
        if let Some(length) = self.bytes {
            command["body"] = json!(content::body(length, stage)?);
        }
        if self.unreadable {
            (command["body"], command["streamed"]) = (json!(content::UNREADABLE), json!(true));
        }
        self.header.as_ref().map_or(Ok(()), |header| content::with_header(command, header, stage))
    }
}

impl RecordedStep {
    /// Puts the documents into the directory of a runner, and names them.
    pub(crate) fn lay_out(
        &self,
        command: &mut Value,
        directory: &Path,
        stage: &Stage,
        collector: &mut dyn Runner,
    ) -> Result<(), Failure> {
        if self.files.is_empty() {
            self.collect(command, directory, collector)?;
        } else {
            self.copy(command, directory, stage)?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().into_string().map_err(|name| format!("expected text, found {name:?}"))?);
        }
        names.sort_unstable();
        command["documents"] = json!(names.join(" "));
        Ok(())
    }

    fn copy(&self, command: &mut Value, directory: &Path, stage: &Stage) -> Result<(), Failure> {
        let vectors = stage.vectors.as_ref().ok_or("there are no vectors")?;
        for (name, path) in &self.files {
            let path = vectors.join(path);
            let mut content = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if let Some((_, at)) = self.flip.as_ref().filter(|(file, _)| file == name) {
                *content.get_mut(*at).ok_or("the byte to change is beyond the end")? ^= 1;
            }
            fs::write(directory.join(name), content)?;
        }
        if let Some(path) = &self.key_set {
            command["key_set"] = json!(vectors.join(path));
        }
        // Recorded evidence is verified under the real roots.
        for name in ["amd_roots", "ak_root"] {
            command.as_object_mut().map(|members| members.remove(name));
        }
        Ok(())
    }

    /// Has the evidence of the emulator collected.
    fn collect(&self, command: &mut Value, directory: &Path, collector: &mut dyn Runner) -> Result<(), Failure> {
        let mut collect = command.clone();
        (collect["do"], collect["directory"]) = (json!("collect"), json!(directory));
        let collected = collector.run(&collect)?;
        let at = collected["asked_at"].as_u64().ok_or_else(|| format!("expected evidence, found {collected}"))?;
        command["at"] = json!(at.saturating_add(self.later));
        let key_set = directory.join("key-set.json");
        if !self.beside && key_set.exists() {
            command["key_set"] = json!(key_set);
        }
        Ok(())
    }
}

/// Sets members of a command, with the addresses of this run in their places.
pub(crate) fn extend(
    command: &mut Value,
    members: &impl Serialize,
    emulator: &Emulator,
    stage: &Stage,
) -> Result<(), Failure> {
    let members: Map<String, Value> = serde_json::from_value(serde_json::to_value(members)?)?;
    for (name, value) in members {
        command[name] = match value {
            Value::String(text) => json!(emulator.filled(&text, stage)?),
            other => other,
        };
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}
