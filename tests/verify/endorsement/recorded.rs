//! Endorsements of real utility VMs: each verifies, and no byte of it that counts can be changed.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::uvm::{
    EndorsementError, EndorsementExpectations, EndorsementForm, PRODUCTION_FEED, PRODUCTION_ISSUER, read_unverified,
    verify,
};

use super::PRODUCTION;
use crate::common::vectors;

#[test]
fn recorded_endorsements_say_what_their_reports_measured() {
    let Some(vectors) = vectors() else { return };
    for (folder, svn) in [
        ("snp-aci-milan-v2-uvm22", 22),
        ("snp-aci-milan-v3-20250617", 101),
        ("snp-aci-milan-v3-20250812", 101),
        ("snp-aci-milan-v3-tav", 101),
        ("snp-aci-genoa-v3-tav", 101),
    ] {
        let folder = vectors.join(folder);
        let verified = verify(&read(&folder.join("uvm.cose")), &PRODUCTION).unwrap();
        let claims = verified.claims();
        let said: serde_json::Value = serde_json::from_slice(&read(&folder.join("expected.json"))).unwrap();
        assert_eq!(claims.svn.to_string(), said["uvm"]["guestsvn"].as_str().unwrap());
        assert_eq!(claims.svn, svn);
        assert_eq!(claims.feed, said["uvm"]["feed"].as_str().unwrap());
        assert_eq!(claims.issuer, said["uvm"]["iss"].as_str().unwrap());
        assert_eq!(claims.measurement.to_string(), said["measurement"].as_str().unwrap());
        assert_eq!(&read(&folder.join("report.bin"))[0x90..0xc0], claims.measurement.as_bytes());
        assert_eq!(verified.form(), EndorsementForm::TextHeaders);
        let (from, to) = verified.leaf_validity();
        assert!(from < verified.signed_at().unwrap() && verified.signed_at().unwrap() < to);
    }
}

#[test]
fn the_recorded_security_context_carries_an_endorsement() {
    let Some(vectors) = vectors() else { return };
    let text = read(&vectors.join("security-context-aci/reference-info-base64"));
    let cose = STANDARD.decode(text.trim_ascii()).unwrap();
    let verified = verify(&cose, &PRODUCTION).unwrap();
    assert_eq!(verified.claims().svn, 100);
    assert_eq!(
        verified.claims().measurement.to_string(),
        "03fea02823189b25d0623a5c81f97c8ba4d2fbc48c914a55ce525f90454ddcec303743dac2fc013f0846912d1412f6df"
    );
}

#[test]
fn the_recorded_hash_envelope_carries_the_measurement_itself() {
    let Some(vectors) = vectors() else { return };
    let cose = read(&vectors.join("uvm-cose-cwt-hash-envelope/uvm_0.2.10.cose"));
    let verified = verify(&cose, &PRODUCTION).unwrap();
    assert_eq!(verified.form(), EndorsementForm::CwtHashEnvelope);
    assert_eq!(verified.claims().svn, 104);
    assert_eq!(
        verified.claims().measurement.to_string(),
        "4904167aa9102a7557b97ac102469f50289d5be76036fcbb8107897ee146a6184772c4ea6e3f050a1bac6951c285bc89"
    );
    assert_eq!(verified.signed_at().unwrap().as_secs(), 1_766_437_887);
}

#[test]
fn every_bit_outside_the_unprotected_header_counts_and_none_inside() {
    flip_bits("uvm-cose-cwt-hash-envelope/uvm_0.2.10.cose", |_, _| true);
    flip_bits("snp-aci-milan-v2-uvm22/uvm.cose", |index, bit| index % 8 == bit);
}

#[test]
#[ignore = "half a minute in a debug build"]
fn every_bit_of_the_long_endorsement_too() {
    flip_bits("snp-aci-milan-v2-uvm22/uvm.cose", |_, _| true);
}

fn flip_bits(file: &str, choose: impl Fn(usize, usize) -> bool + Sync) {
    let Some(vectors) = vectors() else { return };
    let cose = read(&vectors.join(file));
    let genuine = verify(&cose, &PRODUCTION).unwrap();
    let unprotected = unprotected_range(&cose);
    let flip = |indices: std::ops::Range<usize>| {
        let mut changed = cose.clone();
        for (index, bit) in indices.flat_map(|index| (0..8).map(move |bit| (index, bit))) {
            if !choose(index, bit) {
                continue;
            }
            changed[index] ^= 1 << bit;
            let verdict = verify(&changed, &PRODUCTION);
            if unprotected.contains(&index) {
                // A bit that moves the end of the header breaks the document; any other changes nothing.
                match verdict {
                    Ok(verified) => assert_eq!(verified, genuine, "{file} byte {index} bit {bit}"),
                    Err(EndorsementError::Malformed(_)) => {}
                    Err(other) => panic!("{file} byte {index} bit {bit}: {other}"),
                }
            } else {
                assert!(verdict.is_err(), "{file}: byte {index} bit {bit} may be changed");
            }
            changed[index] ^= 1 << bit;
        }
    };
    let middle = cose.len() / 2;
    std::thread::scope(|threads| {
        threads.spawn(|| flip(0..middle));
        flip(middle..cose.len());
    });
}

