//! Each action of a hostile front end by itself, with its exact error; and all of them in any order.

mod keys_and_numbers;

use std::time::Duration;

use proptest::prelude::*;

use super::agent::{NotOpened, RequestReader, ResponseHead, Verdict};
use super::client::{Recipient, ResponseError};
use super::fields::{MESSAGE, ReservedField};
use super::keys::Offer;
use super::properties;
use super::replay::{MessageNumber, SessionId, WINDOW};
use super::resending::{Failure, Repetition};
use super::stream::{MAX_PIECE, MessageError};
use super::world::{Instance, Message, receive, seal, shows_secret};
use crate::message::binary_http::{Control, Field, Head};
use crate::message::chunks::ChunkError;
use crate::message::hpke::Kem;

const START: Duration = Duration::ZERO;
const ALL: usize = usize::MAX;

fn attested(kem: Kem) -> (Instance, Recipient) {
    let instance = Instance::new(kem);
    let recipient = Recipient::new(instance.keys.offer(START).unwrap());
    (instance, recipient)
}

fn chunk_error(error: ChunkError) -> ResponseError {
    ResponseError::Message(MessageError::Chunk(error))
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

#[test]
fn a_request_and_its_response_arrive_in_pieces_of_any_size_and_show_nothing() {
    for kem in [Kem::X25519, Kem::XWing] {
        let (mut instance, recipient) = attested(kem);
        for (number, len) in [0, 1, MAX_PIECE, MAX_PIECE + 1, 70_000].into_iter().enumerate() {
            for size in [100, ALL] {
                let request = Message::request(number, len);
                let (sealed, reader) = seal(&recipient, &request).unwrap();
                let response = instance.deliver(&sealed, size, START).unwrap();
                assert!(!shows_secret(&sealed) && !shows_secret(&response));
                assert_eq!(instance.processed.last(), Some(&request));
                assert_eq!(receive(reader, &response, size), Ok(Message::response(&request)));
            }
        }
    }
    assert!(shows_secret(Message::request(0, 0).content.as_slice()), "the search finds nothing");
}

#[test]
fn the_agent_gives_out_no_number_and_the_client_seals_no_reserved_field() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let (sealed, _) = seal(&recipient, &Message::request(0, 0)).unwrap();
    instance.deliver(&sealed, ALL, START).unwrap();
    assert!(instance.begun[0].fields.iter().all(|field| field.name != MESSAGE));
    for name in [MESSAGE, "host", "connection", "content-length", "transfer-encoding", "te", "upgrade"] {
        let mut request = Message::request(0, 0);
        request.head.fields.push(field(name, "x"));
        let error = seal(&recipient, &request).err();
        assert_eq!(error, Some(MessageError::Reserved(ReservedField(name.to_owned()))));
    }
    let mut request = Message::request(0, 0);
    request.trailers.push(field(MESSAGE, "declined"));
    assert_eq!(seal(&recipient, &request).err(), Some(MessageError::Reserved(ReservedField(MESSAGE.to_owned()))));
}

#[test]
fn a_repeated_request_is_refused_and_that_is_no_permission_to_send_it_again() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let request = Message::request(0, 9);
    let (sealed, reader) = seal(&recipient, &request).unwrap();
    let withheld = instance.deliver(&sealed, ALL, START).unwrap();
    let second = instance.deliver(&sealed, ALL, START).unwrap();
    assert_eq!((instance.begun.len(), instance.processed.len()), (1, 1));
    let error = receive(reader, &second, ALL).unwrap_err();
    assert_eq!(error, ResponseError::Refused);
    assert!(!Failure::from(&error).allows_resending(Repetition::Unsafe));
    assert!(Failure::from(&error).allows_resending(Repetition::Idempotent));
    assert!(!shows_secret(&withheld) && !shows_secret(&second));
}

/// What was declined stays so: the request can be sealed again, and is processed once.
#[test]
fn a_declined_request_is_never_processed_later() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let request = Message::request(0, 9);
    let (sealed, reader) = seal(&recipient, &request).unwrap();
    instance.busy = true;
    let declined = instance.deliver(&sealed, ALL, START).unwrap();
    let error = receive(reader, &declined, ALL).unwrap_err();
    assert_eq!(error, ResponseError::Declined);
    assert!(Failure::from(&error).allows_resending(Repetition::Unsafe));

    instance.busy = false;
    let (again, reader) = seal(&recipient, &request).unwrap();
    instance.deliver(&sealed, ALL, START).unwrap();
    assert_eq!(instance.begun, []);
    let response = instance.deliver(&again, ALL, START).unwrap();
    assert_eq!(receive(reader, &response, ALL), Ok(Message::response(&request)));
    assert_eq!(instance.begun.len(), 1);
}

