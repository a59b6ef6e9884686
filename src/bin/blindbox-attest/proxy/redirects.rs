//! Where responses lead their readers: a client that follows a redirect must not end up somewhere else without noticing it.
//!
//! The application names places as they look from its own origin. Within the session they are renamed, as they look from
//! this proxy: a client that went to the application itself would go there without any attestation. What cannot be named so
//! is refused.

use blindbox_attestation::AttestationError;
use hyper::StatusCode;
use hyper::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LOCATION};
use url::Url;

use super::access::{Refusal, only, refusal};

pub struct Redirects {
    base: Url,
    elsewhere: bool,
}

impl Redirects {
    /// `base` is the session's; `elsewhere` lets redirects to other origins pass.
    pub fn new(base: &str, elsewhere: bool) -> Result<Self, AttestationError> {
        let invalid =
            |_| AttestationError::InvalidUrl { reason: "expected an absolute URL such as https://my-app.example" };
        Ok(Self { base: Url::parse(base).map_err(invalid)?, elsewhere })
    }

    /// Changes the headers of a response to a request for `asked`, which is a URL of the application.
    pub fn rewrite(&self, asked: &Url, headers: &mut HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(LOCATION) {
            let location = only(headers, LOCATION).and_then(|sent| self.location(asked, sent)).ok_or_else(|| {
                let message = "the application leads to a place that is not within this proxy";
                refusal(StatusCode::BAD_GATEWAY, "redirect-refused", message)
            })?;
            headers.insert(LOCATION, location);
        }
        // This one is not followed: it may be missing.
        if let Some(place) = only(headers, CONTENT_LOCATION).and_then(|sent| self.within(asked, sent)) {
            headers.insert(CONTENT_LOCATION, place);
        } else {
            headers.remove(CONTENT_LOCATION);
        }
        Ok(())
    }

    fn location(&self, asked: &Url, sent: &HeaderValue) -> Option<HeaderValue> {
        self.within(asked, sent).or_else(|| self.elsewhere.then_some(sent).filter(|sent| self.leaves(sent)).cloned())
    }

    /// The path of this proxy that leads to where the application says, if there is one.
    fn within(&self, asked: &Url, sent: &HeaderValue) -> Option<HeaderValue> {
        let to = asked.join(str::from_utf8(sent.as_bytes()).ok()?).ok()?;
        // The origin of a `blob:` URL is that of its maker, hence the scheme.
        let own = to.scheme() == self.base.scheme() && to.origin() == self.base.origin();
        if !own || !to.username().is_empty() || to.password().is_some() {
            return None;
        }
        let path = to.path().strip_prefix(self.base.path().trim_end_matches('/'))?;
        // Two slashes would begin the name of another host (RFC 3986 section 4.2); `/.//` would not, but the session takes no
        // such target anyway.
        if !path.starts_with('/') || path.starts_with("//") {
            return None;
        }
        let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
        let fragment = to.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
        HeaderValue::try_from(format!("{path}{query}{fragment}")).ok()
    }

