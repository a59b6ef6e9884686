//! Hybrid public key encryption (HPKE, RFC 9180), base mode, with HKDF-SHA256.
//!
//! | KEM | id | public key | encapsulated key |
//! |---|---|---|---|
//! | X25519 (DHKEM, RFC 9180 section 4.1) | 0x0020 | 32 bytes | 32 bytes |
//! | X-Wing (ML-KEM-768 and X25519, draft-connolly-cfrg-xwing-kem) | 0x647a | 1216 bytes | 1120 bytes |
//!
//! There is neither a pre-shared key nor sender authentication: the recipient is authenticated by attestation, the sender is not.

use bytes::BytesMut;
use zeroize::Zeroizing;

pub(crate) use super::suite::Kem;
use super::suite::{KDF_ID, aead_id};
use crate::crypto::sealing::{
    Aead, AeadKey, MAX_KEY_LEN, ML_KEM_768_CIPHERTEXT_LEN, ML_KEM_768_PUBLIC_KEY_LEN, MlKem768PrivateKey, NONCE_LEN,
    SealingError, Secret, X25519PrivateKey, hkdf_expand, hkdf_extract, ml_kem_768_encapsulate, sha3_256,
};

/// The label of X-Wing's combiner.
const X_WING_LABEL: &[u8] = br"\.//^\";
/// The version and the `suite_id` of RFC 9180 section 4.1, for X25519.
const DHKEM_SUITE: &[u8] = b"HPKE-v1KEM\x00\x20";
const MODE_BASE: &[u8] = &[0];
/// The size of a decapsulation key of ML-KEM-768 in the expanded form (FIPS 203 table 3).
#[cfg(any(test, fuzzing))]
const ML_KEM_768_PRIVATE_KEY_LEN: usize = 2400;

/// A private key of a recipient. It cannot be exported, and is overwritten when dropped.
pub(crate) enum PrivateKey {
    X25519(X25519PrivateKey),
    XWing { ml_kem: Box<MlKem768PrivateKey>, x25519: X25519PrivateKey },
}

impl PrivateKey {
    /// Generates a key pair.
    ///
    /// X-Wing derives both of its keys from one seed; generated apart they have the same distribution, and only a seed that is
    /// stored needs the derivation.
    pub(crate) fn generate(kem: Kem) -> Result<Self, SealingError> {
        let x25519 = X25519PrivateKey::generate()?;
        Ok(match kem {
            Kem::X25519 => Self::X25519(x25519),
            Kem::XWing => Self::XWing { ml_kem: Box::new(MlKem768PrivateKey::generate()?), x25519 },
        })
    }

    /// Reads a key of X-Wing that is written as its parts: that of ML-KEM-768 in the expanded form, and that of X25519.
    #[cfg(any(test, fuzzing))]
    pub(super) fn x_wing(parts: &[u8]) -> Result<Self, SealingError> {
        let (ml_kem, x25519) = split(parts, ML_KEM_768_PRIVATE_KEY_LEN)?;
        let ml_kem = Box::new(MlKem768PrivateKey::from_expanded(ml_kem)?);
        Ok(Self::XWing { ml_kem, x25519: X25519PrivateKey::from_bytes(x25519)? })
    }

    pub(crate) fn kem(&self) -> Kem {
        match self {
            Self::X25519(_) => Kem::X25519,
            Self::XWing { .. } => Kem::XWing,
        }
    }

    /// The public key as it stands in a key configuration.
    pub(crate) fn public_key(&self) -> Result<Vec<u8>, SealingError> {
        match self {
            Self::X25519(key) => Ok(key.public_key()?.to_vec()),
            Self::XWing { ml_kem, x25519 } => Ok([ml_kem.public_key()?.as_slice(), &x25519.public_key()?].concat()),
        }
    }

    /// `Decap` of RFC 9180 section 4.
    fn decapsulate(&self, encapsulated: &[u8]) -> Result<Secret, SealingError> {
        if encapsulated.len() != self.kem().encapsulated_key_len() {
            return Err(SealingError);
        }
        match self {
            Self::X25519(key) => dhkem_secret(&key.agree(encapsulated)?, encapsulated, &key.public_key()?),
            Self::XWing { ml_kem, x25519 } => {
                let (ciphertext, ephemeral) = split(encapsulated, ML_KEM_768_CIPHERTEXT_LEN)?;
                let (post_quantum, classical) = (ml_kem.decapsulate(ciphertext)?, x25519.agree(ephemeral)?);
                x_wing_secret(&post_quantum, &classical, ephemeral, &x25519.public_key()?)
            }
        }
    }
}

