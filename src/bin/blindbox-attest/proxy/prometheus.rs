//! Counters of the facade `metrics` in the text format of Prometheus (version 0.0.4).
//!
//! By hand: the exporter of the facade's authors keeps distributions of any kind and brings 25 crates for it. Here a histogram has
//! fixed buckets, and a series is what a metric and its labels name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Upper bounds of durations, in seconds.
const SECONDS: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds of numbers of things.
const COUNTS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// What is counted. Clones share it.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Families>>);

#[derive(Default)]
struct Families {
    /// By name.
    help: BTreeMap<String, String>,
    /// By name and labels, which are written as they are shown.
    series: BTreeMap<String, BTreeMap<String, Series>>,
}

enum Series {
    Counter(Arc<AtomicU64>),
    /// The bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// A histogram.
struct Buckets {
    bounds: &'static [f64],
    counts: Mutex<(Vec<u64>, f64, u64)>,
}

impl Buckets {
    fn new(name: &str) -> Self {
        let bounds = if name.ends_with("_seconds") { SECONDS } else { COUNTS };
        Self { bounds, counts: Mutex::new((vec![0; bounds.len()], 0.0, 0)) }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let mut counts = lock(&self.counts);
        let (buckets, sum, count) = &mut *counts;
        for (bucket, bound) in buckets.iter_mut().zip(self.bounds) {
            if value <= *bound {
                *bucket = bucket.saturating_add(1);
            }
        }
        *sum += value;
        *count = count.saturating_add(1);
    }
}

impl Registry {
    /// Everything that was counted.
    pub fn render(&self) -> String {
        let families = lock(&self.0);
        let mut text = String::new();
        for (name, series) in &families.series {
            if let Some(help) = families.help.get(name) {
                let _ = writeln!(text, "# HELP {name} {help}");
            }
            if let Some(first) = series.values().next() {
                let _ = writeln!(text, "# TYPE {name} {}", first.kind());
            }
            for (labels, series) in series {
                series.render(name, labels, &mut text);
            }
        }
        text
    }

    fn describe(&self, name: &KeyName, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        lock(&self.0).help.insert(name.as_str().to_owned(), help);
    }

    /// The handle of a series; none where its name is that of another kind.
    fn series<T>(
        &self,
        key: &Key,
        new: impl FnOnce() -> Series,
        handle: impl FnOnce(&Series) -> Option<T>,
    ) -> Option<T> {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value()))).collect();
        let mut families = lock(&self.0);
        let named = families.series.entry(key.name().to_owned()).or_default();
        handle(named.entry(labels.join(",")).or_insert_with(new))
    }
}

impl Series {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        match self {
            Self::Counter(value) => {
                let _ = writeln!(text, "{name}{braced} {}", value.load(Ordering::Relaxed));
            }
            Self::Gauge(value) => {
                let _ = writeln!(text, "{name}{braced} {}", f64::from_bits(value.load(Ordering::Relaxed)));
            }
            Self::Histogram(buckets) => {
                let counts = lock(&buckets.counts);
                let (below, sum, count) = &*counts;
                let comma = if labels.is_empty() { "" } else { "," };
                for (bound, below) in buckets.bounds.iter().zip(below) {
                    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
                }
                let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
                let _ = writeln!(text, "{name}_sum{braced} {sum}\n{name}_count{braced} {count}");
            }
        }
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let handle = |series: &Series| match series {
            Series::Counter(value) => Some(Arc::clone(value)),
            Series::Gauge(_) | Series::Histogram(_) => None,
        };
        self.series(key, || Series::Counter(Arc::default()), handle).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let handle = |series: &Series| match series {
            Series::Gauge(value) => Some(Arc::clone(value)),
            Series::Counter(_) | Series::Histogram(_) => None,
        };
        self.series(key, || Series::Gauge(Arc::default()), handle).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let handle = |series: &Series| match series {
            Series::Histogram(buckets) => Some(Arc::clone(buckets)),
            Series::Counter(_) | Series::Gauge(_) => None,
        };
        let new = || Series::Histogram(Arc::new(Buckets::new(key.name())));
        self.series(key, new, handle).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            metrics::describe_counter!("a_total", "What\nis \\ counted");
            metrics::counter!("a_total", "by" => "x\"\\\n", "of" => "y").increment(2);
            metrics::counter!("a_total", "by" => "z", "of" => "y").increment(1);
            metrics::gauge!("g").set(1.5);
            metrics::histogram!("t_seconds", "c" => "d").record(0.2);
            metrics::histogram!("t_seconds", "c" => "d").record(40.0);
            // Another kind under the same name is not counted, and does no harm.
            metrics::gauge!("a_total", "by" => "z", "of" => "y").set(7.0);
        });
        let text = registry.render();
        let expected = [
            "# HELP a_total What\\nis \\\\ counted\n# TYPE a_total counter\n",
            "a_total{by=\"x\\\"\\\\\\n\",of=\"y\"} 2\na_total{by=\"z\",of=\"y\"} 1\n",
            "# TYPE g gauge\ng 1.5\n# TYPE t_seconds histogram\n",
            "t_seconds_bucket{c=\"d\",le=\"0.1\"} 0\nt_seconds_bucket{c=\"d\",le=\"0.25\"} 1\n",
            "t_seconds_bucket{c=\"d\",le=\"30\"} 1\nt_seconds_bucket{c=\"d\",le=\"+Inf\"} 2\n",
            "t_seconds_sum{c=\"d\"} 40.2\nt_seconds_count{c=\"d\"} 2\n",
        ];
        for expected in expected {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
