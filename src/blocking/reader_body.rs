//! The body of a request from a blocking reader, on the threads that tokio has for that.

use std::future::Future as _;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The most bytes that one call reads.
const CHUNK_SIZE: usize = 64 << 10;

type Source = Box<dyn Read + Send>;

/// Reads a body from a blocking reader, a chunk at a time.
pub(super) struct BlockingReaderBody(ReaderState);

enum ReaderState {
    Idle(Source),
    Reading(tokio::task::JoinHandle<(Source, io::Result<Bytes>)>),
    Ended,
}

impl BlockingReaderBody {
    pub(super) fn new(reader: impl Read + Send + 'static) -> Self {
        Self(ReaderState::Idle(Box::new(reader)))
    }

    fn read(mut reader: Source) -> (Source, io::Result<Bytes>) {
        let mut buffer = vec![0; CHUNK_SIZE];
        let outcome = loop {
            match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        let outcome = outcome.map(|length| {
            buffer.truncate(length);
            buffer.into()
        });
        (reader, outcome)
    }
}

impl Body for BlockingReaderBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut reading = match std::mem::replace(&mut self.0, ReaderState::Ended) {
            ReaderState::Idle(reader) => tokio::task::spawn_blocking(move || Self::read(reader)),
            ReaderState::Reading(reading) => reading,
            ReaderState::Ended => return Poll::Ready(None),
        };
        let Poll::Ready(outcome) = Pin::new(&mut reading).poll(cx) else {
            self.0 = ReaderState::Reading(reading);
            return Poll::Pending;
        };
        Poll::Ready(match outcome {
            Err(panicked) => Some(Err(io::Error::other(panicked))),
            Ok((_, Err(error))) => Some(Err(error)),
            Ok((_, Ok(data))) if data.is_empty() => None,
            Ok((reader, Ok(data))) => {
                self.0 = ReaderState::Idle(reader);
                Some(Ok(Frame::data(data)))
            }
        })
    }
}
