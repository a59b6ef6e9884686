//! [`NetworkError`]: the error of a library or the operating system below an [`AttestationError`](super::AttestationError).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error that a network exchange ended with, as the library below (HTTP, TLS) or the operating system reported it.
///
/// It is the [`source()`](Error::source) of errors such as [`ApplicationUnreachable`], whose own message already states the cause
/// in the words of this crate. Use the chain to find an [`std::io::Error`] and its kind. Its text may contain what the peer sent:
/// print it through [`printable`](crate::printable). Which types the chain contains may change with the libraries.
///
/// Two are equal if their texts are.
///
/// [`ApplicationUnreachable`]: super::AttestationError::ApplicationUnreachable
#[derive(Clone)]
pub struct NetworkError(Arc<dyn Error + Send + Sync>);

impl NetworkError {
    #[cfg(feature = "client")]
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// Returns the operating system's or runtime's error, if there is one in the chain: the innermost.
    #[must_use]
    pub fn io(&self) -> Option<&std::io::Error> {
        innermost_io(&*self.0)
    }
}

/// The causes of `io::Error` are not in its `source()`, which skips one.
fn innermost_io<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e std::io::Error> {
    let here = error.downcast_ref::<std::io::Error>();
    let inner = here.and_then(std::io::Error::get_ref);
    inner.and_then(|inner| innermost_io(inner)).or_else(|| error.source().and_then(innermost_io)).or(here)
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NetworkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for NetworkError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for NetworkError {}
