//! `blindbox-bound-server/1`: evidence names the TLS key.

use blindbox_attestation_models::assert_results;
use blindbox_attestation_models::tls::{Check, FRESH, INSIDE_KEYS_ONLY, NOT_TO_ATTACKER, OWNER_ONLY, Scenario, Theft};

mod common;

use common::{OTHER_CODE, OUTSIDE_KEY, RELAYED_EVIDENCE, SAME_CODE, STOLEN_SERVING_KEY, bound_server, each_connection};

const ANY_DATA: &[&str] = &[
    "open 0 to the attacker, key Attackers",
    "client requests evidence over 0",
    "accepted code attests any data (nonce 0, key Attackers)",
    "attacker responds over 0 with evidence (nonce 0, key Attackers)",
    "client sends over 0",
];

/// Old evidence of a retired key for a nonce that is used again, up to its acceptance.
const OLD_EVIDENCE: &[&str] = &[
    "open 0 to the attacker, key Attackers",
    "client requests evidence over 0",
    "attacker opens own 0 to the instance Owners",
    "attacker requests evidence over own 0, nonce 0",
    "owner's instance rotates its key",
    "connections of the key Old are closed",
    "attacker steals the key Old",
    "open 1 to the attacker, key Old",
    "client requests evidence over 1",
    "attacker responds over 1 with evidence (nonce 0, key Old)",
];

const OLD_EVIDENCE_AND_DATA: &[&str] = &[
    "open 0 to the attacker, key Attackers",
    "client requests evidence over 0",
    "attacker opens own 0 to the instance Owners",
    "attacker requests evidence over own 0, nonce 0",
    "owner's instance rotates its key",
    "connections of the key Old are closed",
    "attacker steals the key Old",
    "open 1 to the attacker, key Old",
    "client requests evidence over 1",
    "attacker responds over 1 with evidence (nonce 0, key Old)",
    "client sends over 1",
];

const KEY_KNOWN_FROM_OUTSIDE: &[&str] = &[
    "open 0 to the instance Owners, key Old",
    "client requests evidence over 0",
    "TEE responds over 0",
    "open 1 to the attacker, key Old",
    "client sends over 1",
];

const EVIDENCE_OF_ANOTHER_KEY: &[&str] = &[
    "open 0 to the attacker, key Attackers",
    "client requests evidence over 0",
    "attacker opens own 0 to the instance Owners",
    "attacker requests evidence over own 0, nonce 0",
    "attacker responds over 0 with evidence (nonce 0, key Old)",
    "client sends over 0",
];

#[test]
fn as_specified_anyone_can_pass_as_the_owner_with_the_same_code() {
    assert_results!([bound_server()], &[SAME_CODE]);
}

#[test]
fn as_specified_with_web_pki_everything_holds() {
    assert_results!([Scenario { web_pki: true, ..bound_server() }], &[]);
}

#[test]
fn as_specified_where_no_one_else_can_start_the_code_everything_holds() {
    assert_results!([Scenario { same_code: false, ..bound_server() }], &[]);
}

#[test]
fn a_separate_agent_changes_nothing() {
    assert_results!([Scenario { separate_agent: true, own_connections: 1, ..bound_server() }], &[SAME_CODE]);
}

#[test]
fn accepted_code_that_attests_any_data_gives_the_attacker_the_data() {
    let expected = [(INSIDE_KEYS_ONLY, ANY_DATA), (NOT_TO_ATTACKER, ANY_DATA), SAME_CODE];
    assert_results!([Scenario { attests_any_data: true, own_connections: 1, ..bound_server() }], &expected);
}

#[test]
fn web_pki_hides_that_accepted_code_attests_any_data() {
    assert_results!([Scenario { attests_any_data: true, web_pki: true, ..bound_server() }], &[]);
}

#[test]
fn a_nonce_used_again_alone_changes_nothing() {
    assert_results!([Scenario { nonce_used_again: true, ..bound_server() }], &[SAME_CODE]);
}

#[test]
fn a_key_from_outside_that_the_attacker_has_gives_them_the_data() {
    let expected = [OUTSIDE_KEY, (NOT_TO_ATTACKER, KEY_KNOWN_FROM_OUTSIDE), SAME_CODE];
    assert_results!([Scenario { keys_from_outside: true, ..bound_server() }], &expected);
}

#[test]
fn web_pki_does_not_help_against_a_key_from_outside() {
    let expected = [OUTSIDE_KEY, (NOT_TO_ATTACKER, KEY_KNOWN_FROM_OUTSIDE), (OWNER_ONLY, KEY_KNOWN_FROM_OUTSIDE)];
    assert_results!([Scenario { keys_from_outside: true, web_pki: true, ..bound_server() }], &expected);
}

