//! What the client, the agent and the attacker do.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use super::{
    Action, CLIENT_CONNECTIONS, ClientConnection, Code, End, Evidence, Exporter, FRESH, INSIDE_KEYS_ONLY, Instance,
    Key, NOT_TO_ATTACKER, OWNER_ONLY, OwnConnection, PROPERTIES, Standing, State,
};
use crate::HONEST_RUN;

/// The runtime data of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nonce and key. A key that was attested is attested on every connection.
    BoundServer,
    /// Nonce and key, and each connection is attested by itself: only to show that this alone does not suffice.
    BoundServerEachConnection,
    /// Nonce, key and exporter; each connection is attested by itself.
    BoundConnection,
}

/// When the attacker can steal the key [`Key::Old`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theft {
    Never,
    WhileServing,
    OnceRetired,
    OnceClosed,
    /// Once its connections are closed and no attestation of it is valid.
    OnceExpired,
}

/// A check that the client makes on evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Code,
    Nonce,
    Key,
}

/// A scenario: the form, what the attacker can do, and how the protocol is used.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub form: Form,
    pub theft: Theft,
    /// Whether the client validates the server's name: only the owner's keys have a certificate.
    pub web_pki: bool,
    /// Whether the attacker can start an instance of the accepted code.
    pub same_code: bool,
    /// Whether the attacker carries requests for evidence and responses, wherever the connection ends.
    pub separate_agent: bool,
    /// Whether accepted code attests data of a caller's choice.
    pub attests_any_data: bool,
    /// Whether the owner's keys were generated outside, where the attacker obtained them.
    pub keys_from_outside: bool,
    pub nonce_used_again: bool,
    /// Whether the agent attests a retired key on connections that are still open.
    pub attests_retired_key: bool,
    /// A check that the client omits: shows that each one is needed.
    pub omitted: Option<Check>,
    /// How many connections the attacker opens, at most 2.
    pub own_connections: usize,
}

impl Scenario {
    /// The form as specified: anyone can start the same code, nothing is stolen, the agent attests a retired key until its
    /// connections are closed (the protocol permits it).
    pub fn new(form: Form) -> Self {
        Self {
            form,
            theft: Theft::Never,
            web_pki: false,
            same_code: true,
            separate_agent: false,
            attests_any_data: false,
            keys_from_outside: false,
            nonce_used_again: false,
            attests_retired_key: true,
            omitted: None,
            own_connections: 2,
        }
    }

    fn key_of(&self, instance: Instance, state: &State) -> Key {
        match instance {
            Instance::Owners if state.rotated => Key::New,
            Instance::Owners => Key::Old,
            Instance::Attackers => Key::OfAttackersInstance,
        }
    }

    fn instances(&self) -> Vec<Instance> {
        if self.same_code { vec![Instance::Owners, Instance::Attackers] } else { vec![Instance::Owners] }
    }

    /// The private keys that the attacker has.
    fn attackers_keys(&self, state: &State) -> Vec<Key> {
        let mut keys = vec![Key::Attackers];
        if state.stolen || self.keys_from_outside {
            keys.push(Key::Old);
        }
        if self.keys_from_outside {
            keys.push(Key::New);
        }
        keys
    }

    fn has_certificate(&self, key: Key) -> bool {
        !self.web_pki || matches!(key, Key::Old | Key::New)
    }

    fn can_steal(&self, state: &State) -> bool {
        let valid = state.attested_keys[Key::Old as usize];
        !state.stolen
            && match self.theft {
                Theft::Never => false,
                Theft::WhileServing => !state.rotated,
                Theft::OnceRetired => state.rotated,
                Theft::OnceClosed => state.drained,
                Theft::OnceExpired => state.drained && !valid,
            }
    }

    fn nonce(&self, connection: usize) -> usize {
        if self.nonce_used_again { 0 } else { connection }
    }

