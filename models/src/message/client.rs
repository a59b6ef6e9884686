//! What the client does: it attests, seals, opens responses, and decides what is sealed again.

use super::{
    ATTESTATIONS, Action, COMPLETE, Context, Evidence, FRESH, IDEMPOTENT, Kind, MATCHED, REQUESTS, Resend, Response,
    Scenario, Sealed, Sealing, Standing, State,
};

impl Scenario {
    pub(super) fn client_actions(&self, state: &State, actions: &mut Vec<Action>) {
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
                Standing::Waiting => {
                    if state.member.is_some() && state.sealed.len() < self.sealings && self.is_next(state, request) {
                        actions.push(Action::Seal(request));
                    }
                }
                Standing::Sent(index) => {
                    for response in
                        state.responses.iter().filter(|response| self.opens(state, Context::Client(index), **response))
                    {
                        actions.push(Action::Respond(request, *response));
                        actions.push(Action::RespondCut(request, *response));
                    }
                    actions.push(Action::Fail(request));
                }
                Standing::Over => {}
            }
        }
    }

    /// Where the requests are alike, the first one is sealed first: the other order differs by the numbers alone.
    fn is_next(&self, state: &State, request: usize) -> bool {
        let are_alike = !matches!(self.resend, Resend::AsBuilt | Resend::Idempotent);
        !are_alike || request == 0 || state.sealed.iter().any(|sealed| sealed.request == request - 1)
    }

    pub(super) fn receive(state: &mut State, attestation: usize, evidence: Evidence) {
        state.accepted[attestation] = true;
        if !evidence.requested[attestation] {
            state.violate(FRESH);
        }
        state.member = Some(evidence);
        state.next_number = 0;
    }

    pub(super) fn seal(state: &mut State, request: usize, member: Evidence) {
        let (key, session) = (member.key, member.session);
        state.requests[request] = Standing::Sent(state.sealed.len());
        state.sealed.push(Sealed { request, key, session, number: state.next_number, time: false });
        state.next_number += 1;
    }

    /// Whether the holder of a context can open a response.
    pub(super) fn opens(&self, state: &State, context: Context, response: Response) -> bool {
        match self.responses {
            Sealing::OfContext | Sealing::WithoutEnd => response.to == context,
            Sealing::OfSession => state.session_of(response.to) == state.session_of(context),
        }
    }

    /// The client gets a response that opens, or its first parts.
    pub(super) fn respond(&self, state: &mut State, request: usize, response: Response, is_whole: bool) {
        if !is_whole {
            // What lacks the mark is an error, also if it begins as a decline does.
            if self.responses != Sealing::WithoutEnd {
                return self.fail(state, request);
            }
            state.violate(COMPLETE);
        }
        let is_matched = match response.to {
            Context::Client(index) => state.sealed[index].request == request,
            Context::FrontEnd(_) => false,
        };
        if !is_matched {
            state.violate(MATCHED);
        }
        state.reached |= response.kind == Kind::Processed && is_matched;
        let again = match response.kind {
            Kind::Processed => false,
            Kind::Refused => self.resend == Resend::OnSealedRefusal || self.is_idempotent(request),
            Kind::Declined => self.tells_declines() || self.is_idempotent(request),
        };
        Self::end(state, request, again);
    }

    /// The client gets nothing that is authentic and complete.
    pub(super) fn fail(&self, state: &mut State, request: usize) {
        let again = self.resend == Resend::OnUnauthenticatedError || self.is_idempotent(request);
        Self::end(state, request, again);
    }

    fn end(state: &mut State, request: usize, again: bool) {
        state.requests[request] = if again { Standing::Waiting } else { Standing::Over };
    }

    /// Whether the client makes a difference between a decline and a refusal.
    pub(super) fn tells_declines(&self) -> bool {
        matches!(self.resend, Resend::AsBuilt | Resend::OnSealedDecline)
    }

    pub(super) fn is_idempotent(&self, request: usize) -> bool {
        matches!(self.resend, Resend::AsBuilt | Resend::Idempotent) && request == IDEMPOTENT
    }
}