#[test]
fn a_stolen_serving_key_relays_by_the_attestation_of_the_key() {
    let expected = [(NOT_TO_ATTACKER, STOLEN_SERVING_KEY), SAME_CODE];
    assert_results!([Scenario { theft: Theft::WhileServing, ..bound_server() }], &expected);
}

/// Whether the agent attests the retired key or not: the client's attestation is valid.
#[test]
fn a_key_stolen_once_retired_relays_until_attestations_end() {
    let trace: &[&str] = &[
        "open 0 to the instance Owners, key Old",
        "client requests evidence over 0",
        "TEE responds over 0",
        "owner's instance rotates its key",
        "attacker steals the key Old",
        "open 1 to the attacker, key Old",
        "client sends over 1",
    ];
    let scenario = Scenario { theft: Theft::OnceRetired, ..bound_server() };
    let not_attested = Scenario { attests_retired_key: false, ..scenario };
    assert_results!([scenario, not_attested], &[(NOT_TO_ATTACKER, trace), SAME_CODE]);
}

#[test]
fn a_key_stolen_once_its_connections_are_closed_relays_until_attestations_end() {
    let trace: &[&str] = &[
        "open 0 to the instance Owners, key Old",
        "client requests evidence over 0",
        "TEE responds over 0",
        "owner's instance rotates its key",
        "connections of the key Old are closed",
        "attacker steals the key Old",
        "open 1 to the attacker, key Old",
        "client sends over 1",
    ];
    let expected = [(NOT_TO_ATTACKER, trace), SAME_CODE];
    assert_results!([Scenario { theft: Theft::OnceClosed, ..bound_server() }], &expected);
}

#[test]
fn a_key_stolen_once_closed_and_expired_is_of_no_use() {
    assert_results!([Scenario { theft: Theft::OnceExpired, ..bound_server() }], &[SAME_CODE]);
}

#[test]
fn with_a_nonce_used_again_old_evidence_of_that_key_is_accepted() {
    let expected = [(FRESH, OLD_EVIDENCE), (NOT_TO_ATTACKER, OLD_EVIDENCE_AND_DATA), SAME_CODE];
    assert_results!([Scenario { theft: Theft::OnceExpired, nonce_used_again: true, ..bound_server() }], &expected);
}

#[test]
fn attesting_each_connection_does_not_stop_a_relay_with_a_serving_key() {
    let expected = [(NOT_TO_ATTACKER, RELAYED_EVIDENCE), SAME_CODE];
    assert_results!([Scenario { theft: Theft::WhileServing, ..each_connection() }], &expected);
}

#[test]
fn attesting_each_connection_does_not_stop_a_relay_with_a_retired_key_that_is_attested() {
    let trace: &[&str] = &[
        "attacker opens own 0 to the instance Owners",
        "owner's instance rotates its key",
        "attacker steals the key Old",
        "open 0 to the attacker, key Old",
        "client requests evidence over 0",
        "attacker requests evidence over own 0, nonce 0",
        "attacker responds over 0 with evidence (nonce 0, key Old)",
        "client sends over 0",
    ];
    let expected = [(NOT_TO_ATTACKER, trace), SAME_CODE];
    assert_results!([Scenario { theft: Theft::OnceRetired, ..each_connection() }], &expected);
}

#[test]
fn attesting_each_connection_stops_a_relay_with_a_retired_key_that_is_not_attested() {
    let scenario = Scenario { theft: Theft::OnceRetired, attests_retired_key: false, ..each_connection() };
    assert_results!([scenario], &[SAME_CODE]);
}

#[test]
fn attesting_each_connection_stops_a_relay_with_a_key_whose_connections_are_closed() {
    assert_results!([Scenario { theft: Theft::OnceClosed, ..each_connection() }], &[SAME_CODE]);
}

#[test]
fn without_the_check_of_the_code_any_tee_gets_the_data() {
    let expected = [OTHER_CODE[0], OTHER_CODE[1], SAME_CODE];
    assert_results!([Scenario { omitted: Some(Check::Code), ..bound_server() }], &expected);
}

#[test]
fn without_the_check_of_the_nonce_old_evidence_is_accepted() {
    let expected = [(FRESH, OLD_EVIDENCE), (NOT_TO_ATTACKER, OLD_EVIDENCE_AND_DATA), SAME_CODE];
    assert_results!([Scenario { omitted: Some(Check::Nonce), theft: Theft::OnceExpired, ..bound_server() }], &expected);
}

#[test]
fn without_the_check_of_the_key_evidence_is_forwarded() {
    let expected = [(INSIDE_KEYS_ONLY, EVIDENCE_OF_ANOTHER_KEY), (NOT_TO_ATTACKER, EVIDENCE_OF_ANOTHER_KEY), SAME_CODE];
    assert_results!([Scenario { omitted: Some(Check::Key), ..bound_server() }], &expected);
}
