//! AMD's certificates and revocation lists in a folder, so that a process that starts anew need not fetch them again.
//!
//! What lies there is believed no more than what the network brings: it is verified under the pinned roots at every load, and
//! what does not verify, or is not what was looked for, is fetched and replaced. The folder is private all the same, because
//! a list that is genuine but outdated can hide a revocation. Key sets of MAA have no signature and verdicts have no
//! place outside of their session: neither is ever written.

mod folder;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::claims::SigningKey;
use crate::crypto::sha256;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, CollateralRequest, VerifiedCrl, VerifiedVek, crl_path};
use crate::types::{Product, Sha256Digest, UnixTime};
use folder::Folder;

/// The largest files that are read, in bytes, as for what the network brings.
const MAX_FILE: usize = (1 << 20) + HEAD;

/// What a file begins with: this, then the time of the fetch in seconds as a big-endian number of eight bytes, then the DER.
const MAGIC: &[u8; 8] = b"blindbx\x01";
const HEAD: usize = 16;

/// How long a file may take to be read or written: a network drive that hangs must cost less than fetching.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many files of this process are read or written at a time. One that hangs keeps its thread for good, and the threads of
/// a runtime are few: those left are for name lookups.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// The folder, as the roots that its files are verified under see it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: Arc<Folder>,
    /// Verifiers with other roots that share the folder have other files.
    anchors: AmdAnchors,
}

/// A revocation list, and when it was fetched.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) list: VerifiedCrl,
    pub(super) fetched: UnixTime,
}

impl Listed {
    /// The one that was made later; of two that were made at the same time this one.
    pub(super) fn newest(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.list.this_update() > self.list.this_update() => other,
            _ => self,
        }
    }
}

impl Disk {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] unless it is a folder of this user's that nobody else may use.
    pub(crate) fn open(path: &Path, anchors: &AmdAnchors) -> Result<Self, AttestationError> {
        let folder = Folder::open(path).map_err(|why| AttestationError::Misconfigured {
            why: format!("the folder for the cache cannot be used: {why}"),
        })?;
        Ok(Self { folder: Arc::new(folder), anchors: anchors.clone() })
    }

    /// The certificate for a report of a processor family, if it lies here and has not expired.
    pub(super) async fn certificate(
        &self,
        request: &CollateralRequest,
        product: Product,
        now: UnixTime,
    ) -> Option<VerifiedVek> {
        let name = self.certificate_name(&request.vcek_path(product)?);
        let (_, der) = self.read(name).await?;
        let vek = VerifiedVek::verify(&der, None, &self.anchors).ok()?;
        (request.is_met_by(product, &vek) && vek.certificate().not_after() >= now).then_some(vek)
    }

    /// Keeps the certificate for a report, if it is that.
    pub(super) async fn keep_certificate(
        &self,
        request: &CollateralRequest,
        product: Product,
        vek: &VerifiedVek,
        now: UnixTime,
    ) {
        if let (Some(path), true) = (request.vcek_path(product), request.is_met_by(product, vek)) {
            self.write(self.certificate_name(&path), now, vek.certificate().as_der(), |_| true).await;
        }
    }

    /// The revocation list of a processor family and kind of key, if one lies here, however old.
    pub(super) async fn list(&self, product: Product, kind: SigningKey) -> Option<Listed> {
        let (fetched, der) = self.read(self.list_name(product, kind)).await?;
        let list = VerifiedCrl::verify(&der, product, &self.anchors).ok()?;
        Some(Listed { list, fetched })
    }

    /// Keeps a revocation list, unless a later one lies here.
    pub(super) async fn keep_list(&self, (product, kind): (Product, SigningKey), der: &[u8], listed: &Listed) {
        let (anchors, made) = (self.anchors.clone(), listed.list.this_update());
        let replaces = move |there: &[u8]| {
            VerifiedCrl::verify(there, product, &anchors).map_or(true, |list| list.this_update() <= made)
        };
        self.write(self.list_name(product, kind), listed.fetched, der, replaces).await;
    }

    /// One of 4,096 names, so that peers with ever new chips do not fill the disk. Which certificate it is says the
    /// certificate; the name does not tell which machines this one talks to.
    fn certificate_name(&self, path: &str) -> String {
        format!("vcek-{:.3}", self.hash(path))
    }

    fn list_name(&self, product: Product, kind: SigningKey) -> String {
        format!("crl-{:.16}", self.hash(&crl_path(product, kind)))
    }

    fn hash(&self, path: &str) -> String {
        let anchors: Sha256Digest = self.anchors.fingerprint();
        hex::encode(sha256(&[anchors.as_bytes(), path.as_bytes()].concat()))
    }

    async fn read(&self, name: String) -> Option<(UnixTime, Vec<u8>)> {
        let folder = Arc::clone(&self.folder);
        let file = in_time(&PLACES, move || folder.read(&name, MAX_FILE)).await??;
        let (fetched, der) = decode(&file)?;
        Some((fetched, der.to_vec()))
    }

    /// What cannot be written is fetched again another time.
    async fn write(
        &self,
        name: String,
        at: UnixTime,
        der: &[u8],
        replaces: impl FnOnce(&[u8]) -> bool + Send + 'static,
    ) {
        let folder = Arc::clone(&self.folder);
        let file = [&MAGIC[..], &at.as_secs().to_be_bytes(), der].concat();
        let replaces = move |there: &[u8]| decode(there).is_none_or(|(_, der)| replaces(der));
        in_time(&PLACES, move || folder.replace(&name, &file, MAX_FILE, replaces)).await;
    }
}

fn decode(file: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (head, der) = file.split_at_checked(HEAD)?;
    let fetched = head.strip_prefix(MAGIC)?;
    Some((UnixTime::from_secs(u64::from_be_bytes(fetched.try_into().ok()?)), der))
}

/// Files are read and written on a thread for such things. One that hangs is left to itself, and its place with it.
async fn in_time<T: Send + 'static>(places: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let places = Arc::clone(places);
    let work = async {
        let place = places.acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(place);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    };
    tokio::time::timeout(PATIENCE, work).await.ok()?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn files_that_hang_take_no_more_threads_than_there_are_places() {
        let places = Arc::new(Semaphore::new(2));
        let begun = Arc::new(AtomicUsize::new(0));
        let (let_go, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let hangs = || {
            let (begun, hung) = (Arc::clone(&begun), Arc::clone(&hung));
            in_time(&places, move || {
                begun.fetch_add(1, Ordering::SeqCst);
                hung.lock().unwrap().recv().is_err()
            })
        };
        assert_eq!(tokio::join!(hangs(), hangs(), hangs(), hangs()), (None, None, None, None));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        drop(let_go);
        // Those that end at last give their places back; those that waited in vain were never begun.
        while places.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(in_time(&places, || 1).await, Some(1));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