/// `Encap` of RFC 9180 section 4: the shared secret and the encapsulated key, for a public key of a KEM.
fn encapsulate(
    kem: Kem,
    public_key: &[u8],
    ephemeral: &X25519PrivateKey,
    ml_kem_768: impl FnOnce(&[u8]) -> Result<(Vec<u8>, Secret), SealingError>,
) -> Result<(Secret, Vec<u8>), SealingError> {
    if public_key.len() != kem.public_key_len() {
        return Err(SealingError);
    }
    let ephemeral_public = ephemeral.public_key()?;
    match kem {
        Kem::X25519 => {
            let secret = dhkem_secret(&ephemeral.agree(public_key)?, &ephemeral_public, public_key)?;
            Ok((secret, ephemeral_public.to_vec()))
        }
        Kem::XWing => {
            let (ml_kem, x25519) = split(public_key, ML_KEM_768_PUBLIC_KEY_LEN)?;
            let (ciphertext, post_quantum) = ml_kem_768(ml_kem)?;
            let secret = x_wing_secret(&post_quantum, &ephemeral.agree(x25519)?, &ephemeral_public, x25519)?;
            Ok((secret, [ciphertext.as_slice(), &ephemeral_public].concat()))
        }
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), SealingError> {
    bytes.split_at_checked(at).ok_or(SealingError)
}

/// `ExtractAndExpand` of RFC 9180 section 4.1.
fn dhkem_secret(dh: &Secret, encapsulated: &[u8], public_key: &[u8]) -> Result<Secret, SealingError> {
    let prk = labeled_extract(DHKEM_SUITE, &[], "eae_prk", dh.as_slice())?;
    let mut out = Zeroizing::new([0; 32]);
    labeled_expand(DHKEM_SUITE, &prk, "shared_secret", [encapsulated, public_key, &[]], out.as_mut_slice())?;
    Ok(out)
}

/// `Combiner` of draft-connolly-cfrg-xwing-kem section 5.3.
fn x_wing_secret(
    ml_kem: &Secret,
    x25519: &Secret,
    ephemeral: &[u8],
    public_key: &[u8],
) -> Result<Secret, SealingError> {
    sha3_256(&[ml_kem.as_slice(), x25519.as_slice(), ephemeral, public_key, X_WING_LABEL])
}

/// The version and the `suite_id` of RFC 9180 section 5.1.
fn suite(kem: Kem, aead: Aead) -> [u8; 17] {
    let ([kem_high, kem_low], [kdf_high, kdf_low], [aead_high, aead_low]) = (kem.id(), KDF_ID, aead_id(aead));
    [
        b'H', b'P', b'K', b'E', b'-', b'v', b'1', b'H', b'P', b'K', b'E', kem_high, kem_low, kdf_high, kdf_low,
        aead_high, aead_low,
    ]
}

/// `LabeledExtract` of RFC 9180 section 4.
fn labeled_extract(suite: &[u8], salt: &[u8], label: &str, ikm: &[u8]) -> Result<Secret, SealingError> {
    hkdf_extract(salt, &[suite, label.as_bytes(), ikm])
}

/// `LabeledExpand` of RFC 9180 section 4, with the concatenation of `info`.
fn labeled_expand(
    suite: &[u8],
    prk: &Secret,
    label: &str,
    info: [&[u8]; 3],
    out: &mut [u8],
) -> Result<(), SealingError> {
    let len = u16::try_from(out.len()).map_err(|_| SealingError)?.to_be_bytes();
    let [first, second, third] = info;
    hkdf_expand(prk, &[&len, suite, label.as_bytes(), first, second, third], out)
}

/// A key with a base nonce and a counter: the part of a context that encrypts (RFC 9180 section 5.2). Chunks of a response use
/// the same construction (draft-ietf-ohai-chunked-ohttp-08 section 6.2).
pub(crate) struct AeadContext {
    /// With its key schedule it has 600 bytes. Moving a context neither copies it nor leaves copies behind.
    key: Box<AeadKey>,
    base_nonce: Zeroizing<[u8; NONCE_LEN]>,
    next: u64,
}

impl AeadContext {
    pub(super) fn new(aead: Aead, key: &[u8], base_nonce: [u8; NONCE_LEN]) -> Result<Self, SealingError> {
        Ok(Self { key: Box::new(AeadKey::new(aead, key)?), base_nonce: Zeroizing::new(base_nonce), next: 0 })
    }

    /// `ComputeNonce` and `IncrementSeq`: each nonce is returned once.
    fn next_nonce(&mut self) -> Result<[u8; NONCE_LEN], SealingError> {
        let mut nonce = *self.base_nonce;
        for (byte, counter) in nonce.iter_mut().rev().zip(self.next.to_be_bytes().iter().rev()) {
            *byte ^= counter;
        }
        self.next = self.next.checked_add(1).ok_or(SealingError)?;
        Ok(nonce)
    }

    /// Encrypts the next text of the sequence, whose parts are given, and appends it to `out`. After an error nothing is appended.
    pub(super) fn append(&mut self, aad: &[u8], parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), SealingError> {
        let nonce = self.next_nonce()?;
        let start = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        let tag = out.get_mut(start..).ok_or(SealingError).and_then(|text| self.key.seal(nonce, aad, text));
        match tag {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(_) => out.truncate(start),
        }
        tag.map(|_| ())
    }

    /// Encrypts the next text of the sequence.
    #[cfg(test)]
    pub(super) fn seal(&mut self, aad: &[u8], text: &[u8]) -> Result<Vec<u8>, SealingError> {
        let mut sealed = Vec::new();
        self.append(aad, &[text], &mut sealed)?;
        Ok(sealed)
    }

    /// Decrypts the next text of the sequence, where it is.
    pub(super) fn open(&mut self, aad: &[u8], mut sealed: BytesMut) -> Result<BytesMut, SealingError> {
        let nonce = self.next_nonce()?;
        let len = self.key.open(nonce, aad, &mut sealed)?;
        sealed.truncate(len);
        Ok(sealed)
    }
}

/// The secret from which a context exports others (RFC 9180 section 5.3).
pub(crate) struct Exporter {
    suite: [u8; 17],
    secret: Secret,
}

impl Exporter {
    /// Derives a secret of the size of `out`.
    pub(super) fn export(&self, label: &[u8], out: &mut [u8]) -> Result<(), SealingError> {
        labeled_expand(&self.suite, &self.secret, "sec", [label, &[], &[]], out)
    }
}

/// `KeySchedule` of RFC 9180 section 5.1, in base mode.
fn key_schedule(kem: Kem, aead: Aead, shared: &Secret, info: &[u8]) -> Result<(AeadContext, Exporter), SealingError> {
    let suite = suite(kem, aead);
    let psk_id_hash = labeled_extract(&suite, &[], "psk_id_hash", &[])?;
    let info_hash = labeled_extract(&suite, &[], "info_hash", info)?;
    let context = [MODE_BASE, psk_id_hash.as_slice(), info_hash.as_slice()];
    let secret = labeled_extract(&suite, shared.as_slice(), "secret", &[])?;
    let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
    let key = key.get_mut(..aead.key_len()).ok_or(SealingError)?;
    labeled_expand(&suite, &secret, "key", context, key)?;
    let mut base_nonce = [0; NONCE_LEN];
    labeled_expand(&suite, &secret, "base_nonce", context, &mut base_nonce)?;
    let mut exporter = Zeroizing::new([0; 32]);
    labeled_expand(&suite, &secret, "exp", context, exporter.as_mut_slice())?;
    Ok((AeadContext::new(aead, key, base_nonce)?, Exporter { suite, secret: exporter }))
}

/// What `SetupBaseS` of RFC 9180 section 5.1.1 gives the sender.
pub(super) struct Sender {
    pub(super) encapsulated: Vec<u8>,
    pub(super) context: AeadContext,
    pub(super) exporter: Exporter,
}

/// Begins a context of a sender, with a new ephemeral key.
pub(super) fn setup_sender(kem: Kem, aead: Aead, public_key: &[u8], info: &[u8]) -> Result<Sender, SealingError> {
    setup_sender_with(kem, aead, public_key, info, &X25519PrivateKey::generate()?, ml_kem_768_encapsulate)
}

/// The same with a given ephemeral key and encapsulation, for test vectors.
pub(super) fn setup_sender_with(
    kem: Kem,
    aead: Aead,
    public_key: &[u8],
    info: &[u8],
    ephemeral: &X25519PrivateKey,
    ml_kem_768: impl FnOnce(&[u8]) -> Result<(Vec<u8>, Secret), SealingError>,
) -> Result<Sender, SealingError> {
    let (shared, encapsulated) = encapsulate(kem, public_key, ephemeral, ml_kem_768)?;
    let (context, exporter) = key_schedule(kem, aead, &shared, info)?;
    Ok(Sender { encapsulated, context, exporter })
}

/// `SetupBaseR` of RFC 9180 section 5.1.1.
pub(super) fn setup_recipient(
    key: &PrivateKey,
    aead: Aead,
    encapsulated: &[u8],
    info: &[u8],
) -> Result<(AeadContext, Exporter), SealingError> {
    key_schedule(key.kem(), aead, &key.decapsulate(encapsulated)?, info)
}

#[cfg(test)]
mod tests;
