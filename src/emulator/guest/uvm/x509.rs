//! Certificates written byte by byte, so that a malformed one is as easy to make as a good one.

use super::keys::{KeyFailure, Sha2, Signer, SigningAlgorithm};

/// Everything that varies between the certificates of a chain.
pub(in crate::emulator) struct CertificateSpec<'a> {
    pub(in crate::emulator) subject: &'a str,
    pub(in crate::emulator) issuer: &'a str,
    /// `notBefore` and `notAfter` in DER.
    pub(in crate::emulator) validity: [Vec<u8>; 2],
    /// Whole extensions in DER, in order.
    pub(in crate::emulator) extensions: Vec<Vec<u8>>,
    pub(in crate::emulator) public_key: Vec<u8>,
    /// The `AlgorithmIdentifier` in DER.
    pub(in crate::emulator) algorithm: Vec<u8>,
}

impl CertificateSpec<'_> {
    pub(in crate::emulator) fn sign(&self, signer: &Signer) -> Result<Vec<u8>, KeyFailure> {
        let tbs = tlv(
            0x30,
            &[
                tlv(0xa0, &tlv(0x02, &[2])),
                tlv(0x02, &[1]),
                self.algorithm.clone(),
                name(self.issuer),
                tlv(0x30, &self.validity.concat()),
                name(self.subject),
                self.public_key.clone(),
                tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
            ]
            .concat(),
        );
        let signature = [vec![0], signer.sign_der(&tbs)?].concat();
        Ok(tlv(0x30, &[tbs, self.algorithm.clone(), tlv(0x03, &signature)].concat()))
    }
}

/// A `UTCTime` from `YYMMDDhhmmssZ`.
pub(in crate::emulator) fn utc_time(text: &str) -> Vec<u8> {
    tlv(0x17, text.as_bytes())
}

/// `basicConstraints`, critical.
pub(in crate::emulator) fn basic_constraints(ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let mut content = Vec::new();
    if ca {
        content.extend(tlv(0x01, &[0xff]));
    }
    if let Some(len) = path_len {
        content.extend(tlv(0x02, &[len]));
    }
    extension("2.5.29.19", true, &tlv(0x30, &content))
}

/// `keyUsage`, critical: 0x80 digital signature, 0x40 non-repudiation, 0x04 certificate signing.
pub(in crate::emulator) fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap_or(7);
    extension("2.5.29.15", true, &tlv(0x03, &[unused, bits]))
}

/// `extKeyUsage`.
pub(in crate::emulator) fn extended_key_usage(uses: &[String]) -> Vec<u8> {
    let content: Vec<u8> = uses.iter().flat_map(|each| oid(each)).collect();
    extension("2.5.29.37", false, &tlv(0x30, &content))
}

/// `authorityInfoAccess` with the address of the issuer's certificate.
pub(in crate::emulator) fn authority_information(issuer_url: &str) -> Vec<u8> {
    let description = tlv(0x30, &[oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, issuer_url.as_bytes())].concat());
    extension("1.3.6.1.5.5.7.1.1", false, &tlv(0x30, &description))
}

pub(in crate::emulator) fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = oid(id);
    if critical {
        content.extend(tlv(0x01, &[0xff]));
    }
    content.extend(tlv(0x04, value));
    tlv(0x30, &content)
}

/// The `AlgorithmIdentifier` of certificate signatures; PSS with or without the explicit default trailer field.
pub(in crate::emulator) fn algorithm_identifier(algorithm: SigningAlgorithm, explicit_trailer: bool) -> Vec<u8> {
    const NULL: &[u8] = &[0x05, 0x00];
    let with_null = |id: &str| tlv(0x30, &[oid(id), NULL.to_vec()].concat());
    match algorithm {
        SigningAlgorithm::EcdsaP256 => tlv(0x30, &oid("1.2.840.10045.4.3.2")),
        SigningAlgorithm::EcdsaP384 => tlv(0x30, &oid("1.2.840.10045.4.3.3")),
        SigningAlgorithm::EcdsaP521 => tlv(0x30, &oid("1.2.840.10045.4.3.4")),
        SigningAlgorithm::RsaPkcs1(Sha2::Sha256) => with_null("1.2.840.113549.1.1.11"),
        SigningAlgorithm::RsaPkcs1(Sha2::Sha384) => with_null("1.2.840.113549.1.1.12"),
        SigningAlgorithm::RsaPkcs1(Sha2::Sha512) => with_null("1.2.840.113549.1.1.13"),
        SigningAlgorithm::RsaPss(hash) => {
            let (id, salt) = match hash {
                Sha2::Sha256 => ("2.16.840.1.101.3.4.2.1", 32),
                Sha2::Sha384 => ("2.16.840.1.101.3.4.2.2", 48),
                Sha2::Sha512 => ("2.16.840.1.101.3.4.2.3", 64),
            };
            let mgf = tlv(0x30, &[oid("1.2.840.113549.1.1.8"), with_null(id)].concat());
            let mut parameters = [tlv(0xa0, &with_null(id)), tlv(0xa1, &mgf), tlv(0xa2, &tlv(0x02, &[salt]))].concat();
            if explicit_trailer {
                parameters.extend(tlv(0xa3, &tlv(0x02, &[1])));
            }
            tlv(0x30, &[oid("1.2.840.113549.1.1.10"), tlv(0x30, &parameters)].concat())
        }
    }
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[oid("2.5.4.3"), tlv(0x0c, common_name.as_bytes())].concat());
    tlv(0x30, &tlv(0x31, &attribute))
}

/// An object identifier; arcs that are no numbers are left out.
fn oid(text: &str) -> Vec<u8> {
    let mut arcs = text.split('.').filter_map(|arc| arc.parse::<u64>().ok());
    let (first, second) = (arcs.next().unwrap_or(0), arcs.next().unwrap_or(0));
    let joined = first.saturating_mul(40).saturating_add(second);
    let content: Vec<u8> = std::iter::once(joined).chain(arcs).flat_map(base_128).collect();
    tlv(0x06, &content)
}

fn base_128(mut arc: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        let more = if digits.is_empty() { 0 } else { 0x80 };
        digits.insert(0, u8::try_from(arc & 0x7f).unwrap_or(0) | more);
        arc >>= 7;
        if arc == 0 {
            return digits;
        }
    }
}

pub(in crate::emulator) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=127), _) => vec![tag, short],
        (Ok(byte), _) => vec![tag, 0x81, byte],
        (_, Ok(word)) => [&[tag, 0x82], word.to_be_bytes().as_slice()].concat(),
        _ => [&[tag, 0x88], u64::try_from(len).unwrap_or(u64::MAX).to_be_bytes().as_slice()].concat(),
    };
    [head, content.to_vec()].concat()
}
