//! The cache directory on platforms without Unix permissions: opened by path, as private as its location.
//!
//! It is not checked who else may use the directory, and a link in its place is followed. Files must be regular and within the
//! size limit, and are replaced atomically.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{InPlace, describe, lock, read_at_most};

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

    /// Reads what is in place of a file.
    ///
    /// # Errors
    ///
    /// Those of the system, with which nothing is known of what is there.
    pub(in crate::fetch::disk_cache) fn read(&self, name: &str, limit: usize) -> io::Result<InPlace> {
        let path = self.0.join(name);
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        // Checked before it is opened: opening a pipe would block.
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => return Ok(InPlace::Foreign),
            Ok(_) => {}
            Err(error) if absent(&error) => return Ok(InPlace::Nothing),
            Err(error) => return Err(error),
        }
        match fs::File::open(path) {
            Ok(file) => read_at_most(file, limit),
            Err(error) if absent(&error) => Ok(InPlace::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file atomically. `content` makes the new content from what is there, and a value to return. A file that is there but
    /// cannot be read is not replaced.
    pub(in crate::fetch::disk_cache) fn update<T>(
        &self,
        name: &str,
        limit: usize,
        content: impl FnOnce(InPlace) -> (Vec<u8>, T),
    ) -> io::Result<T> {
        // The temporary file is also the lock: only the process that creates it writes.
        let new = self.0.join(format!("{name}.new"));
        let mut file = create(&new)?;
        let written = self.read(name, limit).and_then(|there| {
            let (content, result) = content(there);
            file.write_all(&content).map(|()| result)
        });
        drop(file);
        let placed = written.and_then(|result| fs::rename(&new, self.0.join(name)).map(|()| result));
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
