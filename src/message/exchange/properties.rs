//! Properties of the protocol that hold whatever a front end does, for unit tests and fuzz targets. Every function panics if its
//! property does not hold.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::{Recipient, ResponseReader};
use super::replay::{MessageNumber, SessionId, Sessions, WINDOW};
use super::resending::{Failure, Repetition};
use super::world::{Instance, Message, receive, seal, shows_secret};
use crate::message::hpke::Kem;

/// The steps of one run, at most.
const MAX_STEPS: usize = 200;

/// Each number of a session is admitted once, those of the window for certain, whatever the order: the table agrees with one that
/// remembers everything. Each two bytes are a step.
///
/// # Panics
///
/// If it does not hold.
pub fn sessions(script: &[u8]) {
    let mut sessions = Sessions::new(3);
    let mut begun: Vec<SessionId> = Vec::new();
    let mut used: BTreeSet<(usize, u64)> = BTreeSet::new();
    let mut highest: Vec<Option<u64>> = Vec::new();
    for step in script.chunks_exact(2) {
        let (first, second) = (u64::from(step.first().copied().unwrap_or(0)), step.last().copied().unwrap_or(0));
        if first >= 250 || begun.is_empty() {
            begun.extend(sessions.begin());
            highest.push(None);
            continue;
        }
        let which = index(begun.len(), usize::from(second));
        let (Some(session), Some(highest)) = (begun.get(which), highest.get_mut(which)) else { continue };
        // Around the highest number, around the lower edge, and far away.
        let base = highest.unwrap_or(0);
        let number = match second % 5 {
            0 => base.saturating_add(first),
            1 => base.saturating_sub(first),
            2 => base.saturating_sub(WINDOW).saturating_add(first).saturating_sub(5),
            3 => base.saturating_add(first.saturating_mul(9)),
            _ => first.saturating_mul(u64::MAX / 64),
        };
        let known = begun.len().saturating_sub(which) <= 3;
        let in_window = highest.is_none_or(|highest| number > highest || highest.abs_diff(number) < WINDOW);
        let expected = known && in_window && used.insert((which, number));
        let request = MessageNumber { session: *session, number };
        assert_eq!(MessageNumber::from_value(request.to_string().as_bytes()), Some(request));
        assert_eq!(sessions.mark(request), expected, "number {number}, highest {highest:?}, known: {known}");
        if expected {
            *highest = (*highest).max(Some(number));
        }
    }
}

/// The value of the field `blindbox-message` has one spelling.
///
/// # Panics
///
/// If it has two.
pub fn message_number(value: &[u8]) {
    if let Some(number) = MessageNumber::from_value(value) {
        assert_eq!(number.to_string().as_bytes(), value);
    }
}

/// A front end that carries, repeats, changes, cuts, splices and swaps messages in any order, over two instances that rotate their keys
/// and are busy at times: it reads nothing, no request is processed twice, and a response that is accepted is that of the application to
/// this request, whole. Each three bytes are a step.
///
/// # Panics
///
/// If it does not hold.
pub fn front_end(script: &[u8]) {
    let mut run = Run {
        instances: [Instance::new(Kem::X25519), Instance::new(Kem::X25519)],
        now: Duration::ZERO,
        recipient: None,
        requests: Vec::new(),
        sent: Vec::new(),
        responses: Vec::new(),
    };
    for step in script.chunks_exact(3).take(MAX_STEPS) {
        if let [action, first, second] = step {
            run.step(*action, usize::from(*first), usize::from(*second));
            run.check();
        }
    }
}

struct Run {
    instances: [Instance; 2],
    now: Duration,
    recipient: Option<Recipient>,
    /// The client's requests.
    requests: Vec<Message>,
    sent: Vec<Sent>,
    /// Sealed responses, of whichever request.
    responses: Vec<Vec<u8>>,
}

struct Sent {
    /// The index of the request: a request may be sealed more than once.
    request: usize,
    sealed: Vec<u8>,
    reader: Option<ResponseReader>,
}

