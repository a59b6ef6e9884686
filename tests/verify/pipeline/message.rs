//! Evidence that names a message key (`blindbox-bound-message/1`): the key comes with the response, and is used only if it is named.

use blindbox_attestation::{
    AttestationError, Binding, Challenge, Channel, ChannelNotAllowed, ChannelNotBound, Evidence, GuestIdentity, Policy,
    PolicyError, ServerNameCheck, Sha256Digest, SpkiDigest, TlsExporter, Trust, UvmRequirement, Verdict, Workload,
    verify,
};

use crate::scene::*;

/// The configuration of `shared/channel-vectors`: X25519, the key of RFC 9458 appendix A.
const KEY_CONFIG: &str = "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e798155000400010002";
const DIGEST: &str = "f8f9052c1157644f83ae296395ed9e77366546249331a7bdd58774488c54f8cb";

fn key_config() -> Vec<u8> {
    hex::decode(KEY_CONFIG).unwrap()
}

fn sealed() -> Challenge {
    Challenge::bound_message(ServerNameCheck::Validated, NOW).unwrap()
}

fn policy(trust: Trust, minimum_svn: u64) -> Policy {
    let workload = Workload::binds_its_own_message_key(host_data());
    Policy::confidential_container(trust, workload, UvmRequirement::at_least(minimum_svn)).unwrap()
}

fn maa() -> Policy {
    policy(Trust::maa(ISSUER).unwrap(), 101)
}

fn naming(challenge: &Challenge, key_config: &[u8]) -> Evidence {
    let data = challenge.runtime_data_naming(key_config).unwrap();
    let mut evidence = evidence(&container(), &data);
    evidence.key_config = Some(key_config.to_vec());
    evidence
}

#[test]
fn evidence_that_names_a_message_key_gives_that_key() {
    let challenge = sealed();
    assert_eq!((challenge.channel(), challenge.runtime_data()), (Channel::BoundMessage, Vec::new()));
    let evidence = naming(&challenge, &key_config());
    let attested = verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap();
    let digest = Sha256Digest::from_hex(DIGEST).unwrap();
    assert_eq!(
        (attested.channel(), attested.key(), attested.message_key()),
        (Channel::BoundMessage, None, Some(digest))
    );
    let json = serde_json::to_value(&attested).unwrap();
    assert_eq!((&json["channel"], &json["message_key"]), (&"bound-message".into(), &DIGEST.into()));
    assert_eq!(json["server_name"], "validated-front-end");
    let row = |name| attested.appraisal().check(name).unwrap().clone();
    assert_eq!(row("server name").verdict, Verdict::Passed);
    assert_eq!(row("server name").actual, "validated (front end)");
    assert_eq!(row("channel").actual, "each message sealed to the attested message key");
    assert_eq!(row("key exchange").actual, "X25519");
}

#[test]
fn a_message_key_that_is_not_the_attested_one_is_refused() {
    let verdict = |change: &dyn Fn(&mut Evidence)| {
        let challenge = sealed();
        let mut evidence = naming(&challenge, &key_config());
        change(&mut evidence);
        verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap_err()
    };
    let not_named = |reason| AttestationError::ChannelNotBound { reason };
    // A front end that puts its own key there: each byte counts, the id of the key too.
    for at in [0, 3, 34] {
        let error = verdict(&|evidence| evidence.key_config.as_mut().unwrap()[at] ^= 1);
        assert!(
            matches!(&error, AttestationError::FalseAttestationReport { what: "runtime data", .. }),
            "{at}: {error}"
        );
    }
    // And changes what the agent says it attested, so that both fit.
    let error = verdict(&|evidence| {
        let own: Vec<u8> = key_config().iter().enumerate().map(|(at, byte)| if at == 3 { 0 } else { *byte }).collect();
        let text = String::from_utf8(evidence.runtime_data.clone().unwrap()).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &own);
        evidence.runtime_data = Some(text.replace(DIGEST, &hex::encode(digest)).into_bytes());
        evidence.key_config = Some(own);
    });
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "report data", .. }), "{error}");
    assert_eq!(verdict(&|evidence| evidence.key_config = None), not_named(ChannelNotBound::MessageKeyNotNamed));
    assert_eq!(verdict(&|evidence| evidence.runtime_data = None), not_named(ChannelNotBound::NoRuntimeData));
    for bytes in [Vec::new(), vec![1], [key_config(), vec![0]].concat()] {
        let error = verdict(&|evidence| evidence.key_config = Some(bytes.clone()));
        assert!(matches!(&error, AttestationError::InvalidAgentAnswer { .. }), "{error}");
    }
}

/// An agent that ignores the requested form names its TLS key, with the right nonce.
#[test]
fn evidence_that_names_a_tls_key_is_no_evidence_of_a_message_key() {
    let challenge = sealed();
    let nonce = challenge.nonce();
    let key = "ab".repeat(32);
    let as_server = format!(r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{key}"}}"#);
    let mut evidence = evidence(&container(), as_server.as_bytes());
    evidence.key_config = Some(key_config());
    let error = verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed });
    // And the other way round: evidence of a message key says nothing of a connection.
    let bound = bound();
    let text = sealed().runtime_data_naming(&key_config()).unwrap();
    let mut evidence = crate::scene::evidence(&container(), &text);
    evidence.key_config = Some(key_config());
    let error = verify(&evidence, &endorsements(), bound, &maa_policy(), NOW).unwrap_err();
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error}");
}

