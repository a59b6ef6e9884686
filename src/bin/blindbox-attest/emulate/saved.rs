//! The files that a client of the emulator needs: the policy, the roots, the CCE policy and the key set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use blindbox_attestation::Policy;
use serde_json::Value;

use super::Emulation;
use crate::exit::Failure;
use crate::files;

/// The directory of the files. One that `--out` did not name is temporary: it is removed when this is dropped.
pub struct Saved {
    directory: PathBuf,
    temporary: bool,
}

impl Saved {
    pub fn write(out: Option<&Path>, emulation: &Emulation, policy: &Policy) -> Result<Self, Failure> {
        let saved = match out {
            Some(directory) => {
                fs::create_dir_all(directory).map_err(|error| files::about(directory, error))?;
                Self { directory: directory.to_owned(), temporary: false }
            }
            None => Self::temporary()?,
        };
        saved.write_files(emulation, policy).map_err(|error| files::about(&saved.directory, error))?;
        Ok(saved)
    }

    fn temporary() -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("blindbox-attest-{}-{}", std::process::id(), now.as_nanos());
        let directory = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Fails if it is there already: in a directory for everyone, another user may have made it.
        builder.create(&directory).map_err(|error| files::about(&directory, error))?;
        Ok(Self { directory, temporary: true })
    }

    fn write_files(&self, emulation: &Emulation, policy: &Policy) -> io::Result<()> {
        let write = |name: &str, text: String| fs::write(self.directory.join(name), text);
        write("policy.toml", policy.to_toml())?;
        write("application-root.pem", emulation.blindbox.tls_root_pem())?;
        write("collateral-root.pem", emulation.collateral_roots())?;
        write("cce-policy.base64", emulation.blindbox.cce_policy())?;
        write("key-set.json", emulation.maa.key_set())?;
        emulation.blindbox.ak_root_pem().map_or(Ok(()), |root| write("ak-root.pem", root))?;
        emulation.platform.as_ref().map_or(Ok(()), |platform| write("amd-roots.pem", platform.roots_pem()))
    }

    /// The options of a client that trusts the emulation, each with its value.
    pub fn options(&self, emulation: &Emulation) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let mut options = vec![
            ("policy", file("policy.toml")),
            ("application-root", file("application-root.pem")),
            ("collateral-root", file("collateral-root.pem")),
        ];
        if let Some(kds) = &emulation.kds {
            options.push(("amd-roots", file("amd-roots.pem")));
            options.push(("kds", kds.url().to_owned()));
        }
        if emulation.blindbox.ak_root_pem().is_some() {
            options.push(("ak-root", file("ak-root.pem")));
        }
        options
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The file that says that the emulation serves: what is printed otherwise, in one piece. Removed when this is dropped.
pub struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes the file of an earlier emulation, which another program would take for this one's.
    pub fn prepare(path: &Path) -> Result<Self, Failure> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files::about(path, error)),
            _ => Ok(Self(path.to_owned())),
        }
    }

    pub fn write(&self, description: &Value) -> Result<(), Failure> {
        let mut unfinished = self.0.clone().into_os_string();
        unfinished.push(format!(".{}", std::process::id()));
        // A reader never sees a part of it.
        let written =
            fs::write(&unfinished, format!("{description}\n")).and_then(|()| fs::rename(&unfinished, &self.0));
        written.map_err(|error| files::about(&self.0, error))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
