//! What is reported and counted while connections are attested, by the page that documents it: `docs/observability.md`.

mod counters;
mod events;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

#[path = "../common/lab.rs"]
mod lab;

const PAGE: &str = include_str!("../../docs/observability.md");

/// One thing that was reported.
#[derive(Clone, Debug)]
struct Told {
    level: Level,
    /// The message of an event, the name of a span.
    name: String,
    fields: BTreeMap<String, String>,
    is_span: bool,
    /// The names of the spans around it.
    within: Vec<&'static str>,
}

/// Writes down all that this crate tells, each thread for itself, and nothing of others. One for the process: what `tracing`
/// remembers of interest is not exact while subscribers of single threads come and go.
struct Ears;

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

fn heard<T>(listener: impl FnOnce(&mut Heard) -> T) -> T {
    HEARD.with_borrow_mut(listener)
}

#[derive(Default)]
struct Heard {
    told: Vec<Told>,
    spans: Vec<&'static str>,
    entered: Vec<usize>,
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Heard {
    fn write(&mut self, level: Level, is_span: bool, name: String, fields: BTreeMap<String, String>) {
        let within = self.entered.iter().map(|span| self.spans[*span]).collect();
        self.told.push(Told { level, name, fields, is_span, within });
    }
}

impl Subscriber for Ears {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "blindbox_attestation"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let name = span.metadata().name();
        heard(|heard| {
            heard.write(*span.metadata().level(), true, name.to_owned(), fields.0);
            heard.spans.push(name);
            Id::from_u64(heard.spans.len() as u64)
        })
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        panic!("a field that is filled in later");
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap();
        heard(|heard| heard.write(*event.metadata().level(), false, message, fields.0));
    }

    fn enter(&self, span: &Id) {
        heard(|heard| heard.entered.push(span.into_u64() as usize - 1));
    }

    fn exit(&self, span: &Id) {
        let last = heard(|heard| heard.entered.pop());
        assert_eq!(last, Some(span.into_u64() as usize - 1));
    }
}

/// What this thread hears.
struct Ear;

impl Ear {
    /// Everything since the last time.
    fn take(&self) -> Vec<Told> {
        heard(|heard| std::mem::take(&mut heard.told))
    }
}

fn listen() -> Ear {
    static EARS: Once = Once::new();
    EARS.call_once(|| tracing::subscriber::set_global_default(Ears).unwrap());
    Ear.take();
    Ear
}

fn events(told: &[Told]) -> Vec<&str> {
    told.iter().filter(|told| !told.is_span).map(|told| told.name.as_str()).collect()
}

/// At this level or above.
fn above(told: &[Told], level: Level) -> Vec<Told> {
    told.iter().filter(|told| told.level <= level).cloned().collect()
}

fn event<'t>(told: &'t [Told], name: &str) -> &'t Told {
    let mut found = told.iter().filter(|told| !told.is_span && told.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name:?} in {told:#?}"));
    assert!(found.next().is_none(), "{name:?} twice in {told:#?}");
    first
}

fn field<'t>(told: &'t Told, name: &str) -> &'t str {
    told.fields.get(name).unwrap_or_else(|| panic!("no {name} in {told:?}"))
}

fn text(told: &[Told]) -> String {
    told.iter().fold(String::new(), |mut text, told| {
        let _ = writeln!(text, "{} {:?}", told.name, told.fields);
        text
    })
}

/// The rows of the table under a heading, without its head: level or kind, and the names in backticks of the third column.
fn documented(heading: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), names(cells[2])))
    })
    .collect()
}

/// Whatever was reported stands on the page, with its level and fields.
fn check_documented(told: &[Told]) {
    let (spans, events) = (documented("Spans"), documented("Events"));
    for told in told {
        let page = if told.is_span { &spans } else { &events };
        let (level, fields) = page.get(&told.name).unwrap_or_else(|| panic!("undocumented: {told:?}"));
        assert_eq!(level, told.level.as_str(), "{told:?}");
        let found: BTreeSet<String> = told.fields.keys().cloned().collect();
        if told.fields.contains_key("key") || !fields.contains("key") {
            assert_eq!(&found, fields, "{told:?}");
        }
    }
}
