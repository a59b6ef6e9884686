//! Which paths are the agent's, whichever way they are written.

use hyper::{Method, Uri};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /status`.
    Status,
    /// `POST /attest/maa`.
    Maa,
    /// `POST /attest/combined`.
    Combined,
    /// `POST /attest/azure-vm`.
    AzureVm,
    /// `POST /attest/message`.
    Message,
    /// One of these, by another method.
    WrongMethod,
    /// Something else that is the agent's: responded to with 404 and never passed on, since an application that has such a path
    /// would be one that attests what callers send.
    Reserved,
    /// A path that two programs could read in two ways.
    Ambiguous,
    /// The application's.
    Application,
}

const RESERVED: [&[u8]; 3] = [b"attest", b"key", b"status"];

/// The most times that a path is decoded. Who encodes it more often wants it read differently along the way.
const MAX_DECODINGS: usize = 4;

/// Reads a target. The requests are recognised by their exact text, without a query; everything that some program on
/// the way could take for a path beside them is reserved.
#[must_use]
pub fn classify(method: &Method, target: &Uri) -> Route {
    let exact = match target.path() {
        "/status" => Some((Route::Status, Method::GET)),
        "/attest/maa" => Some((Route::Maa, Method::POST)),
        "/attest/combined" => Some((Route::Combined, Method::POST)),
        "/attest/azure-vm" => Some((Route::AzureVm, Method::POST)),
        "/attest/message" => Some((Route::Message, Method::POST)),
        _ => None,
    };
    match exact {
        Some(_) if target.query().is_some() => Route::Reserved,
        Some((route, allowed)) if *method == allowed => route,
        Some(_) => Route::WrongMethod,
        None => by_path(target.path()),
    }
}

/// By how the path reads to the strictest program, and to one that folds characters to their compatibility equivalents:
/// full-width, superscript, circled and mathematical letters, ligatures, KELVIN SIGN, look-alikes of `/`, `.`, `;` and `%`.
fn by_path(path: &str) -> Route {
    let Some(decoded) = decoded(path.as_bytes()) else { return Route::Ambiguous };
    let literal = by_first_segment(&decoded);
    if literal != Route::Application || decoded.is_ascii() {
        return literal;
    }
    // Folding can give what is to be decoded again, such as `%` from FULLWIDTH PERCENT SIGN.
    let folded = folded(&decoded);
    match self::decoded(&folded) {
        Some(again) if again == folded => by_first_segment(&folded),
        _ => Route::Ambiguous,
    }
}

fn by_first_segment(decoded: &[u8]) -> Route {
    if decoded.first() != Some(&b'/') {
        return Route::Ambiguous;
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Route::Ambiguous;
    }
    // `;` begins parameters of a segment for some servers, which then look for a path without them. `?` and `#` can only be
    // here when they were encoded.
    let segments = decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .map(|segment| segment.split(|byte| matches!(byte, b';' | b'?' | b'#')).next().unwrap_or_default())
        .map(<[u8]>::trim_ascii)
        .filter(|segment| !segment.is_empty());
    let mut first = None;
    for segment in segments {
        // Clients resolve these before they send; what still has them is meant to be resolved by a server behind this one.
        if matches!(segment, b"." | b"..") {
            return Route::Ambiguous;
        }
        first = first.or(Some(segment));
    }
    match first.map(without_final_dots) {
        Some(first) if RESERVED.iter().any(|name| first.eq_ignore_ascii_case(name)) => Route::Reserved,
        // Lenient decoders take an ASCII letter in two bytes, or leave out what they do not understand.
        Some(first) if std::str::from_utf8(first).is_err() => Route::Ambiguous,
        _ => Route::Application,
    }
}

/// Some file systems leave them out.
fn without_final_dots(mut segment: &[u8]) -> &[u8] {
    while let [rest @ .., b'.' | b' '] = segment {
        segment = rest;
    }
    segment
}

/// Percent-decoded until nothing changes.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut path = path.to_vec();
    for _ in 0..MAX_DECODINGS {
        let next: Vec<u8> = percent_encoding::percent_decode(&path).collect();
        if next == path {
            return Some(path);
        }
        path = next;
    }
    None
}

