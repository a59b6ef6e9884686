//! What the front end does: it has instances attest, delivers what was sealed, reads what it can, and seals requests of its own.

use super::{
    ATTESTATIONS, Action, CONFIDENTIAL, Context, EVIDENCE, Key, RESPONSES, Response, Scenario, Sealing, Standing, State,
};

impl Scenario {
    pub(super) fn front_end_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.evidence.len() < EVIDENCE {
            let mut nonces: Vec<_> = (0..ATTESTATIONS).filter(|q| state.requested[*q]).map(|q| self.nonce(q)).collect();
            nonces.dedup();
            // The first evidence is that of instance 0: the other order differs by the numbers alone, unless one of them has a stolen key.
            let instances = if state.sessions_begun == 0 && !self.theft { 0..1 } else { 0..2 };
            for nonce in nonces {
                actions.extend(instances.clone().map(|instance| Action::Attest(instance, nonce)));
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
                if self.tells_declines() {
                    actions.push(Action::DeliverToBusy(index, instance));
                }
            }
        }
        self.own_actions(state, actions);
    }

    /// The front end seals requests of its own, to any attested key, with any session and number. Where responses open for their own
    /// requests alone, only those with the number of a sealed request have an effect on the client: that one is refused. They are
    /// delivered after it was sealed: no one sees the difference.
    fn own_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Without numbers, no request is like another one.
        if !self.has_numbers() {
            return;
        }
        for (index, sealed) in state.sealed.iter().enumerate() {
            let entry = (sealed.session, sealed.number);
            let holders = (0..2).filter(|instance| self.holds(*instance, sealed.key));
            let unused = holders.filter(|instance| !state.memory[*instance].seen.contains(&entry));
            actions.extend(unused.map(|instance| Action::DeliverOwn(index, instance)));
        }
    }

    /// The front end reads what it has the key for.
    pub(super) fn read(&self, state: &mut State) {
        let has_key = |key| key == Key::Attackers || (state.stolen && key == Key::OfInstance(0));
        let reads_request = state.sealed.iter().any(|sealed| has_key(sealed.key));
        let (own, of_client): (Vec<Response>, Vec<Response>) =
            state.responses.iter().partition(|response| matches!(response.to, Context::FrontEnd(_)));
        let reads_response =
            own.iter().any(|own| of_client.iter().any(|response| self.opens(state, own.to, *response)));
        if reads_request || reads_response {
            state.violate(CONFIDENTIAL);
        }
    }

    /// Keeps a response of an instance.
    pub(super) fn keep(&self, state: &mut State, response: Response) {
        let has_place = self.responses != Sealing::OfSession || state.responses.len() < RESPONSES;
        if has_place && !state.responses.contains(&response) {
            state.responses.push(response);
            state.responses.sort_unstable();
        }
    }

    /// Forgets the responses that open for nothing that the client waits for, or will wait for.
    pub(super) fn forget_responses(&self, state: &mut State) {
        if self.responses != Sealing::OfSession {
            let requests = state.requests;
            let is_waited_for = |to| {
                requests
                    .iter()
                    .any(|standing| matches!(standing, Standing::Sent(index) if to == Context::Client(*index)))
            };
            state.responses.retain(|response| is_waited_for(response.to));
        }
    }
}
