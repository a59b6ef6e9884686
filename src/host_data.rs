//! The CCE policy of a confidential container, and the host data that it becomes.
//!
//! Azure puts the SHA-256 of the policy's Rego text into `HOST_DATA`, and the utility VM enforces the text. Its digest
//! says *that* this text is enforced; [`CcePolicy::findings`] says some of what the text should not contain.

mod rego;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::sha256;
use crate::types::{HostData, shorten};
use rego::Data;

/// A text that is not a CCE policy in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCcePolicy {
    /// No text at all.
    #[error("expected a CCE policy, found an empty text")]
    Empty,
    /// Not base64 in its one form.
    #[error(
        "expected a CCE policy in base64 (standard alphabet with padding, on one line), as `az confcom` prints it; \
         take the text of `ccePolicy` again, or encode the Rego text with `base64 -w 0`"
    )]
    NotBase64,
    /// A Rego text was expected, and this is base64: whole, or with line breaks, without padding or cut off.
    #[error(
        "expected the Rego text of a CCE policy, found base64; read it as base64, and if it is refused as that (line \
         breaks in it, no padding, cut off), take the text of `ccePolicy` again: standard alphabet with padding, on one \
         line"
    )]
    Base64InsteadOfRego,
}

/// A CCE policy: the Rego text that the utility VM of a confidential container enforces.
#[derive(Clone, PartialEq, Eq)]
pub struct CcePolicy {
    text: Vec<u8>,
}

impl CcePolicy {
    /// Reads base64 as `az confcom` prints it and a deployment template carries it (`ccePolicy`): on one line. White space
    /// around it is ignored.
    ///
    /// Line breaks within it are refused and not removed. What is deployed has none, so a text with line breaks is a
    /// copy that went through something else, which may have left out a line as well; the digest would be one of
    /// another policy, and nothing would say why no evidence meets it.
    ///
    /// # Errors
    ///
    /// [`InvalidCcePolicy`] for anything but the standard alphabet with padding, for an empty text, and for what is still
    /// base64 after it was decoded.
    pub fn from_base64(base64: &str) -> Result<Self, InvalidCcePolicy> {
        let text = STANDARD.decode(base64.trim_ascii()).map_err(|_| InvalidCcePolicy::NotBase64)?;
        Self::from_rego(text)
    }

    /// Takes the text itself. Every byte counts, a last line feed too.
    ///
    /// # Errors
    ///
    /// [`InvalidCcePolicy::Empty`] for an empty text or one of white space, [`InvalidCcePolicy::Base64InsteadOfRego`] for
    /// one of base64 characters and white space only: no Rego text is, and its digest would be that of no deployment.
    pub fn from_rego(text: impl Into<Vec<u8>>) -> Result<Self, InvalidCcePolicy> {
        let text = text.into();
        if text.trim_ascii().is_empty() {
            return Err(InvalidCcePolicy::Empty);
        }
        if is_like_base64(&text) {
            return Err(InvalidCcePolicy::Base64InsteadOfRego);
        }
        Ok(Self { text })
    }

    /// The text, byte for byte.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The host data of a container that runs under this policy: SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> HostData {
        HostData::new(sha256(&self.text))
    }

    /// What a policy for production should not do.
    ///
    /// The text is read, not evaluated: top-level assignments of values that are written out, as `az confcom` makes them.
    /// What is found is true of the text. Nothing found does not mean that nothing is there: computed values, conditional
    /// rules, fragments loaded at run time and what the images do with their mounts and variables are not seen.
    #[must_use]
    pub fn findings(&self) -> Vec<CcePolicyFinding> {
        let mut findings = Vec::new();
        if self.digest().is_known_allow_all() {
            findings.push(CcePolicyFinding::KnownAllowAll);
        }
        match std::str::from_utf8(&self.text) {
            Ok(text) => read_findings(text, &mut findings),
            Err(_) => findings.push(CcePolicyFinding::NotRead),
        }
        findings
    }
}

