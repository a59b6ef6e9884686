//! Runs the tests that reach a mutant, until one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A test binary, with what its tests did without a mutant.
pub struct Binary {
    pub name: String,
    program: PathBuf,
    directory: PathBuf,
    work: PathBuf,
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
    /// This test failed, both times.
    Caught(String),
    /// Tests did not end in a time that is far above what they need without a mutant, and none failed.
    TimedOut,
    Survived,
}

/// Calls this for each of them, from two threads.
pub fn in_parallel<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let waiting = Mutex::new(items.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = next() {
                    each(item);
                }
            });
        }
    });
}

/// Why a test binary did not succeed.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The first test that failed.
    Test(String),
    /// The process itself ended with this.
    Status(String),
    TimedOut,
}

impl Binary {
    /// Runs each test in a process of its own and notes how long it takes and which mutants it reaches. A test that fails
    /// without a mutant is left out. What was observed is kept in `work`.
    pub fn observe(name: String, program: PathBuf, directory: PathBuf, work: &Path) -> std::io::Result<Self> {
        let mut binary = Self { name, program, directory, work: work.canonicalize()?, tests: vec![] };
        let kept = work.join(format!("observed-{}", binary.name));
        if let Ok(kept) = std::fs::read_to_string(&kept) {
            binary.tests = kept.lines().filter_map(Test::parse).collect();
            return Ok(binary);
        }
        let output = binary.command(&["--list", "--format", "terse"], None).output().expect("the test binary runs");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let listed: Vec<&str> = listed.lines().filter_map(|l| l.strip_suffix(": test")).collect();
        let observed = Mutex::new(vec![]);
        in_parallel(&listed, |test| {
            let trace = binary.work.join(format!("trace-{}-{}", binary.name, test.replace("::", "-")));
            let start = Instant::now();
            let mut command = binary.command(&["--exact", test], None);
            let failure = wait(command.env("MUTANT_TRACE", &trace), Duration::from_secs(600));
            let took = start.elapsed();
            let reached = std::fs::read_to_string(&trace).unwrap_or_default();
            let _ = std::fs::remove_file(&trace);
            if let Some(failure) = failure {
                eprintln!("{}: {test} fails without a mutant ({failure:?}) and is left out", binary.name);
                return;
            }
            let reaches = reached.lines().filter_map(|l| l.parse().ok()).collect();
            observed.lock().expect("no panic").push(Test { name: (*test).to_owned(), took, reaches });
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
            let mut rest = tests.split_off(size.min(tests.len()));
            size *= 3;
            let limit = Duration::from_secs(120) + 6 * tests.iter().map(|t| t.took).sum::<Duration>();
            let names: Vec<&str> = tests.iter().map(|t| t.name.as_str()).collect();
            match self.fails(mutant, &names, limit) {
                None => {}
                Some(Failure::TimedOut) => return Outcome::TimedOut,
                Some(failure) => {
                    let (again, name) = match &failure {
                        Failure::Test(test) => (vec![test.as_str()], test),
                        Failure::Status(status) => (names, status),
                        Failure::TimedOut => return Outcome::TimedOut,
                    };
                    match self.fails(mutant, &again, limit) {
                        Some(Failure::TimedOut) => return Outcome::TimedOut,
                        Some(_) => return Outcome::Caught(name.clone()),
                        None => {
                            eprintln!("{}: {name} failed once with mutant {mutant}, and not again", self.name);
                            // The tests behind it in this call were not run.
                            rest.splice(0..0, tests.into_iter().filter(|t| t.name != *name));
                        }
                    }
                }
            }
            tests = rest;
        }
        Outcome::Survived
    }

    fn fails(&self, mutant: u32, tests: &[&str], limit: Duration) -> Option<Failure> {
        let mut arguments = vec!["--exact", "--test-threads", "2"];
        arguments.extend(tests);
        wait(&mut self.command(&arguments, Some(mutant)), limit)
    }

    fn command(&self, arguments: &[&str], mutant: Option<u32>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.directory).env_remove("MUTANT").env_remove("MUTANT_TRACE");
        command.env("CARGO_MANIFEST_DIR", &self.directory).env("MUTANT_KEYS", self.work.join("keys"));
        if let Some(mutant) = mutant {
            command.env("MUTANT", mutant.to_string());
        }
        command
    }
}

/// Returns the first test that fails, or what else went wrong.
fn wait(command: &mut Command, limit: Duration) -> Option<Failure> {
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
                    break Some(Failure::Test(test.trim_end_matches(" - should panic").to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => break Some(Failure::TimedOut),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if failure.is_some() {
        let _ = child.kill();
    }
    let status = child.wait().expect("it ends");
    failure.or_else(|| (!status.success()).then(|| Failure::Status(status.to_string())))
}

/// Counts by module.
#[derive(Default)]
pub struct Figures(BTreeMap<String, Count>);

#[derive(Default, Clone, Copy)]
struct Count {
    viable: usize,
    caught: usize,
    timed_out: usize,
}

impl Figures {
    pub fn count(&mut self, module: &str, result: &str) {
        for name in [module, "~ all"] {
            let count = self.0.entry(name.to_owned()).or_default();
            count.viable += 1;
            count.caught += usize::from(result.starts_with("caught"));
            count.timed_out += usize::from(result.starts_with("TIMED OUT"));
        }
    }

    pub fn print(&self) {
        for (module, Count { viable, caught, timed_out }) in &self.0 {
            println!(
                "{:<12} {caught:>4} of {viable:>4} caught, {timed_out} timed out",
                module.trim_start_matches("~ ")
            );
        }
    }
}
