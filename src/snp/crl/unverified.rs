//! A CRL of which nothing is verified: for looking at, never for deciding.

use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::super::error::CrlError;
use super::tbs::Header;
use super::{MAX_CRL_LEN, MAX_ISSUER_LEN};
use crate::der::Signed;
use crate::types::UnixTime;

/// What a CRL of any authority says. Read with the limits of one that is verified.
pub(crate) struct UnverifiedCrl {
    pub(crate) issuer: String,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: Option<UnixTime>,
    /// How many certificates it names.
    pub(crate) revoked: usize,
}

impl UnverifiedCrl {
    /// Returns whether bytes have the outline of a CRL: a handful of elements is read, however long they are.
    pub(crate) fn is_crl(der: &[u8]) -> bool {
        let header = Signed::read(der).and_then(|signed| Header::read(signed.body.contents));
        header.is_some_and(|header| header.is_before_a_time())
    }

    pub(crate) fn read(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_LEN {
            return Err(CrlError::TooLarge { limit: MAX_CRL_LEN, actual: der.len() });
        }
        let signed = Signed::read(der).ok_or(CrlError::Malformed)?;
        let header = Header::read(signed.body.contents).ok_or(CrlError::Malformed)?;
        if header.issuer.len() > MAX_ISSUER_LEN {
            return Err(CrlError::Malformed);
        }
        let (_, issuer) = X509Name::from_der(header.issuer).map_err(|_| CrlError::Malformed)?;
        let issuer = issuer.to_string();
        let content = header.content()?;
        let (this_update, next_update) = (content.this_update, content.next_update);
        Ok(Self { issuer, this_update, next_update, revoked: content.entries.len() })
    }
}
