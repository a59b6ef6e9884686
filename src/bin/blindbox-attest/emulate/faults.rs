//! Faults as they are written on the command line: `PATH=FAULT`.

use std::time::Duration;

use blindbox_attestation::emulator::Fault;

/// A fault of every request whose path begins so.
#[derive(Clone)]
pub struct FaultAt {
    pub path: String,
    pub fault: Fault,
}

/// What stands behind the `=`, what it does, and how it is made of the text behind its colon.
type Entry = (&'static str, &'static str, fn(&str) -> Result<Fault, String>);

const FAULTS: &[Entry] = &[
    ("slow:MS", "the proper response, after this time", |text| Ok(Fault::Slow(milliseconds(text)?))),
    ("hang", "no response while the connection stays open", |_| Ok(Fault::Hang)),
    ("drip:MS", "the proper response, one byte at a time", |text| Ok(Fault::Drip(milliseconds(text)?))),
    ("close-early", "the connection is closed without a response", |_| Ok(Fault::CloseEarly)),
    ("truncated", "half of the body, then the connection is cut", |_| Ok(Fault::Truncated)),
    ("oversized:BYTES", "so much white space behind the response", |text| Ok(Fault::Oversized(number(text)?))),
    ("oversized-announced:BYTES", "the same, announced in the head", |text| {
        Ok(Fault::OversizedAnnounced(number(text)?))
    }),
    ("status:CODE", "another status", |text| Ok(Fault::status(status(text)?))),
    ("forbidden", "403 with an error", |_| Ok(Fault::forbidden())),
    ("forbidden-twice", "403 with two JSON objects in a row", |_| Ok(Fault::forbidden_twice())),
    ("too-many-requests:SECONDS", "429 with Retry-After", |text| Ok(Fault::too_many_requests(number(text)?))),
    ("redirect:URL", "a redirect (307)", |text| Ok(Fault::Redirect(text.to_owned()))),
    ("content-type:TYPE", "another content type", |text| Ok(Fault::ContentType(text.to_owned()))),
    ("gzip", "compressed, although it was not requested", |_| Ok(Fault::Gzip)),
    ("malformed-json", "JSON that does not end", |_| Ok(Fault::MalformedJson)),
    ("duplicate-member", "JSON with its first member twice", |_| Ok(Fault::DuplicateMember)),
    ("trailing-json", "a second JSON object behind the response", |_| Ok(Fault::TrailingJson)),
    ("body:TEXT", "another body", |text| Ok(Fault::Body(text.to_owned()))),
];

pub fn parse(text: &str) -> Result<FaultAt, String> {
    let (path, fault) = text.split_once('=').ok_or("expected PATH=FAULT, such as /attest/=hang")?;
    if !path.starts_with('/') {
        return Err("expected a path that begins with a slash".to_owned());
    }
    let (name, value) = fault.split_once(':').unwrap_or((fault, ""));
    let entry = FAULTS.iter().find(|(form, ..)| form.split(':').next() == Some(name));
    let (form, _, make) = entry.ok_or_else(|| format!("no fault is called {name:?}; see --help"))?;
    if form.contains(':') == value.is_empty() {
        return Err(format!("expected {form}"));
    }
    Ok(FaultAt { path: path.to_owned(), fault: make(value)? })
}

pub fn help() -> String {
    let lines: Vec<String> = FAULTS.iter().map(|(form, what, _)| format!("  {form:<40} {what}")).collect();
    format!("Faults:\n{}", lines.join("\n"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    number(text).map(Duration::from_millis)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number, found {text:?}"))
}

fn status(text: &str) -> Result<u16, String> {
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    code.ok_or_else(|| format!("expected a status from 200 to 599, found {text:?}"))
}
