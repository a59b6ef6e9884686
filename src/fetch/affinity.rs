//! The cookies by which a front end leads requests to one instance. Front ends write them; they are returned and never read. At worst a
//! request reaches another instance, which cannot open it.

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The most cookies that are kept, and the most bytes of all of them. Front ends set one or two for affinity.
const MAX_COOKIES: usize = 8;
const MAX_BYTES: usize = 4_096;

/// Returns the value of `Cookie` for the cookies that a response sets; their attributes are ignored, since they are sent to the same
/// origin and no longer than the attestation is used.
pub(super) fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut pairs: Vec<&[u8]> = Vec::new();
    for value in headers.get_all(SET_COOKIE) {
        let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let named = pair.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0);
        if named && pairs.len() < MAX_COOKIES {
            pairs.push(pair);
        }
    }
    let joined = pairs.join(b"; ".as_slice());
    let mut value =
        HeaderValue::from_bytes(&joined).ok().filter(|_| !joined.is_empty() && joined.len() <= MAX_BYTES)?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies_of(values: &[&str]) -> Option<String> {
        let headers = values.iter().map(|value| (SET_COOKIE, HeaderValue::from_str(value).unwrap())).collect();
        cookies(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn names_and_values_are_returned_within_bounds() {
        assert_eq!(cookies_of(&[]), None);
        assert_eq!(cookies_of(&["=x", "novalue", ""]), None);
        let both = ["ARRAffinity=0a1b; Path=/; HttpOnly; Secure", "route=2"];
        assert_eq!(cookies_of(&both).as_deref(), Some("ARRAffinity=0a1b; route=2"));
        assert_eq!(cookies_of(&["a=1"; 20]), Some(["a=1"; 8].join("; ")));
        assert_eq!(cookies_of(&[&format!("a={}", "x".repeat(5_000))]), None);
    }
}
