//! The folder on Unix: opened once, held open, and all files in it opened through that handle.
//!
//! | against | by |
//! |---|---|
//! | other users who plant or read files | the folder is this user's with no rights for others, or it is refused |
//! | the folder, or a folder above, being replaced later | the handle stays with the folder that was checked |
//! | links in place of the folder or of a file | `O_NOFOLLOW` |
//! | a pipe or device that never ends | `O_NONBLOCK`, then only regular files, at most so large |
//! | readers who find half a file, a crash while writing | a new file is written beside the old one and takes its name |
//! | two processes that write at the same time | one of them at a time, by a lock on a file |
//!
//! Whoever acts as this user, or as the administrator, can do what he likes here; what he plants must still verify.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{in_words, read_at_most};

/// How often, and how long each time, a writer waits for another.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(10);

/// The permissions that anybody but the owner has.
const OTHERS: u32 = 0o077;

#[derive(Debug)]
pub(in crate::fetch::disk) struct Folder(File);

impl Folder {
    pub(in crate::fetch::disk) fn open(path: &Path) -> Result<Self, String> {
        // Without a slash at the end, which would have a link followed.
        let path: PathBuf = path.components().collect();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                return Err("expected a folder, found a link or a file".to_owned());
            }
            Err(opening) => {
                let error = made.err().unwrap_or_else(|| opening.into());
                return Err(format!("it cannot be made or opened ({})", in_words(&error)));
            }
        };
        let found = folder.metadata().map_err(|error| format!("it cannot be looked at ({})", in_words(&error)))?;
        let user = geteuid().as_raw();
        if found.uid() != user {
            return Err(format!("expected a folder of user {user}, found one of user {}", found.uid()));
        }
        if found.mode() & OTHERS != 0 {
            let mode = found.mode() & 0o777;
            return Err(format!("expected permissions for its owner alone (0700), found {mode:04o}"));
        }
        Ok(Self(folder))
    }

    pub(in crate::fetch::disk) fn read(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        read_at_most(self.open_file(name, flags).ok()?, limit)
    }

    /// Puts a file in place of the one there, which the new content may be made from. Where there is none that is readable it is
    /// made from nothing.
    pub(in crate::fetch::disk) fn update(
        &self,
        name: &str,
        limit: usize,
        content: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>,
    ) -> io::Result<()> {
        let _lock = self.lock()?;
        let content = content(self.read(name, limit));
        let new = format!("{name}.new");
        // What a writer that crashed left behind.
        let _ = unlinkat(&self.0, &new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = self.open_file(&new, flags).and_then(|mut file| file.write_all(&content));
        let placed = written.and_then(|()| Ok(renameat(&self.0, &new, &self.0, name)?));
        if placed.is_err() {
            let _ = unlinkat(&self.0, &new, AtFlags::empty());
        }
        placed
    }

    /// Held until it is dropped.
    fn lock(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = self.open_file("lock", flags)?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(WAIT),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        Ok(File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }
}
