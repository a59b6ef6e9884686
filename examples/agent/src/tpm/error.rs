//! Why a TPM gives no result, and what to do about it.

use std::fmt;
use std::io;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The device or socket cannot be opened.
    #[error("the TPM at {address} cannot be opened: {error}{}", hint(error))]
    Open {
        /// Where it was looked for.
        address: String,
        /// The reason.
        error: io::Error,
    },
    /// No response, or not in time.
    #[error("{command}: the TPM does not respond: {error}")]
    Exchange {
        /// The command without `TPM2_`.
        command: &'static str,
        /// The reason.
        error: io::Error,
    },
    /// A response with another layout.
    #[error("{command}: the TPM's response is malformed: expected {expected}")]
    Malformed {
        /// The command without `TPM2_`.
        command: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// The TPM refuses the command.
    #[error("{command}: the TPM refuses: {code}")]
    Refused {
        /// The command without `TPM2_`.
        command: &'static str,
        /// The reason.
        code: ResponseCode,
    },
    /// An NV index that neither the owner nor the holder of its password may use.
    #[error("NV index {index:#010x}: neither the owner nor its own password may {what} it; another program defined it")]
    NotPermitted {
        /// The index.
        index: u32,
        /// `read` or `write`.
        what: &'static str,
    },
    /// An NV index that is longer than any that is used here.
    #[error("NV index {index:#010x}: longer than {limit} bytes, which no index of Azure is")]
    TooLong {
        /// The index.
        index: u32,
        /// The limit in bytes.
        limit: usize,
    },
    /// The PCRs were extended between each quote and the reading of their values.
    #[error("the PCRs changed during each of {attempts} quotes: something extends one of them all the time")]
    PcrsChange {
        /// How often it was tried.
        attempts: u32,
    },
}

/// `TPM_RC` (TPM 2.0 part 2, section 6.6): a response code that is not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCode(pub u32);

impl TpmError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_temporary(),
            Self::Exchange { .. } | Self::PcrsChange { .. } => true,
            Self::Open { .. } | Self::Malformed { .. } | Self::NotPermitted { .. } | Self::TooLong { .. } => false,
        }
    }

    /// Whether the object or NV index that a handle names does not exist.
    #[must_use]
    pub fn is_missing_handle(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.base() == HANDLE)
    }
}

/// What an operator can do about a TPM that cannot be opened.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; is this a confidential VM with a virtual TPM, and the device in this container?",
        io::ErrorKind::PermissionDenied => "; run as root or in the group tss",
        io::ErrorKind::ResourceBusy => "; /dev/tpm0 serves one program at a time: use /dev/tpmrm0",
        _ => "",
    }
}

const HANDLE: u32 = 0x08b;

/// Codes that an operator can meet: number, name, meaning. In the form without the number of a handle, parameter or session.
const KNOWN: [(u32, &str, &str); 36] = [
    (0x01e, "TPM_RC_BAD_TAG", "it is a TPM 1.2"),
    (0x082, "TPM_RC_ATTRIBUTES", "the attributes do not permit this"),
    (0x083, "TPM_RC_HASH", "it does not have SHA-256 for this"),
    (0x084, "TPM_RC_VALUE", "a value is out of range"),
    (0x085, "TPM_RC_HIERARCHY", "the hierarchy is disabled"),
    (HANDLE, "TPM_RC_HANDLE", "there is no such key or NV index"),
    (0x08e, "TPM_RC_AUTH_FAIL", "a password was set; this program uses the empty one"),
    (0x092, "TPM_RC_SCHEME", "the key has another signature scheme"),
    (0x095, "TPM_RC_SIZE", "a size is wrong"),
    (0x098, "TPM_RC_SELECTOR", "it does not have this algorithm"),
    (0x09a, "TPM_RC_INSUFFICIENT", "the command is too short"),
    (0x09c, "TPM_RC_KEY", "the key is not one that signs"),
    (0x0a2, "TPM_RC_BAD_AUTH", "a password was set; this program uses the empty one"),
    (0x100, "TPM_RC_INITIALIZE", "it was not started (TPM2_Startup)"),
    (0x101, "TPM_RC_FAILURE", "it is in failure mode; restart the VM"),
    (0x120, "TPM_RC_DISABLED", "it is disabled"),
    (0x143, "TPM_RC_COMMAND_CODE", "it does not have this command"),
    (0x146, "TPM_RC_NV_RANGE", "the NV index is shorter than what is read or written"),
    (0x147, "TPM_RC_NV_SIZE", "the NV index is larger than it permits"),
    (0x148, "TPM_RC_NV_LOCKED", "the NV index is locked until the next start of the VM"),
    (0x149, "TPM_RC_NV_AUTHORIZATION", "the NV index permits this to others only"),
    (0x14a, "TPM_RC_NV_UNINITIALIZED", "nothing was ever written to the NV index"),
    (0x14b, "TPM_RC_NV_SPACE", "it has no room for another NV index; delete one"),
    (0x14c, "TPM_RC_NV_DEFINED", "the NV index exists already"),
    (0x902, "TPM_RC_OBJECT_MEMORY", "it has no room for another object at the moment"),
    (0x903, "TPM_RC_SESSION_MEMORY", "it has no room for another session at the moment"),
    (0x904, "TPM_RC_MEMORY", "it has no memory at the moment"),
    (0x908, "TPM_RC_YIELDED", "it did something else; try again"),
    (0x909, "TPM_RC_CANCELED", "the command was canceled"),
    (0x90a, "TPM_RC_TESTING", "it tests itself; try again"),
    (0x920, "TPM_RC_NV_RATE", "it limits writing to NV indices; try again later"),
    (0x921, "TPM_RC_LOCKOUT", "it is locked after wrong passwords; wait, or clear the lockout"),
    (0x922, "TPM_RC_RETRY", "it is busy; try again"),
    (0x923, "TPM_RC_NV_UNAVAILABLE", "its NV memory is not available at the moment"),
    (0x910, "TPM_RC_REFERENCE_H0", "the first handle names an object that was unloaded"),
    (0x911, "TPM_RC_REFERENCE_H1", "the second handle names an object that was unloaded"),
];

