//! The cache directory on platforms without Unix permissions: opened by path, as private as its location.
//!
//! It is not checked who else may use the directory, and a link in its place is followed. Files must be regular and within the
//! size limit, and are replaced atomically.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{describe, lock, read_at_most};

/// The age at which a writer's temporary file counts as left behind by a crash.
const STALE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(in crate::fetch::disk_cache) struct CacheDir(PathBuf);

impl CacheDir {
    pub(in crate::fetch::disk_cache) fn open(path: &Path) -> Result<Self, String> {
        fs::create_dir_all(path).map_err(|error| format!("it cannot be created ({})", describe(&error)))?;
        let path =
            path.canonicalize().map_err(|error| format!("its metadata cannot be read ({})", describe(&error)))?;
        Ok(Self(path))
    }

    pub(in crate::fetch::disk_cache) fn read(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        let path = self.0.join(name);
        // Checked before it is opened: opening a pipe would block.
        fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        read_at_most(fs::File::open(path).ok()?, limit)
    }

    /// Replaces a file atomically. `content` makes the new content from the present one; `None` if no file can be read.
    pub(in crate::fetch::disk_cache) fn update(
        &self,
        name: &str,
        limit: usize,
        content: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>,
    ) -> io::Result<()> {
        // The temporary file is also the lock: only the process that creates it writes.
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
    lock(|| {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return outcome.map(Some),
        }
        let age = fs::symlink_metadata(path).and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(path);
        }
        Ok(None)
    })
}