/// Of this challenge, whose nonce is the right one.
fn about_a_connection(challenge: &Challenge) -> String {
    let (nonce, exporter, key) = (challenge.nonce(), "ef".repeat(32), "ab".repeat(32));
    format!(
        r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-connection/1","tls-exporter":"{exporter}","tls-spki-sha256":"{key}"}}"#
    )
}

#[test]
fn evidence_about_a_connection_is_none_of_a_message_key() {
    let challenge = sealed();
    let mut evidence = evidence(&container(), about_a_connection(&challenge).as_bytes());
    evidence.key_config = Some(key_config());
    let error = verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed });
}

#[test]
fn evidence_of_a_message_key_is_none_about_a_connection() {
    let (key, exporter) = (SpkiDigest::new([0xab; 32]), TlsExporter::new([0xef; 32]));
    let challenge = Challenge::bound_connection(key, exporter, ServerNameCheck::Validated, NOW).unwrap();
    let workload = Workload::binds_its_own_connection(host_data());
    let trust = Trust::maa(ISSUER).unwrap();
    let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap();
    let expected = String::from_utf8(challenge.runtime_data()).unwrap();
    assert_eq!(expected, about_a_connection(&challenge));
    let evidence = naming(&challenge, &key_config());
    let actual = String::from_utf8(evidence.runtime_data.clone().unwrap()).unwrap();
    let error = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap_err();
    assert_eq!(error, AttestationError::FalseAttestationReport { what: "runtime data", expected, actual });
}

/// Genuine evidence of an instance whose key is of no use: no message could be sealed to it.
#[test]
fn a_message_key_that_nothing_can_be_sealed_to_is_refused() {
    let x_wing = [&[7, 0x64, 0x7a], [0xab; 1216].as_slice(), &[0, 4, 0, 1, 0, 2]].concat();
    for (config, at, part, defect) in [
        (key_config(), 3, 0x00, "its X25519 part has a low order"),
        (x_wing.clone(), 3 + 1184, 0x00, "its X25519 part has a low order"),
        (x_wing, 3, 0xff, "its ML-KEM-768 part has a coefficient above 3328"),
    ] {
        let challenge = sealed();
        let usable = String::from_utf8(challenge.runtime_data_naming(&config).unwrap()).unwrap();
        let sha256 = |bytes: &[u8]| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes));
        let mut unusable = config.clone();
        unusable[at..at + 32].fill(part);
        let reason = format!("the key configuration has no usable public key: {defect}");
        let refused = AttestationError::InvalidAgentAnswer { reason };
        assert_eq!(challenge.runtime_data_naming(&unusable), Err(refused.clone()));
        let mut evidence = evidence(&container(), usable.replace(&sha256(&config), &sha256(&unusable)).as_bytes());
        evidence.key_config = Some(unusable);
        assert_eq!(verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap_err(), refused);
    }
}

#[test]
fn the_policy_decides_whether_messages_are_sealed() {
    let challenge = sealed();
    let evidence = naming(&challenge, &key_config());
    let error = verify(&evidence, &endorsements(), challenge, &maa_policy(), NOW).unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::ChannelMustBeBound });
    for challenge in [bound(), Challenge::unbound_tls(ServerNameCheck::Validated, NOW).unwrap()] {
        let evidence = crate::scene::evidence(&container(), &challenge.runtime_data());
        let error = verify(&evidence, &endorsements(), challenge, &maa(), NOW).unwrap_err();
        assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::MessagesMustBeSealed });
    }
}

#[test]
fn a_policy_can_require_x_wing() {
    let challenge = sealed();
    let evidence = naming(&challenge, &key_config());
    let policy = maa().require_post_quantum().unwrap();
    let error = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap_err();
    assert_eq!(error.code(), "not-post-quantum");
    // TLS ends at the front end: its key exchange does not help.
    let challenge = sealed().key_exchange("X25519MLKEM768");
    let evidence = naming(&challenge, &key_config());
    assert_eq!(verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap_err().code(), "not-post-quantum");
    // A key that messages can be sealed to: the coefficients in these bytes are 2987 and 2746, and the point has no low order.
    let x_wing = [&[7, 0x64, 0x7a], [0xab; 1216].as_slice(), &[0, 4, 0, 1, 0, 2]].concat();
    let challenge = sealed();
    let evidence = naming(&challenge, &x_wing);
    let attested = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap();
    assert_eq!(attested.appraisal().check("key exchange").unwrap().actual, "X-Wing");
}

/// A front end could attest a VM of its own: with the same paravisor, and with any software in it under MAA trust.
#[test]
fn a_confidential_vm_has_no_message_keys() {
    for trust in [Trust::maa(ISSUER).unwrap(), Trust::amd(), Trust::maa_and_amd(ISSUER).unwrap()] {
        let refused = Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), Binding::OwnMessageKey);
        let named = |reason: &str| reason.contains("a confidential VM has no `own-message-key`");
        assert!(matches!(&refused, Err(PolicyError::Contradiction { reason }) if named(reason)), "{refused:?}");
    }
}
