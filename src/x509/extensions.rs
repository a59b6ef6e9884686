//! The extensions of a certificate (RFC 5280 section 4.2).

use x509_parser::der_parser::Oid;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;

use super::error::CertificateError;
use crate::der::{
    BIT_STRING, BOOLEAN, DerReader, Element, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, small_integer,
};
use crate::parser_steps;
use crate::types::{shorten, shorten_all};

/// The most extensions that are read: real certificates have 3 to 13.
pub(crate) const MAX_EXTENSIONS: usize = 32;

/// The most uses that are read of an extended key usage: real certificates have 0 to 3.
const MAX_KEY_USES: usize = 32;

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 1.3.6.1.4.1.3704, the arc of AMD.
const AMD: [u8; 7] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78];
/// `anyExtendedKeyUsage` (RFC 5280 section 4.2.1.12).
const ANY_USE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// One extension, with its value not parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// The contents of the object identifier.
    pub(crate) oid: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
    /// The DER of the extension.
    der: &'a [u8],
}

impl<'a> Extension<'a> {
    fn read(element: Element<'a>) -> Option<Self> {
        let mut reader = DerReader::new(element.contents);
        let oid = reader.expect(OBJECT_IDENTIFIER)?.contents;
        // DER omits the default FALSE, so that only TRUE can be encoded.
        let critical = reader.is_next(BOOLEAN);
        if critical && reader.expect(BOOLEAN)?.contents != [0xff] {
            return None;
        }
        let value = reader.expect(OCTET_STRING)?.contents;
        reader.finish()?;
        is_oid(oid).then_some(Self { oid, critical, value, der: element.whole })
    }

    /// Returns the object identifier, dotted and shortened.
    pub(crate) fn id(&self) -> String {
        dotted(self.oid)
    }
}

/// The extensions of a certificate, at most [`MAX_EXTENSIONS`], none of them twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions<'a> {
    all: Vec<Extension<'a>>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<Vec<&'a [u8]>>,
}

impl<'a> Extensions<'a> {
    /// Parses the contents of the `[3]` that contains them.
    pub(super) fn read(contents: &'a [u8]) -> Result<Self, CertificateError> {
        let all = read_all(contents)?;
        let value = |oid: &[u8]| all.iter().find(|extension| extension.oid == oid).map(|extension| extension.value);
        let malformed = |oid: &[u8]| CertificateError::MalformedExtension { oid: dotted(oid) };
        let basic_constraints = value(BASIC_CONSTRAINTS)
            .map(|der| BasicConstraints::read(der).ok_or_else(|| malformed(BASIC_CONSTRAINTS)))
            .transpose()?;
        let key_usage =
            value(KEY_USAGE).map(|der| KeyUsage::read(der).ok_or_else(|| malformed(KEY_USAGE))).transpose()?;
        let extended_key_usage = value(EXTENDED_KEY_USAGE)
            .map(|der| read_key_uses(der).ok_or_else(|| malformed(EXTENDED_KEY_USAGE)))
            .transpose()?;
        Ok(Self { all, basic_constraints, key_usage, extended_key_usage })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Extension<'a>> {
        self.all.iter()
    }

    /// Returns the value of the extension with this object identifier (its contents).
    pub(crate) fn value_of(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.all.iter().find(|extension| extension.oid == oid).map(|extension| extension.value)
    }

    /// Refuses critical extensions that are not evaluated here (RFC 5280 section 4.2).
    pub(crate) fn check_critical(&self, also_known: &[&[u8]]) -> Result<(), CertificateError> {
        let known =
            |oid: &[u8]| [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE].contains(&oid) || also_known.contains(&oid);
        match self.all.iter().find(|extension| extension.critical && !known(extension.oid)) {
            Some(unknown) => Err(CertificateError::UnexpectedExtension { oid: unknown.id() }),
            None => Ok(()),
        }
    }

    /// Refuses a certificate of which `x509-parser` cannot read an extension that it knows. It knows none of AMD's, of which a VCEK has
    /// 13: `snp::vek` reads them.
    pub(super) fn check_contents(&self) -> Result<(), CertificateError> {
        for extension in self.all.iter().filter(|extension| !extension.oid.starts_with(&AMD)) {
            let (_, read) = X509Extension::from_der(extension.der).map_err(|_| CertificateError::Malformed)?;
            if let ParsedExtension::ParseError { .. } = read.parsed_extension() {
                return Err(CertificateError::MalformedExtension { oid: extension.id() });
            }
        }
        Ok(())
    }

