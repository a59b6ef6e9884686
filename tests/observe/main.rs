//! What is reported and counted while connections are attested, by the page that documents it: `docs/observability.md`.

#[path = "common/lab.rs"]
mod lab;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};

use blindbox_attestation::emulator::{Fault, HardwareKnob, Knob, Platform, Relay};
use blindbox_attestation::{AttestationError, Product, Trust};
use lab::{Lab, hello};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

const PAGE: &str = include_str!("../docs/observability.md");

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

#[tokio::test]
async fn an_accepted_connection_is_told_step_by_step() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let ear = listen();
    let session = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap();
    let told = ear.take();
    check_documented(&told);

    let loud: Vec<_> = above(&told, Level::INFO);
    assert_eq!(events(&loud), ["attested"]);
    let attested = event(&told, "attested");
    assert_eq!(
        (field(attested, "outcome"), attested.within.as_slice()),
        ("accepted", ["connect", "attest"].as_slice())
    );
    assert!(field(attested, "duration_ms").parse::<f64>().unwrap() > 0.0);
    let spans: Vec<_> = loud.iter().filter(|told| told.is_span).map(|told| told.name.as_str()).collect();
    assert_eq!(spans, ["connect", "attest"]);
    assert_eq!(field(&loud[0], "origin"), lab.blindbox.url().trim_end_matches('/'));

    let steps: BTreeSet<_> = told.iter().filter(|told| told.name == "step").map(|told| field(told, "step")).collect();
    assert_eq!(steps, BTreeSet::from(["dial", "agent", "key-set", "certificates", "verify"]));
    for step in told.iter().filter(|told| told.name == "step") {
        assert_eq!(step.within.last(), Some(&field(step, "step")));
        assert_eq!(field(step, "outcome"), "ok");
    }
    let fetches: BTreeSet<_> = told
        .iter()
        .filter(|told| told.name == "fetch")
        .map(|told| (field(told, "what"), field(told, "source")))
        .collect();
    assert_eq!(fetches, BTreeSet::from([("key-set", "network"), ("vcek", "network"), ("crl", "network")]));
    let join = event(&told, "join");
    assert_eq!((field(join, "key"), field(join, "keys")), (lab.blindbox.tls_key().to_string().as_str(), "1"));
    assert_eq!(field(event(&told, "connect"), "outcome"), "ok");

    // Of the application's own requests nothing is reported.
    let request = session.post("/echo").query("q", "query-secret").header("x-token", "header-secret");
    let _ = request.body("body-secret").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(text(&ear.take()), "");
}

#[tokio::test]
async fn a_refused_connection_is_told_with_its_code() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    let ear = listen();
    let error = lab.refusal().await;
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["not attested"]);
    let refused = event(&told, "not attested");
    assert_eq!(refused.level, Level::WARN);
    assert_eq!(refused.within, ["connect", "attest"]);
    assert_eq!(field(refused, "outcome"), "debug-mode");
    assert_eq!(field(refused, "number"), error.number().to_string());
    assert_eq!((field(refused, "category"), field(refused, "retryable")), ("rejected", "false"));
    assert_eq!(field(event(&told, "reason"), "error"), error.to_string());
    assert_eq!(field(event(&told, "connect"), "outcome"), "debug-mode");
    assert_eq!(field(event(&told, "refuse"), "key"), lab.blindbox.tls_key().to_string());

    // No one there.
    lab.blindbox.stop().await;
    let error = lab.refusal().await;
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["no connection"]);
    assert_eq!(field(event(&told, "no connection"), "outcome"), error.code());
}

#[tokio::test]
async fn what_could_not_be_fetched_is_told_even_where_the_policy_goes_on_without() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.kds().fail("/", Fault::status(500));
    let policy = lab.hardware_policy(Trust::amd().allow_best_effort_revocation());
    let ear = listen();
    let _ = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["not fetched", "attested"]);
    let missing = event(&told, "not fetched");
    assert_eq!((field(missing, "what"), field(missing, "outcome")), ("crl", "kds-unreachable"));
}

/// Nothing of evidence, machines, keys and tokens, in whole or in part.
fn assert_not_identifying(lab: &Lab, told: &[Told]) {
    let text = text(&above(told, Level::INFO)).to_lowercase();
    let mut secrets = vec![lab.blindbox.tls_key().to_string(), lab.blindbox.host_data().to_string()];
    if let Some(platform) = lab.blindbox.platform() {
        secrets.push(platform.chip_id().unwrap().to_string());
    }
    for secret in secrets {
        assert!(secret.len() >= 64, "{secret}");
        assert!(!text.contains(&secret[..8]), "{secret} in {text}");
    }
    assert!(!text.contains("eyj"), "a token in {text}");
    // Whatever else has digits: hexadecimal or base64 of any length.
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_number = digits == word.len();
        assert!(digits == 0 || is_number || word.len() < 12, "{word:?} in {text}");
    }
}

