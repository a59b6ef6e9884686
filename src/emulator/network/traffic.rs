//! What reached a server of the emulator: the evidence for "zero application bytes at the attacker".

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::emulator::lock;
use crate::types::SpkiDigest;

/// How much of a request's body is kept for inspection; all of it is counted.
const KEPT_OF_A_BODY: usize = 64 * 1024;

/// A record of everything that one server received. Clones look at the same record.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// Numbered, since requests of several connections arrive at the same time.
    requests: Vec<(u64, RequestRecord)>,
    heads: u64,
    connections: Vec<(ConnectionRecord, Arc<AtomicU64>)>,
}

impl Record {
    /// The request with a number, unless it is forgotten. Requests are in the order of their numbers.
    fn request(&mut self, number: u64) -> Option<&mut RequestRecord> {
        let at = self.requests.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.requests.get_mut(at).map(|(_, request)| request)
    }
}

/// One request, recorded when its head arrives; the body grows as it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The number of the connection it came on, as in [`ConnectionRecord::id`].
    pub connection: u64,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
    /// Bytes of method, target, header names and values and body, without framing.
    pub bytes: u64,
    /// Whether the path belongs to the agent (`/status`, `/attest/...`); everything else is the application's. A sealed message to a
    /// [`BlindBox`](crate::emulator::BlindBox) is two requests: the one to `/attest/message`, and once it is opened the one inside.
    pub for_agent: bool,
}

impl RequestRecord {
    /// The body as JSON, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// One TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionRecord {
    /// Counts from 1.
    pub id: u64,
    /// What became of it.
    pub state: ConnectionState,
    /// The server name that the client sent (SNI), if any.
    pub server_name: Option<String>,
    /// The application protocol agreed on, `h2` or `http/1.1`.
    pub protocol: Option<String>,
    /// The key exchange group agreed on, by its IANA name, such as `X25519MLKEM768`.
    pub key_exchange: Option<String>,
    /// The key that the server proved on this connection.
    pub key: Option<SpkiDigest>,
    /// Whether the client resumed an earlier TLS session, which skips the certificate.
    pub resumed: bool,
    /// Bytes received inside TLS (or in clear, without TLS): HTTP framing included.
    pub received: u64,
}

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Accepted, TLS not finished.
    Accepted,
    /// The TLS handshake failed or was given up, by whichever side.
    HandshakeFailed,
    /// TLS is up.
    Secured,
    /// No TLS was asked for.
    Cleartext,
    /// Passed through without looking inside (a [`crate::emulator::Relay`] that lies in wait).
    Tunnelled,
}

impl Traffic {
    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.0).requests.iter().map(|(_, request)| request.clone()).collect()
    }

    /// How many requests there were for a path.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        lock(&self.0).requests.iter().filter(|(_, request)| request.path == path).count()
    }

    /// How many requests there were that were not for the agent.
    #[must_use]
    pub fn application_requests(&self) -> usize {
        lock(&self.0).requests.iter().filter(|(_, request)| !request.for_agent).count()
    }

    /// How many bytes those requests had.
    #[must_use]
    pub fn application_bytes(&self) -> u64 {
        self.bytes(false)
    }

    /// How many bytes the requests for the agent had.
    #[must_use]
    pub fn agent_bytes(&self) -> u64 {
        self.bytes(true)
    }

    /// Every connection so far.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionRecord> {
        let snapshot = |(record, received): &(ConnectionRecord, Arc<AtomicU64>)| ConnectionRecord {
            received: received.load(Ordering::SeqCst),
            ..record.clone()
        };
        lock(&self.0).connections.iter().map(snapshot).collect()
    }

    /// How many connections finished their TLS handshake.
    #[must_use]
    pub fn tls_connections(&self) -> usize {
        let secured = |record: &(ConnectionRecord, _)| record.0.state == ConnectionState::Secured;
        lock(&self.0).connections.iter().filter(|record| secured(record)).count()
    }

    /// Forgets the requests so far. Connections stay, since some may still be open.
    pub fn clear_requests(&self) {
        lock(&self.0).requests.clear();
    }

    /// Every request so far, to be forgotten here: for those who look at many of them piece by piece.
    #[must_use]
    pub fn take_requests(&self) -> Vec<RequestRecord> {
        std::mem::take(&mut lock(&self.0).requests).into_iter().map(|(_, request)| request).collect()
    }

    pub(crate) fn accepted(&self) -> (u64, Arc<AtomicU64>) {
        let mut record = lock(&self.0);
        let id = u64::try_from(record.connections.len()).unwrap_or(u64::MAX).saturating_add(1);
        let received = Arc::<AtomicU64>::default();
        let connection = ConnectionRecord {
            id,
            state: ConnectionState::Accepted,
            server_name: None,
            protocol: None,
            key_exchange: None,
            key: None,
            resumed: false,
            received: 0,
        };
        record.connections.push((connection, Arc::clone(&received)));
        (id, received)
    }

    pub(crate) fn update(&self, id: u64, change: impl FnOnce(&mut ConnectionRecord)) {
        if let Some((record, _)) = lock(&self.0).connections.iter_mut().find(|(record, _)| record.id == id) {
            change(record);
        }
    }

    /// Records a request; the number returned is for [`Self::body`].
    pub(crate) fn head(&self, connection: u64, parts: &hyper::http::request::Parts) -> u64 {
        let headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = parts.method.as_str().len() + parts.uri.to_string().len() + header_bytes;
        let path = parts.uri.path();
        let request = RequestRecord {
            connection,
            method: parts.method.to_string(),
            path: path.to_owned(),
            version: format!("{:?}", parts.version),
            headers,
            body: Vec::new(),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            for_agent: is_agent_path(path),
        };
        let mut record = lock(&self.0);
        record.heads += 1;
        let number = record.heads;
        record.requests.push((number, request));
        number
    }

    /// Records the request inside of a sealed message, which is the request `outer` of the record.
    pub(crate) fn sealed(&self, outer: u64, inner: &hyper::http::request::Parts) -> u64 {
        let connection = lock(&self.0).request(outer).map_or(0, |request| request.connection);
        self.head(connection, inner)
    }

    /// Adds data to the body of a request.
    pub(crate) fn body(&self, number: u64, data: &[u8]) {
        let mut record = lock(&self.0);
        let Some(request) = record.request(number) else { return };
        let room = KEPT_OF_A_BODY.saturating_sub(request.body.len()).min(data.len());
        request.body.extend_from_slice(data.split_at(room).0);
        request.bytes = request.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
    }

    fn bytes(&self, for_agent: bool) -> u64 {
        let record = lock(&self.0);
        record
            .requests
            .iter()
            .filter(|(_, request)| request.for_agent == for_agent)
            .map(|(_, request)| request.bytes)
            .sum()
    }
}

pub(crate) fn is_agent_path(path: &str) -> bool {
    path == "/status" || path.starts_with("/attest/")
}
