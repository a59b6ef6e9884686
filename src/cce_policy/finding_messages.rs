//! The messages of [`CcePolicyFinding`]: what each finding lets the host do.

use std::fmt;

use super::finding::{CcePolicyFinding, CcePolicyFlag, ContainerFinding, MountOrigin};

impl CcePolicyFlag {
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
