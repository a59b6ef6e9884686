//! What a successful verification gives.

use std::time::Duration;

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{
    AttestationError, Challenge, Channel, ChipId, Policy, RecordedAttestation, ReportId, ServerNameCheck, Trust,
    UnixTime, Verdict, Violation, verify, verify_recorded,
};
use serde_json::{Value, json};

use crate::scene::*;

const HOUR: u64 = 60 * 60;

#[test]
fn a_bound_container_under_maa() {
    let attested = attest(&container(), &maa_policy()).unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    assert_eq!(attested.key(), Some(&KEY));
    assert_eq!(attested.issued_at(), NOW);
    assert_eq!(attested.expires_at(), NOW.plus(HOUR));
    let claims = attested.claims();
    assert_eq!(claims.tee.snp().unwrap().host_data, host_data());
    assert_eq!(claims.maa.as_ref().unwrap().issuer.as_str(), ISSUER);
    assert_eq!(claims.uvm.as_ref().unwrap().svn, 104);
    assert_eq!(claims.hardware, None, "no one asked for the report");

    let table = attested.to_string();
    let lines: Vec<_> = table.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "passed         channel                   bound to the attested TLS key",
            "passed         server name               validated",
            "passed         freshness                 made for our nonce",
            &format!("passed         workload                  host data {}", host_data()),
        ]
    );
    let verdict = |name| attested.appraisal().check(name).unwrap_or_else(|| panic!("{name}")).verdict;
    for name in ["maa token", "key set", "anchors", "debug", "migration", "uvm issuer", "uvm endorsement"] {
        assert_eq!(verdict(name), Verdict::Passed, "{name}");
    }
    for name in ["kind of tee", "compliance", "vmpl"] {
        assert_eq!(verdict(name), Verdict::Passed, "{name}");
    }
    assert!(matches!(verdict("hardware report"), Verdict::NotEvaluated(_)));
    assert!(attested.appraisal().checks().iter().all(|check| check.verdict != Verdict::Failed));
}

#[test]
fn every_check_has_a_name_of_its_own() {
    for (guest, policy) in [
        (container(), maa_policy()),
        (endorsed_container(), both_policy()),
        (endorsed_container(), amd_policy()),
        (Guest::confidential_vm(), vm_policy()),
    ] {
        let attested = attest(&guest, &policy).unwrap();
        let mut names: Vec<_> = attested.appraisal().checks().iter().map(|check| check.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{attested}");
    }
}

#[test]
fn a_name_that_was_not_looked_at_is_said_so() {
    let challenge = Challenge::bound(KEY, ServerNameCheck::NotEvaluated, NOW).unwrap();
    let evidence = evidence(&container(), &challenge.runtime_data());
    let attested = verify(&evidence, &endorsements(), challenge, &maa_policy(), NOW).unwrap();
    let reason = "goes by the attested key alone (proves what runs, not whose instance it is)";
    assert_eq!(attested.appraisal().check("server name").unwrap().verdict, Verdict::NotEvaluated(reason));
}

#[test]
fn an_attestation_ends_with_the_first_thing_it_rests_on() {
    let expires = |policy, exp: u64| {
        let attested = attest_claims(&endorsed_container(), &policy, |claims| claims.claim("exp", exp));
        attested.unwrap().expires_at()
    };
    let far = NOW.plus(8 * HOUR).as_secs();
    // An hour, unless the policy says otherwise.
    assert_eq!(expires(both_policy(), far), NOW.plus(HOUR));
    assert_eq!(expires(both_policy().require_max_session_age(Duration::from_secs(60)).unwrap(), far), NOW.plus(60));
    // The token.
    assert_eq!(expires(both_policy(), NOW.plus(30).as_secs()), NOW.plus(30));
    let all_day = both_policy().require_max_session_age(Duration::from_secs(24 * HOUR)).unwrap();
    assert_eq!(expires(all_day.clone(), far), NOW.plus(8 * HOUR));
    // A token in its leeway is over already.
    let leeway = attest_claims(&endorsed_container(), &both_policy(), |claims| {
        let issued = NOW.minus(60).as_secs();
        claims.claim("iat", issued).claim("nbf", issued).claim("exp", issued + 1)
    });
    assert_eq!(leeway.unwrap().expires_at(), NOW.minus(59));
    // The certificates, and AMD's list.
    let guest = endorsed_container();
    let challenge = bound();
    let data = challenge.runtime_data();
    let vek = amd().vcek().valid(NOW.minus(HOUR), NOW.plus(90)).issue();
    let mut evidence = evidence(&guest, &data);
    evidence.report = Some(report(&guest, &data).sign(&vek));
    let mut of_short_life = endorsements();
    of_short_life.vek = Some(blindbox_attestation::snp::Vek::from_der(vek.der()));
    let attested = verify(&evidence, &of_short_life, challenge, &all_day, NOW).unwrap();
    assert_eq!(attested.expires_at(), NOW.plus(90));
    let list = amd().crl().this_update(NOW.minus(HOUR)).next_update(Some(NOW.plus(45))).issue();
    let mut with_list = endorsements();
    with_list.crls = vec![blindbox_attestation::snp::Crl::Received(list)];
    let challenge = bound();
    let evidence = crate::scene::evidence(&endorsed_container(), &challenge.runtime_data());
    let attested = verify(&evidence, &with_list, challenge, &all_day, NOW).unwrap();
    assert_eq!(attested.expires_at(), NOW.plus(45));
    // The age of the list that the policy allows.
    let trust = Trust::maa_and_amd(ISSUER).unwrap().require_max_crl_age(Duration::from_secs(HOUR + 20)).unwrap();
    let recent = Policy::confidential_container(trust, workload(), own_uvm()).unwrap();
    let challenge = bound();
    let evidence = crate::scene::evidence(&endorsed_container(), &challenge.runtime_data());
    let attested = verify(&evidence, &with_list, challenge, &recent, NOW).unwrap();
    assert_eq!(attested.expires_at(), NOW.plus(20));
    let recorded = verify_recorded(&evidence, &with_list, &recent, NOW).unwrap();
    assert_eq!(recorded.expires_at(), NOW.plus(20));
}

/// The evidence says nothing of what the peer did after it responded, however late it is verified.
#[test]
fn an_attestation_lives_from_its_challenge() {
    let minute = || maa_policy().require_max_session_age(Duration::from_secs(60)).unwrap();
    let at = |policy: &Policy, now| {
        let challenge = bound();
        let evidence = evidence(&container(), &challenge.runtime_data());
        verify(&evidence, &endorsements(), challenge, policy, now).map(|attested| attested.expires_at())
    };
    assert_eq!(at(&minute(), NOW), Ok(NOW.plus(60)));
    assert_eq!(at(&minute(), NOW.plus(59)), Ok(NOW.plus(60)));
    assert_eq!(at(&maa_policy(), NOW.plus(1800)), Ok(NOW.plus(HOUR)));
    for late in [60, 1800] {
        assert_eq!(at(&minute(), NOW.plus(late)), Err(AttestationError::AttestationExpired));
    }
    // A clock that is set back prolongs nothing, and the evidence ends first all the same.
    assert_eq!(at(&minute(), NOW.minus(30)), Ok(NOW.plus(30)));
    // What is wrong with the evidence is said first.
    let strict = minute().require_vmpl([1]).unwrap();
    assert_eq!(at(&strict, NOW.plus(1800)).unwrap_err().code(), "wrong-vmpl");
}

/// The names of an object's members, and of theirs, in order.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        other => other.clone(),
    }
}