/// Characters of base64 or base64url and white space, in UTF-8 or as some shells write text (UTF-16, a byte order mark).
/// A package clause is in the same characters, and is Rego.
fn is_like_base64(text: &[u8]) -> bool {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    let text = marks.iter().find_map(|mark| text.strip_prefix(*mark)).unwrap_or(text);
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    text.iter().any(is_digit) && text.iter().all(|byte| is_digit(byte) || is_blank(byte)) && !has_package_clause(text)
}

fn has_package_clause(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == b"package policy")
}

impl fmt::Debug for CcePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CcePolicy({}, {} bytes)", self.digest(), self.text.len())
    }
}

impl HostData {
    /// The host data of a container that runs under a CCE policy: the SHA-256 of its decoded text.
    ///
    /// [`CcePolicy`] does the same and also says what the policy allows.
    ///
    /// # Errors
    ///
    /// [`InvalidCcePolicy`] for anything but base64 (standard alphabet with padding) of a text.
    pub fn from_cce_policy(base64: &str) -> Result<Self, InvalidCcePolicy> {
        CcePolicy::from_base64(base64).map(|policy| policy.digest())
    }

    /// Whether this is the digest of a published policy that allows everything: whoever requires it requires nothing.
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

/// Something in a CCE policy that a policy for production should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CcePolicyFinding {
    /// Any container may be created (`create_container` is always allowed): the policy does not say what runs.
    AllowsEveryContainer,
    /// Any process may be started, in a container (`exec_in_container`) or beside them (`exec_external`).
    AllowsEveryExec {
        /// The enforcement point.
        enforcement_point: &'static str,
    },
    /// Other enforcement points that are answered with "allowed" whatever is asked.
    AllowsUnconditionally {
        /// Their names.
        enforcement_points: Vec<&'static str>,
    },
    /// Something about one container.
    Container {
        /// Its name or id in the policy, else its place.
        container: String,
        /// What it is.
        finding: ContainerFinding,
    },
    /// The containers are no list that is written out (or there are none), so nothing is known about them.
    ContainersNotRead,
    /// Processes that may be started in the utility VM beside the containers.
    ExternalProcesses {
        /// How many.
        count: usize,
    },
    /// A switch of the framework that is on.
    FlagSet(CcePolicyFlag),
    /// The digest of the text is that of a published policy that allows everything.
    KnownAllowAll,
    /// Neither `api_version` nor `api_svn` says which interface the policy was written for.
    NoApiVersion,
    /// Neither `framework_version` nor `framework_svn` says which rules the policy was written for.
    NoFrameworkVersion,
    /// The text is no Rego text of `package policy`: nothing could be read from it.
    NotRead,
}

/// A switch at the top level of a CCE policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CcePolicyFlag {
    /// `allow_capability_dropping`.
    CapabilityDropping,
    /// `allow_dump_stacks`.
    DumpStacks,
    /// `allow_environment_variable_dropping`.
    EnvironmentVariableDropping,
    /// `allow_properties_access`.
    PropertiesAccess,
    /// `allow_runtime_logging`.
    RuntimeLogging,
    /// `allow_unencrypted_scratch`.
    UnencryptedScratch,
}

/// Something about one container of a CCE policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerFinding {
    /// `allow_elevated`: it may run privileged.
    Elevated,
    /// Variables whose value the host chooses freely.
    EnvironmentValuesOpen {
        /// The patterns, shortened.
        patterns: Vec<String>,
    },
    /// Variables of any name and value.
    EnvironmentOpen {
        /// The pattern, shortened.
        pattern: String,
    },
    /// `exec_processes`: commands that the host may start in it.
    ExecProcesses {
        /// How many.
        count: usize,
    },
    /// `allow_stdio_access`: the host reads what it prints and writes to its input.
    StdioAccess,
}

impl CcePolicyFlag {
    const ALL: [Self; 6] = [
        Self::PropertiesAccess,
        Self::DumpStacks,
        Self::RuntimeLogging,
        Self::EnvironmentVariableDropping,
        Self::UnencryptedScratch,
        Self::CapabilityDropping,
    ];

