//! Which hosts certificates of issuers are fetched from.
//!
//! The addresses are in a certificate from an NV index that the host writes, and nothing has verified it when they are used. Without a
//! bound, the host could have this VM send a request to the application, or to a machine that only the VM can reach. So a host is
//! named by the configuration, is reached over port 80, and has a public address: the addresses of names come from a DNS server that the
//! host may control too.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::Uri;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use tokio::net::TcpStream;

use super::public_address::is_public;

/// The port of names.
const PORT: u16 = 80;

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// The hosts that certificates of issuers are fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct IssuerHosts(Vec<IssuerHost>);

/// A host that certificates of issuers are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerHost {
    /// A name, such as `crl.microsoft.com`: port 80 at its public addresses.
    Name(String),
    /// The names that end in a dot and this, such as `*.pki.core.windows.net`.
    Below(String),
    /// An IP address with its port, such as `10.0.0.4:8080`: exactly this one, also if it is not public.
    Exact(SocketAddr),
}

/// Where one address of a certificate leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IssuerUrl {
    host: Host,
    /// Path and query.
    pub(super) path: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    /// In lower case.
    Name(String),
    Exact(SocketAddr),
}

impl Default for IssuerHosts {
    /// The hosts in Azure's certificates of 2026.
    fn default() -> Self {
        let [cdn, crl, www] = ["pki.core.windows.net", "crl.microsoft.com", "www.microsoft.com"].map(str::to_owned);
        Self(vec![IssuerHost::Below(cdn), IssuerHost::Name(crl), IssuerHost::Name(www)])
    }
}

impl IssuerHosts {
    /// Whether an IP address with its port is named.
    pub(crate) fn has_address(&self, address: SocketAddr) -> bool {
        self.0.contains(&IssuerHost::Exact(address))
    }

    /// Where an address of a certificate leads.
    ///
    /// # Errors
    ///
    /// Why the agent does not fetch it.
    pub(super) fn locate(&self, url: &str) -> Result<IssuerUrl, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no address".to_owned())?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it is no address of HTTP".to_owned());
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let text = authority.as_str().to_ascii_lowercase();
        let unlisted = || format!("azure-vm.ak-issuer-hosts does not have {text}");
        // A user part would be sent too.
        if text.contains('@') {
            return Err(unlisted());
        }
        let with_port = text.parse().ok().or_else(|| format!("{text}:{PORT}").parse().ok());
        if let Some(address) = with_port {
            let host = Host::Exact(address);
            return if self.has_address(address) { Ok(IssuerUrl { host, path }) } else { Err(unlisted()) };
        }
        let name = text.split_once(':').map_or(text.as_str(), |(name, _)| name);
        if !self.0.iter().any(|host| host.has_name(name)) {
            return Err(unlisted());
        }
        if text != name && text != format!("{name}:{PORT}") {
            return Err(format!("{name} is reached over port {PORT} alone"));
        }
        Ok(IssuerUrl { host: Host::Name(name.to_owned()), path })
    }
}

impl IssuerHost {
    fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.strip_suffix('.').is_some_and(is_name))
            }
            Self::Exact(_) => false,
        }
    }
}

impl IssuerUrl {
    /// What the header `Host` has.
    pub(super) fn authority(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Exact(address) => address.to_string(),
        }
    }

    /// Connects to an address that was checked, without another look-up of the name.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let name = match &self.host {
            Host::Exact(address) => return TcpStream::connect(address).await,
            Host::Name(name) => name,
        };
        let found = tokio::net::lookup_host((name.as_str(), PORT)).await?;
        let stream = TcpStream::connect(&public(name, found)?[..]).await?;
        leads_elsewhere(name, &stream)?;
        Ok(stream)
    }
}

/// Checks that a connection leaves this machine: an interface of it may have a public address.
fn leads_elsewhere(name: &str, stream: &TcpStream) -> io::Result<()> {
    if stream.local_addr()?.ip() == stream.peer_addr()?.ip() {
        return Err(io::Error::other(format!("{name} is at an address of this machine")));
    }
    Ok(())
}

/// The public addresses of a name.
fn public(name: &str, found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let (mut public, others): (Vec<_>, Vec<_>) = found.partition(|address| is_public(address.ip()));
    public.truncate(MAX_ADDRESSES);
    match others.first() {
        _ if !public.is_empty() => Ok(public),
        Some(other) => Err(io::Error::other(format!("{name} is at {}, which is no public address", other.ip()))),
        None => Err(io::Error::other(format!("{name} has no address"))),
    }
}

/// Whether these are labels of a DNS name in lower case.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
}

impl FromStr for IssuerHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "a host of issuers is written as crl.microsoft.com, *.pki.core.windows.net or 10.0.0.4:8080: a name in lower case \
                    without a port, or an IP address with one";
        if let Ok(address) = text.parse::<SocketAddr>() {
            let usable = address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
            return if usable { Ok(Self::Exact(address)) } else { Err(form) };
        }
        // An IP address is no name, and `*.com` is no list.
        if text.parse::<IpAddr>().is_ok() {
            return Err(form);
        }
        match text.strip_prefix("*.") {
            Some(parent) if is_name(parent) && parent.contains('.') => Ok(Self::Below(parent.to_owned())),
            None if is_name(text) => Ok(Self::Name(text.to_owned())),
            _ => Err(form),
        }
    }
}

impl fmt::Display for IssuerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Exact(address) => write!(f, "{address}"),
        }
    }
}

