//! Runs scenarios through the crate and through every binding, and compares what they report byte for byte.
//!
//! `conformance SCENARIOS ATTEST [LANGUAGE=COMMAND]...`: a file of scenarios, the program `blindbox-attest`, and for each language the
//! command line of its runner, split at spaces.

#![allow(clippy::indexing_slicing, reason = "all of them are members of JSON objects, in a program for tests")]

mod emulator;
mod mask;
mod reference;
mod runner;
mod scenario;

use std::path::Path;
use std::process::ExitCode;

use scenario::{Failure, Scenario, Stage};

use crate::emulator::Emulator;
use crate::reference::Reference;
use crate::runner::Runner;

fn main() -> ExitCode {
    match conform() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One language, and how many scenarios it passed.
struct Language {
    name: String,
    runner: Box<dyn Runner>,
    failures: Vec<String>,
}

fn conform() -> Result<bool, Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(attest)) = (arguments.next(), arguments.next()) else {
        return Err("expected the arguments SCENARIOS ATTEST [LANGUAGE=COMMAND]...".into());
    };
    let scenarios: Vec<Scenario> = serde_json::from_slice(&std::fs::read(file)?)?;
    let reference: Box<dyn Runner> = Box::new(Reference::new()?);
    let mut languages = vec![Language { name: "rust".to_owned(), runner: reference, failures: Vec::new() }];
    for argument in arguments {
        let (name, command) = argument.split_once('=').ok_or("expected LANGUAGE=COMMAND")?;
        let runner = Box::new(runner::Command::start(command)?);
        languages.push(Language { name: name.to_owned(), runner, failures: Vec::new() });
    }
    let mut stage = Stage::new()?;
    let mut running: Option<Emulator> = None;
    for scenario in &scenarios {
        // Scenarios with the same arguments follow one another in the file.
        if running.as_ref().is_none_or(|running| running.arguments != scenario.emulator) {
            // The earlier one ends first: both would use the same directory.
            drop(running.take());
            running = Some(Emulator::start(Path::new(&attest), &scenario.emulator, &stage)?);
        }
        let emulator = running.as_mut().ok_or("there is no emulator")?;
        let mut expected: Option<String> = None;
        for language in &mut languages {
            let outcome = scenario.run(emulator, &mut stage, language.runner.as_mut());
            let outcome = outcome.map_err(|error| format!("{}: {}: {error}", language.name, scenario.name))?;
            let found = mask::masked(&outcome, scenario.messages, emulator)?;
            let failure = match (scenario.check(&outcome), &expected) {
                (Err(failure), _) => Some(failure),
                (Ok(()), Some(expected)) => mask::difference(expected, &found),
                (Ok(()), None) => None,
            };
            language.failures.extend(failure.map(|failure| format!("{}: {failure}", scenario.name)));
            expected.get_or_insert(found);
        }
    }
    Ok(report(&languages, scenarios.len()))
}

/// Prints a line for each language and the sum; returns whether all passed.
fn report(languages: &[Language], scenarios: usize) -> bool {
    let mut failed = 0_usize;
    for Language { name, failures, .. } in languages {
        for failure in failures {
            eprintln!("{name}: {failure}");
        }
        let passed = scenarios.saturating_sub(failures.len());
        println!("{name}: {passed} passed, {} failed", failures.len());
        failed = failed.saturating_add(failures.len());
    }
    let passed = scenarios.saturating_mul(languages.len()).saturating_sub(failed);
    println!("{passed} passed, {failed} failed");
    failed == 0
}
