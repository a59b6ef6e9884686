//! How soon a cancelled call returns. A busy machine can make one attempt late, and a binding that waits for the peer makes all of
//! them late: so one of several must be in time.

use serde_json::Value;

use crate::scenario::Failure;

/// How long after its cancellation a call may return, in milliseconds.
const WITHIN: u64 = 500;
/// How often a scenario is run whose cancelled call was late.
const ATTEMPTS: usize = 10;

/// The outcomes of an attempt, and the longest time of a cancelled call in it, or what is wrong about the times of all attempts.
pub(crate) type Judged = (Vec<Value>, Result<Option<u64>, String>);

/// Runs a scenario until its cancelled calls return in time.
pub(crate) fn judged(mut attempt: impl FnMut() -> Result<Vec<Value>, Failure>) -> Result<Judged, Failure> {
    let mut late = Vec::new();
    loop {
        let outcomes = attempt()?;
        let slowest = outcomes.iter().filter_map(|outcome| outcome["milliseconds"].as_u64()).max();
        let Some(milliseconds) = slowest.filter(|time| *time >= WITHIN) else { return Ok((outcomes, Ok(slowest))) };
        late.push(milliseconds.to_string());
        if late.len() == ATTEMPTS {
            return Ok((outcomes, Err(all_late(&late))));
        }
    }
}

fn all_late(late: &[String]) -> String {
    format!(
        "expected a call that returns less than {WITHIN} ms after its cancellation in one of {ATTEMPTS} attempts, found {} ms; \
         see what it waits for, or run it again on a machine that is less busy",
        late.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The outcome of attempts whose calls return after these times, and how many there were.
    fn judged_by(times: &[u64]) -> Result<(Result<Option<u64>, String>, usize), Failure> {
        let mut made = 0;
        let (_, judgement) = judged(|| {
            let time = times.get(made).ok_or("another attempt")?;
            made = made.saturating_add(1);
            Ok(vec![json!({}), json!({ "cancelled": true, "milliseconds": time }), json!({ "requests": 1 })])
        })?;
        Ok((judgement, made))
    }

    #[test]
    fn one_attempt_in_time_is_enough() -> Result<(), Failure> {
        assert_eq!(judged_by(&[499])?, (Ok(Some(499)), 1));
        assert_eq!(judged_by(&[500, 90_000, 3])?, (Ok(Some(3)), 3));
        assert_eq!(judged_by(&[[500; 9].as_slice(), &[7]].concat())?, (Ok(Some(7)), 10));
        Ok(())
    }

    #[test]
    fn a_call_that_is_late_in_every_attempt_fails() -> Result<(), Failure> {
        let (judgement, made) = judged_by(&[[500; 9].as_slice(), &[90_000, 7]].concat())?;
        assert_eq!(made, 10);
        let failure = judgement.err().ok_or("expected a failure")?;
        assert!(failure.contains("found 500, 500, 500, 500, 500, 500, 500, 500, 500, 90000 ms"), "{failure}");
        Ok(())
    }

    #[test]
    fn a_scenario_without_a_cancellation_is_run_once() -> Result<(), Failure> {
        let mut made = 0;
        let (_, judgement) = judged(|| {
            made = u32::saturating_add(made, 1);
            Ok(vec![json!({ "status": 200 }), json!({ "requests": 1 })])
        })?;
        assert_eq!((judgement, made), (Ok(None), 1));
        Ok(())
    }
}
