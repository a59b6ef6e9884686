//! Emulated endorsements that must be refused.

mod chain;
mod document;
mod issuer;