    /// The name in the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CapabilityDropping => "allow_capability_dropping",
            Self::DumpStacks => "allow_dump_stacks",
            Self::EnvironmentVariableDropping => "allow_environment_variable_dropping",
            Self::PropertiesAccess => "allow_properties_access",
            Self::RuntimeLogging => "allow_runtime_logging",
            Self::UnencryptedScratch => "allow_unencrypted_scratch",
        }
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::CapabilityDropping => "the host may start containers with fewer capabilities than the policy lists",
            Self::DumpStacks => "the host may have the stacks of the utility VM's processes written out",
            Self::EnvironmentVariableDropping => "the host may leave out environment variables that the policy lists",
            Self::PropertiesAccess => "the host may read properties of the containers such as their processes",
            Self::RuntimeLogging => "the host may have the utility VM log what it does",
            Self::UnencryptedScratch => "containers may write to storage that the host can read",
        }
    }
}

impl fmt::Display for CcePolicyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowsEveryContainer => f.write_str(
                "any container may be created (create_container is always allowed): the policy does not say what runs",
            ),
            Self::AllowsEveryExec { enforcement_point } => {
                write!(f, "any process may be started by the host ({enforcement_point} is always allowed)")
            }
            Self::AllowsUnconditionally { enforcement_points } => {
                write!(f, "always allowed, whatever is asked: {}", enforcement_points.join(", "))
            }
            Self::Container { container, finding } => write!(f, "container {container:?}: {finding}"),
            Self::ContainersNotRead => {
                f.write_str("no list of containers could be read, so nothing is known about them")
            }
            Self::ExternalProcesses { count } => {
                write!(f, "{count} commands may be started by the host in the utility VM (external_processes)")
            }
            Self::FlagSet(flag) => write!(f, "{}: {}", flag.name(), flag.consequence()),
            Self::KnownAllowAll => f.write_str("this is a published policy that allows everything"),
            Self::NoApiVersion => f.write_str("no api_version"),
            Self::NoFrameworkVersion => f.write_str("no framework_version"),
            Self::NotRead => f.write_str("not a Rego text of `package policy`: nothing could be read from it"),
        }
    }
}

impl fmt::Display for ContainerFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elevated => f.write_str("may run privileged (allow_elevated)"),
            Self::EnvironmentValuesOpen { patterns } => {
                write!(f, "takes any value from the host for {}", patterns.join(", "))
            }
            Self::EnvironmentOpen { pattern } => {
                write!(f, "takes any environment variable from the host (pattern {pattern:?})")
            }
            Self::ExecProcesses { count } => {
                write!(f, "has {count} commands that the host may start in it (exec_processes)")
            }
            Self::StdioAccess => f.write_str("gives the host its output and input (allow_stdio_access)"),
        }
    }
}

