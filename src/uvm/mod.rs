//! Step 3, second half: verifies the vendor's endorsement of the utility VM.
//!
//! The endorsement is a `COSE_Sign1` (RFC 9052) that is part of the evidence. Its signer is a `did:x509` that the policy pins;
//! its payload is the endorsed launch measurement with a security version.

mod cbor;
mod chain;
mod cose;
mod did_x509;
mod endorsement;
mod error;
mod inspect;
mod payload;

pub(crate) use did_x509::check_issuer;
pub use endorsement::{
    EndorsementExpectations, EndorsementForm, MAX_ENDORSEMENT_LEN, PRODUCTION_FEED, PRODUCTION_ISSUER,
    VerifiedEndorsement, verify,
};
pub use error::{CoseAlgorithm, CoseError, DidX509Error, EndorsementError, PayloadError};
pub use inspect::{UnverifiedCertificate, UnverifiedEndorsement, read_unverified};

pub use crate::x509::{CertificateError, KeyUse};
