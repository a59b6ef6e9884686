//! `policy learn`: collects the evidence of one deployment, and prints a policy with what it showed.

mod draft;

use std::process::ExitCode;

use blindbox_attestation::claims::UvmClaims;
use blindbox_attestation::uvm::{self, EndorsementExpectations};
use blindbox_attestation::{
    Claims, Evidence, EvidenceBundle, GuestIdentity, HostData, Policy, UvmRequirement, verify_unappraised,
};
use clap::Args;

use self::draft::{SHOWN, paravisor_note};
use super::{BindingArgument, Kind, trust_in, workload_that_binds};
use crate::connect_args::Network;
use crate::exit::{Failure, ended, note, print};
use crate::terminal::with_progress;

#[derive(Args)]
pub struct Learn {
    /// Where the application is, such as https://my-app.example.
    #[arg(value_name = "URL")]
    url: String,

    /// The kind of TEE.
    #[arg(long, value_enum, default_value = "container")]
    kind: Kind,

    /// Ask this MAA instance, such as https://sharedneu.neu.attest.azure.net.
    #[arg(long, value_name = "URL", required_unless_present = "amd", help_heading = "Who may judge")]
    maa: Option<String>,

    /// Ask for the hardware report, and verify it down to AMD's root.
    #[arg(long, help_heading = "Who may judge")]
    amd: bool,

    /// Whether the workload binds its TLS key to its evidence: your assertion, which the evidence of a peer does not replace (see
    /// `policy new`).
    #[arg(long, value_enum, help_heading = "What must run")]
    binding: BindingArgument,

    /// Do not validate the server's name in this look, nor with the policy.
    #[arg(long, help_heading = "Relaxations")]
    allow_unverified_name: bool,

    #[command(flatten)]
    network: Network,
}

/// What evidence showed, of which signatures were verified and nothing was required.
struct Shown {
    claims: Claims,
    uvm: Option<UvmClaims>,
    /// Of an Azure VM, from the report of its paravisor or its token.
    vm_id: Option<String>,
}

impl Learn {
    pub async fn run(&self) -> Result<ExitCode, Failure> {
        let asking = self.asking()?;
        let verifier = self.network.verifier()?;
        let doing = format!("asking {}", self.url);
        let collected = with_progress(&doing, verifier.collect(&self.url, &asking)).await?;
        let shown = learned(&collected, &asking)?;
        let text = self.draft(&collected, &shown);
        note(&format!(
            "note: every line that says {SHOWN:?} is asserted by one peer alone; check each before you require it"
        ));
        // Beside the comment in the file, which standard output may have taken unseen.
        if let Some(paravisor) =
            shown.claims.tee.snp().filter(|_| matches!(self.kind, Kind::Vm)).and_then(paravisor_note)
        {
            note(&paravisor);
        }
        match text.parse::<Policy>() {
            Ok(policy) => policy.lint().iter().for_each(|open| note(&format!("note: {open}"))),
            // What the peer showed is nothing that a policy may require, such as a CCE policy that allows everything.
            Err(error) => note(&format!("note: as it stands, this policy is refused: {error}")),
        }
        Ok(ended(0, print(&text)))
    }

    /// A policy to ask with: it names who is asked and how, and nothing is appraised by it.
    fn asking(&self) -> Result<Policy, Failure> {
        let trust = trust_in(self.maa.as_deref(), self.amd)?;
        let trust = if self.maa.is_some() { trust.allow_any_maa_policy()?.allow_test_attester()? } else { trust };
        let policy = match self.kind {
            Kind::Container => {
                let any = HostData::from_hex(&"01".repeat(32)).map_err(|error| Failure::setting(error.to_string()))?;
                let workload = workload_that_binds(self.binding.into(), any);
                Policy::confidential_container(trust, workload, UvmRequirement::at_least(1))
            }
            Kind::Vm => Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), self.binding.into()),
        };
        let is_unbound = matches!(self.binding, BindingArgument::None);
        let policy = if is_unbound { policy.and_then(Policy::allow_unbound_channel) } else { policy };
        let in_clear = is_unbound && self.url.starts_with("http://");
        let policy = if in_clear { policy.and_then(Policy::allow_unbound_plain_http) } else { policy };
        let policy = if self.allow_unverified_name { policy.and_then(Policy::allow_unverified_name) } else { policy };
        policy.map_err(Failure::from)
    }
}

/// Verifies every signature and that all is about one TEE. Anything else is no evidence to learn from.
fn learned(collected: &EvidenceBundle, asking: &Policy) -> Result<Shown, Failure> {
    if let Some(missing) = collected.missing().next() {
        return Err(missing.clone().into());
    }
    let endorsements = collected.endorsements()?;
    let (evidence, other) = apart(&collected.evidence)?;
    let unappraised = verify_unappraised(&evidence, &endorsements, asking.maa_issuer(), collected.received_at)?;
    let claims = unappraised.claims().clone();
    let measurement = claims.tee.snp().map(|snp| snp.measurement);
    let uvm = match other {
        Some(other) if Some(other.measurement) != measurement => {
            return Err(Failure::setting(format!(
                "the endorsement is of {}, and the guest's measurement is {}: expected the same",
                other.measurement,
                measurement.map_or_else(|| "not reported".to_owned(), |measurement| measurement.to_string())
            )));
        }
        Some(other) => Some(other),
        None => claims.uvm.clone(),
    };
    let stated = claims.azure_vm.as_ref().map(|vm| vm.runtime_claims.vm_configuration.vm_id.to_string());
    let in_token = || claims.maa.as_ref().and_then(|maa| maa.vm_id).map(|id| id.to_string());
    let vm_id = stated.or_else(in_token);
    Ok(Shown { uvm, vm_id, claims })
}

/// Evidence, and apart from it an endorsement that is not Microsoft's: verified under the issuer that it names itself, which
/// says no more than that one signer made all of it.
fn apart(evidence: &Evidence) -> Result<(Evidence, Option<UvmClaims>), Failure> {
    let mut evidence = evidence.clone();
    let Some(document) = evidence.uvm_endorsement.take() else { return Ok((evidence, None)) };
    let named = uvm::read_unverified(&document).map_err(blindbox_attestation::AttestationError::from)?;
    let (issuer, feed) = (named.issuer.unwrap_or_default(), named.feed.unwrap_or_default());
    if (issuer.as_str(), feed.as_str()) == (UvmRequirement::PRODUCTION_ISSUER, UvmRequirement::PRODUCTION_FEED) {
        evidence.uvm_endorsement = Some(document);
        return Ok((evidence, None));
    }
    let expected = EndorsementExpectations::new(&issuer, &feed);
    let verified = uvm::verify(&document, &expected).map_err(blindbox_attestation::AttestationError::from)?;
    Ok((evidence, Some(verified.claims().clone())))
}
