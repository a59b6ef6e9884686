//! `blindbox-attest emulate`, and an application for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scenario::Failure;
use crate::stage::Stage;

/// A running emulator.
pub(crate) struct Emulator {
    pub(crate) arguments: Vec<String>,
    pub(crate) policy: String,
    /// What a client needs to reach it: `url`, paths of roots, `kds`.
    pub(crate) about: Value,
    /// The man in the middle, if there is one.
    pub(crate) relay: Option<String>,
    process: Child,
    orders: Option<ChildStdin>,
    outcomes: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Emulator {
    pub(crate) fn start(attest: &Path, arguments: &[String], stage: &Stage) -> Result<Self, Failure> {
        let directory = stage.directory.join("emulated");
        std::fs::create_dir_all(&directory)?;
        // It ends when its standard input does, so it cannot outlive this program.
        let mut process = Command::new(attest)
            .args(["emulate", "--out"])
            .arg(&directory)
            .args(arguments.iter().map(|argument| stage.filled(argument)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let mut outcomes = BufReader::new(process.stdout.take().ok_or("the emulator has no output")?);
        let found: Value = line(&mut outcomes)?;
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let mut about = json!({
            "url": found["url"],
            "application_roots": file("application-root.pem"),
            "collateral_roots": file("collateral-root.pem"),
        });
        if let Some(kds) = found.pointer("/kds/url") {
            about["kds"] = kds.clone();
            about["amd_roots"] = json!(file("amd-roots.pem"));
        }
        if directory.join("ak-root.pem").exists() {
            about["ak_root"] = json!(file("ak-root.pem"));
        }
        let policy = std::fs::read_to_string(directory.join("policy.toml"))?;
        let relay = found["relay_url"].as_str().map(str::to_owned);
        Ok(Self { arguments: arguments.to_vec(), policy, about, relay, process, orders, outcomes, directory })
    }

    /// Gives an order, and returns its outcome.
    pub(crate) fn order(&mut self, order: &str) -> Result<Value, Failure> {
        let orders = self.orders.as_mut().ok_or("the emulator takes no orders")?;
        writeln!(orders, "{order}")?;
        let outcome = line(&mut self.outcomes)?;
        if outcome["ok"] == true { Ok(outcome) } else { Err(format!("{order}: {outcome}").into()) }
    }
}

impl Emulator {
    /// Whether a front end ends TLS before it.
    pub(crate) fn has_front_end(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--front-end")
    }

    /// Puts the addresses of this run in their places.
    pub(crate) fn filled(&self, text: &str, stage: &Stage) -> Result<String, Failure> {
        match (text.contains("{relay}"), &self.relay) {
            (false, _) => Ok(stage.filled(text)),
            (true, Some(relay)) => Ok(stage.filled(text).replace("{relay}", relay)),
            (true, None) => Err(format!("{text}: there is no relay without --relay").into()),
        }
    }

    /// Waits until the application has received a request more than at an earlier reading of `traffic`.
    pub(crate) fn wait_for_request(&mut self, before: &Value) -> Result<(), Failure> {
        let until = Instant::now().checked_add(Duration::from_secs(60)).ok_or("no time")?;
        while self.order("traffic")?["application_requests"].as_u64() <= before["application_requests"].as_u64() {
            if Instant::now() > until {
                return Err("the request does not arrive".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn line(from: &mut impl BufRead) -> Result<Value, Failure> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(serde_json::from_str(&line).map_err(|_| format!("the emulator ended, or printed {line:?}"))?)
}

/// Starts an application whose responses are rare ones, and returns its URL.
pub(crate) fn application() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(respond(stream)));
        }
    });
    Ok(format!("http://{address}"))
}

fn respond(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        request.extend_from_slice(&byte);
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let response: &[u8] = match path {
        "/204" => b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\nconnection: close\r\n\r\n",
        "/latin1" => b"HTTP/1.1 200 OK\r\nx-text: caf\xe9\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "/broken" => b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\nconnection: close\r\n\r\nonly this",
        "/empty" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "/chunks" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    };
    stream.write_all(response)
}
