//! The cache of AMD's certificates and CRLs in a directory, so that a new process need not fetch them again.
//!
//! Files are trusted no more than the network: each is verified under the pinned roots whenever it is loaded, and one that does
//! not verify, or is not the one wanted, is fetched and replaced. The directory is private all the same, because a genuine but
//! outdated CRL can hide a revocation. MAA key sets are never written, because they have no signature, and neither are
//! attestation results, which belong to one session.

mod dir;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::known_crls::{Document, KnownCrls};
use crate::crypto::sha256;
use crate::der;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, VerifiedCrl, VerifiedVek, crl_path};
use crate::types::{Product, Sha256Digest, SigningKey, UnixTime};
use dir::{CacheDir, InPlace};

/// The largest file that is read, in bytes: eight CRLs, each as large as the network may send it.
const MAX_FILE: usize = (8 * (64 << 10)) + HEADER_LEN;

/// The first eight bytes of a file. Then follow the time of the fetch, in Unix seconds as eight bytes in big-endian order, and
/// the DER of one certificate or of one or more CRLs.
const MAGIC: &[u8; 8] = b"blindbx\x01";
const HEADER_LEN: usize = 16;

/// How many files of this process are read or written at a time. A file operation that hangs blocks its thread for good, and
/// a runtime has few blocking threads, which name lookups need too.
static IO_PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// The CRLs of one product and kind of key in the directory.
#[derive(Debug)]
pub(super) enum Stored {
    Nothing,
    Crls(Box<KnownCrls>),
    /// There may be some: the file cannot be read, or does not verify, or the drive is slow.
    Unreadable,
}

/// The cache directory, with the roots that its files are verified under.
#[derive(Clone, Debug)]
pub(crate) struct DiskCache {
    dir: Arc<CacheDir>,
    /// Part of each file name: verifiers with other roots that share the directory use other files.
    anchors: AmdAnchors,
    /// The most time to read or write a file.
    timeout: Duration,
}

impl DiskCache {
    /// Opens the directory, or creates it.
    ///
    /// # Errors
    ///
    /// [`AttestationError::Misconfigured`] unless it is a directory that belongs to this user and gives others no rights.
    pub(crate) fn open(path: &Path, anchors: &AmdAnchors, timeout: Duration) -> Result<Self, AttestationError> {
        let dir = CacheDir::open(path).map_err(|reason| AttestationError::Misconfigured {
            reason: format!("the cache directory cannot be used: {reason}"),
        })?;
        Ok(Self { dir: Arc::new(dir), anchors: anchors.clone(), timeout })
    }

    /// Returns the certificate with a KDS path, if it is stored and has not expired. It may be another certificate, because
    /// several paths share one file name; the caller checks.
    pub(super) async fn certificate(&self, path: &str, now: UnixTime) -> Option<VerifiedVek> {
        let file = self.read(self.certificate_name(path)).await?.file()?;
        let (_, der) = decode(&file)?;
        let vek = VerifiedVek::verify(der, None, &self.anchors).ok()?;
        (vek.certificate().not_after() >= now).then_some(vek)
    }

    /// Stores the certificate with a KDS path. Failures are ignored: what is not stored is fetched again.
    pub(super) async fn store_certificate(&self, path: &str, vek: &VerifiedVek, now: UnixTime) {
        let content = encode(now, [vek.certificate().as_der()]);
        self.update(self.certificate_name(path), self.timeout, |_| (content, ())).await;
    }

    /// Returns the stored CRLs of a product and kind of key, however old.
    pub(super) async fn crls(&self, product: Product, kind: SigningKey) -> Stored {
        match self.read(self.crl_name(product, kind)).await {
            Some(InPlace::Nothing) => Stored::Nothing,
            Some(InPlace::File(file)) => read_crls(&file, product, kind, &self.anchors)
                .map_or(Stored::Unreadable, |crls| Stored::Crls(Box::new(crls))),
            Some(InPlace::Foreign) | None => Stored::Unreadable,
        }
    }

