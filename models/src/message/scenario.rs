//! What the client, the instances and the front end do.

use stateright::{Model, Property};

use super::{
    ATTESTATIONS, Action, COMPLETE, CONFIDENTIAL, EVIDENCE, Evidence, FRESH, Key, Kind, MATCHED, Memory, ONCE,
    PROPERTIES, REQUESTS, RESPONSES, Response, SEALINGS, Sealed, Standing, State,
};
use crate::HONEST_RUN;

/// What an instance does against repeated requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A session id of the agent's making for each attestation; each number once.
    SessionOfAgent,
    /// Numbers are kept by the client's nonce, and start again with each attestation.
    SessionOfNonce,
    /// A time in the request, and a memory of what came within the window.
    TimeWindow,
    Nothing,
}

/// When the client seals a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    Never,
    /// After an error of the front end, such as "key not known".
    OnUnauthenticatedError,
    /// After a refusal that the instance sealed: the number was used, or the session is not known.
    OnSealedRefusal,
    /// After a refusal that the instance sealed for a number that was not used before. The instance marks the number as used first,
    /// or does not.
    OnSealedDecline {
        marked: bool,
    },
    /// Request 0 is idempotent (RFC 9110 section 9.2.2), and is sealed again after every error and refusal. Request 1 never is.
    Idempotent,
}

/// How responses are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// With a key exported from the context of the request, and a mark on the last part.
    OfContext,
    /// The last part has no mark.
    WithoutEnd,
    /// With a key of the session.
    OfSession,
}

/// A scenario: how the protocol is built, and what the attacker can do beside carrying it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub replay: Replay,
    pub resend: Resend,
    pub responses: Sealing,
    /// Whether both instances have one key and know each other's sessions.
    pub shared_key: bool,
    pub attests_any_data: bool,
    /// Whether the attacker steals the key of instance 0, at any time.
    pub theft: bool,
    pub nonce_used_again: bool,
}

impl Scenario {
    /// `blindbox-bound-message/1` as it is built.
    pub fn proposed() -> Self {
        Self {
            replay: Replay::SessionOfAgent,
            resend: Resend::Never,
            responses: Sealing::OfContext,
            shared_key: false,
            attests_any_data: false,
            theft: false,
            nonce_used_again: false,
        }
    }

    fn nonce(&self, attestation: usize) -> usize {
        if self.nonce_used_again { 0 } else { attestation }
    }

    fn key(&self, instance: usize) -> Key {
        if self.shared_key { Key::Shared } else { Key::OfInstance(instance) }
    }

    fn holds(&self, instance: usize, key: Key) -> bool {
        key == Key::Shared || key == Key::OfInstance(instance)
    }

    /// An instance makes evidence, and begins a session.
    fn attest(&self, state: &mut State, instance: usize, nonce: usize) {
        let session = match self.replay {
            Replay::SessionOfNonce => nonce,
            _ => state.sessions_begun,
        };
        state.sessions_begun += 1;
        for (other, memory) in state.memory.iter_mut().enumerate() {
            if other != instance && !self.shared_key {
                continue;
            }
            if !memory.sessions.contains(&session) {
                memory.sessions.push(session);
            }
            // Of use only where a session can start again.
            memory.seen.retain(|(seen, _)| *seen != session);
        }
        let key = self.key(instance);
        state.evidence.push(Evidence { nonce, key, session, requested: state.requested });
    }

    fn receive(&self, state: &mut State, attestation: usize, evidence: Evidence) {
        state.accepted[attestation] = true;
        if !evidence.requested[attestation] {
            state.violate(FRESH);
        }
        state.member = Some(evidence);
        state.next_number = 0;
    }

    fn seal(&self, state: &mut State, request: usize, member: Evidence) {
        let (key, session) = (member.key, member.session);
        state.requests[request] = Standing::Sent(state.sealed.len());
        state.sealed.push(Sealed { request, key, session, number: state.next_number, time: false });
        state.next_number += 1;
    }

    fn reveal(state: &mut State) {
        let readable =
            |sealed: &Sealed| sealed.key == Key::Attackers || (state.stolen && sealed.key == Key::OfInstance(0));
        if state.sealed.iter().any(readable) {
            state.violate(CONFIDENTIAL);
        }
    }

