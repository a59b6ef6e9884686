//! A TCP proxy: delays, stalls, cuts and refuses connections, and balances them over several targets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::server::Tasks;
use crate::emulator::keys::random;
use crate::emulator::{lock, origin};

/// How often a connection that is at a stand looks whether it may go on.
const STEP: Duration = Duration::from_millis(5);

/// Passes TCP connections on to one of several targets, and cuts, delays or refuses them on request.
///
/// It sees ciphertext only. Connections go round robin, or at random where asked for: with two [`crate::emulator::BlindBox`]es as
/// targets it is a load balancer in front of replicas. Stops when dropped.
pub struct TcpProxy {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    accepting: Tasks,
    connections: Tasks,
}

#[derive(Clone, Default)]
struct Behaviour {
    targets: Vec<SocketAddr>,
    accepted: usize,
    open: usize,
    at_random: bool,
    refuse: bool,
    delay: Duration,
    cut_after: Option<usize>,
    /// How many of the first connections are at a stand.
    stalled: usize,
    from_clients: u64,
    to_servers: u64,
}

impl TcpProxy {
    /// Starts a proxy in front of these addresses.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(targets: &[SocketAddr]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let behaviour = Behaviour { targets: targets.to_vec(), ..Behaviour::default() };
        let proxy = Self {
            address: listener.local_addr()?,
            behaviour: Arc::new(Mutex::new(behaviour)),
            accepting: Tasks::default(),
            connections: Tasks::default(),
        };
        let (behaviour, connections) = (Arc::clone(&proxy.behaviour), proxy.connections.clone());
        proxy.accepting.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let behaviour = Arc::clone(&behaviour);
                        connections.spawn(async move {
                            let _ = pass_on(stream, &behaviour).await;
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Ok(proxy)
    }

    /// The address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        origin("https", "127.0.0.1", self.address.port())
    }

    /// Later connections go to these addresses.
    pub fn set_targets(&self, targets: &[SocketAddr]) {
        lock(&self.behaviour).targets = targets.to_vec();
    }

    /// Whether later connections go to a target at random, in place of round robin.
    pub fn balance_at_random(&self, at_random: bool) {
        lock(&self.behaviour).at_random = at_random;
    }

    /// Whether later connections are closed as soon as they are accepted.
    pub fn refuse(&self, refuse: bool) {
        lock(&self.behaviour).refuse = refuse;
    }

    /// Holds up every piece of data, in both directions of later connections, for this time.
    pub fn delay(&self, time: Duration) {
        lock(&self.behaviour).delay = time;
    }

    /// Cuts each later connection when the server has sent so many bytes on it; `None` for never.
    pub fn cut_after(&self, bytes: Option<usize>) {
        lock(&self.behaviour).cut_after = bytes;
    }

    /// Passes nothing on from the clients of the connections that were accepted so far, until [`Self::go_on`].
    pub fn stall(&self) {
        let mut behaviour = lock(&self.behaviour);
        behaviour.stalled = behaviour.accepted;
    }

    /// Ends [`Self::stall`].
    pub fn go_on(&self) {
        lock(&self.behaviour).stalled = 0;
    }

    /// How many bytes of clients were read.
    #[must_use]
    pub fn bytes_from_clients(&self) -> u64 {
        lock(&self.behaviour).from_clients
    }

    /// How many bytes of clients were passed on.
    #[must_use]
    pub fn bytes_to_servers(&self) -> u64 {
        lock(&self.behaviour).to_servers
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.connections.abort_all();
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.behaviour).accepted
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        lock(&self.behaviour).open
    }
}

/// Counts one open connection while it lives, however its task ends.
struct Open<'b>(&'b Mutex<Behaviour>);

impl<'b> Open<'b> {
    fn new(behaviour: &'b Mutex<Behaviour>) -> Self {
        lock(behaviour).open += 1;
        Self(behaviour)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        lock(self.0).open -= 1;
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.close();
        self.connections.close();
    }
}

impl std::fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TcpProxy({})", self.address)
    }
}

async fn pass_on(mut client: TcpStream, behaviour: &Mutex<Behaviour>) -> io::Result<()> {
    let _open = Open::new(behaviour);
    let (now, target) = {
        let mut behaviour = lock(behaviour);
        let turn = if behaviour.at_random { usize::from_ne_bytes(random()) } else { behaviour.accepted };
        behaviour.accepted += 1;
        let target = behaviour.targets.get(turn.checked_rem(behaviour.targets.len()).unwrap_or(0)).copied();
        (behaviour.clone(), target)
    };
    let Some(target) = target.filter(|_| !now.refuse) else { return Ok(()) };
    let mut server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = |size: usize| async move {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        lock(behaviour).from_clients += size;
        while lock(behaviour).stalled >= now.accepted {
            tokio::time::sleep(STEP).await;
        }
        lock(behaviour).to_servers += size;
    };
    let down = |_| std::future::ready(());
    tokio::select! {
        done = copy((&mut from_client, &mut to_server), up, now.delay, None) => done,
        done = copy((&mut from_server, &mut to_client), down, now.delay, now.cut_after) => done,
    }
}

/// `admit` is waited for before each piece of data, whose size it receives.
async fn copy<F: Future<Output = ()>>(
    (from, to): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
    admit: impl Fn(usize) -> F,
    delay: Duration,
    limit: Option<usize>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let room = buffer.len().min(left);
        let read = from.read(buffer.split_at_mut(room).0).await?;
        if read == 0 {
            return Ok(());
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        admit(read).await;
        to.write_all(buffer.split_at(read).0).await?;
        left -= read;
    }
    Ok(())
}
