//! Policies in the documents that carry them.

mod json;
mod yaml;

use super::{BYTE_ORDER_MARK, CcePolicy, CcePolicyError, begins_with_package_clause, is_like_base64};
use crate::json::JsonError;

/// The largest document that is looked into, in bytes: what Azure Resource Manager takes as a template (4 MB).
const MAX_BYTES: usize = 4 << 20;

/// The most policies of one document. A template may name one text for many resources, and each is a policy of its own.
const MAX_POLICIES: usize = 64;

/// The annotation of a pod on virtual nodes of Azure Container Instances.
const ANNOTATION: &str = "microsoft.containerinstance.virtualnode.ccepolicy";

/// The member of `confidentialComputeProperties` of a container group.
const MEMBER: &str = "ccePolicy";

/// A policy in a document, or why what stands in its place is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundCcePolicy {
    /// The name of the container group or pod, where the document says it.
    pub name: Option<String>,
    /// Where in the document, such as `resources[0]` or `line 12`; `document` if the policy is all of it.
    pub place: String,
    /// What a reader should know about how it was taken out: nothing where it stood as deployments carry it.
    pub notes: Vec<String>,
    /// The policy.
    pub policy: Result<CcePolicy, CcePolicySourceError>,
}

/// The reason why no policy can be extracted from a document, or from a place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CcePolicySourceError {
    /// A template computes the policy.
    #[error(
        "the template takes the policy from {expression:?}, which is not written out in it; give the file of parameters, \
         the text of the policy, or a template in which `az confcom` has put it"
    )]
    Expression {
        /// The expression, shortened.
        expression: String,
    },
    /// Something stands before `package policy`.
    #[error(
        "line {line} stands before `package policy`, such as a warning of `az`; take out what is not part of the policy, \
         since every byte of the text is hashed"
    )]
    LinesBeforePackage {
        /// The first such line, from 1.
        line: usize,
    },
    /// None of the forms that a policy comes in.
    #[error(
        "holds no CCE policy: expected base64 as `az confcom` prints it, the Rego text, a template with `ccePolicy` (JSON \
         or YAML), or a pod with the annotation microsoft.containerinstance.virtualnode.ccepolicy; found {found}"
    )]
    NoCcePolicy {
        /// What was found.
        found: String,
    },
    /// The place for the policy is empty.
    #[error("the place for the policy is empty; `az confcom acipolicygen` fills it")]
    NotFilled,
    /// The string in the place of the policy is not a CCE policy.
    #[error(transparent)]
    Policy(#[from] CcePolicyError),
    /// Several Rego texts.
    #[error("holds several texts with `package policy`, the second on line {line}; give each in a file of its own")]
    SeveralTexts {
        /// The line of the second, from 1.
        line: usize,
    },
    /// The document is too large.
    #[error("is larger than a document with policies can be: {found} bytes, at most {max}")]
    TooLarge {
        /// The size, in bytes.
        found: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The document has more policies than are read.
    #[error("holds more than {max} policies; split it")]
    TooManyPolicies {
        /// The limit.
        max: usize,
    },
    /// UTF-16, as some shells write it.
    #[error(
        "is UTF-16, as PowerShell writes files; save it as UTF-8 without a byte order mark \
         (`Set-Content -Encoding ascii`, `iconv -f UTF-16 -t UTF-8`)"
    )]
    Utf16,
    /// The place for the policy is in a form of YAML that is not read.
    #[error(
        "line {line}: the policy is in a form of YAML that is not read; expected it on one line, plain or in quotes, or as \
         a block of one line"
    )]
    YamlForm {
        /// The line, from 1.
        line: usize,
    },
    /// The place of the policy does not have a string.
    #[error("expected text in the place for the policy, found {found}")]
    WrongType {
        /// What was found.
        found: &'static str,
    },
}

/// Returns the policies that a document holds, in its order: at least one.
///
/// Read are base64 as `az confcom` prints it (also in quotes, below lines that begin with `WARNING:`, or several, with
/// empty lines between), the Rego text (`--outraw`, `--outraw-pretty-print`), templates of Azure Resource Manager in
/// JSON and files of parameters (`ccePolicy`), YAML of Azure Container Instances (`ccePolicy`), and YAML or JSON of
/// Kubernetes (the annotation `microsoft.containerinstance.virtualnode.ccepolicy`).
///
/// A policy is never altered: base64 is decoded in its one strict form wherever it stands, and a Rego text is every
/// byte of the document. [`HostData::from_cce_policy`](crate::HostData::from_cce_policy) and
/// [`CcePolicy::from_base64`] do none of this looking.
///
/// # Errors
///
/// [`CcePolicySourceError`] if the document holds no policy, or is not one of these. Where a document has a place for a
/// policy and no policy in it, the error is in [`FoundCcePolicy::policy`].
pub fn find_cce_policies(document: &[u8]) -> Result<Vec<FoundCcePolicy>, CcePolicySourceError> {
    if document.len() > MAX_BYTES {
        return Err(CcePolicySourceError::TooLarge { found: document.len(), max: MAX_BYTES });
    }
    let utf16 = [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| document.starts_with(*mark));
    if utf16 || document.contains(&0) {
        return Err(CcePolicySourceError::Utf16);
    }
    let marked = str::from_utf8(document).map_err(|_| CcePolicyError::NotUtf8)?;
    // Around base64, JSON and YAML the mark is no part of what is hashed; before a Rego text it would be, and is refused.
    let text = marked.strip_prefix(BYTE_ORDER_MARK).unwrap_or(marked);
    if text.trim().is_empty() {
        return Err(CcePolicyError::Empty.into());
    }
    if let Some(found) = in_base64(text)? {
        return Ok(found);
    }
    if begins_with_package_clause(text) {
        return rego(marked).map(|found| vec![found]);
    }
    let json = crate::json::parse(text.as_bytes());
    if let Ok(value) = &json {
        return json::policies(value);
    }
    let found = yaml::policies(text)?;
    if !found.is_empty() {
        return Ok(found);
    }
    Err(unreadable(text, json.err()))
}

