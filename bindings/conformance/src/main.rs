//! Runs scenarios through the crate and through every binding, and compares what they report byte for byte.
//!
//! `conformance SUITE ATTEST [LANGUAGE=COMMAND | LANGUAGE:offline=COMMAND]...`: the directory of the suite, the program `blindbox-attest`,
//! and for each language the command line of its runner, split at spaces.

#![allow(clippy::indexing_slicing, reason = "all of them are members of JSON objects, in a program for tests")]

mod content;
mod coverage;
mod emulator;
mod language;
mod mask;
mod reference;
mod runner;
mod scenario;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::emulator::Emulator;
use crate::language::Language;
use crate::reference::Reference;
use crate::runner::{Process, Runner};
use crate::scenario::{Failure, Scenario};
use crate::stage::Stage;

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

fn conform() -> Result<bool, Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(suite), Some(attest)) = (arguments.next(), arguments.next()) else {
        return Err("expected the arguments SUITE ATTEST [LANGUAGE=COMMAND]...".into());
    };
    let suite = PathBuf::from(suite);
    let read = |name: &str| -> Result<Vec<Scenario>, Failure> {
        Ok(serde_json::from_slice(&std::fs::read(suite.join(name))?).map_err(|error| format!("{name}: {error}"))?)
    };
    let mut scenarios = read("scenarios.json")?;
    scenarios.extend(read("channels.json")?);
    let mut languages = vec![Language::new("rust", Box::new(Reference::new()?), false)];
    for argument in arguments {
        let (name, command) = argument.split_once('=').ok_or("expected LANGUAGE=COMMAND")?;
        let (name, is_offline) = name.strip_suffix(":offline").map_or((name, false), |name| (name, true));
        languages.push(Language::new(name, Box::new(Process::start(command)?), is_offline));
    }
    let stage = Stage::new(suite.join("policies"), vectors())?;
    match &stage.vectors {
        Some(_) => scenarios.extend(read("vectors.json")?),
        None => eprintln!(
            "SKIPPED: the scenarios of recorded evidence, since there is none; name its directory in BLINDBOX_VECTORS"
        ),
    }
    let (mut emulator, mut collector) = (None, Reference::new()?);
    for scenario in &scenarios {
        run(scenario, &mut languages, &mut collector, &mut emulator, Path::new(&attest), &stage)?;
    }
    drop(emulator.take());
    let mut emulator = Emulator::start(Path::new(&attest), &[], &stage)?;
    for language in &mut languages {
        let checked = language.check_memory(&mut emulator).and_then(|()| language.check_end(&mut emulator));
        checked.map_err(|error| format!("{}: {error}", language.name))?;
    }
    let (passed, mut failed) = languages
        .iter()
        .map(Language::report)
        .fold((0_usize, 0_usize), |sum, (passed, failed)| (sum.0.saturating_add(passed), sum.1.saturating_add(failed)));
    let canary = stage.connections_of_canary()?;
    println!("the server that must get nothing: {canary} connections");
    // Some codes are those of recorded evidence alone.
    let missing = if stage.vectors.is_some() { coverage::faults(&scenarios) } else { Vec::new() };
    for fault in &missing {
        eprintln!("codes: {fault}");
    }
    failed = failed.saturating_add(canary).saturating_add(missing.len());
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Runs a scenario through all languages; the first is the reference.
fn run(
    scenario: &Scenario,
    languages: &mut [Language],
    collector: &mut Reference,
    running: &mut Option<Emulator>,
    attest: &Path,
    stage: &Stage,
) -> Result<(), Failure> {
    // Scenarios with the same arguments follow one another in the file.
    if running.as_ref().is_none_or(|running| running.arguments != scenario.emulator) {
        // The earlier one ends first: both would use the same directory.
        drop(running.take());
        *running = Some(Emulator::start(attest, &scenario.emulator, stage)?);
    }
    let emulator = running.as_mut().ok_or("there is no emulator")?;
    let mut expected: Option<String> = None;
    for language in languages {
        if !language.runs(scenario) {
            language.pass_over();
            continue;
        }
        let collector: Option<&mut dyn Runner> = if language.is_offline { Some(&mut *collector) } else { None };
        let outcomes = scenario.run(emulator, stage, language.runner.as_mut(), collector);
        let outcomes = outcomes.map_err(|error| format!("{}: {}: {error}", language.name, scenario.name))?;
        let found = mask::masked(&outcomes, scenario.messages, emulator)?;
        let failure = match (scenario.check(&outcomes), &expected) {
            (Err(failure), _) => Some(failure),
            (Ok(()), Some(expected)) => mask::difference(expected, &found),
            (Ok(()), None) => None,
        };
        language.note(&scenario.name, &outcomes, failure);
        expected.get_or_insert(found);
    }
    Ok(())
}

/// The directory of recorded evidence: `$BLINDBOX_VECTORS`, else `../shared/vectors` beside the crate.
fn vectors() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let directory = std::env::var_os("BLINDBOX_VECTORS").map_or_else(beside, PathBuf::from);
    directory.is_dir().then_some(directory)
}
