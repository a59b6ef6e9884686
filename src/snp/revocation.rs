//! Revocation of the certificate chain, according to the CRL that is available.

use std::time::Duration;

use super::certificate::CaCertificate;
use super::crl::VerifiedCrl;
use super::error::{CrlError, ReportError};
use crate::types::UnixTime;

/// Whether AMD's CRL must be available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The result of the revocation check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationOutcome {
    /// A genuine and current CRL does not name the certificates of the chain.
    Checked {
        /// When the CRL was issued.
        this_update: UnixTime,
        /// When its successor is due (`nextUpdate`).
        next_update: UnixTime,
    },
    /// Not evaluated, because it was not required.
    NotEvaluated {
        /// The reason.
        reason: NotEvaluated,
    },
}

/// The reason why revocation was not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEvaluated {
    /// [`Revocation::Off`].
    SwitchedOff,
    /// [`Revocation::BestEffort`], and there was no usable CRL.
    Unusable(CrlError),
}

/// The certificates of a chain whose revocation matters.
#[derive(Clone, Copy)]
pub(super) struct Authorities<'a> {
    /// The certificate of the key that issued the signing key's.
    pub(super) issuer: &'a CaCertificate,
    pub(super) ark: &'a CaCertificate,
    /// Further certificates of the same keys: AMD reissues certificates under new serial numbers.
    pub(super) reissued: &'a [CaCertificate],
}

impl Authorities<'_> {
    /// Checks that a CRL names no certificate of the chain, whatever the dates and the distribution point of that CRL are: a
    /// revoked certificate stays revoked, and revoking any certificate of a key revokes the key.
    pub(super) fn check_not_named(&self, crl: &VerifiedCrl) -> Result<(), ReportError> {
        let named = [self.issuer, self.ark].into_iter().chain(self.reissued).find(|ca| crl.revokes(ca));
        match named {
            None => Ok(()),
            Some(ca) => Err(ReportError::Revoked { role: ca.role, serial: hex::encode(&ca.serial) }),
        }
    }

    pub(super) fn check(
        &self,
        crl: Result<&VerifiedCrl, CrlError>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<RevocationOutcome, ReportError> {
        let max_age = match revocation {
            Revocation::Off => return Ok(RevocationOutcome::NotEvaluated { reason: NotEvaluated::SwitchedOff }),
            Revocation::RequireIssuedWithin(age) => Some(age),
            Revocation::Require | Revocation::BestEffort => None,
        };
        let genuine = crl.and_then(|crl| crl.is_by(self.ark).map(|()| crl));
        if let Ok(crl) = genuine {
            self.check_not_named(crl)?;
        }
        let usable = genuine.and_then(|crl| {
            crl.check_scope(self.issuer)?;
            crl.check_dates(now)?;
            max_age.map_or(Ok(()), |age| crl.check_age(age, now)).map(|()| crl)
        });
        match (usable, revocation) {
            (Ok(crl), _) => {
                let (this_update, next_update) = (crl.this_update(), crl.next_update());
                Ok(RevocationOutcome::Checked { this_update, next_update })
            }
            (Err(reason), Revocation::BestEffort) => {
                Ok(RevocationOutcome::NotEvaluated { reason: NotEvaluated::Unusable(reason) })
            }
            (Err(reason), _) => Err(ReportError::Crl(reason)),
        }
    }
}
