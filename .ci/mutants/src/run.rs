//! Runs the tests that reach a mutant, until one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A test binary, with what its tests did without a mutant.
pub struct Binary {
    pub name: String,
    program: PathBuf,
    directory: PathBuf,
    tests: Vec<Test>,
}

struct Test {
    name: String,
    took: Duration,
    reaches: BTreeSet<u32>,
}

impl Test {
    fn line(&self) -> String {
        let reaches: Vec<String> = self.reaches.iter().map(u32::to_string).collect();
        format!("{}\t{}\t{}\n", self.name, self.took.as_millis(), reaches.join(" "))
    }

    fn parse(line: &str) -> Option<Self> {
        let [name, took, reaches] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let reaches = reaches.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        Some(Self { name: name.to_owned(), took: Duration::from_millis(took.parse().ok()?), reaches })
    }
}

pub enum Outcome {
    /// These tests failed, both times.
    Caught(String),
    Survived,
}

impl Binary {
    /// Runs each test in a process of its own and notes how long it takes and which mutants it reaches. A test that fails
    /// without a mutant is left out. What was observed is kept in `work`.
    pub fn observe(name: String, program: PathBuf, directory: PathBuf, work: &Path) -> std::io::Result<Self> {
        let mut binary = Self { name, program, directory, tests: vec![] };
        let kept = work.join(format!("observed-{}", binary.name));
        if let Ok(kept) = std::fs::read_to_string(&kept) {
            binary.tests = kept.lines().filter_map(Test::parse).collect();
            return Ok(binary);
        }
        let output = binary.command(&["--list", "--format", "terse"], None).output().expect("the test binary runs");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let waiting = Mutex::new(listed.lines().filter_map(|l| l.strip_suffix(": test")).collect::<Vec<_>>());
        let observed = Mutex::new(vec![]);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let (binary, waiting, observed) = (&binary, &waiting, &observed);
                let trace = std::env::temp_dir().join(format!("mutants-{}-{worker}", std::process::id()));
                scope.spawn(move || {
                    loop {
                        let Some(test) = waiting.lock().expect("no panic").pop() else { return };
                        let _ = std::fs::remove_file(&trace);
                        let start = Instant::now();
                        let mut command = binary.command(&["--exact", test], None);
                        let result = wait(command.env("MUTANT_TRACE", &trace), Duration::from_secs(300));
                        if let Some(failure) = result {
                            eprintln!("{}: {test} fails without a mutant ({failure}) and is left out", binary.name);
                            continue;
                        }
                        let reached = std::fs::read_to_string(&trace).unwrap_or_default();
                        let reaches = reached.lines().filter_map(|l| l.parse().ok()).collect();
                        let test = Test { name: test.to_owned(), took: start.elapsed(), reaches };
                        observed.lock().expect("no panic").push(test);
                    }
                });
            }
        });
        binary.tests = observed.into_inner().expect("no panic");
        binary.tests.sort_by_key(|t| t.took);
        let total: Duration = binary.tests.iter().map(|t| t.took).sum();
        eprintln!("{}: {} tests, {} s", binary.name, binary.tests.len(), total.as_secs());
        std::fs::write(kept, binary.tests.iter().map(Test::line).collect::<String>())?;
        Ok(binary)
    }

    /// Runs the tests that reach this mutant, the quick ones first. What fails is run once more: a test that fails now and
    /// then catches nothing.
    pub fn run(&self, mutant: u32) -> Outcome {
        let mut tests: Vec<&Test> = self.tests.iter().filter(|t| t.reaches.contains(&mutant)).collect();
        let mut size = 8;
        while !tests.is_empty() {
            let rest = tests.split_off(size.min(tests.len()));
            size *= 3;
            let limit = Duration::from_secs(60) + 4 * tests.iter().map(|t| t.took).sum::<Duration>();
            let names: Vec<&str> = tests.iter().map(|t| t.name.as_str()).collect();
            if let Some(failure) = self.fails(mutant, &names, limit) {
                let again: &[&str] = if names.contains(&failure.as_str()) { &[failure.as_str()] } else { &names };
                if self.fails(mutant, again, limit).is_some() {
                    return Outcome::Caught(failure);
                }
                eprintln!("{}: {failure} failed once with mutant {mutant}, and not again", self.name);
            }
            tests = rest;
        }
        Outcome::Survived
    }

    fn fails(&self, mutant: u32, tests: &[&str], limit: Duration) -> Option<String> {
        let mut arguments = vec!["--exact", "--test-threads", "2"];
        arguments.extend(tests);
        wait(&mut self.command(&arguments, Some(mutant)), limit)
    }

    fn command(&self, arguments: &[&str], mutant: Option<u32>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.directory).env_remove("MUTANT").env_remove("MUTANT_TRACE");
        command.env("CARGO_MANIFEST_DIR", &self.directory);
        if let Some(mutant) = mutant {
            command.env("MUTANT", mutant.to_string());
        }
        command
    }
}

/// Returns the first test that fails, or what else went wrong; a hang is a failure.
fn wait(command: &mut Command, limit: Duration) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (sender, receiver) = channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let deadline = Instant::now() + limit;
    let failure = loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(test) = line.strip_suffix(" ... FAILED") {
                    let test = test.trim_start_matches("test ");
                    break Some(test.trim_end_matches(" - should panic").to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => break Some("time-out".to_owned()),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if failure.is_some() {
        let _ = child.kill();
    }
    let status = child.wait().expect("it ends");
    failure.or_else(|| (!status.success()).then(|| format!("{status}")))
}

/// Counts by module.
#[derive(Default)]
pub struct Figures(BTreeMap<String, [usize; 2]>);

impl Figures {
    pub fn count(&mut self, module: &str, caught: bool) {
        let [viable, hits] = self.0.entry(module.to_owned()).or_default();
        *viable += 1;
        *hits += usize::from(caught);
    }

    pub fn print(&self) {
        for (module, [viable, caught]) in &self.0 {
            println!("{module:<12} {caught:>4} of {viable:>4}");
        }
        let [viable, caught] = self.0.values().fold([0, 0], |[v, c], [viable, caught]| [v + viable, c + caught]);
        println!("{:<12} {caught:>4} of {viable:>4} caught", "all");
    }
}
