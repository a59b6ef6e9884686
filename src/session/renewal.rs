//! Attestations that end soon are made anew.

use std::sync::Arc;
use std::time::Instant;

use super::line::dial;
use super::members::{AFTER_ATTESTATION, Member, Renewal, is_verdict};
use super::route::Route;
use super::{Life, Shared};
use crate::error::AttestationError;
use crate::fetch::Deadline;
use crate::observe::{self, Step};

/// The part of the time for renewals that is too little to begin another one in.
const LEAST_SHARE: u32 = 16;

impl Shared {
    /// Renews attestations that end soon, over connections that are open: in the task of the request that finds it out, and of
    /// no other. Where no verdict can be had, the old one holds to its end. All of it takes at most the verifier's deadline
    /// and half of the request's time, and each key half of what is left of that.
    pub(super) async fn renew_the_late(&self, deadline: &Deadline) -> Result<(), AttestationError> {
        let all = self.settings.deadline.min(deadline.half_left());
        let (least, all) = (all.checked_div(LEAST_SHARE).unwrap_or_default(), Deadline::after(all));
        for member in self.members.holding() {
            let life = member.life();
            if !life.is_late(&self.settings.clock) {
                continue;
            }
            let Ok(mut renewal) = member.renewal.try_lock() else { continue };
            if renewal.paused_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            // Agents that hang have had it all: the next request goes on here.
            if all.left() < least {
                break;
            }
            // Beforehand, since a request that is given up goes no further than this.
            renewal.paused_until = life.pause();
            self.renew(&member, &mut renewal, &Deadline::after(all.half_left())).await?;
        }
        Ok(())
    }

    /// Renews an attestation over a connection that was opened for a request, where there was none to do it over before.
    pub(super) async fn renew_at_last(
        &self,
        member: &Arc<Member>,
        deadline: &Deadline,
    ) -> Result<(), AttestationError> {
        match member.renewal.try_lock() {
            Ok(mut renewal) if renewal.unasked => {
                self.renew(member, &mut renewal, &Deadline::after(deadline.half_left())).await
            }
            _ => Ok(()),
        }
    }

    async fn renew(
        &self,
        member: &Arc<Member>,
        renewal: &mut Renewal,
        deadline: &Deadline,
    ) -> Result<(), AttestationError> {
        let misses = member.misses();
        let outcome = observe::renewal(self.attest_again(member, misses, deadline)).await;
        match outcome {
            Ok(life) => {
                *renewal = Renewal::default();
                self.members.renew(member, life);
                Ok(())
            }
            Err(error) if is_verdict(&error) => {
                self.settings.verdicts.refused(&self.about(member.key()), &self.settings.clock);
                self.members.leave(member.key(), &error);
                Err(error)
            }
            Err(_) => {
                renewal.unasked = member.misses() != misses;
                Ok(())
            }
        }
    }

    async fn attest_again(&self, member: &Member, misses: u64, deadline: &Deadline) -> Result<Life, AttestationError> {
        let (client, agent) = self.route.agent(member.client(), &self.base);
        let outcome = self.attest(member.key(), (&client, &agent), deadline).await;
        member.expect_back(AFTER_ATTESTATION);
        // Misses are counted for all requests: a refusal is one, whatever else they met.
        let is_final = outcome.as_ref().map_or_else(is_verdict, |_| true);
        if is_final || member.misses() == misses || !member.standing().is_in_use() {
            return outcome;
        }
        // Every connection is in use, and nothing was asked. Of a key that nobody uses they are gone, and so may its peer be.
        self.attest_by_another(member, deadline).await
    }

    /// Attests a member over a new connection, if that one is to the same key; a balancer may lead it to another.
    async fn attest_by_another(&self, member: &Member, deadline: &Deadline) -> Result<Life, AttestationError> {
        let Route::Bound { names, .. } = &self.route else { return Err(AttestationError::AttestationExpired) };
        let root = self.base.root();
        let line = observe::step(Step::Dial, dial(&self.settings, &root, names.clone(), deadline)).await;
        // What is wrong with another connection says nothing of this member.
        let Ok(line) = line else { return Err(AttestationError::AttestationExpired) };
        let key = Some(line.key());
        if key != member.key() {
            if let Some(other) = self.members.find(key) {
                self.members.reinforce(&other, &line);
            }
            return Err(AttestationError::AttestationExpired);
        }
        let (client, agent) = self.route.agent(line.client(), &self.base);
        self.attest(key, (&client, &agent), deadline).await
    }
}
