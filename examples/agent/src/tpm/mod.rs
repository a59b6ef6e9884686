//! A TPM 2.0 without a library: the few commands that evidence needs, written out (TPM 2.0 part 3).
//!
//! All of them are authorized by the empty password, which Azure's virtual TPMs have.

mod command;
mod error;
mod transport;

pub use command::{Command, Fields};
pub use error::{ResponseCode, TpmError};
pub use transport::{TpmAddress, Transport};

use aws_lc_rs::digest::{SHA256, digest};

/// `TPM_RH_OWNER`.
const OWNER: u32 = 0x4000_0001;
/// `TPM_ALG_NULL`: the scheme of the key itself.
const ALG_NULL: u16 = 0x0010;
const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const ALG_RSASSA: u16 = 0x0014;

/// `TPMA_NV` (part 2, section 13.4).
const OWNER_WRITE: u32 = 1 << 1;
const AUTH_WRITE: u32 = 1 << 2;
const OWNER_READ: u32 = 1 << 17;
const AUTH_READ: u32 = 1 << 18;

/// The PCRs of a bank.
const PCR_COUNT: usize = 24;
/// How often a quote is made again when a PCR was extended between the quote and the reading of its value.
const QUOTE_ATTEMPTS: u32 = 5;
/// The most bytes of an NV index: the largest that Azure defines has 4096.
const MAX_INDEX: usize = 16 * 1024;

/// An open TPM.
pub struct Tpm {
    transport: Box<dyn Transport>,
    /// The most bytes of one NV command, once asked for.
    nv_buffer: Option<u16>,
}

/// A quote over all SHA-256 PCRs, with the values that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// The RSASSA signature: 256 bytes for a key of 2048 bits.
    pub signature: Vec<u8>,
    /// PCR 0 to 23.
    pub pcrs: Vec<[u8; 32]>,
}

/// The public part of an NV index.
struct IndexPublic {
    attributes: u32,
    size: u16,
}