    /// Whether an instance processes a request, which it then remembers.
    fn admits(&self, memory: &mut Memory, sealed: Sealed) -> bool {
        let entry = (sealed.session, sealed.number);
        let admitted = match self.replay {
            Replay::Nothing => return true,
            Replay::TimeWindow => sealed.time == memory.clock,
            Replay::SessionOfAgent | Replay::SessionOfNonce => memory.sessions.contains(&sealed.session),
        } && !memory.seen.contains(&entry);
        if admitted {
            memory.seen.push(entry);
            memory.seen.sort_unstable();
        }
        admitted
    }

    fn is_idempotent(&self, request: usize) -> bool {
        self.resend == Resend::Idempotent && request == 0
    }

    fn deliver_to_busy(&self, state: &mut State, index: usize, instance: usize) {
        let mut memory = state.memory[instance].clone();
        let kind = if self.admits(&mut memory, state.sealed[index]) { Kind::Declined } else { Kind::Refused };
        if self.resend != (Resend::OnSealedDecline { marked: false }) {
            state.memory[instance] = memory;
        }
        Self::keep(state, Response { to: index, kind });
    }

    fn deliver(&self, state: &mut State, index: usize, instance: usize) {
        let sealed = state.sealed[index];
        let kind = if self.admits(&mut state.memory[instance], sealed) {
            state.processed[sealed.request] += 1;
            // To process an idempotent request twice has the effect of processing it once.
            if state.processed[sealed.request] > 1 && !self.is_idempotent(sealed.request) {
                state.violate(ONCE);
            }
            Kind::Processed
        } else {
            Kind::Refused
        };
        Self::keep(state, Response { to: index, kind });
    }

    /// The front end keeps a response of an instance.
    fn keep(state: &mut State, response: Response) {
        if !state.responses.contains(&response) && state.responses.len() < RESPONSES {
            state.responses.push(response);
            state.responses.sort_unstable();
        }
    }

    /// Whether a response opens for the request that was sealed with this index.
    fn opens(&self, state: &State, index: usize, response: Response) -> bool {
        match self.responses {
            Sealing::OfContext | Sealing::WithoutEnd => response.to == index,
            Sealing::OfSession => state.sealed[response.to].session == state.sealed[index].session,
        }
    }

    fn respond(&self, state: &mut State, request: usize, index: usize, response: Response) {
        let again = match response.kind {
            Kind::Processed => false,
            Kind::Refused => self.resend == Resend::OnSealedRefusal || self.is_idempotent(request),
            Kind::Declined => matches!(self.resend, Resend::OnSealedDecline { .. }) || self.is_idempotent(request),
        };
        state.requests[request] = if again { Standing::Waiting } else { Standing::Over };
        if state.sealed[response.to].request != request {
            state.violate(MATCHED);
        }
        state.reached |= response.kind == Kind::Processed && response.to == index;
    }

