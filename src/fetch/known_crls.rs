//! The known CRLs of one distribution point: the latest, and older ones whose entries still count.

use std::sync::Arc;

use crate::snp::VerifiedCrl;
use crate::types::UnixTime;

/// The most CRLs that are kept in addition to the latest. AMD issues one a year, and an older one is kept only while it has
/// an entry that the others lack.
const MAX_OLDER: usize = 7;

/// One genuine CRL, as received and parsed.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) der: Arc<[u8]>,
    pub(super) crl: VerifiedCrl,
}

/// The genuine CRLs that were seen on the network or on disk. What one of them revoked stays revoked until a CRL that
/// certainly is later, and is about the same certificates, no longer has the entry.
#[derive(Clone, Debug)]
pub(super) struct KnownCrls {
    latest: Document,
    older: Vec<Document>,
    /// When the latest CRL was last requested from the network.
    fetched: UnixTime,
}

impl KnownCrls {
    pub(super) const fn new(document: Document, fetched: UnixTime) -> Self {
        Self { latest: document, older: Vec::new(), fetched }
    }

    pub(super) const fn latest(&self) -> &Document {
        &self.latest
    }

    pub(super) const fn fetched(&self) -> UnixTime {
        self.fetched
    }

    /// Returns all CRLs, the latest first.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.latest).chain(&self.older)
    }

    /// Returns the latest CRL, with every entry that still counts.
    pub(super) fn combined(&self) -> VerifiedCrl {
        self.older.iter().fold(self.latest.crl.clone(), |crl, older| crl.with_entries_of(&older.crl))
    }

    /// Merges two sets. Of two CRLs that were issued at the same time, the one of `self` is the latest.
    pub(super) fn merged(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let fetched = self.fetched.max(other.fetched);
        let more = self.older.into_iter().chain([other.latest]).chain(other.older);
        Self::of(self.latest, more, fetched)
    }

    /// Sets the time of the last request.
    pub(super) fn fetched_at(self, fetched: UnixTime) -> Self {
        Self { fetched, ..self }
    }

    /// Restores a set from stored documents; `None` if there are none.
    pub(super) fn from_documents(documents: Vec<Document>, fetched: UnixTime) -> Option<Self> {
        let mut documents = documents.into_iter().take(MAX_OLDER + 1);
        Some(Self::of(documents.next()?, documents, fetched))
    }

    fn of(first: Document, more: impl Iterator<Item = Document>, fetched: UnixTime) -> Self {
        let (mut latest, mut others) = (first, Vec::new());
        for mut document in more {
            if document.crl.cmp_issued(&latest.crl).is_gt() {
                std::mem::swap(&mut document, &mut latest);
            }
            others.push(document);
        }
        // The latest of the older ones first: they have the most entries, and the limit drops the oldest.
        others.sort_by(|one, other| other.crl.cmp_issued(&one.crl));
        let mut known = latest.crl.clone();
        let mut older = Vec::new();
        for document in others {
            let adds = document.crl.revokes_more_than(&known) && !latest.crl.supersedes(&document.crl);
            if adds && older.len() < MAX_OLDER {
                known = known.with_entries_of(&document.crl);
                older.push(document);
            }
        }
        Self { latest, older, fetched }
    }
}