impl Tpm {
    /// Opens a TPM.
    ///
    /// # Errors
    ///
    /// [`TpmError::Open`].
    pub fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        address.open().map(Self::over)
    }

    /// Speaks over a transport.
    #[must_use]
    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self { transport, nv_buffer: None }
    }

    /// Sends a command and returns the parameters of its response.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if there is no response, or one that refuses.
    pub fn run(&mut self, command: &Command) -> Result<Vec<u8>, TpmError> {
        let name = command.name();
        let exchanged = self.transport.exchange(&command.encode());
        let response = exchanged.map_err(|error| TpmError::Exchange { command: name, error })?;
        command.parameters_of(&response)
    }

    /// Reads a whole NV index from its start, in order.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; `TPM_RC_HANDLE` if there is no such index.
    pub fn nv_read(&mut self, index: u32) -> Result<Vec<u8>, TpmError> {
        let IndexPublic { attributes, size } = self.nv_read_public(index)?;
        let authority = match attributes {
            owner if owner & OWNER_READ != 0 => OWNER,
            own if own & AUTH_READ != 0 => index,
            _ => return Err(TpmError::NotPermitted { index, what: "read" }),
        };
        let most = self.nv_buffer()?;
        let mut content = Vec::new();
        while let Some(left @ 1..) = usize::from(size).checked_sub(content.len()) {
            let offset = u16::try_from(content.len()).map_err(|_| TpmError::TooLong { index, limit: MAX_INDEX })?;
            let part = u16::try_from(left).unwrap_or(u16::MAX).min(most);
            let command = Command::new("NV_Read", 0x0000_014e).authorized(authority).handle(index);
            let response = self.run(&command.u16(part).u16(offset))?;
            let mut fields = Fields::new("NV_Read", &response);
            let read = fields.sized("the bytes of the index")?;
            fields.end()?;
            if read.len() != usize::from(part) {
                return Err(fields.malformed("as many bytes as were requested"));
            }
            content.extend_from_slice(read);
        }
        Ok(content)
    }

    /// Writes to an NV index from its start. Defines the index first, with this content's length and the empty password, if there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub fn nv_write(&mut self, index: u32, content: &[u8]) -> Result<(), TpmError> {
        let attributes = match self.nv_read_public(index) {
            Ok(public) => public.attributes,
            Err(error) if error.is_missing_handle() => self.nv_define(index, content.len())?,
            Err(error) => return Err(error),
        };
        let authority = match attributes {
            owner if owner & OWNER_WRITE != 0 => OWNER,
            own if own & AUTH_WRITE != 0 => index,
            _ => return Err(TpmError::NotPermitted { index, what: "write" }),
        };
        let most = usize::from(self.nv_buffer()?);
        let mut offset = 0_u16;
        for part in content.chunks(most) {
            let command = Command::new("NV_Write", 0x0000_0137).authorized(authority).handle(index);
            self.run(&command.sized(part).u16(offset))?;
            offset = u16::try_from(part.len()).ok().and_then(|len| offset.checked_add(len)).unwrap_or(u16::MAX);
        }
        Ok(())
    }

    /// Defines an index that the owner and the holder of its empty password may read and write, and returns its attributes.
    fn nv_define(&mut self, index: u32, size: usize) -> Result<u32, TpmError> {
        let attributes = OWNER_WRITE | AUTH_WRITE | OWNER_READ | AUTH_READ;
        let size = u16::try_from(size).map_err(|_| TpmError::TooLong { index, limit: MAX_INDEX })?;
        let public = [
            &index.to_be_bytes()[..],
            &ALG_SHA256.to_be_bytes(),
            &attributes.to_be_bytes(),
            // No policy.
            &[0, 0],
            &size.to_be_bytes(),
        ]
        .concat();
        let command = Command::new("NV_DefineSpace", 0x0000_012a).authorized(OWNER);
        self.run(&command.sized(&[]).sized(&public))?;
        Ok(attributes)
    }

    fn nv_read_public(&mut self, index: u32) -> Result<IndexPublic, TpmError> {
        let response = self.run(&Command::new("NV_ReadPublic", 0x0000_0169).handle(index))?;
        let mut fields = Fields::new("NV_ReadPublic", &response);
        let mut public = Fields::new("NV_ReadPublic", fields.sized("the public area of the index")?);
        if public.u32("an index")? != index {
            return Err(public.malformed("the index that was requested"));
        }
        public.u16("the hash of the name")?;
        let attributes = public.u32("attributes")?;
        public.sized("a policy")?;
        let size = public.u16("the size of the index")?;
        public.end()?;
        if usize::from(size) > MAX_INDEX {
            return Err(TpmError::TooLong { index, limit: MAX_INDEX });
        }
        Ok(IndexPublic { attributes, size })
    }

    /// Returns the most bytes that one NV command carries (`TPM_PT_NV_BUFFER_MAX`).
    fn nv_buffer(&mut self) -> Result<u16, TpmError> {
        const TPM_PROPERTIES: u32 = 6;
        const NV_BUFFER_MAX: u32 = 0x0000_012c;
        if let Some(most) = self.nv_buffer {
            return Ok(most);
        }
        let command = Command::new("GetCapability", 0x0000_017a).u32(TPM_PROPERTIES).u32(NV_BUFFER_MAX).u32(1);
        let response = self.run(&command)?;
        let mut fields = Fields::new("GetCapability", &response);
        fields.take(1, "whether there are more")?;
        let known = fields.u32("a capability")? == TPM_PROPERTIES && fields.u32("a count")? == 1;
        if !known || fields.u32("a property")? != NV_BUFFER_MAX {
            return Err(fields.malformed("the property TPM_PT_NV_BUFFER_MAX"));
        }
        let most = fields.u32("a value")?;
        fields.end()?;
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        if most == 0 {
            return Err(fields.malformed("a size of NV commands that is not 0"));
        }
        self.nv_buffer = Some(most);
        Ok(most)
    }

    /// Returns the modulus of a persistent RSA key.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; `TPM_RC_HANDLE` if there is no such key.
    pub fn rsa_modulus(&mut self, handle: u32) -> Result<Vec<u8>, TpmError> {
        let response = self.run(&Command::new("ReadPublic", 0x0000_0173).handle(handle))?;
        let mut fields = Fields::new("ReadPublic", &response);
        let mut public = Fields::new("ReadPublic", fields.sized("a public area")?);
        if public.u16("a type")? != ALG_RSA {
            return Err(public.malformed("an RSA key"));
        }
        public.u16("the hash of the name")?;
        public.u32("attributes")?;
        public.sized("a policy")?;
        // Parameters of a restricted key that signs: no symmetric algorithm, a scheme with its hash, bits, exponent.
        if public.u16("a symmetric algorithm")? != ALG_NULL {
            return Err(public.malformed("a key that signs"));
        }
        if public.u16("a scheme")? != ALG_RSASSA || public.u16("the hash of the scheme")? != ALG_SHA256 {
            return Err(public.malformed("a key that signs by RSASSA with SHA-256"));
        }
        public.u16("the bits of the key")?;
        public.u32("an exponent")?;
        let modulus = public.sized("a modulus")?.to_vec();
        public.end()?;
        Ok(modulus)
    }

    /// Quotes all SHA-256 PCRs over 32 bytes of the caller, by a persistent RSA key that signs by RSASSA with SHA-256.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; [`TpmError::PcrsChange`] if the PCRs do not stay the same for as long as a quote and the reading of their
    /// values take.
    pub fn quote(&mut self, handle: u32, extra_data: &[u8; 32]) -> Result<Quoted, TpmError> {
        for _ in 0..QUOTE_ATTEMPTS {
            let (message, signature) = self.quote_message(handle, extra_data)?;
            let pcrs = self.pcrs()?;
            // The digest of the values ends the message.
            let covered = digest(&SHA256, &pcrs.concat());
            if message.ends_with(covered.as_ref()) {
                return Ok(Quoted { message, signature, pcrs });
            }
        }
        Err(TpmError::PcrsChange { attempts: QUOTE_ATTEMPTS })
    }

    fn quote_message(&mut self, handle: u32, extra_data: &[u8; 32]) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let command = Command::new("Quote", 0x0000_0158).authorized(handle).sized(extra_data).u16(ALG_NULL);
        let response = self.run(&select(command, [0xff; 3]))?;
        let mut fields = Fields::new("Quote", &response);
        let message = fields.sized("a quote")?.to_vec();
        if fields.u16("a signature")? != ALG_RSASSA || fields.u16("the hash of the signature")? != ALG_SHA256 {
            return Err(fields.malformed("a signature by RSASSA with SHA-256"));
        }
        let signature = fields.sized("a signature")?.to_vec();
        fields.end()?;
        Ok((message, signature))
    }

    /// Returns the values of the 24 SHA-256 PCRs. A TPM returns at most 8 at a time.
    fn pcrs(&mut self) -> Result<Vec<[u8; 32]>, TpmError> {
        let mut values = Vec::new();
        while values.len() < PCR_COUNT {
            let remaining = 0x00ff_ffff_u32.checked_shl(u32::try_from(values.len()).unwrap_or(u32::MAX)).unwrap_or(0);
            let [low, middle, high, _] = remaining.to_le_bytes();
            let response = self.run(&select(Command::new("PCR_Read", 0x0000_017e), [low, middle, high]))?;
            let mut fields = Fields::new("PCR_Read", &response);
            fields.u32("an update counter")?;
            if fields.u32("one selection")? != 1 || fields.u16("SHA-256 PCRs")? != ALG_SHA256 {
                return Err(fields.malformed("a selection of SHA-256 PCRs; is the SHA-256 bank active?"));
            }
            let selected = fields.take(4, "a selection of 24 PCRs")?;
            let count = fields.u32("a number of values")?;
            let &[3, low, middle, high] = selected else { return Err(fields.malformed("a selection of 24 PCRs")) };
            let selected = u32::from_le_bytes([low, middle, high, 0]);
            // The values are of the selected PCRs, which must be the next ones.
            let next = remaining & !remaining.checked_shl(count).unwrap_or(0) & 0x00ff_ffff;
            if count == 0 || selected != next {
                return Err(fields.malformed("values of the first PCRs that were requested"));
            }
            for _ in 0..count {
                let value = fields.sized("the value of a PCR")?.try_into();
                values.push(value.map_err(|_| fields.malformed("PCR values of 32 bytes"))?);
            }
            fields.end()?;
        }
        Ok(values)
    }
}

/// Appends one selection of SHA-256 PCRs (`TPML_PCR_SELECTION`).
fn select(command: Command, bitmap: [u8; 3]) -> Command {
    command.u32(1).u16(ALG_SHA256).bytes(&[3]).bytes(&bitmap)
}

#[cfg(test)]
mod tests;
