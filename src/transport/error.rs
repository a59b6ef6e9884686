//! Classifies the errors of the libraries below into kinds, one of which says that the peer certainly did not process a request, and
//! fixed texts. The text of a library may change, and may contain what a peer sent.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use url::Url;

use super::connector::ResolveError;
use super::proxy::ProxyError;
use crate::error::{AttestationError, NetworkError};
use crate::tls::{self, TlsRejection};

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransportError {
    pub(crate) kind: TransportErrorKind,
    pub(crate) reason: String,
    /// The error of the library below.
    pub(crate) source: Option<NetworkError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportErrorKind {
    /// No authority vouches for the server's name, or its certificate breaks a rule of the Web PKI.
    Name,
    /// No connection could be opened; nothing was sent.
    Connect,
    /// The peer certainly did not process the request (RFC 9113 sections 6.8 and 8.7), or it was never written.
    NotProcessed,
    /// The connection broke while the request may have been under way.
    Broken,
    /// The response cannot be parsed; it would probably be the same again.
    Unreadable,
    /// A timer of the HTTP library fired.
    Timeout,
}

impl TransportError {
    pub(crate) fn new(kind: TransportErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), source: None }
    }

    /// The error of a request of which nothing was written.
    pub(crate) fn not_sent() -> Self {
        Self::new(TransportErrorKind::NotProcessed, "the connection was closed before the request was sent")
    }

    /// Adds the error that this one was classified from.
    pub(crate) fn caused_by(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(NetworkError::new(error)), ..self }
    }

    /// Adds to the reason.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.reason.push_str(more);
        self
    }

    /// Returns the origin and the reason.
    pub(crate) fn at(&self, url: &Url) -> String {
        format!("{}: {}", url.origin().ascii_serialization(), self.reason)
    }

    /// Returns the error of the application at this URL.
    pub(crate) fn of_application(self, url: &Url) -> AttestationError {
        let (reason, source) = (self.at(url), self.source);
        match self.kind {
            TransportErrorKind::Name => AttestationError::ServerNameNotValidated { reason, source },
            TransportErrorKind::Unreadable => AttestationError::InvalidResponse { reason, source },
            _ => AttestationError::ApplicationUnreachable { reason, source },
        }
    }
}

/// The first error of a type among the causes. The causes of `io::Error` are not in its `source()`: that skips one.
pub(super) fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.and_then(|inner| find::<T>(inner)).or_else(|| error.source().and_then(find::<T>))
}

/// An error of the collateral's HTTP client. Its URL is left out of the cause: paths of the KDS identify a chip.
pub(crate) fn classify_reqwest(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    classify_reqwest_kind(&error).caused_by(error)
}

fn classify_reqwest_kind(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        return TransportError::new(TransportErrorKind::Timeout, "no response in time");
    }
    let kind = if error.is_connect() { TransportErrorKind::Connect } else { TransportErrorKind::Broken };
    let incomplete = error.is_body() || error.is_decode();
    let failure = classify(error, if incomplete { Stage::Body } else { Stage::Request(kind) });
    // That client has a resolver of its own.
    if error.is_dns() {
        return TransportError::new(TransportErrorKind::Connect, "its name cannot be resolved");
    }
    failure
}

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the headers of the response. The kind is used if the error does not determine one.
    Request(TransportErrorKind),
    /// Within the body of the response.
    Body,
}

impl Stage {
    pub(crate) const OPENING: Self = Self::Request(TransportErrorKind::Connect);
    pub(crate) const SENDING: Self = Self::Request(TransportErrorKind::Broken);
}

/// Classifies any error of the libraries below.
pub(crate) fn classify(error: &(dyn Error + 'static), stage: Stage) -> TransportError {
    if let Some(tls) = find::<rustls::Error>(error) {
        return match stage {
            Stage::Request(TransportErrorKind::Broken) | Stage::Body => classify_broken_tls(tls),
            Stage::Request(_) => classify_tls(tls),
        };
    }
    if let Some(proxy) = find::<ProxyError>(error) {
        return TransportError::new(TransportErrorKind::Connect, proxy.to_string());
    }
    if find::<ResolveError>(error).is_some() {
        return TransportError::new(TransportErrorKind::Connect, "its name cannot be resolved");
    }
    let kind = match stage {
        Stage::Request(kind) => kind,
        Stage::Body => TransportErrorKind::Broken,
    };
    if let Some(failure) = find::<h2::Error>(error).and_then(|h2| classify_h2(h2, stage)) {
        return failure;
    }
    if let Some(failure) = find::<hyper::Error>(error).and_then(classify_hyper) {
        return failure;
    }
    let reason = match find_io(error) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        _ if stage == Stage::Body => "the connection was closed before the response was complete",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => {
            "the connection was reset"
        }
        Some(io::ErrorKind::UnexpectedEof) => "the connection was closed early",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "no route to it",
        Some(io::ErrorKind::PermissionDenied) => "the operating system does not permit the connection",
        _ if kind == TransportErrorKind::Connect => "no connection could be opened",
        _ => "the connection was closed without a response",
    };
    TransportError::new(kind, reason)
}

