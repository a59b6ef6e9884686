//! The times of a token: `exp`, `nbf` and `iat` against the clock (RFC 7519 section 4.1).

use super::claims::required;
use super::error::TokenError;
use crate::json::Object;
use crate::types::UnixTime;

/// The tolerated difference between two correct clocks, in seconds.
const LEEWAY: u64 = 60;

/// The times of a token.
pub(super) struct Times {
    pub(super) issued_at: UnixTime,
    pub(super) not_before: UnixTime,
    pub(super) expires_at: UnixTime,
}

impl Times {
    pub(super) fn read(payload: &Object<'_>) -> Result<Self, TokenError> {
        let time = |name| required(payload, name).map(UnixTime::from_secs);
        Ok(Self { issued_at: time("iat")?, not_before: time("nbf")?, expires_at: time("exp")? })
    }

    pub(super) fn check(&self, now: UnixTime) -> Result<(), TokenError> {
        let &Self { issued_at, not_before, expires_at } = self;
        if expires_at <= issued_at || expires_at <= not_before {
            return Err(TokenError::InvalidLifetime { issued_at, not_before, expires_at });
        }
        // RFC 7519 section 4.1.4: not accepted *on* or after the expiration time.
        if now >= expires_at.plus(LEEWAY) {
            return Err(TokenError::Expired { expires_at, now });
        }
        if now.plus(LEEWAY) < not_before {
            return Err(TokenError::NotYetValid { not_before, now });
        }
        if now.plus(LEEWAY) < issued_at {
            return Err(TokenError::IssuedInFuture { issued_at, now });
        }
        Ok(())
    }
}
