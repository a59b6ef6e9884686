//! Which headers of a caller the application gets.

use std::str::FromStr;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};

/// Headers that are about one connection (RFC 9110 section 7.6.1), what older programs take for such, and the offer that goes
/// with `Upgrade: h2c` (RFC 7540 section 3.2.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
];

/// The agent's own word.
const OWN: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];

/// What only an intermediary should say: who the client is, which certificate or account it has, what it asked for and how.
/// Applications believe these because a proxy in front of them sets them; here every caller could.
const WITHHELD: [&str; 36] = [
    // The client's address.
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "http-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host-ip",
    "x-nf-client-connection-ip",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    // Its account or certificate.
    "x-authenticated-user",
    "x-client-dn",
    "x-client-verify",
    // What it asked for, and how.
    "front-end-https",
    "script-name",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-ms-original-url",
    "x-override-url",
    "x-real-host",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-url-scheme",
    "x-waws-unencoded-url",
    // `Proxy` becomes HTTP_PROXY in programs in the manner of CGI. `Via` is a proxy's (RFC 9110 section 7.6.3).
    "proxy",
    "via",
];

/// Beginnings of names that belong to one product or family in front of an application. `Client-Cert` is RFC 9440; `Remote-` and
/// `X-Remote-` are users and groups as Authelia and the front proxies of Kubernetes name them; `X-Accel-` and `X-Sendfile-` make
/// servers of the family of Rack send files in place of a response.
const WITHHELD_PREFIXES: [&str; 33] = [
    "akamai-",
    "cf-",
    "client-cert",
    "oidc-",
    "remote-",
    "ssl-",
    "tailscale-",
    "x-accel-",
    "x-akamai-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authentik-",
    "x-azure-",
    "x-client-cert",
    "x-client-ssl-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-original-",
    "x-pomerium-",
    "x-remote-",
    "x-sendfile-",
    "x-ssl-",
    "x-tls-client-",
    "x-vercel-",
    "x-vouch-",
    "x-webauth-",
];

/// The name of a header that is passed on although it is withheld otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedHeader(HeaderName);

impl FromStr for PassedHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = HeaderName::from_str(text).map_err(|_| "a name in pass-headers is not the name of a header")?;
        let hyphened = hyphened(&name);
        if is_hop_by_hop(&hyphened) || OWN.contains(&hyphened.as_str()) {
            return Err("pass-headers has a header of the connection or one that the agent itself sets");
        }
        if !is_withheld(&name) {
            return Err("pass-headers has a header that reaches the application in any case");
        }
        Ok(Self(name))
    }
}

/// Removes what is about the connection, also what `Connection` names, except for what frames or routes the message.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != HOST)
        .collect();
    HOP_BY_HOP.iter().chain(&named).for_each(|name| drop(headers.remove(name)));
}

/// Removes what a caller must not say, unless the configuration lets it.
pub(crate) fn strip_withheld(headers: &mut HeaderMap, passed: &[PassedHeader]) {
    let withheld = |name: &&HeaderName| is_withheld(name) && !passed.iter().any(|passed| passed.0 == **name);
    let named: Vec<HeaderName> = headers.keys().filter(withheld).cloned().collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
}

/// Gateways in the manner of CGI take an underscore for a hyphen: `content_length` beside `content-length` is one variable there,
/// and which of the two it holds is not known here. So no name with an underscore passes.
fn is_withheld(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.contains('_')
        || OWN.contains(&text)
        || WITHHELD.contains(&text)
        || WITHHELD_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| hop.as_str() == name)
}

fn hyphened(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_are_withheld_otherwise_and_not_the_agents_own_can_be_passed() {
        for name in ["X-Host", "x_api_key", "CF-Connecting-IP", "x-forwarded-prefix", "via"] {
            assert!(name.parse::<PassedHeader>().is_ok(), "{name}");
        }
        let own = "pass-headers has a header of the connection or one that the agent itself sets";
        for name in ["x-forwarded-for", "X_Forwarded_Proto", "upgrade", "transfer_encoding", "Connection", "te"] {
            assert_eq!(name.parse::<PassedHeader>().unwrap_err(), own, "{name}");
        }
        let any_case = "pass-headers has a header that reaches the application in any case";
        assert_eq!("authorization".parse::<PassedHeader>().unwrap_err(), any_case);
        assert_eq!("".parse::<PassedHeader>().unwrap_err(), "a name in pass-headers is not the name of a header");
    }

    #[test]
    fn no_name_is_listed_twice_or_under_one_of_the_prefixes() {
        let twice = |name: &str| {
            WITHHELD.iter().filter(|other| **other == name).count() > 1
                || WITHHELD_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        assert_eq!(WITHHELD.iter().find(|name| twice(name)), None);
    }
}
