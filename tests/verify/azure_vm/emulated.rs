//! Reports of the paravisor and quotes that are signed and wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blindbox_attestation::azure_vm::{
    HclReport, HclReportError, Quote, QuoteError, RuntimeClaims, RuntimeClaimsError, VerifiedQuote,
};
use blindbox_attestation::emulator::amd::{AmdHierarchy, SignedVek};
use blindbox_attestation::emulator::azure_vm::{HclReportBuilder, QuoteBuilder, VirtualTpm};
use blindbox_attestation::snp::{self, Collateral, Revocation};
use blindbox_attestation::{AttestationError, JsonError, JsonType, Product, ReportData, Sha256Digest};

use super::NOW;

struct Machine {
    amd: AmdHierarchy,
    vcek: SignedVek,
    tpm: VirtualTpm,
}

impl Machine {
    fn new() -> Self {
        let amd = AmdHierarchy::new(Product::Milan);
        Self { vcek: amd.vcek().issue(), amd, tpm: VirtualTpm::new() }
    }

    fn claims(&self, hcl: &HclReportBuilder) -> Result<RuntimeClaims, AttestationError> {
        let blob = hcl.sign(self.amd.report(), &self.vcek);
        let hcl = HclReport::read(&blob)?;
        let collateral = Collateral::new(self.vcek.der());
        let report = snp::verify(hcl.snp_report()?, &collateral, &self.amd.anchors(), Revocation::Off, NOW)?;
        Ok(hcl.verify_with(&report)?)
    }

