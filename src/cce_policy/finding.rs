//! [`Finding`](super::Finding): what a CCE policy does not restrict, and its messages.

use std::fmt;

/// Something in a CCE policy that a policy for production should not have, or that this reader does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CcePolicyFinding {
    /// Enforcement points that did not exist in the API version that the policy names: the utility VM allows them.
    AllowedByOldApi {
        /// The version.
        api_version: String,
        /// Their names.
        enforcement_points: Vec<&'static str>,
    },
    /// Any container may be created (`create_container` is always allowed): the policy does not say what runs.
    AllowsEveryContainer,
    /// Any process may be started, in a container (`exec_in_container`) or outside of them (`exec_external`).
    AllowsEveryExec {
        /// The enforcement point.
        enforcement_point: String,
    },
    /// Other enforcement points that are always allowed.
    AllowsUnconditionally {
        /// Their names.
        enforcement_points: Vec<String>,
    },
    /// Something that `platform_rules` add to any container, those of fragments too.
    AnyContainer {
        /// The place in `platform_rules`, from 0.
        rule: usize,
        /// What it is.
        finding: ContainerFinding,
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
    /// An enforcement point that is neither the framework's nor one that always denies.
    EnforcementPointReplaced {
        /// Its name.
        enforcement_point: String,
    },
    /// Something about a process that may be started in the utility VM.
    ExternalProcess {
        /// Its command.
        command: String,
        /// What it is.
        finding: ContainerFinding,
    },
    /// Processes that may be started in the utility VM, outside of the containers.
    ExternalProcesses {
        /// Their commands.
        commands: Vec<String>,
    },
    /// A switch of the framework that is on.
    FlagSet(CcePolicyFlag),
    /// A fragment that is not the one of Azure's infrastructure: its signer decides what else may run.
    Fragment {
        /// Who signs it.
        issuer: String,
        /// Its name.
        feed: String,
        /// From which security version number on.
        minimum_svn: String,
        /// What it may add.
        includes: Vec<String>,
    },
    /// The digest of the text is that of a published policy that allows everything.
    KnownAllowAll,
    /// `allowed_log_providers`: what a Windows utility VM passes on to the host.
    LogProviders {
        /// Their names.
        names: Vec<String>,
    },
    /// A version that is newer than this reader, whose rules may mean something else.
    NewerVersion {
        /// The name in the policy.
        name: String,
        /// The version.
        version: String,
    },
    /// Neither `api_version` nor `api_svn` names the interface that the policy was written for.
    NoApiVersion,
    /// Neither `framework_version` nor `framework_svn` names the rules that the policy was written for.
    NoFrameworkVersion,
    /// A name that this reader knows, with a value of another shape.
    NotRead {
        /// Where.
        place: String,
    },
    /// Statements that are not plain assignments, whose meaning is not known.
    StatementsNotRead {
        /// How many.
        count: usize,
        /// The line of the first, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A list of ledgers whose receipts count, which its signer may change.
    TrustList {
        /// Who signs it.
        issuer: String,
        /// Its name.
        subject: String,
    },
    /// A name, a member or a strategy that this reader does not know.
    Unknown {
        /// Where.
        place: String,
    },
    /// A switch (`allow_...`) that is on, and that this reader does not know.
    UnknownFlagSet {
        /// Its name.
        name: String,
    },
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
    /// `allow_host_network`.
    HostNetwork,
    /// `allow_log_provider_dropping`.
    LogProviderDropping,
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
    /// `capabilities` beyond those of a container that is not privileged.
    Capabilities {
        /// Their names.
        names: Vec<String>,
    },
    /// `allow_elevated`: it may run privileged.
    Elevated,
    /// Variables whose names are not fixed, within a pattern.
    EnvironmentNamesOpen {
        /// The patterns, shortened.
        patterns: Vec<String>,
    },
    /// Variables of any name.
    EnvironmentOpen {
        /// The pattern, shortened.
        pattern: String,
    },
    /// Variables whose value the host chooses, within a pattern.
    EnvironmentValuesOpen {
        /// The patterns, shortened.
        patterns: Vec<String>,
    },
    /// `exec_processes`: commands that the host may start in it.
    ExecProcesses {
        /// The commands.
        commands: Vec<String>,
    },
    /// A directory or file in it that comes from elsewhere.
    Mount {
        /// Where it comes from, as the policy says.
        source: String,
        /// Where it is in the container.
        destination: String,
        /// Whether `rw` is among its options, or `ro` is not.
        writable: bool,
        /// Who else can write to it.
        origin: MountOrigin,
    },
    /// `no_new_privileges` is false or not there.
    NewPrivileges,
    /// `layers` is empty: the image is not fixed.
    NoLayers,
    /// `seccomp_profile_sha256` is empty or not there.
    NoSeccompProfile,
    /// `signals` other than 9 and 15.
    Signals {
        /// Their numbers.
        signals: Vec<String>,
    },
    /// `allow_stdio_access`: the host reads what it prints and writes to its input.
    StdioAccess,
    /// Patterns without anchors for beginning or end.
    UnanchoredPatterns {
        /// The patterns, shortened.
        patterns: Vec<String>,
    },
    /// `user`: the host chooses the user or its groups.
    UserOpen {
        /// Which, and within what.
        rules: Vec<String>,
    },
    /// A member that only Windows containers have, whose rules are not judged here.
    WindowsMember {
        /// Its name.
        member: String,
    },
}

/// Where a mount comes from, by the source that the policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MountOrigin {
    /// Any directory of the utility VM that is shared between containers, those with content from outside too.
    AnyShared,
    /// A share of Azure Files.
    AzureFiles,
    /// A directory for containers of one group. On virtual nodes, whatever volume the cluster names.
    EmptyDir,
    /// A copy of a Git repository.
    GitRepository,
    /// A directory of the host (Plan 9).
    Host,
    /// The list of DNS servers.
    NameServers,
    /// Secrets of the deployment.
    Secrets,
    /// None of these.
    Unknown,
}

