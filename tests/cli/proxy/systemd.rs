//! The proxy as a unit of systemd: the socket that is passed, and the notifications.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Proxy;
use crate::tool::{Emulator, Outcome};

/// The proxy with a socket as file descriptor 3. A shell moves it there and becomes the program, whose process id it knows.
fn passed(emulator: &Emulator, socket: OwnedFd, variables: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{variables} exec \"$0\" \"$@\" 3<&0 </dev/null");
    command.args([
        "-c",
        &script,
        env!("CARGO_BIN_EXE_blindbox-attest"),
        "proxy",
        emulator.url(),
        "--json",
        "--listen",
        "systemd",
        "--no-access-token",
    ]);
    command.args(emulator.trusting()).stdin(Stdio::from(socket)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

const VARIABLES: &str = "LISTEN_PID=$$ LISTEN_FDS=1";

fn request(mut stream: impl Read + Write, host: &str) -> String {
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// The address that it announces, and what it responds to a request there.
fn served(mut command: Command, request: impl FnOnce() -> String) -> (String, String) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let response = if line.is_empty() { String::new() } else { request() };
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!line.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let announced: serde_json::Value = serde_json::from_str(&line).unwrap();
    (announced["listen"].as_str().unwrap().to_owned(), response)
}

#[test]
fn a_passed_socket_is_served() {
    let emulator = Emulator::start(&[]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The connection is made before the proxy is there, as systemd starts it.
    let stream = TcpStream::connect(address).unwrap();
    let command = passed(&emulator, socket.into(), VARIABLES);
    let (announced, response) = served(command, || request(stream, &address.to_string()));
    assert_eq!(announced, format!("http://{address}"));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    let command = passed(&emulator, socket.into(), VARIABLES);
    let (announced, response) = served(command, || request(stream, "localhost"));
    assert_eq!(announced, format!("unix:{}", path.display()));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(path.exists(), "the socket is systemd's");
}

#[test]
fn another_socket_than_one_that_listens_on_this_machine_is_refused() {
    let emulator = Emulator::start(&[]);
    let refused = |socket: OwnedFd, variables: &str| {
        let output = passed(&emulator, socket, variables).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let outcome =
            Outcome { exit: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"));
        outcome.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let tcp = |address| OwnedFd::from(TcpListener::bind(SocketAddr::from(address)).unwrap());
    let loopback = || tcp(([127, 0, 0, 1], 0));

    assert!(refused(loopback(), "").starts_with("systemd passed no socket to this process"));
    assert!(refused(loopback(), "LISTEN_PID=1 LISTEN_FDS=1").starts_with("systemd passed no socket to this process"));
    assert_eq!(refused(loopback(), "LISTEN_PID=$$ LISTEN_FDS=2"), "expected one socket from systemd, found 2");
    let any = refused(tcp(([0, 0, 0, 0], 0)), VARIABLES);
    assert!(any.ends_with("expected an address on loopback"), "{any}");
    let connected = UnixStream::pair().unwrap().0;
    assert!(refused(connected.into(), VARIABLES).starts_with("expected a socket that listens"));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(refused(file.into(), VARIABLES).starts_with("file descriptor 3: "));
}

#[test]
fn the_service_manager_is_notified() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let read = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let emulator = Emulator::start(&[]);
    let mut command = Proxy::command("", &emulator, &[]);
    command.env("NOTIFY_SOCKET", &path);
    let mut proxy = crate::tool::Serving::start(command);
    assert_eq!(read(), "READY=1");
    let id = proxy.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap().success());
    assert_eq!(read(), "STOPPING=1");
    assert_eq!(proxy.wait(), 0);
}
