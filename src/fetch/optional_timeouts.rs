//! The time limits of steps that another source or a later step can mostly stand in for: what hangs must cost less than that.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalTimeouts {
    /// To read or write a file of the cache: a network drive may hang.
    pub(crate) file: Duration,
    /// For a request to THIM.
    pub(crate) thim: Duration,
    /// To fetch the CRL for the other kind of key.
    pub(crate) other_crl: Duration,
}

impl Default for OptionalTimeouts {
    fn default() -> Self {
        Self { file: Duration::from_secs(1), thim: Duration::from_secs(2), other_crl: Duration::from_secs(5) }
    }
}

impl OptionalTimeouts {
    pub(crate) const fn all(timeout: Duration) -> Self {
        Self { file: timeout, thim: timeout, other_crl: timeout }
    }
}
