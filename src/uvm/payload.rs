//! The payload of an endorsement: the endorsed measurement and its security version.

use super::error::PayloadError;
use crate::json::{JsonError, MemberError, MemberErrorReason, Value, parse};
use crate::types::Measurement;

const MEASUREMENT: &str = "x-ms-sevsnpvm-launchmeasurement";
const SVN: &str = "x-ms-sevsnpvm-guestsvn";
const SVN_NUMBER: &str = "x-ms-sevsnpvm-guestsvn-int";

/// Reads the JSON payload of the text-key form: security version and measurement.
///
/// The security version is a canonical decimal string or a JSON integer (both were issued). Since version 103 a second member
/// repeats it as a number, and both must agree. Unknown members are accepted: the issuer signed them, and a new member must not
/// break all clients.
pub(super) fn read_json(payload: &[u8]) -> Result<(u64, Measurement), PayloadError> {
    let members = match parse(payload) {
        Ok(Value::Object(members)) => members,
        Err(JsonError::DuplicateMember { name }) => return Err(PayloadError::DuplicateMember { member: name }),
        Ok(_) | Err(_) => return Err(PayloadError::NotAnObject),
    };
    let wrong = |member| PayloadError::WrongMemberType { member };
    let measurement = Measurement::from_hex(members.required(MEASUREMENT)?).map_err(|_| wrong(MEASUREMENT))?;
    let svn = match members.required::<u64>(SVN) {
        Ok(number) => number,
        Err(_) => canonical_decimal(members.required(SVN)?).ok_or(wrong(SVN))?,
    };
    match members.optional::<u64>(SVN_NUMBER)? {
        Some(number) if number != svn => Err(PayloadError::SvnDisagrees { text: svn, number }),
        _ => Ok((svn, measurement)),
    }
}

impl From<MemberError> for PayloadError {
    fn from(MemberError { name: member, reason }: MemberError) -> Self {
        match reason {
            MemberErrorReason::Missing => Self::MissingMember { member },
            MemberErrorReason::WrongType { .. } => Self::WrongMemberType { member },
        }
    }
}

/// Reads the payload of the hash-envelope form, which is the measurement itself.
pub(super) fn read_measurement(payload: &[u8]) -> Result<Measurement, PayloadError> {
    <[u8; Measurement::LEN]>::try_from(payload)
        .map(Measurement::new)
        .map_err(|_| PayloadError::WrongLength { expected: Measurement::LEN, actual: payload.len() })
}

/// Parses a canonical decimal number: no sign, no leading zero.
fn canonical_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex96() -> String {
        "0a".repeat(48)
    }

    fn read(text: &str) -> Result<u64, PayloadError> {
        read_json(text.replace("HEX", &hex96()).as_bytes()).map(|(svn, measurement)| {
            assert_eq!(measurement.to_string(), hex96());
            svn
        })
    }

    #[test]
    fn the_security_version_is_a_number_in_either_spelling() {
        let with = |svn: &str| read(&format!(r#"{{"{SVN}":{svn},"{MEASUREMENT}":"HEX"}}"#));
        assert_eq!(with("\"104\""), Ok(104));
        assert_eq!(with("\"0\""), Ok(0));
        assert_eq!(with("102"), Ok(102));
        assert_eq!(with("\"18446744073709551615\""), Ok(u64::MAX));
        for bad in [
            "\"\"",
            "\"099\"",
            "\"+1\"",
            "\"-1\"",
            "\"1.0\"",
            "\" 1\"",
            "\"1e2\"",
            "\"18446744073709551616\"",
            "1.0",
            "-1",
            "1e2",
            "null",
            "true",
            "[1]",
            "{}",
            "\"\u{661}\"",
        ] {
            assert_eq!(with(bad), Err(PayloadError::WrongMemberType { member: SVN }), "{bad}");
        }
    }

    #[test]
    fn both_spellings_agree_when_both_are_there() {
        let with = |number: &str| read(&format!(r#"{{"{SVN_NUMBER}":{number},"{SVN}":"103","{MEASUREMENT}":"HEX"}}"#));
        assert_eq!(with("103"), Ok(103));
        assert_eq!(with("104"), Err(PayloadError::SvnDisagrees { text: 103, number: 104 }));
        for bad in ["\"103\"", "103.0", "null", "-103", "[]"] {
            assert_eq!(with(bad), Err(PayloadError::WrongMemberType { member: SVN_NUMBER }), "{bad}");
        }
    }

    #[test]
    fn the_measurement_is_96_lower_case_digits() {
        let with = |value: &str| read_json(format!(r#"{{"{SVN}":"1","{MEASUREMENT}":{value}}}"#).as_bytes());
        let upper = hex96().to_uppercase();
        for bad in [format!("\"{upper}\""), format!("\"{}\"", &hex96()[2..]), "null".into(), "1".into(), "\"\"".into()]
        {
            assert_eq!(with(&bad), Err(PayloadError::WrongMemberType { member: MEASUREMENT }), "{bad}");
        }
        assert_eq!(read(&format!(r#"{{"{SVN}":"1"}}"#)), Err(PayloadError::MissingMember { member: MEASUREMENT }));
        let without = format!(r#"{{"{MEASUREMENT}":"HEX"}}"#);
        assert_eq!(read(&without), Err(PayloadError::MissingMember { member: SVN }));
    }

    #[test]
    fn unknown_members_pass_and_duplicates_do_not() {
        let with = |more: &str| read(&format!(r#"{{"{SVN}":"1","{MEASUREMENT}":"HEX",{more}}}"#));
        assert_eq!(with(r#""x":{"y":[1,-1,1.5,null,true,"z"]}"#), Ok(1));
        for (more, member) in [
            (r#""x-ms-sevsnpvm-guestsvn":"1""#, SVN),
            (r#""x-ms-sevsnpvm-guestsv\u006e":"1""#, SVN),
            (r#""x":1,"x":1"#, "x"),
            (r#""x":[{"y":1,"y":2}]"#, "y"),
        ] {
            assert_eq!(with(more), Err(PayloadError::DuplicateMember { member: member.into() }), "{more}");
        }
        for text in ["", "[]", "\"x\"", "{} {}", "{", "\u{feff}{}", "null"] {
            assert_eq!(read(text), Err(PayloadError::NotAnObject), "{text}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(with(&format!(r#""x":{deep}"#)), Err(PayloadError::NotAnObject));
    }
}
