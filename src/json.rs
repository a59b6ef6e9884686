//! A strict JSON parser (RFC 8259) for untrusted documents.
//!
//! Unlike a general parser it refuses duplicate members at every depth, keeps numbers as text until an integer is requested (no
//! rounding, no `1e400`), and reports the actual type where another one was expected. `serde_json` does none of this by itself,
//! and its behaviour changes with features (`arbitrary_precision`) that any crate of the application can enable; the tests
//! compare this parser with it. The caller bounds the size of the document.

mod reader;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

pub(crate) use reader::parse;

/// The reason why a document is not the expected JSON. Positions are offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The document begins with a byte order mark, which RFC 8259 section 8.1 forbids.
    #[error("the document begins with a byte order mark")]
    ByteOrderMark,
    /// An object has two members of the same name, so that its meaning is ambiguous.
    #[error("the member {name:?} occurs twice in one object")]
    DuplicateMember {
        /// The name, shortened.
        name: String,
    },
    /// The document is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// The document breaks the grammar, or ends too early.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// Objects and arrays are nested too deep.
    #[error("nested deeper than {max} at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
        /// The limit.
        max: usize,
    },
    /// The document has too many values.
    #[error("more than {max} values")]
    TooManyValues {
        /// The limit.
        max: usize,
    },
    /// Bytes follow the document.
    #[error("the document ends at byte {at}, but something follows")]
    TrailingBytes {
        /// Where the document ends.
        at: usize,
    },
}

/// The JSON types, as far as evidence distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JsonType {
    /// An array.
    Array,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object.
    Object,
    /// A number that is not an [`JsonType::UnsignedInteger`]: negative, with a fraction or exponent, or too large.
    OtherNumber,
    /// A string.
    String,
    /// A number from 0 to 2^64 - 1, written in digits only.
    UnsignedInteger,
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Array => "an array",
            Self::Boolean => "true or false",
            Self::Null => "null",
            Self::Object => "an object",
            Self::OtherNumber => "a number that is negative, not an integer or too large",
            Self::String => "a string",
            Self::UnsignedInteger => "an unsigned integer",
        })
    }
}

/// The error of a member that is missing or has the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberError {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its fault.
    pub(crate) reason: MemberErrorReason,
}

/// The fault of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberErrorReason {
    Missing,
    WrongType { expected: JsonType, found: JsonType },
}

/// A value, borrowing from the document.
///
/// Equality is that of values: order of members and escapes in strings do not matter. Numbers are equal when they are
/// written alike.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    /// As written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

impl Value<'_> {
    /// Returns the type, for messages.
    pub(crate) fn json_type(&self) -> JsonType {
        match self {
            Self::Null => JsonType::Null,
            Self::Boolean(_) => JsonType::Boolean,
            Self::Number(text) if text.parse::<u64>().is_ok() => JsonType::UnsignedInteger,
            Self::Number(_) => JsonType::OtherNumber,
            Self::String(_) => JsonType::String,
            Self::Array(_) => JsonType::Array,
            Self::Object(_) => JsonType::Object,
        }
    }
}

/// How many members after the previous one are compared before all are searched. Most names differ in length, which is compared first.
const LOOKED_AT_FIRST: usize = 8;

/// An object, without duplicate members.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// Sorted by name.
    members: Vec<Member<'a>>,
    source: &'a str,
    /// From here on the next requested member is looked for first: after the previous one. Only an optimization.
    next: Cell<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Member<'a> {
    name: Cow<'a, str>,
    value: Value<'a>,
}

impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Object<'_> {}

impl<'a> Object<'a> {
    /// Returns a member that may be absent. If present it must have its type: `null` is not absence.
    pub(crate) fn optional<'o, T: Read<'o>>(&'o self, name: &'static str) -> Result<Option<T>, MemberError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong_type = || MemberErrorReason::WrongType { expected: T::EXPECTED, found: value.json_type() };
        T::read(value).map(Some).ok_or_else(|| MemberError { name, reason: wrong_type() })
    }

    /// Returns a member that must be present.
    pub(crate) fn required<'o, T: Read<'o>>(&'o self, name: &'static str) -> Result<T, MemberError> {
        self.optional(name)?.ok_or(MemberError { name, reason: MemberErrorReason::Missing })
    }

    /// Whether there is a member of this name, of any type.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the names, sorted.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// Returns the first name that begins with `prefix`.
    pub(crate) fn first_with_prefix(&self, prefix: &str) -> Option<&str> {
        // Names are sorted: those before the prefix come first, and those that begin with it next.
        let at = self.members.partition_point(|member| *member.name < *prefix);
        self.members.get(at).map(|member| &*member.name).filter(|name| name.starts_with(prefix))
    }

    /// Returns the object's source text, from brace to brace.
    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    /// Returns the members, sorted by name.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter().map(|member| (&*member.name, &member.value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let next = self.next.get();
        let mut ahead = self.members.get(next..).unwrap_or_default().iter().take(LOOKED_AT_FIRST);
        let at = match ahead.position(|member| member.name == name) {
            Some(passed) => next.saturating_add(passed),
            None => {
                let at = self.members.binary_search_by(|member| (*member.name).cmp(name));
                at.inspect_err(|at| self.next.set(*at)).ok()?
            }
        };
        self.next.set(at.saturating_add(1));
        self.members.get(at).map(|member| &member.value)
    }
}

/// A type that a member can be read as.
pub(crate) trait Read<'o>: Sized {
    const EXPECTED: JsonType;

    fn read(value: &'o Value<'_>) -> Option<Self>;
}

impl<'o> Read<'o> for &'o str {
    const EXPECTED: JsonType = JsonType::String;

    fn read(value: &'o Value<'_>) -> Option<Self> {
        if let Value::String(text) = value { Some(text) } else { None }
    }
}

impl Read<'_> for bool {
    const EXPECTED: JsonType = JsonType::Boolean;

    fn read(value: &Value<'_>) -> Option<Self> {
        if let Value::Boolean(value) = value { Some(*value) } else { None }
    }
}

impl Read<'_> for u64 {
    const EXPECTED: JsonType = JsonType::UnsignedInteger;

    fn read(value: &Value<'_>) -> Option<Self> {
        if let Value::Number(digits) = value { digits.parse().ok() } else { None }
    }
}

impl<'o> Read<'o> for &'o [Value<'o>] {
    const EXPECTED: JsonType = JsonType::Array;

    fn read(value: &'o Value<'_>) -> Option<Self> {
        if let Value::Array(values) = value { Some(values) } else { None }
    }
}

impl<'o> Read<'o> for &'o Object<'o> {
    const EXPECTED: JsonType = JsonType::Object;

    fn read(value: &'o Value<'_>) -> Option<Self> {
        if let Value::Object(object) = value { Some(object) } else { None }
    }
}

#[cfg(test)]
mod tests;