    fn refused(&self, hcl: &HclReportBuilder) -> HclReportError {
        match self.claims(hcl) {
            Err(AttestationError::InvalidHclReport(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn verify(&self, quote: &Quote) -> Result<VerifiedQuote, QuoteError> {
        quote.verify(&self.claims(&self.tpm.hcl_report()).unwrap().attestation_key)
    }
}

#[test]
fn claims_are_read_as_the_paravisor_states_them() {
    let machine = Machine::new();
    let hcl = machine.tpm.hcl_report();
    let claims = machine.claims(&hcl).unwrap();
    let vm = &claims.vm_configuration;
    assert_eq!((vm.vm_id, vm.secure_boot, vm.tpm_enabled), (machine.tpm.vm_id(), true, true));
    assert_eq!((vm.console_enabled, vm.interactive_console_enabled), (true, None));
    assert_eq!(claims.user_data.map(|data| *data.as_bytes()), Some([0; 64]));
    let further = r#","interactive-console-enabled":true,"filtered-vpci-devices-allowed":false,"something-new":[{}]"#;
    let hcl = hcl.secure_boot(false).console(false).user_data(Some([7; 64])).further_configuration(further);
    let claims = machine.claims(&hcl).unwrap();
    let vm = &claims.vm_configuration;
    assert_eq!((vm.secure_boot, vm.console_enabled), (false, false));
    assert_eq!((vm.interactive_console_enabled, vm.filtered_vpci_devices_allowed), (Some(true), Some(false)));
    assert_eq!(claims.user_data.map(|data| *data.as_bytes()), Some([7; 64]));
    assert_eq!(machine.claims(&hcl.user_data(None)).unwrap().user_data, None);
}

#[test]
fn every_field_of_the_header_has_its_value() {
    let machine = Machine::new();
    let hcl = machine.tpm.hcl_report();
    let json = u32::try_from(hcl.claims_json().len()).unwrap();
    let report_size = json + 20 + 0x4c0;
    for (offset, field, expected, actual) in [
        (0x00, "signature", &[0x414c_4348][..], 0x414c_4349),
        (0x04, "version", &[1, 2], 0),
        (0x04, "version", &[1, 2], 3),
        (0x08, "report size", &[report_size], report_size + 1),
        (0x0c, "request type", &[2], 1),
        (0x0c, "request type", &[2], 3),
        (0x10, "status", &[0], 1),
        (0x14, "reserved", &[0], 1),
        (0x18, "reserved", &[0], 1),
        (0x1c, "reserved", &[0], 1),
        (0x4c0, "data size", &[json + 20], json + 21),
        (0x4c4, "data version", &[1], 2),
        (0x4c8, "report type", &[2, 4], 1),
        (0x4c8, "report type", &[2, 4], 3),
        (0x4c8, "report type", &[2, 4], 5),
        (0x4cc, "hash", &[1], 2),
        (0x4cc, "hash", &[1], 3),
        (0x4d0, "data size", &[json + 21], json + 20),
    ] {
        let written: u32 = if offset == 0x4d0 { json + 1 } else { actual };
        let refused = machine.refused(&hcl.clone().patch(offset, &written.to_le_bytes()));
        assert_eq!(refused, HclReportError::WrongField { field, expected: expected.to_vec(), actual }, "{offset:#x}");
    }
    // Behind the claims there is nothing.
    assert!(machine.claims(&hcl).is_ok());
    assert_eq!(machine.refused(&hcl.clone().patch(2599, &[1])), HclReportError::NotZero { offset: 2599 });
    // A length beyond the blob, with all sizes that follow from it; and one that no sum of sizes can have.
    let hcl = hcl.patch(0x4d0, &2000_u32.to_le_bytes()).patch(0x4c0, &2020_u32.to_le_bytes());
    let hcl = hcl.patch(0x08, &3236_u32.to_le_bytes());
    assert_eq!(machine.refused(&hcl), HclReportError::Truncated { actual: 2600 });
    let hcl = machine.tpm.hcl_report().patch(0x4d0, &u32::MAX.to_le_bytes());
    let refused = machine.refused(&hcl);
    assert_eq!(refused, HclReportError::WrongField { field: "data size", expected: Vec::new(), actual: json + 20 });
    let message = format!("expected its data size to be that of shorter claims, found {:#x}", json + 20);
    assert_eq!(refused.to_string(), message);
    // Another type of report in the place of a TD report.
    let refused = machine.refused(&machine.tpm.hcl_report().patch(0x4c8, &4_u32.to_le_bytes()));
    let field = "type of the td report";
    assert_eq!(refused, HclReportError::WrongField { field, expected: vec![0x81], actual: 3 });
    assert_eq!(refused.to_string(), "expected its type of the td report to be 0x81, found 0x3");
}

#[test]
fn the_report_covers_the_claims_in_full() {
    let machine = Machine::new();
    let hcl = machine.tpm.hcl_report();
    let mut report_data = [0; 64];
    report_data[..32].copy_from_slice(machine_digest(hcl.claims_json().as_bytes()).as_bytes());
    assert!(machine.claims(&hcl.clone().report_data(report_data)).is_ok());
    // The second half is compared too.
    let expected = Box::new(ReportData::new(report_data));
    report_data[63] = 1;
    for other in [report_data, [0; 64]] {
        let actual = Box::new(ReportData::new(other));
        let refused = machine.refused(&hcl.clone().report_data(other));
        assert_eq!(refused, HclReportError::WrongReportData { expected: expected.clone(), actual });
    }
}

/// Two reports over the same claims, of the same machine.
#[test]
fn claims_are_read_with_the_report_in_their_blob_only() {
    let machine = Machine::new();
    let sign = |report_id| machine.tpm.hcl_report().sign(machine.amd.report().report_id(report_id), &machine.vcek);
    let (one, other) = (sign([1; 32]), sign([2; 32]));
    let (one, other) = (HclReport::read(&one).unwrap(), HclReport::read(&other).unwrap());
    let collateral = Collateral::new(machine.vcek.der());
    let verified = |hcl: &HclReport<'_>| {
        snp::verify(hcl.snp_report().unwrap(), &collateral, &machine.amd.anchors(), Revocation::Off, NOW).unwrap()
    };
    assert_eq!(verified(&one).snp().report_data, verified(&other).snp().report_data);
    assert!(one.verify_with(&verified(&one)).is_ok());
    assert_eq!(one.verify_with(&verified(&other)), Err(HclReportError::AnotherReport));
    assert_eq!(other.verify_with(&verified(&one)), Err(HclReportError::AnotherReport));
}

#[test]
fn a_report_of_less_privileged_software_is_not_the_paravisors() {
    let machine = Machine::new();
    for vmpl in 1..=3 {
        let blob = machine.tpm.hcl_report().sign(machine.amd.report().vmpl(vmpl), &machine.vcek);
        let hcl = HclReport::read(&blob).unwrap();
        let collateral = Collateral::new(machine.vcek.der());
        let report = hcl.snp_report().unwrap();
        let report = snp::verify(report, &collateral, &machine.amd.anchors(), Revocation::Off, NOW).unwrap();
        assert_eq!(hcl.verify_with(&report), Err(HclReportError::NotOfParavisor { vmpl }));
    }
}

fn machine_digest(bytes: &[u8]) -> Sha256Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Sha256Digest::new(digest.as_ref().try_into().unwrap())
}

#[test]
fn claims_that_are_covered_and_ambiguous_or_incomplete_are_refused() {
    let machine = Machine::new();
    let whole = machine.tpm.hcl_report().claims_json();
    let key = |kid: &str, e: &str, n: &str| format!(r#"{{"kid":"{kid}","kty":"RSA","e":"{e}","n":"{n}"}}"#);
    let with_keys = |keys: &str| {
        let vm = r#"{"secure-boot":true,"tpm-enabled":true,"console-enabled":true,"vmUniqueId":"02FE12EC-5B74-4A1B-B261-8EA46FE9AF36"}"#;
        format!(r#"{{"keys":{keys},"vm-configuration":{vm}}}"#)
    };
    let n = whole.split(r#""n":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let ak = key("HCLAkPub", "AQAB", &n);
    assert!(machine.claims(&machine.tpm.hcl_report().claims(&with_keys(&format!("[{ak}]")))).is_ok());
    let short = "_".repeat(338) + "w";
    let long = "_".repeat(344);
    let no_leading_bit = "A".to_owned() + &n[1..];
    let missing = |name| RuntimeClaimsError::MissingMember { name };
    let wrong = |name, expected, found| RuntimeClaimsError::WrongType { name, expected, found };
    let invalid = |name, expected| RuntimeClaimsError::InvalidMember { name, expected };
    use RuntimeClaimsError::{DuplicateAttestationKey, MissingAttestationKey, NotAnObject, NotJson, UnsupportedKey};
    for (claims, expected) in [
        (String::new(), NotJson(JsonError::Syntax { at: 0 })),
        ("[]".into(), NotAnObject { found: JsonType::Array }),
        (format!("{whole} x"), NotJson(JsonError::TrailingBytes { at: whole.len() + 1 })),
        (
            whole.replace(r#""tpm-enabled""#, r#""secure-boot""#),
            NotJson(JsonError::DuplicateMember { name: "secure-boot".into() }),
        ),
        ("{}".into(), missing("keys")),
        (r#"{"keys":{}}"#.into(), wrong("keys", JsonType::Array, JsonType::Object)),
        (with_keys("[]"), MissingAttestationKey),
        (with_keys("[1]"), invalid("keys", "an array of objects")),
        (with_keys("[{}]"), missing("kid")),
        (with_keys(&format!("[{}]", key("HCLEkPub", "AQAB", &n))), MissingAttestationKey),
        (with_keys(&format!("[{}]", key("hclakpub", "AQAB", &n))), MissingAttestationKey),
        (with_keys(&format!("[{ak},{ak}]")), DuplicateAttestationKey),
        (with_keys(&format!("[{}]", ak.replace("RSA", "EC"))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "Aw", &n))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "AAEAAQ", &n))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "AQAB", &short))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "AQAB", &long))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "AQAB", &no_leading_bit))), UnsupportedKey),
        (with_keys(&format!("[{}]", key("HCLAkPub", "AQAB=", &n))), invalid("e", "base64url without padding")),
        (format!(r#"{{"keys":[{ak}]}}"#), missing("vm-configuration")),
        (with_keys(&format!("[{ak}]")).replace("-8EA4", "8EA4"), invalid("vmUniqueId", "a UUID")),
        (
            whole.replace(r#""secure-boot":true"#, r#""secure-boot":"true""#),
            wrong("secure-boot", JsonType::Boolean, JsonType::String),
        ),
        (whole.replace("secure-boot", "secureboot"), missing("secure-boot")),
        (whole.replace("vmUniqueId", "vmId"), missing("vmUniqueId")),
        (whole.replace(r#""user-data":"00"#, r#""user-data":"0"#), invalid("user-data", "128 hexadecimal digits")),
        (whole.replace(r#""user-data":"00"#, r#""user-data":"0x"#), invalid("user-data", "128 hexadecimal digits")),
    ] {
        let refused = machine.refused(&machine.tpm.hcl_report().claims(&claims));
        assert_eq!(refused, HclReportError::RuntimeClaims(expected), "{claims}");
    }
    let one = "_".repeat(341) + "8";
    let refused =
        machine.refused(&machine.tpm.hcl_report().claims(&with_keys(&format!("[{}]", key("HCLAkPub", "AQAB", &one)))));
    assert_eq!(refused, HclReportError::RuntimeClaims(invalid("n", "base64url without padding")));
}

/// The attestation key of a TPM with the ROCA weakness (CVE-2017-15361) signs for anyone who factors it.
#[test]
fn an_attestation_key_that_can_be_factored_is_refused() {
    let machine = Machine::new();
    let whole = machine.tpm.hcl_report().claims_json();
    let own = whole.split(r#""n":""#).nth(1).unwrap().split('"').next().unwrap();
    // A multiple of the primes of the fingerprint (11, 13, 17, 19, 37 and so on) with 65537 added: 65537 modulo each of them.
    let mut modulus = hex::decode("a04916af44a0a5e1ba5b4b8fd0").unwrap();
    modulus.resize(253, 0);
    modulus.extend([1, 0, 1]);
    let with = |modulus: &[u8]| machine.tpm.hcl_report().claims(&whole.replace(own, &URL_SAFE_NO_PAD.encode(modulus)));
    let weak = HclReportError::RuntimeClaims(RuntimeClaimsError::WeakKey);
    assert_eq!(machine.refused(&with(&modulus)), weak);
    *modulus.last_mut().unwrap() ^= 2;
    assert!(machine.claims(&with(&modulus)).is_ok());
}

#[test]
fn a_quote_is_signed_and_has_the_layout_of_one() {
    let machine = Machine::new();
    let quote = machine.tpm.quote().extra_data(&[0xab; 32]);
    let verified = machine.verify(&quote.sign()).unwrap();
    assert_eq!(verified.extra_data(), [0xab; 32]);
    assert_eq!(verified.reset_count(), 7);
    assert_eq!(machine.verify(&quote.clone().tpmt_signature().sign()), Ok(verified));
    let malformed = |offset, expected| Err(QuoteError::Malformed { offset, expected });
    // The extra data has 32 bytes, so that what follows it stands at 44 + 32.
    for (offset, bytes, expected) in [
        (0, &[0xff, 0x54, 0x43, 0x48][..], malformed(0, "the magic number of a TPM")),
        (4, &[0x80, 0x17], malformed(4, "the type of a quote")),
        (4, &[0x80, 0x1a], malformed(4, "the type of a quote")),
        (6, &[0, 35], malformed(6, "a name of 34 bytes")),
        (8, &[0, 0x0c], malformed(8, "a name with SHA-256")),
        (42, &[0, 67], malformed(44, "at most 66 bytes of extra data")),
        (92, &[2], malformed(93, "0 or 1 for a safe clock")),
        (101, &[0, 0, 0, 0], malformed(101, "one selection of PCRs")),
        (101, &[0, 0, 0, 2], malformed(101, "one selection of PCRs")),
        (105, &[0, 0x04], malformed(105, "PCRs with SHA-256")),
        (107, &[4], malformed(107, "a selection of 24 PCRs")),
        (107, &[2], malformed(107, "a selection of 24 PCRs")),
        (111, &[0, 31], malformed(111, "a digest of 32 bytes")),
    ] {
        assert_eq!(machine.verify(&quote.clone().patch(offset, bytes).sign()), expected, "{offset}");
    }
    assert_eq!(machine.verify(&quote.clone().append(&[0]).sign()), malformed(145, "no further byte"));
    let message = quote.message();
    assert_eq!(message.len(), 145);
    let longest = machine.tpm.quote().extra_data(&[1; 66]).sign();
    assert_eq!(longest.message.len(), 179);
    assert!(machine.verify(&longest).is_ok());
    let too_large = Err(QuoteError::TooLarge { limit: 179, actual: 180 });
    assert_eq!(machine.verify(&machine.tpm.quote().extra_data(&[1; 67]).sign()), too_large);
    for len in [0, 255, 257, 261, 263] {
        let quote = Quote::new(message.clone(), vec![0; len], []);
        assert_eq!(machine.verify(&quote), Err(QuoteError::MalformedSignature { actual: len }));
    }
}

/// The digest of the name that the quote states: behind its magic number, its type, and length and algorithm of the name.
fn named_signer(quote: &Quote) -> Sha256Digest {
    Sha256Digest::new(quote.message[10..42].try_into().unwrap())
}

#[test]
fn a_quote_by_another_key_or_a_key_of_another_kind_is_refused() {
    let (machine, other) = (Machine::new(), VirtualTpm::new());
    assert_eq!(machine.verify(&other.quote().sign()), Err(QuoteError::WrongSignature));
    // The right name, the wrong key.
    assert_eq!(machine.verify(&machine.tpm.quote().signed_by(&other).sign()), Err(QuoteError::WrongSignature));
    // The right key, another name.
    let expected = named_signer(&machine.tpm.quote().sign());
    let of_other = other.quote().signed_by(&machine.tpm).sign();
    // A key that is not restricted signs anything that its caller gives it.
    let unrestricted = machine.tpm.quote().attributes(0x0004_0472).sign();
    for quote in [of_other, unrestricted] {
        let actual = named_signer(&quote);
        assert_ne!(actual, expected);
        assert_eq!(machine.verify(&quote), Err(QuoteError::WrongSigner { expected, actual }));
    }
}

/// The i-th value is that of the i-th selected PCR, whatever its place in the list.
#[test]
fn a_value_belongs_to_the_pcr_that_the_quote_selects() {
    let machine = Machine::new();
    let good = Sha256Digest::new([0x44; 32]);
    // PCR 16 can be reset by the guest: with this selection it stands at the fifth place, where PCR 4 would.
    let selection = [0, 1, 2, 3, 16, 17, 18, 23];
    let quote = machine.tpm.quote().pcr(16, good).select(&selection).sign();
    assert_eq!(quote.pcrs[4], good);
    let verified = machine.verify(&quote).unwrap();
    assert_eq!(verified.pcrs().get(4), None);
    assert_eq!(verified.pcrs().get(16), Some(&good));
    let covered: Vec<u8> = verified.pcrs().iter().map(|(index, _)| index).collect();
    assert_eq!(covered, selection);
    // All 24 values, of which the quote covers eight.
    let all: Vec<_> = (0..24).map(QuoteBuilder::default_pcr).collect();
    let padded = Quote::new(quote.message, quote.signature, all);
    assert_eq!(machine.verify(&padded), Err(QuoteError::WrongPcrCount { expected: 8, actual: 24 }));
    // None at all covers nothing.
    let none = machine.tpm.quote().select(&[]).sign();
    assert_eq!(machine.verify(&none).unwrap().pcrs().iter().count(), 0);
}
