//! Events of the core, on request: a bounded queue that the host pulls from, on a thread of its own.
//!
//! The host is never called from inside an event: its lock (such as Python's GIL) and the core's could wait for each other. The
//! subscriber belongs to the threads of the runtime; the process keeps its default, since another binding may set one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Dispatch, Level, Metadata, Subscriber};

use crate::error::Error;
use crate::process::Process;

/// How many events wait to be pulled. Earlier ones are dropped, and counted.
const QUEUED: usize = 1024;

/// The target of the core's events. Those of other libraries may hold headers of requests.
const TARGET: &str = "blindbox_attestation";

/// 0 for off, then from error (1) to trace (5).
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The message.
    pub message: String,
    /// The fields, as a JSON object.
    pub fields: String,
    /// How many events were dropped before this one, because none was pulled for too long.
    pub dropped: u64,
}

/// Events of one process.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    dropped: u64,
}

/// Sets which events are kept: `off` (the default), `error`, `warn`, `info`, `debug` or `trace`.
///
/// # Errors
///
/// `misconfigured` for another text.
pub fn set_level(level: &str) -> Result<(), Error> {
    let number = match level {
        "off" => 0,
        "error" => 1,
        "warn" => 2,
        "info" => 3,
        "debug" => 4,
        "trace" => 5,
        other => {
            let reason = format!("expected off, error, warn, info, debug or trace as the level, found {other:?}");
            return Err(Error::argument(reason));
        }
    };
    LEVEL.store(number, Ordering::SeqCst);
    // Whether an event is of interest is cached at its place in the code.
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// Pulls the next event, and waits for it at most as long as `timeout`.
///
/// # Errors
///
/// None at present.
pub fn next(timeout: Duration) -> Result<Option<Event>, Error> {
    Ok(Process::current().events.next(timeout))
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut event: Event) {
        let mut waiting = self.lock();
        if waiting.events.len() >= QUEUED {
            let lost = waiting.events.pop_front().map_or(0, |lost| lost.dropped);
            waiting.dropped = waiting.dropped.saturating_add(lost).saturating_add(1);
            if let Some(oldest) = waiting.events.front_mut() {
                oldest.dropped = oldest.dropped.saturating_add(lost).saturating_add(1);
                waiting.dropped = 0;
            }
        }
        event.dropped = event.dropped.saturating_add(std::mem::take(&mut waiting.dropped));
        waiting.events.push_back(event);
        self.arrived.notify_one();
    }

    fn next(&self, timeout: Duration) -> Option<Event> {
        let started = Instant::now();
        let mut waiting = self.lock();
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            let left = timeout.checked_sub(started.elapsed())?;
            (waiting, _) = self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

thread_local! {
    static SUBSCRIBED: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// What receives the events of threads of the host, while they poll work of the client.
pub(crate) fn dispatch() -> Dispatch {
    Dispatch::new(Events)
}

/// Makes this thread of the client report its events.
pub(crate) fn subscribe_thread() {
    let guard = tracing::subscriber::set_default(Events);
    SUBSCRIBED.with(|subscribed| subscribed.replace(Some(guard)));
}

/// Puts events into the queue of the process. Spans are not kept.
struct Events;

fn limit() -> LevelFilter {
    match LEVEL.load(Ordering::Relaxed) {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

impl Subscriber for Events {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Never cached for the core's events: a level that is set while the interest is registered would go unnoticed.
        if metadata.target() == TARGET { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && metadata.level() <= &limit()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(limit())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_non_zero_u64(std::num::NonZeroU64::MIN)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let fields_json = Value::Object(fields.others).to_string();
        let event = Event { level, message: fields.message, fields: fields_json, dropped: 0 };
        Process::current().events.push(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