/// Classifies the end of an HTTP/2 stream. RFC 9113 section 8.7: a request certainly was not processed if its stream was reset with
/// REFUSED_STREAM, or is above the last one that a GOAWAY names; for those streams the library reports the GOAWAY as their error, and for
/// no others since one task drives a connection (`http2_tasks`).
fn classify_h2(error: &h2::Error, stage: Stage) -> Option<TransportError> {
    let not_processed = |reason: &str| Some(TransportError::new(TransportErrorKind::NotProcessed, reason));
    let broken = |reason: String| Some(TransportError::new(TransportErrorKind::Broken, reason));
    let reason = error.reason()?;
    // Numbers and names are of RFC 9113 section 7. A header list over our limit is reset by the library itself.
    let name = reason.description();
    match (stage, error.is_remote()) {
        (Stage::Request(_), true) if error.is_go_away() => {
            not_processed("the server ended the connection (GOAWAY) before it processed the request")
        }
        (Stage::Request(_), true) if reason == h2::Reason::REFUSED_STREAM => {
            not_processed("the server refused the stream (REFUSED_STREAM) before it processed the request")
        }
        (Stage::Request(_), true) => {
            broken(format!("the server reset the stream ({name}); it may have processed the request"))
        }
        (Stage::Request(_), false) if error.is_library() => {
            let reason = format!("its response breaks HTTP/2, or its headers are larger than 16 KiB ({name})");
            Some(TransportError::new(TransportErrorKind::Unreadable, reason))
        }
        _ => None,
    }
}

fn classify_hyper(error: &hyper::Error) -> Option<TransportError> {
    let unreadable = |reason: &str| Some(TransportError::new(TransportErrorKind::Unreadable, reason));
    if error.is_parse_status() {
        return unreadable("the status line of its response cannot be read");
    }
    if error.is_parse() {
        return unreadable(
            "the headers of its response cannot be read: more than 100, too large, or a line that is not HTTP",
        );
    }
    None
}

/// Returns the kind of the innermost I/O error: the outer ones only wrap it.
fn find_io(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let here = error.downcast_ref::<io::Error>();
    let inner = here.and_then(io::Error::get_ref);
    inner
        .and_then(|inner| find_io(inner))
        .or_else(|| error.source().and_then(find_io))
        .or_else(|| here.map(io::Error::kind))
}

/// Classifies a TLS error after the handshake: the request may have arrived.
fn classify_broken_tls(error: &rustls::Error) -> TransportError {
    let reason = match error {
        rustls::Error::AlertReceived(_) => "it ended the TLS connection with an alert",
        _ => "the TLS connection failed: it breaks the protocol",
    };
    TransportError::new(TransportErrorKind::Broken, reason)
}

fn classify_tls(error: &rustls::Error) -> TransportError {
    let connect = |reason: &str| TransportError::new(TransportErrorKind::Connect, reason);
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            connect("it does not hold the key of its certificate")
        }
        rustls::Error::InvalidCertificate(problem) => match tls::rejection(error) {
            Some(rejection @ TlsRejection::WrongVersion) => connect(&rejection.to_string()),
            None => TransportError::new(TransportErrorKind::Name, certificate_problem(problem)),
        },
        rustls::Error::NoCertificatesPresented => {
            TransportError::new(TransportErrorKind::Name, "it shows no certificate")
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            connect("it does not speak a version of TLS that is accepted here (1.3 for bound sessions)")
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure) => {
            connect("it ended the TLS handshake: it accepts none of the offered algorithms")
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            connect("it offers none of the requested protocols (ALPN)")
        }
        rustls::Error::AlertReceived(_) => connect("it ended the TLS handshake with an alert"),
        rustls::Error::InvalidMessage(_) => connect("it does not speak TLS"),
        rustls::Error::NoApplicationProtocol => connect("it offers neither HTTP/2 nor HTTP/1.1 (ALPN)"),
        _ => connect("the TLS handshake failed: it breaks the protocol"),
    }
}

