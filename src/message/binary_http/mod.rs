//! Binary HTTP messages (RFC 9292).
//!
//! Messages are written with indeterminate length (section 3.2), since content is streamed, and read in both forms. Nothing
//! that HTTP/1.1 could read in another way is accepted: names are lower-case tokens, values have no control characters.

mod decode;
mod encode;
mod input;
#[cfg(test)]
mod tests;

pub(crate) use decode::{Decoder, Part};
#[cfg(any(test, fuzzing))]
pub(crate) use encode::content;
pub(crate) use encode::{content_length, end, head};

/// The most bytes of a head: control data with all fields, of informational responses too. The same again for trailers.
pub(crate) const MAX_HEAD: usize = 65_536;
/// The most fields of a head, and of trailers.
pub(crate) const MAX_FIELDS: usize = 256;

/// What a message is, before its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// RFC 9292 section 3.4.
    Request {
        /// A token (RFC 9110 section 9.1), as `GET`.
        method: String,
        /// `https` or another scheme, in lower case.
        scheme: String,
        /// Host and port, or empty if the field `host` has them.
        authority: String,
        /// Path and query.
        path: String,
    },
    /// RFC 9292 section 3.5: 200 to 599. Informational responses are not kept.
    Response {
        /// The status code.
        status: u16,
    },
}

/// A header or trailer field. The name is a lower-case token; the value has no control characters but the tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
}

/// Control data and header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) control: Control,
    pub(crate) fields: Vec<Field>,
}

/// Which message is expected. A request is never read as a response, nor the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// Why bytes are not a binary HTTP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BinaryHttpError {
    /// Neither known nor indeterminate length, or the other kind of message.
    #[error("the framing indicator {0} is not one of the expected message")]
    Framing(u64),
    /// A method, scheme, authority, path or status code that HTTP does not have.
    #[error("the control data are invalid")]
    Control,
    /// A name that is no lower-case token, a value with control characters, or a section that its fields do not fill.
    #[error("a field is invalid")]
    Field,
    /// More than 64 KiB or 256 fields.
    #[error("the head or the trailers are too large")]
    TooLarge,
    /// It ends where RFC 9292 section 3.8 does not allow it.
    #[error("the message ends before its end")]
    Truncated,
    /// Other bytes than zeros after the end (RFC 9292 section 3.8).
    #[error("the message has bytes after its end")]
    Trailing,
}

impl Control {
    fn is_valid(&self) -> bool {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        match self {
            Self::Request { method, scheme, authority, path } => {
                let scheme_letter =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
                is_token(method)
                    // CONNECT asks for a tunnel, and TRACE for the request itself: neither is a message to an application.
                    && !matches!(method.as_str(), "CONNECT" | "TRACE")
                    && scheme.starts_with(|first: char| first.is_ascii_lowercase())
                    && scheme.bytes().all(scheme_letter)
                    && visible(authority)
                    && !authority.contains(['@', '/', '?', '#'])
                    && visible(path)
                    && is_target(method, path)
            }
            Self::Response { status } => (200..=599).contains(status),
        }
    }
}

impl Field {
    fn is_valid(&self) -> bool {
        let upper = self.name.bytes().any(|byte| byte.is_ascii_uppercase());
        let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        is_token(&self.name)
            && !upper
            && self.value.iter().all(plain)
            && !blank(self.value.first())
            && !blank(self.value.last())
    }
}

/// The path and query of RFC 9113 section 8.3.1. One that begins with `//` reads as an authority where it is resolved as a reference.
fn is_target(method: &str, path: &str) -> bool {
    let absolute = path.starts_with('/') && !path.starts_with("//") && !path.contains('#');
    absolute || (path == "*" && method == "OPTIONS")
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    // A match is a table; to search a list for each byte would take longer than the rest of a field.
    let symbol = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
    };
    !text.is_empty() && text.bytes().all(symbol)
}