    fn front_end_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.evidence.len() < EVIDENCE {
            let mut nonces: Vec<_> = (0..ATTESTATIONS).filter(|q| state.requested[*q]).map(|q| self.nonce(q)).collect();
            nonces.dedup();
            for nonce in nonces {
                actions.extend((0..2).map(|instance| Action::Attest(instance, nonce)));
                if self.attests_any_data {
                    actions.push(Action::AttestsAnyData(nonce));
                }
            }
        }
        for (index, sealed) in state.sealed.iter().enumerate() {
            let holders = (0..2).filter(|instance| self.holds(*instance, sealed.key));
            for instance in holders {
                actions.push(Action::Deliver(index, instance));
                // A decline that has no consequence is a refusal like another one.
                if matches!(self.resend, Resend::OnSealedDecline { .. }) {
                    actions.push(Action::DeliverToBusy(index, instance));
                }
            }
        }
        for (instance, memory) in state.memory.iter().enumerate() {
            match self.replay {
                Replay::SessionOfAgent | Replay::SessionOfNonce => {
                    actions.extend(memory.sessions.iter().map(|session| Action::Forget(instance, *session)));
                }
                Replay::TimeWindow => actions.push(Action::SetClock(instance)),
                Replay::Nothing => {}
            }
        }
        if self.theft && !state.stolen {
            actions.push(Action::Steal);
        }
    }

    fn client_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for q in 0..ATTESTATIONS {
            if !state.requested[q] && (q == 0 || state.accepted[q - 1]) {
                actions.push(Action::Request(q));
            }
            if state.requested[q] && !state.accepted[q] {
                let made_for = state.evidence.iter().filter(|evidence| evidence.nonce == self.nonce(q));
                actions.extend(made_for.map(|evidence| Action::Receive(q, *evidence)));
            }
        }
        for request in 0..REQUESTS {
            match state.requests[request] {
                // The requests are alike: the first one is sealed first.
                Standing::Waiting => {
                    let in_order = request == 0 || state.sealed.iter().any(|sealed| sealed.request == request - 1);
                    if state.member.is_some() && state.sealed.len() < SEALINGS && in_order {
                        actions.push(Action::Seal(request));
                    }
                }
                Standing::Sent(index) => {
                    for response in state.responses.iter().filter(|response| self.opens(state, index, **response)) {
                        actions.push(Action::Respond(request, *response));
                        if self.responses == Sealing::WithoutEnd {
                            actions.push(Action::RespondCut(request, *response));
                        }
                    }
                    actions.push(Action::Fail(request));
                }
                Standing::Over => {}
            }
        }
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            requested: [false; ATTESTATIONS],
            evidence: Vec::new(),
            sessions_begun: 0,
            member: None,
            accepted: [false; ATTESTATIONS],
            next_number: 0,
            requests: [Standing::Waiting; REQUESTS],
            sealed: Vec::new(),
            memory: Default::default(),
            processed: [0; REQUESTS],
            responses: Vec::new(),
            stolen: false,
            reached: false,
            violated: [false; 5],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.client_actions(state, actions);
        self.front_end_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Request(q) => state.requested[q] = true,
            Action::Attest(instance, nonce) => self.attest(&mut state, instance, nonce),
            Action::AttestsAnyData(nonce) => {
                let (session, requested) = (usize::MAX, last.requested);
                state.evidence.push(Evidence { nonce, key: Key::Attackers, session, requested });
            }
            Action::Receive(q, evidence) => self.receive(&mut state, q, evidence),
            Action::Seal(request) => {
                self.seal(&mut state, request, last.member?);
                Self::reveal(&mut state);
            }
            Action::Deliver(index, instance) => self.deliver(&mut state, index, instance),
            Action::DeliverToBusy(index, instance) => self.deliver_to_busy(&mut state, index, instance),
            Action::Respond(request, response) | Action::RespondCut(request, response) => {
                let Standing::Sent(index) = last.requests[request] else { return None };
                self.respond(&mut state, request, index, response);
                if matches!(action, Action::RespondCut(..)) {
                    state.violate(COMPLETE);
                }
            }
            Action::Fail(request) => {
                let again = self.resend == Resend::OnUnauthenticatedError || self.is_idempotent(request);
                state.requests[request] = if again { Standing::Waiting } else { Standing::Over };
            }
            Action::Forget(instance, session) => {
                let memory = &mut state.memory[instance];
                memory.sessions.retain(|known| *known != session);
                memory.seen.retain(|(seen, _)| *seen != session);
            }
            Action::SetClock(instance) => {
                let memory = &mut state.memory[instance];
                memory.clock = !memory.clock;
                // What is outside of the window need not be remembered.
                memory.seen.clear();
            }
            Action::Steal => {
                state.stolen = true;
                Self::reveal(&mut state);
            }
        }
        (state != *last).then_some(state)
    }

    /// A request that was processed twice stays so: what follows shows nothing more of the other properties.
    fn within_boundary(&self, state: &State) -> bool {
        state.processed.iter().all(|times| *times <= 2)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(PROPERTIES[0], |_, state| !state.violated[0]),
            Property::<Self>::always(PROPERTIES[1], |_, state| !state.violated[1]),
            Property::<Self>::always(PROPERTIES[2], |_, state| !state.violated[2]),
            Property::<Self>::always(PROPERTIES[3], |_, state| !state.violated[3]),
            Property::<Self>::always(PROPERTIES[4], |_, state| !state.violated[4]),
            Property::<Self>::sometimes(HONEST_RUN, |_, state| state.reached),
        ]
    }
}