impl CcePolicyFlag {
    pub(super) const ALL: [Self; 8] = [
        Self::PropertiesAccess,
        Self::DumpStacks,
        Self::RuntimeLogging,
        Self::EnvironmentVariableDropping,
        Self::UnencryptedScratch,
        Self::CapabilityDropping,
        Self::HostNetwork,
        Self::LogProviderDropping,
    ];

    /// The name in the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CapabilityDropping => "allow_capability_dropping",
            Self::DumpStacks => "allow_dump_stacks",
            Self::EnvironmentVariableDropping => "allow_environment_variable_dropping",
            Self::HostNetwork => "allow_host_network",
            Self::LogProviderDropping => "allow_log_provider_dropping",
            Self::PropertiesAccess => "allow_properties_access",
            Self::RuntimeLogging => "allow_runtime_logging",
            Self::UnencryptedScratch => "allow_unencrypted_scratch",
        }
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::CapabilityDropping => {
                "capabilities that the host asks for and the policy does not list are dropped, and the container starts; \
                 without the switch it is refused. What is left must equal the policy's lists"
            }
            Self::DumpStacks => "the host may have the stacks of the utility VM's processes written out",
            Self::EnvironmentVariableDropping => {
                "variables that the host gives and the policy does not allow are dropped, and the container starts; \
                 without the switch it is refused. Required variables stay required"
            }
            Self::HostNetwork => "containers may share the network of the utility VM",
            Self::LogProviderDropping => {
                "log providers that the host asks for and the policy does not list are dropped in place of a refusal"
            }
            Self::PropertiesAccess => "the host may read properties of the containers such as their processes",
            Self::RuntimeLogging => "the host may have the utility VM log what it does",
            Self::UnencryptedScratch => "containers may write to storage that the host can read and change",
        }
    }
}

impl MountOrigin {
    const fn writers(self) -> &'static str {
        match self {
            Self::AnyShared => {
                "any directory that the utility VM shares between containers: the host chooses which, those with content \
                 from outside of the TEE too"
            }
            Self::AzureFiles => {
                "a share of Azure Files, outside of the TEE: who holds the storage account's key, and Azure"
            }
            Self::EmptyDir => {
                "a directory that other containers of the group may have too; on virtual nodes any volume of the pod, \
                 with content from the cluster"
            }
            Self::GitRepository => {
                "a Git repository, outside of the TEE: who can push to it, and the host that names it"
            }
            Self::Host => "a directory of the host, outside of the TEE: the host, at any time",
            Self::NameServers => "name servers that the host chooses, so the host controls name resolution",
            Self::Secrets => "secrets that the deployment brings: who deploys, and the host",
            Self::Unknown => "a source that this reader does not know",
        }
    }
}

