//! [`Runner`]: carries out commands with the interface of one language.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::line;
use crate::scenario::Failure;

/// So long a runner may take for one command, and to end.
const LONG: Duration = Duration::from_secs(120);

/// Carries out commands.
pub(crate) trait Runner {
    /// Carries out one command, and returns its outcome.
    fn run(&mut self, command: &Value) -> Result<Value, Failure>;

    /// Where it finds the documents of recorded evidence, and nothing else.
    fn directory(&self) -> &Path;

    /// The resident memory of its process in bytes, where the system says it.
    fn memory(&self) -> Option<u64>;

    /// The process, if it is one of its own.
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

/// A runner that is a process: commands and outcomes are lines.
pub(crate) struct Process {
    process: Child,
    directory: PathBuf,
    commands: Option<ChildStdin>,
    outcomes: Receiver<String>,
}

impl Process {
    /// Starts a program in a directory of its own.
    pub(crate) fn start(command: &str, directory: PathBuf) -> Result<Self, Failure> {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        let mut process = std::process::Command::new(program)
            .args(words)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let commands = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().ok_or("a runner has no output")?).lines();
        let (sender, outcomes) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { process, directory, commands, outcomes })
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
        let found = format!("found that it still runs {} s after its standard input was closed", LONG.as_secs());
        Err(format!("expected that the process ends, {found}"))
    }
}

impl Runner for Process {
    fn run(&mut self, command: &Value) -> Result<Value, Failure> {
        let commands = self.commands.as_mut().ok_or("the runner takes no commands")?;
        let line = line::of_command(command)?;
        writeln!(commands, "{line}")
            .map_err(|error| format!("expected a runner that reads {line:?}, found: {error}"))?;
        let outcome = self.outcomes.recv_timeout(LONG).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                format!("expected an outcome within {} s of {line:?}, found none", LONG.as_secs())
            }
            RecvTimeoutError::Disconnected => {
                format!("expected an outcome of {line:?}, found that the runner ended; what it printed is above")
            }
        })?;
        Ok(line::outcome(&outcome).map_err(|error| format!("{line:?}: {error}"))?)
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn memory(&self) -> Option<u64> {
        resident(&self.process.id().to_string())
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

/// The resident memory of a process in bytes: its number, or `self`.
pub(crate) fn resident(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