    /// The nonces that the attacker has seen: those of requests to the attacker, or which they carried.
    fn seen_nonces(&self, state: &State) -> BTreeSet<usize> {
        let seen = |c: &usize| {
            state.requested[*c] && state.client[*c].is_some_and(|open| self.separate_agent || open.end == End::Attacker)
        };
        (0..CLIENT_CONNECTIONS).filter(seen).map(|c| self.nonce(c)).collect()
    }

    /// What the client checks. It computes the expected value from its own connection.
    fn accepts(&self, evidence: &Evidence, connection: usize, key: Key) -> bool {
        let checked = |check| self.omitted != Some(check);
        (!checked(Check::Code) || evidence.code == Code::Accepted)
            && (!checked(Check::Nonce) || evidence.nonce == self.nonce(connection))
            && (!checked(Check::Key) || evidence.key == key)
            && (self.form != Form::BoundConnection || evidence.exporter == Some(Exporter::OfClient(connection)))
    }

    fn may_send(&self, state: &State, open: ClientConnection) -> bool {
        match open.standing {
            Standing::Attested => true,
            Standing::Opened => self.form == Form::BoundServer && state.attested_keys[open.key as usize],
            Standing::Requested | Standing::Over => false,
        }
    }

    /// Whether the agent attests for this key of the connection.
    fn attests(&self, state: &State, key: Key) -> bool {
        key != Key::Old || !state.rotated || (!state.drained && self.attests_retired_key)
    }

    /// The client receives evidence over a connection.
    fn receive(&self, state: &mut State, connection: usize, evidence: &Evidence) {
        let Some(open) = &mut state.client[connection] else { return };
        if !self.accepts(evidence, connection, open.key) {
            open.standing = Standing::Over;
            return;
        }
        open.standing = Standing::Attested;
        state.attested_keys[open.key as usize] = true;
        if !evidence.requested[connection] {
            state.violate(FRESH);
        }
    }

    fn send(&self, state: &mut State, open: ClientConnection) {
        let inside = match open.key {
            Key::Attackers => false,
            Key::OfAttackersInstance => true,
            Key::Old | Key::New => !self.keys_from_outside,
        };
        if !inside {
            state.violate(INSIDE_KEYS_ONLY);
        }
        match open.end {
            End::Instance(Instance::Owners) => state.reached = true,
            End::Instance(Instance::Attackers) => {
                state.violate(OWNER_ONLY);
            }
            End::Attacker => {
                state.violate(NOT_TO_ATTACKER);
                state.violate(OWNER_ONLY);
            }
        }
    }
}

impl Scenario {
    /// Evidence of accepted code for a request over a connection with this key and exporter.
    fn evidence(&self, state: &State, nonce: usize, key: Key, exporter: Exporter) -> Evidence {
        let exporter = (self.form == Form::BoundConnection).then_some(exporter);
        Evidence { code: Code::Accepted, nonce, key, exporter, requested: state.requested }
    }

    fn client_actions(&self, state: &State, c: usize, actions: &mut Vec<Action>) {
        let Some(open) = state.client[c] else {
            // The first connection is opened first: the other order differs by the numbers alone.
            if c > 0 && state.client[c - 1].is_none() {
                return;
            }
            let to_instances = self.instances().into_iter().map(|to| (End::Instance(to), self.key_of(to, state)));
            let to_attacker = self.attackers_keys(state).into_iter().map(|key| (End::Attacker, key));
            let shown = to_instances.chain(to_attacker).filter(|(_, key)| self.has_certificate(*key));
            actions.extend(shown.map(|(end, key)| Action::Open(c, end, key)));
            return;
        };
        match (open.standing, open.end) {
            (Standing::Opened, _) => actions.push(Action::Request(c)),
            (Standing::Requested, End::Instance(_)) if self.attests(state, open.key) => {
                actions.push(Action::TeeResponds(c));
            }
            _ => {}
        }
        if open.standing == Standing::Requested && (self.separate_agent || open.end == End::Attacker) {
            actions.push(Action::OtherCodeResponds(c));
            actions.extend(state.evidence.iter().map(|evidence| Action::AttackerResponds(c, *evidence)));
        }
        if self.may_send(state, open) {
            actions.push(Action::Send(c));
        }
    }

