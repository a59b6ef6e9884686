//! A folder that belongs to this user alone.

#[cfg(any(not(unix), test))]
mod by_path;
#[cfg(unix)]
mod private;

#[cfg(not(unix))]
pub(super) use by_path::Folder;
#[cfg(unix)]
pub(super) use private::Folder;

use std::fs::File;
use std::io::{self, Read as _};

/// The content of a regular file that is not larger than that.
fn read_at_most(file: File, limit: usize) -> Option<Vec<u8>> {
    let limit = u64::try_from(limit).ok()?;
    if !file.metadata().ok().filter(std::fs::Metadata::is_file)?.len().le(&limit) {
        return None;
    }
    let mut content = Vec::new();
    // It may grow meanwhile.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut content).ok()?;
    u64::try_from(read).is_ok_and(|read| read <= limit).then_some(content)
}

fn in_words(error: &io::Error) -> String {
    error.kind().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds on every platform.
    macro_rules! both {
        ($name:ident, $folder:ty) => {
            #[test]
            fn $name() {
                let place = tempfile::tempdir().unwrap();
                let path = place.path().join("a").join("b");
                let folder = <$folder>::open(&path).unwrap();
                assert_eq!(folder.read("x", 8), None);
                let put = |name, content: &'static [u8], limit, expected: Option<&'static [u8]>| {
                    folder.update(name, limit, move |there| {
                        assert_eq!(there.as_deref(), expected);
                        content.to_vec()
                    })
                };
                put("x", b"one", 8, None).unwrap();
                put("x", b"three", 8, Some(b"one")).unwrap();
                assert_eq!(folder.read("x", 5).unwrap(), b"three");
                assert_eq!(folder.read("x", 4), None);
                // One that is too large is as good as none.
                put("x", b"four", 4, None).unwrap();
                assert_eq!(folder.read("x", 4).unwrap(), b"four");
                std::fs::create_dir(path.join("y")).unwrap();
                assert_eq!(folder.read("y", 8), None);
                assert!(put("y", b"five", 8, None).is_err());
                assert!(!path.join("x.new").exists() && !path.join("y.new").exists());
            }
        };
    }

    /// Writers that each keep what is more than theirs, and readers at the same time.
    macro_rules! together {
        ($name:ident, $folder:ty) => {
            #[test]
            fn $name() {
                const SIZE: usize = 50_000;
                let place = tempfile::tempdir().unwrap();
                let folder = <$folder>::open(&place.path().join("cache")).unwrap();
                std::thread::scope(|scope| {
                    for number in 1..=8_u8 {
                        let folder = &folder;
                        scope.spawn(move || {
                            let larger = |there: Option<Vec<u8>>| {
                                there.filter(|there| there[0] > number).unwrap_or_else(|| vec![number; SIZE])
                            };
                            folder.update("x", SIZE, larger).unwrap();
                        });
                        scope.spawn(move || {
                            for _ in 0..50 {
                                if let Some(content) = folder.read("x", SIZE) {
                                    assert_eq!(content, vec![content[0]; SIZE]);
                                }
                            }
                        });
                    }
                });
                assert_eq!(folder.read("x", SIZE).unwrap(), vec![8; SIZE]);
            }
        };
    }

    #[cfg(unix)]
    both!(private, private::Folder);
    both!(by_path, by_path::Folder);
    #[cfg(unix)]
    together!(private_together, private::Folder);
    together!(by_path_together, by_path::Folder);
}
