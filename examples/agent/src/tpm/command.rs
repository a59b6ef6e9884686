//! The encoding of commands and responses (TPM 2.0 part 1, section 18). Numbers are big endian.

use super::error::{ResponseCode, TpmError};

/// `TPM_ST_NO_SESSIONS`.
const NO_SESSIONS: u16 = 0x8001;
/// `TPM_ST_SESSIONS`.
const SESSIONS: u16 = 0x8002;
/// The bytes in front of handles and parameters: tag, size, code.
const HEADER_LEN: u32 = 10;

/// One empty password: `TPM_RS_PW`, no nonce, no attributes, no password.
const EMPTY_PASSWORD: [u8; 9] = [0x40, 0x00, 0x00, 0x09, 0, 0, 0, 0, 0];

/// A command to be encoded.
#[derive(Clone, Debug)]
pub struct Command {
    name: &'static str,
    code: u32,
    handles: Vec<u8>,
    authorized: bool,
    returns_handle: bool,
    parameters: Vec<u8>,
}

impl Command {
    /// A command by its `TPM_CC`. The name is for errors.
    #[must_use]
    pub const fn new(name: &'static str, code: u32) -> Self {
        Self { name, code, handles: Vec::new(), authorized: false, returns_handle: false, parameters: Vec::new() }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// A handle that needs no authorization.
    #[must_use]
    pub fn handle(mut self, handle: u32) -> Self {
        self.handles.extend(handle.to_be_bytes());
        self
    }

    /// The first handle, authorized by the empty password.
    #[must_use]
    pub fn authorized(self, handle: u32) -> Self {
        Self { authorized: true, ..self.handle(handle) }
    }

    /// The response begins with a handle, which the parameters do not include.
    #[must_use]
    pub const fn returning_handle(mut self) -> Self {
        self.returns_handle = true;
        self
    }

    /// A parameter of 16 bits.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A parameter of 32 bits.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A parameter with its size in front (`TPM2B`).
    #[must_use]
    pub fn sized(self, value: &[u8]) -> Self {
        // Longer ones do not occur: they would be refused for their size.
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX)).bytes(value)
    }

    /// Bytes of parameters as they are.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.parameters.extend_from_slice(value);
        self
    }

    /// Encodes the command.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len_of_password = u32::try_from(EMPTY_PASSWORD.len()).unwrap_or_default().to_be_bytes();
        let authorization = if self.authorized { [&len_of_password[..], &EMPTY_PASSWORD].concat() } else { Vec::new() };
        let body = [&self.handles[..], &authorization, &self.parameters].concat();
        let size = u32::try_from(body.len()).ok().and_then(|len| len.checked_add(HEADER_LEN)).unwrap_or(u32::MAX);
        let tag = if self.authorized { SESSIONS } else { NO_SESSIONS };
        [&tag.to_be_bytes()[..], &size.to_be_bytes(), &self.code.to_be_bytes(), &body].concat()
    }

    /// Takes the parameters out of a response to this command.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with the code of the response, [`TpmError::Malformed`] for another layout.
    pub fn parameters_of(&self, response: &[u8]) -> Result<Vec<u8>, TpmError> {
        let mut fields = Fields::new(self.name, response);
        let tag = fields.u16("a tag")?;
        let size = fields.u32("a size")?;
        if usize::try_from(size).ok() != Some(response.len()) {
            return Err(fields.malformed("a response of the size that it states"));
        }
        let code = fields.u32("a response code")?;
        if code != 0 {
            return Err(TpmError::Refused { command: self.name, code: ResponseCode(code) });
        }
        if tag != (if self.authorized { SESSIONS } else { NO_SESSIONS }) {
            return Err(fields.malformed("the tag of the command"));
        }
        if self.returns_handle {
            fields.u32("a handle")?;
        }
        if !self.authorized {
            return Ok(fields.rest().to_vec());
        }
        let size = usize::try_from(fields.u32("the size of the parameters")?).unwrap_or(usize::MAX);
        let parameters = fields.take(size, "parameters of the stated size")?.to_vec();
        // Of a password: no nonce, the attributes, no HMAC.
        if !matches!(fields.rest(), [0, 0, _, 0, 0]) {
            return Err(fields.malformed("the acknowledgement of one password"));
        }
        Ok(parameters)
    }
}

/// Reads the fields of a response one after the other.
#[derive(Debug)]
pub struct Fields<'a> {
    command: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of the response to this command.
    #[must_use]
    pub const fn new(command: &'static str, bytes: &'a [u8]) -> Self {
        Self { command, rest: bytes }
    }

    pub(super) const fn malformed(&self, expected: &'static str) -> TpmError {
        TpmError::Malformed { command: self.command, expected }
    }

    const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError::Malformed`] with what was expected, as all of these.
    pub fn take(&mut self, len: usize, expected: &'static str) -> Result<&'a [u8], TpmError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.malformed(expected))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of 16 bits.
    ///
    /// # Errors
    ///
    /// See [`Fields::take`].
    pub fn u16(&mut self, expected: &'static str) -> Result<u16, TpmError> {
        let bytes = self.take(2, expected)?.try_into().map_err(|_| self.malformed(expected))?;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    ///
    /// See [`Fields::take`].
    pub fn u32(&mut self, expected: &'static str) -> Result<u32, TpmError> {
        let bytes = self.take(4, expected)?.try_into().map_err(|_| self.malformed(expected))?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Bytes with their size in front (`TPM2B`).
    ///
    /// # Errors
    ///
    /// See [`Fields::take`].
    pub fn sized(&mut self, expected: &'static str) -> Result<&'a [u8], TpmError> {
        let len = self.u16(expected)?;
        self.take(usize::from(len), expected)
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    ///
    /// See [`Fields::take`].
    pub fn end(&self) -> Result<(), TpmError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("no further byte")) }
    }
}