fn unreadable(text: &str, json: Option<JsonError>) -> CcePolicySourceError {
    let mut lines = text.lines();
    if lines.any(|line| line.split_whitespace().take(2).eq(["package", "policy"])) {
        let first = text.lines().position(|line| !line.trim().is_empty()).unwrap_or_default();
        return CcePolicySourceError::LinesBeforePackage { line: first.saturating_add(1) };
    }
    if is_like_base64(text.as_bytes()) {
        return CcePolicyError::NotBase64.into();
    }
    let found = match json {
        Some(error) if text.trim_start().starts_with(['{', '[']) => format!("text like JSON that is none ({error})"),
        _ => "another text".to_owned(),
    };
    CcePolicySourceError::NoCcePolicy { found }
}

/// Base64: all of the text, in quotes, or several with empty lines between, as `az confcom` prints the policies of one
/// template. Lines of `az` itself may stand above.
fn in_base64(text: &str) -> Result<Option<Vec<FoundCcePolicy>>, CcePolicySourceError> {
    let mut warnings = 0_usize;
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines() {
        let line = line.trim_ascii();
        match (line.is_empty(), blocks.last_mut()) {
            (true, Some(block)) if !block.is_empty() => blocks.push(Vec::new()),
            (true, _) => {}
            (false, _) if line.starts_with("WARNING:") => warnings = warnings.saturating_add(1),
            (false, Some(block)) => block.push(line),
            (false, None) => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    let several = blocks.len() > 1;
    let mut found = Vec::new();
    for (place, block) in blocks.into_iter().enumerate() {
        let [line] = block.as_slice() else { return Ok(None) };
        let bare = unquoted(line);
        let policy = match CcePolicy::from_base64(bare) {
            Ok(policy) => Ok(policy),
            // Whole base64 of something else is said to be so.
            Err(CcePolicyError::NotBase64) => return Ok(None),
            Err(error) => Err(error.into()),
        };
        let mut notes = Vec::new();
        if bare.len() != line.len() {
            notes.push("the base64 stood in quotes, which are not part of it".to_owned());
        }
        if warnings > 0 && place == 0 {
            notes.push(format!("{warnings} lines that begin with `WARNING:` were passed over"));
        }
        let place = if several { format!("policy {}", place.saturating_add(1)) } else { "document".to_owned() };
        check_count(&found)?;
        found.push(FoundCcePolicy { name: None, place, notes, policy });
    }
    Ok((!found.is_empty()).then_some(found))
}

/// Before one more is added.
fn check_count(found: &[FoundCcePolicy]) -> Result<(), CcePolicySourceError> {
    if found.len() < MAX_POLICIES { Ok(()) } else { Err(CcePolicySourceError::TooManyPolicies { max: MAX_POLICIES }) }
}

/// Removes the quotes around a string.
fn unquoted(text: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

/// The whole document as a Rego text. What `az confcom` prints is not always what it deploys, which the notes say.
fn rego(text: &str) -> Result<FoundCcePolicy, CcePolicySourceError> {
    let mut clauses = text.lines().enumerate().filter(|(_, line)| line.trim() == "package policy");
    if let (Some(_), Some((second, _))) = (clauses.next(), clauses.next()) {
        return Err(CcePolicySourceError::SeveralTexts { line: second.saturating_add(1) });
    }
    let policy = CcePolicy::from_rego(text)?;
    let mut notes = Vec::new();
    // `--outraw` prints the text and three line feeds that are not in what it puts into a template.
    let bare = text.trim_end_matches('\n');
    if text.len().saturating_sub(bare.len()) > 1 {
        let deployed = CcePolicy::from_rego(bare)?.digest();
        notes.push(format!(
            "the text ends with empty lines, which are hashed; `az confcom --outraw` prints some that it does not deploy: \
             without them the host data is {deployed}. The base64 that is deployed tells which"
        ));
    }
    if text.contains("\ncontainers := [\n") {
        notes.push(
            "the containers are on lines of their own, as `--outraw-pretty-print` has them; `az confcom` deploys them on one \
             line, which has another host data. The base64 that is deployed tells which"
                .to_owned(),
        );
    }
    if text.contains("\r\n") {
        notes.push("the lines end with CR LF, which is hashed; `az confcom` deploys LF".to_owned());
    }
    Ok(FoundCcePolicy { name: None, place: "document".to_owned(), notes, policy: Ok(policy) })
}

/// The policy of a value in a document.
fn value(text: &str) -> Result<CcePolicy, CcePolicySourceError> {
    if text.trim_ascii().is_empty() {
        return Err(CcePolicySourceError::NotFilled);
    }
    Ok(CcePolicy::from_base64(text)?)
}
