//! The time that an emulator believes in, so that tests with a clock of their own can agree with it.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::lock;
use crate::types::UnixTime;

/// A clock that can be set. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Setting>>);

#[derive(Clone, Copy, Debug)]
enum Setting {
    /// The machine's time plus so many seconds.
    Running(u64),
    Stopped(UnixTime),
}

impl Clock {
    /// The machine's time.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Setting::Running(0))))
    }

    /// Stands still at a time.
    #[must_use]
    pub fn stopped_at(time: UnixTime) -> Self {
        Self(Arc::new(Mutex::new(Setting::Stopped(time))))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match *lock(&self.0) {
            Setting::Running(offset) => UnixTime::from(SystemTime::now()).plus(offset),
            Setting::Stopped(time) => time,
        }
    }

    /// Lets so many seconds pass at once.
    pub fn advance(&self, seconds: u64) {
        let mut setting = lock(&self.0);
        *setting = match *setting {
            Setting::Running(offset) => Setting::Running(offset.saturating_add(seconds)),
            Setting::Stopped(time) => Setting::Stopped(time.plus(seconds)),
        };
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
