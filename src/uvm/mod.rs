//! Step 3, second half: is the utility VM one that its owner endorses?
//!
//! The endorsement is a `COSE_Sign1` (RFC 9052) that travels with the evidence. Its signer is named by a `did:x509`,
//! which the policy pins, and it says which launch measurement is endorsed and how new it is.

mod cbor;
mod chain;
mod cose;
mod did_x509;
mod endorsement;
mod error;
mod inspect;
mod payload;

pub use endorsement::{
    EndorsementExpectations, EndorsementForm, MAX_ENDORSEMENT_LEN, PRODUCTION_FEED, PRODUCTION_ISSUER,
    VerifiedEndorsement, verify,
};
pub use error::{CoseAlgorithm, CoseError, DidX509Error, EndorsementError, PayloadError};
pub use inspect::{UnverifiedCertificate, UnverifiedEndorsement, read_unverified};

pub use crate::x509::{CertificateError, KeyUse};
