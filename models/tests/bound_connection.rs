//! `blindbox-bound-connection/1`: evidence names the TLS key and the exporter of the connection.

use blindbox_attestation_models::assert_results;
use blindbox_attestation_models::tls::{Check, INSIDE_KEYS_ONLY, NOT_TO_ATTACKER, Scenario, Theft};

mod common;

use common::{OTHER_CODE, OUTSIDE_KEY, SAME_CODE, bound_connection};

#[test]
fn as_specified_anyone_can_pass_as_the_owner_with_the_same_code() {
    assert_results!([bound_connection()], &[SAME_CODE]);
}

#[test]
fn as_specified_with_web_pki_everything_holds() {
    assert_results!([Scenario { web_pki: true, ..bound_connection() }], &[]);
}

#[test]
fn as_specified_where_no_one_else_can_start_the_code_everything_holds() {
    assert_results!([Scenario { same_code: false, ..bound_connection() }], &[]);
}

/// The client refuses a separate agent for this form: it would name another connection. It would do no harm.
#[test]
fn evidence_that_the_attacker_carries_changes_nothing() {
    assert_results!([Scenario { separate_agent: true, own_connections: 1, ..bound_connection() }], &[SAME_CODE]);
}

#[test]
fn a_stolen_serving_key_is_of_no_use() {
    assert_results!([Scenario { theft: Theft::WhileServing, ..bound_connection() }], &[SAME_CODE]);
}

#[test]
fn a_stolen_retired_key_is_of_no_use() {
    let scenarios = [Theft::OnceRetired, Theft::OnceClosed, Theft::OnceExpired]
        .map(|theft| Scenario { theft, ..bound_connection() });
    assert_results!(scenarios, &[SAME_CODE]);
}

#[test]
fn a_key_from_outside_that_the_attacker_has_gives_them_nothing() {
    assert_results!([Scenario { keys_from_outside: true, ..bound_connection() }], &[OUTSIDE_KEY, SAME_CODE]);
}

#[test]
fn web_pki_and_a_key_from_outside_give_the_attacker_nothing() {
    assert_results!([Scenario { keys_from_outside: true, web_pki: true, ..bound_connection() }], &[OUTSIDE_KEY]);
}

#[test]
fn accepted_code_that_attests_any_data_gives_the_attacker_the_data() {
    let trace: &[&str] = &[
        "open 0 to the attacker, key Attackers",
        "client requests evidence over 0",
        "accepted code attests any data (nonce 0, key Attackers, OfClient(0))",
        "attacker responds over 0 with evidence (nonce 0, key Attackers, OfClient(0))",
        "client sends over 0",
    ];
    let expected = [(INSIDE_KEYS_ONLY, trace), (NOT_TO_ATTACKER, trace), SAME_CODE];
    assert_results!([Scenario { attests_any_data: true, own_connections: 1, ..bound_connection() }], &expected);
}

#[test]
fn a_nonce_used_again_changes_nothing() {
    let scenarios = [Theft::Never, Theft::WhileServing, Theft::OnceExpired].map(|theft| Scenario {
        nonce_used_again: true,
        theft,
        ..bound_connection()
    });
    assert_results!(scenarios, &[SAME_CODE]);
}

#[test]
fn without_the_check_of_the_code_any_tee_gets_the_data() {
    let expected = [OTHER_CODE[0], OTHER_CODE[1], SAME_CODE];
    assert_results!([Scenario { omitted: Some(Check::Code), ..bound_connection() }], &expected);
}

/// The exporter covers them in this model, where every connection has its own. The client checks all three.
#[test]
fn the_exporter_alone_would_cover_nonce_and_key() {
    let scenarios = [Check::Nonce, Check::Key].map(|check| Scenario {
        omitted: Some(check),
        theft: Theft::OnceExpired,
        ..bound_connection()
    });
    assert_results!(scenarios, &[SAME_CODE]);
}
