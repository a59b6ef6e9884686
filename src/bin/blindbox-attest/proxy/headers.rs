//! Which headers go from one side to the other.

use hyper::header::{self, HeaderMap, HeaderName};

use super::access::TOKEN_HEADER;
use super::response::ERROR_HEADER;

/// Headers between two hops (RFC 9110 section 7.6.1). Most of them a session refuses: `message::exchange::fields` of the crate.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    // What goes with an offer of `h2c` (RFC 7540 section 3.2.1).
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the application gets this header of a request.
pub fn of_request(name: &HeaderName, headers: &HeaderMap) -> bool {
    // What a browser says of pages is about this proxy, not about the application; the token is for the proxy only.
    let about_here = name == header::HOST
        || name == header::CONTENT_LENGTH
        || name == header::EXPECT
        || name == header::ORIGIN
        || name.as_str().starts_with("sec-fetch-")
        || name.as_str().eq_ignore_ascii_case(TOKEN_HEADER);
    !about_here && !is_hop_by_hop(name, headers)
}

/// Whether the client gets this header of a response.
pub fn of_answer(name: &HeaderName, headers: &HeaderMap) -> bool {
    // These would lead clients around this proxy, with or without their knowledge.
    let leads_away = name == header::ALT_SVC || name == header::REFRESH;
    // Whom the application lets read its responses is about its origin, where others stand in the way than here: no page
    // is to be admitted by it. And a client that took this address for one that is always https could not use it any more.
    let about_there = name.as_str().starts_with("access-control-") || name == header::STRICT_TRANSPORT_SECURITY;
    !leads_away && !about_there && name != ERROR_HEADER && !is_hop_by_hop(name, headers)
}

/// Whether a header that is a list has this member.
pub fn names(headers: &HeaderMap, list: HeaderName, member: &str) -> bool {
    let values = headers.get_all(list).into_iter();
    let mut members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.any(|found| found.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
}

fn is_hop_by_hop(name: &HeaderName, headers: &HeaderMap) -> bool {
    HOP_BY_HOP.contains(&name.as_str()) || names(headers, header::CONNECTION, name.as_str())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let lines = lines.iter();
        lines.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn kept(headers: &HeaderMap, keeps: impl Fn(&HeaderName, &HeaderMap) -> bool) -> Vec<&str> {
        headers.keys().filter(|name| keeps(name, headers)).map(HeaderName::as_str).collect()
    }

    #[test]
    fn what_a_connection_names_stays_on_it() {
        // Another member that is no text hides none.
        let named =
            headers(&[("connection", b"x-one ,\tX-TWO, \xff"), ("x-one", b"1"), ("x-two", b"2"), ("x-three", b"3")]);
        assert_eq!(kept(&named, of_request), ["x-three"]);
        assert_eq!(kept(&named, of_answer), ["x-three"]);
    }

    #[test]
    fn what_is_said_of_the_application_is_not_said_of_this_proxy() {
        let answer = headers(&[
            ("content-type", b"text/plain"),
            ("set-cookie", b"a=b"),
            ("link", b"</x>; rel=next"),
            ("alt-svc", b"h3=\":443\""),
            ("refresh", b"0; url=https://evil.example/"),
            ("strict-transport-security", b"max-age=1"),
            ("access-control-allow-origin", b"*"),
            ("access-control-allow-credentials", b"true"),
            ("x-blindbox-error", b"debug-mode"),
        ]);
        assert_eq!(kept(&answer, of_answer), ["content-type", "set-cookie", "link"]);
    }
}
