//! Models of the agent protocol, checked exhaustively: `README.md` states what is modelled and what is not.
//!
//! | module | forms |
//! |---|---|
//! | [`tls`] | `blindbox-bound-server/1` and `blindbox-bound-connection/1` |
//! | [`message`] | `blindbox-bound-message/1` |
//!
//! A test in `tests/` is one scenario: an attacker, a variant of the protocol, and for each property whether it holds or the shortest
//! trace that breaks it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Model};

pub mod message;
pub mod tls;

/// The `sometimes` property of every model: without it, a scenario could hold because nothing ever happens in it.
pub const HONEST_RUN: &str = "an honest run is possible";

/// The shortest trace to a violation, by property; properties that hold are absent.
pub type Violations = BTreeMap<&'static str, Vec<String>>;

/// Explores every reachable state of a model.
///
/// # Panics
///
/// If no honest run is possible.
pub fn violations<M>(model: M) -> Violations
where
    M: Clone + Model + Send + Sync + 'static,
    M::State: Clone + Debug + Eq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.clone().checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    let mut found: BTreeSet<&'static str> = checker.discoveries().into_keys().collect();
    assert!(found.remove(HONEST_RUN), "no honest run is possible: that nothing is violated shows nothing");
    shortest_traces(&model, &found)
}

/// Finds the first state in breadth-first order that violates each of these properties. The checker of `stateright` reports the last
/// one that it meets.
fn shortest_traces<M>(model: &M, wanted: &BTreeSet<&'static str>) -> Violations
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone + Debug,
{
    let properties: Vec<_> = model.properties().into_iter().filter(|property| wanted.contains(property.name)).collect();
    let mut traces = Violations::new();
    // Each state with the index of the one before it, and the action that led here.
    let mut reached: Vec<(M::State, usize, Option<M::Action>)> =
        model.init_states().into_iter().map(|state| (state, 0, None)).collect();
    let mut known: HashSet<M::State> = reached.iter().map(|(state, ..)| state.clone()).collect();
    let mut next = 0;
    while next < reached.len() && traces.len() < wanted.len() {
        let state = reached[next].0.clone();
        for property in &properties {
            if !(property.condition)(model, &state) && !traces.contains_key(property.name) {
                let mut trace = Vec::new();
                let mut at = next;
                while let (_, before, Some(action)) = &reached[at] {
                    trace.insert(0, format!("{action:?}"));
                    at = *before;
                }
                traces.insert(property.name, trace);
            }
        }
        for (action, state) in model.next_steps(&state) {
            if model.within_boundary(&state) && known.insert(state.clone()) {
                reached.push((state, next, Some(action)));
            }
        }
        next += 1;
    }
    traces
}

/// Asserts which properties a scenario violates, each by exactly this shortest trace.
///
/// # Panics
///
/// If another property is violated, one is not, or the trace is another one.
pub fn assert_violations<M>(model: M, expected: &[(&'static str, &[&str])])
where
    M: Clone + Model + Send + Sync + 'static,
    M::State: Clone + Debug + Eq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let expected: Violations = expected
        .iter()
        .map(|(property, trace)| (*property, trace.iter().map(|action| (*action).to_owned()).collect()))
        .collect();
    assert_eq!(violations(model), expected);
}
