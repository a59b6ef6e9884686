//! What only a token carries: compliance, and its age.

use std::time::Duration;

use blindbox_attestation::Violation;

use super::super::{allowed, failed, passed};
use crate::scene::*;

use super::relaxations;

#[test]
fn compliance_is_said_and_is_the_accepted_one() {
    let mut guest = container();
    passed(attest(&guest, &maa_policy()), "compliance", "azure-compliant-uvm");
    for status in [None, Some("azure-signed-uvm"), Some("AZURE-COMPLIANT-UVM"), Some("azure-compliant-uvm ")] {
        guest.compliance_status = status.map(ToOwned::to_owned);
        failed(
            attest(&guest, &maa_policy()),
            "compliance",
            Violation::NonCompliantUvm {
                expected: "azure-compliant-uvm".to_owned(),
                status: status.map(ToOwned::to_owned),
            },
        );
    }
    guest.compliance_status = Some("azure-signed-uvm".to_owned());
    let refused = attest(&guest, &maa_policy()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "attestation validation failed (non-compliant uvm): expected azure-compliant-uvm, found azure-signed-uvm"
    );
    let own = maa_policy().require_compliance_status(["azure-signed-uvm", "better"]).unwrap();
    // The default would have refused it, so the result shows whose rule accepts it.
    allowed(attest(&guest, &own), "compliance", "azure-signed-uvm, which require.compliance-status accepts");
    assert_eq!(relaxations(&own), ["compliance-status-relaxed"]);
    let beside = maa_policy().require_compliance_status(["azure-compliant-uvm", "azure-signed-uvm"]).unwrap();
    allowed(attest(&guest, &beside), "compliance", "azure-signed-uvm, which require.compliance-status accepts");
    passed(attest(&container(), &beside), "compliance", "azure-compliant-uvm");
    assert_eq!(relaxations(&beside), ["compliance-status-relaxed"]);
    let usual = maa_policy().require_compliance_status(["azure-compliant-uvm"]).unwrap();
    assert_eq!(relaxations(&usual), [""; 0]);
    guest.compliance_status = Some("azure-compliant-uvm".to_owned());
    failed(
        attest(&guest, &own),
        "compliance",
        Violation::NonCompliantUvm {
            expected: "one of azure-signed-uvm, better".to_owned(),
            status: Some("azure-compliant-uvm".to_owned()),
        },
    );
    guest.compliance_status = None;
    assert_eq!(attest(&guest, &own).unwrap_err().code(), "non-compliant-uvm");
}

#[test]
fn a_token_is_young_enough() {
    let policy = maa_policy().require_max_token_age(Duration::from_secs(10)).unwrap();
    let issued = |seconds: u64| {
        let at = NOW.minus(seconds).as_secs();
        attest_claims(&container(), &policy, |claims| claims.claim("iat", at).claim("nbf", at))
    };
    passed(issued(10), "token age", "10 s");
    failed(
        issued(11),
        "token age",
        Violation::TokenTooOld { maximum: Duration::from_secs(10), actual: Duration::from_secs(11) },
    );
}
