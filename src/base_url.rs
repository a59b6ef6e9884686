//! Where requests go: one origin and a base path, whatever a caller writes.

use url::{Host, Position, Url};

use crate::error::AttestationError;
use crate::message::binary_http::Control;
use crate::policy::Policy;

/// The longest URL of a request, encoded, in bytes: the HTTP library takes no longer ones, and says so too late.
const MAX_URL: usize = 65_000;

/// The origin of a session and the path that all its requests are below.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl {
    url: Url,
    /// The same with a slash at its end, against which targets are read.
    directory: Url,
}

impl BaseUrl {
    /// Reads the URL that the caller wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, AttestationError> {
        let invalid = |reason| Err(AttestationError::InvalidUrl { reason });
        let Ok(mut url) = Url::parse(text) else {
            return invalid("expected an absolute URL such as https://my-app.example");
        };
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return invalid("expected a URL without white space, control characters and backslashes");
        }
        if !matches!(url.scheme(), "https" | "http") {
            return invalid("expected the scheme https, as in https://my-app.example");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("expected a URL without user name and password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return invalid("expected neither a query nor a fragment: these belong to requests");
        }
        if url.host().is_none() || url.port() == Some(0) {
            return invalid("expected a host, and a port that is not 0");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let mut directory = url.clone();
        directory.set_path(&format!("{path}/"));
        Ok(Self { url, directory })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the caller went by a name that an authority can vouch for. What the server shows has no say in it.
    fn has_dns_name(&self) -> bool {
        matches!(self.url.host(), Some(Host::Domain(name)) if name != "localhost")
    }

    /// Whether the server's certificate must be valid for the name in the URL: if there is one, and the policy does not allow that it
    /// is not validated.
    pub(crate) fn requires_name_validation(&self, policy: &Policy) -> bool {
        self.has_dns_name() && !policy.allowances().unverified_name
    }

    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The path that all requests are below, without a slash at its end.
    pub(crate) fn prefix(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Host and port, as the header `Host` has them.
    pub(crate) fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// The control data of a sealed request (RFC 9292 section 3.4). The path of the base leads through the front end, and is no part of the
    /// request inside.
    pub(crate) fn control_data(&self, method: &str, url: &Url) -> Control {
        let path = &url[Position::BeforePath..Position::AfterQuery];
        Control::Request {
            method: method.to_owned(),
            scheme: url.scheme().to_owned(),
            authority: url[Position::BeforeHost..Position::AfterPort].to_owned(),
            path: path.strip_prefix(self.prefix()).unwrap_or(path).to_owned(),
        }
    }

    /// The target of a request with this URI: a path below the base, or an absolute URL within it.
    #[cfg(feature = "client")]
    pub(crate) fn target(&self, uri: &http::Uri) -> Result<String, AttestationError> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        if uri.scheme().is_none() && uri.authority().is_none() {
            return Ok(target.to_owned());
        }
        let url = Url::parse(&uri.to_string()).map_err(|_| outside())?;
        self.below(&url, target).map(str::to_owned)
    }

    /// The URL of a request that a caller wrote as an absolute one, without its fragment.
    #[cfg(any(test, feature = "crypto-rust"))]
    pub(crate) fn resolve_absolute(&self, text: &str) -> Result<Url, AttestationError> {
        let url = Url::parse(text).map_err(|_| outside())?;
        let target = &url[Position::BeforePath..Position::AfterQuery];
        self.resolve(self.below(&url, target)?, &[])
    }

    /// What of a target is below the base path, if its URL is of the same origin.
    fn below<'t>(&self, url: &Url, target: &'t str) -> Result<&'t str, AttestationError> {
        let is_here = url.origin() == self.url.origin() && url.username().is_empty() && url.password().is_none();
        let below = target.strip_prefix(self.prefix());
        below.filter(|below| is_here && below.starts_with('/')).ok_or_else(outside)
    }

    /// The root of the origin.
    pub(crate) fn root(&self) -> Url {
        let mut root = self.url.clone();
        root.set_path("/");
        root
    }

    /// The same host and scheme on another port.
    pub(crate) fn on_port(&self, port: u16) -> Result<Url, AttestationError> {
        let mut other = self.root();
        match other.set_port(Some(port)) {
            Ok(()) => Ok(other),
            Err(()) => Err(AttestationError::InvalidUrl { reason: "expected a host that can have a port" }),
        }
    }

    /// The URL of a request. Its origin is compared again after everything is put together.
    pub(crate) fn resolve(&self, target: &str, query: &[(String, String)]) -> Result<Url, AttestationError> {
        let invalid = |reason| Err(AttestationError::InvalidRequest { reason });
        if !target.starts_with('/') || target.starts_with("//") {
            return invalid("expected a target that begins with exactly one slash, such as /generate");
        }
        if target.contains(|c: char| c.is_control() || c == '\\' || c == '#') {
            return invalid("expected a target without control characters, backslashes and fragments");
        }
        let path = target.split('?').next().unwrap_or_default();
        if path.split('/').any(is_dots) {
            return invalid("expected a target without the segments . and ..");
        }
        // A dot, so that nothing in it is read as a scheme or a host. Those of the base are not read again.
        let Ok(mut url) = self.directory.join(&format!(".{target}")) else {
            return invalid("expected a target that can be part of a URL");
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        if url.as_str().len() > MAX_URL {
            return invalid("expected a target and query of at most 65000 bytes");
        }
        let below = url.path().strip_prefix(self.prefix());
        let inside = below.is_some_and(|rest| rest.starts_with('/'));
        let same = url[..Position::BeforePath] == self.url[..Position::BeforePath];
        if !same || !inside {
            return invalid("expected a target within the session's origin and base path");
        }
        Ok(url)
    }
}

