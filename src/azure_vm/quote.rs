//! The quote of a virtual TPM: `TPMS_ATTEST` and its signature (TPM 2.0 part 2, sections 10.12 and 11.3), verified here; its `extraData`
//! is compared in `crate::binding`. Numbers are big endian.

use serde::{Serialize, Serializer};

use super::attestation_key::{AttestationKey, TPM_ALG_RSASSA, TPM_ALG_SHA256};
use super::bytes::Bytes;
use super::error::QuoteError;
use super::pcr::{PcrSelection, Pcrs};
use crate::types::Sha256Digest;

/// The longest data of the caller in a quote, in bytes (TPM 2.0 part 2, `TPM2B_DATA`): a hash of 64 bytes and its algorithm.
const MAX_EXTRA_DATA_LEN: usize = 66;
/// The longest message: everything in it but the data of the caller has a fixed length.
const MAX_MESSAGE_LEN: usize = 113 + MAX_EXTRA_DATA_LEN;
/// The bytes of an RSA signature with 2048 bits.
const SIGNATURE_LEN: usize = 256;

/// `TPM_GENERATED_VALUE`: begins everything that a TPM itself made, and nothing else that a restricted key signs.
const TPM_GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const ATTEST_QUOTE: u16 = 0x8018;
/// A name is the algorithm and the digest.
const NAME_LEN: u16 = 34;

/// A quote as received: nothing of it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quote {
    /// The signed message: `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// The signature: 256 bytes, or a `TPMT_SIGNATURE` with them.
    pub signature: Vec<u8>,
    /// The values of the PCRs that the quote selects, in ascending order of the PCRs. The quote covers a digest of them.
    pub pcrs: Vec<Sha256Digest>,
}

impl Quote {
    /// Wraps a message, its signature and the PCR values.
    #[must_use]
    pub fn new(message: impl Into<Vec<u8>>, signature: impl Into<Vec<u8>>, pcrs: impl Into<Vec<Sha256Digest>>) -> Self {
        Self { message: message.into(), signature: signature.into(), pcrs: pcrs.into() }
    }

    /// Verifies that an attestation key signed the quote, and that the PCR values are those that it covers. The data of the caller
    /// ([`VerifiedQuote::extra_data`]) is returned, not compared.
    ///
    /// # Errors
    ///
    /// [`QuoteError`]: the signature first, so that nothing that a forger wrote is interpreted.
    pub fn verify(&self, key: &AttestationKey) -> Result<VerifiedQuote, QuoteError> {
        if self.message.len() > MAX_MESSAGE_LEN {
            return Err(QuoteError::TooLarge { limit: MAX_MESSAGE_LEN, actual: self.message.len() });
        }
        key.verify(&self.message, read_signature(&self.signature)?)?;
        let attest = UnverifiedQuote::read(&self.message)?;
        let expected = key.qualified_name();
        if attest.signer != expected {
            return Err(QuoteError::WrongSigner { expected, actual: attest.signer });
        }
        Ok(VerifiedQuote {
            pcrs: Pcrs::of_quote(attest.selection, &self.pcrs, &attest.pcr_digest)?,
            extra_data: attest.extra_data.to_vec(),
            clock_milliseconds: attest.clock,
            reset_count: attest.reset_count,
            restart_count: attest.restart_count,
            clock_safe: attest.safe,
            firmware_version: attest.firmware_version,
        })
    }
}

/// A quote that the attestation key signed; only [`Quote::verify`] creates one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct VerifiedQuote {
    #[serde(serialize_with = "hex_bytes")]
    extra_data: Vec<u8>,
    pcrs: Pcrs,
    clock_milliseconds: u64,
    reset_count: u32,
    restart_count: u32,
    clock_safe: bool,
    firmware_version: u64,
}

impl VerifiedQuote {
    /// Returns the data of the caller (`extraData`): 0 to 66 bytes. Compare it in full with what the TPM was asked to cover, in
    /// constant time.
    #[must_use]
    pub fn extra_data(&self) -> &[u8] {
        &self.extra_data
    }

    /// Returns the PCRs that the quote covers.
    #[must_use]
    pub const fn pcrs(&self) -> &Pcrs {
        &self.pcrs
    }

    /// Returns how often the virtual TPM was reset (`resetCount`): once for each boot.
    #[must_use]
    pub const fn reset_count(&self) -> u32 {
        self.reset_count
    }
}

/// The fields of a quote's message (`TPMS_ATTEST`), which are not verified: for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnverifiedQuote<'a> {
    #[serde(rename = "qualified_signer")]
    signer: Sha256Digest,
    #[serde(serialize_with = "hex_bytes")]
    extra_data: &'a [u8],
    #[serde(rename = "clock_milliseconds")]
    clock: u64,
    reset_count: u32,
    restart_count: u32,
    #[serde(rename = "clock_safe")]
    safe: bool,
    firmware_version: u64,
    #[serde(rename = "selected_pcrs")]
    selection: PcrSelection,
    pcr_digest: Sha256Digest,
}

