//! The task that drives an HTTP/2 connection, and those of its requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use tokio::task::AbortHandle;

use crate::sync::lock;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What drives one HTTP/2 connection, in one task.
///
/// The library would use two: one that begins streams for requests, and one that owns the socket and reads what the server sends. A
/// GOAWAY that is read by the latter while the former begins a stream is reported as the error of that request, also if it is not above
/// the last stream that the server processes, and is sent all the same: the request would be processed twice. Within one task no frame
/// is read between two steps of the other. The library polls the start of each body here too: a body that panics ends the connection.
struct Driven {
    socket: Task,
    /// Until it ends. The socket then ends with the last exchange.
    requests: Option<Task>,
}

impl Future for Driven {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // First, and both at each wake: new requests are limited by the server's limit of streams, what it sends is not.
        if self.requests.as_mut().is_some_and(|requests| requests.as_mut().poll(cx).is_ready()) {
            self.requests = None;
        }
        self.socket.as_mut().poll(cx)
    }
}

/// Spawns the tasks of one HTTP/2 connection but the first, which is kept: it comes within the handshake and owns the socket. The others
/// belong to single requests and end with it.
#[derive(Clone, Default)]
pub(super) struct Http2Tasks(Arc<OnceLock<Mutex<Option<Task>>>>);

impl Http2Tasks {
    /// Drives the connection, whose requests are begun by what the handshake has returned. The handle closes its socket.
    pub(super) fn drive<T>(&self, requests: impl Future<Output = T> + Send + 'static) -> AbortHandle {
        let requests = async move { drop(requests.await) };
        let task = match self.0.get().and_then(|socket| lock(socket).take()) {
            Some(socket) => tokio::spawn(Driven { socket, requests: Some(Box::pin(requests)) }),
            None => tokio::spawn(requests),
        };
        task.abort_handle()
    }
}

impl<F> hyper::rt::Executor<F> for Http2Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if self.0.get().is_some() {
            tokio::spawn(task);
            return;
        }
        // Within the handshake, which calls this once.
        drop(self.0.set(Mutex::new(Some(Box::pin(task)))));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::runtime::Handle;

    use super::super::connection::{Connection, Protocol, Security};

    #[tokio::test]
    async fn one_task_drives_a_connection_and_closes_its_socket() {
        for dropped in [true, false] {
            let (near, mut far) = duplex(65_536);
            let before = Handle::current().metrics().num_alive_tasks();
            let connection = Connection::start(near, Protocol::Http2, Security::default(), None).await.unwrap();
            assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1);
            let socket = connection.socket();
            let rest = if dropped {
                drop(connection);
                None
            } else {
                socket.abort();
                Some(connection)
            };
            far.read_to_end(&mut Vec::new()).await.unwrap();
            assert!(rest.is_none_or(|connection| connection.is_closed()));
        }
    }
}
