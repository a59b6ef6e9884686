//! The folder where there are no Unix permissions: by path, as private as its place is.
//!
//! Nothing is checked of who else may use the folder, and a link in place of it is followed. Files are regular, at most so
//! large, and replaced at once.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{in_words, read_at_most};

/// When the file that a writer begins with is taken for what a crash left behind.
const STALE: Duration = Duration::from_secs(60);

/// How often, and how long each time, a writer waits for another.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(in crate::fetch::disk) struct Folder(PathBuf);

impl Folder {
    pub(in crate::fetch::disk) fn open(path: &Path) -> Result<Self, String> {
        fs::create_dir_all(path).map_err(|error| format!("it cannot be made ({})", in_words(&error)))?;
        let path = path.canonicalize().map_err(|error| format!("it cannot be looked at ({})", in_words(&error)))?;
        Ok(Self(path))
    }

    pub(in crate::fetch::disk) fn read(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        let path = self.0.join(name);
        // Before it is opened: a pipe would be waited for.
        fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        read_at_most(fs::File::open(path).ok()?, limit)
    }

    /// Puts a file in place of the one there, which the new content may be made from. Where there is none that is readable it is
    /// made from nothing.
    pub(in crate::fetch::disk) fn update(
        &self,
        name: &str,
        limit: usize,
        content: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>,
    ) -> io::Result<()> {
        // The new file is the lock as well: whoever makes it writes.
        let new = self.0.join(format!("{name}.new"));
        let mut file = create(&new)?;
        let written = file.write_all(&content(self.read(name, limit)));
        drop(file);
        let placed = written.and_then(|()| fs::rename(&new, self.0.join(name)));
        if placed.is_err() {
            let _ = fs::remove_file(&new);
        }
        placed
    }
}

fn create(path: &Path) -> io::Result<fs::File> {
    for _ in 0..TRIES {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return outcome,
        }
        let age = fs::symlink_metadata(path).and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(path);
        }
        std::thread::sleep(WAIT);
    }
    Err(io::ErrorKind::WouldBlock.into())
}
