//! Revocation: whether an available CRL names the ASK, ASVK or ARK of a chain.

use super::certificate::CaCertificate;
use super::crl::VerifiedCrl;
use super::error::{CrlError, ReportError};
use crate::types::{Revocation, UnixTime};

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

    /// What any genuine CRL names is refused before it matters which of them are usable.
    pub(super) fn check(
        &self,
        crls: &[Result<VerifiedCrl, CrlError>],
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<RevocationOutcome, ReportError> {
        let max_age = match revocation {
            Revocation::Off => return Ok(RevocationOutcome::NotEvaluated { reason: NotEvaluated::SwitchedOff }),
            Revocation::RequireIssuedWithin(age) => Some(age),
            Revocation::Require | Revocation::BestEffort => None,
        };
        let genuine: Vec<Result<&VerifiedCrl, CrlError>> = crls
            .iter()
            .map(|crl| crl.as_ref().map_err(Clone::clone).and_then(|crl| crl.is_by(self.ark).map(|()| crl)))
            .collect();
        for crl in genuine.iter().flatten() {
            self.check_not_named(crl)?;
        }
        let check = |crl: &VerifiedCrl| {
            crl.check_scope(self.issuer)?;
            crl.check_dates(now)?;
            max_age.map_or(Ok(()), |age| crl.check_age(age, now))
        };
        let usable = genuine.into_iter().map(|crl| crl.and_then(|crl| check(crl).map(|()| crl)));
        let (usable, unusable): (Vec<_>, Vec<_>) = usable.partition(Result::is_ok);
        // Of several that can be used, the latest is the one that the result names.
        let latest = usable.into_iter().flatten().max_by(|one, other| one.cmp_issued(other));
        let usable = latest.ok_or_else(|| reason(unusable.into_iter().filter_map(Result::err)));
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

/// Why none of several CRLs can be used: of the one that is about this issuer, if one is.
fn reason(reasons: impl Iterator<Item = CrlError>) -> CrlError {
    let is_about_another = |reason: &CrlError| matches!(reason, CrlError::WrongDistributionPoint { .. });
    reasons.min_by_key(is_about_another).unwrap_or(CrlError::Missing)
}
