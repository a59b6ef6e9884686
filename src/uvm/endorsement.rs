//! [`verify`]: verifies the endorsement of a utility VM against its pinned issuer.

use serde::Serialize;

use super::chain::{read_chain, verify_chain};
use super::cose::Document;
use super::did_x509::DidX509;
use super::error::EndorsementError;
use super::payload::{read_json, read_measurement};
use crate::claims::UvmClaims;
use crate::types::{UnixTime, shorten};
use crate::x509::Validity;

/// The issuer of the endorsements of Azure's utility VMs: the root "Microsoft Supply Chain RSA Root CA 2022" with a leaf whose
/// extended key usage is signing them.
pub const PRODUCTION_ISSUER: &str = UvmClaims::PRODUCTION_ISSUER;

/// The feed of that issuer for the utility VM of Azure Container Instances.
pub const PRODUCTION_FEED: &str = UvmClaims::PRODUCTION_FEED;

/// The largest endorsement in bytes. Genuine ones have 6 to 11 kB; the rest is for time stamps and transparency receipts in the
/// unprotected header. Bounds the work for one that is not genuine.
pub const MAX_ENDORSEMENT_LEN: usize = 64 * 1024;

/// The expected issuer and feed. Both are compared byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndorsementExpectations<'a> {
    /// The `did:x509` of the expected issuer.
    pub issuer: &'a str,
    /// The expected feed.
    pub feed: &'a str,
}

impl<'a> EndorsementExpectations<'a> {
    /// Expects an issuer (a `did:x509` with `eku` or `subject` policies) and a feed.
    #[must_use]
    pub const fn new(issuer: &'a str, feed: &'a str) -> Self {
        Self { issuer, feed }
    }

    /// Expects the utility VM of Azure Container Instances, endorsed by Microsoft.
    #[must_use]
    pub const fn production() -> EndorsementExpectations<'static> {
        EndorsementExpectations::new(PRODUCTION_ISSUER, PRODUCTION_FEED)
    }
}

/// The layout of an endorsement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EndorsementForm {
    /// Issuer and feed under text keys, measurement and security version in a JSON payload: until version 103, and some
    /// later ones.
    TextHeaders,
    /// Issuer, feed and security version as CWT claims (RFC 9597), and a payload that is the measurement itself.
    CwtHashEnvelope,
}

/// An endorsement whose issuer, feed, certificate chain and signature were verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct VerifiedEndorsement {
    claims: UvmClaims,
    form: EndorsementForm,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_at: Option<UnixTime>,
    leaf_not_before: UnixTime,
    leaf_not_after: UnixTime,
}

impl VerifiedEndorsement {
    /// Returns the claims: issuer, feed, security version, launch measurement.
    #[must_use]
    pub const fn claims(&self) -> &UvmClaims {
        &self.claims
    }

    /// Returns the layout of the document.
    #[must_use]
    pub const fn form(&self) -> EndorsementForm {
        self.form
    }

    /// Returns when the issuer claims to have signed. This time is not verified, and no check depends on it.
    #[must_use]
    pub const fn signed_at(&self) -> Option<UnixTime> {
        self.signed_at
    }

    /// Returns the first and last second of the leaf certificate's validity. It has usually expired: an endorsement outlives its
    /// leaf, and ends when the policy requires a higher security version.
    #[must_use]
    pub const fn leaf_validity(&self) -> (UnixTime, UnixTime) {
        (self.leaf_not_before, self.leaf_not_after)
    }
}

/// Verifies an endorsement: a tagged `COSE_Sign1` (RFC 9052), part of the evidence of a confidential container.
///
/// Checks in this order, stopping at the first failure:
///
/// 1. the document is strictly encoded;
/// 2. its issuer is the expected one, byte for byte, before any other content is used;
/// 3. the certificate chain has the authority that the issuer names, and every link of it is valid at the beginning of the
///    leaf certificate's validity;
/// 4. the leaf certificate has the extended key usage (or the subject) that the issuer names;
/// 5. the feed is the expected one;
/// 6. the signature over protected header and payload, as received, is valid;
/// 7. the payload has the endorsed measurement and its security version.
///
/// The unprotected header is skipped without being parsed. Later steps compare the measurement with that of the report, and the
/// security version with the policy.
///
/// # Errors
///
/// [`EndorsementError`] names the cause.
pub fn verify(cose: &[u8], expected: &EndorsementExpectations<'_>) -> Result<VerifiedEndorsement, EndorsementError> {
    let document = Document::decode(cose)?;

    let issuer = document.issuer.as_deref().ok_or(EndorsementError::MissingHeader { header: "iss" })?;
    if issuer != expected.issuer {
        return Err(EndorsementError::WrongIssuer {
            expected: shorten(expected.issuer, 300),
            actual: shorten(issuer, 300),
        });
    }
    let did =
        DidX509::parse(issuer).map_err(|defect| EndorsementError::Did { issuer: shorten(issuer, 300), defect })?;

    let chain = read_chain(&document.chain)?;
    did.check_authority(&chain)?;
    verify_chain(&chain, &did.leaf_uses())?;
    let (Some(leaf), Some(leaf_der)) = (chain.first(), document.chain.first()) else {
        return Err(EndorsementError::MissingHeader { header: "x5chain (33)" });
    };
    did.check_leaf(leaf)?;
    document.check_thumbprint(leaf_der)?;

    let feed = document.feed.as_deref().ok_or(EndorsementError::MissingHeader { header: "feed" })?;
    if feed != expected.feed {
        return Err(EndorsementError::WrongFeed { expected: shorten(expected.feed, 100), actual: shorten(feed, 100) });
    }

    document.check_signature(leaf)?;

    document.check_payload_type()?;
    let (svn, measurement) = match document.form {
        EndorsementForm::TextHeaders => read_json(document.payload()).map_err(EndorsementError::Payload)?,
        EndorsementForm::CwtHashEnvelope => (
            document.svn.ok_or(EndorsementError::MissingHeader { header: "CWT claim svn" })?,
            read_measurement(document.payload()).map_err(EndorsementError::Payload)?,
        ),
    };
    let Validity { not_before: leaf_not_before, not_after: leaf_not_after } = leaf.validity();
    Ok(VerifiedEndorsement {
        claims: UvmClaims { issuer: issuer.to_owned(), feed: feed.to_owned(), svn, measurement },
        form: document.form,
        signed_at: document.signed_at,
        leaf_not_before,
        leaf_not_after,
    })
}
