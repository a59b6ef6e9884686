//! The directory of the disk cache, which belongs to this user alone: one implementation for Unix, one for other platforms.

#[cfg(any(not(unix), test))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use portable::CacheDir;
#[cfg(unix)]
pub(super) use unix::CacheDir;

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

/// How often a writer retries, and how long it waits each time, while another one writes. Tests have no other place to fetch from.
const LOCK_ATTEMPTS: u32 = if cfg!(test) { 6_000 } else { 50 };
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(10);

/// What is in place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InPlace {
    Nothing,
    File(Vec<u8>),
    /// What this cache never writes: a directory, a link, a pipe or a device, or a file that is too large.
    Foreign,
}

impl InPlace {
    pub(super) fn file(self) -> Option<Vec<u8>> {
        match self {
            Self::File(content) => Some(content),
            Self::Nothing | Self::Foreign => None,
        }
    }
}

/// Reads a regular file of at most `limit` bytes.
fn read_at_most(file: File, limit: usize) -> io::Result<InPlace> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let found = file.metadata()?;
    if !found.is_file() || found.len() > limit {
        return Ok(InPlace::Foreign);
    }
    let mut content = Vec::new();
    // The file may grow after its size was read.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    let fits = u64::try_from(read).is_ok_and(|read| read <= limit);
    Ok(if fits { InPlace::File(content) } else { InPlace::Foreign })
}

/// Waits for another writer: `attempt` returns `None` while it writes.
fn lock<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..LOCK_ATTEMPTS {
        if let Some(locked) = attempt()? {
            return Ok(locked);
        }
        std::thread::sleep(LOCK_RETRY_DELAY);
    }
    Err(io::ErrorKind::WouldBlock.into())
}

fn describe(error: &io::Error) -> String {
    error.kind().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests what holds on every platform.
    macro_rules! on_each {
        ($name:ident, $dir:ty) => {
            #[test]
            fn $name() {
                let parent = tempfile::tempdir().unwrap();
                let path = parent.path().join("a").join("b");
                let dir = <$dir>::open(&path).unwrap();
                assert_eq!(dir.read("x", 8).unwrap(), InPlace::Nothing);
                let put = |name, content: &'static [u8], limit, expected: Option<&'static [u8]>| {
                    dir.update(name, limit, move |there| {
                        assert_eq!(there.file().as_deref(), expected);
                        (content.to_vec(), ())
                    })
                };
                put("x", b"one", 8, None).unwrap();
                put("x", b"three", 8, Some(b"one")).unwrap();
                assert_eq!(dir.read("x", 5).unwrap(), InPlace::File(b"three".to_vec()));
                assert_eq!(dir.read("x", 4).unwrap(), InPlace::Foreign);
                // A file that is too large counts as none.
                put("x", b"four", 4, None).unwrap();
                assert_eq!(dir.read("x", 4).unwrap(), InPlace::File(b"four".to_vec()));
                std::fs::create_dir(path.join("y")).unwrap();
                assert_eq!(dir.read("y", 8).unwrap(), InPlace::Foreign);
                assert!(put("y", b"five", 8, None).is_err());
                assert!(!path.join("x.new").exists() && !path.join("y.new").exists());
            }
        };
    }

    /// Tests concurrent writers, which keep the larger content, with concurrent readers.
    macro_rules! concurrently {
        ($name:ident, $dir:ty) => {
            #[test]
            fn $name() {
                const SIZE: usize = 50_000;
                let parent = tempfile::tempdir().unwrap();
                let dir = <$dir>::open(&parent.path().join("cache")).unwrap();
                std::thread::scope(|scope| {
                    for number in 1..=8_u8 {
                        let dir = &dir;
                        scope.spawn(move || {
                            let larger = |there: InPlace| {
                                let there = there.file().filter(|there| there[0] > number);
                                (there.unwrap_or_else(|| vec![number; SIZE]), ())
                            };
                            dir.update("x", SIZE, larger).unwrap();
                        });
                        scope.spawn(move || {
                            for _ in 0..50 {
                                if let InPlace::File(content) = dir.read("x", SIZE).unwrap() {
                                    assert_eq!(content, vec![content[0]; SIZE]);
                                }
                            }
                        });
                    }
                });
                assert_eq!(dir.read("x", SIZE).unwrap(), InPlace::File(vec![8; SIZE]));
            }
        };
    }

    /// Not as a file that is not there: what it holds may count.
    #[cfg(unix)]
    #[test]
    fn what_cannot_be_opened_is_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let dir = unix::CacheDir::open(&parent.path().join("cache")).unwrap();
        let path = parent.path().join("cache").join("x");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(dir.read("x", 8).is_err());
        let replace = |there: InPlace| -> (Vec<u8>, ()) { panic!("asked for new content in place of {there:?}") };
        assert!(dir.update("x", 8, replace).is_err());
        assert!(std::fs::symlink_metadata(&path).is_ok());
    }

    #[cfg(unix)]
    on_each!(unix, unix::CacheDir);
    on_each!(portable, portable::CacheDir);
    #[cfg(unix)]
    concurrently!(unix_concurrently, unix::CacheDir);
    concurrently!(portable_concurrently, portable::CacheDir);
}
