//! The cookies by which a front end leads requests to one instance. Front ends write them; they are returned and never read. At worst a
//! request reaches another instance, which cannot open it.

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The most cookies that are kept, and the most bytes of all of them. Front ends set one or two for affinity.
const MAX_COOKIES: usize = 8;
const MAX_BYTES: usize = 4_096;

/// Returns the value of `Cookie` for the cookies that a response sets; their attributes are ignored. They are sent to the same
/// origin alone, and until requests no longer reach the instance.
pub(super) fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut pairs: Vec<&[u8]> = Vec::new();
    for value in headers.get_all(SET_COOKIE) {
        let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let named = pair.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0);
        if named && pairs.len() < MAX_COOKIES {
            pairs.push(pair);
        }
    }
    joined(&pairs)
}

/// Returns the cookies of a request together with those that its response sets. A front end that knows its cookie may not set it again.
pub(super) fn merged(set: Option<HeaderValue>, sent: Option<&HeaderValue>) -> Option<HeaderValue> {
    let (Some(set), Some(sent)) = (&set, sent) else { return set.or_else(|| sent.cloned()) };
    let mut pairs: Vec<&[u8]> = split(set).collect();
    let kept = split(sent).filter(|pair| split(set).all(|other| name(other) != name(pair)));
    pairs.extend(kept);
    pairs.truncate(MAX_COOKIES);
    joined(&pairs).or_else(|| Some(set.clone()))
}

fn split(cookies: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    cookies.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii_end()
}

fn joined(pairs: &[&[u8]]) -> Option<HeaderValue> {
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

    #[test]
    fn what_was_sent_is_kept_unless_it_is_set_again() {
        let merged_of = |set: Option<&str>, sent: Option<&str>| {
            let [set, sent] = [set, sent].map(|value| value.map(|value| HeaderValue::from_str(value).unwrap()));
            merged(set, sent.as_ref()).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(merged_of(None, None), None);
        assert_eq!(merged_of(None, Some("a=1; b=2")).as_deref(), Some("a=1; b=2"));
        assert_eq!(merged_of(Some("a=1"), None).as_deref(), Some("a=1"));
        assert_eq!(merged_of(Some("b=3; c=4"), Some("a=1; b=2")).as_deref(), Some("b=3; c=4; a=1"));
        let long = format!("a={}", "x".repeat(4_090));
        assert_eq!(merged_of(Some("b=3"), Some(&long)).as_deref(), Some("b=3"));
    }
}