/// A part of a notice is not one, so that nothing is sent again for it.
#[test]
fn a_cut_notice_is_no_permission_to_send_again() {
    let (mut instance, recipient) = attested(Kem::X25519);
    instance.busy = true;
    let decline = |instance: &mut Instance, cut: usize| {
        let (sealed, reader) = seal(&recipient, &Message::request(0, 0)).unwrap();
        let mut declined = instance.deliver(&sealed, ALL, START).unwrap();
        declined.truncate(declined.len().saturating_sub(cut));
        (declined.len(), receive(reader, &declined, ALL).unwrap_err())
    };
    let (len, whole) = decline(&mut instance, 0);
    assert_eq!(whole, ResponseError::Declined);
    for cut in 1..=len {
        let (_, error) = decline(&mut instance, cut);
        assert!(matches!(error, ResponseError::Message(MessageError::Chunk(_))), "{error}");
        assert!(!Failure::from(&error).allows_resending(Repetition::Unsafe));
    }
}

/// An application that passes on the response of another server cannot say that its own request was not processed.
#[test]
fn the_application_cannot_write_what_only_the_agent_writes() {
    let (instance, recipient) = attested(Kem::X25519);
    let (sealed, mut reader) = seal(&recipient, &Message::request(0, 0)).unwrap();
    let Ok(Some(Verdict::Admitted(admitted))) = RequestReader::new().push(&sealed, &instance.keys, START) else {
        panic!("not admitted");
    };
    let fields = vec![field(MESSAGE, "declined"), field("content-length", "3"), field("x-mine", "1")];
    let head = Head { control: Control::Response { status: 503 }, fields };
    let (_, _, responder) = admitted.accept();
    let (writer, out) = responder.begin(&ResponseHead::new(head).unwrap()).unwrap();
    assert_eq!(
        writer.finish(&[field(MESSAGE, "declined")]),
        Err(MessageError::Reserved(ReservedField(MESSAGE.to_owned())))
    );
    reader.push(&out);
    let Some(crate::message::binary_http::Part::Head(head)) = reader.next().unwrap() else { panic!("no head") };
    assert_eq!(head.fields, [field("x-mine", "1")]);
    assert_eq!(reader.finish().unwrap_err(), chunk_error(ChunkError::Truncated));
}

#[test]
fn a_changed_request_is_never_processed_as_another_one() {
    let request = Message::request(0, 40);
    let (mut instance, recipient) = attested(Kem::X25519);
    let (sealed, _) = seal(&recipient, &request).unwrap();
    for at in 0..sealed.len() {
        let (before, mut changed) = (instance.begun.len(), seal(&recipient, &request).unwrap().0);
        changed[at] ^= 0x20;
        assert_eq!(instance.deliver(&changed, ALL, START), Err(NotOpened), "byte {at}");
        // The head may have been whole before the change: the application got it once, and an incomplete content.
        assert!(instance.begun.len() <= before + 1 && instance.processed.is_empty(), "byte {at}");
        assert!(instance.begun.iter().all(|head| *head == request.head), "byte {at}");
    }
    assert_eq!(instance.cut, instance.begun.len());
    assert!(instance.cut > 40);
}

#[test]
fn a_cut_request_is_never_complete() {
    let request = Message::request(0, 40);
    let (mut instance, recipient) = attested(Kem::X25519);
    let (whole, _) = seal(&recipient, &request).unwrap();
    for len in 0..whole.len() {
        let (sealed, _) = seal(&recipient, &request).unwrap();
        assert_eq!(instance.deliver(&sealed[..len], 50, START), Err(NotOpened), "{len} bytes");
    }
    assert!(instance.processed.is_empty() && instance.cut > 40);
}

