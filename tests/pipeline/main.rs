//! The whole pipeline: evidence, endorsements, a challenge, a policy and a time in; a verdict out.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scene.rs"]
mod scene;
#[path = "../common/sign.rs"]
mod sign;

mod agreement;
mod bind;
mod recorded;
mod result;
mod trust;
