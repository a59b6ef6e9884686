//! [`Finding`](super::Finding): what a CCE policy does not restrict.

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
}
