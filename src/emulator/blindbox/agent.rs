//! The agent inside the guest, in both forms of its requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::bound_form::{Named, asks_for_connection, asks_for_message_key, written};
use super::messages::Messages;
use crate::agent::MessageOffer;
use crate::emulator::guest::Guest;
use crate::emulator::guest::azure_vm::{AzureVmGuest, AzureVmKnob, AzureVmRequest};
use crate::emulator::guest::hardware_knob::HardwareKnob;
use crate::emulator::keys::{random, sha256};
use crate::emulator::knob::Knob;
use crate::emulator::lock;
use crate::emulator::maa::MaaState;
use crate::emulator::maa::claims::report_data;
use crate::emulator::maa::token::{self, TokenFault};
use crate::emulator::network::request::Call;
use crate::emulator::network::response::BufferedResponse;
use crate::message::exchange::outer;
use crate::types::{Nonce, ReportData, Sha256Digest, SpkiDigest};

/// Which requests an agent takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AgentForm {
    /// `nonce` only: the agent writes the runtime data, and no one else can. It names its key; the connection too if the request says
    /// `"protocol": "blindbox-bound-connection/1"`; a message key alone if it says `"blindbox-bound-message/1"`.
    #[default]
    Bound,
    /// `runtime_data` only: attests what any caller sends, as BlindBox's agent and Microsoft's sidecar do.
    Legacy,
    /// Either, which is as weak as the legacy form and looks like the bound one.
    Both,
}

/// Where hardware reports come from: fills `/attest/raw` and `/attest/combined`, which respond with 404 without one.
pub trait ReportSource: Send + Sync {
    /// Evidence for a guest, with this report data in its report, and with those of the changes that the source knows.
    fn evidence(&self, guest: &Guest, report_data: &ReportData, knobs: &[HardwareKnob]) -> HardwareEvidence;
}

/// A hardware report and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareEvidence {
    /// The report, 1184 bytes.
    pub report: Vec<u8>,
    /// The certificates of VCEK (or VLEK), ASK (or ASVK) and ARK, as PEM in this order. When empty the agent leaves the
    /// member out.
    pub endorsements_pem: String,
    /// The endorsement of the utility VM: a COSE_Sign1 document. When empty the agent leaves the member out.
    pub uvm_endorsements: Vec<u8>,
    /// The TCB of the VCEK in hexadecimal: 16 digits, the bytes in the order in which they stand in a report.
    pub endorsed_tcb: String,
}

/// An agent and the guest it speaks for.
pub(crate) struct Agent {
    pub(crate) form: AgentForm,
    pub(crate) guest: Mutex<Guest>,
    pub(crate) knobs: Mutex<Vec<Knob>>,
    pub(crate) maas: Mutex<Vec<Arc<MaaState>>>,
    /// Issues every token, whichever endpoint was asked for.
    pub(crate) substitute: Mutex<Option<Arc<MaaState>>>,
    /// The application's TLS key now.
    pub(crate) key: Mutex<SpkiDigest>,
    pub(crate) report_source: Option<Arc<dyn ReportSource>>,
    /// In a confidential VM.
    pub(crate) azure_vm: Option<AzureVmGuest>,
    /// By path, the first response to a bound request.
    pub(crate) first_answers: Mutex<BTreeMap<String, BufferedResponse>>,
    pub(crate) messages: Messages,
}

/// A parsed request: what to attest, and what the response holds.
struct Asked {
    /// Hashed into the report.
    attested: Vec<u8>,
    /// Sent back; nothing in the legacy form.
    said: Option<Vec<u8>>,
    endpoint: Option<String>,
    /// The message key that the evidence names.
    offer: Option<MessageOffer>,
}

/// What a token is about.
struct Attested<'a> {
    runtime_data: &'a [u8],
    /// The claims of the paravisor, which come with the token.
    runtime_claims: Option<&'a str>,
}

/// Evidence of a confidential VM.
const AZURE_VM: &str = "/attest/azure-vm";

