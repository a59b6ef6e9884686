//! The one setting of revocation, which a policy states and the verification of a report applies.

use std::time::Duration;

/// Whether AMD's CRL must be available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Revocation {
    /// A report is refused without a genuine and current CRL.
    Require,
    /// As [`Revocation::Require`], and the CRL must have been issued (`thisUpdate`) at most this long ago. AMD issues its CRLs
    /// about once a year, for a little more than a year.
    RequireIssuedWithin(Duration),
    /// A genuine CRL is checked; without a usable one the result reports that revocation was not evaluated. Anyone who controls
    /// the network can then hide a revocation.
    BestEffort,
    /// CRLs are ignored.
    Off,
}

impl Revocation {
    /// Whether a report is refused without a usable CRL.
    pub(crate) const fn is_required(self) -> bool {
        matches!(self, Self::Require | Self::RequireIssuedWithin(_))
    }
}
