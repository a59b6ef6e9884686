//! The order of errors where evidence and what it is verified with are fetched at the same time.

use std::future::Future;
use std::pin::pin;

use crate::error::AttestationError;

/// Waits for both. Which error is returned does not depend on which is first: that of the evidence, if it has one, else that of the
/// endorsement. Otherwise a delay on the network would choose between a verdict on the peer and an error that says nothing about it.
///
/// An error of the evidence ends both at once. One of the endorsement waits for the evidence, which may have a verdict.
pub(super) async fn evidence_first<E, T>(
    evidence: impl Future<Output = Result<E, AttestationError>>,
    endorsement: impl Future<Output = Result<T, AttestationError>>,
) -> Result<(E, T), AttestationError> {
    let (mut evidence, mut endorsement) = (pin!(evidence), pin!(endorsement));
    tokio::select! {
        biased;
        evidence = &mut evidence => Ok((evidence?, endorsement.await?)),
        endorsement = &mut endorsement => Ok((evidence.await?, endorsement?)),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use tokio::sync::oneshot::{self, Sender};

    use super::*;
    use crate::error::ChannelNotBound;

    type Outcome = Result<u8, AttestationError>;

    /// Runs with outcomes that arrive in this order; the one that is `None` never does. Each is sent when all that came before has
    /// been looked at.
    async fn run(
        evidence: Option<Outcome>,
        endorsement: Option<Outcome>,
        evidence_is_first: bool,
    ) -> Result<(u8, u8), AttestationError> {
        let ((of_evidence, evidence_gate), (of_endorsement, endorsement_gate)) =
            (oneshot::channel(), oneshot::channel());
        let gated = |gate: oneshot::Receiver<Outcome>| async { gate.await.unwrap() };
        let both = evidence_first(gated(evidence_gate), gated(endorsement_gate));
        let (first, second) = match evidence_is_first {
            true => ((of_evidence, evidence), (of_endorsement, endorsement)),
            false => ((of_endorsement, endorsement), (of_evidence, evidence)),
        };
        // Dropping a sender would make its gate fail.
        let mut kept = Vec::new();
        let mut send = |(to, outcome): (Sender<Outcome>, Option<Outcome>)| match outcome {
            // Refused where nothing waits for it any more.
            Some(outcome) => drop(to.send(outcome)),
            None => kept.push(to),
        };
        let mut both = pin!(both);
        send(first);
        if let Poll::Ready(done) = poll_once(both.as_mut()).await {
            return done;
        }
        send(second);
        match poll_once(both).await {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("it waits for what never comes"),
        }
    }

    /// Polls once.
    async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test]
    async fn the_error_does_not_depend_on_which_is_first() {
        let verdict = AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData };
        let agent = AttestationError::AgentUnreachable { reason: "down".to_owned(), source: None };
        let keys = AttestationError::KdsUnreachable { reason: "down".to_owned(), source: None };
        for evidence_is_first in [true, false] {
            for evidence in [&verdict, &agent] {
                for endorsement in [Ok(2), Err(keys.clone())] {
                    let outcome = run(Some(Err(evidence.clone())), Some(endorsement), evidence_is_first).await;
                    assert_eq!(outcome, Err(evidence.clone()));
                }
            }
            let outcome = run(Some(Ok(1)), Some(Err(keys.clone())), evidence_is_first).await;
            assert_eq!(outcome, Err(keys.clone()));
            assert_eq!(run(Some(Ok(1)), Some(Ok(2)), evidence_is_first).await, Ok((1, 2)));
        }
    }

    #[tokio::test]
    async fn an_error_of_the_evidence_does_not_wait_for_the_endorsement() {
        let agent = AttestationError::AgentUnreachable { reason: "down".to_owned(), source: None };
        for evidence_is_first in [true, false] {
            assert_eq!(run(Some(Err(agent.clone())), None, evidence_is_first).await, Err(agent.clone()));
        }
    }
}
