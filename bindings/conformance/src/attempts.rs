//! Scenarios that time is part of are run again where a busy machine had too little of it.

use std::time::{Duration, Instant};

use crate::scenario::Failure;

/// How often a scenario is run that took longer than the time in which it counts something.
const ATTEMPTS: u32 = 3;

/// The most by which a time limit of a request is made longer.
const LONGEST: u64 = 16;

/// Runs a scenario until it takes less than so many seconds, if that matters.
pub(crate) fn within<T>(seconds: Option<u64>, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let Some(seconds) = seconds else { return attempt() };
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        let outcome = attempt()?;
        if start.elapsed() < Duration::from_secs(seconds) {
            return Ok(outcome);
        }
    }
    let wanted = format!("expected that the steps take less than {seconds} s in one of {ATTEMPTS} attempts");
    Err(format!("{wanted}, found that none did; run it again on a machine that is less busy").into())
}

/// Runs a scenario with its time limits, and where something is wrong, with limits of twice the length, if it has any.
pub(crate) fn with_longer_limits<O, T>(
    has_limits: bool,
    mut attempt: impl FnMut(u64) -> Result<(O, Result<T, String>), Failure>,
) -> Result<(O, Result<T, String>), Failure> {
    let mut longer: u64 = 1;
    loop {
        let (outcome, verdict) = attempt(longer)?;
        if verdict.is_ok() || !has_limits || longer >= LONGEST {
            return Ok((outcome, verdict));
        }
        longer = longer.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much longer the limits of the attempts were, when so many of them fail.
    fn limits(has_limits: bool, failing: usize) -> Result<(Vec<u64>, bool), Failure> {
        let mut made = Vec::new();
        let ((), verdict) = with_longer_limits(has_limits, |longer| {
            made.push(longer);
            let verdict = if made.len() > failing { Ok(()) } else { Err("too early".to_owned()) };
            Ok(((), verdict))
        })?;
        Ok((made, verdict.is_ok()))
    }

    #[test]
    fn what_a_limit_ends_too_early_has_more_time() -> Result<(), Failure> {
        assert_eq!(limits(true, 0)?, (vec![1], true));
        assert_eq!(limits(true, 2)?, (vec![1, 2, 4], true));
        assert_eq!(limits(true, 9)?, (vec![1, 2, 4, 8, 16], false));
        assert_eq!(limits(false, 1)?, (vec![1], false));
        Ok(())
    }

    #[test]
    fn what_takes_too_long_to_count_is_run_again_and_then_fails() -> Result<(), Failure> {
        let run = |seconds| {
            let mut made = 0_usize;
            let outcome = within(seconds, || {
                made = made.saturating_add(1);
                Ok(())
            });
            (made, outcome.map_err(|error| error.to_string()))
        };
        assert_eq!((run(None), run(Some(3600))), ((1, Ok(())), (1, Ok(()))));
        let (made, outcome) = run(Some(0));
        assert_eq!(made, 3);
        let failure = outcome.err().ok_or("expected a failure")?;
        assert!(failure.starts_with("expected that the steps take less than 0 s in one of 3 attempts, "), "{failure}");
        Ok(())
    }
}