/// As a program might that compares in NFKC_Casefold (Unicode Standard, section 3.13) or leaves accents out: compatibility
/// decomposition, no marks, no characters that are ignored by default, one case. What is not UTF-8 stays as it is.
fn folded(path: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let plain: String = chunk.valid().nfkd().filter(|c| !is_combining_mark(*c) && !is_ignorable(*c)).collect();
        // Upper case first, since only it maps LONG S and the dotless I to ASCII. It can give characters to decompose again.
        let plain = plain.to_uppercase().to_lowercase();
        // White space of every kind is taken off the ends of texts in many languages.
        let space = |c: char| if c.is_whitespace() { ' ' } else { c };
        let plain: String = plain.nfkd().filter(|c| !is_combining_mark(*c)).map(space).collect();
        folded.extend_from_slice(plain.as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// Characters that are ignored by default (Default_Ignorable_Code_Point), of those that are no marks.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Route {
        classify(&Method::GET, &path.parse().unwrap())
    }

    #[test]
    fn the_four_requests_are_their_exact_text_and_method() {
        assert_eq!(get("/status"), Route::Status);
        assert_eq!(classify(&Method::POST, &"/attest/maa".parse().unwrap()), Route::Maa);
        assert_eq!(classify(&Method::POST, &"/attest/combined".parse().unwrap()), Route::Combined);
        assert_eq!(classify(&Method::POST, &"/attest/message".parse().unwrap()), Route::Message);
        assert_eq!(get("/attest/message"), Route::WrongMethod);
        assert_eq!(get("/attest/maa"), Route::WrongMethod);
        assert_eq!(classify(&Method::POST, &"/status".parse().unwrap()), Route::WrongMethod);
    }

    #[test]
    fn other_spellings_and_neighbours_are_reserved() {
        for path in [
            "/attest",
            "/attest/",
            "/attest/raw",
            "/attest/maa/",
            "/attest/message/",
            "/attest/message?x",
            "/attest/maa?x=1",
            "/status?",
            "/status/x",
            "/key",
            "/key/release",
            "//attest/raw",
            "///attest///raw",
            "/Attest/Raw",
            "/ATTEST/maa",
            "/%61ttest/raw",
            "/%41ttest/raw",
            "/%2561ttest/raw",
            "/attest%2fraw",
            "/attest%2Fraw",
            "/attest%5craw",
            "/%2fattest/raw",
            "/%20attest/raw",
            "/attest%20/raw",
            "/attest;x=1/raw",
            "/attest%3bx/raw",
            "/attest%3fx",
            "/;/attest/raw",
            "/key%23x",
            "/attest./raw",
            "/attest.%20/raw",
            "/status..;x",
            "/%E2%84%AAey/release",
            "/%C5%BFtatus",
            "/%EF%BD%81ttest/raw",
            // Superscript, circled, mathematical and small letters, a ligature, accents, ignorable characters.
            "/%E1%B5%83ttest/raw",
            "/%E2%93%90ttest",
            "/%F0%9D%93%80ey",
            "/%EF%AC%85atus",
            "/%EF%AC%86atus",
            "/k%C3%A9y",
            "/ke%CC%81y/release",
            "/at%C2%ADtest/raw",
            "/att%E2%80%8Best",
            "/%E2%80%AEkey",
            "/%EF%BC%AB%EF%BC%A5%EF%BC%B9",
            // Full-width solidus, reverse solidus and semicolon.
            "/%EF%BC%8Fattest/raw",
            "/attest%EF%BC%8Fraw",
            "/attest%EF%BC%BCraw",
            "/attest%EF%BC%9Bx",
            "/key%EF%BC%9Fx",
            "/key%EF%BC%8E",
            // NEXT LINE, NO-BREAK SPACE, OGHAM SPACE MARK, LINE SEPARATOR.
            "/%C2%85attest/raw",
            "/key%C2%A0/x",
            "/%E1%9A%80attest/raw",
            "/status%E2%80%A8",
        ] {
            assert_eq!(get(path), Route::Reserved, "{path}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in [
            "/x/../attest/raw",
            "/x/%2e%2e/attest/raw",
            "/x/%252e%252e/attest/raw",
            "/./attest/raw",
            "/attest/../hello",
            "/x%5c..%5cattest",
            "/x/..;/attest/raw",
            "/att%00est",
            "/%0aattest",
            "/%25252525252561ttest",
            "/%C1%A1ttest/raw",
            "/%E1ttest",
            // TWO DOT LEADER, full-width full stops and percent sign.
            "/x/%E2%80%A5/attest",
            "/x/%EF%BC%8E%EF%BC%8E/attest",
            "/%EF%BC%8561ttest",
            "*",
        ] {
            assert_eq!(get(path), Route::Ambiguous, "{path}");
        }
    }

    #[test]
    fn the_rest_is_the_applications() {
        for path in [
            "/",
            "/generate",
            "/attestation",
            "/keys",
            "/v1/attest",
            "/statuses?q=/attest/raw",
            "/100%25",
            "/a%2Fb",
            "/a.b/c.",
            "/%C3%A4",
            "/r%C3%A9sum%C3%A9s",
            "/v1/%E2%93%90ttest",
            "/%E6%97%A5%E6%9C%AC%E8%AA%9E/%E2%80%A6",
            "/%CE%BAey",
            "/files/%E4.txt",
        ] {
            assert_eq!(get(path), Route::Application, "{path}");
        }
    }
}
