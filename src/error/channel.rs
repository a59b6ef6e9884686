//! Why there is no channel that the evidence speaks of, or none that the policy allows.

use serde::Serialize;

/// Why the evidence says nothing of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChannelNotBound {
    /// The agent answered a bound request without runtime data of its own.
    #[error(
        "the agent's answer carries no runtime data of its own, as agents do that attest whatever they are sent; \
         deploy an agent that binds its own key"
    )]
    LegacyAnswer,
}

/// Why the policy does not allow a channel of this kind. It follows from the policy and the channel alone and says nothing of
/// the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChannelNotAllowed {
    /// The policy says that the workload attests any data.
    #[error(
        "the policy says that this workload attests any data (`binding = \"none\"`), so its evidence cannot name the peer; \
         deploy an agent that binds its own key, or say `allow_unbound_channel`"
    )]
    WorkloadDoesNotBind,
    /// The policy is for a workload that binds its own key, and is never used over a channel that is not bound.
    #[error(
        "the policy is for a workload that binds its own key (`binding = \"own-key\"`), so the challenge must name the \
         key of the connection"
    )]
    ChannelMustBeBound,
    /// The channel is in clear, and the policy allows an unbound one over TLS only.
    #[error("plain HTTP is not allowed; use `https`, or say `allow_plain_http`")]
    PlainHttp,
}
