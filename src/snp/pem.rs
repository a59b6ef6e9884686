//! The PEM reader (RFC 7468) for certificates of agents, the THIM service and AMD's KDS, and a writer. The input is untrusted: the size is
//! bounded before anything is decoded, and a section that is not a certificate is refused.
//!
//! TLS roots are read by the TLS library (`tls::read_roots`): such a file is configuration of the operator, contains hundreds of
//! certificates, and may contain other sections.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::parser_steps;
use crate::x509::{CertificateError, MAX_CERTIFICATE_LEN};

/// The most certificates of a bundle: a chain has three, a file of roots three for each of three processor families.
const MAX_CERTIFICATES: usize = 9;
/// The largest input in bytes: base64 takes four bytes for three, and comments are allowed.
const MAX_LEN: usize = MAX_CERTIFICATES * MAX_CERTIFICATE_LEN * 2;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Writes a certificate in PEM, 64 characters a line.
#[cfg(feature = "client")]
pub(crate) fn certificate(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines = base64.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
    format!("{BEGIN}\n{}{END}\n", lines.collect::<String>())
}

/// Whether bytes contain PEM certificates, optionally after other text.
fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// Returns the DER of each certificate in PEM, or of one certificate in DER, which is not parsed.
pub(crate) fn certificates_or_der(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    if is_pem(bytes) {
        return certificates(bytes);
    }
    match bytes.len() {
        0 => Err(CertificateError::Malformed),
        len if len > MAX_CERTIFICATE_LEN => Err(CertificateError::TooLarge { limit: MAX_CERTIFICATE_LEN, actual: len }),
        _ => Ok(vec![bytes.to_vec()]),
    }
}

/// Returns the DER of each certificate in a PEM file, in order. Text between the certificates is ignored.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    if text.len() > MAX_LEN {
        return Err(CertificateError::TooLarge { limit: MAX_LEN, actual: text.len() });
    }
    let text = std::str::from_utf8(text).map_err(|_| CertificateError::Malformed)?;
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines().map(str::trim) {
        parser_steps::step();
        match (&mut open, line) {
            (None, BEGIN) if found.len() == MAX_CERTIFICATES => {
                return Err(CertificateError::TooManyCertificates { limit: MAX_CERTIFICATES });
            }
            (None, BEGIN) => open = Some(String::new()),
            (None, _) if line.starts_with("-----") => return Err(CertificateError::Malformed),
            (None, _) => {}
            (Some(base64), END) => {
                let der = STANDARD.decode(base64).map_err(|_| CertificateError::Malformed)?;
                found.push(der);
                open = None;
            }
            (Some(base64), _) => base64.push_str(line),
        }
    }
    if open.is_some() || found.is_empty() {
        return Err(CertificateError::Malformed);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gives_its_certificates_in_order() {
        let text = format!("subject=x\n{BEGIN}\r\nAQID\r\nBA==\r\n{END}\n\n{BEGIN}\nBQ==\n{END}");
        assert_eq!(certificates(text.as_bytes()), Ok(vec![vec![1, 2, 3, 4], vec![5]]));
    }

    #[test]
    fn one_certificate_may_be_in_der() {
        let pem = format!("{BEGIN}\nAQID\n{END}");
        assert_eq!(certificates_or_der(pem.as_bytes()), Ok(vec![vec![1, 2, 3]]));
        assert_eq!(certificates_or_der(&[0x30, 0]), Ok(vec![vec![0x30, 0]]));
        let cut = &pem[..pem.len() - 1];
        assert_eq!(certificates_or_der(cut.as_bytes()), Err(CertificateError::Malformed));
        assert_eq!(certificates_or_der(&[]), Err(CertificateError::Malformed));
        let limit = MAX_CERTIFICATE_LEN;
        assert_eq!(certificates_or_der(&vec![0x30; limit]), Ok(vec![vec![0x30; limit]]));
        let error = CertificateError::TooLarge { limit, actual: limit + 1 };
        assert_eq!(certificates_or_der(&vec![0x30; limit + 1]), Err(error));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        for text in [
            String::new(),
            "AQID".into(),
            format!("{BEGIN}\nAQID\n"),
            format!("{BEGIN}\nA*ID\n{END}"),
            format!("{BEGIN}\n{BEGIN}\nAQID\n{END}"),
            format!("-----BEGIN EC PRIVATE KEY-----\nAQID\n-----END EC PRIVATE KEY-----\n{BEGIN}\nAQID\n{END}"),
        ] {
            assert_eq!(certificates(text.as_bytes()), Err(CertificateError::Malformed), "{text}");
        }
        assert_eq!(certificates(&[0xff]), Err(CertificateError::Malformed));
        let nine = format!("{BEGIN}\nAQID\n{END}\n").repeat(9);
        assert_eq!(certificates(nine.as_bytes()).map(|found| found.len()), Ok(9));
        let ten = format!("{BEGIN}\nAQID\n{END}\n").repeat(10);
        assert_eq!(certificates(ten.as_bytes()), Err(CertificateError::TooManyCertificates { limit: 9 }));
        let most = format!("{nine}{}", " ".repeat(MAX_LEN - nine.len()));
        assert_eq!(certificates(most.as_bytes()).map(|found| found.len()), Ok(9));
        let long = vec![b' '; MAX_LEN + 1];
        assert_eq!(certificates(&long), Err(CertificateError::TooLarge { limit: MAX_LEN, actual: MAX_LEN + 1 }));
    }
}