#[test]
fn every_bit_of_the_content_of_the_recorded_timestamp_may_change() {
    let Some(vectors) = vectors() else { return };
    let cose = read(&vectors.join("snp-aci-milan-v2-uvm22/uvm.cose"));
    let genuine = verify(&cose, &PRODUCTION).unwrap();
    let unprotected = unprotected_range(&cose);
    // a1, the key with its head, 59 and two bytes of length; then nothing but the token.
    let content = unprotected.start + 1 + 10 + 3..unprotected.end;
    let mut changed = cose.clone();
    for index in content {
        changed[index] ^= 0xff;
        assert_eq!(verify(&changed, &PRODUCTION), Ok(genuine.clone()), "byte {index}");
    }
}

#[test]
fn another_unprotected_header_gives_the_same_verdict() {
    let Some(vectors) = vectors() else { return };
    let cose = read(&vectors.join("snp-aci-milan-v2-uvm22/uvm.cose"));
    let genuine = verify(&cose, &PRODUCTION).unwrap();
    let range = unprotected_range(&cose);
    for header in [
        "a0",
        "a1 01 26",                         // alg: ES256
        "a1 02 81 61 78",                   // crit: ["x"]
        "a2 63697373 6178 6466656564 6178", // iss, feed
        "a1 0f a1 01 6178",                 // CWT claims
        "a1 18 21 41 00",                   // x5chain
        "a1 18 22 82 2f 41 00",             // x5t
        "a2 01 01 01 02",                   // the same key twice
        "bf 01 5f 41 01 ff ff",             // indefinite lengths
        "a1 61 ff 01",                      // text that is not UTF-8
        "a1 80 f6",                         // a key that is an array
    ] {
        let header = hex::decode(header.replace(' ', "")).unwrap();
        let other = [&cose[..range.start], &header, &cose[range.end..]].concat();
        assert_eq!(verify(&other, &PRODUCTION), Ok(genuine.clone()));
    }
}

#[test]
fn a_genuine_endorsement_of_something_else_is_refused() {
    let Some(vectors) = vectors() else { return };
    let cose = read(&vectors.join("snp-aci-milan-v2-uvm22/uvm.cose"));
    let other_use = PRODUCTION_ISSUER.replace("59.1.2", "59.1.5");
    assert_eq!(
        verify(&cose, &EndorsementExpectations::new(&other_use, PRODUCTION_FEED)),
        Err(EndorsementError::WrongIssuer { expected: other_use.clone(), actual: PRODUCTION_ISSUER.into() })
    );
    assert_eq!(
        verify(&cose, &EndorsementExpectations::new(PRODUCTION_ISSUER, "ConfAKS-AMD-UVM")),
        Err(EndorsementError::WrongFeed { expected: "ConfAKS-AMD-UVM".into(), actual: PRODUCTION_FEED.into() })
    );
    let upper = PRODUCTION_ISSUER.replace("did:", "DID:");
    assert_eq!(
        verify(&cose, &EndorsementExpectations::new(&upper, PRODUCTION_FEED)),
        Err(EndorsementError::WrongIssuer { expected: upper.clone(), actual: PRODUCTION_ISSUER.into() })
    );
}

#[test]
fn the_inspector_shows_a_recorded_endorsement_and_believes_nothing() {
    let Some(vectors) = vectors() else { return };
    let mut cose = read(&vectors.join("uvm-cose-cwt-hash-envelope/uvm_0.2.10.cose"));
    let last = cose.len() - 1;
    cose[last] ^= 1;
    assert_eq!(verify(&cose, &PRODUCTION), Err(EndorsementError::BadSignature));
    let shown = read_unverified(&cose).unwrap();
    assert_eq!(shown.issuer.as_deref(), Some(PRODUCTION_ISSUER));
    assert_eq!(shown.feed.as_deref(), Some(PRODUCTION_FEED));
    assert_eq!(shown.header_svn, Some(104));
    assert_eq!(shown.algorithm.as_deref(), Some("-38"));
    assert_eq!(shown.chain.len(), 3);
    assert_eq!(shown.chain[0].uses, ["1.3.6.1.4.1.311.76.59.1.1", "1.3.6.1.4.1.311.76.59.1.2"]);
    assert!(shown.chain[0].subject.as_deref().unwrap().contains("CN=ContainerPlat"));
    assert_eq!(
        shown.chain[2].fingerprint.to_string(),
        "23ffe2b8bdb9a1711515d4cffda04bc7f793d513c76c243f1020507d8669b7db"
    );
    assert_eq!(shown.payload.len(), 48);
}

/// Where the unprotected header is: after the tag, the array and the protected byte string of a recorded document.
fn unprotected_range(cose: &[u8]) -> std::ops::Range<usize> {
    assert_eq!(cose[..3], [0xd2, 0x84, 0x59]);
    let start = 5 + usize::from(u16::from_be_bytes([cose[3], cose[4]]));
    let len = read_unverified(cose).unwrap().unprotected_header_len;
    start..start + len
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