fn read_findings(text: &str, findings: &mut Vec<CcePolicyFinding>) {
    const EVERY_EXEC: [&str; 2] = ["exec_in_container", "exec_external"];
    const OTHERS: [&str; 17] = [
        "mount_device",
        "rw_mount_device",
        "mount_overlay",
        "mount_cims",
        "unmount_device",
        "rw_unmount_device",
        "unmount_overlay",
        "shutdown_container",
        "signal_container_process",
        "plan9_mount",
        "plan9_unmount",
        "get_properties",
        "dump_stacks",
        "runtime_logging",
        "load_fragment",
        "scratch_mount",
        "scratch_unmount",
    ];
    if !has_package_clause(text.as_bytes()) {
        findings.push(CcePolicyFinding::NotRead);
        return;
    }
    let found = rego::assignments(text);
    let always = |point: &str| found.get(point).and_then(|value| value.member("allowed")) == Some(&Data::Bool(true));
    let items = |name: &str| found.get(name).and_then(Data::items);

    if always("create_container") {
        findings.push(CcePolicyFinding::AllowsEveryContainer);
    } else if items("containers").is_none_or(<[Data]>::is_empty) {
        findings.push(CcePolicyFinding::ContainersNotRead);
    }
    for enforcement_point in EVERY_EXEC {
        if always(enforcement_point) {
            findings.push(CcePolicyFinding::AllowsEveryExec { enforcement_point });
        }
    }
    let enforcement_points: Vec<_> = OTHERS.into_iter().filter(|point| always(point)).collect();
    if !enforcement_points.is_empty() {
        findings.push(CcePolicyFinding::AllowsUnconditionally { enforcement_points });
    }
    for flag in CcePolicyFlag::ALL {
        if found.get(flag.name()) == Some(&Data::Bool(true)) {
            findings.push(CcePolicyFinding::FlagSet(flag));
        }
    }
    if let Some(count) = items("external_processes").map(<[Data]>::len).filter(|count| *count > 0) {
        findings.push(CcePolicyFinding::ExternalProcesses { count });
    }
    for (place, container) in items("containers").unwrap_or_default().iter().enumerate() {
        let name =
            ["name", "id"].iter().find_map(|name| container.member(name)?.text().filter(|text| !text.is_empty()));
        let label = name.map_or_else(|| format!("containers[{place}]"), |name| shorten(name, 100));
        findings.extend(
            container_findings(container)
                .into_iter()
                .map(|finding| CcePolicyFinding::Container { container: label.clone(), finding }),
        );
    }
    // That something is missing is true only if the text does not mention it in any form.
    let mentions = |names: [&str; 2]| names.iter().any(|name| text.contains(name));
    if !mentions(["api_version", "api_svn"]) {
        findings.push(CcePolicyFinding::NoApiVersion);
    }
    if !mentions(["framework_version", "framework_svn"]) {
        findings.push(CcePolicyFinding::NoFrameworkVersion);
    }
}

fn container_findings(container: &Data) -> Vec<ContainerFinding> {
    let mut findings = Vec::new();
    if container.member("allow_elevated") == Some(&Data::Bool(true)) {
        findings.push(ContainerFinding::Elevated);
    }
    if container.member("allow_stdio_access") == Some(&Data::Bool(true)) {
        findings.push(ContainerFinding::StdioAccess);
    }
    if let Some(count) = container.member("exec_processes").and_then(Data::items).map(<[Data]>::len)
        && count > 0
    {
        findings.push(ContainerFinding::ExecProcesses { count });
    }
    let rules = container.member("env_rules").and_then(Data::items).unwrap_or_default();
    let mut open = Vec::new();
    for rule in rules {
        let is_regex = rule.member("strategy").and_then(Data::text) == Some("re2");
        let Some(pattern) = rule.member("pattern").and_then(Data::text).filter(|_| is_regex) else { continue };
        match openness(pattern) {
            Openness::Everything => {
                findings.push(ContainerFinding::EnvironmentOpen { pattern: shorten(pattern, 100) });
            }
            Openness::Value => open.push(shorten(pattern, 100)),
            Openness::Closed => {}
        }
    }
    if !open.is_empty() {
        findings.push(ContainerFinding::EnvironmentValuesOpen { patterns: open });
    }
    findings
}

enum Openness {
    /// Any variable.
    Everything,
    /// Any value of what stands before the equals sign.
    Value,
    /// Not one of the plain patterns that match anything.
    Closed,
}

/// Only the plain spellings are told apart: a pattern that matches anything in a more roundabout way passes unseen.
fn openness(pattern: &str) -> Openness {
    const ANYTHING: [&str; 4] = [".*", ".+", "(.*)", "(.+)"];
    let bare = pattern.strip_prefix('^').unwrap_or(pattern);
    let bare = bare.strip_suffix('$').unwrap_or(bare);
    if ANYTHING.contains(&bare) {
        return Openness::Everything;
    }
    match bare.split_once('=') {
        Some((name, value)) if ANYTHING.contains(&value) => {
            if ANYTHING.contains(&name) {
                Openness::Everything
            } else {
                Openness::Value
            }
        }
        _ => Openness::Closed,
    }
}
