//! Reads the files that commands are given, and reports errors with their names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use blindbox_attestation::Policy;
use blindbox_attestation::azure_vm::AkAnchors;
use blindbox_attestation::files::{read_certificate, read_certificates, read_key_set, read_text as read_text_of};
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::{AmdAnchors, certificates_from_pem};

use crate::exit::Failure;

/// The largest file that is read, in bytes: stops a mistake such as a device or an image. Templates with CCE policies are the
/// largest; what reads each kind of evidence has a smaller limit of its own.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a file, or standard input for `-`. It may be a pipe: a shell gives one for `<(command)`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match path.to_str() {
        Some("-") => read_at_most(path, io::stdin().lock()),
        _ => read_at_most(path, File::open(path).map_err(|error| about(path, error))?),
    }
}

/// Reads a regular file. In a directory that someone else wrote, a pipe would be waited for without end.
pub fn read_regular(path: &Path) -> Result<Vec<u8>, Failure> {
    let opened = open_at_once(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| about(path, error))?;
    if !metadata.is_file() {
        return Err(about(path, "is no regular file"));
    }
    read_at_most(path, file)
}

fn read_at_most(path: &Path, source: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| about(path, error))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(about(path, format!("is larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Opens a file without waiting for the other end of a pipe.
#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Opens a file. Pipes are not in directories here.
#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub fn read_text(path: &Path) -> Result<String, Failure> {
    read_text_of(&read(path)?).map_err(|error| about(path, error))
}

/// The bytes of a file, with its path for messages.
pub struct Content<'a> {
    pub path: &'a Path,
    pub bytes: Vec<u8>,
}

impl<'a> Content<'a> {
    /// As [`read`].
    pub fn of(path: &'a Path) -> Result<Self, Failure> {
        Ok(Self { path, bytes: read(path)? })
    }

    /// A policy, in JSON if it begins with a brace, else in TOML.
    pub fn policy(&self) -> Result<Policy, Failure> {
        let text = read_text_of(&self.bytes).map_err(|error| about(self.path, error))?;
        text.parse::<Policy>().map_err(|error| Failure::in_file(self.path, error))
    }

    pub fn key_set(&self) -> Result<KeySet, Failure> {
        let json = read_key_set(&self.bytes).map_err(|error| about(self.path, error))?;
        KeySet::from_json(&json).map_err(|error| Failure::in_file(self.path, error))
    }

    /// Roots that replace AMD's: see [`AmdAnchors::from_pem`].
    pub fn amd_roots(&self) -> Result<AmdAnchors, Failure> {
        let pem = read_certificates(&self.bytes).map_err(|error| about(self.path, error))?;
        AmdAnchors::from_pem(&pem).map_err(|error| about(self.path, error))
    }

    /// A root that replaces Azure's root of virtual TPMs: see [`AkAnchors::custom`].
    pub fn ak_root(&self) -> Result<AkAnchors, Failure> {
        let root = read_certificate(&self.bytes).map_err(|error| about(self.path, error))?;
        AkAnchors::custom(&root).map_err(|error| about(self.path, error))
    }
}

/// As [`Content::policy`].
pub fn policy(path: &Path) -> Result<Policy, Failure> {
    Content::of(path)?.policy()
}

/// Several files of roots as one bundle.
pub fn roots(paths: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut bundle = Vec::new();
    for path in paths {
        let bytes = read_certificates(&read(path)?).map_err(|error| about(path, error))?;
        if paths.len() > 1 && certificates_from_pem(&bytes).is_err() {
            return Err(about(path, "is not PEM: several files of roots are read as PEM only"));
        }
        bundle.extend_from_slice(&bytes);
        bundle.push(b'\n');
    }
    // One certificate in DER ends where it ends.
    if bundle.first() == Some(&0x30) {
        bundle.pop();
    }
    Ok(bundle)
}

/// What is wrong with a file.
pub fn about(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::setting(format!("{}: {error}", path.display()))
}
