//! The page of all knobs and faults of the emulator: `docs/knobs.md` is what their tables and the tests of the command say.

use std::collections::BTreeMap;
use std::path::Path;

use blindbox_attestation::emulator::{AnyKnob, Fault, OptionRow};

/// What `verify` prints for each: written by `tests/cli/knobs/outcomes.rs`.
const OUTCOMES: [&str; 6] = [
    include_str!("../cli/knobs.txt"),
    include_str!("../cli/knobs-of-connection.txt"),
    include_str!("../cli/knobs-of-hardware.txt"),
    include_str!("../cli/knobs-of-tdx.txt"),
    include_str!("../cli/knobs-of-vm.txt"),
    include_str!("../cli/knobs-of-front-end.txt"),
];

const INTRODUCTION: &str = "\
# Knobs and faults

What the emulator can be made to attest and to send, for tests of your own: in Rust `BlindBox::set` and `BlindBox::fail` (and those of
`Maa` and `Kds`), on the command line `emulate --knob` and `--fail`, and as commands `knob ...` and `fail ...` while it runs
([cli.md][cli.md#the-emulator]). The last column is the outcome of `verify` with the emulator's own policy, once for each kind of guest
and trust whose tests use the knob: the code of the error, or `accepted` where that policy does not require the value or does not need it.
`verify` attests and sends no message: a knob that acts on sealed messages is `accepted`, and shows in the requests of a session.
";

/// The outcomes by the name of the knob or fault. Rows of several knobs are left out.
fn outcomes() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut outcomes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for block in OUTCOMES.iter().flat_map(|file| file.split("\n\n")) {
        let row = block.lines().next().unwrap_or_default();
        if row.contains(';') {
            continue;
        }
        let name = match row.split_once(' ') {
            Some(("knob", knob)) => knob.split('=').next().unwrap(),
            Some(("fail", fault)) => fault.split_once('=').unwrap().1.split(':').next().unwrap(),
            _ => continue,
        };
        let error = block.split_once("error[").and_then(|(_, rest)| rest.split_once(']'));
        let outcome = error.map_or("accepted", |(code, _)| code);
        let of_this = outcomes.entry(name).or_default();
        if !of_this.contains(&outcome) {
            of_this.push(outcome);
        }
    }
    outcomes
}

fn table<T: 'static>(rows: impl Iterator<Item = &'static OptionRow<T>>) -> String {
    let outcomes = outcomes();
    let mut table = "\n| form | what it does | outcome |\n|---|---|---|\n".to_owned();
    for row in rows {
        let found = outcomes.get(row.name()).into_iter().flatten();
        let found: Vec<_> =
            found.map(|it| if *it == "accepted" { (*it).to_owned() } else { format!("`{it}`") }).collect();
        let found = if found.is_empty() { "only with another knob".to_owned() } else { found.join(", ") };
        table.push_str(&format!("| `{}` | {} | {found} |\n", row.form, row.meaning));
    }
    table
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut groups: Vec<&str> = Vec::new();
    for row in AnyKnob::rows() {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    for group in groups {
        page.push_str(&format!("\n## {group}\n"));
        page.push_str(&table(AnyKnob::rows().filter(|row| row.group == group)));
    }
    page.push_str(
        "\n## Faults\n\nOf a path: `--fail /attest/=hang`, `--fail-maa /certs=status:503`, `--fail-kds /vcek/=hang`.\n",
    );
    page.push_str(&table(Fault::rows()));
    page.push_str("\n[cli.md#the-emulator]: cli.md#the-emulator\n");
    page
}

#[test]
fn every_knob_and_fault_is_on_the_page() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/knobs.md");
    let page = page();
    if std::env::var_os("BLINDBOX_WRITE_KNOBS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written == page, "docs/knobs.md is not what the tables say: run this test with BLINDBOX_WRITE_KNOBS=1");
}
