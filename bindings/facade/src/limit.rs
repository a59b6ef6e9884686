//! [`Limit`]: how long a host waits for a peer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How long a host waits for a peer in a call. With an upload it starts again with each piece: a long upload is no wait.
#[derive(Debug)]
pub struct Limit<C = fn() -> Instant> {
    after: Option<Duration>,
    clock: C,
    started: Mutex<Instant>,
}

impl Limit {
    /// Starts a limit; `None` is none.
    #[must_use]
    pub fn new(after: Option<Duration>) -> Self {
        Self::with_clock(after, Instant::now)
    }
}

impl<C: Fn() -> Instant> Limit<C> {
    /// Starts a limit by a clock of the caller's.
    #[must_use]
    pub fn with_clock(after: Option<Duration>, clock: C) -> Self {
        let started = Mutex::new(clock());
        Self { after, clock, started }
    }

    /// The limit, if it is over.
    pub fn over(&self) -> Option<Duration> {
        let started = *self.started.lock().unwrap_or_else(PoisonError::into_inner);
        self.after.filter(|after| (self.clock)().saturating_duration_since(started) >= *after)
    }

    /// How often to ask whether it is over: `interval`, or more often where the limit is shorter.
    pub fn interval(&self, interval: Duration) -> Duration {
        self.after.map_or(interval, |after| after.min(interval).max(Duration::from_millis(1)))
    }

    /// A source of an upload for [`crate::wait_writing`], with each of whose pieces the limit starts again.
    pub fn restarting<E>(
        &self,
        mut source: impl FnMut() -> Result<Option<Bytes>, E>,
    ) -> impl FnMut() -> Result<Option<Bytes>, E> {
        move || {
            let piece = source()?;
            *self.started.lock().unwrap_or_else(PoisonError::into_inner) = (self.clock)();
            Ok(piece)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, poll_fn};
    use std::pin::Pin;

    use http_body::Body;

    use super::*;
    use crate::{Error, Upload, wait, wait_writing};

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn it_does_not_limit_an_upload_that_gets_on() {
        let (begin, passed) = (Instant::now(), Cell::new(Duration::ZERO));
        let limit = Limit::with_clock(Some(LIMIT), || begin + passed.get());
        let upload = Upload::new(None);
        let mut body = upload.body().unwrap();
        let work = async move {
            let mut read = 0;
            while let Some(piece) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                read += piece.unwrap().into_data().unwrap().len();
            }
            Ok(read)
        };
        let mut left = 6;
        let source = limit.restarting(|| {
            passed.set(passed.get() + LIMIT - Duration::from_millis(1));
            left -= 1;
            Ok((left > 0).then(|| "x".into()))
        });
        // It is asked before each step.
        let proceed = || limit.over().map_or(Ok(()), Err);
        assert_eq!(wait_writing(work, &upload, Duration::ZERO, source, proceed).unwrap().unwrap(), 5);
        assert!(passed.get() > 5 * LIMIT);
    }

    #[test]
    fn it_ends_a_wait_for_a_peer() {
        let (begin, passed) = (Instant::now(), Cell::new(Duration::ZERO));
        let step = Duration::from_millis(1);
        let limit = Limit::with_clock(Some(LIMIT), || begin + passed.get());
        let proceed = || {
            passed.set(passed.get() + LIMIT / 4);
            limit.over().map_or(Ok(()), Err)
        };
        assert_eq!(wait(pending::<Result<(), Error>>(), step, proceed).unwrap_err(), LIMIT);
        assert_eq!(passed.get(), LIMIT);

        // Nor does an upload go on that stands still after its first pieces.
        let limit = Limit::with_clock(Some(LIMIT), || begin + passed.get());
        let proceed = || {
            passed.set(passed.get() + LIMIT / 4);
            limit.over().map_or(Ok(()), Err)
        };
        let upload = Upload::new(None);
        let mut body = upload.body().unwrap();
        let stands_still = async move {
            poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            drop(body);
            pending::<Result<(), Error>>().await
        };
        let source = limit.restarting(|| Ok(Some("x".into())));
        assert_eq!(wait_writing(stands_still, &upload, step, source, proceed).unwrap_err(), LIMIT);
        assert!(passed.get() >= 2 * LIMIT);

        let none = Limit::with_clock(None, || begin + passed.get());
        passed.set(1000 * LIMIT);
        assert_eq!(none.over(), None);
    }

    #[test]
    fn it_is_asked_for_often_enough() {
        let interval = Duration::from_millis(50);
        for (after, expected) in [(None, 50), (Some(0), 1), (Some(7), 7), (Some(60), 50)] {
            let limit = Limit::new(after.map(Duration::from_millis));
            assert_eq!(limit.interval(interval), Duration::from_millis(expected));
        }
    }
}
