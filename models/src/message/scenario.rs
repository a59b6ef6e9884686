//! A variant of the protocol with an attacker, and what its steps change.

use stateright::{Model, Property};

use super::{ATTESTATIONS, Action, Evidence, Key, PROPERTIES, REQUESTS, Standing, State};
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

/// When the client seals a request again: under the attestation that is the latest by then, be it the same or the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// After a refusal that the instance sealed for a number that was not used before; if the request is idempotent, after every error
    /// and refusal. The client of this crate attests again before it does so after a refusal or an unknown key, and leaves it to its
    /// caller after other errors: the model lets the front end choose.
    AsBuilt,
    /// After an error of the front end, such as "key not known".
    OnUnauthenticatedError,
    /// After a refusal that the instance sealed: the number was used, or the session is not known.
    OnSealedRefusal,
    /// After a refusal that the instance sealed for a number that was not used before.
    OnSealedDecline,
    /// After every error and refusal, if the request is idempotent.
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
    /// How often the client seals a request, at most.
    pub sealings: usize,
    /// Whether an instance marks the number of a request that it declines as used.
    pub marks_declined: bool,
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
    pub fn as_built() -> Self {
        Self {
            replay: Replay::SessionOfAgent,
            resend: Resend::AsBuilt,
            sealings: 3,
            marks_declined: true,
            responses: Sealing::OfContext,
            shared_key: false,
            attests_any_data: false,
            theft: false,
            nonce_used_again: false,
        }
    }

    pub(super) fn nonce(&self, attestation: usize) -> usize {
        if self.nonce_used_again { 0 } else { attestation }
    }

    pub(super) fn key(&self, instance: usize) -> Key {
        if self.shared_key { Key::Shared } else { Key::OfInstance(instance) }
    }

    pub(super) fn has_numbers(&self) -> bool {
        matches!(self.replay, Replay::SessionOfAgent | Replay::SessionOfNonce)
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
        self.host_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        // What was violated before is not kept: a state is then the same whichever way led to it.
        let mut state = State { violated: [false; 5], ..last.clone() };
        match action {
            Action::Request(q) => state.requested[q] = true,
            Action::Attest(instance, nonce) => self.attest(&mut state, instance, nonce),
            Action::AttestsAnyData(nonce) => {
                let (session, requested) = (usize::MAX, last.requested);
                state.evidence.push(Evidence { nonce, key: Key::Attackers, session, requested });
            }
            Action::Receive(q, evidence) => Self::receive(&mut state, q, evidence),
            Action::Seal(request) => Self::seal(&mut state, request, last.member?),
            Action::Deliver(index, instance) => self.deliver(&mut state, index, instance),
            Action::DeliverToBusy(index, instance) => self.deliver_to_busy(&mut state, index, instance),
            Action::Respond(request, response) => self.respond(&mut state, request, response, true),
            Action::RespondCut(request, response) => self.respond(&mut state, request, response, false),
            Action::Fail(request) => self.fail(&mut state, request),
            Action::DeliverOwn(index, instance) => self.deliver_own(&mut state, index, instance),
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
            Action::Steal => state.stolen = true,
        }
        self.read(&mut state);
        self.forget_responses(&mut state);
        (state != *last).then_some(state)
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
