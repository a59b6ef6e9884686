//! Azure's certificate of the attestation key, as far as the agent reads it: to send it whole and in time.
//!
//! It is valid for a year. Recent paravisors renew it when its NV index is read; on older ones a program of the guest does, below 90
//! days. There is no notice when it ends, so that the agent says so before it does.

use blindbox_attestation::azure_vm::check_ak_issuer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

const DAY: i64 = 24 * 60 * 60;

/// Below this many days nothing has renewed the certificate that should have.
const AGEING_DAYS: i64 = 60;

/// The most certificates above that of the key: real ones have one or two below the root.
const MAX_ISSUERS: usize = 3;

/// A certificate of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainCertificate {
    pub(super) der: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// The common name of the issuer, for messages.
    pub(super) issuer_name: String,
    /// Where the certificate of its issuer is, by HTTP (RFC 5280 section 4.2.2.1).
    pub(super) issuer_urls: Vec<String>,
    /// In seconds since 1970.
    not_after: i64,
    pub(super) modulus: Vec<u8>,
}

/// How much of a certificate's validity is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Ends in so many days, and should have been renewed.
    Ageing(i64),
    Expired,
}

impl ChainCertificate {
    /// Reads the certificate in an NV index, which zeros fill up.
    pub(super) fn in_nv_index(content: &[u8]) -> Result<Self, String> {
        let (rest, _) = X509Certificate::from_der(content).map_err(|error| format!("it is no certificate: {error}"))?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err("the certificate is followed by bytes that are not zero".to_owned());
        }
        let len = content.len().saturating_sub(rest.len());
        Self::read(content.get(..len).unwrap_or_default())
    }

    /// Reads one certificate in DER and nothing after it.
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("it is no certificate: {error}"))?;
        if !rest.is_empty() {
            return Err("bytes follow the certificate".to_owned());
        }
        let mut issuer_urls = Vec::new();
        for extension in certificate.extensions() {
            let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
            for description in access.iter().filter(|each| each.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
            {
                match description.access_location {
                    GeneralName::URI(url) if url.starts_with("http://") => issuer_urls.push(url.to_owned()),
                    _ => {}
                }
            }
        }
        let modulus = match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => key.modulus.strip_prefix(&[0]).unwrap_or(key.modulus).to_vec(),
            _ => return Err("its key is not RSA".to_owned()),
        };
        let name = certificate.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            der: der.to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            issuer_name: name.unwrap_or("without a name").to_owned(),
            issuer_urls,
            not_after: certificate.validity().not_after.timestamp(),
            modulus,
        })
    }

    pub(super) fn age(&self, now: i64) -> Age {
        match self.not_after.saturating_sub(now) {
            over if over < 0 => Age::Expired,
            left if left < AGEING_DAYS * DAY => Age::Ageing(left / DAY),
            _ => Age::Fresh,
        }
    }

    /// Whether it is for this key.
    pub(super) fn is_for(&self, modulus: &[u8]) -> bool {
        self.modulus == modulus
    }

    /// Whether the issuer is named so. It may be another certificate: [`ChainCertificate::check_issued_by`].
    pub(super) fn names_issuer(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
    }

    /// Checks that a certificate is that of the issuer, by name and signature.
    pub(super) fn check_issued_by(&self, issuer: &Self) -> Result<(), String> {
        check_ak_issuer(&self.der, &issuer.der).map_err(|error| error.to_string())
    }

    fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// The certificates above that of the attestation key, found one after the other, by name. Clients have the root, and one authority whose
/// certificate no address serves: where a certificate names no address and none was found, the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    certificates: Vec<ChainCertificate>,
    is_complete: bool,
}

impl Chain {
    pub(super) fn of(leaf: ChainCertificate) -> Self {
        Self { is_complete: leaf.is_self_issued(), certificates: vec![leaf] }
    }

    /// The certificate whose issuer is to be found next.
    pub(super) fn unfinished(&self) -> Option<&ChainCertificate> {
        self.certificates.last().filter(|_| !self.is_complete)
    }

    /// Continues with what was found for [`Chain::unfinished`].
    ///
    /// # Errors
    ///
    /// Which issuer was not found although there are addresses for it: clients refuse a chain without it, so that it is not sent.
    pub(super) fn add(&mut self, found: Option<ChainCertificate>) -> Result<(), String> {
        let Some(last) = self.unfinished() else { return Ok(()) };
        match found {
            Some(issuer) if last.names_issuer(&issuer) => {
                self.is_complete = issuer.is_self_issued() || self.certificates.len() >= MAX_ISSUERS;
                self.certificates.push(issuer);
            }
            Some(_) => return Err(format!("what was found for {} is another certificate", last.issuer_name)),
            None if last.issuer_urls.is_empty() => self.is_complete = true,
            None => return Err(format!("the certificate of {} is not available", last.issuer_name)),
        }
        Ok(())
    }

