//! What differs from run to run: addresses, times and random values.

use serde_json::Value;

use crate::emulator::Emulator;
use crate::scenario::Failure;

/// The shortest run of hexadecimal digits that is taken for a random value, such as a nonce or the digest of a key.
const RANDOM_DIGITS: usize = 32;

/// The form of a time (RFC 3339), with a zero for each digit.
const TIME: &str = "0000-00-00T00:00:00Z";

/// The units of durations in messages: an hour that has just begun is "59 min 59 s" a moment later.
const UNITS: [&str; 5] = ["d", "h", "min", "s", "ms"];

/// The members of an outcome that hold random values. The others, such as the digest of a policy, are compared as they are.
const RANDOM: [&str; 2] = ["checks", "error"];

/// The outcomes as text: addresses and times are masked, long runs of hexadecimal digits in checks and errors, and in the messages of
/// errors every number, since some are durations. Without `messages`, those are left out, and the status of a response
/// that then fails.
pub(crate) fn masked(outcomes: &[Value], messages: bool, emulator: &Emulator) -> Result<String, Failure> {
    let text = with_times(&serde_json::to_string(&without_random(outcomes, messages)?)?);
    let urls = emulator.about["url"].as_str().into_iter().chain(emulator.relay.as_deref());
    Ok(urls.fold(text, |text, url| text.replace(url.trim_start_matches("https://"), "ADDRESS")))
}

fn without_random(outcomes: &[Value], messages: bool) -> Result<Vec<Value>, Failure> {
    let mut outcomes: Vec<Value> = outcomes.iter().map(compared).collect();
    for error in outcomes.iter_mut().filter_map(|outcome| outcome.get_mut("error")) {
        let message = with_random(error["message"].as_str().unwrap_or_default());
        let masked = || with_durations(&with_runs(&message, |c| c.is_ascii_digit(), |_| true));
        error["message"] = if messages { masked().into() } else { Value::Null };
    }
    for outcome in &mut outcomes {
        // The head of a response may come before its stream is reset, or be lost with it.
        if let Some(members) = outcome.as_object_mut().filter(|members| !messages && members.contains_key("error")) {
            members.remove("status");
        }
        for name in RANDOM {
            if let Some(member) = outcome.get_mut(name) {
                *member = serde_json::from_str(&with_random(&serde_json::to_string(member)?))?;
            }
        }
    }
    Ok(outcomes)
}

/// What is compared of an outcome: of an attestation how it is tied to the connection and every check, and no duration.
fn compared(outcome: &Value) -> Value {
    let mut outcome = outcome.clone();
    if let Some(members) = outcome.as_object_mut() {
        members.remove("milliseconds");
        if let Some(attestation) = members.remove("attestation") {
            members.insert("channel".to_owned(), attestation["channel"].clone());
            members.insert("checks".to_owned(), attestation["appraisal"].clone());
        }
    }
    outcome
}

fn with_random(text: &str) -> String {
    with_runs(text, |c| c.is_ascii_hexdigit(), |run| run.len() >= RANDOM_DIGITS)
}

/// Masks runs of the characters of a kind.
fn with_runs(text: &str, of: impl Fn(&char) -> bool, is_masked: impl Fn(&str) -> bool) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c| of(&c)) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !of(&c)).unwrap_or(from.len()));
        masked.push_str(before);
        masked.push_str(if is_masked(run) { "#" } else { run });
        rest = after;
    }
    masked + rest
}

/// Makes one word of each masked duration: "# min # s later" and "# h later" are "DURATION later".
fn with_durations(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.split(' ').peekable();
    while let Some(word) = rest.next() {
        let unit = rest.peek().map_or("", |next| next.trim_end_matches([',', '.', ';', ':', ')']));
        if word != "#" || !UNITS.contains(&unit) {
            words.push(word.to_owned());
            continue;
        }
        let mark = rest.next().map_or("", |next| next.trim_start_matches(unit));
        words.pop_if(|last| last == "DURATION");
        words.push(format!("DURATION{mark}"));
    }
    words.join(" ")
}

fn with_times(text: &str) -> String {
    let zeros: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let mut masked = String::new();
    let mut from = 0;
    for (at, found) in zeros.match_indices(TIME) {
        masked.push_str(text.get(from..at).unwrap_or_default());
        masked.push_str("TIME");
        from = at.saturating_add(found.len());
    }
    masked + text.get(from..).unwrap_or_default()
}

/// Where two texts begin to differ; `None` if they are equal.
pub(crate) fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let equal = expected.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.chars().skip(equal.saturating_sub(100)).take(400).collect::<String>();
    Some(format!("differs\n  rust:  {}\n  found: {}", part(expected), part(found)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_random_values_are_masked_and_nothing_else() {
        let digest = "0f".repeat(16);
        let text = format!("at 2026-11-28T22:06:13Z, {digest}, {}, 107, café", digest.get(1..).unwrap_or_default());
        let expected = format!("at TIME, #, {}, 107, café", digest.get(1..).unwrap_or_default());
        assert_eq!(with_random(&with_times(&text)), expected);
        assert_eq!(with_runs("3 of 100 s", |c| c.is_ascii_digit(), |_| true), "# of # s");
    }

    #[test]
    fn without_messages_an_error_may_have_a_status() -> Result<(), Failure> {
        let error = json!({ "error": { "code": "a", "message": "text" } });
        let with_status = json!({ "status": 200, "error": { "code": "a", "message": "other" } });
        let masked = |outcome: &Value, messages| without_random(std::slice::from_ref(outcome), messages);
        assert_eq!(masked(&error, false)?, masked(&with_status, false)?);
        assert_ne!(masked(&error, true)?, masked(&with_status, true)?);
        assert_ne!(masked(&json!({ "status": 200 }), false)?, masked(&json!({ "status": 204 }), false)?);
        Ok(())
    }

    #[test]
    fn a_duration_is_masked_with_its_units() {
        assert_eq!(with_durations("now, # min # s earlier: compare"), "now, DURATION earlier: compare");
        assert_eq!(with_durations("now, # h earlier: compare"), "now, DURATION earlier: compare");
        assert_eq!(with_durations("within # s, # times # s."), "within DURATION, # times DURATION.");
        assert_eq!(with_durations("# of # # seconds #"), "# of # # seconds #");
    }

    #[test]
    fn random_values_are_masked_in_checks_and_errors_alone() -> Result<(), Failure> {
        let (one, other) = ("0f".repeat(32), "1e".repeat(32));
        let masked = |outcome: Value| without_random(&[outcome], true);
        for name in ["begins", "digest"] {
            assert_ne!(masked(json!({ name: one }))?, masked(json!({ name: other }))?, "{name}");
        }
        assert_eq!(
            masked(json!({ "checks": [{ "found": one }] }))?,
            masked(json!({ "checks": [{ "found": other }] }))?
        );
        let error = |digits: &str| json!({ "error": { "code": "a", "message": format!("found {digits}"), "checks": [digits] } });
        assert_eq!(masked(error(&one))?, masked(error(&other))?);
        Ok(())
    }

    #[test]
    fn a_difference_is_shown_where_it_begins() {
        assert_eq!(difference("same", "same"), None);
        assert_eq!(
            difference("code 101", "code 102").as_deref(),
            Some("differs\n  rust:  code 101\n  found: code 102")
        );
        assert!(difference("longer", "long").is_some());
    }
}