impl Run {
    fn step(&mut self, action: u8, first: usize, second: usize) {
        let sealed = pick(&self.sent, first).map(|sent| sent.sealed.clone());
        match action % 12 {
            0 => self.attest(first),
            1 | 2 => {
                self.requests.push(Message::request(self.requests.len(), second.saturating_mul(99)));
                self.seal(self.requests.len().saturating_sub(1));
            }
            3 | 4 => self.deliver(sealed, second, false),
            5 => self.deliver(sealed, second, true),
            6 => self.deliver(sealed.map(|sealed| changed(sealed, second)), first, false),
            7 => self.deliver(sealed.map(|sealed| cut(sealed, second)), first, false),
            8 => {
                let other = pick(&self.sent, second).map(|sent| sent.sealed.clone());
                let spliced = sealed.zip(other).map(|(mut one, other)| {
                    let at = one.len().min(39);
                    one.truncate(at);
                    one.extend(other.get(at..).unwrap_or_default());
                    one
                });
                self.deliver(spliced, first, false);
            }
            9 => self.respond(first, pick(&self.responses, second).cloned()),
            10 => {
                let response = pick(&self.responses, second).cloned();
                let response = response
                    .map(|sealed| if first.is_multiple_of(2) { cut(sealed, second) } else { changed(sealed, second) });
                self.respond(first, response);
            }
            _ => {
                self.now = self.now.saturating_add(Duration::from_secs(900));
                self.instances.iter().for_each(|instance| instance.keys.expire(self.now));
            }
        }
    }

    fn attest(&mut self, instance: usize) {
        let [first, second] = &self.instances;
        let instance = if instance.is_multiple_of(2) { first } else { second };
        self.recipient = instance.keys.offer(self.now).ok().map(Recipient::new);
    }

    fn seal(&mut self, request: usize) {
        let Some((recipient, message)) = self.recipient.as_ref().zip(self.requests.get(request)) else { return };
        let sealed = seal(recipient, message);
        assert!(sealed.is_ok(), "a request is not sealed");
        if let Ok((sealed, reader)) = sealed {
            self.sent.push(Sent { request, sealed, reader: Some(reader) });
        }
    }

    fn deliver(&mut self, sealed: Option<Vec<u8>>, choice: usize, busy: bool) {
        let [first, second] = &mut self.instances;
        let instance = if choice.is_multiple_of(2) { first } else { second };
        instance.busy = busy;
        let size = [1, 100, usize::MAX].get(choice % 3).copied().unwrap_or(1);
        if let Some(Ok(response)) = sealed.map(|sealed| instance.deliver(&sealed, size, self.now)) {
            self.responses.push(response);
        }
    }

    fn respond(&mut self, sent: usize, response: Option<Vec<u8>>) {
        let sent = index(self.sent.len(), sent);
        let Some((sent, response)) = self.sent.get_mut(sent).zip(response) else { return };
        let Some(reader) = sent.reader.take() else { return };
        let request = sent.request;
        match receive(reader, &response, 7) {
            Ok(found) => {
                let expected = self.requests.get(request).map(Message::response);
                assert_eq!(Some(found), expected, "a response is not that of the application");
                let processed = self.processed(request);
                assert_eq!(processed, 1, "a response to a request that was processed {processed} times");
            }
            // Sealed again with a new number: the same request still may not be processed twice.
            Err(error) if Failure::from(&error).allows_resending(Repetition::Unsafe) => {
                assert_eq!(self.processed(request), 0, "a request was declined after it was processed");
                self.seal(request);
            }
            Err(_) => {}
        }
    }

    fn processed(&self, request: usize) -> usize {
        let Some(message) = self.requests.get(request) else { return 0 };
        self.instances.iter().flat_map(|instance| &instance.begun).filter(|head| **head == message.head).count()
    }

    fn check(&self) {
        for request in 0..self.requests.len() {
            assert!(self.processed(request) <= 1, "request {request} was processed twice");
        }
        let whole = self.instances.iter().flat_map(|instance| &instance.processed);
        assert!(whole.into_iter().all(|found| self.requests.contains(found)), "a request was changed unnoticed");
        let sealed = self.sent.last().map(|sent| &sent.sealed).into_iter().chain(self.responses.last());
        assert!(sealed.into_iter().all(|sealed| !shows_secret(sealed)), "a sealed message shows its content");
    }
}

fn pick<T>(from: &[T], choice: usize) -> Option<&T> {
    from.get(index(from.len(), choice))
}

/// An index below `len`, or 0.
fn index(len: usize, choice: usize) -> usize {
    choice.checked_rem(len).unwrap_or(0)
}

fn changed(mut sealed: Vec<u8>, choice: usize) -> Vec<u8> {
    // Spread over the message.
    let at = index(sealed.len(), choice.saturating_mul(7));
    if let Some(byte) = sealed.get_mut(at) {
        *byte ^= 1;
    }
    sealed
}

fn cut(mut sealed: Vec<u8>, choice: usize) -> Vec<u8> {
    let left = sealed.len().saturating_mul(choice) / 256;
    sealed.truncate(left);
    sealed
}