    pub(super) fn certificates(&self) -> &[ChainCertificate] {
        &self.certificates
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
        RsaKeySize, date_time_ymd,
    };

    use super::*;

    /// `AuthorityInfoAccess` with these addresses of the issuer's certificate.
    fn authority_information(urls: &[&str]) -> CustomExtension {
        let der = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat();
        // 1.3.6.1.5.5.7.48.2
        let method = der(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);
        let each = |url: &&str| der(0x30, &[method.clone(), der(0x86, url.as_bytes())].concat());
        let all: Vec<u8> = urls.iter().flat_map(each).collect();
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &all))
    }

    fn params(name: &str, urls: &[&str], is_authority: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(2030, 1, 1);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if !urls.is_empty() {
            params.custom_extensions.push(authority_information(urls));
        }
        params
    }

    /// A leaf below an authority below a root: each in DER.
    fn hierarchy(urls_of_leaf: &[&str], urls_of_authority: &[&str]) -> [Vec<u8>; 3] {
        let key = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let (root_key, authority_key, leaf_key) = (key(), key(), key());
        let root = params("root", &[], true);
        let authority = params("authority", urls_of_authority, true);
        let leaf = params("leaf", urls_of_leaf, false);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root, root_key);
        let authority_der = authority.signed_by(&authority_key, &root).unwrap().der().to_vec();
        let authority = Issuer::new(authority, authority_key);
        [leaf.signed_by(&leaf_key, &authority).unwrap().der().to_vec(), authority_der, root_der]
    }

    #[test]
    fn a_certificate_is_trimmed_and_nothing_else_may_follow_it() {
        let [leaf, ..] = hierarchy(&["http://a.example/1.crt", "ldap://b.example", "http://c.example/2.crt"], &[]);
        let in_index = |rest: &[u8]| ChainCertificate::in_nv_index(&[&leaf[..], rest].concat());
        let read = in_index(&[0; 3000]).unwrap();
        assert_eq!(read.der, leaf);
        assert_eq!((read.issuer_name.as_str(), read.is_self_issued()), ("authority", false));
        assert_eq!(read.issuer_urls, ["http://a.example/1.crt", "http://c.example/2.crt"]);
        assert_eq!(in_index(&[]).unwrap(), read);
        assert_eq!(in_index(&[0, 1]).unwrap_err(), "the certificate is followed by bytes that are not zero");
        assert!(ChainCertificate::in_nv_index(&[0; 4096]).unwrap_err().starts_with("it is no certificate"));
        assert_eq!(ChainCertificate::read(&[&leaf[..], &[0]].concat()).unwrap_err(), "bytes follow the certificate");
    }

    #[test]
    fn its_age_is_known_before_it_ends() {
        let [leaf, ..] = hierarchy(&[], &[]);
        let leaf = ChainCertificate::read(&leaf).unwrap();
        let end = date_time_ymd(2030, 1, 1).unix_timestamp();
        assert_eq!(leaf.age(end - 60 * DAY), Age::Fresh);
        assert_eq!(leaf.age(end - 60 * DAY + 1), Age::Ageing(59));
        assert_eq!(leaf.age(end), Age::Ageing(0));
        assert_eq!(leaf.age(end + 1), Age::Expired);
    }

    #[test]
    fn a_chain_ends_where_no_address_is_named_and_is_not_sent_without_a_named_issuer() {
        let all = hierarchy(&["http://a.example/1.crt"], &[]);
        let [leaf, authority, root] = all.map(|der| ChainCertificate::read(&der).unwrap());
        let build = |found: &[Option<&ChainCertificate>]| {
            let mut chain = Chain::of(leaf.clone());
            for found in found {
                assert!(chain.unfinished().is_some());
                chain.add(found.cloned())?;
            }
            assert_eq!(chain.unfinished(), None);
            Ok::<_, String>(chain.certificates().to_vec())
        };
        assert_eq!(build(&[Some(&authority), None]), Ok(vec![leaf.clone(), authority.clone()]));
        // The root ends it too.
        let whole = Ok(vec![leaf.clone(), authority.clone(), root.clone()]);
        assert_eq!(build(&[Some(&authority), Some(&root)]), whole);
        assert_eq!(build(&[None]), Err("the certificate of authority is not available".to_owned()));
        let another = "what was found for authority is another certificate";
        assert_eq!(build(&[Some(&root)]), Err(another.to_owned()));
        // A chain that would go on without end.
        let ring = ChainCertificate { subject: leaf.issuer.clone(), issuer: leaf.issuer.clone(), ..leaf.clone() };
        let ring = ChainCertificate { subject: ring.issuer.clone(), issuer: leaf.subject.clone(), ..ring };
        let back = ChainCertificate { subject: leaf.subject.clone(), issuer: leaf.issuer.clone(), ..leaf.clone() };
        assert_eq!(build(&[Some(&ring), Some(&back), Some(&ring)]).unwrap().len(), 1 + MAX_ISSUERS);
    }
}