#[test]
fn a_changed_or_cut_response_is_never_complete() {
    let request = Message::request(0, 40);
    let (mut instance, recipient) = attested(Kem::X25519);
    let mut exchange = |change: &dyn Fn(&mut Vec<u8>)| {
        let (sealed, reader) = seal(&recipient, &request).unwrap();
        let mut response = instance.deliver(&sealed, ALL, START).unwrap();
        let len = response.len();
        change(&mut response);
        (len, receive(reader, &response, ALL))
    };
    let (len, whole) = exchange(&|_| {});
    assert_eq!(whole, Ok(Message::response(&request)));
    for at in 0..len {
        let (_, changed) = exchange(&|response| response[at] ^= 0x20);
        assert!(matches!(changed, Err(ResponseError::Message(MessageError::Chunk(_)))), "byte {at}: {changed:?}");
        let (_, cut) = exchange(&|response| response.truncate(at));
        assert!(matches!(cut, Err(ResponseError::Message(MessageError::Chunk(_)))), "{at} bytes: {cut:?}");
    }
    let (_, longer) = exchange(&|response| response.push(0));
    assert_eq!(longer, Err(chunk_error(ChunkError::Unauthentic)));
}

#[test]
fn responses_are_not_swapped() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let [(first, of_first), (second, of_second)] =
        [0, 1].map(|number| seal(&recipient, &Message::request(number, 0)).unwrap());
    let [to_first, to_second] = [first, second].map(|sealed| instance.deliver(&sealed, ALL, START).unwrap());
    assert_eq!(receive(of_first, &to_second, ALL), Err(chunk_error(ChunkError::Unauthentic)));
    assert_eq!(receive(of_second, &to_first, ALL), Err(chunk_error(ChunkError::Unauthentic)));
}

/// The front end knows the public key and the session, so it can seal requests of its own. It gets its own responses, and the client
/// gets none of them.
#[test]
fn a_front_end_that_seals_in_the_session_of_a_client_only_uses_up_its_numbers() {
    let (mut instance, _) = attested(Kem::X25519);
    let offer = instance.keys.offer(START).unwrap();
    let (client, front_end) = (Recipient::new(offer.clone()), Recipient::new(offer));
    let (forged, of_front_end) = seal(&front_end, &Message::request(7, 0)).unwrap();
    let (sealed, of_client) = seal(&client, &Message::request(0, 0)).unwrap();
    let to_forged = instance.deliver(&forged, ALL, START).unwrap();
    let to_client = instance.deliver(&sealed, ALL, START).unwrap();
    assert_eq!(instance.processed, [Message::request(7, 0)]);
    assert_eq!(receive(of_client, &to_client, ALL), Err(ResponseError::Refused));
    assert_eq!(receive(of_front_end, &to_forged, ALL), Ok(Message::response(&Message::request(7, 0))));
}

#[test]
fn another_replica_does_not_open_a_request() {
    let ((mut first, recipient), (mut second, other)) = (attested(Kem::X25519), attested(Kem::X25519));
    let (sealed, reader) = seal(&recipient, &Message::request(0, 0)).unwrap();
    // Both keys have the same id: it is a hint.
    seal(&other, &Message::request(1, 0)).unwrap();
    assert_eq!(second.deliver(&sealed, ALL, START), Err(NotOpened));
    assert!(second.begun.is_empty());
    assert!(!Failure::Unauthenticated.allows_resending(Repetition::Unsafe));
    let response = first.deliver(&sealed, ALL, START).unwrap();
    assert_eq!(receive(reader, &response, ALL), Ok(Message::response(&Message::request(0, 0))));
}

/// Whatever is wrong before a chunk decrypts has one error: there is no detail to learn from.
#[test]
fn every_request_that_does_not_open_has_the_same_error() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let (sealed, _) = seal(&recipient, &Message::request(0, 0)).unwrap();
    let with = |at: usize, byte: u8| {
        let mut changed = sealed.clone();
        changed[at] = byte;
        changed
    };
    let low_order = [&sealed[..7], &[0; 32], &sealed[39..]].concat();
    let cases = [
        ("nothing", Vec::new()),
        ("another key id", with(0, 9)),
        ("another KEM", with(1, 0x64)),
        ("another AEAD", with(6, 3)),
        ("a low-order key", low_order),
        ("another encapsulated key", with(7, sealed[7] ^ 1)),
        ("a changed chunk", with(60, sealed[60] ^ 1)),
        ("a chunk that is too large", [&sealed[..39], &[0x80, 0xff, 0xff, 0xff]].concat()),
        ("no final chunk", sealed[..39].to_vec()),
        ("plain HTTP", b"POST /generate HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (name, content) in cases {
        assert_eq!(instance.deliver(&content, ALL, START), Err(NotOpened), "{name}");
    }
    assert!(instance.begun.is_empty());
}