    pub(crate) const fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.basic_constraints
    }

    pub(crate) const fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// Returns the object identifiers of the extended key usage, dotted; empty if the extension is absent.
    pub(crate) fn key_uses(&self) -> Vec<String> {
        self.extended_key_usage.iter().flatten().map(|oid| dotted(oid)).collect()
    }

    /// Refuses a certificate authority whose extended key usage excludes what the certificates below it are for.
    ///
    /// In RFC 5280 the extension restricts the certificate's own key. Microsoft and the CA/Browser Forum also use it in CA
    /// certificates to restrict what the CA may issue, and this crate enforces that: a compromised CA for other uses cannot
    /// endorse anything. No extension, or `anyExtendedKeyUsage`, restricts nothing.
    /// `expected` names the uses, all of which must be allowed; where there is none, no list of uses allows it.
    pub(crate) fn check_issues_for(&self, expected: &[&str]) -> Result<(), CertificateError> {
        let Some(allowed) = &self.extended_key_usage else { return Ok(()) };
        if allowed.contains(&ANY_USE) {
            return Ok(());
        }
        let allowed = self.key_uses();
        if !expected.is_empty() && expected.iter().all(|each| allowed.iter().any(|use_| use_ == each)) {
            return Ok(());
        }
        Err(CertificateError::ExcludedUse {
            expected: expected.iter().map(|oid| shorten(oid, 100)).collect(),
            allowed: shorten_all(&allowed),
        })
    }
}

fn read_all(contents: &[u8]) -> Result<Vec<Extension<'_>>, CertificateError> {
    let mut outside = DerReader::new(contents);
    let list = outside.expect(SEQUENCE).ok_or(CertificateError::Malformed)?.contents;
    outside.finish().ok_or(CertificateError::Malformed)?;
    let mut list = DerReader::new(list);
    let mut all: Vec<Extension<'_>> = Vec::new();
    while list.is_next(SEQUENCE) {
        // Checked first: the count bounds the search for duplicates and all later work.
        if all.len() == MAX_EXTENSIONS {
            return Err(CertificateError::TooManyExtensions { limit: MAX_EXTENSIONS });
        }
        let element = list.expect(SEQUENCE).ok_or(CertificateError::Malformed)?;
        let extension = Extension::read(element).ok_or(CertificateError::Malformed)?;
        let is_same = |earlier: &Extension<'_>| {
            parser_steps::step();
            earlier.oid == extension.oid
        };
        if all.iter().any(is_same) {
            return Err(CertificateError::DuplicateExtension { oid: extension.id() });
        }
        all.push(extension);
    }
    list.finish().ok_or(CertificateError::Malformed)?;
    Ok(all)
}

/// `BasicConstraints` (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) ca: bool,
    /// How many certificate authorities may stand between this one and the last certificate.
    pub(crate) path_len: Option<u8>,
}

impl BasicConstraints {
    fn read(der: &[u8]) -> Option<Self> {
        let mut outside = DerReader::new(der);
        let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
        outside.finish()?;
        let ca = inside.is_next(BOOLEAN);
        if ca && inside.expect(BOOLEAN)?.contents != [0xff] {
            return None;
        }
        let path_len = if inside.is_next(INTEGER) { Some(small_integer(inside.expect(INTEGER)?.whole)?) } else { None };
        inside.finish()?;
        Some(Self { ca, path_len })
    }
}

/// `KeyUsage` (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage {
    bits: u8,
}

impl KeyUsage {
    fn read(der: &[u8]) -> Option<Self> {
        let mut reader = DerReader::new(der);
        let contents = reader.expect(BIT_STRING)?.contents;
        reader.finish()?;
        let (&unused, bits) = contents.split_first()?;
        // Unused bits must be zero. X.690 section 11.2.2 also requires the last bit to be set, which is not enforced: AMD's
        // ASKs and ASVKs declare one unused bit where there are two.
        let is_zero = |last: &u8| unused < 8 && last.trailing_zeros() >= u32::from(unused);
        match bits {
            [first] if is_zero(first) => Some(Self { bits: *first }),
            // The ninth bit, `decipherOnly`, is of no use here.
            [first, second] if is_zero(second) => Some(Self { bits: *first }),
            _ => None,
        }
    }

    pub(crate) const fn digital_signature(self) -> bool {
        self.bits & 0x80 != 0
    }

    pub(crate) const fn key_cert_sign(self) -> bool {
        self.bits & 0x04 != 0
    }

    pub(crate) const fn crl_sign(self) -> bool {
        self.bits & 0x02 != 0
    }
}

