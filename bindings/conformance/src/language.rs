//! [`Language`]: one binding, what it passed, and what is measured of its process.

use serde_json::{Value, json};

use crate::content;
use crate::emulator::Emulator;
use crate::runner::{Process, Runner};
use crate::scenario::{Failure, Scenario};

/// The number of requests over which the memory of a process must not grow.
const REQUESTS: u64 = 10_000;
/// What the memory may grow by, in bytes: the garbage that a collector of the language leaves. A leak of one response for each request
/// is more.
const GROWTH: u64 = 32 << 20;
/// How long a cancelled call may take, in milliseconds: the time is printed, and this is no measure of it.
const CANCELLED_WITHIN: u64 = 60_000;

/// One language.
pub(crate) struct Language {
    pub(crate) name: String,
    pub(crate) runner: Box<dyn Runner>,
    /// Whether it has no network: it runs what needs none.
    pub(crate) is_offline: bool,
    passed: usize,
    failures: Vec<String>,
    notes: Vec<String>,
    slowest_cancellation: Option<u64>,
    refusals: usize,
    passed_over: usize,
}

impl Language {
    pub(crate) fn new(name: &str, runner: Box<dyn Runner>, is_offline: bool) -> Self {
        let (failures, notes) = (Vec::new(), Vec::new());
        Self {
            name: name.to_owned(),
            runner,
            is_offline,
            passed: 0,
            failures,
            notes,
            slowest_cancellation: None,
            refusals: 0,
            passed_over: 0,
        }
    }

    pub(crate) fn runs(&self, scenario: &Scenario) -> bool {
        !self.is_offline || scenario.is_offline()
    }

    /// Notes a scenario that is not its matter.
    pub(crate) fn pass_over(&mut self) {
        self.passed_over = self.passed_over.saturating_add(1);
    }

    /// Notes what came of a scenario.
    pub(crate) fn note(&mut self, scenario: &str, outcomes: &[Value], failure: Option<String>) {
        let (received, commands) = outcomes.split_last().unwrap_or((&Value::Null, &[]));
        self.refusals = self.refusals.saturating_add(usize::from(received.get("bytes").is_some()));
        let times = commands.iter().filter_map(|outcome| outcome["milliseconds"].as_u64());
        let slowest = times.max();
        self.slowest_cancellation = self.slowest_cancellation.max(slowest);
        let failure = failure.or_else(|| {
            let slow = slowest.filter(|time| *time > CANCELLED_WITHIN)?;
            Some(format!("a cancelled call returned after {slow} ms"))
        });
        self.outcome(scenario, failure.map_or(Ok(()), Err));
    }

    fn outcome(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed = self.passed.saturating_add(1),
            Err(failure) => self.failures.push(format!("{name}: {failure}")),
        }
    }

    /// The memory of the process stays flat over many requests.
    pub(crate) fn check_memory(&mut self, emulator: &mut Emulator) -> Result<(), Failure> {
        let Some(process) = self.runner.process().filter(|_| !self.is_offline) else { return Ok(()) };
        connect(process, emulator)?;
        let mut get = |times: u64| -> Result<Option<u64>, Failure> {
            for _ in 0..times {
                let outcome = process.run(&json!({ "do": "request", "method": "GET", "target": "/" }))?;
                if outcome["status"] != 200 {
                    return Err(format!("expected the status 200, found {outcome}").into());
                }
            }
            Ok(process.memory())
        };
        let before = get(REQUESTS / 5)?;
        let after = get(REQUESTS)?;
        process.run(&json!({ "do": "close" }))?;
        let Some((before, after)) = before.zip(after) else {
            self.notes.push("NOT MEASURED: the memory of the process (no /proc)".to_owned());
            return Ok(());
        };
        let growth = after.saturating_sub(before);
        self.notes.push(format!("{} KiB more memory after {REQUESTS} requests", growth / 1024));
        let flat = if growth > GROWTH { Err(format!("{growth} bytes more after {REQUESTS} requests")) } else { Ok(()) };
        self.outcome("memory", flat);
        Ok(())
    }

    /// The process ends while a request is under way.
    pub(crate) fn check_end(&mut self, emulator: &mut Emulator) -> Result<(), Failure> {
        let Some(process) = self.runner.process() else { return Ok(()) };
        let ended = if self.is_offline {
            process.end()
        } else {
            connect(process, emulator)?;
            // From now on: this prefix is that of the agent too.
            emulator.order("fail /=hang")?;
            let before = emulator.order("traffic")?;
            process.run(&json!({ "do": "start", "method": "GET", "target": "/" }))?;
            emulator.wait_for_request(&before)?;
            process.end()
        };
        self.outcome("the end of the process with a request under way", ended);
        Ok(())
    }

    /// Prints what it passed; returns how many passed and failed.
    pub(crate) fn report(&self) -> (usize, usize) {
        let Self { name, failures, passed, .. } = self;
        for failure in failures {
            eprintln!("{name}: {failure}");
        }
        let mut line = format!("{name}: {passed} passed, {} failed", failures.len());
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
        (*passed, failures.len())
    }
}

/// Opens a session with an emulator that has no knobs and faults.
fn connect(process: &mut Process, emulator: &mut Emulator) -> Result<(), Failure> {
    emulator.order("reset")?;
    let mut command = emulator.about.clone();
    (command["do"], command["policy"]) = (json!("connect"), json!(emulator.policy));
    command["settings"] = json!(content::settings(&command)?);
    match process.run(&command)? {
        outcome if outcome.get("error").is_some() => Err(format!("expected a session, found {outcome}").into()),
        _ => Ok(()),
    }
}
