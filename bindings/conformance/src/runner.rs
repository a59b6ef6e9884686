//! [`Runner`]: carries out commands with the interface of one language.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::scenario::Failure;

/// So long a runner may take for one command.
const LONG: Duration = Duration::from_secs(120);

/// Carries out commands.
pub(crate) trait Runner {
    /// Carries out one command, and returns its outcome.
    fn run(&mut self, command: &Value) -> Result<Value, Failure>;
}

/// A runner that is a process: commands come in lines of JSON, and so do outcomes.
pub(crate) struct Command {
    process: Child,
    commands: Option<ChildStdin>,
    outcomes: Receiver<String>,
}

impl Command {
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
}

impl Runner for Command {
    fn run(&mut self, command: &Value) -> Result<Value, Failure> {
        let commands = self.commands.as_mut().ok_or("the runner takes no commands")?;
        writeln!(commands, "{command}")?;
        let outcome = self.outcomes.recv_timeout(LONG);
        let outcome = outcome.map_err(|_| format!("a runner ended, or takes too long for {command}"))?;
        Ok(serde_json::from_str(&outcome).map_err(|_| format!("a runner printed {outcome:?}"))?)
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // A runner ends with its standard input; one that hangs is ended.
        drop(self.commands.take());
        if self.outcomes.recv_timeout(Duration::from_secs(10)) == Err(RecvTimeoutError::Timeout) {
            drop(self.process.kill());
        }
        drop(self.process.wait());
    }
}