    /// Whether this is the URL of another origin for every reader, whatever it is read against.
    fn leaves(&self, sent: &HeaderValue) -> bool {
        let Ok(text) = sent.to_str() else { return false };
        let Some((scheme, rest)) = text.split_once("://") else { return false };
        let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !rest.starts_with('/');
        is_web && is_plain && Url::parse(text).is_ok_and(|to| to.origin() != self.base.origin())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn rewritten(redirects: &Redirects, asked: &str, sent: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for sent in sent {
            headers.append(LOCATION, HeaderValue::from_bytes(sent).unwrap());
        }
        redirects.rewrite(&url(asked), &mut headers).map_err(|refusal| refusal.code)?;
        Ok(only(&headers, LOCATION).map(|location| location.to_str().unwrap().to_owned()))
    }

    const ASKED: &str = "https://app.example/api/a/b?c";

    #[test]
    fn one_location() {
        for elsewhere in [false, true] {
            let redirects = Redirects::new("https://app.example/api/", elsewhere).unwrap();
            let one = |sent: &[u8]| rewritten(&redirects, ASKED, &[sent]);
            assert_eq!(rewritten(&redirects, ASKED, &[]), Ok(None));
            assert_eq!(one(b""), Ok(Some("/a/b?c".to_owned())));
            assert_eq!(one("caf\u{e9}?\u{e9}#\u{e9}".as_bytes()), Ok(Some("/a/caf%C3%A9?%C3%A9#%C3%A9".to_owned())));
            assert_eq!(one(b"HTTPS://APP.EXAMPLE:443/api/x"), Ok(Some("/x".to_owned())));
            // Read against `https`, where these have no host of their own.
            assert_eq!(one(b"https:x"), Ok(Some("/a/x".to_owned())));
            assert_eq!(one(b"https:/api/x"), Ok(Some("/x".to_owned())));
            for refused in [
                &b"caf\xe9"[..],
                b"/x",
                b"/\t/evil.example",
                b"/api/\t/evil.example",
                b"\\\\evil.example",
                b"https:///evil.example",
                b"https:\\\\evil.example",
                b"blob:https://app.example/api/x",
                b"https://user@app.example/api/x",
                b"https://:pw@app.example/api/x",
                b"http:///evil.example",
                b"https://evil.example /",
                b"mailto:evil@evil.example",
            ] {
                assert_eq!(one(refused), Err("redirect-refused"), "{}", String::from_utf8_lossy(refused));
            }
            assert_eq!(rewritten(&redirects, ASKED, &[b"/api/x", b"/api/x"]), Err("redirect-refused"));
            let other = if elsewhere { Ok(Some("https://evil.example".to_owned())) } else { Err("redirect-refused") };
            assert_eq!(one(b"https://evil.example"), other);
        }
    }

    #[test]
    fn content_location_is_named_anew_or_left_out() {
        let redirects = Redirects::new("https://app.example/api/", true).unwrap();
        let content = |sent: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for sent in sent {
                headers.append(CONTENT_LOCATION, HeaderValue::from_static(sent));
            }
            redirects.rewrite(&url(ASKED), &mut headers).unwrap();
            let values = headers.get_all(CONTENT_LOCATION).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(content(&["https://app.example/api/x"]), ["/x"]);
        assert_eq!(content(&["x"]), ["/a/x"]);
        for out in [&["https://evil.example/"][..], &["//evil.example/"], &["/api//evil.example"], &["x", "x"]] {
            assert!(content(out).is_empty(), "{out:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_location_leads_off_the_proxy(
            base in prop::sample::select(vec!["https://app.example", "https://app.example/", "https://app.example:8443/api/v1/"]),
            asked in "(/[a-b.]{0,3}){1,3}(\\?[/a:]{0,4})?",
            sent in prop_oneof![
                "[/\\\\@:.?#%a-b25cCeEfF \t\u{80}-\u{ff}]{0,24}",
                "(https|http|HTTPS|blob:https|ftp|)(:|)[/\\\\]{0,4}(app\\.example|evil\\.example|u@app\\.example|)(:8443|:443|:1|)\
                 (/api/v1|/api|)([/\\\\.?#:@]|%2e|%2f|%5c|\t|evil\\.example|x){0,8}",
            ],
            elsewhere: bool,
        ) {
            let redirects = Redirects::new(base, elsewhere).unwrap();
            let asked = url(&format!("{}{asked}", base.trim_end_matches('/')));
            let Ok(value) = HeaderValue::from_bytes(sent.as_bytes()) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, value.clone());
            headers.insert(CONTENT_LOCATION, value);
            if redirects.rewrite(&asked, &mut headers).is_err() {
                return Ok(());
            }
            let proxy = url("http://127.0.0.1:8000/a/b?c#d");
            for name in [LOCATION, CONTENT_LOCATION] {
                let Some(out) = headers.get(&name).map(|out| out.to_str().unwrap()) else { continue };
                if !out.starts_with('/') {
                    // Elsewhere, for anyone who reads it, and as it was sent.
                    prop_assert!(elsewhere && name == LOCATION && out == sent);
                    prop_assert!(out.to_ascii_lowercase().starts_with("http"));
                    prop_assert_eq!(proxy.join(out).unwrap(), url(out));
                    prop_assert_ne!(url(out).origin(), redirects.base.origin());
                    continue;
                }
                // Neither by RFC 3986 nor, where a backslash is a slash, by the URL standard.
                prop_assert!(!out.replace('\\', "/").starts_with("//"), "{out:?}");
                let local = proxy.join(out).unwrap();
                prop_assert_eq!(local.origin(), proxy.origin());
                // And it is the same place as the application meant.
                let again = format!("{}{}", base.trim_end_matches('/'), &local[url::Position::BeforePath..]);
                prop_assert_eq!(url(&again), asked.join(&sent).unwrap());
            }
        }
    }
}
