//! What passes between the host and the client: what to request, and what came of it.

/// What a host received, or why it received nothing.
#[derive(Clone, Copy, Debug)]
pub enum HostResponse<'a> {
    /// A response.
    Received {
        /// The status.
        status: u16,
        /// The header `Content-Type`, or an empty string.
        content_type: &'a str,
        /// The content.
        body: &'a [u8],
    },
    /// A redirect, which the host did not follow. A browser does not say which: it hides status and headers.
    Redirect,
    /// None.
    Failed {
        /// What the host says about it.
        reason: &'a str,
    },
}

/// A request for evidence: `POST`, with `Content-Type` and `Accept` of `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvidenceRequest {
    /// The URL at the agent.
    pub url: String,
    /// The content.
    pub body: String,
    /// Where the MAA instance publishes its key set; `None` if the policy does not trust one.
    pub key_set_url: Option<String>,
}

/// A response of the agent that may be worth another attempt, by what says so.
#[derive(Clone, Copy, Debug)]
pub struct AgentBusy<'a> {
    /// The status.
    pub status: u16,
    /// The header `Retry-After`, if there is one that the host can read.
    pub retry_after: Option<&'a str>,
    /// The header `Date`, likewise.
    pub date: Option<&'a str>,
}

/// Documents of AMD's Key Distribution Service that the verification needs, as paths of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeededDocuments {
    /// The certificate of the key that signed the report, if the agent sent none: the first of these that the service has. There are
    /// several if the report does not name its product.
    pub certificates: Vec<String>,
    /// CRLs for the kinds of key that signed.
    pub crls: Vec<String>,
    /// CRLs for the other kind of key of the same products. One that names no distribution point may be about either kind, so that the
    /// host gives all it can fetch, and does not wait long for these.
    pub other_crls: Vec<String>,
}

/// These documents, as received. What the host could not fetch is left out: the verification reports what is missing.
#[derive(Clone, Debug, Default)]
pub struct FetchedDocuments {
    /// The certificate, in PEM or DER.
    pub certificate: Option<Vec<u8>>,
    /// CRLs of both lists, in DER and any order.
    pub crls: Vec<Vec<u8>>,
}
