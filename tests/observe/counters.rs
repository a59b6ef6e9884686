//! Counters and histograms: each of the page's is counted, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use blindbox_attestation::Product;
use blindbox_attestation::emulator::{HardwareKnob, Knob, Platform};
use lab::{Lab, hello};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::{check_documented, documented, field, lab, listen};

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