/// Describes why a certificate is not valid for the name.
fn certificate_problem(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::UnknownIssuer => "no trusted authority vouches for its certificate",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: compare the clocks"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks"
        }
        CertificateError::Revoked => "its certificate is revoked",
        CertificateError::BadEncoding => "its certificate is not valid DER",
        CertificateError::UnhandledCriticalExtension => "its certificate has a critical extension that is not known",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for TLS servers (extended key usage)"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed with an algorithm that is not accepted"
        }
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "whether its certificate is revoked cannot be determined"
        }
        CertificateError::Other(other) => other
            .0
            .downcast_ref::<webpki::Error>()
            .map_or("its certificate breaks a rule of the Web PKI", webpki_problem),
        _ => "its certificate breaks a rule of the Web PKI",
    }
}

/// Describes errors that rustls passes on from webpki.
fn webpki_problem(problem: &webpki::Error) -> &'static str {
    use webpki::Error;
    match problem {
        Error::CaUsedAsEndEntity => "its certificate is one of an authority (CA:TRUE), which a server must not show",
        Error::EndEntityUsedAsCa => "its certificate was issued by one that is not an authority",
        Error::UnsupportedCertVersion => "its certificate is not of X.509 version 3",
        Error::NameConstraintViolation => "its name is outside of what its issuer may vouch for (name constraints)",
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => "its chain of certificates is too long",
        Error::InvalidSerialNumber => "its certificate has a serial number that is not valid",
        Error::InvalidCertValidity => "its certificate ends before it begins",
        Error::MalformedDnsIdentifier => "its certificate has a DNS name that is not valid",
        Error::MalformedExtensions | Error::ExtensionValueInvalid => {
            "its certificate has an extension that is not valid"
        }
        _ => "its certificate breaks a rule of the Web PKI",
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

    /// Among them those that public reports name: one of an authority, and one of X.509 version 1.
    #[test]
    fn certificates_that_the_validator_refuses_by_name_are_named_in_words() {
        for (problem, words) in [
            (
                webpki::Error::CaUsedAsEndEntity,
                "its certificate is one of an authority (CA:TRUE), which a server must not show",
            ),
            (webpki::Error::EndEntityUsedAsCa, "its certificate was issued by one that is not an authority"),
            (webpki::Error::UnsupportedCertVersion, "its certificate is not of X.509 version 3"),
            (
                webpki::Error::NameConstraintViolation,
                "its name is outside of what its issuer may vouch for (name constraints)",
            ),
            (webpki::Error::PathLenConstraintViolated, "its chain of certificates is too long"),
            (webpki::Error::MaximumPathDepthExceeded, "its chain of certificates is too long"),
            (webpki::Error::InvalidSerialNumber, "its certificate has a serial number that is not valid"),
            (webpki::Error::InvalidCertValidity, "its certificate ends before it begins"),
            (webpki::Error::MalformedDnsIdentifier, "its certificate has a DNS name that is not valid"),
            (webpki::Error::MalformedExtensions, "its certificate has an extension that is not valid"),
            (webpki::Error::ExtensionValueInvalid, "its certificate has an extension that is not valid"),
            (webpki::Error::BadDer, "its certificate breaks a rule of the Web PKI"),
        ] {
            let other = CertificateError::Other(rustls::OtherError(std::sync::Arc::new(problem)));
            let failure = classify(&rustls::Error::InvalidCertificate(other), Stage::OPENING);
            assert_eq!(failure, TransportError::new(TransportErrorKind::Name, words));
        }
    }

    /// RFC 8446 section 4.4.2.4: a server that requires a certificate of the client reports that after the handshake.
    #[test]
    fn after_the_handshake_tls_breaks_a_request_that_may_have_arrived() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let failure = |stage| classify(&alert, stage);
        let connect = "it ended the TLS handshake with an alert";
        assert_eq!(failure(Stage::OPENING), TransportError::new(TransportErrorKind::Connect, connect));
        for stage in [Stage::SENDING, Stage::Body] {
            let broken = "it ended the TLS connection with an alert";
            assert_eq!(failure(stage), TransportError::new(TransportErrorKind::Broken, broken));
        }
    }

    #[test]
    fn an_error_inside_io_errors_is_found() {
        let nested = Outer(io::Error::other(io::Error::other(Ours)));
        assert_eq!(find::<Ours>(&nested), Some(&Ours));
        assert_eq!(find::<Ours>(&io::Error::other("text")), None);
    }
}
