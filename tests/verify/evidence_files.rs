//! The files of recorded evidence: which names there are, and what is refused of their content.

use blindbox_attestation::emulator::CertificateAuthority;
use blindbox_attestation::{AttestationError, EvidenceFiles, EvidenceFilesError, KeySetSource};

fn files(given: &[(&str, &[u8])]) -> EvidenceFiles {
    let mut files = EvidenceFiles::default();
    for (name, content) in given {
        files.insert(name, *content).unwrap();
    }
    files
}

#[test]
fn only_the_names_of_evidence_are_accepted_and_each_of_them_once() {
    let mut files = EvidenceFiles::default();
    for name in EvidenceFiles::NAMES.into_iter().chain(EvidenceFiles::OF_REQUEST).rev() {
        files.insert(name, name).unwrap();
        assert_eq!(files.insert(name, "again"), Err(EvidenceFilesError::Duplicate { name }));
    }
    for name in ["token.jw", "Token.jwt", "./token.jwt", "", "token.jwt\0"] {
        assert_eq!(files.insert(name, ""), Err(EvidenceFilesError::UnknownName { name: name.to_owned() }));
    }
    let long = "x".repeat(1000);
    assert_eq!(files.insert(&long, ""), Err(EvidenceFilesError::UnknownName { name: "x".repeat(64) }));
    let listed: Vec<_> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(listed[..15], EvidenceFiles::NAMES);
    assert_eq!(listed[15..], EvidenceFiles::OF_REQUEST);
}

#[test]
fn something_must_be_there_to_verify() {
    for beside in ["runtime-data.json", "uvm-endorsement.cose", "key-set.json", "policy.toml", "about.json"] {
        assert_eq!(files(&[(beside, b"{}")]).evidence(), Err(EvidenceFilesError::NoEvidence), "{beside}");
    }
    for enough in ["token.jwt", "report.bin", "hcl-report.bin"] {
        assert!(files(&[(enough, b"x")]).evidence().is_ok(), "{enough}");
    }
}

#[test]
fn a_quote_has_three_files() {
    let pcrs = format!("[\"{}\"]", "0".repeat(64));
    let parts: [(&str, &[u8]); 3] =
        [("tpm-quote.msg", b"message"), ("tpm-quote.sig", b"signature"), ("pcrs.json", pcrs.as_bytes())];
    for present in 0..8_u8 {
        let given: Vec<_> = (0..3).filter(|bit| present & (1 << bit) != 0).map(|bit| parts[bit]).collect();
        let found = files(&[&given[..], &[("token.jwt", b"x")]].concat()).evidence();
        match present {
            0 => assert_eq!(found.unwrap().quote, None),
            7 => assert_eq!(found.unwrap().quote.unwrap().message, b"message"),
            _ => assert_eq!(found, Err(EvidenceFilesError::PartOfQuote), "{given:?}"),
        }
    }
}

/// As [`EvidenceFiles`] says of every file: in any of its forms.
#[test]
fn the_certificates_of_an_attestation_key_are_read_in_pem_and_in_der() {
    let (authority, other) = (CertificateAuthority::new("one"), CertificateAuthority::new("other"));
    let chain = |content: &[u8]| files(&[("token.jwt", b"x"), ("ak-chain.pem", content)]).evidence().unwrap().ak_chain;
    assert_eq!(chain(authority.root_der()), [authority.root_der()]);
    assert_eq!(chain(authority.root_pem().as_bytes()), [authority.root_der()]);
    let both = authority.root_pem() + &other.root_pem();
    assert_eq!(chain(both.as_bytes()), [authority.root_der(), other.root_der()]);
    let cut =
        files(&[("token.jwt", b"x"), ("ak-chain.pem", &both.as_bytes()[..both.len() - 2])]).evidence().unwrap_err();
    assert!(matches!(cut, EvidenceFilesError::Unreadable { name: "ak-chain.pem", .. }), "{cut}");
}

#[test]
fn the_key_set_beside_the_evidence_proves_nothing() {
    assert_eq!(files(&[]).endorsements().unwrap().key_set_source, KeySetSource::BesideEvidence);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (quote, hcl_report): (&[u8], &[u8]) = (b"\xffTCG\x80\x18", b"HCLA\0");
    let unreadable = |error: EvidenceFilesError| match error {
        EvidenceFilesError::Unreadable { name, reason } => (name, reason.contains(", found the quote of a TPM")),
        other => panic!("{other}"),
    };
    for name in ["token.jwt", "report.bin", "uvm-endorsement.cose", "hcl-report.bin", "tpm-quote.sig", "ak-chain.pem"] {
        assert_eq!(unreadable(files(&[(name, quote)]).evidence().unwrap_err()), (name, true));
    }
    assert_eq!(unreadable(files(&[("tpm-quote.msg", hcl_report)]).evidence().unwrap_err()), ("tpm-quote.msg", false));
    assert_eq!(unreadable(files(&[("pcrs.json", quote)]).evidence().unwrap_err()).0, "pcrs.json");
    let others = ["key-set.json", "revocation-list.der", "revocation-list-other.der", "revocation-list-maa.der"];
    for name in ["certificates.pem", "vcek.der"].into_iter().chain(others) {
        assert_eq!(unreadable(files(&[(name, quote)]).endorsements().unwrap_err()), (name, true));
    }
    let lists = files(&[(others[1], b"x"), (others[2], b"y"), (others[3], b"z")]);
    assert_eq!(lists.endorsements().unwrap().crls.len(), 3);
}

#[test]
fn endorsements_that_are_none_have_the_errors_of_their_kind() {
    let both = files(&[("certificates.pem", b"a"), ("vcek.der", b"b")]).endorsements().unwrap_err();
    assert_eq!(both, EvidenceFilesError::TwoCertificateFiles);
    assert_eq!(AttestationError::from(both).code(), "misconfigured");
    for (name, content, code) in [
        ("key-set.json", "{}", "invalid-key-set"),
        ("vcek.der", "", "invalid-agent-answer"),
        ("certificates.pem", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", "invalid-agent-answer"),
    ] {
        let error = files(&[(name, content.as_bytes())]).endorsements().unwrap_err();
        assert!(matches!(&error, EvidenceFilesError::Invalid { name: found, .. } if *found == name), "{error}");
        assert_eq!(AttestationError::from(error).code(), code, "{name}");
    }
}
