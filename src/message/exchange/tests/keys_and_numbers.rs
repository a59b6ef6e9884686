//! How long an agent keeps its keys and sessions, and which numbers it accepts.

use std::sync::Weak;
use std::time::Duration;

use super::super::agent::{NotOpened, RequestReader, Verdict};
use super::super::client::Recipient;
use super::super::keys::{KeySchedule, MessageKeys};
use super::super::replay::{MessageNumber, Sessions, WINDOW};
use super::super::world::{Instance, Message, receive, seal};
use super::{ALL, START, attested};
use crate::message::hpke::Kem;

#[test]
fn a_number_is_accepted_once_and_within_the_window() {
    let mut sessions = Sessions::new(2);
    let session = sessions.begin().unwrap();
    let mut mark = |number| sessions.mark(MessageNumber { session, number });
    assert!(mark(5) && !mark(5) && mark(0) && !mark(0));
    assert!(mark(WINDOW + 4) && !mark(WINDOW + 4));
    // The lower edge: 5 was used, 4 was not and is below.
    assert!(!mark(4) && !mark(5) && mark(6));
    assert!(mark(u64::MAX) && !mark(u64::MAX) && mark(u64::MAX - WINDOW + 1) && !mark(u64::MAX - WINDOW));
}

#[test]
fn the_oldest_session_is_forgotten_and_never_begins_again() {
    let mut sessions = Sessions::new(2);
    let [first, second, third] = [(); 3].map(|()| sessions.begin().unwrap());
    assert!(!sessions.mark(MessageNumber { session: first, number: 0 }));
    assert!(sessions.mark(MessageNumber { session: second, number: 0 }));
    assert!(sessions.mark(MessageNumber { session: third, number: 0 }));
    assert!(sessions.insert(third).is_err_and(|error| error == crate::crypto::sealing::SealingError));
    assert!(!sessions.mark(MessageNumber { session: third, number: 0 }));
}

/// Attestations name the newest key, requests to the one before are opened for as long as attestations of it last, and then its memory
/// is gone.
#[test]
fn keys_are_replaced_kept_and_wiped() {
    let at = Duration::from_secs;
    let mut instance = Instance::new(Kem::XWing);
    let first = instance.keys.offer(START).unwrap();
    assert_eq!(instance.keys.offer(at(3_599)).unwrap().config, first.config);
    let second = instance.keys.offer(at(3_600)).unwrap();
    assert_ne!((second.config.digest(), second.config.key_id()), (first.config.digest(), first.config.key_id()));
    let weak = instance.keys.weak();
    let recipient = Recipient::new(first);
    let (sealed, reader) = seal(&recipient, &Message::request(0, 0)).unwrap();
    let response = instance.deliver(&sealed, ALL, at(7_199)).unwrap();
    assert_eq!(receive(reader, &response, ALL), Ok(Message::response(&Message::request(0, 0))));
    let (sealed, _) = seal(&recipient, &Message::request(1, 0)).unwrap();
    assert_eq!(weak.iter().map(Weak::strong_count).collect::<Vec<_>>(), [1, 1]);
    instance.keys.expire(at(7_200));
    assert_eq!(weak.iter().map(Weak::strong_count).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(instance.deliver(&sealed, ALL, at(7_200)), Err(NotOpened));
}

/// A sender who is slow with a head does not keep a key from being overwritten in time.
#[test]
fn a_request_whose_head_is_slow_keeps_no_key() {
    let (instance, recipient) = attested(Kem::X25519);
    let weak = instance.keys.weak();
    let (sealed, _) = seal(&recipient, &Message::request(0, 0)).unwrap();
    let (start, rest) = sealed.split_at(50);
    let mut reader = RequestReader::new();
    assert!(reader.push(start, &instance.keys, START).unwrap().is_none());
    instance.keys.expire(Duration::from_secs(7_200));
    assert_eq!(weak.iter().map(Weak::strong_count).collect::<Vec<_>>(), [0]);
    let verdict = reader.push(rest, &instance.keys, Duration::from_secs(7_200));
    assert!(matches!(verdict, Ok(Some(Verdict::Admitted(_)))), "it began in time");
}

/// An agent refuses a schedule that it cannot keep.
#[test]
fn keys_are_kept_in_time_if_the_schedule_says_so() {
    let second = Duration::from_secs(1);
    for (kept, keeps) in [(7 * second, true), (7 * second + Duration::from_nanos(1), false)] {
        let schedule = KeySchedule { lifetime: second, kept };
        assert_eq!(schedule.keeps_every_key(), keeps);
        let keys = MessageKeys::new(Kem::X25519, schedule);
        keys.offer(START).unwrap();
        let first = keys.weak().remove(0);
        for number in 1..8 {
            keys.offer(number * second).unwrap();
        }
        assert!(first.upgrade().is_some());
        // Its time is over with `kept`, which is now or later.
        keys.expire(8 * second);
        assert_eq!(first.upgrade().is_some(), !keeps);
        keys.offer(8 * second).unwrap();
        assert!(first.upgrade().is_none());
    }
    assert!(KeySchedule { lifetime: Duration::MAX, kept: Duration::MAX }.keeps_every_key());
}

#[test]
fn no_more_keys_are_kept_than_their_ids_can_name() {
    let schedule = KeySchedule { lifetime: Duration::from_secs(1), kept: Duration::from_secs(1_000_000) };
    let keys = MessageKeys::new(Kem::X25519, schedule);
    for second in 0..300 {
        keys.offer(Duration::from_secs(second)).unwrap();
        assert!(keys.weak().len() <= 8);
    }
    assert_eq!(keys.offer(Duration::from_secs(300)).unwrap().config.key_id(), 44);
}