#[tokio::test]
async fn nothing_that_identifies_is_told_aloud() {
    let lab = Lab::on(&Platform::new(Product::Genoa)).await;
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let ear = listen();
    let mut all = Vec::new();
    for knob in [
        None,
        Some(Knob::Debug),
        Some(Knob::Hardware(HardwareKnob::CertificateOfAnotherChip)),
        Some(Knob::Hardware(HardwareKnob::NoCertificates)),
        Some(Knob::TokenOfAnotherReport),
        Some(Knob::claim("iss", "https://eyJ.example/0123456789abcdef")),
    ] {
        lab.blindbox.reset();
        if let Some(knob) = knob {
            lab.blindbox.set(knob);
        }
        let _ = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await;
        all.extend(ear.take());
    }
    lab.blindbox.reset();
    lab.blindbox
        .fail("/attest", Fault::Status { code: 403, retry_after: None, body: "{\"error\":\"eyJsecret\"}".into() });
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.both_policy()).await.unwrap_err();
    lab.blindbox.recover();
    let error = lab.verifier().connect(relay.url(), &lab.both_policy()).await.unwrap_err();
    assert!(matches!(error, AttestationError::ChannelMismatch { .. }));
    all.extend(ear.take());
    check_documented(&all);
    assert_not_identifying(&lab, &all);
    // Who asks for it at debug level gets it.
    let quiet = text(&all);
    assert!(quiet.contains(&lab.blindbox.tls_key().to_string()) && quiet.contains(&relay.tls_key().to_string()));
    assert!(quiet.contains("eyJsecret"));
    for level in [Level::INFO, Level::WARN] {
        assert!(all.iter().any(|told| told.level == level));
    }
}

#[tokio::test]
async fn renewal_and_leaving_are_told() {
    let lab = Lab::start().await;
    let ear = listen();
    let session = lab.connect().await.unwrap();
    ear.take();
    lab.blindbox.clock().advance(3000);
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(field(event(&told, "renew"), "outcome"), "accepted");
    assert_eq!(event(&told, "attested").within, ["renew", "attest"]);

    // The old attestation goes on where there is no verdict.
    lab.blindbox.clock().advance(3000);
    lab.blindbox.fail("/attest", Fault::status(500));
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(field(event(&told, "renew"), "outcome"), "agent-unreachable");
    assert_eq!(events(&above(&told, Level::INFO)), ["not attested"]);
    lab.blindbox.recover();

    lab.blindbox.clock().advance(3600);
    hello(&session).await.unwrap();
    let told = ear.take();
    check_documented(&told);
    assert_eq!((field(event(&told, "expire"), "ended"), field(event(&told, "join"), "keys")), ("1", "1"));

    lab.blindbox.clock().advance(3000);
    lab.blindbox.set(Knob::Debug);
    hello(&session).await.unwrap_err();
    let told = ear.take();
    check_documented(&told);
    assert_eq!(events(&above(&told, Level::INFO)), ["not attested", "leave"]);
    let leave = event(&told, "leave");
    assert_eq!((field(leave, "outcome"), field(leave, "keys"), field(leave, "poisoned")), ("debug-mode", "0", "true"));
    assert_not_identifying(&lab, &told);
    // A poisoned session asks no one.
    hello(&session).await.unwrap_err();
    assert_eq!(text(&ear.take()), "");
}

/// Counts, by name and labels.
#[derive(Clone, Default)]
struct Counts {
    counted: Arc<Mutex<BTreeMap<String, Arc<Tally>>>>,
    described: Arc<Mutex<BTreeMap<String, &'static str>>>,
}

/// How often, and for histograms what came last.
#[derive(Default)]
struct Tally(AtomicU64, AtomicU64);

impl CounterFn for Tally {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, _: u64) {
        panic!("a counter that is set");
    }
}

impl HistogramFn for Tally {
    fn record(&self, value: f64) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.store(value.to_bits(), Ordering::SeqCst);
    }
}

impl Counts {
    fn tally(&self, key: &Key) -> Arc<Tally> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.counted.lock().unwrap().entry(name).or_default())
    }

    /// All of a name, without it.
    fn of(&self, name: &str) -> BTreeMap<String, u64> {
        let counted = self.counted.lock().unwrap();
        let of_name = counted.iter().filter_map(|(key, tally)| {
            Some((key.strip_prefix(name)?.trim_matches(['{', '}']).to_owned(), tally.0.load(Ordering::SeqCst)))
        });
        of_name.collect()
    }

    fn last(&self, name: &str) -> f64 {
        f64::from_bits(self.counted.lock().unwrap()[&format!("{name}{{}}")].1.load(Ordering::SeqCst))
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned(), "counter");
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned(), "gauge");
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned(), "histogram");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.tally(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("{key}: there are no gauges");
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.tally(key))
    }
}

fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(labels, count)| (labels.to_owned(), count)).collect()
}

#[tokio::test]
async fn everything_that_the_page_names_is_counted() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let (recorder, policy, place) = (Counts::default(), lab.both_policy(), tempfile::tempdir().unwrap());
    let _guard = metrics::set_default_local_recorder(&recorder);
    let verifier = || lab.builder().cache_dir(place.path().join("cache")).build().unwrap();

    let first = verifier();
    let session = first.connect(lab.blindbox.url(), &policy).await.unwrap();
    let _ = first.connect(lab.blindbox.url(), &policy).await.unwrap();
    let _ = verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let found = counts([
        ("what=key-set,source=network,outcome=ok", 2),
        ("what=key-set,source=memory,outcome=ok", 1),
        ("what=vcek,source=network,outcome=ok", 1),
        ("what=vcek,source=memory,outcome=ok", 1),
        ("what=vcek,source=disk,outcome=ok", 1),
        ("what=crl,source=network,outcome=ok", 1),
        ("what=crl,source=memory,outcome=ok", 1),
        ("what=crl,source=disk,outcome=ok", 1),
    ]);
    assert_eq!(recorder.of("blindbox_fetches_total"), found);
    assert_eq!(recorder.of("blindbox_attestations_total"), counts([("outcome=accepted,category=accepted", 3)]));
    assert_eq!(recorder.of("blindbox_attestation_duration_seconds"), counts([("category=accepted", 3)]));
    assert_eq!(
        (recorder.of("blindbox_session_keys"), recorder.last("blindbox_session_keys")),
        (counts([("", 3)]), 1.0)
    );

    lab.blindbox.clock().advance(3000);
    hello(&session).await.unwrap();
    assert_eq!(recorder.of("blindbox_renewals_total"), counts([("outcome=accepted", 1)]));

    lab.blindbox.clock().advance(3000);
    lab.blindbox.set(Knob::Debug);
    hello(&session).await.unwrap_err();
    assert_eq!(recorder.of("blindbox_renewals_total"), counts([("outcome=accepted", 1), ("outcome=debug-mode", 1)]));
    assert_eq!(recorder.of("blindbox_refused_peers_total"), counts([("outcome=debug-mode,by=evidence", 1)]));
    assert_eq!(recorder.last("blindbox_session_keys"), 0.0);
    let attestations = counts([("outcome=accepted,category=accepted", 4), ("outcome=debug-mode,category=rejected", 1)]);
    assert_eq!(recorder.of("blindbox_attestations_total"), attestations);

    // The page, the descriptions and what was counted name the same. The proxy's counters are compared by its own tests.
    let mut page = documented("Counters");
    page.retain(|name, _| !name.starts_with("blindbox_proxy_"));
    let described = recorder.described.lock().unwrap().clone();
    assert_eq!(page.keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>());
    for (name, (kind, labels)) in &page {
        assert_eq!(described[name], kind);
        let counted = recorder.of(name);
        assert!(!counted.is_empty(), "{name}");
        for key in counted.keys() {
            let found = key.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            assert_eq!(&found.collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
}

#[tokio::test]
async fn a_refusal_from_memory_is_told_and_counted() {
    let lab = Lab::start().await;
    let (recorder, ear) = (Counts::default(), listen());
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let session = lab.connect().await.unwrap();
    // Another key shows up, of a workload that is not accepted.
    lab.blindbox.clock().advance(3600);
    lab.blindbox.set(Knob::Debug);
    for _ in 0..3 {
        hello(&session).await.unwrap_err();
    }
    let told = ear.take();
    check_documented(&told);
    let unasked: Vec<_> = told.iter().filter(|told| told.name == "refuse unasked").collect();
    assert_eq!(unasked.len(), 2);
    assert_eq!((field(unasked[0], "outcome"), field(unasked[0], "by")), ("debug-mode", "memory"));
    let refused = counts([("outcome=debug-mode,by=evidence", 1), ("outcome=debug-mode,by=memory", 2)]);
    assert_eq!(recorder.of("blindbox_refused_peers_total"), refused);
    assert_eq!(recorder.of("blindbox_attestations_total")["outcome=debug-mode,category=rejected"], 1);
}

#[test]
fn the_library_writes_to_no_stream_and_installs_nothing() {
    fn check(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("bin") {
                check(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                for line in code {
                    for word in ["print!(", "println!(", "dbg!(", "set_global", "install_default(", "set_hook("] {
                        assert!(!line.contains(word), "{}: {line}", path.display());
                    }
                }
            }
        }
    }
    check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}
