//! Step 2b: the recorded evidence of a key of MAA, and a token that this key signed.

use std::fs;
use std::path::Path;

use crate::sign::{key_set, signer, tlv};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::inspect::inspect;
use blindbox_attestation::maa::{KeyEvidenceError, KeySet};
use blindbox_attestation::snp::ReportError;
use blindbox_attestation::{
    AttestationError, AttestedKeyRequirement, Binding, Endorsements, Evidence, GuestIdentity, HostData, MaaKeyError,
    Policy, PolicyError, Product, RecordedAttestation, ReportData, TcbMinima, TcbMinimum, Trust, UnixTime, Verdict,
    Violation, verify_recorded,
};
use serde_json::{Value, json};

const ISSUER: &str = "https://sharedeus.eus.attest.azure.net";
const KEY_ID: &str = "rFl9xM+g7TvX63y0iseZtIn20MD5SYAnGblKFasau8I=";
/// The host data of MAA's own service, since 2025.
const HOST_DATA: &str = "0178240eff4ef968efdcd735b8bcee63578c4eb9e4264178f747df149bf57bff";
/// A `did:x509` of another vendor.
const OWN_ISSUER: &str = "did:x509:0:sha256:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo::eku:1.2";
/// `iat` of the token.
const AT: UnixTime = UnixTime::from_secs(1_791_503_157);

const EVIDENCE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x69, 0x87, 0x68, 0x01];
const KIND: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x69, 0x87, 0x68, 0x02];

/// The recorded pieces of the evidence, with a change, in a certificate as MAA writes it.
fn certificate(vectors: &Path, spki: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let read = |name: &str| fs::read(vectors.join("maa-sharedeus-own-evidence-2026").join(name)).unwrap();
    let mut report = read("report.bin");
    change(&mut report);
    let pem = blindbox_attestation::emulator::amd::pem(&read("vcek.der"));
    let endorsements = json!({ "Uvm": [URL_SAFE_NO_PAD.encode(read("uvm_without_timestamp.cose"))] });
    let document = json!({
        "Endorsements": URL_SAFE_NO_PAD.encode(endorsements.to_string()),
        "SnpReport": URL_SAFE_NO_PAD.encode(report),
        "VcekCertChain": URL_SAFE_NO_PAD.encode(pem),
    });
    let document = tlv(0x0c, &[document.to_string().as_bytes()]);
    signer().certificate_with(spki, &[(EVIDENCE, &document), (KIND, &tlv(0x0c, &[b"acisevsnp"]))])
}