/// `ExtKeyUsageSyntax` (RFC 5280 section 4.2.1.12): at least one use.
fn read_key_uses(der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut outside = DerReader::new(der);
    let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
    outside.finish()?;
    let mut uses = Vec::new();
    while inside.is_next(OBJECT_IDENTIFIER) && uses.len() < MAX_KEY_USES {
        uses.push(inside.expect(OBJECT_IDENTIFIER).map(|element| element.contents).filter(|oid| is_oid(oid))?);
    }
    inside.finish()?;
    (!uses.is_empty()).then_some(uses)
}

/// Whether these are the contents of an object identifier: each arc ends, and none begins with a superfluous 0x80, which
/// would be a second encoding of the same identifier (X.690 section 8.19.2).
fn is_oid(contents: &[u8]) -> bool {
    let ends = contents.last().is_some_and(|last| *last < 0x80);
    ends && contents.split_inclusive(|byte| *byte < 0x80).all(|arc| arc.first() != Some(&0x80))
}

/// Formats an object identifier, shortened.
pub(crate) fn dotted(oid: &[u8]) -> String {
    shorten(&Oid::new(oid.into()).to_id_string(), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_constraints_have_one_encoding() {
        let read = |text: &str| BasicConstraints::read(&hex::decode(text).unwrap());
        assert_eq!(read("3000"), Some(BasicConstraints { ca: false, path_len: None }));
        assert_eq!(read("30030101ff"), Some(BasicConstraints { ca: true, path_len: None }));
        assert_eq!(read("30060101ff020100"), Some(BasicConstraints { ca: true, path_len: Some(0) }));
        assert_eq!(read("3003020100"), Some(BasicConstraints { ca: false, path_len: Some(0) }));
        for other in ["3003010100", "3003010101", "30060101ff0201ff", "30070101ff02020000", "300000", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn key_usage_has_no_bit_where_none_is_used() {
        let read = |text: &str| KeyUsage::read(&hex::decode(text).unwrap());
        let usage = read("03020106").unwrap();
        assert_eq!((usage.digital_signature(), usage.key_cert_sign(), usage.crl_sign()), (false, true, true));
        assert!(read("03020780").unwrap().digital_signature());
        assert_eq!(read("0303070080"), Some(KeyUsage { bits: 0 }));
        // AMD's: one bit unused where two are.
        assert_eq!(read("03020104"), Some(KeyUsage { bits: 4 }));
        for other in [
            "03020206",
            "03020806",
            "03020900",
            "0303070001",
            "0303080000",
            "030400060000",
            "030407808080",
            "030100",
            "0300",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn an_identifier_has_one_encoding() {
        for good in ["551d25", "2b060104019c7801", "00"] {
            assert!(is_oid(&hex::decode(good).unwrap()), "{good}");
        }
        for bad in ["", "551d80", "55801d", "8055", "55ff", "551d8025"] {
            assert!(!is_oid(&hex::decode(bad).unwrap()), "{bad}");
        }
    }

    #[test]
    fn extensions_are_counted_before_they_are_compared() {
        let list = |count: u8| {
            // 2.5.29.n with an empty value.
            let each: Vec<u8> = (0..count).flat_map(|arc| [0x30, 7, 6, 3, 0x55, 0x2a, arc, 4, 0]).collect();
            let length = u16::try_from(each.len()).unwrap().to_be_bytes();
            [&[0x30, 0x82][..], &length, &each].concat()
        };
        assert_eq!(read_all(&list(31)).map(|all| all.len()), Ok(31));
        assert_eq!(read_all(&list(32)).map(|all| all.len()), Ok(32));
        for count in [33, 100] {
            let refused = CertificateError::TooManyExtensions { limit: 32 };
            assert_eq!(read_all(&list(count)).err(), Some(refused));
        }
    }

    #[test]
    fn key_uses_are_read_up_to_their_number() {
        let list = |count: u8| {
            let each: Vec<u8> = (0..count).flat_map(|arc| [6, 2, 0x2a, arc]).collect();
            [&[0x30, 0x81, count * 4][..], &each].concat()
        };
        assert_eq!(read_key_uses(&list(32)).map(|uses| uses.len()), Some(32));
        assert_eq!(read_key_uses(&list(33)), None);
    }

    #[test]
    fn what_is_critical_is_true_and_nothing_else() {
        let read = |text: &str| {
            let contents = hex::decode(text).unwrap();
            Extension::read(Element { contents: &contents, whole: &contents }).map(|extension| extension.critical)
        };
        assert_eq!(read("0603551d250400"), Some(false));
        assert_eq!(read("0603551d250101ff0400"), Some(true));
        for other in
            ["0603551d250101000400", "0603551d250101010400", "0603551d2501000400", "0603551d25040000", "0603551d25"]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
