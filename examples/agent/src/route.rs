//! Which paths are the agent's, whichever way they are written.

use hyper::{Method, Uri};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /status`.
    Status,
    /// `POST /attest/maa`.
    Maa,
    /// `POST /attest/combined`.
    Combined,
    /// One of the three, by another method.
    WrongMethod,
    /// Something else that is the agent's: answered with 404 and never passed on, since an application that has such a path
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

/// Reads a target. The three requests are recognised by their exact text, without a query; everything that some program on
/// the way could take for a path beside them is reserved.
#[must_use]
pub fn classify(method: &Method, target: &Uri) -> Route {
    let exact = match target.path() {
        "/status" => Some((Route::Status, Method::GET)),
        "/attest/maa" => Some((Route::Maa, Method::POST)),
        "/attest/combined" => Some((Route::Combined, Method::POST)),
        _ => None,
    };
    match exact {
        Some(_) if target.query().is_some() => Route::Reserved,
        Some((route, allowed)) if *method == allowed => route,
        Some(_) => Route::WrongMethod,
        None => by_first_segment(target.path()),
    }
}

fn by_first_segment(path: &str) -> Route {
    if !path.starts_with('/') {
        return Route::Ambiguous;
    }
    let Some(decoded) = decoded(path.as_bytes()) else { return Route::Ambiguous };
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
        // Clients resolve these before they send; what still has them is meant to be resolved by somebody behind us.
        if matches!(segment, b"." | b"..") {
            return Route::Ambiguous;
        }
        first = first.or(Some(segment));
    }
    match first.map(without_final_dots) {
        Some(first) if RESERVED.iter().any(|name| first.eq_ignore_ascii_case(name)) => Route::Reserved,
        // Characters outside ASCII have look-alikes that fold to it: KELVIN SIGN, LONG S, full-width letters.
        Some(first) if !first.is_ascii() => match std::str::from_utf8(first) {
            Ok(first) if folds_to_reserved(first) => Route::Reserved,
            Ok(_) => Route::Application,
            // Lenient decoders take an ASCII letter in two bytes, or leave out what they do not understand.
            Err(_) => Route::Ambiguous,
        },
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

fn folds_to_reserved(text: &str) -> bool {
    let narrow = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    };
    let folded = text.chars().map(narrow).collect::<String>().to_uppercase().to_lowercase();
    RESERVED.contains(&folded.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Route {
        classify(&Method::GET, &path.parse().unwrap())
    }

    #[test]
    fn the_three_requests_are_their_exact_text_and_method() {
        assert_eq!(get("/status"), Route::Status);
        assert_eq!(classify(&Method::POST, &"/attest/maa".parse().unwrap()), Route::Maa);
        assert_eq!(classify(&Method::POST, &"/attest/combined".parse().unwrap()), Route::Combined);
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
            "/files/%E4.txt",
        ] {
            assert_eq!(get(path), Route::Application, "{path}");
        }
    }
}
