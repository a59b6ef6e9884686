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

/// What the header says of threads. A handle that could not be shared would not compile here: nothing else compares the header's promise
/// with its fields, since C has no types for it.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<cancel::bb_cancel>();
    shared::<collected::bb_collected>();
    shared::<error::bb_error>();
    shared::<policy::bb_policy>();
    shared::<request::bb_request>();
    shared::<request::bb_upload>();
    shared::<response::bb_response>();
    shared::<session::bb_exchange>();
    shared::<session::bb_session>();
    shared::<verifier::bb_verifier>();
};
