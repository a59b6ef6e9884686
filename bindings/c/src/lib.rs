//! The C interface of the attestation client. `include/blindbox.h` is generated from this crate, and documents it.
//!
//! Every function checks its arguments, calls the facade, and reports a number. A panic becomes the error `internal`: none crosses
//! into C. Handles are references and boxes in the signatures; what remains unsafe are texts, bytes and counted references, in
//! `pointer` and `cancel`.

#![allow(non_camel_case_types, reason = "the names of C")]
#![allow(clippy::missing_safety_doc, reason = "the rules at the beginning of the header hold for every function")]

mod call;
mod cancel;
mod collected;
mod error;
mod library;
mod log;
mod offline;
mod pointer;
mod policy;
mod request;
mod response;
mod session;
mod text;
mod verifier;
