//! Step 4: this nonce, this key, this TEE.

use blindbox_attestation::emulator::{Guest, TokenClaims};
use blindbox_attestation::{
    AttestationError, Binding, Challenge, Channel, ChannelNotAllowed, ChannelNotBound, Evidence, GuestIdentity,
    MaaIssuer, Policy, ServerNameCheck, SpkiDigest, TlsExporter, Trust, UvmRequirement, Workload, verify,
    verify_unappraised,
};
use serde_json::json;

use crate::scene::*;

fn false_report(result: Result<impl std::fmt::Debug, AttestationError>, named: &str) {
    match result {
        Err(AttestationError::FalseAttestationReport { what, .. }) => assert_eq!(what, named),
        other => panic!("{named}: {other:?}"),
    }
}

const UNBOUND: fn(blindbox_attestation::UnixTime) -> Result<Challenge, AttestationError> =
    |now| Challenge::unbound_tls(ServerNameCheck::Validated, now);

#[test]
fn evidence_for_another_nonce_is_refused_under_every_trust() {
    for policy in [maa_policy(), both_policy(), amd_policy()] {
        let guest = if policy == maa_policy() { container() } else { endorsed_container() };
        let old = bound();
        // All of it is of the old challenge.
        let evidence_of_old = evidence(&guest, &old.runtime_data());
        false_report(verify(&evidence_of_old, &endorsements(), bound(), &policy, NOW), "runtime data");
        // The runtime data is made to fit.
        let challenge = bound();
        let mut replayed = evidence_of_old;
        replayed.runtime_data = Some(challenge.runtime_data());
        false_report(verify(&replayed, &endorsements(), challenge, &policy, NOW), "report data");
    }
}

/// What is verified without a policy is of one challenge as well.
#[test]
fn evidence_without_a_policy_covers_its_runtime_data() {
    let challenge = bound();
    let mut evidence = evidence(&container(), &challenge.runtime_data());
    // Only Microsoft's endorsements are verified without a policy.
    evidence.uvm_endorsement = None;
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let unappraised = |evidence: &Evidence| verify_unappraised(evidence, &endorsements(), Some(&issuer), NOW);
    assert_eq!(unappraised(&evidence).err(), None);
    evidence.runtime_data = Some(bound().runtime_data());
    false_report(unappraised(&evidence), "report data");
}

/// A policy for a confidential VM that trusts AMD needs the report of the paravisor and a quote.
#[test]
fn what_a_vm_must_present_is_named_when_it_is_missing() {
    let any = GuestIdentity::allow_any_azure_cvm();
    let policy = Policy::confidential_vm(Trust::amd(), any, Binding::OwnKey).unwrap();
    let missing = |what| Some(AttestationError::MissingEvidence { what });
    let challenge = bound();
    let mut evidence = evidence(&container(), &challenge.runtime_data());
    let refused = verify(&evidence, &endorsements(), challenge, &policy, NOW).err();
    assert_eq!(refused, missing("the report of the paravisor (HCL report)"));
    evidence.hcl_report = Some(Vec::new());
    let refused = verify(&evidence, &endorsements(), bound(), &policy, NOW).err();
    assert_eq!(refused, missing("a quote of the virtual TPM"));
}

#[test]
fn evidence_that_names_another_key_is_a_channel_mismatch() {
    let other = SpkiDigest::new([0xcd; 32]);
    for policy in [maa_policy(), both_policy(), amd_policy()] {
        let guest = if policy == maa_policy() { container() } else { endorsed_container() };
        let challenge = bound();
        let text = String::from_utf8(challenge.runtime_data()).unwrap();
        let named = text.replace(&KEY.to_string(), &other.to_string());
        let verdict = verify(&evidence(&guest, named.as_bytes()), &endorsements(), challenge, &policy, NOW);
        assert_eq!(verdict, Err(AttestationError::ChannelMismatch { attested: other, connected: KEY }));
    }
}

const EXPORTER: TlsExporter = TlsExporter::new([0xef; 32]);

fn bound_connection() -> Challenge {
    Challenge::bound_connection(KEY, EXPORTER, ServerNameCheck::Validated, NOW).unwrap()
}

