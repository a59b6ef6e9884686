//! What is reported on standard error: lines for people, or one JSON object each for programs; events of the library with `-v`.
//!
//! A command that serves writes through a queue: a pipe that is not read takes no more at some point, and a
//! writer that waited for it would stop.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blindbox_attestation::{printable, printable_json};
use clap::{Args, ValueEnum};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::exit::Failure;
use crate::terminal;

/// The target of this program's own events.
pub const TARGET: &str = "blindbox_attest";

/// The target of the library's events: `docs/observability.md`.
const LIBRARY: &str = "blindbox_attestation";

/// How many lines wait to be written. Later ones are dropped, and counted.
const QUEUED_LINES: usize = 256;

#[derive(Args)]
pub struct Options {
    /// Report on standard error what is attested and refused and, of `proxy`, every request; twice: every step, and reasons.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Log")]
    verbose: u8,

    /// What is reported, in place of -v: a level (error, warn, info, debug, trace, off), or TARGET=LEVEL, separated by commas. A
    /// level alone is for the targets `blindbox_attest` and `blindbox_attestation`. Other targets, such as `h2`, may show headers.
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Log")]
    log: Option<Filter>,

    /// The form of what is reported on standard error. JSON reports as much as -v does, one object a line.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text", help_heading = "Log")]
    log_format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Which events are reported.
#[derive(Clone, Debug)]
struct Filter(Targets);

impl Filter {
    fn own(level: LevelFilter) -> Self {
        Self(Targets::new().with_target(TARGET, level).with_target(LIBRARY, level))
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = |level: &str| {
            let level = level.trim();
            level.parse().map_err(|_| {
                format!("expected a level (error, warn, info, debug, trace or off), found {:?}", printable(level))
            })
        };
        let mut targets = Targets::new();
        for directive in text.split(',') {
            targets = match directive.split_once('=') {
                Some((target, named)) => targets.with_target(target.trim(), level(named)?),
                None => {
                    let level: LevelFilter = level(directive)?;
                    targets.with_target(TARGET, level).with_target(LIBRARY, level)
                }
            };
        }
        Ok(Self(targets))
    }
}

static FORMAT: OnceLock<Format> = OnceLock::new();
static QUEUE: OnceLock<Queue> = OnceLock::new();

impl Options {
    /// Installs what reports events. Once, before anything is reported.
    pub fn install(&self) {
        let _ = FORMAT.set(self.log_format);
        let default = match (self.verbose, self.log_format) {
            (0, Format::Text) => LevelFilter::OFF,
            (0, Format::Json) | (1, _) => LevelFilter::INFO,
            (2.., _) => LevelFilter::DEBUG,
        };
        let Filter(targets) = self.log.clone().unwrap_or_else(|| Filter::own(default));
        let layer = tracing_subscriber::fmt::layer().with_writer(Lines).with_ansi(false);
        let layer = match self.log_format {
            Format::Text => layer.boxed(),
            Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        };
        // Only a second call could fail.
        let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
    }
}

/// Whether programs read what is reported.
pub fn is_json() -> bool {
    FORMAT.get() == Some(&Format::Json)
}

/// Reports something to a person; to a program as an event.
pub fn note(text: &str) {
    if is_json() {
        tracing::info!(target: TARGET, "{text}");
    } else {
        write_line(terminal::note(text));
    }
}

/// Reports a failure.
pub fn error(code: &str, reason: &str) {
    if is_json() {
        tracing::error!(target: TARGET, code, reason, "error");
    } else {
        write_line(terminal::error(code, reason));
    }
}

/// Lines that wait to be written, by a thread of its own.
struct Queue {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

enum Line {
    Text(String),
    /// To be confirmed when everything before it is written.
    Flush(SyncSender<()>),
}

/// From now on lines are written by a thread, and dropped when too many wait.
pub fn use_queue() -> Result<(), Failure> {
    let (lines, waiting) = sync_channel(QUEUED_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let missed = Arc::clone(&dropped);
    let write = move || {
        for line in waiting {
            match line {
                Line::Text(line) => write_now(&line),
                Line::Flush(written) => drop(written.try_send(())),
            }
            match missed.swap(0, Ordering::Relaxed) {
                0 => {}
                lines if is_json() => write_now(&dropped_json(lines)),
                lines => write_now(&format!("note: {lines} lines were not reported: standard error was not read")),
            }
        }
    };
    let writing = std::thread::Builder::new().name("log".to_owned()).spawn(write);
    writing.map_err(|error| Failure::setting(format!("no thread for the log: {error}")))?;
    let _ = QUEUE.set(Queue { lines, dropped });
    Ok(())
}

/// In place of an event, which would go through the queue.
fn dropped_json(lines: u64) -> String {
    let line = serde_json::json!({ "level": "WARN", "message": "lines dropped", "lines": lines, "target": TARGET });
    line.to_string()
}

/// Waits until everything is written, at most so long.
pub fn flush(at_most: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let (written, confirmed) = sync_channel(1);
    if queue.lines.try_send(Line::Flush(written)).is_ok() {
        let _ = confirmed.recv_timeout(at_most);
    }
}

fn write_line(line: String) {
    let Some(queue) = QUEUE.get() else { return write_now(&line) };
    if let Err(TrySendError::Full(_)) = queue.lines.try_send(Line::Text(line)) {
        queue.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where it is not read, that changes nothing.
fn write_now(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Where events are written to: each is one line.
#[derive(Clone, Copy)]
struct Lines;

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.trim_end_matches('\n');
        write_line(if is_json() { printable_json(line).into() } else { printable(line).into_owned() });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_the_targets_of_this_project() {
        let Filter(targets) = "debug,h2=warn".parse().unwrap();
        let enabled = |target, level| targets.would_enable(target, &level);
        assert!(enabled(TARGET, tracing::Level::DEBUG) && enabled(LIBRARY, tracing::Level::DEBUG));
        assert!(!enabled(LIBRARY, tracing::Level::TRACE));
        assert!(enabled("h2", tracing::Level::WARN) && !enabled("h2", tracing::Level::INFO));
        assert!(!enabled("reqwest", tracing::Level::ERROR));
        let error = "loud".parse::<Filter>().unwrap_err();
        assert_eq!(error, "expected a level (error, warn, info, debug, trace or off), found \"loud\"");
    }
}
