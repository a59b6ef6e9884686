//! The fields of binary HTTP as headers, and back.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::binary_http::Field;

/// Returns the headers of these fields. `None` if HTTP has no such field, or not so many.
pub(crate) fn from_fields(fields: &[Field]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    append(&mut headers, fields)?;
    Some(headers)
}

/// Adds these fields to headers. `None` if HTTP has no such field, or not so many.
pub(crate) fn append(headers: &mut HeaderMap, fields: &[Field]) -> Option<()> {
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(&field.value).ok()?).ok()?;
    }
    Some(())
}

/// Returns the fields of these headers. White space around a value is not part of it (RFC 9110 section 5.5).
pub(crate) fn to_fields<'a>(headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Vec<Field> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| Field {
        name: name.as_str().to_owned(),
        value: value.as_bytes().trim_ascii().to_vec(),
    };
    headers.into_iter().map(field).collect()
}
