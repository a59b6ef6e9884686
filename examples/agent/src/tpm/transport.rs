//! Where the TPM is: the kernel's device, or the socket of a software TPM.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::error::TpmError;

/// How long a software TPM may take for one command. The kernel has limits of its own for a device.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest response of any TPM, in bytes.
const MAX_RESPONSE: usize = 4096;

/// The tag, the size and the code of a response.
const HEADER_LEN: usize = 10;

/// Something that takes a command of a TPM and returns its response.
pub trait Transport: Send {
    /// Sends one command and receives the response to it.
    ///
    /// # Errors
    ///
    /// What the device or socket reports.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Where a TPM is: `/dev/tpmrm0`, `unix:/path` or `tcp:127.0.0.1:2321`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmAddress {
    /// A character device of the kernel, which takes one command for each write.
    Device(PathBuf),
    /// The Unix socket of a software TPM.
    Unix(PathBuf),
    /// The TCP socket of a software TPM on loopback.
    Tcp(SocketAddr),
}

impl Default for TpmAddress {
    fn default() -> Self {
        Self::Device("/dev/tpmrm0".into())
    }
}

impl TpmAddress {
    pub(super) fn open(&self) -> Result<Box<dyn Transport>, TpmError> {
        let opened = match self {
            Self::Device(path) => {
                let file = OpenOptions::new().read(true).write(true).open(path);
                file.map(|file| -> Box<dyn Transport> { Box::new(file) })
            }
            Self::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
                stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                Ok(over_socket(stream))
            }),
            Self::Tcp(address) => TcpStream::connect_timeout(address, SOCKET_TIMEOUT).and_then(|stream| {
                stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
                stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                Ok(over_socket(stream))
            }),
        };
        opened.map_err(|error| TpmError::Open { address: self.to_string(), error })
    }
}

impl fmt::Display for TpmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => path.display().fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for TpmAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "a TPM is written as /dev/tpmrm0, unix:/path or tcp:127.0.0.1:2321";
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(form) };
        }
        if let Some(address) = text.strip_prefix("tcp:") {
            return match address.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
                Ok(_) => Err("a TPM at another address than loopback is no TPM of this VM"),
                Err(_) => Err(form),
            };
        }
        if text.starts_with('/') { Ok(Self::Device(text.into())) } else { Err(form) }
    }
}

impl<'de> Deserialize<'de> for TpmAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The device takes a command as one write and gives its response to one read.
impl Transport for File {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        if self.write(command)? != command.len() {
            return Err(io::Error::other("it took a part of the command"));
        }
        let mut response = vec![0; MAX_RESPONSE];
        let len = self.read(&mut response)?;
        response.truncate(len);
        Ok(response)
    }
}

/// A socket carries commands and responses one after the other. Their headers have their size.
struct Socket<S>(S);

fn over_socket<S: Read + Write + Send + 'static>(stream: S) -> Box<dyn Transport> {
    Box::new(Socket(stream))
}

impl<S: Read + Write + Send> Transport for Socket<S> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; HEADER_LEN];
        self.0.read_exact(&mut response)?;
        let size = match response.as_slice() {
            [_, _, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        let body = usize::try_from(size).ok().filter(|size| *size <= MAX_RESPONSE);
        let body = body.and_then(|size| size.checked_sub(HEADER_LEN));
        let body = body.ok_or_else(|| io::Error::other(format!("a response of {size} bytes")))?;
        let mut rest = vec![0; body];
        self.0.read_exact(&mut rest)?;
        response.append(&mut rest);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_device_or_a_socket_of_this_machine() {
        for text in ["/dev/tpmrm0", "unix:/run/swtpm.sock", "tcp:127.0.0.1:2321", "tcp:[::1]:2321"] {
            assert_eq!(text.parse::<TpmAddress>().unwrap().to_string(), text);
        }
        assert_eq!(TpmAddress::default().to_string(), "/dev/tpmrm0");
        let form = "a TPM is written as /dev/tpmrm0, unix:/path or tcp:127.0.0.1:2321";
        for text in ["", "tpmrm0", "unix:relative", "tcp:localhost:2321", "tcp:127.0.0.1", "device:/dev/tpm0"] {
            assert_eq!(text.parse::<TpmAddress>(), Err(form), "{text}");
        }
        let elsewhere = "a TPM at another address than loopback is no TPM of this VM";
        assert_eq!("tcp:192.0.2.1:2321".parse::<TpmAddress>(), Err(elsewhere));
    }

    /// What the other end sends, in pieces of one byte.
    struct Piecewise(Vec<u8>);

    impl Read for Piecewise {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() || buffer.is_empty() {
                return Ok(0);
            }
            buffer[0] = self.0.remove(0);
            Ok(1)
        }
    }

    impl Write for Piecewise {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_response_over_a_socket_has_the_size_that_it_states() {
        let receive = |bytes: &[u8]| Socket(Piecewise(bytes.to_vec())).exchange(b"command");
        let response = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0xaa, 0xbb];
        // What follows is the next response's.
        assert_eq!(receive(&[&response[..], &[0x80, 1]].concat()).unwrap(), response);
        for (size, reason) in [(9, "a response of 9 bytes"), (4097, "a response of 4097 bytes")] {
            let header = [&[0x80, 1][..], &u32::to_be_bytes(size), &[0; 4]].concat();
            assert_eq!(receive(&header).unwrap_err().to_string(), reason);
        }
        assert_eq!(receive(&response[..11]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(receive(&[]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let address: TpmAddress = "/nonexistent/tpmrm0".parse().unwrap();
        let Err(TpmError::Open { address, error }) = address.open() else { panic!("it opened") };
        assert_eq!((address.as_str(), error.kind()), ("/nonexistent/tpmrm0", io::ErrorKind::NotFound));
    }
}
