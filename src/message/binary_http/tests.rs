//! Examples of RFC 9292, what is refused, and the crate `bhttp` on the other end.

use super::*;
use crate::message::properties::{binary_http, read};

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

fn get(path: &str, fields: Vec<Field>) -> Head {
    let control = Control::Request {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: String::new(),
        path: path.to_owned(),
    };
    Head { control, fields }
}

/// Control data of `GET https:///`, indeterminate length.
const GET: &str = "0203474554056874747073 00 012f";

fn request(rest: &[u8]) -> Result<Vec<Field>, BinaryHttpError> {
    read(Kind::Request, &[bytes(&GET.replace(' ', "")), rest.to_vec()].concat(), usize::MAX).2
}

/// RFC 9292 section 5.1: `GET /hello.txt` in both forms.
#[test]
fn requests_of_the_rfc() {
    let fields = vec![
        field("user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
        field("host", "www.example.com"),
        field("accept-language", "en, mi"),
    ];
    let lines = concat!(
        "0a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e31362e33204f70656e53534c",
        "2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f616363657074",
        "2d6c616e677561676506656e2c206d69"
    );
    let known = format!("00034745540568747470 73000a2f68656c6c6f2e747874 406c{lines}0000").replace(' ', "");
    let indeterminate = format!("0203474554056874747073000a2f68656c6c6f2e747874{lines}000000").replace(' ', "");
    for message in [known, indeterminate] {
        let expected = (Some(get("/hello.txt", fields.clone())), Vec::new(), Ok(Vec::new()));
        assert_eq!(read(Kind::Request, &bytes(&message), usize::MAX), expected);
        binary_http(&bytes(&message));
        // Without empty content and trailers, and with padding: section 3.8.
        let cut = message.strip_suffix("0000").unwrap();
        assert_eq!(read(Kind::Request, &bytes(cut), 1), expected);
        assert_eq!(read(Kind::Request, &bytes(&format!("{message}00000000")), 3), expected);
    }
}

/// RFC 9292 section 5.2: informational responses come before the final one.
#[test]
fn informational_responses_are_read_over() {
    let message = concat!(
        "03",
        "4066",
        "0772756e6e696e670a22736c65657020313522",
        "00", // 102 Processing
        "4067",
        "046c696e6b063c2f612e6a3e",
        "00", // 103 Early Hints
        "40c8",
        "0464617465034d6f6e",
        "00",
        "0568656c6c6f",
        "00",
        "0374726c0179",
        "00"
    );
    let (head, content, trailers) = read(Kind::Response, &bytes(message), usize::MAX);
    let fields = vec![field("date", "Mon")];
    assert_eq!(head, Some(Head { control: Control::Response { status: 200 }, fields }));
    assert_eq!(content, b"hello");
    assert_eq!(trailers, Ok(vec![field("trl", "y")]));
    binary_http(&bytes(message));
}

#[test]
fn a_message_of_the_other_kind_is_refused() {
    for (kind, indicators) in [(Kind::Request, [1_u8, 3, 4, 63]), (Kind::Response, [0, 2, 4, 63])] {
        for indicator in indicators {
            let (head, _, end) = read(kind, &[indicator, 0, 0, 0], usize::MAX);
            assert_eq!((head, end), (None, Err(BinaryHttpError::Framing(indicator.into()))));
        }
    }
}

#[test]
fn a_message_that_was_cut_is_incomplete() {
    let whole = [
        head(&get("/", vec![field("accept", "text/plain")])).unwrap(),
        content(b"hello ").unwrap(),
        content(b"world").unwrap(),
        end(&[field("checksum", "1")]).unwrap(),
    ];
    let after_head = whole[0].len();
    let after_content = after_head + whole[1].len() + whole[2].len() + 1;
    let whole = whole.concat();
    assert_eq!(read(Kind::Request, &whole, usize::MAX).2, Ok(vec![field("checksum", "1")]));
    for len in 0..whole.len() {
        let expected = match len {
            // RFC 9292 section 3.8: content and trailers may be left out.
            len if len == after_head || len == after_content => Ok(Vec::new()),
            _ => Err(BinaryHttpError::Truncated),
        };
        assert_eq!(read(Kind::Request, &whole[..len], usize::MAX).2, expected, "{len} of {} bytes", whole.len());
    }
}

#[test]
fn bytes_after_the_end_are_refused_unless_they_are_zero() {
    assert_eq!(request(&[0, 0, 0, 0, 0]), Ok(Vec::new()));
    assert_eq!(request(&[0, 0, 0, 0, 1]), Err(BinaryHttpError::Trailing));
}

/// What HTTP/1.1 would read as another message, or as two.
#[test]
fn names_and_values_that_split_a_message_are_refused() {
    for (name, value) in [
        ("Accept", "a"),
        ("a b", "c"),
        ("a:", "b"),
        (":path", "/admin"),
        ("a\r\nhost", "b"),
        ("a\u{e4}", "b"),
        ("a", "b\r\nhost: c"),
        ("a", "b\nc"),
        ("a", "b\0"),
        ("a", "b\u{7f}"),
        ("a", " b"),
        ("a", "b\t"),
    ] {
        let strings = [name, value].map(|text| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
        assert_eq!(request(&strings.concat()), Err(BinaryHttpError::Field), "{name:?}: {value:?}");
        let head = head(&get("/", vec![field(name, value)]));
        assert_eq!(head, Err(BinaryHttpError::Field), "{name:?}: {value:?} is not written either");
        assert_eq!(end(&[field(name, value)]), Err(BinaryHttpError::Field));
    }
}

#[test]
fn control_data_that_split_a_message_are_refused() {
    for (method, scheme, authority, path) in [
        ("", "https", "a", "/"),
        ("GET /", "https", "a", "/"),
        ("GET", "", "a", "/"),
        ("GET", "HTTPS", "a", "/"),
        ("GET", "1", "a", "/"),
        ("GET", "https", "a b", "/"),
        ("GET", "https", "a", "/ HTTP/1.1\r\nhost: b"),
        ("GET", "https", "a", "/\u{e4}"),
    ] {
        let texts = [method, scheme, authority, path];
        let strings = texts.map(|text| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
        let message = [vec![2], strings.concat(), vec![0]].concat();
        assert_eq!(read(Kind::Request, &message, usize::MAX).2, Err(BinaryHttpError::Control), "{texts:?}");
        let [method, scheme, authority, path] = texts.map(str::to_owned);
        let control = Control::Request { method, scheme, authority, path };
        assert_eq!(head(&Head { control, fields: Vec::new() }), Err(BinaryHttpError::Control));
    }
    // The status codes 0, 99, 600 and 65536.
    for status in ["00", "4063", "4258", "80010000"] {
        let message = bytes(&format!("03{status}00"));
        assert_eq!(read(Kind::Response, &message, usize::MAX).2, Err(BinaryHttpError::Control), "{status}");
    }
    let control = Control::Response { status: 101 };
    assert_eq!(head(&Head { control, fields: Vec::new() }), Err(BinaryHttpError::Control));
}

#[test]
fn a_section_that_its_fields_do_not_fill_is_refused() {
    // A value longer than the section; an empty name; a length that is cut by the end.
    for section in ["03 01 61 05", "02 00 00", "01 40", "03 01 61 40"] {
        let message = format!("0003474554056874747073 00 012f {section} 0000").replace(' ', "");
        assert_eq!(read(Kind::Request, &bytes(&message), usize::MAX).2, Err(BinaryHttpError::Field), "{section}");
    }
}

#[test]
fn heads_and_trailers_are_bounded_before_they_have_come() {
    // A method, a name, a value and a section of 65536 bytes, without the bytes.
    let len = [0x80, 0x01, 0x00, 0x00];
    let known = bytes("000347455405687474707300012f");
    for start in [vec![2], bytes(&GET.replace(' ', "")), [bytes(&GET.replace(' ', "")), vec![1, b'a']].concat(), known]
    {
        let message = [start, len.to_vec()].concat();
        assert_eq!(read(Kind::Request, &message, 1).2, Err(BinaryHttpError::TooLarge));
    }
    let line = [1, b'a', 1, b'b'];
    assert_eq!(request(&[line.repeat(256), vec![0, 0, 0]].concat()), Ok(Vec::new()));
    assert_eq!(request(&[line.repeat(257), vec![0, 0, 0]].concat()), Err(BinaryHttpError::TooLarge));
    assert_eq!(request(&[vec![0, 0], line.repeat(257), vec![0]].concat()), Err(BinaryHttpError::TooLarge));
    let many = vec![field("a", "b"); 257];
    assert_eq!(head(&get("/", many.clone())), Err(BinaryHttpError::TooLarge));
    assert_eq!(end(&many), Err(BinaryHttpError::TooLarge));
    let large = "c".repeat(33_000);
    let two = vec![field("a", &large), field("b", &large)];
    assert_eq!(head(&get("/", two.clone())), Err(BinaryHttpError::TooLarge));
    assert_eq!(end(&two), Err(BinaryHttpError::TooLarge));
}

/// Informational responses share the limit of one head, so that a response always begins.
#[test]
fn informational_responses_without_end_are_refused() {
    let message = [vec![3], bytes("406600").repeat(40_000)].concat();
    assert_eq!(read(Kind::Response, &message, 16_384).2, Err(BinaryHttpError::TooLarge));
}

/// Every shape that both accept is the same to both, and to both ends.
#[test]
fn agrees_with_the_crate_bhttp() {
    for content_len in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
        for trailers in [vec![], vec![field("checksum", "1"), field("etag", "\"2\"")]] {
            let text = vec![b'x'; content_len];
            for kind in [Kind::Request, Kind::Response] {
                let ours = match kind {
                    Kind::Request => get("/a?b=c", vec![field("host", "app.example"), field("empty", "")]),
                    Kind::Response => {
                        Head { control: Control::Response { status: 503 }, fields: vec![field("retry-after", "5")] }
                    }
                };
                let written = [head(&ours).unwrap(), content(&text).unwrap(), end(&trailers).unwrap()].concat();
                let theirs = bhttp::Message::read_bhttp(&mut std::io::Cursor::new(&written)).unwrap();
                assert_eq!(theirs.content(), text);
                for mode in [bhttp::Mode::KnownLength, bhttp::Mode::IndeterminateLength] {
                    let mut rewritten = Vec::new();
                    theirs.write_bhttp(mode, &mut rewritten).unwrap();
                    let expected = (Some(ours.clone()), text.clone(), Ok(trailers.clone()));
                    for size in [1, 1000] {
                        let found = read(kind, &rewritten, size);
                        assert!(found == expected, "{kind:?}, {mode:?}, {content_len} bytes in pieces of {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn targets_that_could_be_read_as_another_are_refused() {
    let target = |method: &str, authority: &str, path: &str| {
        let [method, authority, path] = [method, authority, path].map(str::to_owned);
        Control::Request { method, scheme: "https".to_owned(), authority, path }.is_valid()
    };
    for (method, authority, path) in [
        ("GET", "", "/"),
        ("GET", "app.example:8443", "/a?b=c@d//e"),
        ("GET", "[::1]:8443", "/"),
        ("OPTIONS", "app.example", "*"),
    ] {
        assert!(target(method, authority, path), "{method} {authority} {path}");
    }
    for (method, authority, path) in [
        ("GET", "app.example", ""),
        ("GET", "app.example", "x"),
        ("GET", "app.example", "//evil.example/"),
        ("GET", "app.example", "https://evil.example/"),
        ("GET", "app.example", "/#x"),
        ("GET", "app.example", "*"),
        ("GET", "user@app.example", "/"),
        ("GET", "app.example/x", "/"),
        ("CONNECT", "app.example", "/"),
        ("TRACE", "app.example", "/"),
    ] {
        assert!(!target(method, authority, path), "{method} {authority} {path}");
    }
}

#[test]
fn no_protocol_is_switched() {
    // A response of indeterminate length: 101 without fields, then 200.
    let (.., outcome) = read(Kind::Response, &bytes("03 4065 00 40c8 00 00 00".replace(' ', "").as_str()), usize::MAX);
    assert_eq!(outcome, Err(BinaryHttpError::Control));
    let (.., outcome) = read(Kind::Response, &bytes("03 4066 00 40c8 00 00 00".replace(' ', "").as_str()), usize::MAX);
    assert_eq!(outcome, Ok(Vec::new()));
}
