//! The program as a child, and the emulator that it serves.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub struct Outcome {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {:?}, {:?}", self.out, self.err))
    }

    /// The code of the error, in JSON.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("-").to_owned()
    }
}

/// A port of an address of this host that is free, and not one that the system chooses for others: a program that listens on it
/// a little later still finds it free.
pub fn free_port(address: &str) -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};

    // Below the ports that systems choose from: 32768 on Linux, 49152 elsewhere.
    const LOWEST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static TURN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Test processes that run at the same time begin at different ports.
        let turn = std::process::id().wrapping_mul(61).wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(LOWEST + turn % COUNT).unwrap();
        if std::net::TcpListener::bind((address, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free on {address}");
}

/// A moment between two looks at what another process does. Nothing depends on how long it is.
pub fn moment() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}

pub fn command() -> Command {
    #[cfg(target_os = "linux")]
    undo_ignored_signals();
    let mut command = Command::new(env!("CARGO_BIN_EXE_blindbox-attest"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Makes programs start with the default actions of SIGHUP and SIGINT where this process ignores them, as `nohup` and `&` of a shell
/// arrange it: an ignored signal stays ignored when a program is executed, a handled one becomes default (execve(2)).
#[cfg(target_os = "linux")]
fn undo_ignored_signals() {
    use tokio::signal::unix::{SignalKind, signal};

    static UNDO: std::sync::Once = std::sync::Once::new();
    UNDO.call_once(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _within = runtime.enter();
        for kind in [SignalKind::hangup(), SignalKind::interrupt()] {
            if ignores(kind.as_raw_value()) {
                // The handler outlives the runtime.
                drop(signal(kind).unwrap());
            }
        }
    });
}

/// Whether this process ignores a signal.
#[cfg(target_os = "linux")]
fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
}

pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Outcome {
    let output = command().args(arguments).output().unwrap();
    Outcome {
        exit: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A program that serves, until this is dropped, and what it said first.
pub struct Serving {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub said: Value,
}

impl Serving {
    pub fn start(command: Command) -> Self {
        Self::saying_errors_to(Stdio::null(), command)
    }

    pub fn saying_errors_to(errors: Stdio, mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Self { child, input, output, said: Value::Null };
        serving.said = serving.read();
        serving
    }

    pub fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.said))
    }

    /// What it says on standard error, which must be a pipe.
    pub fn errors(&mut self) -> BufReader<std::process::ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// No more orders.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Its exit status. Whatever it waits for in these tests takes less than a minute.
    pub fn wait(&mut self) -> i32 {
        for _ in 0..2400 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| panic!("{status}"));
            }
            moment();
        }
        panic!("the program still runs after two minutes");
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no line of JSON: {line:?}"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `blindbox-attest emulate`, and the files that it wrote.
pub struct Emulator {
    pub serving: Serving,
    pub folder: TempDir,
}

impl Emulator {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = command();
        command.arg("emulate").args(arguments).arg("--out").arg(folder.path());
        Self { serving: Serving::start(command), folder }
    }

    pub fn url(&self) -> &str {
        self.serving.text("url")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Gives an order, which must be obeyed.
    pub fn order(&mut self, order: &str) -> Value {
        let answer = self.ask(order);
        assert_eq!(answer["ok"], true, "{order}: {answer}");
        answer
    }

    pub fn ask(&mut self, order: &str) -> Value {
        writeln!(self.serving.input.as_mut().unwrap(), "{order}").unwrap();
        self.serving.read()
    }

    pub fn application_bytes(&mut self) -> u64 {
        self.order("traffic")["application_bytes"].as_u64().unwrap()
    }

    /// The options that make a client trust what is emulated.
    pub fn trusting(&self) -> Vec<String> {
        let mut options = vec!["--policy".to_owned(), self.path("policy.toml")];
        options.extend(["--collateral-root".to_owned(), self.path("collateral-root.pem")]);
        options.extend(["--application-root".to_owned(), self.path("application-root.pem")]);
        if let Some(kds) = self.serving.said["kds"]["url"].as_str() {
            options.extend(["--amd-roots".to_owned(), self.path("amd-roots.pem")]);
            options.extend(["--kds".to_owned(), kds.to_owned()]);
        }
        if self.file("ak-root.pem").exists() {
            options.extend(["--ak-root".to_owned(), self.path("ak-root.pem")]);
        }
        options
    }

    pub fn verify(&self, more: &[&str]) -> Outcome {
        self.verify_at(self.url(), more)
    }

    pub fn verify_at(&self, url: &str, more: &[&str]) -> Outcome {
        let mut arguments = vec!["verify".to_owned(), url.to_owned()];
        arguments.extend(self.trusting());
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        run(&arguments)
    }
}

/// Replaces what is another each time: ports, times, and long values in hexadecimal and base64.
pub fn steady(text: &str) -> String {
    let mut steady = String::new();
    let text = without_times(text);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let run: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/_-".contains(*c)).collect();
        let after = &rest[run.len()..];
        let hex = run.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        let digits = run.chars().all(|c| c.is_ascii_digit());
        match run.len() {
            0 => {
                steady.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            length @ (32 | 64 | 96 | 128) if hex => steady.push_str(&format!("<{length} digits>")),
            length @ (8 | 16) if hex && after.starts_with('…') => steady.push_str(&format!("<{length} digits>")),
            43 => steady.push_str("<base64>"),
            10 if digits => steady.push_str("<time>"),
            _ if digits && steady.ends_with("127.0.0.1:") => steady.push_str("<port>"),
            _ => steady.push_str(&run),
        }
        rest = after;
    }
    steady.lines().collect::<Vec<_>>().join("\n")
}

/// Replaces times in RFC 3339, and differences between them.
fn without_times(text: &str) -> String {
    const FORM: &[u8] = b"0000-00-00T00:00:00Z";
    let is_time = |bytes: &[u8]| {
        bytes.len() == FORM.len()
            && bytes
                .iter()
                .zip(FORM)
                .all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form })
    };
    let mut rest = text;
    let mut replaced = String::new();
    while let Some(first) = rest.chars().next() {
        if is_time(&rest.as_bytes()[..rest.len().min(FORM.len())]) {
            replaced.push_str("<time>");
            rest = &rest[FORM.len()..];
            // "…, 2 min 5 s later" or "… now, 2 min 5 s earlier".
            let (now, after) = rest.strip_prefix(" now").map_or(("", rest), |after| (" now", after));
            let clause = after.strip_prefix(", ").and_then(|after| after.split_once([':', ',', '\n']));
            if let Some((clause, _)) = clause
                && let Some((_, end)) = clause.rsplit_once(' ')
                && ["later", "earlier", "before"].contains(&end)
            {
                replaced.push_str(&format!("{now}, <difference> {end}"));
                rest = &after[", ".len() + clause.len()..];
            }
        } else {
            replaced.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    replaced
}

/// Says that a test did nothing.
pub fn skipped(reason: &str) {
    // Not `eprintln!`: the test harness swallows what that prints in a test that passes, as this one will.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

pub fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
