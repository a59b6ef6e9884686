//! What the file of a policy holds: it survives a round trip, and a field of no meaning is refused.

use std::time::Duration;

use blindbox_attestation::{Policy, PolicyError, Trust, UvmRequirement, Workload};
use proptest::prelude::*;

use super::{SHARED, container, container_of_both, everything, host_data};

#[test]
fn a_policy_survives_toml_and_json() {
    for policy in [container(), container_of_both(), everything()] {
        assert_eq!(Policy::from_toml(&policy.to_toml()), Ok(policy.clone()), "{}", policy.to_toml());
        assert_eq!(Policy::from_json(&policy.to_json()), Ok(policy.clone()), "{}", policy.to_json());
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap().digest(), policy.digest());
    }
    assert_ne!(container().digest(), container_of_both().digest());
}

#[test]
fn the_file_of_the_documentation_is_the_policy_of_the_code() {
    let text = format!(
        r#"
        version = 1
        kind = "confidential-container"

        [trust.maa]
        issuer = "{SHARED}"

        [workload]
        binding = "own-key"
        host-data = ["{}"]

        [uvm]
        minimum-svn = 101
        "#,
        host_data()
    );
    assert_eq!(Policy::from_toml(&text), Ok(container()));
}

#[test]
fn an_unknown_or_repeated_field_is_refused_wherever_it_stands() {
    let text = everything().to_toml();
    for (at, _) in text.match_indices('\n') {
        let changed = format!("{}\nunknown-field = 1\n{}", &text[..at], &text[at + 1..]);
        let error = Policy::from_toml(&changed).unwrap_err();
        assert!(matches!(error, PolicyError::Malformed { .. }), "{error}\n{changed}");
    }
    let json = everything().to_json();
    let doubled = json.replacen(r#""smt":"clear""#, r#""smt":"clear","smt":"set""#, 1);
    assert_ne!(json, doubled);
    assert!(matches!(Policy::from_json(&doubled), Err(PolicyError::Malformed { .. })));
}

#[test]
fn null_is_no_value() {
    let text = container().to_json();
    for (from, to) in [
        (r#""version":1"#, r#""version":1,"guest":null"#),
        (r#""version":1"#, r#""version":1,"require":{"measurements":null}"#),
        (r#""binding":"own-key""#, r#""binding":"own-key","allow-permissive":null"#),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert!(matches!(Policy::from_json(&changed), Err(PolicyError::Malformed { .. })), "{changed}");
    }
}

#[test]
fn another_version_of_the_file_is_not_guessed_at() {
    let text = container().to_toml().replace("version = 1", "version = 2");
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::UnsupportedVersion { found: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_readers_panic(text in ".{0,200}") {
        let _ = Policy::from_toml(&text);
        let _ = Policy::from_json(&text);
    }
}

#[test]
fn the_greatest_age_of_the_crl_is_a_requirement() {
    const FIELD: &str = "trust.amd.max-crl-age-seconds";
    let day = Duration::from_secs(86_400);
    let policy = |trust| {
        let workload = Workload::binds_its_own_key(host_data());
        Policy::confidential_container(trust, workload, UvmRequirement::at_least(101))
    };
    let written = policy(Trust::amd().require_max_crl_age(day).unwrap()).unwrap().to_toml();
    assert!(written.contains("max-crl-age-seconds = 86400"), "{written}");
    assert_eq!(written.parse::<Policy>().unwrap().to_toml(), written);

    let refused = Trust::maa(SHARED).unwrap().require_max_crl_age(day);
    assert_eq!(refused, Err(PolicyError::NotCoveredByTrust { requirement: FIELD, needs: "AMD" }));
    let reason = "is zero, which requires nothing or what nothing can meet";
    let refused = Trust::amd().require_max_crl_age(Duration::from_millis(999));
    assert_eq!(refused, Err(PolicyError::UnusableValue { requirement: FIELD, reason }));
    let twice = Trust::amd().require_max_crl_age(day).unwrap().require_max_crl_age(day);
    assert_eq!(twice, Err(PolicyError::GivenTwice { requirement: FIELD }));
    let reason = "`trust.amd.max-crl-age-seconds` needs `trust.amd.revocation = \"required\"`; drop one of them";
    for relax in [Trust::allow_best_effort_revocation, Trust::allow_no_revocation_check] {
        let contradiction = Err(PolicyError::Contradiction { reason });
        assert_eq!(relax(Trust::amd().require_max_crl_age(day).unwrap()), contradiction);
        assert_eq!(relax(Trust::amd()).unwrap().require_max_crl_age(day), contradiction);
    }
}
