//! What is known of the CRLs of one distribution point: the latest, and older ones whose entries still count.

use std::sync::Arc;

use crate::snp::VerifiedCrl;
use crate::types::UnixTime;

/// The most CRLs that are kept beside the latest. AMD issues one a year, and one is kept only while it has an entry that the
/// others lack.
const MAX_IN_DOUBT: usize = 7;

/// One genuine CRL, as received and as read.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) der: Arc<[u8]>,
    pub(super) crl: VerifiedCrl,
}

/// The genuine CRLs that were seen, by the network or on disk. What one of them revoked stays revoked until a CRL that is later
/// beyond doubt, about the same certificates, no longer has the entry.
#[derive(Clone, Debug)]
pub(super) struct KnownCrls {
    latest: Document,
    in_doubt: Vec<Document>,
    /// When the network was last asked for the latest.
    fetched: UnixTime,
}

impl KnownCrls {
    pub(super) const fn new(document: Document, fetched: UnixTime) -> Self {
        Self { latest: document, in_doubt: Vec::new(), fetched }
    }

    pub(super) const fn latest(&self) -> &Document {
        &self.latest
    }

    pub(super) const fn fetched(&self) -> UnixTime {
        self.fetched
    }

    /// All that are kept, the latest first.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.latest).chain(&self.in_doubt)
    }

    /// The latest CRL, with every entry that counts.
    pub(super) fn combined(&self) -> VerifiedCrl {
        self.in_doubt.iter().fold(self.latest.crl.clone(), |crl, older| crl.with_entries_of(&older.crl))
    }

    /// Both together. Of two that were issued at the same time, this one's is the latest.
    pub(super) fn merged(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let fetched = self.fetched.max(other.fetched);
        let more = self.in_doubt.into_iter().chain([other.latest]).chain(other.in_doubt);
        Self::of(self.latest, more, fetched)
    }

    /// The same, asked for at this time.
    pub(super) fn fetched_at(self, fetched: UnixTime) -> Self {
        Self { fetched, ..self }
    }

    /// Of documents as they were kept; `None` where there is none.
    pub(super) fn from_documents(documents: Vec<Document>, fetched: UnixTime) -> Option<Self> {
        let mut documents = documents.into_iter().take(MAX_IN_DOUBT + 1);
        Some(Self::of(documents.next()?, documents, fetched))
    }

    fn of(first: Document, more: impl Iterator<Item = Document>, fetched: UnixTime) -> Self {
        let (mut latest, mut older) = (first, Vec::new());
        for mut document in more {
            if document.crl.cmp_issued(&latest.crl).is_gt() {
                std::mem::swap(&mut document, &mut latest);
            }
            older.push(document);
        }
        older.sort_by(|one, other| other.crl.cmp_issued(&one.crl));
        let mut known = latest.crl.clone();
        let mut in_doubt = Vec::new();
        for document in older {
            let adds = document.crl.revokes_more_than(&known) && !latest.crl.supersedes(&document.crl);
            if adds && in_doubt.len() < MAX_IN_DOUBT {
                known = known.with_entries_of(&document.crl);
                in_doubt.push(document);
            }
        }
        Self { latest, in_doubt, fetched }
    }
}
