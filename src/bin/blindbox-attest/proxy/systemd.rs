//! The interface of systemd to a service: the socket that it passes (`sd_listen_fds(3)`) and what it is notified of (`sd_notify(3)`).

use std::io;

use crate::exit::note;

/// Notifies the service manager, where there is one: `NOTIFY_SOCKET` names its socket.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|_| cfg!(target_os = "linux")) else { return };
    if let Err(error) = send(&socket, state) {
        note(&format!("note: the service manager at {} is not notified of {state}: {error}", socket.display()));
    }
}

#[cfg(target_os = "linux")]
fn send(socket: &std::ffi::OsStr, state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send(_socket: &std::ffi::OsStr, _state: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A listening socket of the one or the other family.
#[cfg(target_os = "linux")]
pub enum Passed {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// The one socket that systemd passed, as file descriptor 3.
#[cfg(target_os = "linux")]
pub fn passed_socket() -> Result<Passed, String> {
    use rustix::net::sockopt::{socket_acceptconn, socket_domain};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<i32>().ok());
    if number("LISTEN_PID") != Some(std::process::id().cast_signed()) {
        return Err("systemd passed no socket to this process: start the socket unit, not the program".to_owned());
    }
    match number("LISTEN_FDS") {
        Some(1) => {}
        found => return Err(format!("expected one socket from systemd, found {}", found.unwrap_or_default())),
    }
    // Owning a descriptor by its number is unsafe in Rust: nothing shows who else owns it. A duplicate is not; descriptor 3 itself
    // stays open, as the socket does in systemd.
    let socket =
        pidfd_open(getpid(), PidfdFlags::empty()).and_then(|process| pidfd_getfd(process, 3, PidfdGetfdFlags::empty()));
    let socket = socket.map_err(|error| format!("file descriptor 3: {error}"))?;
    let listens = socket_acceptconn(&socket).map_err(|error| format!("file descriptor 3: {error}"))?;
    if !listens {
        return Err("expected a socket that listens (`ListenStream=` without `Accept=yes`)".to_owned());
    }
    match socket_domain(&socket).map_err(|error| format!("file descriptor 3: {error}"))? {
        rustix::net::AddressFamily::UNIX => Ok(Passed::Unix(socket.into())),
        rustix::net::AddressFamily::INET | rustix::net::AddressFamily::INET6 => Ok(Passed::Tcp(socket.into())),
        _ => Err("expected a socket of TCP or a Unix socket".to_owned()),
    }
}