impl Agent {
    pub(crate) fn answer(&self, call: &Call) -> BufferedResponse {
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/status") => BufferedResponse::json(&json!({ "message": "Status OK" })),
            ("POST", "/attest/maa" | "/attest/raw" | "/attest/combined" | "/attest/azure-vm") => {
                self.attest(call).unwrap_or_else(|refusal| refusal)
            }
            _ => BufferedResponse::not_found(),
        }
    }

    fn attest(&self, call: &Call) -> Result<BufferedResponse, BufferedResponse> {
        let knobs = lock(&self.knobs).clone();
        let path = call.path.as_str();
        if path == "/attest/maa" && knobs.contains(&Knob::NoToken) {
            return Err(BufferedResponse::not_found());
        }
        let request: Map<String, Value> = serde_json::from_slice(&call.body)
            .map_err(|_| BufferedResponse::error(400, "the request is not a JSON object"))?;
        let asked = self.understand(call, &request, &knobs)?;
        if asked.said.is_none() {
            return self.attested(path, &asked, &knobs);
        }
        let first = lock(&self.first_answers).get(path).cloned();
        let replaying = knobs.contains(&Knob::OldAnswer);
        if let Some(first) = first.filter(|_| replaying) {
            return Ok(first);
        }
        let asked = if replaying { self.understand(call, &of_another_time(request), &knobs)? } else { asked };
        let answer = self.attested(path, &asked, &knobs)?;
        lock(&self.first_answers).entry(path.to_owned()).or_insert_with(|| answer.clone());
        Ok(answer)
    }

    fn understand(&self, call: &Call, request: &Map<String, Value>, knobs: &[Knob]) -> Result<Asked, BufferedResponse> {
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        let endpoint = text("maa_endpoint").map(str::to_owned);
        if call.path == AZURE_VM && (self.form == AgentForm::Legacy || self.azure_vm.is_none()) {
            return Err(BufferedResponse::not_found());
        }
        if call.path == "/attest/maa" && endpoint.is_none() {
            return Err(BufferedResponse::error(400, "maa_endpoint is required"));
        }
        let takes_data = self.form != AgentForm::Bound && call.path != AZURE_VM;
        if let (Some(data), true) = (text("runtime_data"), takes_data) {
            let attested =
                STANDARD.decode(data).map_err(|_| BufferedResponse::error(400, "runtime_data is not base64"))?;
            return Ok(Asked { attested, said: None, endpoint, offer: None });
        }
        if self.form == AgentForm::Legacy || knobs.contains(&Knob::RefuseBoundForm) {
            return Err(BufferedResponse::error(400, "runtime_data is required"));
        }
        // A report alone does not say whose key it is for.
        if call.path == "/attest/raw" {
            return Err(BufferedResponse::not_found());
        }
        let nonce = text("nonce").and_then(|text| Nonce::from_hex(text).ok());
        let nonce =
            nonce.ok_or_else(|| BufferedResponse::error(400, "nonce must be 64 lower-case hexadecimal digits"))?;
        let offer = asks_for_message_key(request).then(|| self.messages.offer(&nonce));
        let named = self.named(call, request, offer.as_ref(), knobs)?;
        let (attested, said) = written(knobs, &nonce.to_string(), named);
        Ok(Asked { attested, said: Some(said), endpoint, offer })
    }

    /// The key of the connection, and in those forms the connection or a message key.
    fn named(
        &self,
        call: &Call,
        request: &Map<String, Value>,
        offer: Option<&MessageOffer>,
        knobs: &[Knob],
    ) -> Result<Named, BufferedResponse> {
        let key = call.tls.map_or_else(|| *lock(&self.key), |tls| tls.key);
        if !request.contains_key("protocol") {
            return Ok(Named::Key(key));
        }
        let refused = if offer.is_some() { Knob::RefuseMessageForm } else { Knob::RefuseConnectionForm };
        if !(asks_for_connection(request) || offer.is_some()) || knobs.contains(&refused) {
            return Err(BufferedResponse::error(
                400,
                "the request must have nonce and maa_endpoint, once each, and nothing else",
            ));
        }
        if knobs.contains(&Knob::AnswerInServerForm) {
            return Ok(Named::Key(key));
        }
        if let Some(offer) = offer {
            return Ok(Named::MessageKey(Sha256Digest::new(sha256(&offer.key_config))));
        }
        let exporter = call.tls.and_then(|tls| tls.exporter);
        let exporter =
            exporter.ok_or_else(|| BufferedResponse::error(400, "a connection without TLS 1.3 cannot be attested"))?;
        Ok(Named::Connection(key, exporter))
    }

    fn attested(&self, path: &str, asked: &Asked, knobs: &[Knob]) -> Result<BufferedResponse, BufferedResponse> {
        let mut guest = lock(&self.guest).clone();
        knobs.iter().for_each(|knob| knob.change_guest(&mut guest));
        let mut answer = Map::new();
        let runtime_claims = match path {
            "/attest/maa" => None,
            AZURE_VM => Some(self.azure_vm_evidence(asked, &guest, knobs, &mut answer)?),
            _ => {
                let report_data = report_data(&asked.attested);
                self.hardware_evidence(&guest, &report_data, knobs)?.write(path, &mut answer);
                None
            }
        };
        let wants_token =
            matches!(path, "/attest/maa" | AZURE_VM) || (path == "/attest/combined" && asked.said.is_some());
        if let (Some(endpoint), true) = (&asked.endpoint, wants_token) {
            let runtime_claims = runtime_claims.as_deref();
            let token = if knobs.contains(&Knob::TokenOfAnotherReport) {
                let earlier = Named::Key(*lock(&self.key)).runtime_data(&hex::encode(random::<32>()));
                self.token(endpoint, &guest, &Attested { runtime_data: &earlier, runtime_claims }, knobs)?
            } else {
                self.token(endpoint, &guest, &Attested { runtime_data: &asked.attested, runtime_claims }, knobs)?
            };
            answer.insert("token".into(), token.into());
        }
        if let (Some(said), false) = (&asked.said, knobs.contains(&Knob::AnswerInLegacyForm)) {
            answer.insert("runtime_data".into(), STANDARD.encode(said).into());
        }
        if let Some(offer) = &asked.offer {
            answer.insert(outer::KEY_CONFIG_MEMBER.into(), STANDARD.encode(&offer.key_config).into());
            answer.insert(outer::SESSION_MEMBER.into(), offer.session.clone().into());
        }
        for knob in knobs {
            match knob {
                Knob::AnswerMember(name, value) => drop(answer.insert(name.clone(), value.clone())),
                Knob::WithoutAnswerMember(name) => drop(answer.remove(name)),
                _ => {}
            }
        }
        Ok(BufferedResponse::json(&Value::Object(answer)))
    }

    /// The evidence of the machine with this report data, of the guest or of the one that a knob puts in its place.
    fn hardware_evidence(
        &self,
        guest: &Guest,
        report_data: &ReportData,
        knobs: &[Knob],
    ) -> Result<HardwareEvidence, BufferedResponse> {
        let Some(source) = &self.report_source else { return Err(BufferedResponse::not_found()) };
        let another = knobs.iter().rev().find_map(|knob| match knob {
            Knob::ReportOf(guest) => Some(guest.as_ref()),
            _ => None,
        });
        let changes: Vec<HardwareKnob> = knobs
            .iter()
            .filter_map(|knob| match knob {
                Knob::Hardware(change) => Some(change.clone()),
                _ => None,
            })
            .collect();
        Ok(source.evidence(another.unwrap_or(guest), report_data, &changes))
    }

    /// Writes the evidence of a confidential VM, and returns the claims of its paravisor.
    fn azure_vm_evidence(
        &self,
        asked: &Asked,
        guest: &Guest,
        knobs: &[Knob],
        answer: &mut Map<String, Value>,
    ) -> Result<String, BufferedResponse> {
        let Some(vm) = &self.azure_vm else { return Err(BufferedResponse::not_found()) };
        let changes: Vec<AzureVmKnob> = knobs
            .iter()
            .filter_map(|knob| match knob {
                Knob::AzureVm(change) => Some(change.clone()),
                _ => None,
            })
            .collect();
        let request = AzureVmRequest { runtime_data: &asked.attested, key: *lock(&self.key), knobs: &changes };
        let evidence = vm.evidence(&request, |report_data| self.hardware_evidence(guest, report_data, knobs))?;
        answer.extend(evidence.members);
        Ok(evidence.runtime_claims)
    }

    fn token(
        &self,
        endpoint: &str,
        guest: &Guest,
        attested: &Attested<'_>,
        knobs: &[Knob],
    ) -> Result<String, BufferedResponse> {
        let runtime_data = attested.runtime_data;
        let asked = lock(&self.maas).iter().find(|maa| maa.endpoint() == endpoint).cloned();
        let maa = lock(&self.substitute).clone().or(asked);
        let maa = maa.ok_or_else(|| BufferedResponse::error(403, "the attestation service cannot be reached"))?;
        // MAA takes runtime data of the type JSON and refuses what is not.
        if serde_json::from_slice::<Value>(runtime_data).is_err() {
            return Err(BufferedResponse::error(403, "the attestation service refused the runtime data"));
        }
        let claims = match attested.runtime_claims {
            Some(claims) => maa.claims_behind_paravisor(guest, runtime_data, claims),
            None => maa.claims(guest, runtime_data),
        };
        let claims = knobs.iter().fold(claims, |claims, knob| knob.change_claims(claims));
        let faults: Vec<TokenFault> = knobs
            .iter()
            .filter_map(|knob| match knob {
                Knob::Token(fault) => Some(fault.clone()),
                _ => None,
            })
            .collect();
        Ok(token::sign(&maa, claims, &faults))
    }
}

impl HardwareEvidence {
    fn write(self, path: &str, answer: &mut Map<String, Value>) {
        if path == "/attest/raw" {
            answer.insert("report".into(), hex::encode(self.report).into());
            return;
        }
        answer.insert("evidence".into(), STANDARD.encode(&self.report).into());
        self.write_certificates(answer);
        if !self.uvm_endorsements.is_empty() {
            answer.insert("uvm_endorsements".into(), STANDARD.encode(self.uvm_endorsements).into());
        }
        answer.insert("endorsed_tcb".into(), self.endorsed_tcb.into());
    }
}

impl HardwareEvidence {
    pub(crate) fn write_certificates(&self, answer: &mut Map<String, Value>) {
        if !self.endorsements_pem.is_empty() {
            answer.insert("endorsements".into(), STANDARD.encode(&self.endorsements_pem).into());
        }
    }
}

/// The same request with another nonce, as another client sent it before.
fn of_another_time(mut request: Map<String, Value>) -> Map<String, Value> {
    request.insert("nonce".into(), hex::encode(random::<32>()).into());
    request
}
