//! A mutation run with one build: all mutants of a sample are compiled into a copy of the crate as switches, and each is
//! turned on by a variable of the environment, with the tests that reach it.
//!
//! `cargo run -- DIRECTORY [SEED [PER_MODULE [MODULE...]]]`; a run that DIRECTORY holds already is continued, with the sources
//! and the binaries that it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use mutate::{Mutant, Mutator};
use run::{Binary, Figures, Outcome};
use syn::visit_mut::VisitMut;

mod keys;
mod mutate;
mod run;

/// What a verdict depends on.
const MODULES: &[&str] = &[
    "appraise",
    "attest",
    "azure_vm",
    "binding",
    "cce_policy",
    "cross_check",
    "der",
    "http",
    "json",
    "maa",
    "policy",
    "session",
    "snp",
    "transport",
    "uvm",
    "verify",
    "x509",
];
/// What stands before the number of a mutant in mutated source.
const CALL: &str = "crate::mutant(";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A source file with the number of its first mutant.
struct Source {
    path: String,
    text: String,
    first: u32,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let work = PathBuf::from(arguments.first().ok_or("usage: DIRECTORY [SEED [PER_MODULE [MODULE...]]]")?);
    let seed: u64 = arguments.get(1).map_or(Ok(1), |a| a.parse())?;
    let per_module: usize = arguments.get(2).map_or(Ok(12), |a| a.parse())?;
    let named: Vec<&str> = arguments.iter().skip(3).map(String::as_str).collect();
    let modules = if named.is_empty() { MODULES.to_vec() } else { named };

    let (original, copy) = (work.join("original"), work.join("copy"));
    let files = snapshot(&original)?;
    let mut sources = read(&original, &files, &modules)?;
    let mut keeps_keys = false;
    for path in files.iter().filter(|path| !sources.iter().any(|s| s.path == **path)) {
        let mut bytes = fs::read(original.join(path))?;
        if path == "src/lib.rs" {
            bytes.extend_from_slice(mutate::SWITCH.as_bytes());
            bytes.extend_from_slice(keys::KEPT_KEY.as_bytes());
        } else if path.starts_with("src/emulator/")
            && let Some(changed) = keys::keep(&bytes)
        {
            bytes = changed;
            keeps_keys = true;
        }
        place(&copy.join(path), &bytes)?;
    }
    if !keeps_keys {
        return Err("the emulator generates its RSA keys in another way than `keys.rs` expects".into());
    }
    fs::create_dir_all(work.join("keys"))?;
    let constants = constants(&sources);
    let mut found: BTreeMap<u32, (String, Mutant)> = BTreeMap::new();
    let mut next = 0;
    for source in &mut sources {
        source.first = next;
        let (_, mutants) = mutate(source, &constants, &BTreeSet::new())?;
        next += u32::try_from(mutants.len())?;
        found.extend(mutants.into_iter().map(|m| (m.id, (source.path.clone(), m))));
    }
    let order = sample(&found, seed, per_module);
    let listed = order.iter().map(|id| format!("{id}\t{}:{}\t{}\n", found[id].0, found[id].1.line, found[id].1.change));
    fs::write(work.join("sample"), listed.collect::<String>())?;
    let mut chosen: BTreeSet<u32> = order.iter().copied().collect();
    let dropped = work.join("not-compiled");
    for line in fs::read_to_string(&dropped).unwrap_or_default().lines() {
        chosen.remove(&line.parse()?);
    }
    loop {
        for source in &sources {
            let (text, _) = mutate(source, &constants, &chosen)?;
            place(&copy.join(&source.path), text.as_bytes())?;
        }
        let bad = not_compiled(&copy)?;
        println!("{} mutants found, {} chosen, {} of them do not compile", found.len(), chosen.len(), bad.len());
        if bad.is_empty() {
            break;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&dropped)?;
        for id in bad {
            chosen.remove(&id);
            writeln!(file, "{id}")?;
        }
    }
    let results = Mutex::new(Results::open(work.join("results"))?);
    let results = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let mut waiting: Vec<u32> = order.into_iter().filter(|id| chosen.contains(id)).collect();
    let timed_out = Mutex::new(BTreeSet::new());
    let timed_out = || timed_out.lock().unwrap_or_else(PoisonError::into_inner);
    // A mutant that the quick binary catches is not run in the slower ones.
    for (name, program) in build(&copy, &work)? {
        waiting.retain(|id| !results().of.contains_key(id));
        let binary = Binary::observe(name, program, copy.clone(), &work)?;
        run::in_parallel(&waiting, |id| match binary.run(*id) {
            Outcome::Caught(test) => results().add(*id, &format!("caught by {}: {test}", binary.name), &found[id]),
            Outcome::TimedOut => drop(timed_out().insert(*id)),
            Outcome::Survived => {}
        });
    }
    waiting.retain(|id| !results().of.contains_key(id));
    for id in waiting {
        // Not caught: a machine that is busy may reach the limit as well.
        let result = if timed_out().contains(&id) { TIMED_OUT } else { SURVIVED };
        results().add(id, result, &found[&id]);
    }
    let mut figures = Figures::default();
    for id in &chosen {
        figures.count(module(&found[id].0), results().of.get(id).map_or(SURVIVED, String::as_str));
    }
    figures.print();
    Ok(())
}

