//! Replay protection: session ids, numbers, and the window of used numbers.
//!
//! An agent processes a sealed request at most once.
//! An agent makes a session id with each attestation, at random and never twice, and a client numbers its requests. Neither is secret
//! and neither authenticates a sender: a front end can use up the numbers of a session, as it can withhold its requests. What it
//! cannot do is have one sealed request processed twice, since a number that was used stays used for as long as the session exists, and
//! a session that was forgotten never exists again.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::crypto;
use crate::crypto::sealing::SealingError;

/// How far below the highest number of a session an unused number is still accepted: requests under way overtake each other.
pub(crate) const WINDOW: u64 = 1024;
const WORD_BITS: u64 = 64;
/// One bit for each number of the window.
const WORDS: usize = 16;
const _: () = assert!(WINDOW == 1024 && WORD_BITS == 64 && WORDS == 16);
/// The sessions of one key, at most. A session takes about 200 bytes.
pub(crate) const MAX_SESSIONS: usize = 65_536;

/// Names the session that an agent begins with an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId([u8; 16]);

impl SessionId {
    /// Creates a random id.
    pub(crate) fn generate() -> Result<Self, SealingError> {
        let random = crypto::random_32().map_err(|crypto::NoRandomness| SealingError)?;
        random.first_chunk().copied().map(Self).ok_or(SealingError)
    }

    /// Parses 32 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

/// What the field `blindbox-message` of a request says: `<session, 32 hex digits>.<number, decimal>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageNumber {
    pub(crate) session: SessionId,
    pub(crate) number: u64,
}

impl MessageNumber {
    /// Parses the value of the field. Each number has one spelling: no sign, no leading zeros.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        let (session, number) = std::str::from_utf8(value).ok()?.split_once('.')?;
        let canonical = number == "0" || !number.starts_with('0');
        if !canonical || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { session: SessionId::from_hex(session)?, number: number.parse().ok()? })
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.number)
    }
}

/// Which numbers of one session were used.
#[derive(Clone, Debug, Default)]
struct Window {
    highest: Option<u64>,
    /// One bit for each of the numbers from `highest - 1023` to `highest`, at the number modulo 1024.
    used: [u64; WORDS],
}

impl Window {
    /// Marks a number as used. `false` if it was used before, or is below the window and may have been.
    fn mark(&mut self, number: u64) -> bool {
        match self.highest {
            Some(highest) if number <= highest => {
                if highest.saturating_sub(number) >= WINDOW {
                    return false;
                }
            }
            highest => {
                self.advance(highest, number);
                self.highest = Some(number);
            }
        }
        let Some((word, bit)) = self.bit(number) else { return false };
        let unused = *word & bit == 0;
        *word |= bit;
        unused
    }

    /// Clears the bits of the numbers after `highest` up to `number`: they belonged to numbers that leave the window.
    fn advance(&mut self, highest: Option<u64>, number: u64) {
        let Some(highest) = highest else { return };
        if number.saturating_sub(highest) >= WINDOW {
            self.used = [0; WORDS];
            return;
        }
        for passed in highest.saturating_add(1)..=number {
            if let Some((word, bit)) = self.bit(passed) {
                *word &= !bit;
            }
        }
    }

    fn bit(&mut self, number: u64) -> Option<(&mut u64, u64)> {
        let position = number % WINDOW;
        let word = self.used.get_mut(usize::try_from(position / WORD_BITS).ok()?)?;
        Some((word, 1u64.rotate_left(u32::try_from(position % WORD_BITS).ok()?)))
    }
}

/// The sessions of one key.
pub(crate) struct Sessions {
    windows: HashMap<SessionId, Window>,
    /// The oldest session first.
    begun: VecDeque<SessionId>,
    capacity: usize,
}

impl Sessions {
    /// Creates an empty table for `capacity` sessions, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { windows: HashMap::new(), begun: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Begins a session. If there are too many, the oldest is forgotten: its requests are refused from then on.
    pub(crate) fn begin(&mut self) -> Result<SessionId, SealingError> {
        let session = SessionId::generate()?;
        self.insert(session)?;
        Ok(session)
    }

    /// Adds a session that has not existed before.
    pub(super) fn insert(&mut self, session: SessionId) -> Result<(), SealingError> {
        // 128 random bits do not repeat; if they did, the numbers of this session would start again.
        if self.windows.contains_key(&session) {
            return Err(SealingError);
        }
        while self.begun.len() >= self.capacity {
            if let Some(oldest) = self.begun.pop_front() {
                self.windows.remove(&oldest);
            }
        }
        self.begun.push_back(session);
        self.windows.insert(session, Window::default());
        Ok(())
    }

    /// Marks a number as used, before anything is done with its request. `false` if the session is not known, the number was used
    /// before, or it is below the window: then nothing may be done with the request.
    #[must_use]
    pub(crate) fn mark(&mut self, request: MessageNumber) -> bool {
        self.windows.get_mut(&request.session).is_some_and(|window| window.mark(request.number))
    }
}
