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

/// Reads a regular file of at most `limit` bytes.
fn read_at_most(file: File, limit: usize) -> Option<Vec<u8>> {
    let limit = u64::try_from(limit).ok()?;
    if !file.metadata().ok().filter(std::fs::Metadata::is_file)?.len().le(&limit) {
        return None;
    }
    let mut content = Vec::new();
    // The file may grow after its size was read.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut content).ok()?;
    u64::try_from(read).is_ok_and(|read| read <= limit).then_some(content)
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
                assert_eq!(dir.read("x", 8), None);
                let put = |name, content: &'static [u8], limit, expected: Option<&'static [u8]>| {
                    dir.update(name, limit, move |there| {
                        assert_eq!(there.as_deref(), expected);
                        content.to_vec()
                    })
                };
                put("x", b"one", 8, None).unwrap();
                put("x", b"three", 8, Some(b"one")).unwrap();
                assert_eq!(dir.read("x", 5).unwrap(), b"three");
                assert_eq!(dir.read("x", 4), None);
                // A file that is too large counts as none.
                put("x", b"four", 4, None).unwrap();
                assert_eq!(dir.read("x", 4).unwrap(), b"four");
                std::fs::create_dir(path.join("y")).unwrap();
                assert_eq!(dir.read("y", 8), None);
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
                            let larger = |there: Option<Vec<u8>>| {
                                there.filter(|there| there[0] > number).unwrap_or_else(|| vec![number; SIZE])
                            };
                            dir.update("x", SIZE, larger).unwrap();
                        });
                        scope.spawn(move || {
                            for _ in 0..50 {
                                if let Some(content) = dir.read("x", SIZE) {
                                    assert_eq!(content, vec![content[0]; SIZE]);
                                }
                            }
                        });
                    }
                });
                assert_eq!(dir.read("x", SIZE).unwrap(), vec![8; SIZE]);
            }
        };
    }

    #[cfg(unix)]
    on_each!(unix, unix::CacheDir);
    on_each!(portable, portable::CacheDir);
    #[cfg(unix)]
    concurrently!(unix_concurrently, unix::CacheDir);
    concurrently!(portable_concurrently, portable::CacheDir);
}
