//! Tests of the pattern matcher.

use super::*;

#[test]
fn patterns_are_read_by_their_shape() {
    for (pattern, expected) in [
        ("", Openness::Literal),
        ("^A$", Openness::Literal),
        (r"a\.b\-c", Openness::Literal),
        ("/usr/bin", Openness::Literal),
        ("A|B", Openness::Partial),
        ("(A|B)", Openness::Partial),
        ("A?B", Openness::Partial),
        ("A+", Openness::Partial),
        ("T(E)?MP", Openness::Partial),
        ("(?i)(FABRIC)_.+", Openness::Partial),
        ("((?i)FABRIC)_.+", Openness::Partial),
        ("(?P<name>FABRIC_).+", Openness::Partial),
        ("x{2}", Openness::Partial),
        (".*", Openness::Anything),
        ("^(.+)$", Openness::Anything),
        (r"[\s\S]*", Openness::Anything),
        (r"\w+", Openness::Anything),
        ("(?s).*", Openness::Anything),
        ("(?:.|.)+", Openness::Anything),
        ("A*", Openness::Anything),
        ("A{0,9}", Openness::Anything),
        ("(A)?", Openness::Anything),
        ("(A|.*)", Openness::Anything),
        ("A|.*", Openness::Anything),
        ("[^]a]+", Openness::Anything),
        ("[[:print:]]+", Openness::Anything),
        ("[](]A|.*", Openness::Anything),
        ("([])]|.*)", Openness::Anything),
        (r"\x41", Openness::Partial),
    ] {
        assert_eq!(openness(pattern), expected, "{pattern}");
    }
    let deep = format!("{}A{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(openness(&deep), Openness::Anything);
}

#[test]
fn a_pattern_for_a_variable_is_a_name_and_a_value() {
    use Openness::{Anything, Literal, Partial};
    for (pattern, name, value) in [
        ("A=1", Literal, Literal),
        ("HOSTNAME=.+", Literal, Anything),
        ("B=[0-9]+", Literal, Anything),
        ("U=https://.+", Literal, Partial),
        ("^T(E)?MP=.*$", Partial, Anything),
        (".+=.+", Anything, Anything),
        (".*", Anything, Anything),
        ("A=1|.*", Anything, Anything),
        ("(A=.*)", Partial, Partial),
        ("A=b=.*", Literal, Anything),
        ("[A=]+", Anything, Anything),
        ("[[:^space:]]+=[]=]*", Anything, Anything),
        ("[](]=1|.*=.*", Anything, Anything),
    ] {
        assert_eq!(variable(pattern), Variable { name, value }, "{pattern}");
    }
}

#[test]
fn a_pattern_is_anchored_if_each_of_its_alternatives_is() {
    for (pattern, anchored) in [
        ("^A=1$", true),
        ("^(A|B)=.*$", true),
        ("^A=1$|^B=2$", true),
        ("^A=[|]$", true),
        ("", false),
        ("A=1", false),
        ("^A=1", false),
        (r"^A=\$", false),
        ("^A=1|B=2$", false),
        ("^A=1$|B=2", false),
    ] {
        assert_eq!(is_anchored(pattern), anchored, "{pattern}");
    }
}
