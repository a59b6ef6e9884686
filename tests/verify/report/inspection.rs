//! A report that is shown without being verified.

use blindbox_attestation::snp::UnverifiedReport;
use serde_json::{Value, json};

/// Each field has the bytes that AMD's table (56860 table 23) gives it.
#[test]
fn every_field_is_shown_from_its_place() {
    // No two bytes that follow each other are equal, and no two rows of 256.
    let report: Vec<u8> = (0..1184_u32).map(|at| u8::try_from((at * 7 + at / 256 * 31) % 251).unwrap()).collect();
    let shown = serde_json::to_value(UnverifiedReport::read(&report).unwrap()).unwrap();
    let bytes = |at: usize, len: usize| &report[at..at + len];
    let text = |at, len| json!(hex::encode(bytes(at, len)));
    let byte = |at: usize| json!(report[at]);
    let number = |at| u32::from_le_bytes(bytes(at, 4).try_into().unwrap());
    let flags = |at| json!(format!("{:#018x}", u64::from_le_bytes(bytes(at, 8).try_into().unwrap())));
    let expected: Value = json!({
        "version": number(0x00),
        "guest_svn": number(0x04),
        "policy": flags(0x08),
        "family_id": text(0x10, 16),
        "image_id": text(0x20, 16),
        "vmpl": number(0x30),
        "signature_algo": number(0x34),
        "current_tcb": text(0x38, 8),
        "platform_info": flags(0x40),
        "key_info": format!("{:#010x}", number(0x48)),
        "report_data": text(0x50, 64),
        "measurement": text(0x90, 48),
        "host_data": text(0xc0, 32),
        "id_key_digest": text(0xe0, 48),
        "author_key_digest": text(0x110, 48),
        "report_id": text(0x140, 32),
        "report_id_ma": text(0x160, 32),
        "reported_tcb": text(0x180, 8),
        "cpuid_family": byte(0x188),
        "cpuid_model": byte(0x189),
        "cpuid_stepping": byte(0x18a),
        "chip_id": text(0x1a0, 64),
        "committed_tcb": text(0x1e0, 8),
        "current_build": byte(0x1e8),
        "current_minor": byte(0x1e9),
        "current_major": byte(0x1ea),
        "committed_build": byte(0x1ec),
        "committed_minor": byte(0x1ed),
        "committed_major": byte(0x1ee),
        "launch_tcb": text(0x1f0, 8),
        "launch_mit_vector": flags(0x1f8),
        "current_mit_vector": flags(0x200),
        "signature_r": text(0x2a0, 72),
        "signature_s": text(0x2e8, 72),
    });
    assert_eq!(shown, expected);
}
