//! [`Stage`]: what is there besides an emulator.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::emulator::application;
use crate::scenario::Failure;

/// An application with responses that the emulator's own has not; a canary, which notices connections; a directory for files.
pub(crate) struct Stage {
    pub(crate) directory: PathBuf,
    pub(crate) policies: PathBuf,
    /// Recorded evidence, if it is there.
    pub(crate) vectors: Option<PathBuf>,
    application: String,
    canary: String,
    touched: Arc<AtomicUsize>,
    /// The port of the client that connected last.
    last: Arc<AtomicU16>,
}

impl Stage {
    pub(crate) fn new(name: &str, policies: PathBuf, vectors: Option<PathBuf>) -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("blindbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let canary = TcpListener::bind("127.0.0.1:0")?;
        let address = canary.local_addr()?;
        let touched = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&touched);
        let last = Arc::new(AtomicU16::new(0));
        let port = Arc::clone(&last);
        std::thread::spawn(move || {
            for stream in canary.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                port.store(stream.peer_addr().map_or(0, |address| address.port()), Ordering::SeqCst);
            }
        });
        let (application, canary) = (application()?, format!("https://{address}"));
        Ok(Self { directory, policies, vectors, application, canary, touched, last })
    }

    /// A directory of this name.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, Failure> {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Writes a file that a command names, and returns its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.directory.join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// Puts the addresses of this run in their places.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("{canary}", &self.canary).replace("{application}", &self.application)
    }

    /// How many connections came to the canary, once all runners have ended. One of this function's own is the last, so that every
    /// earlier one is counted before it.
    pub(crate) fn connections_of_canary(&self) -> Result<usize, Failure> {
        let last = TcpStream::connect(self.canary.trim_start_matches("https://"))?;
        // It is accepted after those that wait, and each that is accepted is counted: the count is final once nothing waits.
        let until = Instant::now().checked_add(Duration::from_secs(60)).ok_or("no time")?;
        while self.last.load(Ordering::SeqCst) != last.local_addr()?.port() {
            if Instant::now() > until {
                return Err("the canary does not accept connections".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self.touched.load(Ordering::SeqCst).saturating_sub(1))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}
