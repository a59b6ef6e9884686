//! AMD in a box.

pub mod amd;
