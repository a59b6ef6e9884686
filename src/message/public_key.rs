//! Which public keys a message can be sealed to.
//!
//! The crypto libraries refuse the others when they seal. That is too late: an attested instance whose requests all fail would have taken
//! the place of a usable one. The check draws no random bytes, of which a host gives just enough for one message.

use super::suite::Kem;
use crate::crypto::sealing::X25519PrivateKey;
use crate::crypto::suite::ML_KEM_768_PUBLIC_KEY_LEN;

/// The modulus of ML-KEM (FIPS 203 section 2.4).
const Q: u16 = 3329;
/// What an encapsulation key ends with, after its coefficients (FIPS 203 algorithm 13).
const ML_KEM_768_SEED_LEN: usize = 32;
/// Any will do. X25519 clamps it: it is a multiple of 8, and its eighth is smaller than the primes in the orders of the curve and of its twist. So
/// its product with a key is zero just where the order of the key divides 8 (RFC 7748 sections 5 and 6.1).
const SOME_PRIVATE_KEY: [u8; 32] = [1; 32];

/// Why nothing can be sealed to a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableKey {
    /// The secret would be zero, whatever the sender's key.
    #[error("its X25519 part has a low order")]
    LowOrder,
    /// FIPS 203 section 7.2 has a sender check it.
    #[error("its ML-KEM-768 part has a coefficient above 3328")]
    Coefficient,
}

/// Checks a public key that has the size of its KEM.
pub(super) fn check(kem: Kem, public_key: &[u8]) -> Result<(), UnusableKey> {
    let x25519 = match kem {
        Kem::X25519 => public_key,
        Kem::XWing => {
            let (ml_kem, x25519) =
                public_key.split_at_checked(ML_KEM_768_PUBLIC_KEY_LEN).ok_or(UnusableKey::Coefficient)?;
            check_ml_kem_768(ml_kem)?;
            x25519
        }
    };
    let agreed = X25519PrivateKey::from_bytes(&SOME_PRIVATE_KEY).and_then(|key| key.agree(x25519));
    agreed.map(drop).map_err(|_| UnusableKey::LowOrder)
}

/// The modulus check of FIPS 203 section 7.2: two coefficients of 12 bits each are in three bytes.
fn check_ml_kem_768(public_key: &[u8]) -> Result<(), UnusableKey> {
    let coefficients = public_key.len().checked_sub(ML_KEM_768_SEED_LEN).and_then(|len| public_key.get(..len));
    let (triples, rest) = coefficients.ok_or(UnusableKey::Coefficient)?.as_chunks::<3>();
    let is_reduced = |[low, middle, high]: &[u8; 3]| {
        let first = u16::from_le_bytes([*low, middle & 0x0f]);
        let second = u16::from_le_bytes([(middle >> 4) | (high << 4), high >> 4]);
        first < Q && second < Q
    };
    if rest.is_empty() && triples.iter().all(is_reduced) { Ok(()) } else { Err(UnusableKey::Coefficient) }
}

#[cfg(test)]
mod tests;
