//! The CCE policy of a confidential container, and the host data that it becomes.
//!
//! Azure puts the SHA-256 of the policy's Rego source into `HOST_DATA`, and the utility VM enforces it. The digest shows
//! *that* this policy is enforced; [`CcePolicy::findings`] shows what it does not restrict. [`CcePolicy`] itself
//! reads one form only, without any guess; [`find_cce_policies`] takes policies out of the documents that carry them.
//!
//! The data model is that of the framework which utility VMs contain (`framework.rego` and `api.rego` of
//! `microsoft/hcsshim`, API 0.10 to 0.12) and of the policies that `az confcom` writes.

mod difference;
mod error;
mod finding;
mod finding_messages;
mod framework;
mod lint;
mod pattern;
mod rego;
mod source;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::sha256;
use crate::types::HostData;

pub use difference::CcePolicyDifference;
pub use error::CcePolicyError;
pub use finding::{CcePolicyFinding, CcePolicyFlag, ContainerFinding, MountOrigin};
pub use source::{CcePolicySourceError, FoundCcePolicy, find_cce_policies};

/// A CCE policy: the Rego source that the utility VM of a confidential container enforces.
#[derive(Clone, PartialEq, Eq)]
pub struct CcePolicy {
    text: String,
}

impl CcePolicy {
    /// The largest text that is read, in bytes. Those of deployments have 1 to some hundred kB: one container takes 2 to 5 kB.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads base64 as `az confcom` prints it and a deployment template carries it (`ccePolicy`): on one line. White space
    /// around it is ignored.
    ///
    /// Line breaks within it are refused and not removed. What is deployed has none, so a text with line breaks is a
    /// copy that went through something else, which may have left out a line as well; the digest would be one of
    /// another policy, and nothing would say why no evidence meets it.
    ///
    /// # Errors
    ///
    /// [`CcePolicyError`] for anything but the standard alphabet with padding, for more than
    /// [`CcePolicy::MAX_BYTES`], and for what is no Rego text of `package policy` after it was decoded.
    pub fn from_base64(base64: &str) -> Result<Self, CcePolicyError> {
        let base64 = base64.trim_ascii();
        // Bounds the memory that is taken before the size of the text is known.
        let most = Self::MAX_BYTES.div_ceil(3).saturating_mul(4);
        if base64.len() > most {
            return Err(CcePolicyError::TooLarge {
                found: base64.len().div_euclid(4).saturating_mul(3),
                max: Self::MAX_BYTES,
            });
        }
        let text = STANDARD.decode(base64).map_err(|_| CcePolicyError::NotBase64)?;
        // A mark within base64 was put there by who deployed it, and is hashed: it is part of the policy.
        Self::from_bytes(text)
    }

    /// Creates a policy from its Rego source. Every byte counts, including a final line feed.
    ///
    /// # Errors
    ///
    /// [`CcePolicyError::Empty`] for an empty text or one of white space, [`CcePolicyError::Base64InsteadOfRego`] for
    /// one of base64 characters and white space only, [`CcePolicyError::ByteOrderMark`] for one that an editor has
    /// marked, [`CcePolicyError::NotUtf8`], [`CcePolicyError::NotRego`] for a text without `package policy`, and
    /// [`CcePolicyError::TooLarge`]: the digest of each would be that of no deployment.
    pub fn from_rego(text: impl Into<Vec<u8>>) -> Result<Self, CcePolicyError> {
        let text = text.into();
        if text.starts_with(BYTE_ORDER_MARK.as_bytes()) && !is_like_base64(&text) {
            return Err(CcePolicyError::ByteOrderMark);
        }
        Self::from_bytes(text)
    }

    fn from_bytes(text: Vec<u8>) -> Result<Self, CcePolicyError> {
        if text.len() > Self::MAX_BYTES {
            return Err(CcePolicyError::TooLarge { found: text.len(), max: Self::MAX_BYTES });
        }
        if text.trim_ascii().is_empty() {
            return Err(CcePolicyError::Empty);
        }
        if is_like_base64(&text) {
            return Err(CcePolicyError::Base64InsteadOfRego);
        }
        let text = String::from_utf8(text).map_err(|_| CcePolicyError::NotUtf8)?;
        if !begins_with_package_clause(&text) {
            return Err(CcePolicyError::NotRego);
        }
        Ok(Self { text })
    }

    /// Returns the source, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the host data of a container that runs under this policy: the SHA-256 of the source.
    #[must_use]
    pub fn digest(&self) -> HostData {
        HostData::new(sha256(self.text.as_bytes()))
    }

    /// Returns what the policy leaves to others, and what of it this reader does not know.
    ///
    /// The text is read, not evaluated: top-level assignments of values that are written out, as `az confcom` makes them.
    /// Whatever else stands in the text is a finding of its own, so a policy without findings is one that was read whole:
    /// a computed value, a conditional rule, a member or a switch of a newer framework never passes in silence. What
    /// fragments bring at run time and what the images do with their mounts and variables is not in the text.
    #[must_use]
    pub fn findings(&self) -> Vec<CcePolicyFinding> {
        lint::findings(self)
    }

    /// Returns what one of the two policies allows and the other does not, in the order of their names. An empty list
    /// for policies of different digests says that they differ in spelling or order only, as far as they were read.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<CcePolicyDifference> {
        difference::between(self, other)
    }

    fn module(&self) -> rego::Module {
        rego::read(without_mark(&self.text))
    }
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text without the mark, which the enforcement's parser skips at the beginning.
fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Characters of base64 or base64url and white space, in UTF-8 or as some shells write text (UTF-16, a byte order mark).
/// A package clause is in the same characters, and is Rego.
fn is_like_base64(text: &[u8]) -> bool {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    let text = marks.iter().find_map(|mark| text.strip_prefix(*mark)).unwrap_or(text);
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let has_package_clause = || text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == b"package policy");
    text.iter().any(is_digit) && text.iter().all(|byte| is_digit(byte) || is_blank(byte)) && !has_package_clause()
}

/// Whether the first line that is neither empty nor a comment is `package policy`.
fn begins_with_package_clause(text: &str) -> bool {
    without_mark(text)
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.split_whitespace().eq(["package", "policy"]))
}

impl fmt::Debug for CcePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CcePolicy({}, {} bytes)", self.digest(), self.text.len())
    }
}

impl HostData {
    /// Returns the host data of a container that runs under a CCE policy: the SHA-256 of its decoded text.
    ///
    /// [`CcePolicy`] does the same and also says what the policy allows. Only base64 as it is deployed is read:
    /// [`find_cce_policies`] looks into other documents.
    ///
    /// # Errors
    ///
    /// [`CcePolicyError`] for anything but base64 (standard alphabet with padding) of a CCE policy.
    pub fn from_cce_policy(base64: &str) -> Result<Self, CcePolicyError> {
        CcePolicy::from_base64(base64).map(|policy| policy.digest())
    }

    /// Returns whether this is the digest of a published policy that allows everything, which requires nothing.
    ///
    /// Both digests are those of texts in Microsoft's confidential-sidecar-containers samples. Another allow-all text has
    /// another digest: [`CcePolicy::findings`] looks at the text.
    #[must_use]
    pub fn is_known_allow_all(&self) -> bool {
        const KNOWN: [&str; 2] = [
            "73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20",
            "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10",
        ];
        KNOWN.contains(&self.to_string().as_str())
    }
}
