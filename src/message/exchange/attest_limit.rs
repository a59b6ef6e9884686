//! How many attestations a client requests through a front end.

/// The most attestations within [`WINDOW_SECONDS`]. A front end that says of each request that its key is not known would have a session
/// attest for each: reports of the firmware are slow, and MAA limits its callers.
pub(crate) const MAX_ATTESTATIONS: usize = 30;

/// The time in which they are counted.
pub(crate) const WINDOW_SECONDS: u64 = 60;

/// Why a further one is not requested.
pub(crate) const TOO_MANY_ATTESTATIONS: &str = "more than 30 attestations through the front end were needed within a minute: it does not \
                                                lead sealed requests to the instance that was attested";