#[test]
fn the_json_of_a_result_keeps_its_names() {
    let mut guest = endorsed_container();
    guest.snp.report_id = ReportId::new([7; 32]);
    let attested = attest(&guest, &both_policy()).unwrap();
    let value = serde_json::to_value(&attested).unwrap();
    let tcb = json!({ "bootloader": "number", "microcode": "number", "snp": "number", "tee": "number" });
    let expected = json!({
        "channel": "text", "server_name": "text", "key": "text", "issued_at": "number", "expires_at": "number",
        "claims": {
            "snp": {
                "measurement": "text", "host_data": "text", "report_data": "text", "report_id": "text",
                "report_guest_svn": "number", "vmpl": "number",
                "policy": {
                    "debug": false, "migrate_ma": false, "smt": true, "single_socket": "text", "cxl_allow": "text",
                    "mem_aes_256_xts": "text", "rapl_dis": "text", "ciphertext_hiding_dram": "text",
                    "page_swap_disable": "text",
                },
                "reported_tcb": tcb, "id_key_digest": "text", "author_key_digest": "text", "family_id": "text",
                "image_id": "text", "chip_id": "text", "product": "text",
            },
            "maa": {
                "issuer": "text", "key_id": "text", "shape": "text", "compliance_status": "text",
                "policy_hash": "text", "token_id": "text", "issued_at": "number", "not_before": "number",
                "expires_at": "number",
            },
            "hardware": {
                "version": "number", "policy": "text", "policy_abi_major": "number", "policy_abi_minor": "number",
                "current_tcb": tcb, "committed_tcb": tcb, "launch_tcb": tcb, "current_firmware": "text",
                "committed_firmware": "text",
                "platform_info": {
                    "raw": "text", "smt_en": true, "tsme_en": false, "ecc_en": "text", "rapl_dis": "text",
                    "ciphertext_hiding_dram_en": "text", "alias_check_complete": "text",
                    "iommu_write_safe": "text", "tio_en": "text",
                },
                "author_key_en": false, "mask_chip_key": false, "signing_key": "text", "report_id_ma": "text",
                "cpuid": { "family": "number", "model": "number", "stepping": "number" },
            },
            "uvm": { "issuer": "text", "feed": "text", "svn": "number", "measurement": "text" },
        },
        "appraisal": [{ "name": "text", "expected": "text", "actual": "text", "verdict": "text" }],
    });
    assert_eq!(shape(&value), expected);
    assert_eq!(value["channel"], "bound");
    assert_eq!(value["server_name"], "validated");
    assert_eq!(value["key"], "ab".repeat(32));
    assert_eq!(value["claims"]["snp"]["report_id"], "07".repeat(32));
    assert_eq!(value["claims"]["maa"]["shape"], "sev-snp-vm");
    assert_eq!(value["claims"]["hardware"]["policy"], "0x000000000003001f");
    assert_eq!(value["claims"]["hardware"]["signing_key"], "vcek");
    assert_eq!(
        value["appraisal"][0],
        json!({
            "name": "channel", "expected": "bound to the attested TLS key",
            "actual": "bound to the attested TLS key", "verdict": "passed",
        })
    );

    let recorded = record(&guest).unwrap();
    let value = serde_json::to_value(&recorded).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["appraisal", "claims", "expires_at", "verified_for"]);
    assert_eq!(
        value["appraisal"][0],
        json!({
            "name": "channel", "expected": "anything", "actual": "none", "verdict": "not-evaluated",
            "why": "recorded evidence has no channel",
        })
    );
}

