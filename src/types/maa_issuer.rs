//! [`MaaIssuer`]: the address of an MAA instance, and whether Microsoft runs it for all tenants.

use std::fmt;

use serde::Serialize;

use super::shorten;

/// The domains of MAA instances in each Azure cloud.
///
/// Azure: from tokens of production. Azure Government: `AzureAttestationServiceEndpointSuffix` of Azure PowerShell, and the regional
/// instances (`sharedugv.ugv`, `shareduga.uga`) in Microsoft's `azure-guest-attestation-sdk`. Azure in China is not here: no
/// source of Microsoft's names an instance there. A domain that is missing is no risk: its instances then count as a tenant's
/// own, and a policy must pin the hash of their attestation policy.
const CLOUDS: [&str; 2] = ["attest.azure.net", "attest.azure.us"];

/// The address of an MAA instance exactly as in its tokens: `https://` and an authority, nothing after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MaaIssuer(String);

/// The error for a string that is not the address of an MAA instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the address of an MAA instance such as https://sharedneu.neu.attest.azure.net (https, a host of lower-case letters, digits and hyphens between single dots, no path and no trailing slash), found {found:?}"
)]
#[non_exhaustive]
pub struct MaaIssuerError {
    /// The string, shortened.
    pub found: String,
}

impl MaaIssuer {
    /// Parses the address of an MAA instance.
    ///
    /// # Errors
    ///
    /// [`MaaIssuerError`] unless it is an `https` origin in the normal form of URLs whose host is an address or a plain name:
    /// a wildcard is not an instance, and a dot at the end would be a second name of the same instance.
    pub fn new(text: impl AsRef<str>) -> Result<Self, MaaIssuerError> {
        let text = text.as_ref();
        let refuse = || MaaIssuerError { found: shorten(text, 200) };
        let url = url::Url::parse(text).map_err(|_| refuse())?;
        let canonical = url.origin().ascii_serialization();
        let host_is_plain = match url.host() {
            Some(url::Host::Domain(name)) => is_plain_name(name),
            Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => true,
            None => false,
        };
        if url.scheme() != "https" || canonical != text || !host_is_plain {
            return Err(refuse());
        }
        Ok(Self(canonical))
    }

    /// Returns the address, as in a token's `iss`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the authority, which is sent to an agent as `maa_endpoint`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }

    /// Returns the URL of the instance's key set.
    #[must_use]
    pub fn key_set_url(&self) -> String {
        format!("{}/certs", self.0)
    }

    /// Whether Microsoft runs this instance with its default policy for all tenants of a region, in any cloud of Azure:
    /// `shared<region>.<region>.attest.azure.net`, or `.attest.azure.us` in Azure Government. Any other name, `sharedx.<region>`
    /// too, can be a tenant's own.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let name = CLOUDS.iter().find_map(|domain| self.authority().strip_suffix(domain));
        let name = name.and_then(|name| name.strip_suffix('.'));
        let name = name.map(|name| name.strip_suffix(".test").unwrap_or(name));
        let labels = name.and_then(|name| name.split_once('.'));
        labels
            .is_some_and(|(instance, region)| !region.contains('.') && instance.strip_prefix("shared") == Some(region))
    }

    /// Whether this instance is in Azure's test ring, on any port.
    #[must_use]
    pub fn is_test_ring(&self) -> bool {
        let authority = self.authority();
        let host = authority.split_once(':').map_or(authority, |(host, _)| host);
        CLOUDS.iter().any(|domain| host.strip_suffix(domain).is_some_and(|name| name.ends_with(".test.")))
    }
}

/// Whether a host consists of labels of `a-z`, `0-9` and `-` between single dots. URL parsing also accepts `*` and quotes.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_plain))
}

impl fmt::Display for MaaIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_origin_in_its_one_form() {
        for good in ["https://sharedneu.neu.attest.azure.net", "https://127.0.0.1:8443", "https://[::1]:1"] {
            assert_eq!(MaaIssuer::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "http://sharedneu.neu.attest.azure.net",
            "https://sharedneu.neu.attest.azure.net/",
            "https://SHAREDneu.neu.attest.azure.net",
            "https://user@sharedneu.neu.attest.azure.net",
            "https://sharedneu.neu.attest.azure.net:443",
            "https://sharedneu.neu.attest.azure.net/certs",
            "https://sharedneu.neu.attest.azure.net?x",
            "https://sharedneu.neu.attest.azure.net.",
            "https://.attest.azure.net",
            "https://shared..attest.azure.net",
            "https://*.attest.azure.net",
            "https://shared_neu.neu.attest.azure.net",
            "https://a`b{}&c",
            "https://b\u{fc}cher.example",
            "https://%61.example",
            "https://1.2",
            "sharedneu.neu.attest.azure.net",
            "",
        ] {
            assert_eq!(MaaIssuer::new(bad), Err(MaaIssuerError { found: bad.into() }));
        }
    }

    #[test]
    fn a_tenants_own_instance_is_not_a_shared_one() {
        for (issuer, shared) in [
            ("https://sharedneu.neu.attest.azure.net", true),
            ("https://sharedeus2.eus2.test.attest.azure.net", true),
            ("https://sharedugv.ugv.attest.azure.us", true),
            ("https://shareduga.uga.attest.azure.us", true),
            ("https://sharedugv.uga.attest.azure.us", false),
            ("https://sharedugv.ugv.attest.azure.us.example.com", false),
            ("https://sharedugv.ugv.fakeattest.azure.us", false),
            ("https://sharedugv.ugv.attest.azure.com", false),
            ("https://attest.azure.us", false),
            ("https://sharedevil.neu.attest.azure.net", false),
            ("https://shared.attest.azure.net", false),
            ("https://sharedneu.neu.attest.azure.net.example.com", false),
            ("https://mine.neu.attest.azure.net", false),
            ("https://sharedneu.neu.attest.azure.net:8443", false),
        ] {
            assert_eq!(MaaIssuer::new(issuer).map(|issuer| issuer.is_shared()), Ok(shared), "{issuer}");
        }
    }

    #[test]
    fn the_test_ring_is_known_on_every_port() {
        for (issuer, test_ring) in [
            ("https://sharedeus2.eus2.test.attest.azure.net", true),
            ("https://mine.eus2.test.attest.azure.net", true),
            ("https://sharedeus2.eus2.test.attest.azure.net:8443", true),
            ("https://sharedugv.ugv.test.attest.azure.us", true),
            ("https://test.attest.azure.net", false),
            ("https://sharedeus2.eus2.attest.azure.net", false),
            ("https://sharedeus2.eus2.test.attest.azure.net.example.com", false),
            ("https://[::1]:8443", false),
        ] {
            assert_eq!(MaaIssuer::new(issuer).map(|issuer| issuer.is_test_ring()), Ok(test_ring), "{issuer}");
        }
    }
}