impl<'a> UnverifiedQuote<'a> {
    /// Parses a quote over SHA-256 PCRs, of exactly one selection, with no bytes after it.
    ///
    /// # Errors
    ///
    /// [`QuoteError::Malformed`] for any other layout.
    pub fn read(message: &'a [u8]) -> Result<Self, QuoteError> {
        let mut fields = Fields { bytes: Bytes::new(message) };
        fields.expect("the magic number of a TPM", Bytes::u32_be, TPM_GENERATED)?;
        fields.expect("the type of a quote", Bytes::u16_be, ATTEST_QUOTE)?;
        fields.expect("a name of 34 bytes", Bytes::u16_be, NAME_LEN)?;
        fields.expect("a name with SHA-256", Bytes::u16_be, TPM_ALG_SHA256)?;
        let signer = fields.any("a name with SHA-256", Bytes::array)?;
        let extra_len = usize::from(fields.any("the length of the extra data", Bytes::u16_be)?);
        if extra_len > MAX_EXTRA_DATA_LEN {
            return Err(fields.malformed("at most 66 bytes of extra data"));
        }
        let extra_data = fields.any("the extra data", |bytes| bytes.take(extra_len))?;
        let clock = fields.any("the clock", Bytes::u64_be)?;
        let reset_count = fields.any("the reset count", Bytes::u32_be)?;
        let restart_count = fields.any("the restart count", Bytes::u32_be)?;
        let safe = match fields.any("whether the clock is safe", Bytes::u8)? {
            0 => false,
            1 => true,
            _ => return Err(fields.malformed("0 or 1 for a safe clock")),
        };
        let firmware_version = fields.any("the firmware version", Bytes::u64_be)?;
        fields.expect("one selection of PCRs", Bytes::u32_be, 1)?;
        fields.expect("PCRs with SHA-256", Bytes::u16_be, TPM_ALG_SHA256)?;
        fields.expect("a selection of 24 PCRs", Bytes::u8, 3)?;
        let selection = PcrSelection(*fields.any("a selection of 24 PCRs", Bytes::array)?);
        fields.expect("a digest of 32 bytes", Bytes::u16_be, 32)?;
        let pcr_digest = fields.any("a digest of 32 bytes", Bytes::array)?;
        if !fields.bytes.rest().is_empty() {
            return Err(fields.malformed("no further byte"));
        }
        let (signer, pcr_digest) = (Sha256Digest::new(*signer), Sha256Digest::new(*pcr_digest));
        Ok(Self {
            signer,
            extra_data,
            clock,
            reset_count,
            restart_count,
            safe,
            firmware_version,
            selection,
            pcr_digest,
        })
    }
}

/// Reads the fields of a message, and says what was expected where.
struct Fields<'a> {
    bytes: Bytes<'a>,
}

impl<'a> Fields<'a> {
    const fn malformed(&self, expected: &'static str) -> QuoteError {
        QuoteError::Malformed { offset: self.bytes.offset(), expected }
    }

    fn any<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Bytes<'a>) -> Option<T>,
    ) -> Result<T, QuoteError> {
        let malformed = self.malformed(expected);
        read(&mut self.bytes).ok_or(malformed)
    }

    fn expect<T: PartialEq>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Bytes<'a>) -> Option<T>,
        value: T,
    ) -> Result<(), QuoteError> {
        let malformed = self.malformed(expected);
        if read(&mut self.bytes) == Some(value) { Ok(()) } else { Err(malformed) }
    }
}

/// Returns the 256 bytes of a signature: as they are, or out of a `TPMT_SIGNATURE` of RSASSA with SHA-256.
fn read_signature(received: &[u8]) -> Result<&[u8], QuoteError> {
    let malformed = QuoteError::MalformedSignature { actual: received.len() };
    let signature = match received.strip_prefix(&TPMT_SIGNATURE_HEADER[..]) {
        // A bare signature can begin with these bytes too.
        Some(signature) if received.len() != SIGNATURE_LEN => signature,
        _ => received,
    };
    if signature.len() == SIGNATURE_LEN { Ok(signature) } else { Err(malformed) }
}

/// `sigAlg`, `hash` and the length of the signature.
const TPMT_SIGNATURE_HEADER: [u8; 6] = {
    let ([a, b], [c, d]) = (TPM_ALG_RSASSA.to_be_bytes(), TPM_ALG_SHA256.to_be_bytes());
    [a, b, c, d, 1, 0]
};

fn hex_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
