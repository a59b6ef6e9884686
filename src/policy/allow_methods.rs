//! The methods `allow_*` of [`Policy`]: relaxations.

use super::{Policy, PolicyError};

/// Relaxations. Each is reported in the result.
impl Policy {
    /// Accepts guests whose memory the host may read and write. For development only.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; as for every method of this block.
    pub fn allow_debug(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.debug = true)
    }

    /// Accepts guests that a migration agent may move to another machine.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_migration(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.migration = true)
    }

    /// Accepts a channel whose key the evidence does not name, over TLS with a validated server name. The evidence then
    /// shows that *some* genuine BlindBox responded, not that it is the peer: anyone who holds the server's certificate can
    /// relay. Only for workloads that attest any data ([`Binding::None`](super::Binding::None)).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_unbound_channel(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.unbound_channel = true)
    }

    /// Accepts an unbound channel, as [`Policy::allow_unbound_channel`], and over plain HTTP too: anyone on the path reads and
    /// changes everything. It sets both fields, `allow.unbound-channel` and `allow.plain-http`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::Contradiction`] for a workload whose channel must be bound.
    pub fn allow_unbound_plain_http(self) -> Result<Self, PolicyError> {
        self.with(|d| {
            d.allow.unbound_channel = true;
            d.allow.plain_http = true;
        })
    }

    /// Accepts a URL with a DNS name without validating the server's name. The attested key then proves what runs, not whose
    /// instance it is.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_unverified_name(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.unverified_name = true)
    }

    /// Accepts a confidential VM's token in the layout of MAA's `SevSnpVm` endpoint (claims at top level,
    /// `azure-compliant-cvm`), which direct attestation inside a VM gives.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_direct_vm_token(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.direct_vm_token = true)
    }

    /// Accepts a confidential VM with a paravisor of before August 2025, or with an unknown one. The VM's administrator may have
    /// replaced the attestation key (CVE-2025-49707), with which they attest any data from anywhere. Without this, the ID key of
    /// Azure's paravisors and a minimum `GUEST_SVN` of its family are required.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_old_paravisor(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.old_paravisor = true)
    }

    /// Accepts a report of the paravisor that does not carry the agent's statement about its TLS key (`user-data`), so that it may be of
    /// an earlier boot: of an older paravisor, or of another configuration of the VM. For agents that do not write the statement. Needs
    /// AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_report_of_earlier_boot(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.report_of_earlier_boot = true)
    }
}
