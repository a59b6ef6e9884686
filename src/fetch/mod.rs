//! Step 1: getting evidence and what vouches for it. The only code that talks to agents, MAA and AMD.
//!
//! Everything has a size limit, a deadline and no redirects, and carries no credentials. What comes back is untrusted
//! bytes: nothing here decides anything.

mod agent;
mod cache;
mod collateral;
mod crl_cache;
mod disk;
mod http;
mod kds;
mod known_crls;
mod maa;
mod retry_after;
mod thim;
mod vek_cache;

use crate::deadline;

pub(crate) use agent::{AgentChannel, Question, ask};
pub(crate) use collateral::CollateralSources;
pub(crate) use disk::Disk;
pub(crate) use http::client;
pub(crate) use maa::KeySets;
pub(crate) use thim::Thim;
