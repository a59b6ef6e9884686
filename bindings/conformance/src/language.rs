//! [`Language`]: one binding, what it passed, and what is measured of its process.

use std::fs;

use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::runner::{Process, Runner};
use crate::scenario::{Failure, Scenario};
use crate::stage::Stage;
use crate::step::RecordedStep;
use crate::{attempts, cancellation, content, mask, memory};

/// The outcomes of a scenario as text, and what is wrong about them.
pub(crate) type Ran = (String, Result<(), String>);

/// One language.
pub(crate) struct Language {
    pub(crate) name: String,
    runner: Box<dyn Runner>,
    /// Whether it has no network: it runs what needs none.
    is_offline: bool,
    passed: usize,
    failed: usize,
    notes: Vec<String>,
    slowest_cancellation: Option<u64>,
    refusals: usize,
    passed_over: usize,
}

impl Language {
    pub(crate) fn new(name: &str, runner: Box<dyn Runner>, is_offline: bool) -> Self {
        Self {
            name: name.to_owned(),
            runner,
            is_offline,
            passed: 0,
            failed: 0,
            notes: Vec::new(),
            slowest_cancellation: None,
            refusals: 0,
            passed_over: 0,
        }
    }

    /// Runs a scenario, and returns its outcomes as text and what is wrong about them: the file expects others, or the reference had others.
    /// `None` if it is not its matter.
    pub(crate) fn run(
        &mut self,
        scenario: &Scenario,
        emulator: &mut Emulator,
        stage: &Stage,
        collector: &mut dyn Runner,
        expected: Option<&str>,
    ) -> Result<Option<Ran>, Failure> {
        if self.is_offline && !scenario.is_offline() {
            self.passed_over = self.passed_over.saturating_add(1);
            return Ok(None);
        }
        if scenario.not_in.contains(&self.name) {
            self.notes.push(format!("NOT RUN: {}, where it shows something else", scenario.name));
            return Ok(None);
        }
        let ((outcomes, found), verdict) = attempts::with_longer_limits(scenario.has_time_limit(), |longer| {
            let (outcomes, times) = cancellation::judged(|| {
                attempts::within(scenario.within_seconds, || {
                    scenario.run(emulator, stage, self.runner.as_mut(), collector, longer)
                })
            })?;
            let found = mask::masked(&outcomes, scenario.messages, emulator)?;
            let difference = expected.and_then(|expected| mask::difference(expected, &found));
            let verdict = scenario.check(&outcomes).and(difference.map_or(Ok(()), Err)).and(times);
            Ok(((outcomes, found), verdict))
        })?;
        let received = outcomes.last().unwrap_or(&Value::Null);
        self.refusals = self.refusals.saturating_add(usize::from(received.get("bytes").is_some()));
        let verdict = verdict.map(|slowest| {
            self.slowest_cancellation = self.slowest_cancellation.max(slowest);
        });
        Ok(Some((found, verdict)))
    }

    /// Notes what came of a scenario, and prints what is wrong.
    pub(crate) fn note(&mut self, name: &str, verdict: Result<(), String>) {
        match verdict {
            Ok(()) => self.passed = self.passed.saturating_add(1),
            Err(failure) => {
                eprintln!("{}: {name}: {failure}", self.name);
                self.failed = self.failed.saturating_add(1);
            }
        }
    }