/// DER of the recorded key.
fn spki(vectors: &Path) -> Vec<u8> {
    let pem = fs::read_to_string(vectors.join("maa-sharedeus-own-evidence-2026/maa_signing_key.pem")).unwrap();
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

fn keys_with(certificate: &[u8]) -> Vec<u8> {
    key_set(&[json!({ "kid": KEY_ID, "kty": "RSA", "x5c": [STANDARD.encode(certificate)] })])
}

fn policy(requirement: AttestedKeyRequirement) -> Policy {
    let trust = Trust::maa(ISSUER).unwrap().require_attested_maa_key(requirement).unwrap();
    let guest = GuestIdentity::allow_any_azure_cvm();
    Policy::confidential_vm(trust, guest, Binding::OwnKey).unwrap().allow_direct_vm_token().unwrap()
}

/// AMD's CRL is not recorded.
fn requirement(host_data: HostData, svn: u64) -> AttestedKeyRequirement {
    AttestedKeyRequirement::new([host_data], svn).allow_no_revocation_check()
}

fn verify(vectors: &Path, key_set: &[u8], policy: &Policy) -> Result<RecordedAttestation, AttestationError> {
    let token = fs::read_to_string(vectors.join("maa-sharedeus-sevsnpvm-2026/token.jwt")).unwrap();
    let mut evidence = Evidence::default();
    evidence.token = Some(token.trim_end().to_owned());
    let mut endorsements = Endorsements::default();
    endorsements.key_set = Some(KeySet::from_json(key_set).unwrap());
    verify_recorded(&evidence, &endorsements, policy, AT)
}

#[test]
fn the_recorded_evidence_of_maa_proves_the_key_of_a_recorded_token() {
    let Some(vectors) = crate::common::vectors() else { return };
    let keys = keys_with(&certificate(&vectors, &spki(&vectors), |_| {}));
    let host_data = HostData::from_hex(HOST_DATA).unwrap();
    let minimum = TcbMinima::for_product(Product::Genoa, TcbMinimum::new().bootloader(10).snp(23).microcode(84));
    let accepted = policy(requirement(host_data, 104).with_reported_tcb(minimum));
    let recorded = verify(&vectors, &keys, &accepted).unwrap();
    let shown = |name| {
        let check = recorded.appraisal().check(name).unwrap();
        (check.verdict, check.actual.to_string())
    };
    let passed = |actual: &str| (Verdict::Passed, actual.to_owned());
    assert_eq!(shown("maa key"), passed("held by a container on Genoa, as its report proves"));
    assert_eq!(shown("maa key host data"), passed(HOST_DATA));
    assert_eq!(shown("maa key uvm"), passed("security version 104"));
    assert_eq!(shown("maa key tcb").0, Verdict::Passed);
    assert_eq!(shown("maa key advisories"), passed("fixed"));
    assert_eq!(shown("maa key revocation"), (Verdict::Allowed, "NOT CHECKED: the policy turns it off".to_owned()));
    assert_eq!(shown("anchors"), (Verdict::Allowed, "CUSTOM, the caller's own: key set".to_owned()));

    let fields = |policy: &Policy| {
        let refused = verify(&vectors, &keys, policy).unwrap_err();
        let Some(Violation::WrongMaaKey { field, expected, actual }) = refused.violation() else {
            panic!("{refused:?}")
        };
        (*field, expected.clone(), actual.clone())
    };
    let other = HostData::new([0x5a; 32]);
    let expected = ("host data", other.to_string(), HOST_DATA.to_owned());
    assert_eq!(fields(&policy(requirement(other, 104))), expected);
    let expected = ("uvm", "security version 105 or later".to_owned(), "security version 104".to_owned());
    assert_eq!(fields(&policy(requirement(host_data, 105))), expected);
    let minimum = TcbMinima::for_product(Product::Genoa, TcbMinimum::new().snp(24));
    assert_eq!(fields(&policy(requirement(host_data, 104).with_reported_tcb(minimum))).0, "tcb");
}

#[test]
fn the_recorded_evidence_of_maa_proves_no_other_key_and_no_other_bytes() {
    let Some(vectors) = crate::common::vectors() else { return };
    let host_data = HostData::from_hex(HOST_DATA).unwrap();
    let accepted = policy(requirement(host_data, 104));
    let spki = spki(&vectors);
    // Bits of what is signed. Reserved ones and the chip are checked before the signature.
    for byte in (0..0x2a0).step_by(37) {
        let keys = keys_with(&certificate(&vectors, &spki, |report| report[byte] ^= 1));
        let refused = verify(&vectors, &keys, &accepted).unwrap_err();
        let AttestationError::UnattestedMaaKey(MaaKeyError::Report(error)) = refused else {
            panic!("{byte:#x}: {refused:?}")
        };
        let expected = match byte {
            // Reports of version 2 have no processor.
            0x000 => ReportError::ReservedByte { offset: 0x188 },
            0x04a => ReportError::ReservedBits { field: "KEY_INFO", actual: 1 << 16 },
            0x197 | 0x206 | 0x22b | 0x250 | 0x275 | 0x29a => ReportError::ReservedByte { offset: byte },
            0x1bc if matches!(error, ReportError::ChipIdMismatch { .. }) => continue,
            _ => ReportError::WrongSignature,
        };
        assert_eq!(error, expected, "{byte:#x}");
    }
    // The certificate of 2023, when the same key was used outside of a container.
    let of_2023 = fs::read(vectors.join("maa-sharedeus-sevsnpvm-2026/jwks.json")).unwrap();
    let none = AttestationError::UnattestedMaaKey(MaaKeyError::Evidence(KeyEvidenceError::NoEvidence));
    assert_eq!(verify(&vectors, &of_2023, &accepted), Err(none));
    // AMD's CRL is required unless the policy says otherwise.
    let keys = keys_with(&certificate(&vectors, &spki, |_| {}));
    let strict = policy(AttestedKeyRequirement::new([host_data], 104));
    assert_eq!(verify(&vectors, &keys, &strict).unwrap_err().code(), "revocation-unavailable");
    // The evidence in the certificate of another key, which signed another token.
    let foreign = crate::sign::stranger();
    let certificate = certificate(&vectors, foreign.spki(), |_| {});
    let keys = key_set(&[json!({ "kid": "foreign", "kty": "RSA", "x5c": [STANDARD.encode(certificate)] })]);
    let payload = fs::read_to_string(vectors.join("maa-sharedeus-sevsnpvm-2026/payload.json")).unwrap();
    let header = json!({ "alg": "RS256", "jku": format!("{ISSUER}/certs"), "kid": "foreign", "typ": "JWT" });
    let mut evidence = Evidence::default();
    evidence.token = Some(foreign.token(&header.to_string(), &payload));
    let mut endorsements = Endorsements::default();
    endorsements.key_set = Some(KeySet::from_json(&keys).unwrap());
    let refused = verify_recorded(&evidence, &endorsements, &accepted, AT).unwrap_err();
    let AttestationError::UnattestedMaaKey(MaaKeyError::OtherKey { actual, .. }) = refused else {
        panic!("{refused:?}")
    };
    let mut digest = STANDARD.decode(KEY_ID).unwrap();
    digest.resize(64, 0);
    assert_eq!(actual, ReportData::new(digest.try_into().unwrap()));
}

#[test]
fn inspection_shows_the_evidence_of_each_key() {
    let Some(vectors) = crate::common::vectors() else { return };
    let certificate = certificate(&vectors, &spki(&vectors), |_| {});
    let without = signer().jwk("without");
    let entry = json!({ "kid": KEY_ID, "kty": "RSA", "x5c": [STANDARD.encode(certificate)] });
    let shown = inspect(&key_set(&[without, entry])).unwrap();
    let shown: Value = serde_json::to_value(&shown[0]).unwrap();
    assert_eq!(shown["evidence"][0], json!({ "kid": "without", "held_by": null }));
    let held_by = &shown["evidence"][1]["held_by"];
    assert_eq!(shown["evidence"][1]["kid"], KEY_ID);
    assert_eq!(held_by["names_this_key"], true);
    assert_eq!(held_by["report"]["host_data"], HOST_DATA);
    assert_eq!(held_by["uvm_endorsement"]["svn"], 104);
    let certificate = "signed down to AMD's built-in root; dates and revocation were not looked at";
    assert_eq!(held_by["certificate"], certificate);
    assert_eq!((&held_by["report_error"], &held_by["uvm_endorsement_error"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_requirement_that_cannot_be_meant_is_refused() {
    let trust = || Trust::maa(ISSUER).unwrap();
    let host_data = HostData::from_hex(HOST_DATA).unwrap();
    let refused = |requirement| trust().require_attested_maa_key(requirement).unwrap_err();
    const HOST_DATA_FIELD: &str = "trust.maa.require-attested-key.host-data";
    let none: [HostData; 0] = [];
    let refusal = refused(AttestedKeyRequirement::new(none, 104));
    assert_eq!(refusal, PolicyError::EmptyList { requirement: HOST_DATA_FIELD });
    let refusal = refused(AttestedKeyRequirement::new([host_data, host_data], 104));
    let value = HOST_DATA.to_owned();
    assert_eq!(refusal, PolicyError::DuplicateValue { requirement: HOST_DATA_FIELD, value });
    let allow_all = "73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20";
    let unusable = |requirement, reason| PolicyError::UnusableValue { requirement, reason };
    let unset = "is empty or all zero, which in evidence means that nothing was set";
    let refusal = refused(AttestedKeyRequirement::new([HostData::new([0; 32])], 104));
    assert_eq!(refusal, unusable(HOST_DATA_FIELD, unset));
    let any_code = "is the digest of an allow-all CCE policy, with which any code could hold the key";
    let refusal = refused(AttestedKeyRequirement::new([HostData::from_hex(allow_all).unwrap()], 104));
    assert_eq!(refusal, unusable(HOST_DATA_FIELD, any_code));
    let refusal = refused(AttestedKeyRequirement::new([host_data], 0));
    let zero = "is zero, which requires nothing or what nothing can meet";
    assert_eq!(refusal, unusable("trust.maa.require-attested-key.minimum-uvm-svn", zero));
    let refusal = refused(AttestedKeyRequirement::new([host_data], 1).with_uvm_issuer(""));
    assert_eq!(refusal, unusable("trust.maa.require-attested-key.uvm-issuer", "is empty"));
    let refusal = refused(AttestedKeyRequirement::new([host_data], 1).with_reported_tcb(TcbMinima::default()));
    let requirement = "trust.maa.require-attested-key.reported-tcb";
    assert_eq!(refusal, PolicyError::EmptyList { requirement });
    let usable = || AttestedKeyRequirement::new([host_data], 104);
    let minima = || TcbMinima::any(TcbMinimum::new().snp(1));
    for (twice, requirement) in [
        (usable().with_uvm_issuer("did:a").with_uvm_issuer("did:b"), "trust.maa.require-attested-key.uvm-issuer"),
        (
            usable().with_reported_tcb(minima()).with_reported_tcb(minima()),
            "trust.maa.require-attested-key.reported-tcb",
        ),
    ] {
        assert_eq!(refused(twice), PolicyError::GivenTwice { requirement });
    }
    let requirement = "trust.maa.require-attested-key";
    let twice = trust().require_attested_maa_key(usable()).unwrap().require_attested_maa_key(usable());
    assert_eq!(twice, Err(PolicyError::GivenTwice { requirement }));
    let without = Trust::amd().require_attested_maa_key(usable());
    assert_eq!(without, Err(PolicyError::NotCoveredByTrust { requirement, needs: "MAA" }));
}

#[test]
fn the_requirement_is_a_table_of_a_policy_file() {
    let text = format!(
        r#"version = 1
kind = "confidential-vm"
binding = "own-key"
guest.allow-any-azure-cvm = true

[trust.maa]
issuer = "{ISSUER}"
require-attested-key = {{ host-data = ["{HOST_DATA}"], minimum-uvm-svn = 104, reported-tcb.genoa.snp = 23 }}

[allow]
direct-vm-token = true
"#
    );
    let read = Policy::from_toml(&text).unwrap();
    let host_data = HostData::from_hex(HOST_DATA).unwrap();
    let minimum = TcbMinima::for_product(Product::Genoa, TcbMinimum::new().snp(23));
    assert_eq!(read, policy(AttestedKeyRequirement::new([host_data], 104).with_reported_tcb(minimum)));
    for policy in [
        read,
        policy(requirement(host_data, 104)),
        policy(requirement(host_data, 104).allow_best_effort_revocation().with_uvm_issuer(OWN_ISSUER)),
    ] {
        assert_eq!(Policy::from_toml(&policy.to_toml()), Ok(policy.clone()));
        assert_eq!(Policy::from_json(&policy.to_json()), Ok(policy));
    }
    for (from, to) in [("minimum-uvm-svn = 104, ", ""), ("host-data = ", "hostdata = "), ("[\"0178", "[\"0278")] {
        let changed = Policy::from_toml(&text.replace(from, to));
        match from {
            "[\"0178" => assert_ne!(changed.unwrap().digest(), Policy::from_toml(&text).unwrap().digest()),
            _ => assert!(matches!(changed, Err(PolicyError::Malformed { .. })), "{changed:?}"),
        }
    }
}
