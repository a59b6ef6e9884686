//! One attestation of one peer: challenge, fetch, verify.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use url::Url;

use super::life::Life;
use super::settings::Settings;
use crate::challenge::Challenge;
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence};
use crate::fetch::{Deadline, Question, ask};
use crate::json::{self, Value};
use crate::maa::KeySet;
use crate::observe::{self, Step};
use crate::policy::Policy;
use crate::verify::verify;

/// Asks the agent behind a client, and verifies what it says. Key sets are fetched while the agent works.
pub(super) async fn attest(
    settings: &Settings,
    policy: &Policy,
    challenge: Challenge,
    (client, agent): (&Client, &Url),
    deadline: &Deadline,
) -> Result<Life, AttestationError> {
    let begun = settings.clock.moment();
    let question = Question {
        challenge: &challenge,
        maa: policy.maa().map(|trust| &trust.issuer),
        hardware: policy.amd().is_some(),
    };
    let key_set = async {
        match question.maa {
            Some(issuer) => observe::step(Step::KeySet, settings.key_sets.get(issuer, deadline)).await.map(Some),
            None => Ok(None),
        }
    };
    let evidence = async {
        let answer = observe::step(Step::Agent, ask(client, agent, question, *deadline)).await?;
        let (Some(trust), Some(report)) = (policy.amd(), &answer.evidence.report) else { return Ok((answer, None)) };
        let certificates = answer.certificates.as_deref();
        let collateral = settings.kds.collateral(report, certificates, trust.revocation, deadline);
        let collateral = observe::step(Step::Certificates, collateral).await?;
        Ok((answer, Some(collateral)))
    };
    let ((answer, collateral), mut key_set) = tokio::try_join!(evidence, key_set)?;
    if let (Some(issuer), Some(keys)) = (question.maa, &key_set)
        && names_unknown_key(&answer.evidence, keys)
    {
        key_set = Some(observe::step(Step::KeySet, settings.key_sets.get_again(issuer, deadline)).await?);
    }
    let (vek, crl) = collateral.map_or((None, None), |(vek, crl)| (Some(vek), crl));
    let endorsements = Endorsements {
        vek,
        crl,
        key_set,
        key_set_source: settings.key_sets.source(),
        amd_anchors: settings.amd_anchors.clone(),
        ..Endorsements::default()
    };
    let verdict = || verify(&answer.evidence, &endorsements, challenge, policy, settings.clock.now());
    let attested = observe::step_now(Step::Verify, verdict)?;
    Ok(Life::new(attested, begun))
}

/// Whether a token names a key that the set does not have, which is worth a look at a newer set. Whatever else is wrong with
/// it is for the verification to say.
fn names_unknown_key(evidence: &Evidence, keys: &KeySet) -> bool {
    let header = evidence.token.as_deref().and_then(|token| token.split('.').next());
    let Some(header) = header.and_then(|header| URL_SAFE_NO_PAD.decode(header).ok()) else { return false };
    let Ok(Value::Object(header)) = json::parse(&header) else { return false };
    header.required::<&str>("kid").is_ok_and(|id| keys.key_ids().all(|known| known != id))
}
