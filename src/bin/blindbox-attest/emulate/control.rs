//! Commands for a running emulator: one for each line of standard input, with one line of response.

use std::io::{self, BufRead};

use blindbox_attestation::emulator::{AnyKnob, FrontEnd, Kds, OpenConnections, Traffic};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Emulation;
use super::faults::{self, FaultAt};
use super::knobs;
use crate::exit::{Failure, print_json_line};

pub const HELP: &str = "\
Commands, one a line on standard input; each has a response of one line of JSON with `ok`:
  knob NAME[=VALUE]          sets a knob
  fail PATH=FAULT            fails requests of application and agent; also fail-maa and fail-kds
  reset                      takes back every knob and fault, those of the command line too
  rotate-tls-key             a new TLS key, attested like the first; open connections are cut
  rotate-maa-key             a new key signs tokens; the old one is gone from the key set
  restart                    the guest starts again: another key, another report id
  stop                       stops listening until `restart`
  drop-connections           cuts open connections, but not those of MAA and KDS
  traffic                    counts what reached application, agent, MAA, relay and front end
  seen TEXT                  counts a text in what the front end has seen in clear (with --front-end)
  forget-seen                forgets what the front end has seen";

/// Lines of standard input until it is closed, read on a thread of its own: nothing can interrupt that.
pub fn from_stdin() -> UnboundedReceiver<String> {
    let (sender, commands) = unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    commands
}

/// Until no more commands can come. Without any it never ends.
pub async fn obey(emulation: &Emulation, commands: Option<UnboundedReceiver<String>>) -> Result<(), Failure> {
    let Some(mut commands) = commands else { return std::future::pending().await };
    while let Some(command) = commands.recv().await {
        if command.trim().is_empty() {
            continue;
        }
        let answer = match emulation.obey(command.trim()).await {
            Ok(answer) => answer,
            Err(error) => json!({ "ok": false, "error": error }),
        };
        print_json_line(&answer)?;
    }
    Ok(())
}

impl Emulation {
    async fn obey(&self, command: &str) -> Result<Value, String> {
        let (verb, object) = command.split_once(' ').unwrap_or((command, ""));
        let fault = || faults::parse(object);
        match verb {
            "knob" => self.set(knobs::parse(object)?)?,
            "fail" => {
                let FaultAt { path, fault } = fault()?;
                self.blindbox.fail(&path, fault);
            }
            "fail-maa" => self.maa.fail(fault()?.fault),
            "fail-kds" => {
                let FaultAt { path, fault } = fault()?;
                self.kds()?.fail(&path, fault);
            }
            "reset" => {
                self.blindbox.reset();
                self.maa.recover();
                self.kds.iter().for_each(Kds::recover);
                self.front_end.iter().for_each(FrontEnd::reset);
            }
            "rotate-tls-key" => {
                self.blindbox.rotate_tls_key(OpenConnections::Keep);
                self.blindbox.drop_connections().await;
            }
            "rotate-maa-key" => self.maa.rotate_key(),
            "restart" => self.blindbox.restart().await.map_err(|error| error.to_string())?,
            "stop" => self.blindbox.stop().await,
            "drop-connections" => self.drop_connections().await,
            "traffic" => return Ok(self.traffic()),
            "seen" if object.is_empty() => return Err("expected seen TEXT".to_owned()),
            "seen" => return Ok(json!({ "ok": true, "seen": self.front_end()?.count_seen(object) })),
            "forget-seen" => self.front_end()?.forget_seen(),
            _ => return Err(format!("expected a command of `emulate --help`, found {verb:?}")),
        }
        Ok(json!({ "ok": true }))
    }

    fn set(&self, change: AnyKnob) -> Result<(), String> {
        let parts = knobs::Parts {
            product: self.platform.is_some(),
            vm: self.blindbox.virtual_tpm().is_some(),
            front_end: self.front_end.is_some(),
        };
        knobs::check(&change, parts)?;
        match change {
            AnyKnob::BlindBox(knob) => self.blindbox.set(*knob),
            AnyKnob::KeySet(knob) => self.maa.set(knob),
            AnyKnob::MaaEvidence(knob) => self.set_maa_evidence(knob),
            AnyKnob::Kds(knob) => self.kds()?.set(knob),
            AnyKnob::FrontEnd(knob) => self.front_end.iter().for_each(|front_end| front_end.set(knob.clone())),
        }
        Ok(())
    }

    /// From the clients on: who passes requests on does so no more before the next one is cut off.
    async fn drop_connections(&self) {
        if let Some(front_end) = &self.front_end {
            front_end.drop_connections().await;
        }
        if let Some(relay) = &self.relay {
            relay.drop_connections().await;
        }
        self.blindbox.drop_connections().await;
    }

    fn kds(&self) -> Result<&Kds, String> {
        self.kds.as_ref().ok_or_else(|| "there is no KDS without --product".to_owned())
    }

    fn front_end(&self) -> Result<&FrontEnd, String> {
        self.front_end.as_ref().ok_or_else(|| "there is no front end without --front-end".to_owned())
    }

    fn traffic(&self) -> Value {
        let front_end = self.front_end.as_ref().map(FrontEnd::traffic);
        let (application, agent) = (self.blindbox.traffic(), self.blindbox.agent_traffic());
        json!({
            "ok": true,
            "application_requests": application.application_requests(),
            "application_bytes": application.application_bytes(),
            "agent_bytes": agent.agent_bytes(),
            "key_set_fetches": self.maa.key_set_fetches(),
            "relay_application_bytes": self.relay.as_ref().map(|relay| relay.traffic().application_bytes()),
            "front_end_application_bytes": front_end.map(Traffic::application_bytes),
            "sealed_messages": front_end.map(|traffic| traffic.count("/attest/message")),
        })
    }
}
