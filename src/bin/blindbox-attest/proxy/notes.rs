//! What is said on standard error while requests go through.

use std::sync::mpsc::{SyncSender, sync_channel};

use crate::exit::{Failure, note_styled};
use crate::terminal;

/// How many errors wait to be read. Whoever reads none has lost interest in the later ones.
const WAITING: usize = 256;

/// Says errors on a thread of its own: a pipe that nobody reads takes no more at some point, and would stop whoever waits for
/// that.
pub struct Notes(SyncSender<String>);

impl Notes {
    pub fn new() -> Result<Self, Failure> {
        let (sender, errors) = sync_channel::<String>(WAITING);
        let saying = std::thread::Builder::new().spawn(move || errors.iter().for_each(|error| note_styled(&error)));
        saying.map_err(|error| Failure::setting(format!("no thread for errors: {error}")))?;
        Ok(Self(sender))
    }

    pub fn text(&self, text: &str) {
        let _ = self.0.try_send(terminal::plain(text));
    }

    pub fn error(&self, code: &str, message: &str) {
        let _ = self.0.try_send(terminal::error(code, message));
    }
}
