//! Interleaved measurement: every case runs in every round, so that what else the machine does hits all alike.

use std::time::Instant;

const ROUNDS: usize = 101;
const BATCH: u32 = 20;

/// One thing to measure.
pub struct Case<'a> {
    pub name: &'static str,
    pub run: Box<dyn FnMut() + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(name: &'static str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// The median time of each case in microseconds, in order.
pub fn medians(cases: &mut [Case<'_>]) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for round in 0..=ROUNDS {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..BATCH {
                (case.run)();
            }
            // The first round warms up.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
            }
        }
    }
    let medians: Vec<f64> = times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        })
        .collect();
    for (case, median) in cases.iter().zip(&medians) {
        println!("{:<52} {median:8.1} us", case.name);
    }
    medians
}
