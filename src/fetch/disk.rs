//! AMD's certificates and CRLs in a folder, so that a process that starts anew need not fetch them again.
//!
//! What lies there is believed no more than what the network brings: it is verified under the pinned roots at every load, and
//! what does not verify, or is not what was looked for, is fetched and replaced. The folder is private all the same, because
//! a CRL that is genuine but outdated can hide a revocation. Key sets of MAA have no signature and verdicts have no
//! place outside of their session: neither is ever written.

mod folder;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::known_crls::{Document, KnownCrls};
use crate::claims::SigningKey;
use crate::crypto::sha256;
use crate::der;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, VerifiedCrl, VerifiedVek, crl_path};
use crate::types::{Product, Sha256Digest, UnixTime};
use folder::Folder;

/// The largest files that are read, in bytes: eight CRLs, as large as the network may bring them.
const MAX_FILE: usize = (8 * (64 << 10)) + HEAD;

/// What a file begins with: this, then the time of the fetch in seconds as a big-endian number of eight bytes, then the DER of a
/// certificate, or of one CRL or more.
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

impl Disk {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] unless it is a folder of this user's that nobody else may use.
    pub(crate) fn open(path: &Path, anchors: &AmdAnchors) -> Result<Self, AttestationError> {
        let folder = Folder::open(path).map_err(|reason| AttestationError::Misconfigured {
            reason: format!("the folder for the cache cannot be used: {reason}"),
        })?;
        Ok(Self { folder: Arc::new(folder), anchors: anchors.clone() })
    }

    /// The certificate that AMD's service has at a path, if it is here and has not expired. It may be another one: files of
    /// several certificates have one name.
    pub(super) async fn certificate(&self, path: &str, now: UnixTime) -> Option<VerifiedVek> {
        let file = self.read(self.certificate_name(path)).await?;
        let (_, der) = decode(&file)?;
        let vek = VerifiedVek::verify(der, None, &self.anchors).ok()?;
        (vek.certificate().not_after() >= now).then_some(vek)
    }

    /// Keeps the certificate that AMD's service has at a path.
    pub(super) async fn keep_certificate(&self, path: &str, vek: &VerifiedVek, now: UnixTime) {
        let content = encode(now, [vek.certificate().as_der()]);
        self.update(self.certificate_name(path), |_| content).await;
    }

    /// The CRLs of a processor family and kind of key that are here, however old.
    pub(super) async fn crls(&self, product: Product, kind: SigningKey) -> Option<KnownCrls> {
        let file = self.read(self.crl_name(product, kind)).await?;
        read_crls(&file, product, kind, &self.anchors)
    }

    /// Keeps CRLs, together with those here that still count.
    pub(super) async fn keep_crls(&self, product: Product, kind: SigningKey, known: &KnownCrls) {
        let (anchors, known) = (self.anchors.clone(), known.clone());
        self.update(self.crl_name(product, kind), move |there| {
            let there = there.and_then(|file| read_crls(&file, product, kind, &anchors));
            let fetched = known.fetched();
            encode(fetched, known.merged(there).documents().map(|document| &*document.der))
        })
        .await;
    }

    /// One of 4,096 names, so that peers with ever new chips do not fill the disk. Which certificate it is says the
    /// certificate; the name does not tell which machines this one talks to.
    fn certificate_name(&self, path: &str) -> String {
        format!("vcek-{:.3}", self.hash(path))
    }

    fn crl_name(&self, product: Product, kind: SigningKey) -> String {
        format!("crl-{:.16}", self.hash(&crl_path(product, kind)))
    }

    fn hash(&self, path: &str) -> String {
        let anchors: Sha256Digest = self.anchors.fingerprint();
        hex::encode(sha256(&[anchors.as_bytes(), path.as_bytes()].concat()))
    }

    async fn read(&self, name: String) -> Option<Vec<u8>> {
        let folder = Arc::clone(&self.folder);
        in_time(&PLACES, move || folder.read(&name, MAX_FILE)).await?
    }

    /// What cannot be written is fetched again another time.
    async fn update(&self, name: String, content: impl FnOnce(Option<Vec<u8>>) -> Vec<u8> + Send + 'static) {
        let folder = Arc::clone(&self.folder);
        in_time(&PLACES, move || folder.update(&name, MAX_FILE, content)).await;
    }
}

fn encode<'d>(fetched: UnixTime, documents: impl IntoIterator<Item = &'d [u8]>) -> Vec<u8> {
    let mut file = [&MAGIC[..], &fetched.as_secs().to_be_bytes()].concat();
    documents.into_iter().for_each(|der| file.extend_from_slice(der));
    file
}

fn decode(file: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (head, der) = file.split_at_checked(HEAD)?;
    let fetched = head.strip_prefix(MAGIC)?;
    Some((UnixTime::from_secs(u64::from_be_bytes(fetched.try_into().ok()?)), der))
}

/// All CRLs of a file; `None` unless each of them is genuine and for this kind of key.
fn read_crls(file: &[u8], product: Product, kind: SigningKey, anchors: &AmdAnchors) -> Option<KnownCrls> {
    let (fetched, ders) = decode(file)?;
    let mut reader = der::Reader::new(ders);
    let mut documents = Vec::new();
    while reader.is_next(der::SEQUENCE) {
        let der = reader.expect(der::SEQUENCE)?.whole;
        let crl = VerifiedCrl::verify_for(der, product, kind, anchors).ok()?;
        documents.push(Document { der: der.into(), crl });
    }
    reader.finish()?;
    KnownCrls::from_documents(documents, fetched)
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
