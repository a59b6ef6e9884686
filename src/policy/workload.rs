//! [`Workload`] and [`Binding`]: which application a confidential container must run, and which key or connection it attests.

use serde::Serialize;

use super::PolicyError;
use super::require_table::check_list;
use super::requirement::Requirement;
use super::strict_serde::strict;
use crate::types::HostData;

strict! {
    /// Whether the measured configuration attests only its own TLS key, its own connections or its own message key. Evidence cannot
    /// show this; the caller asserts it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Binding {
        /// Nothing in this configuration attests runtime data chosen by a caller, and its TLS key is made inside the TEE
        /// after launch and never exists outside.
        ///
        /// If this assertion is wrong, anyone on the path can get the workload to attest *their* key, and this crate cannot
        /// detect it.
        OwnKey,
        /// As [`Binding::OwnKey`]; and the agent names the TLS connection too, by its exporter (RFC 9266), so that each connection
        /// is attested by itself. A key that was stolen from the workload is of no use to a relay.
        ///
        /// It needs an agent with `blindbox-bound-connection/1`, on the application's own connections.
        OwnConnection,
        /// Nothing in this configuration attests runtime data chosen by a caller; the key that messages are sealed to is made inside
        /// the TEE after launch, by each instance for itself, and never exists outside; and the application gets no requests but
        /// those from sealed messages. TLS may end at a front end.
        ///
        /// It needs an agent with `blindbox-bound-message/1`. If this assertion is wrong, a front end can read messages or send its own,
        /// and this crate cannot detect it.
        OwnMessageKey,
        /// The workload attests any data it is given: BlindBox as first released, Microsoft's SKR container on a reachable port.
        None,
    }
}

strict! {
    /// The application that must run in a confidential container.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct Workload {
        pub(crate) binding: Binding,
        pub(crate) host_data: Vec<HostData>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub(crate) allow_permissive: bool,
    }
}

impl Workload {
    /// Expects a workload with this CCE policy, which the caller asserts to bind its own key ([`Binding::OwnKey`]).
    #[must_use]
    pub fn binds_its_own_key(host_data: HostData) -> Self {
        Self { binding: Binding::OwnKey, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy, which the caller asserts to bind its own key and connections
    /// ([`Binding::OwnConnection`]).
    #[must_use]
    pub fn binds_its_own_connection(host_data: HostData) -> Self {
        Self { binding: Binding::OwnConnection, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy, which the caller asserts to bind the key that messages are sealed to
    /// ([`Binding::OwnMessageKey`]).
    #[must_use]
    pub fn binds_its_own_message_key(host_data: HostData) -> Self {
        Self { binding: Binding::OwnMessageKey, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy that attests any data ([`Binding::None`]). It never gives a bound session.
    #[must_use]
    pub fn attests_any_data(host_data: HostData) -> Self {
        Self { binding: Binding::None, host_data: vec![host_data], allow_permissive: false }
    }

    /// Accepts another CCE policy too, such as during a rolling update. The same binding applies to it.
    #[must_use]
    pub fn also_accept(mut self, host_data: HostData) -> Self {
        self.host_data.push(host_data);
        self
    }

    /// Accepts the known allow-all CCE policies, with which the host can run any code in the TEE. For development only.
    #[must_use]
    pub fn allow_permissive(mut self) -> Self {
        self.allow_permissive = true;
        self
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        const REQUIREMENT: &str = Requirement::HostData.field();
        check_list(REQUIREMENT, &self.host_data)?;
        for digest in &self.host_data {
            if digest.is_zero() {
                let reason = "is all zero, which means that no CCE policy was set";
                return Err(PolicyError::UnusableValue { requirement: REQUIREMENT, reason });
            }
            if digest.is_known_allow_all() && !self.allow_permissive {
                return Err(PolicyError::PermissiveWorkload { digest: *digest });
            }
        }
        Ok(())
    }
}
