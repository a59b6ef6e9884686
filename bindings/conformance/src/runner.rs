//! [`Runner`]: carries out commands with the interface of one language.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scenario::Failure;

/// So long a runner may take for one command, and to end.
const LONG: Duration = Duration::from_secs(120);

/// Carries out commands.
pub(crate) trait Runner {
    /// Carries out one command, and returns its outcome.
    fn run(&mut self, command: &Value) -> Result<Value, Failure>;

    /// The process that is measured, if it is one of its own.
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

/// A runner that is a process: commands come in lines of JSON, and so do outcomes.
pub(crate) struct Process {
    process: Child,
    commands: Option<ChildStdin>,
    outcomes: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &str) -> Result<Self, Failure> {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        let mut process = std::process::Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let commands = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().ok_or("a runner has no output")?).lines();
        let (sender, outcomes) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { process, commands, outcomes })
    }

    /// Its resident memory in bytes, where the system says it.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Closes its standard input, upon which it must end as a program that is done.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        drop(self.commands.take());
        let until = Instant::now().checked_add(LONG).ok_or("no time")?;
        while Instant::now() < until {
            match self.process.try_wait().map_err(|error| error.to_string())? {
                None => std::thread::sleep(Duration::from_millis(20)),
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("expected the exit status 0, found {status}")),
            }
        }
        Err(format!("it still runs {} s after its standard input was closed", LONG.as_secs()))
    }
}

impl Runner for Process {
    fn run(&mut self, command: &Value) -> Result<Value, Failure> {
        let commands = self.commands.as_mut().ok_or("the runner takes no commands")?;
        writeln!(commands, "{command}")?;
        let outcome = self.outcomes.recv_timeout(LONG);
        let outcome = outcome.map_err(|_| format!("a runner ended, or takes too long for {command}"))?;
        Ok(serde_json::from_str(&outcome).map_err(|_| format!("a runner printed {outcome:?}"))?)
    }

    fn process(&mut self) -> Option<&mut Process> {
        Some(self)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A runner ends with its standard input; one that hangs is ended.
        drop(self.commands.take());
        if self.outcomes.recv_timeout(Duration::from_secs(10)) == Err(RecvTimeoutError::Timeout) {
            drop(self.process.kill());
        }
        drop(self.process.wait());
    }
}
