//! What every evidence carries, of which each trust is tested; and what only a token does.

mod guest;
mod machine;
mod token_only;
mod workload;

use blindbox_attestation::claims::SnpClaims;
use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{Policy, PolicyError, Trust};

use crate::scene::*;

fn guest_with(change: impl FnOnce(&mut SnpClaims)) -> Guest {
    let mut guest = endorsed_container();
    change(&mut guest.snp);
    guest
}

/// Under every trust: MAA's word, AMD's word, both.
fn under_every_trust(change: impl Fn(Policy) -> Result<Policy, PolicyError>) -> [Policy; 3] {
    let maa = Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), own_uvm()).unwrap();
    [maa, amd_policy(), both_policy()].map(|policy| change(policy).unwrap())
}

/// Which of its requirements accept more than the default does, by `lint`.
fn relaxations(policy: &Policy) -> Vec<&'static str> {
    policy.lint().into_iter().map(|lint| lint.code).filter(|code| code.ends_with("-relaxed")).collect()
}
