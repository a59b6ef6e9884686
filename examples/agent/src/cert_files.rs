//! Files that others read and write: the certificate signing request and the certificate for it, on a thread of their own.
//! They may be on a volume of the host's, and what hangs there must not hold up the end of a key.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::KeyConfig;
use crate::log;

/// How often the certificate file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The most bytes of a certificate file: a chain has a few kilobytes.
const MAX_CHAIN: u64 = 64 * 1024;

/// One thread, so that no more than one look or write can ever hang.
pub(crate) struct Files {
    request: watch::Sender<String>,
    certificate: watch::Receiver<Vec<u8>>,
    thread: Option<Thread>,
}

impl Files {
    /// Begins to look, if there is something to look at. Ends when this is dropped.
    pub(crate) fn start(settings: &KeyConfig) -> io::Result<Self> {
        let KeyConfig { csr_file, certificate_file, .. } = settings.clone();
        if csr_file.is_none() {
            return Ok(Self {
                request: watch::Sender::default(),
                certificate: watch::channel(Vec::new()).1,
                thread: None,
            });
        }
        Self::with(move |request| {
            if let (Some(path), Some(request)) = (&csr_file, request)
                && let Err(error) = replace(path, request)
            {
                log(format_args!("the certificate signing request cannot be written: {error}"));
            }
            read(certificate_file.as_deref()?, MAX_CHAIN).ok()
        })
    }

    /// The same with other work: gets a request that is new, gives the certificate file's content if there is one.
    pub(crate) fn with(mut work: impl FnMut(Option<&str>) -> Option<Vec<u8>> + Send + 'static) -> io::Result<Self> {
        let (request, mut requests) = watch::channel(String::new());
        let (found, certificate) = watch::channel(Vec::new());
        let run = move || {
            while let Ok(new) = requests.has_changed() {
                let request = new.then(|| requests.borrow_and_update().clone());
                if let Some(pem) = work(request.as_deref()) {
                    found.send_if_modified(|last| std::mem::replace(last, pem.clone()) != pem);
                }
                std::thread::park_timeout(LOOK);
            }
        };
        let thread = std::thread::Builder::new().name("files".to_owned()).spawn(run)?;
        Ok(Self { request, certificate, thread: Some(thread.thread().clone()) })
    }

    /// Has a request written as soon as may be. One that was not written by then is not needed any more.
    pub(crate) fn ask(&self, request: String) {
        self.request.send_replace(request);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    /// The content of the certificate file when it is another than before.
    pub(crate) async fn certificate(&mut self) -> Vec<u8> {
        match self.certificate.changed().await {
            Ok(()) => self.certificate.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// A regular file of at most so many bytes. A pipe in its place would be waited for without end.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    // Not cut off, since what would be left out was not looked at.
    if u64::try_from(content.len()).is_ok_and(|length| length <= most) {
        return Ok(content);
    }
    Err(io::Error::other("the file is too long"))
}

/// A reader of the file sees the old text or the new one, never half of it. The directory may be one that the host writes to:
/// a link that it put there is replaced, not followed to a file of this container.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_length_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let refused = |name: &str| read(&at(name), 4).unwrap_err().to_string();
        std::fs::write(at("file"), "1234").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert_eq!(
            (read(&at("file"), 4).unwrap(), read(&at("link"), 4).unwrap()),
            (b"1234".to_vec(), b"1234".to_vec())
        );
        std::fs::write(at("long"), "12345").unwrap();
        assert_eq!(refused("long"), "the file is too long");
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert_eq!((refused("pipe"), refused(".")), ("not a regular file".into(), "not a regular file".into()));
        assert_eq!(read(&at("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
