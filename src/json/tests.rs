//! The reader against the grammar, and against `serde_json`.

use proptest::prelude::*;

use super::reader::{MAX_DEPTH, MAX_VALUES, plain_len};
use super::*;

fn string(text: &str) -> Value<'_> {
    Value::String(text.into())
}

#[test]
fn values_are_read_as_they_stand() {
    let document = br#" { "b" : [ true , false , null ] , "a" : -1.5e+3 , "" : "\u00e9\ud83d\ude00\n" } "#;
    let Value::Object(object) = parse(document).unwrap() else { panic!("an object") };
    assert_eq!(object.names().collect::<Vec<_>>(), ["", "a", "b"]);
    assert_eq!(object.required::<&str>(""), Ok("é😀\n"));
    assert_eq!(object.get("a"), Some(&Value::Number("-1.5e+3")));
    assert_eq!(
        object.required::<&[Value<'_>]>("b"),
        Ok(&[Value::Boolean(true), Value::Boolean(false), Value::Null][..])
    );
    assert_eq!(object.source().as_bytes(), document.trim_ascii());
}

/// Wherever names with the prefix stand among the others.
#[test]
fn names_are_found_by_their_beginning() {
    let document = br#"{"x-b-2":0,"x-a":1,"x-b":2,"x-b-1":3,"":4,"y":5}"#;
    let Value::Object(object) = parse(document).unwrap() else { panic!("not an object") };
    for (prefix, found) in [
        ("", Some("")),
        ("x", Some("x-a")),
        ("x-b", Some("x-b")),
        ("x-b-", Some("x-b-1")),
        ("x-b-2", Some("x-b-2")),
        ("y", Some("y")),
        ("w", None),
        ("x-b-3", None),
        ("x-c", None),
        ("z", None),
    ] {
        assert_eq!(object.first_with_prefix(prefix), found, "{prefix:?}");
    }
    let Value::Object(empty) = parse(b"{}").unwrap() else { panic!("not an object") };
    assert_eq!(empty.first_with_prefix("x"), None);
}

#[test]
fn every_escape_has_its_character() {
    let read = |text: &'static str| parse(text.as_bytes());
    assert_eq!(read(r#""\"\\\/\b\f\n\r\t\u0041""#), Ok(string("\"\\/\u{8}\u{c}\n\r\tA")));
    // The first and the last pair of surrogates, and their neighbours, which are characters of their own.
    assert_eq!(read(r#""\ud800\udc00\udbff\udfff""#), Ok(string("\u{10000}\u{10ffff}")));
    assert_eq!(read(r#""\ud7ff\ue000""#), Ok(string("\u{d7ff}\u{e000}")));
    for lone in [r#""\ud800""#, r#""\udbff\u0041""#, r#""\udc00""#, r#""\udfff\ud800""#] {
        assert_eq!(read(lone), Err(JsonError::Syntax { at: 1 }), "{lone}");
    }
    assert_eq!(read(r#""\a""#), Err(JsonError::Syntax { at: 2 }));
}

#[test]
fn members_have_their_type_or_are_refused() {
    let Value::Object(object) =
        parse(br#"{"n":null,"s":"1","i":18446744073709551615,"j":18446744073709551616}"#).unwrap()
    else {
        panic!("an object")
    };
    let wrong =
        |name, expected, found| Err(MemberError { name, reason: MemberErrorReason::WrongType { expected, found } });
    assert_eq!(object.required::<u64>("i"), Ok(u64::MAX));
    assert_eq!(object.required::<u64>("j"), wrong("j", JsonType::UnsignedInteger, JsonType::OtherNumber));
    assert_eq!(object.required::<u64>("s"), wrong("s", JsonType::UnsignedInteger, JsonType::String));
    assert_eq!(object.required::<&str>("i").map(|_| 0), wrong("i", JsonType::String, JsonType::UnsignedInteger));
    assert_eq!(object.required::<bool>("n").map(|_| 0), wrong("n", JsonType::Boolean, JsonType::Null));
    assert_eq!(object.optional::<bool>("n").map(|_| 0), wrong("n", JsonType::Boolean, JsonType::Null));
    assert_eq!(object.optional::<bool>("absent"), Ok(None));
    assert_eq!(
        object.required::<bool>("absent"),
        Err(MemberError { name: "absent", reason: MemberErrorReason::Missing })
    );
}

#[test]
fn a_name_that_occurs_twice_is_refused_at_every_depth() {
    let duplicate = |name: &str| Err(JsonError::DuplicateMember { name: name.into() });
    assert_eq!(parse(br#"{"a":1,"a":1}"#), duplicate("a"));
    assert_eq!(parse(br#"{"b":1,"a":2,"b":3}"#), duplicate("b"));
    assert_eq!(parse(br#"{"a":1,"\u0061":2}"#), duplicate("a"));
    assert_eq!(parse(br#"[{"x":{"y":[{"z":1,"z":2}]}}]"#), duplicate("z"));
    assert_eq!(parse(br#"{"":1,"":2}"#), duplicate(""));
    assert!(parse(br#"{"a":{"a":{"a":1}},"A":2}"#).is_ok());
}

#[test]
fn depth_is_bounded_exactly() {
    let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep { at: MAX_DEPTH, max: MAX_DEPTH }));
    assert_eq!(parse(&vec![b'['; 1 << 20]), Err(JsonError::TooDeep { at: MAX_DEPTH, max: MAX_DEPTH }));
    let side_by_side = format!("[{}[]]", "[],".repeat(100));
    assert!(parse(side_by_side.as_bytes()).is_ok());
}

#[test]
fn the_number_of_values_is_bounded() {
    let array = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert!(parse(array(MAX_VALUES).as_bytes()).is_ok());
    assert_eq!(parse(array(MAX_VALUES + 1).as_bytes()), Err(JsonError::TooManyValues { max: MAX_VALUES }));
}

#[test]
fn what_is_not_json_is_refused_where_it_stops_to_be() {
    let syntax = |at| Err(JsonError::Syntax { at });
    for (document, at) in [
        ("", 0),
        (" ", 1),
        ("{", 1),
        ("[", 1),
        ("\"", 1),
        ("{\"a\"", 4),
        ("{\"a\":", 5),
        ("{\"a\":1", 6),
        ("{\"a\":1,", 7),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("{'a':1}", 1),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("{\"a\" 1}", 5),
        ("{1:1}", 1),
        ("tru", 0),
        ("True", 0),
        ("nul", 0),
        ("NaN", 0),
        ("+1", 0),
        ("-", 1),
        (".5", 0),
        ("1.", 2),
        ("1e", 2),
        ("1e+", 3),
        ("-a", 1),
        ("\"\\x\"", 2),
        ("\"\\u12\"", 1),
        ("\"\\u+123\"", 1),
        ("\"\\ud800\"", 1),
        ("\"\\ud800\\u0041\"", 1),
        ("\"\\udc00\"", 1),
        ("\"a\tb\"", 2),
        ("\"a\nb\"", 2),
        ("\"0123456789\u{0}\"", 11),
        ("//x\n1", 0),
    ] {
        assert_eq!(parse(document.as_bytes()), syntax(at), "{document:?}");
    }
    for (document, at) in
        [("1 1", 2), ("01", 1), ("-01", 2), ("{}{}", 2), ("{}\n{\"error\":\"x\"}", 3), ("1\0", 1), ("truex", 4)]
    {
        assert_eq!(parse(document.as_bytes()), Err(JsonError::TrailingBytes { at }), "{document:?}");
    }
    assert_eq!(parse(b"\xef\xbb\xbf{}"), Err(JsonError::ByteOrderMark));
    assert_eq!(parse(b"\"\xff\""), Err(JsonError::NotUtf8 { at: 1 }));
    assert_eq!(parse(b"\"\xed\xa0\x80\""), Err(JsonError::NotUtf8 { at: 1 }));
}

#[test]
fn the_end_of_a_string_is_found_at_every_offset() {
    for len in 0..40 {
        for special in ['"', '\\', '\u{1f}', '\0'] {
            let text = format!("{}{special}\u{1}\"\\", "é".repeat(len / 2) + &"\u{7f}".repeat(len % 2));
            assert_eq!(plain_len(text.as_bytes()), len / 2 * 2 + len % 2, "{text:?}");
        }
        assert_eq!(plain_len("!".repeat(len).as_bytes()), len);
    }
}

#[test]
fn equality_is_that_of_values() {
    let equal = |a: &str, b: &str| parse(a.as_bytes()).unwrap() == parse(b.as_bytes()).unwrap();
    assert!(equal(r#"{"a":1,"b":[2]}"#, r#" { "b" : [ 2 ] , "\u0061" : 1 } "#));
    assert!(!equal(r#"{"a":1,"b":[2]}"#, r#"{"a":1}"#));
    assert!(!equal(r#"{"a":1}"#, r#"{"a":"1"}"#));
    assert!(!equal(r#"{"a":1}"#, r#"{"a":1.0}"#));
    assert!(!equal("[1,2]", "[2,1]"));
    assert_eq!(parse(br#""\/""#).unwrap(), string("/"));
}

/// The same value as `serde_json` reads, or neither reads one.
fn agrees_with_serde_json(document: &[u8]) {
    let theirs = serde_json::from_slice::<serde_json::Value>(document);
    match parse(document) {
        Ok(ours) => {
            // It refuses numbers that no `f64` holds; ours are text.
            if let Ok(theirs) = theirs {
                assert_eq!(as_serde(&ours), theirs);
            } else {
                assert!(document.iter().any(|byte| matches!(byte, b'e' | b'E')), "{document:?}");
            }
        }
        // These are ours alone.
        Err(JsonError::DuplicateMember { .. } | JsonError::TooDeep { .. } | JsonError::TooManyValues { .. }) => {}
        Err(error) => assert!(theirs.is_err(), "{error} but they read {theirs:?}"),
    }
}

fn as_serde(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap(),
        Value::String(text) => (&**text).into(),
        Value::Array(values) => values.iter().map(as_serde).collect(),
        Value::Object(object) => {
            object.members.iter().map(|member| (member.name.clone().into_owned(), as_serde(&member.value))).collect()
        }
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(".{0,12}", inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(document in prop::collection::vec(any::<u8>(), 0..200)) {
        agrees_with_serde_json(&document);
    }

    #[test]
    fn any_text_of_json_characters(document in r#"[\[\]{}:,"\\0-9eE+.\-truefalsn \n]{0,40}"#) {
        agrees_with_serde_json(document.as_bytes());
    }

    #[test]
    fn any_document_and_its_mutations(
        value in any_value(),
        pretty in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut document =
            if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        prop_assert_eq!(as_serde(&parse(&document).unwrap()), serde_json::from_slice::<serde_json::Value>(&document).unwrap());
        *at.get_mut(&mut document) = byte;
        agrees_with_serde_json(&document);
    }
}
