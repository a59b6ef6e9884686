//! Endorsements of utility VMs: recorded ones, emulated ones, and everything that must be refused.

mod accepted;
mod edit;
mod recorded;
mod refused;

use std::sync::OnceLock;

use blindbox_attestation::Measurement;
use blindbox_attestation::emulator::uvm::{SigningAlgorithm, UvmSigner};
use blindbox_attestation::uvm::{
    EndorsementError, EndorsementExpectations, EndorsementForm, PRODUCTION_FEED, VerifiedEndorsement, verify,
};

const PRODUCTION: EndorsementExpectations<'static> = EndorsementExpectations::production();
const FORMS: [EndorsementForm; 2] = [EndorsementForm::TextHeaders, EndorsementForm::CwtHashEnvelope];

fn measurement() -> Measurement {
    Measurement::new([0xab; 48])
}

/// One signer for all tests that need no special one: P-384 leaf, so that every test is quick.
fn signer() -> &'static UvmSigner {
    static SIGNER: OnceLock<UvmSigner> = OnceLock::new();
    SIGNER.get_or_init(|| UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384).build().unwrap())
}

fn expected(signer: &UvmSigner) -> EndorsementExpectations<'_> {
    EndorsementExpectations::new(signer.issuer(), PRODUCTION_FEED)
}

fn verify_as(cose: &[u8], issuer: &str) -> Result<VerifiedEndorsement, EndorsementError> {
    verify(cose, &EndorsementExpectations::new(issuer, PRODUCTION_FEED))
}

fn sha256(data: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec()
}
