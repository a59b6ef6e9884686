//! Checks of what the virtual TPM of an Azure confidential VM shows.

use super::AppraisalBuilder;
use crate::azure_vm::{AzureVmClaims, RuntimeClaims, VerifiedAkCertificate};
use crate::binding;
use crate::error::Violation;
use crate::policy::Policy;
use crate::types::{SpkiDigest, shorten};

/// Checks the evidence that the report of the paravisor covers. `tls_key` is the key that the evidence names.
pub(super) fn appraise(
    checks: &mut AppraisalBuilder,
    vm: &AzureVmClaims,
    tls_key: Option<SpkiDigest>,
    policy: &Policy,
) {
    const SIGNED: &str = "signed by the attestation key in the paravisor's report";
    // Without one there is no verdict: see `crate::verify`.
    if vm.quote.is_some() {
        checks.passed("tpm quote", SIGNED, SIGNED);
    }
    report_of_this_boot(checks, &vm.runtime_claims, tls_key, policy);
    ak_certificate(checks, vm.ak_certificate.as_ref());
}

/// Checks that the report of the paravisor was made after the TLS key, which exists since this boot.
fn report_of_this_boot(
    checks: &mut AppraisalBuilder,
    claims: &RuntimeClaims,
    tls_key: Option<SpkiDigest>,
    policy: &Policy,
) {
    const NAME: &str = "report of this boot";
    const EXPECTED: &str = "user-data names the attested TLS key";
    let Some(key) = tls_key else {
        return checks.not_evaluated(NAME, "recorded evidence without runtime data names no TLS key", "any");
    };
    let expected = binding::user_data_of_key(&key);
    if claims.user_data == Some(expected) {
        return checks.passed(NAME, EXPECTED, EXPECTED);
    }
    if policy.allowances().report_of_earlier_boot {
        let actual = "NOT SHOWN: the report may be of an earlier boot, of an older paravisor or another configuration";
        return checks.allowed(NAME, EXPECTED, actual);
    }
    let actual = claims.user_data.map(|data| data.to_string());
    let found = actual.clone().unwrap_or_else(|| "no user-data".to_owned());
    checks.failed(NAME, EXPECTED, found, Violation::KeyNotInReport { expected: expected.to_string(), actual });
}

fn ak_certificate(checks: &mut AppraisalBuilder, certificate: Option<&VerifiedAkCertificate>) {
    const NAME: &str = "ak certificate";
    match certificate {
        Some(certificate) => {
            let subject = shorten(certificate.subject(), 80);
            let actual = format!("{subject}, valid until {}", certificate.expires_at());
            checks.passed(NAME, "issued by Azure to a confidential VM", actual);
        }
        None => checks.not_evaluated(NAME, "the agent sent none: that the VM stands in Azure is not shown", "none"),
    }
}
