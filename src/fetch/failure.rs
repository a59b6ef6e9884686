//! What a failed exchange was about, in our words: the text of a library may change, and may carry what a peer wrote.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use url::Url;

use crate::types::shorten;

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: TroubleKind,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// No authority vouches for the server's name.
    Name,
    /// No connection, and so nothing was sent.
    Connect,
    /// The connection broke while something may have been under way.
    Broken,
    /// A timer of the HTTP library.
    Timeout,
}

impl Trouble {
    /// What happened, and where.
    pub(crate) fn at(self, url: &Url) -> String {
        format!("{}: {}", url.origin().ascii_serialization(), self.why)
    }
}

/// The first error of a type among the causes. The causes of `io::Error` are not in its `source()`: that skips one.
pub(crate) fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.and_then(|inner| find::<T>(inner)).or_else(|| error.source().and_then(find::<T>))
}

pub(crate) fn explain(error: &reqwest::Error) -> Trouble {
    if let Some(tls) = find::<rustls::Error>(error) {
        return explain_tls(tls);
    }
    let kind = match () {
        () if error.is_timeout() => TroubleKind::Timeout,
        () if error.is_connect() => TroubleKind::Connect,
        () => TroubleKind::Broken,
    };
    let why = match find_io(error) {
        _ if kind == TroubleKind::Timeout => "no answer in time",
        _ if error.is_dns() => "its name cannot be resolved",
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => {
            "the connection was reset"
        }
        Some(io::ErrorKind::UnexpectedEof) => "the connection was closed early",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "no route to it",
        Some(io::ErrorKind::PermissionDenied) => "the operating system does not permit the connection",
        _ if error.is_body() || error.is_decode() => "the connection was closed before the answer was complete",
        _ if kind == TroubleKind::Connect => "no connection could be opened",
        _ => "the connection was closed without an answer",
    };
    Trouble { kind, why: why.to_owned() }
}

/// The deepest one: the outer ones only wrap it.
fn find_io(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let here = error.downcast_ref::<io::Error>();
    let inner = here.and_then(io::Error::get_ref);
    inner
        .and_then(|inner| find_io(inner))
        .or_else(|| error.source().and_then(find_io))
        .or_else(|| here.map(io::Error::kind))
}

fn explain_tls(error: &rustls::Error) -> Trouble {
    let name = |why: &str| Trouble { kind: TroubleKind::Name, why: why.to_owned() };
    let connect = |why: String| Trouble { kind: TroubleKind::Connect, why };
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => name("no trusted authority vouches for its certificate"),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                name("its certificate is for another name")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                name("its certificate has expired: compare the clocks")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                name("its certificate is not valid yet: compare the clocks")
            }
            CertificateError::Revoked => name("its certificate is revoked"),
            CertificateError::BadSignature => connect("it does not hold the key of its certificate".to_owned()),
            CertificateError::Other(other) => connect(shorten(&other.to_string(), 120)),
            problem => name(&format!("its certificate is not good: {}", shorten(&problem.to_string(), 120))),
        },
        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            connect("it does not speak a version of TLS that is accepted here (1.3 for bound sessions)".to_owned())
        }
        error => connect(format!("the TLS handshake failed: {}", shorten(&error.to_string(), 120))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("ours")]
    struct Ours;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_error_inside_io_errors_is_found() {
        let nested = Outer(io::Error::other(io::Error::other(Ours)));
        assert_eq!(find::<Ours>(&nested), Some(&Ours));
        assert_eq!(find::<Ours>(&io::Error::other("text")), None);
    }
}