impl<'de> Deserialize<'de> for IssuerHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(hosts: &[&str]) -> IssuerHosts {
        IssuerHosts(hosts.iter().map(|host| host.parse().unwrap()).collect())
    }

    /// The addresses in a certificate of a VM in westus3 and in those of its issuers, of 2026.
    #[test]
    fn azures_certificates_name_hosts_that_are_permitted() {
        for host in [
            "primary-cdn.pki.core.windows.net",
            "secondary-cdn.pki.core.windows.net",
            "crl.microsoft.com",
            "azurevtpmicapki.westus3.pki.core.windows.net",
            "www.microsoft.com",
        ] {
            let located = IssuerHosts::default().locate(&format!("http://{host}/a/cert.cer?x=1")).unwrap();
            assert_eq!(located, IssuerUrl { host: Host::Name(host.to_owned()), path: "/a/cert.cer?x=1".to_owned() });
            assert_eq!(located.authority(), host);
        }
        assert!(IssuerHosts::default().locate("http://CRL.Microsoft.com:80").is_ok());
    }

    #[test]
    fn other_hosts_and_ports_are_refused() {
        let refused = |hosts: &IssuerHosts, url: &str| hosts.locate(url).unwrap_err();
        let default = IssuerHosts::default();
        for host in [
            "127.0.0.1:8000",
            "127.0.0.1",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "localhost:8000",
            "pki.core.windows.net",
            "evilpki.core.windows.net",
            ".pki.core.windows.net",
            "x..pki.core.windows.net",
            "crl.microsoft.com.evil.example",
            "crl.microsoft.com@127.0.0.1",
            "evil@crl.microsoft.com",
        ] {
            let shown = format!("azure-vm.ak-issuer-hosts does not have {host}");
            assert_eq!(refused(&default, &format!("http://{host}/admin/reset?x=1")), shown);
        }
        for port in [0, 443, 8000] {
            let url = format!("http://crl.microsoft.com:{port}/");
            assert_eq!(refused(&default, &url), "crl.microsoft.com is reached over port 80 alone");
        }
        assert_eq!(refused(&default, "https://crl.microsoft.com/"), "it is no address of HTTP");
        assert_eq!(refused(&default, "http://"), "it is no address");
        // An IP address is exact with its port.
        let exact = hosts(&["10.0.0.4:8080", "10.0.0.5:80"]);
        let path = "/".to_owned();
        let at = |address: &str| Ok(IssuerUrl { host: Host::Exact(address.parse().unwrap()), path: path.clone() });
        assert_eq!(exact.locate("http://10.0.0.4:8080/"), at("10.0.0.4:8080"));
        assert_eq!(exact.locate("http://10.0.0.5/"), at("10.0.0.5:80"));
        for other in ["10.0.0.4", "10.0.0.4:8081", "[::ffff:10.0.0.4]:8080", "crl.microsoft.com"] {
            let shown = format!("azure-vm.ak-issuer-hosts does not have {other}");
            assert_eq!(refused(&exact, &format!("http://{other}/")), shown);
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        let form = "a host of issuers is written as crl.microsoft.com, *.pki.core.windows.net or 10.0.0.4:8080: a name in lower case \
                    without a port, or an IP address with one";
        for text in ["crl.microsoft.com", "*.pki.core.windows.net", "10.0.0.4:8080", "[fd00::1]:80"] {
            assert_eq!(text.parse::<IssuerHost>().map(|host| host.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "*",
            "*.",
            "*.net",
            "a.*.net",
            "CRL.microsoft.com",
            "crl.microsoft.com:80",
            "http://crl.microsoft.com",
            "10.0.0.4",
            "10.0.0.4:0",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "::1",
            "a..b",
            "a.",
            "a/b",
        ] {
            assert_eq!(text.parse::<IssuerHost>(), Err(form), "{text}");
        }
    }

    #[test]
    fn only_the_public_addresses_of_a_name_are_connected_to() {
        let sockets = |addresses: &[&str]| -> Vec<SocketAddr> {
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), PORT)).collect()
        };
        let mixed = sockets(&["127.0.0.1", "1.1.1.1", "fe80::1", "1.0.0.1"]);
        assert_eq!(public("a", mixed.into_iter()).unwrap(), sockets(&["1.1.1.1", "1.0.0.1"]));
        let many = sockets(&["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"]);
        assert_eq!(public("a", many.clone().into_iter()).unwrap(), many[..MAX_ADDRESSES]);
        assert_eq!(public("a", [].into_iter()).unwrap_err().to_string(), "a has no address");
        let error = public("a", sockets(&["::ffff:1.1.1.1", "10.0.0.1"]).into_iter()).unwrap_err().to_string();
        assert_eq!(error, "a is at ::ffff:1.1.1.1, which is no public address");
    }

    /// The list has the name, and still nothing is connected to.
    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let url = hosts(&["localhost"]).locate("http://localhost/admin").unwrap();
        let error = url.connect().await.unwrap_err().to_string();
        let shown =
            ["127.0.0.1", "::1"].map(|address| format!("localhost is at {address}, which is no public address"));
        assert!(shown.contains(&error), "{error}");
    }

    #[tokio::test]
    async fn a_connection_to_an_address_of_this_machine_is_not_used() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let error = leads_elsewhere("crl.microsoft.com", &stream).unwrap_err().to_string();
        assert_eq!(error, "crl.microsoft.com is at an address of this machine");
    }
}
