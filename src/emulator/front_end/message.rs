//! What becomes of a sealed message on its way.

use hyper::body::Bytes;
use serde_json::Value;

use super::forward::request;
use super::{FrontEndKnob as Knob, Shared, unreachable};
use crate::agent::{Opened, RESPONSE_TYPE, not_opened, open};
use crate::emulator::lock;
use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::request::{Arrival, Call, Reply};
use crate::emulator::network::response::BufferedResponse;
use crate::message::hpke::Kem;
use crate::message::request::HEADER_LEN;
use crate::message::varint;

/// The size of the nonce that a sealed response starts with.
const RESPONSE_NONCE: usize = 32;

/// What a front end keeps for later.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) attestation: Option<BufferedResponse>,
    pub(super) session: Option<Value>,
    request: Option<Bytes>,
    response: Option<BufferedResponse>,
}

impl Shared {
    pub(super) async fn message(&self, arrival: Arrival, knobs: &[Knob]) -> Reply {
        let replica = self.replica(arrival.request.headers(), knobs);
        if knobs.iter().all(|knob| *knob == Knob::SpreadOverReplicas) {
            return self.pass(arrival.request, replica).await;
        }
        let mut call = match arrival.whole().await {
            Ok(call) => call,
            Err(reply) => return reply,
        };
        self.open_with_own_key(&call, knobs).await;
        let first = lock(&self.memory).request.get_or_insert_with(|| call.body.clone()).clone();
        for knob in knobs {
            match knob {
                Knob::ForgeResponse(status) => {
                    let response = BufferedResponse::text(*status, "written by the front end");
                    let leads_away = (300..400).contains(status);
                    let response = if leads_away { response.header("location", "/elsewhere") } else { response };
                    return response.into_reply();
                }
                Knob::HoldRequests(gate) => gate.pass().await,
                Knob::EarlierRequest => call.body = first.clone(),
                knob => call.body = change_request(knob, &call.body).into(),
            }
        }
        let mut deliveries = vec![replica];
        if knobs.contains(&Knob::RepeatRequest) {
            deliveries.push(replica);
        }
        if knobs.contains(&Knob::RequestToEveryReplica) {
            deliveries.extend((0..self.replicas.len()).filter(|other| *other != replica));
        }
        let mut response = unreachable(&"there is no replica");
        for to in deliveries {
            response = match self.send(request(&call), to).await {
                Ok(response) => match self.read(response).await {
                    Ok(response) => response,
                    Err(cut) => return cut,
                },
                Err(error) => unreachable(&error),
            };
        }
        let first = lock(&self.memory).response.get_or_insert_with(|| response.clone()).clone();
        for knob in knobs {
            match knob {
                Knob::WithholdResponse => return Reply::Close,
                Knob::ReportUnknownKey => return Reply::Response(not_opened().map(ResponseBody::whole)),
                Knob::EarlierResponse => response = first.clone(),
                knob => response = response.change_bytes(RESPONSE_TYPE, |sealed| change_response(knob, sealed)),
            }
        }
        response.into_reply()
    }

    /// What is sealed to its own key, it reads.
    async fn open_with_own_key(&self, call: &Call, knobs: &[Knob]) {
        if !knobs.contains(&Knob::OwnMessageKey) {
            return;
        }
        let opened = open(&self.own_keys, ResponseBody::whole(call.body.clone()), std::time::Duration::ZERO).await;
        if let Ok(Opened::Admitted(exchange)) = opened {
            let (request, _) = exchange.accept();
            let (head, body) = request.into_parts();
            self.record.add_head(&format!("{} {}", head.method, head.uri), &head.headers);
            // One that breaks off is known from the record of what passed.
            if let Ok(body) = BufferedResponse::read(hyper::Response::new(ResponseBody::passed(body))).await {
                self.record.add(body.body());
            }
        }
    }
}

fn change_request(knob: &Knob, sealed: &[u8]) -> Vec<u8> {
    match knob {
        Knob::ChangeRequest(at) => flipped(sealed, *at),
        Knob::CutRequest(len) => cut(sealed, *len),
        Knob::RequestWithoutFinalChunk => Sealed::request(sealed).without_final(),
        _ => sealed.to_vec(),
    }
}

fn change_response(knob: &Knob, sealed: &[u8]) -> Vec<u8> {
    let parsed = || Sealed::parse(sealed, RESPONSE_NONCE);
    match knob {
        Knob::ChangeResponse(at) => flipped(sealed, *at),
        Knob::CutResponse(len) => cut(sealed, *len),
        Knob::ResponseWithoutFinalChunk => parsed().without_final(),
        Knob::ReorderChunks => {
            let mut sealed = parsed();
            if sealed.chunks.len() > 1 {
                sealed.chunks.swap(0, 1);
            }
            sealed.joined()
        }
        Knob::RepeatChunk => {
            let mut sealed = parsed();
            sealed.chunks.extend_from_within(..sealed.chunks.len().min(1));
            sealed.chunks.rotate_right(1);
            sealed.joined()
        }
        Knob::AppendToResponse => [sealed, b"more"].concat(),
        _ => sealed.to_vec(),
    }
}

fn flipped(sealed: &[u8], at: usize) -> Vec<u8> {
    let mut changed = sealed.to_vec();
    if let Some(byte) = changed.get_mut(at) {
        *byte ^= 1;
    }
    changed
}

fn cut(sealed: &[u8], len: usize) -> Vec<u8> {
    sealed.split_at(len.min(sealed.len())).0.to_vec()
}

/// A sealed message by its lengths, which are in clear.
struct Sealed {
    start: Vec<u8>,
    /// Each with its length.
    chunks: Vec<Vec<u8>>,
    /// With the zero before it.
    last: Vec<u8>,
}

impl Sealed {
    fn request(sealed: &[u8]) -> Self {
        let kem = sealed.get(1..3).and_then(|id| Kem::from_id(id.try_into().ok()?)).unwrap_or(Kem::X25519);
        Self::parse(sealed, HEADER_LEN + kem.encapsulated_key_len())
    }

    fn parse(sealed: &[u8], start: usize) -> Self {
        let (start, mut rest) = sealed.split_at(start.min(sealed.len()));
        let mut chunks = Vec::new();
        while let Some((len, prefix)) = varint::read(rest).filter(|(len, _)| *len > 0) {
            let end = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(prefix).min(rest.len());
            let (chunk, after) = rest.split_at(end);
            chunks.push(chunk.to_vec());
            rest = after;
        }
        Self { start: start.to_vec(), chunks, last: rest.to_vec() }
    }

    fn joined(self) -> Vec<u8> {
        [self.start, self.chunks.concat(), self.last].concat()
    }

    fn without_final(self) -> Vec<u8> {
        Self { last: Vec::new(), ..self }.joined()
    }
}