fn outside() -> AttestationError {
    AttestationError::InvalidRequest { reason: "expected a URL within the session's origin and base path" }
}

/// `.` and `..` in any of their spellings (URL standard, "double-dot URL path segment").
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(text: &str) -> BaseUrl {
        BaseUrl::parse(text).unwrap()
    }

    #[test]
    fn an_absolute_url_is_within_the_base() {
        let base = base("https://app.example/api");
        let resolved = |text: &str| base.resolve_absolute(text).map(String::from);
        assert_eq!(resolved("https://app.example/api/x?y=1#z").as_deref(), Ok("https://app.example/api/x?y=1"));
        assert_eq!(resolved("https://APP.example:443/api/./x").as_deref(), Ok("https://app.example/api/x"));
        for outside in [
            "https://app.example/x",
            "https://app.example/api",
            "https://app.example/apix/",
            "https://app.example/api/../x",
            "https://app.example/api/%2e%2e/x",
            "https://app.example/api//x",
            "https://app.example:8443/api/x",
            "http://app.example/api/x",
            "https://user@app.example/api/x",
            "https://other.example/api/x",
            "/api/x",
            "",
        ] {
            let error = resolved(outside).expect_err(outside);
            assert!(matches!(error, AttestationError::InvalidRequest { .. }), "{outside}: {error}");
        }
    }

    #[test]
    fn a_base_is_an_origin_with_a_path() {
        for (text, origin) in [
            ("https://app.example", "https://app.example"),
            ("https://app.example:8443/", "https://app.example:8443"),
            ("https://app.example/api/v1/", "https://app.example"),
            ("https://127.0.0.1:1/x", "https://127.0.0.1:1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(base(text).origin(), origin);
        }
        for bad in [
            "",
            "app.example",
            "app.example:443",
            "//app.example",
            "/x",
            "ftp://app.example",
            "https://",
            "https://user@app.example",
            "https://user:pw@app.example",
            "https://:pw@app.example",
            "https://app.example?x",
            "https://app.example/#x",
            "https://app.example\\evil",
            "https://app.example/ x",
            "https://app.example\n",
            " https://app.example",
            "https://app.example:0",
            "https://app.example:65536",
        ] {
            assert!(
                matches!(BaseUrl::parse(bad), Err(AttestationError::InvalidUrl { .. })),
                "{bad:?} gave {:?}",
                BaseUrl::parse(bad)
            );
        }
    }

    #[test]
    fn the_kind_of_name_follows_from_what_the_caller_wrote() {
        for (text, dns) in [
            ("https://app.example", true),
            ("https://localhost.example", true),
            ("https://localhost", false),
            ("https://127.0.0.1", false),
            ("https://0x7f.1", false),
            ("https://[::1]", false),
        ] {
            assert_eq!(base(text).has_dns_name(), dns, "{text}");
        }
    }

    #[test]
    fn a_target_stays_within_the_base() {
        let plain = base("https://app.example");
        let below = base("https://app.example:8443/api/v1/");
        let at = |base: &BaseUrl, target: &str| base.resolve(target, &[]).unwrap().to_string();
        assert_eq!(at(&plain, "/"), "https://app.example/");
        assert_eq!(at(&plain, "/a//b?c=d&e"), "https://app.example/a//b?c=d&e");
        assert_eq!(at(&below, "/generate"), "https://app.example:8443/api/v1/generate");
        assert_eq!(at(&below, "/@evil.example/:80"), "https://app.example:8443/api/v1/@evil.example/:80");
        assert_eq!(at(&below, "/..x/...?../.."), "https://app.example:8443/api/v1/..x/...?../..");
        assert_eq!(at(&below, "/https://evil.example"), "https://app.example:8443/api/v1/https://evil.example");
        assert_eq!(at(&below, "/evil:x@y"), "https://app.example:8443/api/v1/evil:x@y");
        assert_eq!(at(&below, "/?x"), "https://app.example:8443/api/v1/?x");
        assert_eq!(at(&base("https://app.example//a"), "/b"), "https://app.example//a/b");
        let query = [("q".to_owned(), "a b&c".to_owned())];
        assert_eq!(plain.resolve("/s?x=1", &query).unwrap().as_str(), "https://app.example/s?x=1&q=a+b%26c");
        for bad in [
            "",
            "x",
            "//evil.example/",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example/",
            "@evil.example",
            ":80/",
            ".evil.example",
            "/\tx",
            "/\r\nHost: evil.example",
            "/\u{0}",
            "/x#y",
            "/..",
            "/./x",
            "/../x",
            "/a/../../x",
            "/%2e%2E/x",
            "/.%2e",
        ] {
            for base in [&plain, &below] {
                assert!(
                    matches!(base.resolve(bad, &[]), Err(AttestationError::InvalidRequest { .. })),
                    "{bad:?} gave {:?}",
                    base.resolve(bad, &[])
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_target_leaves_the_origin(target in "[/\\\\@:.?#%a-z0-9 \t\u{0}-\u{20}\u{ff0f}]{0,24}") {
            let base = base("https://app.example/api");
            if let Ok(url) = base.resolve(&target, &[]) {
                prop_assert_eq!(url.origin().ascii_serialization(), "https://app.example");
                prop_assert!(url.path().starts_with("/api/"));
            }
        }
    }
}