    /// The memory of the process stays flat over many requests; of one without a network, over many verifications.
    pub(crate) fn check_memory(
        &mut self,
        emulator: &mut Emulator,
        stage: &Stage,
        collector: &mut dyn Runner,
    ) -> Result<(), Failure> {
        let (what, command, expected) = if self.is_offline {
            ("verifications", self.recorded(emulator, stage, collector)?, "attestation")
        } else {
            self.connect(emulator, stage)?;
            let get = json!({ "do": "request", "method": "GET", "target": "/", "url": format!("{}/", url(emulator)), "show": "" });
            ("requests", get, "status")
        };
        let runner = self.runner.as_mut();
        let rounds = memory::rounds(&self.name, |times| {
            for _ in 0..times {
                let outcome = runner.run(&command)?;
                if outcome.get(expected).is_none() || outcome.get("error").is_some() {
                    return Err(format!("expected {expected}, found {outcome}").into());
                }
            }
            Ok(runner.memory())
        })?;
        if !self.is_offline {
            runner.run(&json!({ "do": "close" }))?;
        }
        let Some((growth, verdict)) = rounds else {
            self.notes.push("NOT MEASURED: the memory of the process (no /proc)".to_owned());
            return Ok(());
        };
        self.notes.push(format!("{} KiB more memory after {} {what}", growth / 1024, memory::REQUESTS));
        self.note("memory", verdict);
        Ok(())
    }

    /// The process ends while a request is under way.
    pub(crate) fn check_end(&mut self, emulator: &mut Emulator, stage: &Stage) -> Result<(), Failure> {
        if self.runner.process().is_none() {
            return Ok(());
        }
        if !self.is_offline {
            self.connect(emulator, stage)?;
            // From now on: this prefix is that of the agent too.
            emulator.order("fail /=hang")?;
            let before = emulator.order("traffic")?;
            let url = format!("{}/", url(emulator));
            self.runner.run(&json!({ "do": "start", "method": "GET", "target": "/", "url": url, "show": "" }))?;
            emulator.wait_for_request(&before)?;
        }
        if let Some(ended) = self.runner.process().map(Process::end) {
            self.note("the end of the process with a request under way", ended);
        }
        Ok(())
    }

    /// Prints what it passed; returns how many passed and failed.
    pub(crate) fn report(&self) -> (usize, usize) {
        let Self { name, failed, passed, .. } = self;
        let mut line = format!("{name}: {passed} passed, {failed} failed");
        if self.refusals > 0 {
            line.push_str(&format!("; 0 application bytes in {} scenarios of refusals only", self.refusals));
        }
        if let Some(time) = self.slowest_cancellation {
            line.push_str(&format!("; cancelled within {time} ms"));
        }
        if self.passed_over > 0 {
            line.push_str(&format!("; NOT RUN: {} scenarios that need a session, which it has not", self.passed_over));
        }
        for note in &self.notes {
            line.push_str("; ");
            line.push_str(note);
        }
        println!("{line}");
        (*passed, *failed)
    }

    /// Opens a session with an emulator that has no knobs and faults.
    fn connect(&mut self, emulator: &mut Emulator, stage: &Stage) -> Result<(), Failure> {
        let mut command = self.command("connect", emulator, stage)?;
        command["settings"] = json!(content::settings(&command, stage)?);
        match self.runner.run(&command)? {
            outcome if outcome.get("error").is_some() => Err(format!("expected a session, found {outcome}").into()),
            _ => Ok(()),
        }
    }

    /// The command that verifies the evidence of an emulator that has no knobs and faults.
    fn recorded(&self, emulator: &mut Emulator, stage: &Stage, collector: &mut dyn Runner) -> Result<Value, Failure> {
        let mut command = self.command("recorded", emulator, stage)?;
        fs::read_dir(self.runner.directory())?.try_for_each(|entry| fs::remove_file(entry?.path()))?;
        RecordedStep::default().lay_out(&mut command, self.runner.directory(), stage, collector)?;
        Ok(command)
    }

    fn command(&self, verb: &str, emulator: &mut Emulator, stage: &Stage) -> Result<Value, Failure> {
        emulator.order("reset")?;
        let mut command = emulator.about.clone();
        command["do"] = json!(verb);
        command["policy"] = json!(stage.file("policy", emulator.policy.as_bytes())?);
        Ok(command)
    }
}

fn url(emulator: &Emulator) -> &str {
    emulator.about["url"].as_str().unwrap_or_default()
}
