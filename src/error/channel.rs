//! Errors of the channel: evidence that does not name it, or a policy that does not allow it.

use serde::Serialize;

/// The reason why the evidence does not cover the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChannelNotBound {
    /// The agent responded to a bound request without its own runtime data.
    #[error(
        "the agent's response carries no runtime data of its own, as with agents that attest any data they are sent; \
         deploy an agent that binds its own key"
    )]
    NoRuntimeData,
    /// The agent does not name the connection: it knows only the form that names the key, or another responds in its place.
    #[error(
        "the agent attests its TLS key but not this connection, although the policy requires it (`binding = \"own-connection\"`); \
         deploy an agent that supports `blindbox-bound-connection/1`"
    )]
    ConnectionNotNamed,
    /// The agent does not name a message key: it knows only forms that name its TLS key, or another responds in its place.
    #[error(
        "the agent attests no message key, although the policy requires it (`binding = \"own-message-key\"`); \
         deploy an agent that supports `blindbox-bound-message/1`"
    )]
    MessageKeyNotNamed,
}

/// The reason why the policy does not allow a kind of channel. It depends on policy and channel only, not on the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChannelNotAllowed {
    /// The policy asserts that the workload attests any data.
    #[error(
        "the policy says that this workload attests any data (`binding = \"none\"`), so its evidence cannot name the peer; \
         deploy an agent that binds its own key, or say `allow_unbound_channel`"
    )]
    WorkloadDoesNotBind,
    /// The policy is for a workload that binds its own key, and requires a bound channel.
    #[error(
        "the policy is for a workload that binds its own key (`binding = \"own-key\"`), so the challenge must name the \
         key of the connection"
    )]
    ChannelMustBeBound,
    /// The policy is for a workload that binds its own connections.
    #[error(
        "the policy is for a workload that binds its own connections (`binding = \"own-connection\"`), so the challenge must name \
         the key and the exporter of the connection"
    )]
    ConnectionMustBeBound,
    /// The policy is for a workload that binds its own connections, and a stream carries no evidence about itself.
    #[error(
        "the policy requires evidence about each connection (`binding = \"own-connection\"`), which a stream without HTTP cannot \
         carry; upgrade an HTTP request to a stream, or use a policy with `binding = \"own-key\"`"
    )]
    StreamNotAttested,
    /// The policy is for a workload that binds its own message key.
    #[error(
        "the policy is for a workload that binds its own message key (`binding = \"own-message-key\"`), so the challenge must ask for \
         that key"
    )]
    MessagesMustBeSealed,
    /// The policy requires sealed messages, and a stream of bytes is none.
    #[error(
        "the policy requires that each request and response is sealed (`binding = \"own-message-key\"`), which a stream or an upgrade \
         to another protocol cannot be; send requests, or connect to the instance itself with `binding = \"own-key\"`"
    )]
    StreamNotSealed,
    /// The evidence does not name the peer's key, and no one validated the name in its certificate: nothing says who the peer is.
    #[error(
        "the evidence does not name the key of an unbound channel, so the server's certificate must be validated for its name, and \
         was not; validate it, and say so with `ServerNameCheck::Validated`"
    )]
    NameNotValidated,
    /// The channel is not encrypted, and the policy allows an unbound channel only over TLS.
    #[error(
        "plain HTTP is not allowed; use `https`, or say `allow_unbound_plain_http` (`allow.plain-http` in a policy file)"
    )]
    PlainHttp,
}
