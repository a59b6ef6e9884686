//! Files of the evidence of confidential VMs, shown without being verified.

use blindbox_attestation::files::{self, FileError};
use blindbox_attestation::inspect::{EvidenceKind, InspectError, inspect};
use serde_json::Value;

use crate::common::vectors;

fn show(bytes: &[u8]) -> (EvidenceKind, bool, Value) {
    let shown = inspect(bytes).unwrap();
    let [one] = shown.as_slice() else { panic!("{shown:?}") };
    (one.kind(), one.is_verified(), serde_json::to_value(one).unwrap())
}

#[test]
fn each_file_of_a_recorded_vm_is_recognised() {
    let Some(vectors) = vectors() else { return };
    let folder = vectors.join("az-cvm-milan-v3-aik");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let blob = read("hcl_report.bin");
    for form in [blob.clone(), hex::encode(&blob).into_bytes()] {
        let (kind, verified, shown) = show(&form);
        assert_eq!((kind, verified), (EvidenceKind::HclReport, false));
        assert_eq!((&shown["kind"], &shown["tee"]), (&"hcl-report".into(), &"sev-snp".into()));
        let vm = &shown["runtime_claims"]["vm_configuration"];
        assert_eq!(vm["vm_id"], "bdd43c6f-0b79-4d3f-be6a-c594af3baf6e");
        assert!(shown["why"].as_str().unwrap().contains("covers its runtime claims"), "{shown}");
    }
    let (kind, verified, shown) = show(&read("tpm_quote.msg"));
    assert_eq!((kind, verified), (EvidenceKind::TpmQuote, false));
    assert_eq!(shown["quote"]["selected_pcrs"].as_array().unwrap().len(), 24);
    assert!(shown["quote"]["extra_data"].as_str().unwrap().starts_with("0a61737b"));
    let (kind, ..) = show(&read("tpm_quote_raw.bin")[147..]);
    assert_eq!(kind, EvidenceKind::TpmSignature);
    let (kind, _, shown) = show(&read("pcrs.json"));
    assert_eq!((kind, shown["values"].as_array().unwrap().len()), (EvidenceKind::PcrValues, 24));
    let (kind, verified, shown) = show(&read("aik_cert.der"));
    assert_eq!((kind, verified), (EvidenceKind::Certificate, true));
    assert!(shown["why"].as_str().unwrap().contains("attestation key of a confidential VM"), "{shown}");

    // Claims that the report in the blob does not cover are not shown as claims.
    let mut changed = blob;
    changed[0x4d4 + 20] ^= 1;
    let (_, _, shown) = show(&changed);
    assert_eq!(shown["runtime_claims"], Value::Null);
    assert!(shown["why"].as_str().unwrap().contains("would be refused"), "{shown}");
    let td = std::fs::read(vectors.join("az-tdx-with-ak-chain/hcl_report.bin")).unwrap();
    let (_, _, shown) = show(&td);
    assert_eq!((&shown["tee"], &shown["report"]), (&"tdx".into(), &Value::Null));
    assert_eq!(shown["runtime_claims"]["vm_configuration"]["vm_id"], "3c18c97a-0d2a-4565-969d-166cdcef26a3");
}

#[test]
fn what_begins_as_evidence_and_is_none_says_why() {
    assert!(matches!(inspect(b"HCLA\0"), Err(InspectError::HclReport(_))));
    assert!(matches!(inspect(&[0xff, 0x54, 0x43, 0x47, 0x80, 0x18]), Err(InspectError::TpmQuote(_))));
    let value = "ab".repeat(32);
    let array = |count: usize| format!("[{}]", vec![format!("\"{value}\""); count].join(","));
    assert_eq!(files::read_pcrs(array(24).as_bytes()).map(|values| values.len()), Ok(24));
    assert_eq!(files::read_pcrs(array(1).to_uppercase().as_bytes()).map(|values| values.len()), Ok(1));
    for other in [array(0), array(25), "{}".into(), "[1]".into(), format!("[\"{value}00\"]"), "x".into()] {
        assert_eq!(files::read_pcrs(other.as_bytes()), Err(FileError::NotPcrs), "{other}");
    }
}