/// The same workload, whose connections must be named.
fn own_connection_policy() -> Policy {
    let workload = Workload::binds_its_own_connection(host_data());
    let trust = Trust::maa(ISSUER).unwrap();
    Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap()
}

#[test]
fn evidence_about_a_connection_is_bound_to_it() {
    let challenge = bound_connection();
    let evidence = evidence(&container(), &challenge.runtime_data());
    let attested = verify(&evidence, &endorsements(), challenge, &own_connection_policy(), NOW).unwrap();
    assert_eq!((attested.channel(), attested.key()), (Channel::BoundConnection, Some(&KEY)));
}

/// Every byte of the runtime data counts; the error names what differs.
#[test]
fn evidence_about_another_connection_is_refused() {
    let (other_key, other) = (SpkiDigest::new([0xcd; 32]), TlsExporter::new([0xcd; 32]));
    let verdict = |change: &dyn Fn(String) -> String| {
        let challenge = bound_connection();
        let changed = change(String::from_utf8(challenge.runtime_data()).unwrap());
        let evidence = evidence(&container(), changed.as_bytes());
        verify(&evidence, &endorsements(), challenge, &own_connection_policy(), NOW).unwrap_err()
    };
    let mismatch = AttestationError::ConnectionMismatch { attested: other, connected: EXPORTER };
    assert_eq!(verdict(&|text| text.replace(&EXPORTER.to_string(), &other.to_string())), mismatch);
    let mismatch = AttestationError::ChannelMismatch { attested: other_key, connected: KEY };
    assert_eq!(verdict(&|text| text.replace(&KEY.to_string(), &other_key.to_string())), mismatch);
    // The form that names the key alone, with the right one, is not enough.
    let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::ConnectionNotNamed };
    let exporter = format!(r#""tls-exporter":"{EXPORTER}","#);
    let as_server = |text: String| text.replace(&exporter, "").replace("bound-connection", "bound-server");
    assert_eq!(verdict(&as_server), not_named);
    let others: [&dyn Fn(String) -> String; 5] = [
        &|text| text.replace(':', ": "),
        &|text| text.replace("bound-connection/1", "bound-connection/2"),
        &|text| text.replace("bound-connection", "bound-server"),
        &|text| text.replace(&exporter, ""),
        &|text| text.replace('}', r#","more":1}"#),
    ];
    for change in others {
        let error = verdict(change);
        false_report(Err::<(), _>(error), "runtime data");
    }
}

/// Evidence of one form is none of the other, in either direction.
#[test]
fn evidence_about_a_connection_is_none_about_the_key_alone() {
    let challenge = bound();
    let text = String::from_utf8(challenge.runtime_data()).unwrap();
    let exporter = format!(r#"bound-connection/1","tls-exporter":"{EXPORTER}""#);
    let evidence = evidence(&container(), text.replace("bound-server/1\"", &exporter).as_bytes());
    false_report(verify(&evidence, &endorsements(), challenge, &maa_policy(), NOW), "runtime data");
}

#[test]
fn an_answer_without_runtime_data_is_an_old_agents() {
    for policy in [maa_policy(), both_policy(), amd_policy()] {
        let guest = if policy == maa_policy() { container() } else { endorsed_container() };
        let challenge = bound();
        let mut evidence = evidence(&guest, &challenge.runtime_data());
        evidence.runtime_data = None;
        let verdict = verify(&evidence, &endorsements(), challenge, &policy, NOW);
        assert_eq!(verdict, Err(AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData }));
    }
}

#[test]
fn the_runtime_data_is_this_text_and_no_other() {
    let changes: [fn(String) -> String; 7] = [
        |text| text.replace(':', ": "),
        |text| text + " ",
        |text| text.replace("blindbox-bound-server/1", "blindbox-bound-server/2"),
        |text| text.replace("blindbox-bound-server/1", "blindbox-bound-client/1"),
        |text| text.replace('}', r#","more":1}"#),
        |text| text.to_uppercase(),
        |_| String::new(),
    ];
    for change in changes {
        let challenge = bound();
        let changed = change(String::from_utf8(challenge.runtime_data()).unwrap());
        let evidence = evidence(&container(), changed.as_bytes());
        false_report(verify(&evidence, &endorsements(), challenge, &maa_policy(), NOW), "runtime data");
    }
}

#[test]
fn all_64_bytes_of_the_report_data_count() {
    for at in [0, 31, 32, 63] {
        let challenge = bound();
        let mut report_data = *blindbox_attestation::emulator::report_data(&challenge.runtime_data()).as_bytes();
        report_data[at] ^= 1;
        let text = hex::encode(report_data);
        let verdict = attest_for(challenge, &container(), |claims| claims.claim("x-ms-sevsnpvm-reportdata", text));
        false_report(verdict, "report data");
        let challenge = bound();
        let data = challenge.runtime_data();
        let mut report_data = *blindbox_attestation::emulator::report_data(&data).as_bytes();
        report_data[at] ^= 1;
        let mut evidence = evidence(&endorsed_container(), &data);
        evidence.report = Some(report(&endorsed_container(), &data).report_data(report_data).sign(vek()));
        false_report(verify(&evidence, &endorsements(), challenge, &amd_policy(), NOW), "report data");
    }
}

fn attest_for(
    challenge: Challenge,
    guest: &Guest,
    change: impl FnOnce(TokenClaims) -> TokenClaims,
) -> Result<blindbox_attestation::Attestation, AttestationError> {
    let data = challenge.runtime_data();
    let mut evidence = evidence(guest, &data);
    evidence.token = Some(sign(&change(claims(guest, &data))));
    let policy =
        if guest.compliance_status.as_deref() == Some("azure-compliant-cvm") { vm_policy() } else { maa_policy() };
    verify(&evidence, &endorsements(), challenge, &policy, NOW)
}

#[test]
fn what_maa_saw_as_runtime_data_must_be_ours() {
    let changes: [fn(TokenClaims) -> TokenClaims; 5] = [
        |claims| claims.without("x-ms-runtime"),
        |claims| claims.claim("x-ms-runtime", json!({})),
        |claims| claims.claim("x-ms-runtime/nonce", "00".repeat(32)),
        |claims| claims.claim("x-ms-runtime/more", 1),
        |claims| claims.without("x-ms-runtime/protocol"),
    ];
    for change in changes {
        false_report(attest_claims(&container(), &maa_policy(), change), "x-ms-runtime");
    }
    // Order and white space are MAA's to choose.
    let turned = attest_claims(&container(), &maa_policy(), |claims| {
        let runtime = claims.value()["x-ms-runtime"].clone();
        let members: Vec<_> =
            runtime.as_object().unwrap().iter().rev().map(|(name, value)| format!("{name:?} : {value}")).collect();
        let from = format!(r#""x-ms-runtime":{runtime}"#);
        claims.replace_text(from, format!(r#""x-ms-runtime": {{ {} }}"#, members.join(" , ")))
    });
    assert_eq!(turned.unwrap().channel(), Channel::Bound);
}

#[test]
fn a_token_from_before_the_question_is_no_answer() {
    let challenge = || Challenge::bound(KEY, ServerNameCheck::Validated, NOW).unwrap();
    let issued = |ago: u64| {
        move |claims: TokenClaims| {
            let at = NOW.minus(ago).as_secs();
            claims.claim("iat", at).claim("nbf", at)
        }
    };
    assert!(attest_for(challenge(), &container(), issued(60)).is_ok());
    false_report(attest_for(challenge(), &container(), issued(61)), "a token issued after");
    false_report(attest_for(challenge(), &Guest::confidential_vm(), issued(61)), "a token issued after");
}

#[test]
fn a_vm_answers_in_its_client_payload() {
    let vm = Guest::confidential_vm();
    let verdict = attest_for(bound(), &vm, |claims| claims).unwrap();
    assert_eq!((verdict.channel(), verdict.key()), (Channel::Bound, Some(&KEY)));
    const NONCE: &str = "x-ms-runtime.client-payload.nonce";
    const PATH: &str = "x-ms-runtime/client-payload/nonce";
    let changes: [fn(TokenClaims) -> TokenClaims; 9] = [
        |claims| claims.without("x-ms-runtime"),
        |claims| claims.without("x-ms-runtime/client-payload"),
        |claims| claims.claim("x-ms-runtime/client-payload", json!({})),
        |claims| claims.claim("x-ms-runtime/client-payload/more", "x"),
        |claims| claims.claim(PATH, ""),
        |claims| claims.claim(PATH, "AAAA"),
        |claims| claims.claim(PATH, "not base64!"),
        // The digits themselves, and the digest itself, are not base64 of the digits.
        |claims| claims.claim(PATH, "00".repeat(32)),
        // What binds a container binds no VM.
        |claims| {
            let nested = claims.value()["x-ms-isolation-tee"].clone();
            claims.without("x-ms-runtime").claim("x-ms-isolation-tee/x-ms-runtime", nested)
        },
    ];
    for change in changes {
        false_report(attest_for(bound(), &vm, change), NONCE);
    }
    // Of another challenge.
    let other = bound();
    let challenge = bound();
    let mut evidence = evidence(&vm, &other.runtime_data());
    evidence.runtime_data = Some(challenge.runtime_data());
    false_report(verify(&evidence, &endorsements(), challenge, &vm_policy(), NOW), NONCE);
}

#[test]
fn the_nested_runtime_of_a_vm_is_not_ours_to_compare() {
    // A man in the middle gets a genuine VM token over a nonce of its own choice, and writes ours where the report binds it.
    let vm = Guest::confidential_vm();
    let verdict = attest_for(bound(), &vm, |claims| {
        let zeros = "0".repeat(128);
        claims.claim("x-ms-isolation-tee/x-ms-sevsnpvm-reportdata", zeros)
    });
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[test]
fn a_policy_admits_the_challenges_of_its_own_kind_only() {
    let of =
        |workload| Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload, UvmRequirement::at_least(101));
    let own_key = of(workload()).unwrap();
    let own_connection = own_connection_policy();
    let any_data = of(Workload::attests_any_data(host_data())).unwrap();
    let unbound = any_data.clone().allow_unbound_channel().unwrap();
    let in_clear = unbound.clone().allow_unbound_plain_http().unwrap();
    let vm = |binding| {
        let guest = GuestIdentity::allow_any_azure_cvm();
        Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, binding).unwrap()
    };
    let (vm_own_key, vm_own_connection) = (vm(Binding::OwnKey), vm(Binding::OwnConnection));
    let vm_unbound = vm(Binding::None).allow_unbound_channel().unwrap();

    // Without a key in the evidence, the name of the application's server is all that says who the peer is.
    let make: [fn() -> Challenge; 6] = [
        bound,
        bound_connection,
        || UNBOUND(NOW).unwrap(),
        || Challenge::unbound_cleartext(NOW).unwrap(),
        || Challenge::unbound_tls(ServerNameCheck::NotEvaluated, NOW).unwrap(),
        || Challenge::unbound_tls(ServerNameCheck::ValidatedFrontEnd, NOW).unwrap(),
    ];
    let name = ChannelNotAllowed::NameNotValidated;
    let (no, must, http) =
        (ChannelNotAllowed::WorkloadDoesNotBind, ChannelNotAllowed::ChannelMustBeBound, ChannelNotAllowed::PlainHttp);
    let must_name = ChannelNotAllowed::ConnectionMustBeBound;
    let (bound_tls, tls, clear) = (Ok(Channel::Bound), Ok(Channel::UnboundTls), Ok(Channel::UnboundCleartext));
    let connection = Ok(Channel::BoundConnection);
    let container = container();
    let vm = Guest::confidential_vm();
    for (said, policy, guest, expected) in [
        ("own key", &own_key, &container, [bound_tls, Err(must), Err(must), Err(must), Err(must), Err(must)]),
        (
            "own connection",
            &own_connection,
            &container,
            [Err(must_name), connection, Err(must_name), Err(must_name), Err(must_name), Err(must_name)],
        ),
        ("any data", &any_data, &container, [Err(no); 6]),
        ("unbound", &unbound, &container, [Err(no), Err(no), tls, Err(http), Err(name), Err(name)]),
        ("in clear", &in_clear, &container, [Err(no), Err(no), tls, clear, Err(name), Err(name)]),
        ("vm, own key", &vm_own_key, &vm, [bound_tls, Err(must), Err(must), Err(must), Err(must), Err(must)]),
        (
            "vm, own connection",
            &vm_own_connection,
            &vm,
            [Err(must_name), connection, Err(must_name), Err(must_name), Err(must_name), Err(must_name)],
        ),
        ("vm, unbound", &vm_unbound, &vm, [Err(no), Err(no), tls, Err(http), Err(name), Err(name)]),
    ] {
        for (make, expected) in make.iter().zip(expected) {
            let challenge = make();
            let evidence = evidence(guest, &challenge.runtime_data());
            let verdict = verify(&evidence, &endorsements(), challenge, policy, NOW);
            let expected = expected.map_err(|reason| AttestationError::ChannelNotAllowed { reason });
            assert_eq!(verdict.map(|attested| attested.channel()), expected, "{said}");
        }
    }
}

#[test]
fn a_bound_answer_never_makes_an_unbound_channel_bound() {
    let any_data = Workload::attests_any_data(host_data());
    let policy =
        Policy::confidential_container(Trust::maa(ISSUER).unwrap(), any_data, UvmRequirement::at_least(101)).unwrap();
    let policy = policy.allow_unbound_channel().unwrap();
    let challenge = UNBOUND(NOW).unwrap();
    let data = challenge.runtime_data();
    let mut evidence = evidence(&container(), &data);
    // Whatever the agent says it attested: an unbound policy does not ask.
    evidence.runtime_data = Some(bound().runtime_data());
    let attested = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap();
    assert_eq!((attested.channel(), attested.key()), (Channel::UnboundTls, None));
    assert!(attested.to_string().starts_with("ALLOWED        channel"), "{attested}");
}

/// The report of a confidential VM covers the claims of the paravisor, which carry what the guest wrote.
#[test]
fn a_direct_token_of_a_vm_is_bound_through_the_claims_of_the_paravisor() {
    let guest = Guest::confidential_vm_direct();
    let any = GuestIdentity::allow_any_azure_cvm();
    let policy = Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), any, Binding::OwnKey).unwrap();
    let policy = policy.allow_direct_vm_token().unwrap();
    assert_eq!(attest(&guest, &policy).unwrap().channel(), Channel::Bound);
    let user_data =
        |text: String| attest_claims(&guest, &policy, |claims| claims.claim("x-ms-runtime/user-data", text));
    let digest = |runtime_data: &[u8]| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, runtime_data));
    const NAMED: &str = "x-ms-runtime.user-data";
    false_report(user_data("00".repeat(64)), NAMED);
    false_report(user_data(digest(b"another challenge") + &"00".repeat(32)), NAMED);
    false_report(user_data(String::new()), NAMED);
    let missing = attest_claims(&guest, &policy, |claims| claims.without("x-ms-runtime/user-data"));
    false_report(missing, NAMED);
    // Both halves are compared, and the case of the digits does not matter.
    let challenge = bound();
    for (rest, upper, accepted) in [("00", false, true), ("00", true, true), ("01", false, false)] {
        let text = digest(&challenge.runtime_data()) + &"00".repeat(31) + rest;
        let text = if upper { text.to_uppercase() } else { text };
        let claims = claims(&guest, &challenge.runtime_data()).claim("x-ms-runtime/user-data", text);
        let mut evidence = evidence(&guest, &challenge.runtime_data());
        evidence.token = Some(sign(&claims));
        let recorded = blindbox_attestation::verify_recorded(&evidence, &endorsements(), &policy, NOW);
        if accepted { drop(recorded.unwrap()) } else { false_report(recorded, NAMED) }
    }
    // A container has no paravisor: its report covers the runtime data themselves.
    let text = digest(&bound().runtime_data()) + &"00".repeat(32);
    let container =
        attest_claims(&container(), &maa_policy(), |claims| claims.claim("x-ms-runtime", json!({ "user-data": text })));
    false_report(container, "x-ms-runtime");
}
