//! Models of the agent protocol, checked exhaustively: `README.md` states what is modelled and what is not.
//!
//! | module | forms |
//! |---|---|
//! | [`tls`] | `blindbox-bound-server/1` and `blindbox-bound-connection/1` |
//! | [`message`] | `blindbox-bound-message/1` |
//!
//! A test in `tests/` is one scenario: an attacker, a variant of the protocol, and for each property whether it holds or the shortest
//! trace that breaks it. What holds, and how many states were searched, is compared with the scenario's row in `README.md`.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Model};

pub mod message;
pub mod results;
pub mod tls;

const README: &str = include_str!("../README.md");

/// The `sometimes` property of every model: without it, a scenario could hold because nothing ever happens in it.
pub const HONEST_RUN: &str = "an honest run is possible";

/// The most states that a search meets, those counted again that are met again: it ends, also if a change makes a model explode.
const MAX_MET: usize = 50_000_000;

/// A property, and the shortest trace that violates it.
pub type Violation<'a> = (&'static str, &'a [&'a str]);

/// [`check`] for the test that this stands in.
#[macro_export]
macro_rules! assert_results {
    ($models:expr, $violations:expr) => {{
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        $crate::check(test, $models, $violations);
    }};
}

/// Explores every reachable state of the models of a scenario, and asserts that they violate these properties and no others, each by
/// exactly this shortest trace, and that the results are those of the scenario's row in `README.md`.
///
/// # Panics
///
/// If anything differs, or if no honest run is possible.
pub fn check<M, const N: usize>(scenario: &str, models: [M; N], violations: &[Violation<'_>])
where
    M: Clone + Model + Send + Sync + 'static,
    M::State: Clone + Debug + Eq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let row = results::row(README, scenario);
    let expected: BTreeSet<_> = violations.iter().map(|(property, _)| *property).collect();
    assert_eq!(BTreeSet::from_iter(row.violated.iter().map(String::as_str)), expected, "README.md and the test");
    let mut states = Vec::new();
    for model in &models {
        let checker = model.clone().checker().target_state_count(MAX_MET).spawn_bfs().join();
        states.push(checker.unique_state_count());
        let mut found = BTreeSet::from_iter(checker.discoveries().into_keys());
        assert!(found.remove(HONEST_RUN), "no honest run is possible: that nothing is violated shows nothing");
        assert_eq!(found, expected, "model {} of {scenario}, with {states:?} states", states.len());
    }
    println!("{scenario}: {states:?} states");
    assert_eq!(states, row.states, "the numbers of states of {scenario}, and those in README.md");
    let properties = models[0].properties();
    for (name, trace) in violations {
        let property = properties.iter().find(|property| property.name == *name).expect("a property of the model");
        for model in &models {
            assert_shortest(model, |state| !(property.condition)(model, state), trace);
        }
    }
}

/// Asserts that this is the shortest trace to a state for which the condition is true.
///
/// # Panics
///
/// If it is not.
pub fn assert_shortest<M>(model: &M, condition: impl Fn(&M::State) -> bool, trace: &[&str])
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone + Debug,
{
    let found = shortest_trace(model, condition).expect("a trace");
    assert_eq!(found, trace);
}

/// Finds the first state in breadth-first order for which the condition is true. The checker of `stateright` reports the last one that it
/// meets.
fn shortest_trace<M>(model: &M, condition: impl Fn(&M::State) -> bool) -> Option<Vec<String>>
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone + Debug,
{
    // Each state with the index of the one before it, and the action that led here.
    let mut reached: Vec<(M::State, usize, Option<M::Action>)> =
        model.init_states().into_iter().map(|state| (state, 0, None)).collect();
    let mut known: HashSet<M::State> = reached.iter().map(|(state, ..)| state.clone()).collect();
    let mut next = 0;
    while next < reached.len() {
        let state = reached[next].0.clone();
        if condition(&state) {
            let mut trace = Vec::new();
            let mut at = next;
            while let (_, before, Some(action)) = &reached[at] {
                trace.insert(0, format!("{action:?}"));
                at = *before;
            }
            return Some(trace);
        }
        for (action, state) in model.next_steps(&state) {
            if model.within_boundary(&state) && known.insert(state.clone()) {
                reached.push((state, next, Some(action)));
            }
        }
        next += 1;
    }
    None
}