impl ResponseCode {
    /// Without what says which handle, parameter or session it is about, and without the layer that software put in front.
    const fn base(self) -> u32 {
        let code = self.0 & 0xffff;
        if code & 0x80 != 0 { code & 0x0bf } else { code & 0xfff }
    }

    const fn is_temporary(self) -> bool {
        matches!(self.base(), 0x902..=0x904 | 0x908..=0x90a | 0x920..=0x923)
    }

    /// Which handle, session or parameter it is about (format-one codes, section 6.6.2).
    const fn subject(self) -> Option<(&'static str, u32)> {
        let number = (self.0 >> 8) & 0xf;
        match (self.0 & 0x80 != 0, self.0 & 0x40 != 0, number) {
            (false, _, _) | (true, _, 0) => None,
            (true, true, parameter) => Some(("parameter", parameter)),
            (true, false, session @ 8..) => Some(("session", session & 0x7)),
            (true, false, handle) => Some(("handle", handle)),
        }
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base();
        match KNOWN.iter().find(|(code, _, _)| *code == base) {
            Some((_, name, meaning)) => write!(f, "{meaning} ({name}, {:#x}", self.0)?,
            None => write!(f, "response code (unknown, {:#x}", self.0)?,
        }
        if let Some((kind, number)) = self.subject() {
            write!(f, ", {kind} {number}")?;
        }
        if self.0 >> 16 != 0 {
            f.write_str(", by the resource manager of the system")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_response_code_says_what_it_means_and_what_it_is_about() {
        for (code, shown) in [
            (0x18b, "there is no such key or NV index (TPM_RC_HANDLE, 0x18b, handle 1)"),
            (0x1c4, "a value is out of range (TPM_RC_VALUE, 0x1c4, parameter 1)"),
            (0x98e, "a password was set; this program uses the empty one (TPM_RC_AUTH_FAIL, 0x98e, session 1)"),
            (0x08b, "there is no such key or NV index (TPM_RC_HANDLE, 0x8b)"),
            (0x101, "it is in failure mode; restart the VM (TPM_RC_FAILURE, 0x101)"),
            (0x922, "it is busy; try again (TPM_RC_RETRY, 0x922)"),
            (0x01e, "it is a TPM 1.2 (TPM_RC_BAD_TAG, 0x1e)"),
            (
                0x000b_0143,
                "it does not have this command (TPM_RC_COMMAND_CODE, 0xb0143, by the resource manager of the system)",
            ),
            (0x17f, "response code (unknown, 0x17f)"),
        ] {
            assert_eq!(ResponseCode(code).to_string(), shown);
        }
    }

    #[test]
    fn every_known_code_is_found_by_its_number_alone() {
        for (code, name, meaning) in KNOWN {
            let shown = ResponseCode(code).to_string();
            assert_eq!(shown, format!("{meaning} ({name}, {code:#x})"));
            assert_eq!(KNOWN.iter().filter(|(other, _, _)| *other == code).count(), 1, "{name}");
        }
    }

    #[test]
    fn only_a_tpm_that_is_busy_is_asked_again() {
        let refused = |code| TpmError::Refused { command: "Quote", code: ResponseCode(code) };
        for code in [0x902, 0x903, 0x904, 0x908, 0x909, 0x90a, 0x920, 0x921, 0x922, 0x923] {
            assert!(refused(code).is_temporary(), "{code:#x}");
        }
        for (code, _, _) in KNOWN.iter().filter(|(code, _, _)| *code < 0x900) {
            assert!(!refused(*code).is_temporary(), "{code:#x}");
        }
        assert!(refused(0x18b).is_missing_handle() && !refused(0x184).is_missing_handle());
        let silent = TpmError::Exchange { command: "Quote", error: io::ErrorKind::TimedOut.into() };
        assert!(silent.is_temporary() && TpmError::PcrsChange { attempts: 5 }.is_temporary());
        let malformed = TpmError::Malformed { command: "Quote", expected: "a quote" };
        assert!(!malformed.is_temporary());
        assert_eq!(malformed.to_string(), "Quote: the TPM's response is malformed: expected a quote");
    }

    #[test]
    fn a_device_that_cannot_be_opened_says_what_to_do() {
        let open = |kind: io::ErrorKind| TpmError::Open { address: "/dev/tpmrm0".to_owned(), error: kind.into() };
        for (kind, end) in [
            (
                io::ErrorKind::NotFound,
                "; is this a confidential VM with a virtual TPM, and the device in this container?",
            ),
            (io::ErrorKind::PermissionDenied, "; run as root or in the group tss"),
            (io::ErrorKind::ResourceBusy, "; /dev/tpm0 serves one program at a time: use /dev/tpmrm0"),
            (io::ErrorKind::Other, ""),
        ] {
            let error = open(kind);
            assert_eq!(error.to_string(), format!("the TPM at /dev/tpmrm0 cannot be opened: {kind}{end}"));
            assert!(!error.is_temporary());
        }
    }
}
