//! The directory of saved evidence: what its author decides, because a path leads through it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::exit::Failure;
use crate::files::{self, Content};

/// The most links that a path is followed through, as on Linux.
const MAX_LINKS: usize = 40;

/// A directory of saved evidence.
#[derive(Clone, Copy)]
pub struct EvidenceDirectory<'a>(pub &'a Path);

/// A file that an option names.
pub struct Given<'a> {
    pub content: Content<'a>,
    /// Whether the author of the directory decides what it is.
    pub is_of_author: bool,
}

impl EvidenceDirectory<'_> {
    /// Reads a file of the directory. One that is not there is not given; the verification reports what is missing.
    pub fn read(self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.0.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => files::read_regular(&path).map(Some),
        }
    }

    /// Reads a file that an option names. It may be a pipe unless the author of the directory made it.
    pub fn given<'a>(self, path: &'a Path) -> Result<Given<'a>, Failure> {
        let is_of_author = self.decides(path);
        let bytes = if is_of_author { files::read_regular(path)? } else { files::read(path)? };
        Ok(Given { content: Content { path, bytes }, is_of_author })
    }

    /// Whether the author of the directory decides what a path names: because the file lies in it, at any depth and by whichever path,
    /// or because the path leads through it. Links in the directory are the author's, whatever file they lead to.
    fn decides(self, path: &Path) -> bool {
        // Standard input (`-`) is no file.
        if path.as_os_str() == "-" {
            return false;
        }
        let Ok(directory) = self.0.canonicalize() else { return false };
        let lies_in = |path: &Path| path.canonicalize().is_ok_and(|path| path.starts_with(&directory));
        lies_in(path) || looked_up_in(path).is_ok_and(|parents| parents.iter().any(|parent| lies_in(parent)))
    }
}

/// The directories in which the names of a path are looked up, those of its links too.
fn looked_up_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut rest = components(path);
    let mut current = std::env::current_dir()?.canonicalize()?;
    let (mut parents, mut links) = (Vec::new(), 0_usize);
    while let Some(name) = rest.pop_front() {
        let next = match Path::new(&name).components().next() {
            // A root replaces what is before it.
            Some(Component::Normal(_) | Component::RootDir | Component::Prefix(_)) => current.join(&name),
            Some(Component::ParentDir) => {
                current.pop();
                continue;
            }
            Some(Component::CurDir) | None => continue,
        };
        parents.push(current.clone());
        match next.read_link() {
            Ok(target) => {
                links = links.saturating_add(1);
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many links"));
                }
                let mut target = components(&target);
                target.append(&mut rest);
                rest = target;
            }
            Err(_) => current = next,
        }
    }
    Ok(parents)
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components().map(|component| component.as_os_str().to_owned()).collect()
}