impl fmt::Display for CcePolicyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowedByOldApi { api_version, enforcement_points } => write!(
                f,
                "API version {api_version} is older than {}: the utility VM allows these, whatever is asked",
                enforcement_points.join(", ")
            ),
            Self::AllowsEveryContainer => f.write_str(
                "any container may be created (create_container is always allowed): the policy does not say what runs",
            ),
            Self::AllowsEveryExec { enforcement_point } => {
                write!(f, "any process may be started by the host ({enforcement_point} is always allowed)")
            }
            Self::AllowsUnconditionally { enforcement_points } => {
                write!(f, "always allowed, whatever is asked: {}", enforcement_points.join(", "))
            }
            Self::AnyContainer { rule, finding } => {
                write!(f, "any container, those of fragments too (platform_rules[{rule}]): {finding}")
            }
            Self::Container { container, finding } => write!(f, "container {container:?}: {finding}"),
            Self::ContainersNotRead => {
                f.write_str("no list of containers could be read, so nothing is known about them")
            }
            Self::EnforcementPointReplaced { enforcement_point } => write!(
                f,
                "{enforcement_point} is not data.framework.{enforcement_point}: the policy has rules of its own there, \
                 which are not read"
            ),
            Self::ExternalProcess { command, finding } => write!(f, "external process {command:?}: {finding}"),
            Self::ExternalProcesses { commands } => write!(
                f,
                "the host may start in the utility VM, beside the containers (external_processes): {}",
                commands.join("; ")
            ),
            Self::FlagSet(flag) => write!(f, "{}: {}", flag.name(), flag.consequence()),
            Self::Fragment { issuer, feed, minimum_svn, includes } => write!(
                f,
                "fragment {feed:?}: its signer {issuer:?} may add {} with any signature over SVN {minimum_svn} or higher, \
                 at any time, without a change of the host data",
                if includes.is_empty() { "nothing".to_owned() } else { includes.join(", ") }
            ),
            Self::KnownAllowAll => f.write_str("this is a published policy that allows everything"),
            Self::LogProviders { names } => {
                write!(
                    f,
                    "the utility VM passes these logs on to the host (allowed_log_providers): {}",
                    names.join(", ")
                )
            }
            Self::NewerVersion { name, version } => {
                write!(f, "{name} {version} is newer than this reader: what is read here may mean something else there")
            }
            Self::NoApiVersion => f.write_str("no api_version"),
            Self::NoFrameworkVersion => f.write_str("no framework_version"),
            Self::NotRead { place } => write!(f, "{place}: not of the shape that is expected, so not read"),
            Self::StatementsNotRead { count, line, text } => write!(
                f,
                "{count} {} no plain assignment of a value, so not read; the first is on line {line}: {text:?}",
                if *count == 1 { "statement is" } else { "statements are" }
            ),
            Self::TrustList { issuer, subject } => write!(
                f,
                "transparency trust list {subject:?}: its signer {issuer:?} says whose receipts count for fragments"
            ),
            Self::Unknown { place } => write!(f, "{place}: not known to this reader, so not read"),
            Self::UnknownFlagSet { name } => write!(f, "{name}: a switch that is on and not known to this reader"),
        }
    }
}

impl fmt::Display for ContainerFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities { names } => {
                write!(f, "may do what unprivileged containers may not (capabilities): {}", names.join(", "))
            }
            Self::Elevated => f.write_str("may run privileged (allow_elevated)"),
            Self::EnvironmentNamesOpen { patterns } => {
                write!(f, "takes variables from the host whose names are not fixed: {}", patterns.join(", "))
            }
            Self::EnvironmentOpen { pattern } => {
                write!(f, "takes any environment variable from the host (pattern {pattern:?})")
            }
            Self::EnvironmentValuesOpen { patterns } => {
                write!(f, "takes values from the host, within the pattern, for {}", patterns.join(", "))
            }
            Self::ExecProcesses { commands } => {
                write!(f, "the host may start in it (exec_processes): {}", commands.join("; "))
            }
            Self::Mount { source, destination, writable, origin } => write!(
                f,
                "has {destination:?}, {}, from {source:?}: {}",
                if *writable { "writable" } else { "read-only" },
                origin.writers()
            ),
            Self::NewPrivileges => {
                f.write_str("its processes may gain privileges, such as by set-user-ID programs (no_new_privileges)")
            }
            Self::NoLayers => f.write_str("names no layers, so its image is not fixed"),
            Self::NoSeccompProfile => {
                f.write_str("its processes may use every system call (seccomp_profile_sha256 is empty)")
            }
            Self::Signals { signals } => write!(f, "the host may send it signals: {}", signals.join(", ")),
            Self::StdioAccess => f.write_str("gives the host its output and input (allow_stdio_access)"),
            Self::UnanchoredPatterns { patterns } => write!(
                f,
                "utility VMs from before November 2025 match these patterns anywhere in NAME=VALUE, for want of ^ and $, \
                 so other names too: {}",
                patterns.join(", ")
            ),
            Self::UserOpen { rules } => write!(f, "the host chooses whom it runs as, root too: {}", rules.join(", ")),
            Self::WindowsMember { member } => {
                write!(f, "has {member}, as Windows containers do, which is not judged here")
            }
        }
    }
}
