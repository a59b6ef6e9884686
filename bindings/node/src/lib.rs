//! The native part of the npm package: classes over the facade, with futures as promises.
//!
//! It adds no behaviour: what a user of Node sees is in the JavaScript files of the package. A function that can fail returns its
//! value or a [`call::Failure`], and never throws, so that no text of an error is made here.

#![cfg_attr(test, allow(dead_code, reason = "nothing is registered with Node in a build for tests"))]

mod about;
mod bodies;
mod call;
mod offline;
mod running;
mod sessions;
