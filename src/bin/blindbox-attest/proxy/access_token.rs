//! The access token: given in a file or a variable, or made for this run.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blindbox_attestation::Challenge;

use crate::exit::Failure;
use crate::files::about;

/// The variable with an access token. There is no option for it: other users can read command lines.
const VARIABLE: &str = "BLINDBOX_ACCESS_TOKEN";

/// The fewest and the most characters of a given token.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// Where the token comes from, as on the command line.
#[derive(clap::Args)]
pub struct Options {
    /// Serve anyone who can reach the port. Otherwise each request needs an access token, in the header X-Blindbox-Token or as
    /// `Authorization: Bearer`: the one in --access-token-file, in the variable BLINDBOX_ACCESS_TOKEN, or one that is made for this
    /// run and printed at the start.
    #[arg(long, help_heading = "Local port")]
    no_access_token: bool,

    /// The file with the access token, of 32 to 512 characters on one line. If there is no such file it is made, with a new token
    /// and mode 0600. A file that other users can read or write is refused.
    #[arg(long, value_name = "FILE", conflicts_with = "no_access_token", help_heading = "Local port")]
    access_token_file: Option<PathBuf>,
}

/// What a client has to show.
pub enum AccessToken {
    /// Nothing.
    None,
    /// This, which is known elsewhere and is not printed.
    Given(String),
    /// This, which is printed.
    New(String),
}

impl Options {
    pub fn token(&self) -> Result<AccessToken, Failure> {
        let variable = std::env::var_os(VARIABLE);
        if variable.is_some() && (self.no_access_token || self.access_token_file.is_some()) {
            let option = if self.no_access_token { "--no-access-token" } else { "--access-token-file" };
            return Err(Failure::usage(format!("{VARIABLE} is set, and {option} is given: leave one of them out")));
        }
        match (&self.access_token_file, variable) {
            (Some(path), _) => from_file(path).map(AccessToken::Given),
            (None, Some(token)) => {
                let token = token.into_string().map_err(|_| "expected text".to_owned()).and_then(checked);
                token.map(AccessToken::Given).map_err(|reason| Failure::usage(format!("{VARIABLE}: {reason}")))
            }
            (None, None) if self.no_access_token => Ok(AccessToken::None),
            (None, None) => random().map(AccessToken::New),
        }
    }
}

impl AccessToken {
    pub fn required(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Given(token) | Self::New(token) => Some(token),
        }
    }

    pub fn printed(&self) -> Option<&str> {
        match self {
            Self::New(token) => Some(token),
            Self::None | Self::Given(_) => None,
        }
    }
}

fn from_file(path: &Path) -> Result<String, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path),
        Err(error) => return Err(about(path, error)),
    };
    // Of the file that is open, not of another one that is there by then.
    check_private(&file).map_err(|reason| about(path, reason))?;
    let mut text = String::new();
    let limit = u64::try_from(LENGTH.end().saturating_add(3)).unwrap_or(u64::MAX);
    file.take(limit).read_to_string(&mut text).map_err(|error| about(path, error))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    checked(line.to_owned()).map_err(|reason| about(path, reason))
}

/// A new file with a new token. Another program that makes it at the same time is not overwritten.
fn make(path: &Path) -> Result<String, Failure> {
    let token = random()?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| about(path, error))?;
    file.write_all(format!("{token}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| about(path, error))?;
    Ok(token)
}

#[cfg(unix)]
fn check_private(file: &File) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;

    let found = file.metadata().map_err(|error| error.to_string())?;
    let mode = found.mode() & 0o777;
    if !found.is_file() {
        return Err("expected a regular file with the access token".to_owned());
    }
    if mode & 0o077 != 0 {
        return Err(format!(
            "expected a file that only its owner can read and write; its mode is {mode:04o}: chmod 600"
        ));
    }
    Ok(())
}

/// What others may do with a file is not in its mode on this system.
#[cfg(not(unix))]
fn check_private(_file: &File) -> Result<(), String> {
    Ok(())
}

/// A token that a header takes as it stands (RFC 6750 section 2.1), and that cannot be guessed for its length.
fn checked(token: String) -> Result<String, String> {
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !LENGTH.contains(&token.len()) {
        let (least, most) = (LENGTH.start(), LENGTH.end());
        return Err(format!("expected an access token of {least} to {most} characters, found {}", token.len()));
    }
    if token.bytes().all(is_character) {
        return Ok(token);
    }
    Err("expected an access token of letters, digits and -._~+/= on one line".to_owned())
}

/// 32 bytes from the operating system, in hexadecimal: a nonce that is never sent.
fn random() -> Result<String, Failure> {
    Ok(Challenge::unbound_cleartext(SystemTime::now().into())?.nonce().to_string())
}