fn record(guest: &Guest) -> Result<RecordedAttestation, AttestationError> {
    verify_recorded(&evidence(guest, b"{}"), &endorsements(), &both_policy(), NOW)
}

#[test]
fn recorded_evidence_proves_neither_freshness_nor_a_channel() {
    let recorded = record(&endorsed_container()).unwrap();
    assert_eq!(recorded.verified_for(), NOW);
    assert_eq!(recorded.expires_at(), NOW.plus(8 * HOUR), "the end of the token: there is no session to end before");
    for name in ["channel", "freshness"] {
        assert!(matches!(recorded.appraisal().check(name).unwrap().verdict, Verdict::NotEvaluated(_)), "{name}");
    }
    assert_eq!(recorded.appraisal().check("server name"), None);
    // Runtime data that the record claims must be what it covers; without any it is not known.
    let mut evidence = evidence(&endorsed_container(), b"{}");
    evidence.runtime_data = Some(b"{ }".to_vec());
    let refused = verify_recorded(&evidence, &endorsements(), &both_policy(), NOW).unwrap_err();
    assert_eq!(refused.code(), "false-attestation-report");
    evidence.runtime_data = None;
    assert!(verify_recorded(&evidence, &endorsements(), &both_policy(), NOW).is_ok());
}

#[test]
fn a_table_shows_no_more_of_a_machine_than_tells_two_apart() {
    let guest = endorsed_container();
    let (chip, id) = (guest.snp.chip_id.unwrap(), guest.snp.report_id);
    let policy = both_policy().require_chip_ids([chip]).unwrap().require_report_ids([id]).unwrap();
    let attested = attest(&guest, &policy).unwrap();
    let (table, full) = (attested.to_string(), attested.appraisal().full().to_string());
    for whole in [chip.to_string(), id.to_string()] {
        assert!(!table.contains(&whole) && full.contains(&whole), "{table}");
        assert!(table.contains(&format!("{}…", &whole[..8])), "{table}");
    }

    let (other_chip, other_id) = (ChipId::new([0xcc; 64]), ReportId::new([0xdd; 32]));
    let policy = both_policy().require_chip_ids([other_chip, ChipId::new([0xce; 64])]).unwrap();
    let refused = attest(&guest, &policy.require_report_ids([other_id]).unwrap()).unwrap_err();
    let appraisal = refused.appraisal().unwrap();
    let (message, table, full) = (refused.to_string(), appraisal.to_string(), appraisal.full().to_string());
    for whole in [chip.to_string(), id.to_string(), other_chip.to_string(), other_id.to_string()] {
        assert!(!table.contains(&whole) && !message.contains(&whole) && full.contains(&whole), "{table}{message}");
    }
    let Some(Violation::WrongGuestIdentity { field: "report id", expected, actual, .. }) = refused.violation() else {
        panic!("{refused:?}")
    };
    assert_eq!((expected, actual), (&other_id.to_string(), &id.to_string()));
    assert_eq!(
        message,
        format!("attestation validation failed (wrong report id): expected dddddddd…, found {}…", &id.to_string()[..8])
    );
}

#[test]
fn time_is_what_the_caller_says() {
    let challenge = bound();
    let evidence = evidence(&container(), &challenge.runtime_data());
    let later = UnixTime::from_secs(NOW.as_secs() + 9 * HOUR);
    let refused = verify(&evidence, &endorsements(), challenge, &maa_policy(), later).unwrap_err();
    assert_eq!(refused.code(), "invalid-token");
}
