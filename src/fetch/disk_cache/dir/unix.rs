//! The cache directory on Unix: opened once, held open, and all files in it opened through that handle.
//!
//! | attack or fault | countermeasure |
//! |---|---|
//! | other users who plant or read files | the directory must belong to this user, with no rights for others |
//! | the directory, or one above it, being replaced later | the handle stays with the directory that was checked |
//! | links in place of the directory or of a file | `O_NOFOLLOW` |
//! | a pipe or device that never ends | `O_NONBLOCK`, then only regular files within the size limit |
//! | partly written files, a crash while writing | a new file is written next to the old one and renamed |
//! | two processes that write at the same time | a lock on a file |
//!
//! Processes of this user or of the administrator can do anything here; what they plant must still verify.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{InPlace, describe, lock, read_at_most};

/// The permission bits of everyone but the owner.
const OTHERS: u32 = 0o077;

#[derive(Debug)]
pub(in crate::fetch::disk_cache) struct CacheDir(File);

impl CacheDir {
    pub(in crate::fetch::disk_cache) fn open(path: &Path) -> Result<Self, String> {
        // Drops a slash at the end, which would make the system follow a link.
        let path: PathBuf = path.components().collect();
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => File::from(dir),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                return Err("expected a directory, found a link or a file".to_owned());
            }
            Err(opening) => {
                let error = created.err().unwrap_or_else(|| opening.into());
                return Err(format!("it cannot be created or opened ({})", describe(&error)));
            }
        };
        let found = dir.metadata().map_err(|error| format!("its metadata cannot be read ({})", describe(&error)))?;
        let user = geteuid().as_raw();
        if found.uid() != user {
            return Err(format!("expected a directory of user {user}, found one of user {}", found.uid()));
        }
        if found.mode() & OTHERS != 0 {
            let mode = found.mode() & 0o777;
            return Err(format!("expected permissions for its owner alone (0700), found {mode:04o}"));
        }
        Ok(Self(dir))
    }

    /// Reads what is in place of a file.
    ///
    /// # Errors
    ///
    /// Those of the system, with which nothing is known of what is there.
    pub(in crate::fetch::disk_cache) fn read(&self, name: &str, limit: usize) -> io::Result<InPlace> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => read_at_most(File::from(file), limit),
            Err(Errno::NOENT) => Ok(InPlace::Nothing),
            Err(Errno::LOOP | Errno::MLINK) => Ok(InPlace::Foreign),
            Err(error) => Err(error.into()),
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
        let _lock = self.lock()?;
        let (content, result) = content(self.read(name, limit)?);
        let new = format!("{name}.new");
        // A writer that crashed may have left its temporary file behind.
        let _ = unlinkat(&self.0, &new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = self.open_file(&new, flags).and_then(|mut file| file.write_all(&content));
        let placed = written.and_then(|()| Ok(renameat(&self.0, &new, &self.0, name)?));
        if placed.is_err() {
            let _ = unlinkat(&self.0, &new, AtFlags::empty());
        }
        placed.map(|()| result)
    }

    /// Locks the directory against other writers until the returned file is dropped.
    fn lock(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = self.open_file("lock", flags)?;
        lock(|| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(())),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        Ok(file)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        Ok(File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }
}