    fn attacker_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let nonces = self.seen_nonces(state);
        for a in 0..self.own_connections {
            match state.own[a] {
                None if a == 0 || state.own[a - 1].is_some() => {
                    actions.extend(self.instances().into_iter().map(|to| Action::AttackerConnects(a, to)));
                }
                Some(own) if self.attests(state, own.key) => {
                    actions.extend(nonces.iter().map(|nonce| Action::AttackerRequests(a, *nonce)));
                }
                _ => {}
            }
        }
        if self.attests_any_data {
            for (c, open) in state.client.iter().enumerate().filter_map(|(c, open)| Some((c, (*open)?))) {
                if open.end == End::Attacker && nonces.contains(&self.nonce(c)) {
                    let evidence = self.evidence(state, self.nonce(c), open.key, Exporter::OfClient(c));
                    actions.push(Action::AttestsAnyData(evidence));
                }
            }
        }
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..CLIENT_CONNECTIONS).for_each(|c| self.client_actions(state, c, actions));
        self.attacker_actions(state, actions);
        if self.can_steal(state) {
            actions.push(Action::Steal);
        }
        if !state.rotated {
            actions.push(Action::Rotate);
        } else if !state.drained {
            actions.push(Action::Drain);
        }
        if state.attested_keys.contains(&true) {
            actions.push(Action::Expire);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Open(c, end, key) => {
                state.client[c] = Some(ClientConnection { end, key, standing: Standing::Opened });
            }
            Action::Request(c) => {
                state.client[c].as_mut()?.standing = Standing::Requested;
                state.requested[c] = true;
            }
            Action::TeeResponds(c) => {
                let evidence = self.evidence(last, self.nonce(c), last.client[c]?.key, Exporter::OfClient(c));
                if self.separate_agent {
                    state.evidence.insert(evidence);
                }
                self.receive(&mut state, c, &evidence);
            }
            Action::AttackerResponds(c, evidence) => self.receive(&mut state, c, &evidence),
            Action::OtherCodeResponds(c) => {
                let evidence = self.evidence(last, self.nonce(c), last.client[c]?.key, Exporter::OfClient(c));
                self.receive(&mut state, c, &Evidence { code: Code::Other, ..evidence });
            }
            Action::Send(c) => self.send(&mut state, last.client[c]?),
            Action::AttackerConnects(a, to) => state.own[a] = Some(OwnConnection { to, key: self.key_of(to, last) }),
            Action::AttackerRequests(a, nonce) => {
                let evidence = self.evidence(last, nonce, last.own[a]?.key, Exporter::OfAttacker(a));
                state.evidence.insert(evidence);
            }
            Action::AttestsAnyData(evidence) => {
                state.evidence.insert(evidence);
            }
            Action::Steal => state.stolen = true,
            Action::Rotate => state.rotated = true,
            Action::Drain => {
                state.drained = true;
                state.close(|open| matches!(open.end, End::Instance(_)) && open.key == Key::Old);
            }
            Action::Expire => {
                state.attested_keys = [false; 4];
                state.close(|open| open.standing == Standing::Attested);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(PROPERTIES[0], |_, state: &State| !state.violated[0]),
            Property::<Self>::always(PROPERTIES[1], |_, state: &State| !state.violated[1]),
            Property::<Self>::always(PROPERTIES[2], |_, state: &State| !state.violated[2]),
            Property::<Self>::always(PROPERTIES[3], |_, state: &State| !state.violated[3]),
            Property::<Self>::sometimes(HONEST_RUN, |_, state: &State| state.reached),
        ]
    }
}
