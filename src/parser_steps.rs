//! Counts the steps of the parsers of untrusted bytes, in unit tests only: a bound on work that no busy machine changes.
//!
//! A parser calls [`step`] for each element that it reads and each comparison whose number an input can choose. Outside
//! of unit tests the call is nothing.

/// One step of a parser.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn step() {}

/// One step of a parser.
#[cfg(test)]
pub(crate) fn step() {
    STEPS.with(|steps| steps.set(steps.get().saturating_add(1)));
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::STEPS;
    use crate::azure_vm::{HclReport, HclReportError, RuntimeClaimsError, UnverifiedQuote};
    use crate::cce_policy::{CcePolicy, CcePolicySourceError, find_cce_policies};
    use crate::der::Signed;
    use crate::maa::{self, KeySet, KeySetError, TokenError, TokenExpectations};
    use crate::policy::{Policy, PolicyError};
    use crate::snp::{
        AmdAnchors, BUILTIN_CERTIFICATES, CertificateError, CrlError, UnverifiedCrl, VekCertificate, VerifiedCrl,
        certificates_from_pem,
    };
    use crate::types::{MaaIssuer, Product, UnixTime};
    use crate::uvm::{
        CoseError, DidX509Error, EndorsementError, EndorsementExpectations, MAX_ENDORSEMENT_LEN, read_unverified,
    };
    use crate::{crypto, files, json, uvm, x509};

    fn steps_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        STEPS.set(0);
        let result = work();
        (result, STEPS.get())
    }

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
        let length: &[u8] = match (high, low) {
            (0, 0..=0x7f) => &[low],
            (0, _) => &[0x81, low],
            _ => &[0x82, high, low],
        };
        [&[tag], length, contents].concat()
    }

    /// A certificate of the greatest length, all of it extensions: it is refused after the 33rd.
    #[test]
    fn a_certificate_full_of_extensions_costs_what_32_cost() {
        let with = |count: usize| {
            let each = |arc: usize| {
                let arc = u16::try_from(arc).unwrap();
                let oid = [0x2a, 0x81, u8::try_from(0x80 | (arc >> 7)).unwrap(), u8::try_from(arc & 0x7f).unwrap()];
                [&[0x30, 8, 6, 4][..], &oid, &[4, 0]].concat()
            };
            let extensions = element(0xa3, &element(0x30, &(0..count).flat_map(each).collect::<Vec<u8>>()));
            let algorithm = [0x30, 0];
            let times = *b"\x30\x1e\x17\x0d230101000000Z\x17\x0d330101000000Z";
            let head =
                [&[0xa0, 3, 2, 1, 2, 2, 1, 1][..], &algorithm, &[0x30, 0], &times, &[0x30, 0], &[0x30, 0]].concat();
            let body = element(0x30, &[head, extensions].concat());
            element(0x30, &[&body[..], &algorithm, &[3, 1, 0]].concat())
        };
        let largest = with(800);
        assert!((8_000..=8_192).contains(&largest.len()), "{}", largest.len());
        let (refused, steps) = steps_of(|| VekCertificate::from_der(&largest).err());
        assert_eq!(refused, Some(CertificateError::TooManyExtensions { limit: 32 }));
        assert_eq!(steps, steps_of(|| VekCertificate::from_der(&with(33)).err()).1);
        // 3 or 4 elements for each of 33 extensions, 32 * 31 / 2 comparisons, and the rest of the certificate.
        assert!((500..800).contains(&steps), "{steps}");
    }

    /// A step for each line.
    #[test]
    fn a_pem_text_costs_its_lines() {
        let text = "x\n".repeat(73_000);
        let (refused, steps) = steps_of(|| certificates_from_pem(text.as_bytes()).err());
        assert_eq!(refused, Some(CertificateError::Malformed));
        assert_eq!(steps, 73_000);
    }

    /// The most members of one object, in the worst order and with names that differ at their ends only.
    #[test]
    fn json_costs_n_log_n() {
        let member = |number: usize| format!("\"{}{number:05}\":0", "n".repeat(80));
        let document = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| member(number * 7_919 % count)).collect();
            format!("{{{}}}", members.join(","))
        };
        // 16,384 values are read: the object and its members.
        let (read, steps) = steps_of(|| json::parse(document(16_383).as_bytes()).is_ok());
        assert!(read);
        // A step for each value, and a sort: n log2 n is 16,384 * 14.
        assert!((16_384..16_384 * 16).contains(&steps), "{steps}");
        let (refused, steps) = steps_of(|| json::parse(document(16_384).as_bytes()).err());
        assert_eq!(refused, Some(json::JsonError::TooManyValues { max: 16_384 }));
        assert!(steps <= 16_384 + 1, "{steps}");
        let zeros = format!("{{\"keys\":[{}]}}", vec!["0"; 1 << 20].join(","));
        let (refused, steps) = steps_of(|| KeySet::from_json(zeros.as_bytes()).err());
        assert!(matches!(
            refused,
            Some(KeySetError::NotJson(json::JsonError::TooManyValues { .. }) | KeySetError::TooLarge { .. })
        ));
        assert!(steps <= 16_385, "{steps}");
    }

    /// The most keys of one map in a protected header: a head for each key and value, and a set of them.
    #[test]
    fn a_cbor_map_costs_n_log_n() {
        let pairs: Vec<u8> = (0..15_000_u16).flat_map(|key| [&[0x19][..], &key.to_be_bytes(), &[0]].concat()).collect();
        let header = [&[0xb9][..], &15_000_u16.to_be_bytes(), &pairs].concat();
        let length = u16::try_from(header.len()).unwrap().to_be_bytes();
        let document = [&[0xd2, 0x84, 0x59][..], &length, &header, &[0xa0, 0x40, 0x40]].concat();
        assert!(document.len() > MAX_ENDORSEMENT_LEN - 6_000 && document.len() <= MAX_ENDORSEMENT_LEN);
        let (_, steps) = steps_of(|| read_unverified(&document));
        assert!((30_000..15_000 * 20).contains(&steps), "{steps}");
        // Nesting ends at its limit.
        let deep = [&[0xd2, 0x84, 0x59, 0xf0, 0x00, 0xa1, 0x01][..], &[0x81; 0xeffe], &[0xa0, 0x40, 0x40]].concat();
        let (refused, steps) = steps_of(|| read_unverified(&deep).err());
        assert_eq!(refused, Some(EndorsementError::Malformed(CoseError::TooDeep)));
        assert!(steps < 64, "{steps}");
    }

    /// A CRL in DER that names Milan's ARK as its issuer and AMD's algorithm, with a signature that is none.
    fn crl(contents: &[u8]) -> Vec<u8> {
        let ark = BUILTIN_CERTIFICATES[0].ark;
        let (algorithm, read) = (Signed::read(ark).unwrap().algorithm, x509::Certificate::read(ark).unwrap());
        let body = element(0x30, &[&[2, 1, 1], algorithm, read.subject(), contents].concat());
        element(0x30, &[&body[..], algorithm, &[3, 2, 0, 1]].concat())
    }

    const TIME: &[u8; 15] = b"\x17\x0d250101000000Z";

    fn crl_entry(serial: u16, extensions: u8) -> Vec<u8> {
        let [high, low] = serial.to_be_bytes();
        let each: Vec<u8> = (0..extensions).flat_map(|arc| [0x30, 7, 6, 3, 0x55, 0x2a, arc, 4, 0]).collect();
        let extensions = if each.is_empty() { each } else { element(0x30, &each) };
        element(0x30, &[&[2, 3, 1, high, low], &TIME[..], &extensions].concat())
    }

    #[test]
    fn a_forged_crl_costs_its_header() {
        let with = |count: usize| {
            let entries: Vec<u8> = (0..count).flat_map(|serial| crl_entry(u16::try_from(serial).unwrap(), 0)).collect();
            crl(&[&TIME[..], TIME, &element(0x30, &entries)].concat())
        };
        let (one, largest) = (with(1), with(2_900));
        assert!((60_000..=65_536).contains(&largest.len()), "{}", largest.len());
        // The roots are read once.
        let anchors = AmdAnchors::builtin();
        let verify = |der: &[u8]| VerifiedCrl::verify(der, Product::Milan, &anchors).err();
        let (refused, steps) = steps_of(|| verify(&largest));
        assert_eq!(refused, Some(CrlError::WrongSignature));
        assert_eq!(steps, steps_of(|| verify(&one)).1);
        let too_large = vec![0x30; 65_537];
        let refused = Some(CrlError::TooLarge { limit: 65_536, actual: 65_537 });
        assert_eq!(steps_of(|| verify(&too_large)), (refused, 0));
    }

    /// What is read of a CRL once its signature was verified, and of one that is only looked at.
    #[test]
    fn the_content_of_a_crl_costs_its_entries() {
        let with = |count: u16, extensions: u8| {
            let entries: Vec<u8> = (0..count).flat_map(|serial| crl_entry(serial, extensions)).collect();
            crl(&[&TIME[..], TIME, &element(0x30, &entries)].concat())
        };
        let read = |der: &[u8]| UnverifiedCrl::read(der).map(|crl| crl.revoked);
        let most = with(1_024, 0);
        let (revoked, steps) = steps_of(|| read(&most));
        assert_eq!(revoked, Ok(1_024));
        // The entry, its serial number and its date.
        assert!((3 * 1_024..3 * 1_024 + 64).contains(&steps), "{steps}");
        let too_many = |what, limit| Err(CrlError::TooMany { what, limit });
        let more = with(1_025, 0);
        let (refused, steps) = steps_of(|| read(&more));
        assert_eq!(refused, too_many("revoked certificates", 1_024));
        assert!(steps < 3 * 1_024 + 64, "{steps}");
        // As many extensions as fit.
        let largest = with(370, 16);
        let (revoked, steps) = steps_of(|| read(&largest));
        assert_eq!(revoked, Ok(370));
        // 4 elements at most and 15 comparisons at most for each of 16 extensions.
        assert!(steps < 370 * (4 + 16 * (4 + 15)), "{steps}");
        assert_eq!(read(&with(1, 17)), too_many("extensions", 16));
    }

    /// A key set and a token with as many members as are read in its header, which is read before the signature is verified.
    #[test]
    fn a_token_costs_its_header() {
        let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let keys = format!(r#"{{"keys":[{{"kty":"RSA","kid":"a","n":"{modulus}","e":"AQAB"}}]}}"#);
        let keys = KeySet::from_json(keys.as_bytes()).unwrap();
        let issuer = MaaIssuer::new("https://sharedeus.eus.attest.azure.net").unwrap();
        let verify =
            |token: &str| maa::verify(token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(0)).err();
        let member = |number: usize| format!(r#","{:04x}":0"#, number * 2_741 % 4_800);
        let header: String = (0..4_800).map(member).collect();
        let header = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"b"{header}}}"#);
        let token = |payload: usize| format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(&header), "A".repeat(payload));
        let largest = token(65_536 - token(0).len());
        let (refused, steps) = steps_of(|| verify(&largest));
        assert!(matches!(&refused, Some(TokenError::UnknownKey { key_id, .. }) if key_id == "b"), "{refused:?}");
        assert!((4_800..4_800 * 16).contains(&steps), "{steps}");
        let (refused, steps) = steps_of(|| verify(&format!("{largest}A")));
        assert_eq!((refused, steps), (Some(TokenError::TooLarge { len: 65_537, max: 65_536 }), 0));
        // The payload is not read before the signature holds.
        let payload = URL_SAFE_NO_PAD.encode(format!("[{}0]", "0,".repeat(16_000)));
        let forged = format!("{}.{payload}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"a"}"#));
        let (refused, steps) = steps_of(|| verify(&forged));
        assert_eq!(refused, Some(TokenError::BadSignature { key_id: "a".into() }));
        assert!(steps < 16, "{steps}");
    }

    #[test]
    fn a_policy_file_costs_its_values() {
        let of_length = |len: usize, begin: &str, piece: &str| {
            let mut text = begin.to_owned() + &piece.repeat((len - begin.len()) / piece.len());
            text.push_str(&" ".repeat(len - text.len()));
            text
        };
        let begin = "version = 1\nkind = \"confidential-container\"\n";
        for piece in ["x", "[", "[[", "{", "a=", "a.", "'", "\"", "\"\"\"", "#\n", "[a]\n", "a=1\n", "\n"] {
            let text = of_length(Policy::MAX_BYTES, begin, piece);
            let (refused, steps) = steps_of(|| Policy::from_toml(&text).err());
            assert!(matches!(refused, Some(PolicyError::Malformed { .. })), "{piece:?}: {refused:?}");
            assert!(steps < 64, "{piece:?}: {steps}");
            let (refused, steps) = steps_of(|| Policy::from_toml(&format!("{text} ")).err());
            let too_large = PolicyError::TooLarge { found: Policy::MAX_BYTES + 1, max: Policy::MAX_BYTES };
            assert_eq!((refused, steps), (Some(too_large.clone()), 0));
            assert_eq!(Policy::from_json(&format!("{text} ")).err(), Some(too_large));
        }
        let chips: String = (0..7_000).map(|chip| format!("\"{chip:0128x}\",")).collect();
        let text = format!("{begin}[require]\nchip-ids = [{chips}]\n[trust.amd]\n");
        assert!((900_000..=Policy::MAX_BYTES).contains(&text.len()), "{}", text.len());
        let (_, steps) = steps_of(|| Policy::from_toml(&text).is_ok());
        assert!((7_000..7_000 * 4).contains(&steps), "{steps}");
    }

    /// Each step of these looks at a character, or at a value among those of its parent; twice the text is twice the work.
    #[test]
    fn a_cce_policy_costs_its_length() {
        const LENGTH: usize = CcePolicy::MAX_BYTES;
        let of_length = |len: usize, (begin, piece, end): (&str, &str, &str)| {
            let fixed = "package policy\n".len() + begin.len() + end.len();
            format!("package policy\n{begin}{}{end}", piece.repeat((len - fixed) / piece.len()))
        };
        let variable = |piece| {
            (r#"containers := [{"env_rules": [{"strategy": "re2", "required": false, "pattern": ""#, piece, "\"}]}]\n")
        };
        let text = |piece| ("", piece, "");
        for shape in [
            text("a := true\n"),
            text("a {\n"),
            text("x := [\n"),
            text("}\n"),
            text("("),
            ("a := [", "[1],", "]\n"),
            ("containers := [{", "\"a\":1,", "}]\n"),
            ("containers := [", "{\"id\":\"a\"},", "]\n"),
            variable("[[:"),
            variable("[:"),
            variable("("),
            variable("(a|"),
            variable("a="),
            variable("(?:"),
            variable("a{"),
            variable("."),
        ] {
            let steps = |length| {
                let policy = CcePolicy::from_rego(of_length(length, shape)).unwrap();
                steps_of(|| policy.findings()).1
            };
            let (eighth, quarter) = (steps(LENGTH / 8), steps(LENGTH / 4));
            assert!(quarter <= eighth * 2 + eighth / 16, "{shape:?}: {eighth}, {quarter}");
            assert!(quarter <= LENGTH / 4 * 40, "{shape:?}: {quarter}");
        }
        let largest = CcePolicy::from_rego(of_length(LENGTH, variable("[:"))).unwrap();
        let (_, steps) = steps_of(|| largest.findings());
        assert!(steps <= LENGTH * 40, "{steps}");
    }

    #[test]
    fn a_document_has_64_cce_policies_at_most() {
        let policy = STANDARD.encode("package policy\n");
        let template = |count: usize| {
            let resource = r#"{"ccePolicy":"[variables('p')]"}"#;
            let resources = vec![resource; count].join(",");
            format!(r#"{{"variables":{{"p":"{policy}"}},"resources":[{resources}]}}"#)
        };
        let yaml = |count: usize| format!("ccePolicy: {policy}\n").repeat(count);
        let lines = |count: usize| format!("{policy}\n\n").repeat(count);
        let forms: [&dyn Fn(usize) -> String; 3] = [&template, &yaml, &lines];
        for form in forms {
            assert_eq!(find_cce_policies(form(64).as_bytes()).map(|found| found.len()), Ok(64));
            let refused = find_cce_policies(form(65).as_bytes()).err();
            assert_eq!(refused, Some(CcePolicySourceError::TooManyPolicies { max: 64 }));
        }
        let long = vec![b' '; (4 << 20) + 1];
        let too_large = CcePolicySourceError::TooLarge { found: (4 << 20) + 1, max: 4 << 20 };
        assert_eq!(find_cce_policies(&long), Err(too_large));
        assert!(!matches!(find_cce_policies(&long[1..]), Err(CcePolicySourceError::TooLarge { .. })));
    }

    #[test]
    fn an_issuer_of_endorsements_costs_its_length() {
        let issuer = |len: usize| {
            let begin = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::subject";
            let attributes: String = (100..).map(|arc| format!(":1.{arc}:a")).take((len - begin.len()) / 8).collect();
            let text = begin.to_owned() + &attributes;
            let rest = len - text.len();
            text + &"a".repeat(rest)
        };
        // An endorsement with this issuer and two certificates that are none.
        let document = |issuer: &str| {
            let length = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
            let name = [
                &[0xa2, 0x63],
                &b"iss"[..],
                &[0x79],
                &length(issuer.len()),
                issuer.as_bytes(),
                b"\x18\x21\x82\x41\0\x41\0",
            ]
            .concat();
            [&[0xd2, 0x84, 0x59], &length(name.len())[..], &name, &[0xa0, 0x40, 0x40]].concat()
        };
        let verify = |issuer: &str| uvm::verify(&document(issuer), &EndorsementExpectations::new(issuer, "feed")).err();
        let (refused, steps) = steps_of(|| verify(&issuer(1_024)));
        assert!(
            matches!(refused, Some(EndorsementError::Certificate { index: 0, cause: CertificateError::Malformed })),
            "{refused:?}"
        );
        assert!(steps < 10_000, "{steps}");
        let (refused, steps) = steps_of(|| verify(&issuer(1_025)));
        let defect = DidX509Error::TooLong { max: 1_024, actual: 1_025 };
        assert!(
            matches!(&refused, Some(EndorsementError::Did { defect: found, .. }) if *found == defect),
            "{refused:?}"
        );
        assert!(steps < 16, "{steps}");
    }

    /// A step for each field, and for each value of the runtime claims.
    #[test]
    fn the_evidence_of_a_confidential_vm_costs_its_fields() {
        let blob = |claims: &[u8]| {
            let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
            let numbers = |all: &[usize]| all.iter().flat_map(|each| number(*each)).collect::<Vec<u8>>();
            let data = claims.len() + 20;
            let header = numbers(&[data + 0x4c0, 2, 0, 0, 0, 0]);
            let mut report = [0; 1184];
            report[0x50..0x70].copy_from_slice(&crypto::sha256(claims));
            [&b"HCLA"[..], &number(1), &header, &report, &numbers(&[data, 1, 2, 1, claims.len()]), claims].concat()
        };
        let most = format!("{{\"keys\":[{}0]}}", "0,".repeat((4096 - 0x4d4) / 2 - 7));
        let largest = blob(most.as_bytes());
        assert!((4_000..=4_096).contains(&largest.len()), "{}", largest.len());
        let (read, steps) = steps_of(|| HclReport::read(&largest).is_ok());
        assert!(read && steps < 16, "{steps}");
        let unverified = || HclReport::read(&largest).unwrap().unverified_runtime_claims().err();
        let (refused, steps) = steps_of(unverified);
        let expected = RuntimeClaimsError::InvalidMember { name: "keys", expected: "an array of objects" };
        assert_eq!(refused, Some(HclReportError::RuntimeClaims(expected)));
        assert!(steps < 2_000, "{steps}");
        let mut changed = largest.clone();
        changed[0x70] = 1;
        let (refused, steps) = steps_of(|| HclReport::read(&changed).unwrap().unverified_runtime_claims().err());
        assert!(matches!(refused, Some(HclReportError::WrongReportData { .. })), "{refused:?}");
        assert!(steps < 16, "claims that are not covered are not parsed: {steps}");
        let too_large = Err(HclReportError::TooLarge { limit: 4_096, actual: 4_097 });
        assert_eq!(steps_of(|| HclReport::read(&[0; 4_097])), (too_large, 0));
        let quote = [&[0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 34, 0, 11][..], &[0; 32], &[0, 66], &[0; 300]].concat();
        let (_, steps) = steps_of(|| UnverifiedQuote::read(&quote).err());
        assert!(steps < 32, "{steps}");
    }

    /// Files are recognised by outlines, and encodings taken off at most four times.
    #[test]
    fn a_file_costs_little_whatever_it_holds() {
        const LENGTH: usize = 1 << 20;
        let crl = crl(&[&TIME[..], &element(0x30, &vec![0; 60_000])].concat());
        let nested = (0..6).fold(vec![b'x'; LENGTH / 8], |inner, _| STANDARD.encode(inner).into_bytes());
        for (bytes, limit) in [
            (vec![b'a'; LENGTH], 64),
            (vec![0x30; LENGTH], 64),
            (vec![b'['; LENGTH], 64),
            (vec![b'{'; LENGTH], 64),
            (b"-----BEGIN X509 CRL-----\n".repeat(LENGTH / 25), LENGTH / 25 + 64),
            (crl, 64),
            (nested[..LENGTH.min(nested.len())].to_vec(), 64),
            ("0,".repeat(LENGTH / 2).into_bytes(), 64),
            (format!("[{}0]", "0,".repeat(LENGTH / 2 - 2)).into_bytes(), 16_384 * 2),
        ] {
            let (_, steps) = steps_of(|| files::content(&bytes));
            assert!(steps <= limit, "{:?}: {steps}", bytes.get(..8));
        }
        assert_eq!(steps_of(|| files::content(&vec![b'a'; LENGTH + 1])), (Ok(None), 0));
    }
}
