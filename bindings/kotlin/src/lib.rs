//! The native part of the packages for Kotlin, Java and Swift: the facade as objects of UniFFI.
//!
//! It adds no behaviour: what a user sees is in `main/`. Calls are started with an id, and their outcomes are pulled by one thread of
//! the host ([`calls::Calls`]): nothing here calls the host. Failures are values ([`outcome::Failure`]), not errors of UniFFI, whose
//! generated messages would hold every field, the appraisal among them.

mod about;
mod bodies;
mod calls;
mod offline;
mod outcome;
mod sessions;

uniffi::setup_scaffolding!("blindbox");
