//! The memory of a process stays flat over many requests: what it holds after the first ones is compared with what it holds at the end.
//!
//! A garbage collector makes the resident memory rise and fall, and a leak makes its lowest points rise. So it is read every so many
//! requests, and of each part of the run the lowest reading counts: of the part up to a fifth, by which caches and heaps have filled,
//! and of the last part.

use crate::scenario::Failure;

/// How many requests there are.
pub(crate) const REQUESTS: usize = 10_000;
/// How many of them are made before each reading.
const EVERY: usize = 100;
/// The readings of the first part, which ends with request 2,000.
const FIRST: std::ops::Range<usize> = 10..20;
/// The readings of the last part, which ends with request 10,000.
const LAST: std::ops::Range<usize> = 90..100;
/// How many requests lie between the ends of both parts.
const BETWEEN: u64 = 8_000;

/// How often a language is measured whose memory grows. What leaks grows in every round; what a runtime does late on a busy machine does
/// not.
const ROUNDS: usize = 3;

/// By how many KiB the memory of a language may grow: at least twice what it needs. What the JVM compiles in that time was between 1.5 and
/// 5.6 MiB in a few runs.
const LIMITS: &[(&str, u64)] = &[
    ("c", 1024),
    ("go", 8192),
    ("kotlin", 16_384),
    ("node", 16_384),
    ("python", 2048),
    ("rust", 1024),
    ("wasm", 16_384),
];

/// Makes requests, so many at a time, and returns by how many bytes the lowest reading rises. `None` where there is no reading.
fn growth(mut make: impl FnMut(usize) -> Result<Option<u64>, Failure>) -> Result<Option<u64>, Failure> {
    let mut readings = Vec::new();
    for _ in 0..REQUESTS.div_euclid(EVERY) {
        let Some(reading) = make(EVERY)? else { return Ok(None) };
        readings.push(reading);
    }
    let lowest = |part| readings.get::<std::ops::Range<usize>>(part).and_then(|part| part.iter().min());
    Ok(lowest(FIRST).zip(lowest(LAST)).map(|(before, after)| after.saturating_sub(*before)))
}

/// By how many bytes memory grew in a round, and what is wrong about that.
type Round = (u64, Result<(), String>);

/// Measures a language until its memory stays flat, and returns the last round.
pub(crate) fn rounds(
    language: &str,
    mut make: impl FnMut(usize) -> Result<Option<u64>, Failure>,
) -> Result<Option<Round>, Failure> {
    let mut last = None;
    for _ in 0..ROUNDS {
        let Some(growth) = growth(&mut make)? else { return Ok(None) };
        let verdict = check(language, growth);
        let is_flat = verdict.is_ok();
        last = Some((growth, verdict));
        if is_flat {
            break;
        }
    }
    Ok(last)
}

/// Compares what the memory of a language grew by with its limit.
fn check(language: &str, growth: u64) -> Result<(), String> {
    let limit = LIMITS.iter().find(|(name, _)| *name == language).map(|(_, limit)| *limit);
    let limit = limit.ok_or("expected a limit in memory.rs, found none; measure the language, and add it there")?;
    let found = growth.div_euclid(1024);
    if found <= limit {
        return Ok(());
    }
    let each = growth.div_euclid(BETWEEN);
    Err(format!(
        "expected at most {limit} KiB more from request 2000 to request {REQUESTS}, found {found} KiB; look for what each request \
         leaves behind, {each} bytes of it"
    ))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers")]
mod tests {
    use super::*;

    /// What readings come to that are as the function says after so many requests.
    fn growth_of(reading: impl Fn(u64) -> u64) -> Result<Option<u64>, Failure> {
        let mut made = 0;
        growth(|times| {
            made += u64::try_from(times)?;
            Ok(Some(reading(made)))
        })
    }

    #[test]
    fn garbage_that_is_collected_is_no_growth() -> Result<(), Failure> {
        // A heap that doubles until it is collected, every 700 requests.
        assert_eq!(growth_of(|made| (64 << 20) + (made % 700) * 50_000)?, Some(0));
        // What fills in the first requests.
        assert_eq!(growth_of(|made| made.min(1000) * 1_000_000)?, Some(0));
        assert_eq!(growth_of(|made| (64 << 20) - made)?, Some(0));
        Ok(())
    }

    #[test]
    fn a_leak_shows_below_the_garbage() -> Result<(), Failure> {
        let leaking = growth_of(|made| (64 << 20) + (made % 700) * 50_000 + made * 200)?;
        let leaked = leaking.ok_or("expected a growth")?;
        assert!((1_400_000..1_800_000).contains(&leaked), "{leaked}");
        let failure = check("c", leaked).err().ok_or("expected a failure")?;
        assert!(
            failure.starts_with("expected at most 1024 KiB more from request 2000 to request 10000, found 1"),
            "{failure}"
        );
        assert_eq!(check("c", 1024 << 10), Ok(()));
        Ok(())
    }

    #[test]
    fn one_flat_round_is_enough_and_a_leak_has_none() -> Result<(), Failure> {
        let measured = |until: u64, each: u64| {
            let mut made = 0;
            rounds("c", |times| {
                made += u64::try_from(times)?;
                Ok(Some(made.min(until) * each))
            })
        };
        let (growth, verdict) = measured(10_000, 200)?.ok_or("expected a growth")?;
        assert_eq!((growth, verdict), (0, Ok(())));
        let (growth, verdict) = measured(u64::MAX, 200)?.ok_or("expected a growth")?;
        assert_eq!((growth, verdict.is_err()), (1_600_000, true));
        Ok(())
    }

    #[test]
    fn a_language_needs_a_limit() {
        assert!(check("cobol", 0).is_err());
    }

    #[test]
    fn without_readings_there_is_no_growth() -> Result<(), Failure> {
        assert_eq!(growth(|_| Ok(None))?, None);
        Ok(())
    }
}