    /// Stores CRLs, the first of which was just fetched, merged with the stored ones whose entries still count. Returns all of them;
    /// `None` if they could not be stored.
    ///
    /// A file that does not verify is replaced, and one that cannot be read is not: it may hold a later CRL. `at_least` is the time for it
    /// where that is more than the limit of each file.
    pub(super) async fn store_crls(
        &self,
        product: Product,
        kind: SigningKey,
        known: &KnownCrls,
        fetched: &VerifiedCrl,
        at_least: Duration,
    ) -> Option<KnownCrls> {
        let (anchors, known, fetched) = (self.anchors.clone(), known.clone(), fetched.clone());
        let content = move |there: InPlace| {
            let stored = there.file().and_then(|file| read_crls(&file, product, kind, &anchors));
            let at = known.fetched();
            let merged = known.merged(stored).fetched_at(at);
            // An outdated CRL from the network is no evidence that there is no later one. The time 0 makes other processes that
            // share the directory request it again.
            let is_latest = fetched.cmp_issued(&merged.latest().crl).is_ge();
            let at = if is_latest { at } else { UnixTime::from_secs(0) };
            (encode(at, merged.documents().map(|document| &*document.der)), merged)
        };
        self.update(self.crl_name(product, kind), self.timeout.max(at_least), content).await
    }

    /// Returns one of 4,096 file names, so that peers that claim ever new chips cannot fill the disk. The certificate itself
    /// says which chip it is of; the name does not reveal which machines this one connects to.
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

    /// Reads what is in place of a file; `None` if that fails or takes too long.
    async fn read(&self, name: String) -> Option<InPlace> {
        let dir = Arc::clone(&self.dir);
        with_timeout(&IO_PERMITS, self.timeout, move || dir.read(&name, MAX_FILE)).await?.ok()
    }

    /// Replaces a file; `None` if that fails or takes too long.
    async fn update<T: Send + 'static>(
        &self,
        name: String,
        timeout: Duration,
        content: impl FnOnce(InPlace) -> (Vec<u8>, T) + Send + 'static,
    ) -> Option<T> {
        let dir = Arc::clone(&self.dir);
        with_timeout(&IO_PERMITS, timeout, move || dir.update(&name, MAX_FILE, content)).await?.ok()
    }
}

fn encode<'d>(fetched: UnixTime, documents: impl IntoIterator<Item = &'d [u8]>) -> Vec<u8> {
    let mut file = [&MAGIC[..], &fetched.as_secs().to_be_bytes()].concat();
    documents.into_iter().for_each(|der| file.extend_from_slice(der));
    file
}

fn decode(file: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (header, der) = file.split_at_checked(HEADER_LEN)?;
    let fetched = header.strip_prefix(MAGIC)?;
    Some((UnixTime::from_secs(u64::from_be_bytes(fetched.try_into().ok()?)), der))
}

/// Reads all CRLs of a file; `None` unless each of them is genuine and for this kind of key.
fn read_crls(file: &[u8], product: Product, kind: SigningKey, anchors: &AmdAnchors) -> Option<KnownCrls> {
    let (fetched, ders) = decode(file)?;
    let mut reader = der::DerReader::new(ders);
    let mut documents = Vec::new();
    while reader.is_next(der::SEQUENCE) {
        let der = reader.expect(der::SEQUENCE)?.whole;
        let crl = VerifiedCrl::verify_for(der, product, kind, anchors).ok()?;
        documents.push(Document { der: der.into(), crl });
    }
    reader.finish()?;
    KnownCrls::from_documents(documents, fetched)
}

/// Runs a file operation on a blocking thread. One that hangs is abandoned after the timeout, and keeps its permit until it
/// ends, so that hanging operations cannot use up the threads.
async fn with_timeout<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let permits = Arc::clone(permits);
    let work = async {
        let permit = permits.acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    };
    tokio::time::timeout(timeout, work).await.ok()?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn hanging_files_block_no_more_threads_than_there_are_permits() {
        let permits = Arc::new(Semaphore::new(2));
        let started = Arc::new(AtomicUsize::new(0));
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let hangs = || {
            let (started, hung) = (Arc::clone(&started), Arc::clone(&hung));
            with_timeout(&permits, Duration::from_millis(10), move || {
                started.fetch_add(1, Ordering::SeqCst);
                hung.lock().unwrap().recv().is_err()
            })
        };
        assert_eq!(tokio::join!(hangs(), hangs()), (None, None));
        // Threads may start them later than they were abandoned.
        while started.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tokio::join!(hangs(), hangs()), (None, None));
        drop(release);
        // Operations that end after all return their permits; those that waited without one were never started.
        while permits.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(with_timeout(&permits, Duration::MAX, || 1).await, Some(1));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }
}
