//! Runs scenarios through the crate and through every binding, and compares what they report byte for byte.
//!
//! `conformance SUITE ATTEST [LANGUAGE=COMMAND | LANGUAGE:offline=COMMAND]...`: the directory of the suite, the program `blindbox-attest`,
//! and for each language the command line of its runner, split at spaces.

#![allow(clippy::indexing_slicing, reason = "all of them are members of JSON objects, in a program for tests")]

mod attempts;
mod cancellation;
mod content;
mod coverage;
mod emulator;
mod language;
mod line;
mod mask;
mod memory;
mod reference;
mod runner;
mod scenario;
mod stage;
mod step;
#[cfg(test)]
mod thin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::emulator::Emulator;
use crate::language::Language;
use crate::reference::Reference;
use crate::runner::Process;
use crate::scenario::{Failure, Scenario};
use crate::stage::Stage;

fn main() -> ExitCode {
    // Inherited by the runners: how much is resident must not depend on what the kernel makes into huge pages.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("memory is measured with transparent huge pages, which cannot be disabled: {error}");
    }
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
    let stage = Stage::new("conformance", suite.join("policies"), vectors())?;
    let reference = Reference::new(stage.subdirectory("rust")?)?;
    let mut languages = vec![Language::new("rust", Box::new(reference), false)];
    for argument in arguments {
        let (name, command) = argument.split_once('=').ok_or("expected LANGUAGE=COMMAND")?;
        let (name, is_offline) = name.strip_suffix(":offline").map_or((name, false), |name| (name, true));
        let process = Process::start(command, stage.subdirectory(name)?)?;
        languages.push(Language::new(name, Box::new(process), is_offline));
    }
    match &stage.vectors {
        Some(_) => scenarios.extend(read("vectors.json")?),
        None => eprintln!(
            "SKIPPED: the scenarios of recorded evidence, since there is none; name its directory in BLINDBOX_VECTORS"
        ),
    }
    let (mut emulator, mut collector) = (None, Reference::new(stage.subdirectory("collector")?)?);
    for scenario in &scenarios {
        run(scenario, &mut languages, &mut collector, &mut emulator, Path::new(&attest), &stage)?;
    }
    drop(emulator.take());
    let mut emulator = Emulator::start(Path::new(&attest), &[], &stage)?;
    for language in &mut languages {
        let checked = language.check_memory(&mut emulator, &stage, &mut collector);
        let checked = checked.and_then(|()| language.check_end(&mut emulator, &stage));
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
        let ran = language.run(scenario, emulator, stage, collector, expected.as_deref());
        let ran = ran.map_err(|error| format!("{}: {}: {error}", language.name, scenario.name))?;
        let Some((found, verdict)) = ran else { continue };
        language.note(&scenario.name, verdict);
        expected.get_or_insert(found);
    }
    Ok(())
}

/// The directory of recorded evidence, which `BLINDBOX_VECTORS` names; without it, one beside the repository.
fn vectors() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let directory = std::env::var_os("BLINDBOX_VECTORS").map_or_else(beside, PathBuf::from);
    directory.is_dir().then_some(directory)
}
