//! The port of a server, which stays its own while the server is stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};

/// How many connections wait to be accepted: as many as tokio lets wait.
const BACKLOG: u32 = 1024;

/// What holds the port.
#[derive(Default)]
pub(super) enum Port {
    #[default]
    Free,
    Listening(Arc<TcpListener>),
    /// A socket that does not listen: connections are refused, and the system gives the port to no other socket.
    Held(TcpSocket),
}

impl Port {
    /// Refuses connections. The listener must have no other owner.
    pub(super) fn hold(&mut self, address: SocketAddr) {
        match std::mem::take(self) {
            Self::Held(socket) => return *self = Self::Held(socket),
            // Without a pause before the next line: the system has no time to give the port to others.
            Self::Listening(listener) => drop(listener),
            Self::Free => {}
        }
        if let Ok(socket) = bound(address) {
            *self = Self::Held(socket);
        }
    }

    /// Accepts connections again.
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        match std::mem::take(self) {
            Self::Held(socket) => socket,
            Self::Free | Self::Listening(_) => bound(address)?,
        }
        .listen(BACKLOG)
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // As listeners of tokio: earlier connections of this port may linger. On Windows it would mean something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
