//! The program itself.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::client::{Client, get, post};
use crate::lab::{ClosedPort, moment, soon};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The log collector often belongs to the host, and a pipe that is not read is soon full.
#[tokio::test]
async fn an_agent_whose_words_nobody_takes_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    let closed = ClosedPort::new();
    let text = format!(
        "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:1\"\nnames = [\"localhost\"]\n\
         sidecar = \"http://{}\"\n[key]\nlifetime-seconds = 3\n\
         [limits]\nattestations-per-second = 1000000\nattestation-burst = 1000000",
        closed.address()
    );
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_blindbox-agent"));
    let mut agent = Running(command.arg("--config").arg(&path).stderr(Stdio::piped()).spawn().unwrap());
    let mut words = BufReader::new(agent.0.stderr.take().unwrap());
    let mut line = String::new();
    let address: SocketAddr = loop {
        line.clear();
        assert_ne!(words.read_line(&mut line).unwrap(), 0, "the agent did not start");
        if let Some((_, address)) = line.trim_end().split_once("listening on ") {
            break address.parse().unwrap();
        }
    };
    // Each of these is worth a line of about a hundred bytes; a pipe holds 64 KiB.
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut client = Client::connect(address).await;
    let first = client.spki_digest();
    let ask = async {
        for _ in 0..2000 {
            if !client.try_send(&request).await {
                client = Client::connect(address).await;
            }
        }
    };
    soon(ask).await;
    let rotated = async {
        while Client::connect(address).await.spki_digest() == first {
            moment().await;
        }
        // This key may retire in between too.
        while !Client::connect(address).await.try_send(&get("/status")).await {}
    };
    soon(rotated).await;
    drop(words);
}

/// Where an image is built there is no TEE.
#[test]
fn a_configuration_is_checked_outside_of_a_tee() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_blindbox-agent"));
        // What would be read in a TEE is not there.
        command.env("UVM_SECURITY_CONTEXT_DIR", directory.path().join("none"));
        let output = command.arg("--config").arg(&path).arg("--check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let good = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:1\"\nnames = [\"localhost\"]\n";
    let expected = format!("blindbox-agent: {} can be used\n", path.display());
    assert_eq!(check(good), (Some(0), expected));
    let reason = "blindbox-agent: names is empty: a certificate needs at least one name or address\n";
    assert_eq!(check(&good.replace("[\"localhost\"]", "[]")), (Some(1), reason.to_owned()));
}
