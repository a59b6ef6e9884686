//! [`CcePolicyError`]: the reasons why a string is not a CCE policy.

/// The reason why a string is not a CCE policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CcePolicyError {
    /// Rego was expected, but this is base64: whole, or with line breaks, without padding or cut off.
    #[error(
        "expected the Rego text of a CCE policy, found base64; read it as base64, and if it is refused as that (line \
         breaks in it, no padding, cut off), take the text of `ccePolicy` again: standard alphabet with padding, on one \
         line"
    )]
    Base64InsteadOfRego,
    /// The policy begins with a byte order mark, which would be part of the hashed bytes.
    #[error(
        "begins with a byte order mark, which would be hashed as part of the text; save the Rego text as UTF-8 without \
         one, or take the base64 that is deployed"
    )]
    ByteOrderMark,
    /// The policy is empty.
    #[error("expected a CCE policy, found an empty text")]
    Empty,
    /// Not base64 in its one form.
    #[error(
        "expected a CCE policy in base64 (standard alphabet with padding, on one line), as `az confcom` prints it; \
         take the text of `ccePolicy` again, or encode the Rego text with `base64 -w 0`"
    )]
    NotBase64,
    /// No Rego module of the package `policy`, which is the only one that the utility VM asks.
    #[error("is no CCE policy: its first statement is not `package policy`")]
    NotRego,
    /// Not UTF-8.
    #[error("is no CCE policy: it is not text in UTF-8")]
    NotUtf8,
    /// Longer than [`CcePolicy::MAX_BYTES`](crate::cce_policy::CcePolicy::MAX_BYTES).
    #[error("is larger than a CCE policy can be: {found} bytes, at most {max}")]
    TooLarge {
        /// The size, in bytes.
        found: usize,
        /// The limit, in bytes.
        max: usize,
    },
}
