//! Formatting helpers for error messages.

use std::borrow::Cow;
use std::fmt;

use super::AttestationError;
use crate::appraisal::{abbreviate, is_identifying};
use crate::policy::BitRequirement;
use crate::types::MaaIssuer;

/// Shortens a value that identifies a machine or guest, so that messages and logs can distinguish two without identifying one.
pub(super) fn redact<'a>(field: &str, value: &'a str) -> Cow<'a, str> {
    if is_identifying(field) { abbreviate(value) } else { Cow::Borrowed(value) }
}

pub(super) fn or_none<T: fmt::Display + ?Sized>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

pub(super) fn advisory_suffix(advisory: Option<&str>) -> String {
    advisory.map_or_else(String::new, |advisory| format!(" ({advisory})"))
}

pub(super) fn bit_value(must: &BitRequirement) -> &'static str {
    match must {
        BitRequirement::Set => "set",
        BitRequirement::Clear => "clear",
    }
}

/// Formats the reason why a request failed after bytes of it may have been sent: not as if nothing had been.
pub(super) fn interrupted(reason: &AttestationError) -> String {
    match reason {
        AttestationError::ApplicationUnreachable { reason, .. } => {
            format!("no complete response from the application: {reason}")
        }
        reason => format!("{reason}; the request was under way and may have been processed"),
    }
}

/// Names what an agent did not provide.
pub(super) fn requested_evidence(issuer: Option<&MaaIssuer>) -> String {
    issuer.map_or_else(|| "hardware report".to_owned(), |issuer| format!("MAA token of {issuer}"))
}