const SURVIVED: &str = "SURVIVED";
const TIMED_OUT: &str = "TIMED OUT";

/// The results of this run and of the one that it continues, by mutant.
struct Results {
    of: BTreeMap<u32, String>,
    file: fs::File,
}

impl Results {
    fn open(path: PathBuf) -> Result<Self> {
        let earlier = fs::read_to_string(&path).unwrap_or_default();
        let earlier = earlier.lines().filter_map(|l| l.split_once('\t'));
        let earlier = earlier.filter_map(|(id, result)| Some((id.parse().ok()?, result.to_owned()))).collect();
        Ok(Self { of: earlier, file: fs::OpenOptions::new().create(true).append(true).open(path)? })
    }

    fn add(&mut self, id: u32, result: &str, (path, mutant): &(String, Mutant)) {
        let line = format!("{id}\t{result}\t{path}:{}\t{}\n", mutant.line, mutant.change);
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            eprintln!("not written ({error}): {line}");
        }
        self.of.insert(id, result.to_owned());
    }
}

/// The first name below `src`.
fn module(path: &str) -> &str {
    let path = path.trim_start_matches("src/");
    path.split(['/', '.']).next().unwrap_or(path)
}

/// Copies the files under version control once; returns their paths.
fn snapshot(original: &Path) -> Result<Vec<String>> {
    let names = original.with_extension("files");
    if !names.exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new("git").arg("ls-files").current_dir(&root).output()?;
        let paths = String::from_utf8(output.stdout)?;
        for path in paths.lines().filter(|path| root.join(path).is_file()) {
            place(&original.join(path), &fs::read(root.join(path))?)?;
        }
        fs::write(&names, paths)?;
    }
    let paths = fs::read_to_string(names)?;
    Ok(paths.lines().filter(|path| original.join(path).is_file()).map(str::to_owned).collect())
}

