//! `proxy` on a Unix socket, and under systemd.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use super::{Answer, Proxy, request};
use crate::tool::{Emulator, run};

fn ask(path: &str, host: &str, token: &str) -> Answer {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request("GET /", &format!("Host: {host}"), &[token], "").as_bytes()).unwrap();
    Answer::read(stream)
}

#[test]
fn a_socket_of_this_user_alone() {
    let emulator = Emulator::start(&[]);
    let path = emulator.path("socket");
    let listen = format!("unix:{path}");
    let mut proxy = Proxy::in_front_of(emulator, &["--listen", &listen]);
    assert_eq!(proxy.serving.text("listen"), listen);
    let token = proxy.token();
    assert_eq!(ask(&path, "localhost", &token).body, "hello from a BlindBox");
    let wrong = ask(&path, "evil.example", &token);
    assert_eq!(wrong.code(), "wrong-host");
    assert!(wrong.body.contains("expected as Host `localhost`"), "{wrong:?}");
    assert_eq!(ask(&path, "localhost", "X: y").code(), "wrong-access-token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // It goes with the proxy, and nothing is left of how it was made.
    let killed = Command::new("kill").args(["-TERM", &proxy.serving.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(proxy.serving.wait(), 0);
    let left: Vec<_> =
        std::fs::read_dir(proxy.emulator.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains("socket")), "{left:?}");
}

#[test]
fn a_socket_of_someone_else_stays() {
    let emulator = Emulator::start(&[]);
    let path = emulator.path("socket");
    let mut proxy = Proxy::in_front_of(emulator, &["--listen", &format!("unix:{path}")]);
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let killed = Command::new("kill").args(["-TERM", &proxy.serving.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(proxy.serving.wait(), 0);
    UnixStream::connect(&path).unwrap();
    drop(other);
}

#[test]
fn a_place_that_is_taken() {
    let emulator = Emulator::start(&[]);
    let bind = |path: &str| {
        let mut arguments =
            vec!["proxy".to_owned(), emulator.url().to_owned(), "--listen".to_owned(), format!("unix:{path}")];
        arguments.extend(emulator.trusting());
        run(&arguments)
    };
    let outcome = bind(&emulator.path("policy.toml"));
    assert_eq!((outcome.exit, outcome.err.contains("a file that is no socket")), (4, true), "{}", outcome.err);
    // The listener here does not take connections, and lives all the same.
    let datagrams = emulator.path("datagrams");
    let other = UnixDatagram::bind(&datagrams).unwrap();
    let outcome = bind(&datagrams);
    assert_eq!((outcome.exit, outcome.err.contains("datagrams")), (4, true), "{}", outcome.err);
    UnixDatagram::unbound().unwrap().send_to(b"x", &datagrams).unwrap();
    drop(other);
    let socket = emulator.path("taken");
    let listener = UnixListener::bind(&socket).unwrap();
    let outcome = bind(&socket);
    assert_eq!(
        (outcome.exit, outcome.err.contains("another process listens there already")),
        (4, true),
        "{}",
        outcome.err
    );
    drop(listener);
    // What is left of one that was killed is taken away.
    let path = format!("unix:{socket}");
    let proxy = Proxy::in_front_of(Emulator::start(&[]), &["--listen", &path]);
    assert_eq!(ask(&socket, "localhost", &proxy.token()).status, 200);
}
