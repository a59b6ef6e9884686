//! Step 1: fetches evidence and collateral. The only module that talks to attestation agents, MAA, KDS and THIM.
//!
//! Every request has a size limit and a deadline, follows no redirect and carries no credentials. Responses are untrusted
//! bytes: this module decides nothing about them, and keeps only what verified under the pinned roots.

mod affinity;
mod agent;
mod cached_fetch;
mod collateral;
mod crl_cache;
mod disk_cache;
mod http;
mod jwks;
mod kds;
mod known_crls;
mod optional_timeouts;
mod single_flight;
mod thim;
mod vek_cache;

pub(crate) use agent::{AgentChannel, AttestRequest, MessageOffer, request_evidence};
pub(crate) use collateral::CollateralSources;
pub(crate) use disk_cache::DiskCache;
pub(crate) use http::client;
pub(crate) use jwks::JwksCache;
pub(crate) use optional_timeouts::OptionalTimeouts;
pub(crate) use single_flight::{Outcome, SingleFlight};
pub(crate) use thim::Thim;