/// Leaves a file as it is, with its time, if it has this content: cargo then builds nothing twice.
fn place(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() != Some(bytes) {
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// The source files of these modules, without those that are tests.
fn read(original: &Path, files: &[String], modules: &[&str]) -> Result<Vec<Source>> {
    let mut sources = vec![];
    for path in files.iter().filter(|path| path.starts_with("src/") && path.ends_with(".rs")) {
        let tests = path.contains("/tests/")
            || ["tests.rs", "wycheproof.rs", "properties.rs", "world.rs"].iter().any(|name| path.ends_with(name));
        if modules.contains(&module(path)) && !tests {
            sources.push(Source { path: path.clone(), text: fs::read_to_string(original.join(path))?, first: 0 });
        }
    }
    Ok(sources)
}

/// The names of integer constants: uses of them are changed by one.
fn constants(sources: &[Source]) -> BTreeSet<String> {
    let lines = sources.iter().flat_map(|s| s.text.lines());
    let constants = lines.filter_map(|line| {
        let (name, rest) = line.split_once("const ")?.1.split_once(": ")?;
        let integer = ["u8", "u16", "u32", "u64", "usize", "i64"].iter().any(|t| rest.starts_with(&format!("{t} =")));
        integer.then(|| name.to_owned())
    });
    constants.collect()
}

fn mutate(source: &Source, constants: &BTreeSet<String>, chosen: &BTreeSet<u32>) -> Result<(String, Vec<Mutant>)> {
    let mut file = syn::parse_file(&source.text)?;
    let mut mutator = Mutator { constants, chosen, next: source.first, found: vec![] };
    mutator.visit_file_mut(&mut file);
    let any = mutator.found.iter().any(|m| chosen.contains(&m.id));
    Ok((if any { prettyplease::unparse(&file) } else { source.text.clone() }, mutator.found))
}

/// As many of each module, in an order that depends on the seed and the mutants alone; one of each module at a time.
fn sample(found: &BTreeMap<u32, (String, Mutant)>, seed: u64, per_module: usize) -> Vec<u32> {
    let mut by_module: BTreeMap<&str, Vec<(u64, u32)>> = BTreeMap::new();
    for (id, (path, mutant)) in found {
        let key = format!("{seed} {path} {id} {}", mutant.change);
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        // The last bytes reach the high bits only after another round.
        let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        by_module.entry(module(path)).or_default().push((hash ^ (hash >> 32), *id));
    }
    by_module.values_mut().for_each(|all| all.sort_unstable());
    (0..per_module).flat_map(|rank| by_module.values().filter_map(move |all| Some(all.get(rank)?.1))).collect()
}

/// The mutants at which the compiler reports an error.
fn not_compiled(copy: &Path) -> Result<BTreeSet<u32>> {
    let mut bad = BTreeSet::new();
    let mut unplaced = vec![];
    for message in cargo(copy, &["check", "--all-features", "--lib"])? {
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        for span in spans.iter().filter(|s| s["is_primary"] == true) {
            let text = fs::read(copy.join(span["file_name"].as_str().ok_or("no file")?))?;
            let start = usize::try_from(span["byte_start"].as_u64().ok_or("no position")?)?;
            let (before, after) = text.split_at(start.min(text.len()));
            // The arm that a match lacks stands behind the start of the match.
            let id = if message["code"]["code"] == "E0004" {
                String::from_utf8_lossy(after).split_once(CALL).map(|(_, id)| id.to_owned())
            } else {
                String::from_utf8_lossy(before).rsplit_once(CALL).map(|(_, id)| id.to_owned())
            };
            match id.as_deref().and_then(|id| id.split_once("u32)")) {
                Some((id, _)) => drop(bad.insert(id.parse()?)),
                None => unplaced.push(message["rendered"].to_string()),
            }
        }
    }
    if bad.is_empty() && !unplaced.is_empty() {
        return Err(unplaced.join("\n").into());
    }
    Ok(bad)
}

/// Builds the test binaries, the quickest first, and copies them into `work`: a later build of the crate itself may use the
/// same names. The binaries of an earlier run are used as they are.
fn build(copy: &Path, work: &Path) -> Result<Vec<(String, PathBuf)>> {
    let names = ["lib", "verify", "session"].map(|name| (name.to_owned(), work.join(name)));
    if names.iter().all(|(_, program)| program.exists()) {
        return Ok(names.into());
    }
    let arguments = ["test", "--no-run", "--all-features", "--lib", "--test", "verify", "--test", "session"];
    for message in cargo(copy, &arguments)? {
        if message["profile"]["test"] == true
            && let Some(program) = message["executable"].as_str()
        {
            let name = message["target"]["name"].as_str().ok_or("no name")?;
            fs::copy(program, work.join(name.replace("blindbox_attestation", "lib")))?;
        }
    }
    match names.iter().find(|(_, program)| !program.exists()) {
        Some((name, _)) => Err(format!("{name} does not compile").into()),
        None => Ok(names.into()),
    }
}

/// The messages of cargo. An error of the compiler is one of them.
fn cargo(copy: &Path, arguments: &[&str]) -> Result<Vec<serde_json::Value>> {
    let mut command = Command::new("cargo");
    command.args(arguments).args(["--message-format", "json"]).current_dir(copy).stderr(Stdio::null());
    let output = command.output()?;
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}
