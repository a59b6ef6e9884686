//! The words of messages.

use std::borrow::Cow;
use std::fmt;

use crate::appraisal::{abbreviate, is_identifying};
use crate::policy::BitRequirement;

/// `a`, or `one of a, b`.
pub(crate) fn any_of<T: fmt::Display>(values: &[T]) -> String {
    let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}

/// A value as messages show it: logs carry no more of what identifies a machine or guest than tells two apart.
pub(super) fn in_logs<'a>(field: &str, value: &'a str) -> Cow<'a, str> {
    if is_identifying(field) { abbreviate(value) } else { Cow::Borrowed(value) }
}

pub(super) fn or_none<T: fmt::Display + ?Sized>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

pub(super) fn because(advisory: Option<&str>) -> String {
    advisory.map_or_else(String::new, |advisory| format!(" ({advisory})"))
}

pub(super) fn be(must: &BitRequirement) -> &'static str {
    match must {
        BitRequirement::BeSet => "be set",
        BitRequirement::BeClear => "be clear",
    }
}
