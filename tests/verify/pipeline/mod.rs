//! The whole pipeline: evidence, endorsements, a challenge, a policy and a time in; a verdict out.

mod agreement;
mod bind;
mod key_set;
mod message;
mod recorded;
mod result;
mod trust;
