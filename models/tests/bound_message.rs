//! `blindbox-bound-message/1`: evidence names a key that messages are sealed to. The front end ends TLS.

use blindbox_attestation_models::message::{
    COMPLETE, CONFIDENTIAL, FRESH, MATCHED, ONCE, Replay, Resend, Scenario, Sealing, State,
};
use blindbox_attestation_models::{assert_results, assert_shortest};

/// Up to the first sealed request.
const SEALED: [&str; 4] = [
    "client requests evidence 0",
    "instance 0 attests for nonce 0",
    "client receives evidence 0 (nonce 0, key OfInstance(0))",
    "client seals request 0",
];

fn sealed(then: &[&'static str]) -> Vec<&'static str> {
    [&SEALED, then].concat()
}

#[test]
fn as_built_everything_holds() {
    assert_results!([Scenario::as_built()], &[]);
}

#[test]
fn accepted_code_that_attests_any_data_gives_the_attacker_the_requests() {
    let trace = [
        "client requests evidence 0",
        "accepted code attests the attacker's key for nonce 0",
        "client receives evidence 0 (nonce 0, key Attackers)",
        "client seals request 0",
    ];
    assert_results!([Scenario { attests_any_data: true, ..Scenario::as_built() }], &[(CONFIDENTIAL, &trace)]);
}

#[test]
fn with_nothing_against_replay_a_request_is_processed_twice() {
    let trace = ["sealed 0 is delivered to instance 0", "sealed 0 is delivered to instance 0"];
    assert_results!([Scenario { replay: Replay::Nothing, ..Scenario::as_built() }], &[(ONCE, &sealed(&trace))]);
}

#[test]
fn a_window_of_time_fails_because_the_host_sets_the_clock() {
    let trace = [
        "sealed 0 is delivered to instance 0",
        "host sets the clock of instance 0",
        "host sets the clock of instance 0",
        "sealed 0 is delivered to instance 0",
    ];
    assert_results!(
        [Scenario { replay: Replay::TimeWindow, sealings: 2, ..Scenario::as_built() }],
        &[(ONCE, &sealed(&trace))]
    );
}

#[test]
fn numbers_kept_by_the_nonce_start_again_with_the_same_nonce() {
    let trace = [
        "sealed 0 is delivered to instance 0",
        "instance 0 attests for nonce 0",
        "sealed 0 is delivered to instance 0",
    ];
    assert_results!([Scenario { replay: Replay::SessionOfNonce, ..Scenario::as_built() }], &[(ONCE, &sealed(&trace))]);
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
    assert_results!([Scenario { shared_key: true, sealings: 2, ..Scenario::as_built() }], &[(ONCE, &trace)]);
}

#[test]
fn a_request_sent_again_after_an_unauthenticated_error_is_processed_twice() {
    let trace = [
        "request 0 gets an error of the front end",
        "client seals request 0",
        "sealed 0 is delivered to instance 0",
        "sealed 1 is delivered to instance 0",
    ];
    assert_results!(
        [Scenario { resend: Resend::OnUnauthenticatedError, ..Scenario::as_built() }],
        &[(ONCE, &sealed(&trace))]
    );
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
    assert_results!([Scenario { resend: Resend::OnSealedRefusal, ..Scenario::as_built() }], &[(ONCE, &sealed(&trace))]);
}

/// The refusal states that the request was not processed, and the number makes sure that it never will be.
#[test]
fn a_request_sent_again_after_a_sealed_decline_is_processed_once() {
    assert_results!([Scenario { resend: Resend::OnSealedDecline, ..Scenario::as_built() }], &[]);
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
    assert_results!([Scenario { marks_declined: false, ..Scenario::as_built() }], &[(ONCE, &sealed(&trace))]);
}

/// Only requests for which it makes no difference are processed more than once.
#[test]
fn idempotent_requests_may_be_sent_again_after_any_error() {
    assert_results!([Scenario { resend: Resend::Idempotent, ..Scenario::as_built() }], &[]);
}

#[test]
fn without_a_mark_on_the_last_part_a_cut_response_is_complete() {
    let trace =
        ["sealed 0 is delivered to instance 0", "request 0 gets a part of the response to sealed 0 (Processed)"];
    assert_results!(
        [Scenario { responses: Sealing::WithoutEnd, ..Scenario::as_built() }],
        &[(COMPLETE, &sealed(&trace))]
    );
}

#[test]
fn a_response_sealed_for_the_session_is_swapped() {
    let read = [
        "front end seals with the number of sealed 0, and delivers that to instance 0",
        "sealed 0 is delivered to instance 0",
    ];
    // A decline of another request lets this one be sent again.
    let twice = [
        "client seals request 1",
        "sealed 0 is delivered to instance 0",
        "sealed 1 is delivered to instance 0, which is busy",
        "request 0 gets the response to sealed 1 (Declined)",
        "client seals request 0",
        "sealed 2 is delivered to instance 0",
    ];
    let swapped = [
        "front end seals with the number of sealed 0, and delivers that to instance 0",
        "request 0 gets the response to the front end's own request in session 0 (Processed)",
    ];
    let violations = [(CONFIDENTIAL, &*sealed(&read)), (ONCE, &*sealed(&twice)), (MATCHED, &*sealed(&swapped))];
    assert_results!([Scenario { responses: Sealing::OfSession, ..Scenario::as_built() }], &violations);
}

/// Recorded requests too: there is no forward secrecy within the lifetime of the key.
#[test]
fn a_stolen_key_opens_the_requests_sealed_to_it() {
    let trace = ["attacker steals the key of instance 0"];
    assert_results!(
        [Scenario { theft: true, sealings: 2, ..Scenario::as_built() }],
        &[(CONFIDENTIAL, &sealed(&trace))]
    );
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
    assert_results!([Scenario { nonce_used_again: true, sealings: 2, ..Scenario::as_built() }], &[(FRESH, &trace)]);
}

/// The requests that the front end seals are those of any client. It can have a request of the client refused, as by not delivering it.
#[test]
fn a_front_end_that_seals_requests_of_its_own_uses_up_numbers() {
    let trace = [
        "front end seals with the number of sealed 0, and delivers that to instance 0",
        "sealed 0 is delivered to instance 0",
    ];
    assert_shortest(&Scenario::as_built(), State::has_a_number_used_by_the_front_end, &sealed(&trace));
}

/// That everything holds is not for want of requests that are sent again.
#[test]
fn an_idempotent_request_is_sent_again_under_the_next_attestation() {
    let trace = [
        "client requests evidence 0",
        "instance 0 attests for nonce 0",
        "client receives evidence 0 (nonce 0, key OfInstance(0))",
        "client requests evidence 1",
        "client seals request 1",
        "request 1 gets an error of the front end",
        "instance 0 attests for nonce 1",
        "client receives evidence 1 (nonce 1, key OfInstance(0))",
        "client seals request 1",
        "sealed 1 is delivered to instance 0",
    ];
    assert_shortest(&Scenario::as_built(), State::was_sent_again_under_the_next_attestation, &trace);
}
