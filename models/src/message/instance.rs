//! What the instances do: they attest, and process, refuse or decline what opens.

use super::{Action, Context, Evidence, Key, Kind, Memory, ONCE, Replay, Response, Scenario, Sealed, State};

impl Scenario {
    pub(super) fn holds(&self, instance: usize, key: Key) -> bool {
        key == Key::Shared || key == Key::OfInstance(instance)
    }

    /// An instance makes evidence, and begins a session.
    pub(super) fn attest(&self, state: &mut State, instance: usize, nonce: usize) {
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

    pub(super) fn deliver(&self, state: &mut State, index: usize, instance: usize) {
        let sealed = state.sealed[index];
        let kind = if self.admits(&mut state.memory[instance], sealed) {
            // To process an idempotent request twice has the effect of processing it once.
            if state.processed[sealed.request] > 0 && !self.is_idempotent(sealed.request) {
                state.violate(ONCE);
            }
            // More than twice is no other state: it shows nothing more.
            state.processed[sealed.request] = (state.processed[sealed.request] + 1).min(2);
            Kind::Processed
        } else {
            Kind::Refused
        };
        self.keep(state, Response { to: Context::Client(index), kind });
    }

    pub(super) fn deliver_to_busy(&self, state: &mut State, index: usize, instance: usize) {
        let mut memory = state.memory[instance].clone();
        let kind = if self.admits(&mut memory, state.sealed[index]) { Kind::Declined } else { Kind::Refused };
        if self.marks_declined {
            state.memory[instance] = memory;
        }
        self.keep(state, Response { to: Context::Client(index), kind });
    }

    /// A request of the front end's own is one of any client.
    pub(super) fn deliver_own(&self, state: &mut State, index: usize, instance: usize) {
        let own = state.sealed[index];
        let admitted = self.admits(&mut state.memory[instance], own);
        let kind = if admitted { Kind::Processed } else { Kind::Refused };
        self.keep(state, Response { to: Context::FrontEnd(own.session), kind });
    }

    /// What the host of an instance can do, and time.
    pub(super) fn host_actions(&self, state: &State, actions: &mut Vec<Action>) {
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
}