#[test]
fn unknown_sessions_and_malformed_numbers_are_refused_and_sealed() {
    let (mut instance, _) = attested(Kem::X25519);
    let offer = instance.keys.offer(START).unwrap();
    let unknown = Recipient::new(Offer { session: SessionId::generate().unwrap(), ..offer });
    let (sealed, reader) = seal(&unknown, &Message::request(0, 0)).unwrap();
    let response = instance.deliver(&sealed, ALL, START).unwrap();
    assert_eq!(receive(reader, &response, ALL), Err(ResponseError::Refused));
    assert!(instance.begun.is_empty());
    let session = "0123456789abcdef0123456789abcdef";
    let parse = |value: &str| MessageNumber::from_value(value.as_bytes());
    assert_eq!(parse(&format!("{session}.{}", u64::MAX)).unwrap().number, u64::MAX);
    for value in [
        "",
        ".",
        session,
        "0123.0",
        &format!("{session}."),
        &format!("{session}.00"),
        &format!("{session}.01"),
        &format!("{session}.+1"),
        &format!("{session}.-1"),
        &format!("{session}.1.1"),
        &format!("{session}. 1"),
        &format!("{session}.18446744073709551616"),
        &format!("{}.1", session.to_uppercase()),
        &format!("{session}0.1"),
    ] {
        assert_eq!(parse(value), None, "{value:?}");
    }
}

/// The properties of the fuzz targets, from a fixed start.
#[test]
fn a_front_end_that_does_everything_in_any_order_for_2000_steps_reads_and_changes_nothing() {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    for _ in 0..10 {
        let mut script = vec![0, next(), 0];
        script.extend((0..597).map(|_| next()));
        properties::front_end(&script);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_front_end_gains_nothing(script in proptest::collection::vec(any::<u8>(), 0..120)) {
        properties::front_end(&[&[0, 0, 0], script.as_slice()].concat());
    }

    #[test]
    fn the_session_table_agrees_with_one_that_remembers_everything(
        script in proptest::collection::vec(any::<u8>(), 0..2_000)
    ) {
        properties::sessions(&script);
    }

    #[test]
    fn a_number_has_one_spelling(session in "[0-9a-f]{32}", number in "[0-9+]{1,21}") {
        properties::message_number(format!("{session}.{number}").as_bytes());
    }
}

/// An agent refuses a number that is 1024 below another one. So none is sealed while one so far below it may be on its way.
#[test]
fn a_client_keeps_its_requests_within_the_window_of_the_agent() {
    let (mut instance, recipient) = attested(Kem::X25519);
    let request = Message::request(0, 0);
    let (first, reader) = seal(&recipient, &request).unwrap();
    let others: Vec<_> = (1..WINDOW).map(|_| seal(&recipient, &request).unwrap()).collect();
    assert_eq!(seal(&recipient, &request).err(), Some(MessageError::TooManyUnderWay));
    // The newest one overtakes all others, and the oldest one is still processed.
    let (newest, _) = others.last().unwrap();
    instance.deliver(newest, ALL, START).unwrap();
    let response = instance.deliver(&first, ALL, START).unwrap();
    assert_eq!(receive(reader, &response, ALL), Ok(Message::response(&request)));
    assert_eq!(instance.processed.len(), 2);
    // One place is free.
    let further = seal(&recipient, &request).unwrap();
    assert_eq!(seal(&recipient, &request).err(), Some(MessageError::TooManyUnderWay));
    // A request that its caller gives up is waited for no longer.
    drop((others, further));
    seal(&recipient, &request).unwrap();
}

/// `TRACE` is as safe, and no sealed request has it (RFC 9110 section 9.2.1). `PUT` and `DELETE` are idempotent, but one that is
/// processed late may undo another.
#[test]
fn only_safe_methods_are_repeated_of_themselves() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(Repetition::of_method(method), Repetition::Idempotent, "{method}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "get", ""] {
        assert_eq!(Repetition::of_method(method), Repetition::Unsafe, "{method}");
    }
}
