//! Tests of the Rego reader.

use super::*;

fn assigned(text: &str) -> Vec<(String, Data)> {
    read(text).assignments
}

#[test]
fn plain_data_is_read() {
    let text = "package policy\n\nimport future.keywords.in\nimport rego.v1 # keywords\n\na := true # yes\nb:=\"x\\n\\u0041\"\nc := `raw \"text\" \\d`\nd := [\n  {\"k\": [1, -2.5, null,], },\n  # a comment ]\n]\ne := data.framework.e\nf := { }\r\n";
    let object = |member: &str, value| Data::Object(vec![(member.to_owned(), value)]);
    let number = |text: &str| Data::Number(text.into());
    let module = read(text);
    assert_eq!(
        module.assignments,
        [
            ("a".to_owned(), Data::Bool(true)),
            ("b".to_owned(), Data::Text("x\nA".into())),
            ("c".to_owned(), Data::Text("raw \"text\" \\d".into())),
            (
                "d".to_owned(),
                Data::Array(vec![object("k", Data::Array(vec![number("1"), number("-2.5"), Data::Null]))])
            ),
            ("e".to_owned(), Data::Path("data.framework.e".into())),
            ("f".to_owned(), Data::Object(vec![])),
        ]
    );
    assert_eq!(module.not_read, []);
}

#[test]
fn what_depends_on_something_is_not_read_and_known_not_to_be() {
    for text in [
        "a := true { input.x }",
        "a := true if input.x",
        "a := true; b := true",
        "a := true\na := false",
        "a := true\na { input.x }",
        "a { input.x }\na := true",
        "b { \n a := true\n }",
        "b = [x |\n x := true\n]",
        "default a := true",
        "a = true",
        "a := not b",
        "a := {\"x\", \"y\"}",
        "a := {\"x\": y | y := 1}",
        "a := f(\"x\")",
        "a := \"x\" + \"y\"",
        "a := \"never ends\n",
        "a := `never ends\n",
        "a := [1, 2\n",
        "x(\"\n a := true\n",
        "\"a := true\"",
        "a :=",
        "a",
        ":=",
        "import data.other.a",
        "import future.keywords as a",
        "package other",
    ] {
        let module = read(text);
        assert_eq!(module.get("a"), None, "{text}");
        assert!(!module.not_read.is_empty(), "{text}");
    }
    assert_eq!(read("# a := true").get("a"), None);
    let deep = format!("a := {}{}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(assigned(&deep), []);
    assert_eq!(read("x := f(1)\ny(a) := 1\na := true").get("a"), Some(&Data::Bool(true)));
}

#[test]
fn what_is_not_read_has_a_line_and_a_beginning() {
    let module = read("package policy\n\na := true\nallow {\n  input.x\n}\na := false\n");
    let expected = [(4, "allow {\\n  input.x\\n}"), (7, "a := (assigned twice)")];
    let found: Vec<_> = module.not_read.iter().map(|found| (found.line, found.text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_member_that_stands_twice_is_not_there() {
    let module = read("a := {\"x\": true, \"x\": false, \"y\": true}");
    assert_eq!(module.get("a").unwrap().member("x"), None);
    assert_eq!(module.get("a").unwrap().member("y"), Some(&Data::Bool(true)));
}
