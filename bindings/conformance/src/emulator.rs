//! `blindbox-attest emulate`, and an application for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    /// The issuer of the endorsement of its utility VM, if it shows one.
    uvm_issuer: Option<String>,
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
        let text = |name: &str| found[name].as_str().map(str::to_owned);
        let (relay, uvm_issuer) = (text("relay_url"), text("uvm_issuer"));
        Ok(Self {
            arguments: arguments.to_vec(),
            policy,
            about,
            relay,
            uvm_issuer,
            process,
            orders,
            outcomes,
            directory,
        })
    }

    /// Gives an order, and returns its outcome.
    pub(crate) fn order(&mut self, order: &str) -> Result<Value, Failure> {
        let orders = self.orders.as_mut().ok_or("the emulator takes no orders")?;
        writeln!(orders, "{order}")?;
        let outcome = line(&mut self.outcomes)?;
        if outcome["ok"] == true { Ok(outcome) } else { Err(format!("{order}: {outcome}").into()) }
    }

    /// Whether a front end ends TLS before it.
    pub(crate) fn has_front_end(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--front-end")
    }

    /// Puts what differs from run to run in its place: addresses, `{uvm_issuer}`, `{collateral_roots}`, and `{now-SECONDS}`.
    pub(crate) fn filled(&self, text: &str, stage: &Stage) -> Result<String, Failure> {
        let mut text = stage.filled(text);
        let roots = self.about["collateral_roots"].as_str();
        for (name, value) in
            [("relay", self.relay.as_deref()), ("uvm_issuer", self.uvm_issuer.as_deref()), ("collateral_roots", roots)]
        {
            let place = format!("{{{name}}}");
            if text.contains(&place) {
                text = text.replace(&place, value.ok_or_else(|| format!("{text}: this emulator has no {name}"))?);
            }
        }
        while let Some((before, (seconds, after))) =
            text.split_once("{now-").and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            text = format!("{before}{}{after}", now.saturating_sub(seconds.parse()?));
        }
        Ok(text)
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
    // To its end: a connection that is closed with unread bytes is reset, and the response may be lost.
    let lengths = request.lines().filter_map(|line| line.split_once(':'));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok());
    std::io::copy(&mut (&stream).take(length.unwrap_or(0)), &mut std::io::sink())?;
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
