//! The names that the enforcement framework of utility VMs knows, and the versions that introduced them.
//!
//! From `api.rego` and `framework.rego` of `microsoft/hcsshim` (API 0.12.0, framework 0.5.0).

/// A version of three numbers.
pub(super) type Version = [u32; 3];

/// The newest API that this reader knows.
pub(super) const API: Version = [0, 12, 0];

/// The newest framework that this reader knows.
pub(super) const FRAMEWORK: Version = [0, 5, 0];

/// Enforcement points, which a policy delegates as `x := data.framework.x`.
pub(super) const ENFORCEMENT_POINTS: [&str; 26] = [
    "create_container",
    "dump_stacks",
    "exec_external",
    "exec_in_container",
    "get_properties",
    "host_network",
    "load_fragment",
    "load_transparency_trust_list",
    "log_provider",
    "mount_blockdev",
    "mount_cims",
    "mount_device",
    "mount_overlay",
    "plan9_mount",
    "plan9_unmount",
    "registry_changes",
    "runtime_logging",
    "rw_mount_device",
    "rw_unmount_device",
    "scratch_mount",
    "scratch_unmount",
    "shutdown_container",
    "signal_container_process",
    "unmount_blockdev",
    "unmount_device",
    "unmount_overlay",
];

/// Enforcement points that are always allowed under a policy with an older API version.
/// `log_provider` (0.11.0) is left out: only Windows containers have it, which are a finding in any case.
pub(super) const ALLOWED_BEFORE: [(&str, Version); 13] = [
    ("unmount_device", [0, 2, 0]),
    ("exec_in_container", [0, 2, 0]),
    ("exec_external", [0, 3, 0]),
    ("shutdown_container", [0, 4, 0]),
    ("signal_container_process", [0, 5, 0]),
    ("unmount_overlay", [0, 6, 0]),
    ("plan9_mount", [0, 6, 0]),
    ("plan9_unmount", [0, 6, 0]),
    ("get_properties", [0, 7, 0]),
    ("dump_stacks", [0, 7, 0]),
    ("runtime_logging", [0, 8, 0]),
    ("scratch_mount", [0, 10, 0]),
    ("scratch_unmount", [0, 10, 0]),
];

/// The default of a container without the member, under an older framework version.
/// Newer ones refuse such a container.
pub(super) const OPEN_BEFORE: [(&str, Version); 3] =
    [("no_new_privileges", [0, 2, 0]), ("user", [0, 2, 1]), ("seccomp_profile_sha256", [0, 2, 3])];

/// Members of a rule for an environment variable.
pub(super) const ENV_RULE: [&str; 7] =
    ["pattern", "strategy", "required", "name", "name_strategy", "value", "value_strategy"];

pub(super) const MOUNT: [&str; 4] = ["source", "destination", "type", "options"];

pub(super) const PROCESS: [&str; 3] = ["command", "signals", "allow_stdio_access"];

pub(super) const EXTERNAL_PROCESS: [&str; 4] = ["command", "env_rules", "working_dir", "allow_stdio_access"];

pub(super) const FRAGMENT: [&str; 6] = ["issuer", "feed", "minimum_svn", "includes", "required_receipts", "parameters"];

pub(super) const TRUST_LIST: [&str; 4] = ["issuer", "subject", "minimum_svn", "allowed_ledgers"];

pub(super) const CAPABILITIES: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

pub(super) const USER: [&str; 3] = ["user_idname", "group_idnames", "umask"];

/// Members that only Windows containers have.
pub(super) const WINDOWS: [&str; 2] = ["mounted_cim", "registry_changes"];

/// The capabilities of a container that is not privileged.
pub(super) const UNPRIVILEGED: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Who signs the fragment with Azure Container Instances' own containers (pause, volumes, networking), and its feed. Every
/// policy that `az confcom` writes names it.
pub(super) const INFRASTRUCTURE_ISSUER: &str =
    "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.3";
pub(super) const INFRASTRUCTURE_FEED: &str = "mcr.microsoft.com/aci/aci-cc-infra-fragment";
/// What it brings.
pub(super) const INFRASTRUCTURE_INCLUDES: [&str; 2] = ["containers", "fragments"];

/// Reads `0.10.0`.
pub(super) fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => Some([major, minor, patch]),
        _ => None,
    }
}
