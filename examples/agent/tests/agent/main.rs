//! An agent on loopback, with everything around it emulated.

mod accepted;
mod client;
mod forwarding;
mod keys;
mod lab;
mod refusals;
