//! Where the proxy listens: nowhere that another machine can reach.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(target_os = "linux")]
use super::systemd::{self, Passed};
use crate::exit::Failure;

/// Where to listen, as on the command line.
#[derive(Clone)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The socket that systemd passes.
    Systemd,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "systemd" {
            return if cfg!(target_os = "linux") {
                Ok(Self::Systemd)
            } else {
                Err("this system has no systemd".to_owned())
            };
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let usable = cfg!(unix) && !path.is_empty();
            return if usable { Ok(Self::Unix(path.into())) } else { Err("expected a path behind unix:".to_owned()) };
        }
        let address: SocketAddr =
            text.parse().map_err(|_| "expected 127.0.0.1:PORT, [::1]:PORT, unix:PATH or systemd")?;
        if !address.ip().is_loopback() {
            return Err("expected an address on loopback: anyone who reaches the port acts on your behalf".to_owned());
        }
        Ok(Self::Tcp(address))
    }
}

pub enum Listener {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf, Option<Socket>),
}

/// Which file a socket is: its device and number. None of a socket that is not this program's to remove.
#[cfg(unix)]
type Socket = (u64, u64);

pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    pub async fn bind(listen: &Listen) -> Result<Self, Failure> {
        match listen {
            Listen::Tcp(address) => {
                let failed = |error: io::Error| Failure::setting(format!("{address}: {error}"));
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Ok(Self::Tcp(listener, address))
            }
            #[cfg(unix)]
            Listen::Unix(path) => {
                let failed = |error| Failure::setting(format!("{}: {error}", path.display()));
                let (listener, socket) = private_socket(path).map_err(failed)?;
                Ok(Self::Unix(listener, path.clone(), Some(socket)))
            }
            #[cfg(target_os = "linux")]
            Listen::Systemd => Self::passed(),
            #[cfg(not(target_os = "linux"))]
            Listen::Systemd => Err(Failure::usage("this system has no systemd")),
            #[cfg(not(unix))]
            Listen::Unix(_) => Err(Failure::usage("this system has no Unix sockets")),
        }
    }

    /// The unit of the socket says who may connect to it; that it is on this machine is checked here.
    #[cfg(target_os = "linux")]
    fn passed() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::setting(format!("the socket from systemd: {error}"));
        match systemd::passed_socket().map_err(Failure::setting)? {
            Passed::Tcp(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                if !address.ip().is_loopback() {
                    return Err(Failure::setting(format!(
                        "the socket from systemd listens on {address}: expected an address on loopback"
                    )));
                }
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp(TcpListener::from_std(listener).map_err(failed)?, address))
            }
            Passed::Unix(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                let path = address.as_pathname().map(PathBuf::from);
                let path = path.ok_or_else(|| Failure::setting("the socket from systemd has no path"))?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Unix(UnixListener::from_std(listener).map_err(failed)?, path, None))
            }
        }
    }

    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
            #[cfg(unix)]
            Self::Unix(listener, ..) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// As clients are shown it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}"),
            #[cfg(unix)]
            Self::Unix(_, path, _) => format!("unix:{}", path.display()),
        }
    }

    /// What `Host` may be: the address itself. A page from elsewhere whose name was made to resolve to loopback has another.
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::Tcp(_, address) => {
                let named = [address.to_string(), format!("localhost:{}", address.port())];
                let plain = |host: &String| host.strip_suffix(":80").map(str::to_owned);
                let without_port: Vec<String> = named.iter().filter_map(plain).collect();
                named.into_iter().chain(without_port).collect()
            }
            #[cfg(unix)]
            Self::Unix(..) => vec!["localhost".to_owned()],
        }
    }

    /// The message for a client with another `Host`.
    pub fn wrong_host(&self) -> &'static str {
        match self {
            Self::Tcp(..) => "expected as Host the address of this proxy",
            #[cfg(unix)]
            Self::Unix(..) => "expected as Host `localhost`, as in http://localhost/: a Unix socket has no other name",
        }
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path, socket) = self {
            // Another process may have put another one there.
            if std::fs::symlink_metadata(&*path).is_ok_and(|found| Some(identity(&found)) == *socket) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A socket that only this user can connect to. It is made in a directory that no other user can enter and moved to its place
/// when its mode is set, so that there is no moment at which others could use it.
#[cfg(unix)]
fn private_socket(path: &std::path::Path) -> io::Result<(UnixListener, Socket)> {
    use std::fs::{self, DirBuilder, Permissions};
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};

    let in_use = |reason| io::Error::new(io::ErrorKind::AddrInUse, reason);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Err(in_use("there is a file that is no socket")),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(in_use("another process listens there already")),
            // Left over by one that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            // The other process is not known to be gone.
            Err(error) => return Err(error),
        },
    }
    let mut directory = path.as_os_str().to_owned();
    directory.push(format!(".{}", std::process::id()));
    let directory = PathBuf::from(directory);
    DirBuilder::new().mode(0o700).create(&directory)?;
    let made = directory.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let socket = identity(&fs::symlink_metadata(&made)?);
        fs::rename(&made, path)?;
        Ok((listener, socket))
    });
    let _ = fs::remove_file(&made);
    let _ = fs::remove_dir(&directory);
    bound
}

#[cfg(unix)]
fn identity(found: &std::fs::Metadata) -> Socket {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}
