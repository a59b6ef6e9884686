//! The metrics: counters and histograms for the `metrics` facade.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const ATTESTATIONS: &str = "blindbox_attestations_total";
const DURATION: &str = "blindbox_attestation_duration_seconds";
const SESSION_KEYS: &str = "blindbox_session_keys";
const FETCHES: &str = "blindbox_fetches_total";
const RENEWALS: &str = "blindbox_renewals_total";
const REFUSED_PEERS: &str = "blindbox_refused_peers_total";

pub(super) fn describe() {
    describe_counter!(ATTESTATIONS, "Attestations of peers, by outcome and category");
    describe_histogram!(DURATION, Unit::Seconds, "Time from the attestation request to the result, by category");
    describe_histogram!(
        SESSION_KEYS,
        Unit::Count,
        "Attested keys of a session, recorded whenever their number changes"
    );
    describe_counter!(FETCHES, "Lookups of key sets, certificates and CRLs, by the place where they were found");
    describe_counter!(RENEWALS, "Renewals of attestations, by outcome");
    describe_counter!(REFUSED_PEERS, "Refused peers, by outcome and by the reason of the refusal");
}

pub(super) fn attestation(outcome: &'static str, category: &'static str, duration: Duration) {
    counter!(ATTESTATIONS, "outcome" => outcome, "category" => category).increment(1);
    histogram!(DURATION, "category" => category).record(duration.as_secs_f64());
}

pub(super) fn session_keys(keys: usize) {
    histogram!(SESSION_KEYS).record(f64::from(u32::try_from(keys).unwrap_or(u32::MAX)));
}

pub(super) fn fetch(what: &'static str, source: &'static str, outcome: &'static str) {
    counter!(FETCHES, "what" => what, "source" => source, "outcome" => outcome).increment(1);
}

pub(super) fn renewal(outcome: &'static str) {
    counter!(RENEWALS, "outcome" => outcome).increment(1);
}

pub(super) fn refused_peer(outcome: &'static str, by: &'static str) {
    counter!(REFUSED_PEERS, "outcome" => outcome, "by" => by).increment(1);
}
