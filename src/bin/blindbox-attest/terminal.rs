//! Output on a terminal: colour, width and progress.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use blindbox_attestation::printable;
use clap::ValueEnum;

mod width;

const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD_RED: &str = "1;31";
const FAINT: &str = "2";

/// How long something may take before it is said that it is under way.
const PATIENCE: Duration = Duration::from_millis(500);

/// When there is colour.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless the environment has `NO_COLOR` or a `TERM` of `dumb`.
    #[default]
    Auto,
    Always,
    Never,
}

static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Once, before anything is said.
pub fn set_colour(colour: Colour) {
    let _ = COLOUR.set(colour);
}

/// The table of an appraisal, in colour and folded to the width of the terminal where there is one.
pub fn table(text: &str) -> String {
    let text = &plain(text);
    let text = match width::of_stdout() {
        Some(width) => width::fold(text, width),
        None => text.to_owned(),
    };
    if !coloured(&io::stdout()) {
        return text;
    }
    text.lines().map(|line| paint(line) + "\n").collect()
}

/// The line that says that a peer is what it should be.
pub fn accepted(line: &str) -> String {
    let line = printable(line);
    if coloured(&io::stdout()) { in_colour(GREEN, &line) } else { line.into_owned() }
}

/// The line that says that it is not.
pub fn refused(line: &str) -> String {
    let line = printable(line);
    if coloured(&io::stdout()) { in_colour(BOLD_RED, &line) } else { line.into_owned() }
}

/// A text over several lines, without characters that the terminal would obey. What has colours is escaped before they are
/// added: then nothing that others wrote can bring its own.
pub fn plain(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// An error as one line; on a terminal as lines of its width.
pub fn error(code: &str, message: &str) -> String {
    let start = format!("error[{code}]");
    let text = wrapped(&format!("{start}: {}", printable(message)));
    match text.strip_prefix(&start).filter(|_| coloured(&io::stderr())) {
        Some(rest) => in_colour(BOLD_RED, &start) + rest,
        None => text,
    }
}

/// Text for standard error without characters that a terminal interprets; on a terminal in lines of its width.
pub fn note(text: &str) -> String {
    wrapped(&plain(text))
}

fn wrapped(text: &str) -> String {
    match width::of_stderr() {
        Some(width) => text.split('\n').map(|line| width::wrap(line, width)).collect::<Vec<_>>().join("\n"),
        None => text.to_owned(),
    }
}

/// Waits for something, and says so on standard error if that is a terminal and it takes a while.
pub async fn with_progress<T>(doing: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let begun = Instant::now();
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut shown = false;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => if begun.elapsed() >= PATIENCE {
                shown = true;
                show(&format!("\r\x1b[K{doing}: {:.1} s", begun.elapsed().as_secs_f32()));
            }
        }
    };
    if shown {
        show("\r\x1b[K");
    }
    done
}

fn show(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn coloured(stream: &impl IsTerminal) -> bool {
    match COLOUR.get().copied().unwrap_or_default() {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let unable = env::var_os("TERM").is_some_and(|value| value == "dumb");
            stream.is_terminal() && !unwanted && !unable
        }
    }
}

/// A line of the table, which begins with its verdict.
fn paint(line: &str) -> String {
    let colour = match line {
        _ if line.starts_with("passed") => GREEN,
        _ if line.starts_with("ALLOWED") => YELLOW,
        _ if line.starts_with("FAILED") => BOLD_RED,
        _ if line.starts_with("not evaluated") => FAINT,
        _ => return line.to_owned(),
    };
    // The verdict's column is 13 wide.
    match line.split_at_checked(13) {
        Some((verdict, rest)) => in_colour(colour, verdict) + rest,
        None => in_colour(colour, line),
    }
}

fn in_colour(colour: &str, text: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}
