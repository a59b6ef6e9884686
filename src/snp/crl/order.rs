//! The order of several CRLs of one root by time of issue, and the union of their entries, for caches that keep more than one.

use std::cmp::Ordering;

use super::VerifiedCrl;

impl VerifiedCrl {
    /// Whether it has an entry that the other CRL does not have.
    #[cfg(feature = "client")]
    pub(crate) fn revokes_more_than(&self, other: &Self) -> bool {
        self.revoked.iter().any(|serial| other.revoked.binary_search(serial).is_err())
    }

    /// Adds the entries of another CRL of the same root.
    #[cfg(feature = "client")]
    pub(crate) fn with_entries_of(mut self, other: &Self) -> Self {
        if self.issuer_key == other.issuer_key {
            self.revoked.extend_from_slice(&other.revoked);
            self.revoked.sort_unstable();
            self.revoked.dedup();
        }
        self
    }

    /// Compares the issue of two CRLs: by CRL number if both have one, then by `thisUpdate`.
    pub(crate) fn cmp_issued(&self, other: &Self) -> Ordering {
        let by_time = self.this_update.cmp(&other.this_update);
        match self.cmp_number(other) {
            Some(by_number) => by_number.then(by_time),
            None => by_time,
        }
    }

    /// Whether it supersedes the other CRL, so that an entry that it lacks no longer counts.
    ///
    /// It must apply to the same certificates and certainly be later: both name the same distribution points and have a number,
    /// and number and date do not contradict each other.
    #[cfg(feature = "client")]
    pub(crate) fn supersedes(&self, other: &Self) -> bool {
        let same_scope = !self.distribution_points.is_empty() && self.distribution_points == other.distribution_points;
        let by_time = self.this_update.cmp(&other.this_update);
        let later = match self.cmp_number(other) {
            Some(Ordering::Greater) => by_time.is_ge(),
            Some(Ordering::Equal) => by_time.is_gt(),
            Some(Ordering::Less) | None => false,
        };
        self.issuer_key == other.issuer_key && same_scope && later
    }

    fn cmp_number(&self, other: &Self) -> Option<Ordering> {
        let (one, other) = (self.number.as_ref()?, other.number.as_ref()?);
        Some(one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
    }
}
