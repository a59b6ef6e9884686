//! `blindbox-bound-message/1`: evidence names a key that messages are sealed to. The front end ends TLS.

use blindbox_attestation_models::assert_violations;
use blindbox_attestation_models::message::{
    COMPLETE, CONFIDENTIAL, FRESH, MATCHED, ONCE, Replay, Resend, Scenario, Sealing,
};

/// Up to the first sealed request.
const SEALED: [&str; 4] = [
    "client requests evidence 0",
    "instance 0 attests for nonce 0",
    "client receives evidence 0 (nonce 0, key OfInstance(0))",
    "client seals request 0",
];

fn assert_broken(scenario: Scenario, property: &'static str, after_sealing: &[&str]) {
    assert_violations(scenario, &[(property, &[&SEALED, after_sealing].concat())]);
}

#[test]
fn as_proposed_everything_holds() {
    assert_violations(Scenario::proposed(), &[]);
}

#[test]
fn accepted_code_that_attests_any_data_gives_the_attacker_the_requests() {
    let trace = [
        "client requests evidence 0",
        "accepted code attests the attacker's key for nonce 0",
        "client receives evidence 0 (nonce 0, key Attackers)",
        "client seals request 0",
    ];
    assert_violations(Scenario { attests_any_data: true, ..Scenario::proposed() }, &[(CONFIDENTIAL, &trace)]);
}

#[test]
fn with_nothing_against_replay_a_request_is_processed_twice() {
    let trace = ["sealed 0 is delivered to instance 0", "sealed 0 is delivered to instance 0"];
    assert_broken(Scenario { replay: Replay::Nothing, ..Scenario::proposed() }, ONCE, &trace);
}

#[test]
fn a_window_of_time_fails_because_the_host_sets_the_clock() {
    let trace = [
        "sealed 0 is delivered to instance 0",
        "host sets the clock of instance 0",
        "host sets the clock of instance 0",
        "sealed 0 is delivered to instance 0",
    ];
    assert_broken(Scenario { replay: Replay::TimeWindow, ..Scenario::proposed() }, ONCE, &trace);
}

#[test]
fn numbers_kept_by_the_nonce_start_again_with_the_same_nonce() {
    let trace = [
        "sealed 0 is delivered to instance 0",
        "instance 0 attests for nonce 0",
        "sealed 0 is delivered to instance 0",
    ];
    assert_broken(Scenario { replay: Replay::SessionOfNonce, ..Scenario::proposed() }, ONCE, &trace);
}

#[test]
fn replicas_that_share_a_key_each_process_a_request() {
    let trace = [
        "client requests evidence 0",
        "instance 0 attests for nonce 0",
        "client receives evidence 0 (nonce 0, key Shared)",
        "client seals request 0",
        "sealed 0 is delivered to instance 0",
        "sealed 0 is delivered to instance 1",
    ];
    assert_violations(Scenario { shared_key: true, ..Scenario::proposed() }, &[(ONCE, &trace)]);
}

#[test]
fn a_request_sent_again_after_an_unauthenticated_error_is_processed_twice() {
    let trace = [
        "request 0 gets an error of the front end",
        "client seals request 0",
        "sealed 0 is delivered to instance 0",
        "sealed 1 is delivered to instance 0",
    ];
    assert_broken(Scenario { resend: Resend::OnUnauthenticatedError, ..Scenario::proposed() }, ONCE, &trace);
}

/// The front end makes a refusal by delivering the request twice, and withholds the response to the first.
#[test]
fn a_request_sent_again_after_a_sealed_refusal_is_processed_twice() {
    let trace = [
        "sealed 0 is delivered to instance 0",
        "sealed 0 is delivered to instance 0",
        "request 0 gets the response to sealed 0 (Refused)",
        "client seals request 0",
        "sealed 1 is delivered to instance 0",
    ];
    assert_broken(Scenario { resend: Resend::OnSealedRefusal, ..Scenario::proposed() }, ONCE, &trace);
}

/// The refusal states that the request was not processed, and the number makes sure that it never will be.
#[test]
fn a_request_sent_again_after_a_sealed_decline_is_processed_once() {
    assert_violations(Scenario { resend: Resend::OnSealedDecline { marked: true }, ..Scenario::proposed() }, &[]);
}

#[test]
fn a_decline_that_leaves_the_number_unused_lets_a_request_be_processed_twice() {
    let trace = [
        "sealed 0 is delivered to instance 0, which is busy",
        "request 0 gets the response to sealed 0 (Declined)",
        "client seals request 0",
        "sealed 0 is delivered to instance 0",
        "sealed 1 is delivered to instance 0",
    ];
    assert_broken(Scenario { resend: Resend::OnSealedDecline { marked: false }, ..Scenario::proposed() }, ONCE, &trace);
}

/// Only requests for which it makes no difference are processed more than once.
#[test]
fn idempotent_requests_may_be_sent_again_after_any_error() {
    assert_violations(Scenario { resend: Resend::Idempotent, ..Scenario::proposed() }, &[]);
}

#[test]
fn without_a_mark_on_the_last_part_a_cut_response_is_complete() {
    let trace = ["sealed 0 is delivered to instance 0", "request 0 gets a part of the response to sealed 0"];
    assert_broken(Scenario { responses: Sealing::WithoutEnd, ..Scenario::proposed() }, COMPLETE, &trace);
}

#[test]
fn a_response_sealed_for_the_session_is_swapped() {
    let trace = [
        "client seals request 1",
        "sealed 0 is delivered to instance 0",
        "request 1 gets the response to sealed 0 (Processed)",
    ];
    assert_broken(Scenario { responses: Sealing::OfSession, ..Scenario::proposed() }, MATCHED, &trace);
}

/// Recorded requests too: there is no forward secrecy within the lifetime of the key.
#[test]
fn a_stolen_key_opens_the_requests_sealed_to_it() {
    let trace = ["attacker steals the key of instance 0"];
    assert_broken(Scenario { theft: true, ..Scenario::proposed() }, CONFIDENTIAL, &trace);
}

#[test]
fn with_a_nonce_used_again_old_evidence_is_accepted() {
    let trace = [
        "client requests evidence 0",
        "instance 0 attests for nonce 0",
        "client receives evidence 0 (nonce 0, key OfInstance(0))",
        "client requests evidence 1",
        "client receives evidence 1 (nonce 0, key OfInstance(0))",
    ];
    assert_violations(Scenario { nonce_used_again: true, ..Scenario::proposed() }, &[(FRESH, &trace)]);
}
