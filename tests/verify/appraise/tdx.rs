//! Guests of Intel TDX under MAA trust: what each requirement and relaxation means for them, and for the other kind of TEE.

use aws_lc_rs::digest::{self, digest};
use blindbox_attestation::claims::TdAttributes;
use blindbox_attestation::emulator::{Guest, TokenClaims};
use blindbox_attestation::{
    AttestationError, BitRequirement, GuestIdentity, GuestPolicyBit, KeyDigest, Measurement, Policy, PolicyError,
    Product, TeeKind, Trust, Verdict, Violation,
};
use serde_json::json;

use super::{allowed, failed, passed, shown};
use crate::scene::*;

const SEPT_VE_DISABLE: u64 = 1 << 28;

fn mrtd() -> Measurement {
    Guest::tdx_vm().tdx.mrtd
}

fn policy_of(guest: GuestIdentity) -> Policy {
    Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, blindbox_attestation::Binding::OwnKey).unwrap()
}

fn policy() -> Policy {
    policy_of(GuestIdentity::measured_tdx([mrtd()]))
}

/// Any VM of the kinds of TEE.
fn any(tees: &[TeeKind]) -> Policy {
    policy_of(GuestIdentity::allow_any_azure_cvm()).require_tee(tees.iter().copied()).unwrap()
}

fn tdx(change: impl FnOnce(&mut Guest)) -> Guest {
    let mut guest = Guest::tdx_vm();
    change(&mut guest);
    guest
}

fn wrong_tee(expected: &'static str, actual: &'static str) -> Violation {
    Violation::WrongTeeKind { expected, actual }
}

#[test]
fn a_guest_of_tdx_passes_where_it_is_named() {
    let attested = attest(&Guest::tdx_vm(), &policy()).unwrap();
    let claims = attested.claims().tee.tdx().unwrap();
    assert_eq!((claims.mrtd, attested.claims().tee.kind()), (mrtd(), TeeKind::Tdx));
    let json = serde_json::to_value(attested.claims()).unwrap();
    assert_eq!(json["tdx"]["mrtd"], mrtd().to_string());
    assert_eq!(json["tdx"]["attributes"]["septve_disable"], true);
    assert_eq!((json.get("snp"), json.get("tee")), (None, None));
    for (name, actual) in [
        ("tee", "Intel TDX".to_owned()),
        ("kind of tee", "a confidential VM".to_owned()),
        ("mrtd", mrtd().to_string()),
        ("tcb status", "UpToDate".to_owned()),
        ("tdx module", "signed by Intel, version 269".to_owned()),
        ("debug", "off".to_owned()),
        ("migration", "off".to_owned()),
        ("td attributes", "0x0000000010000000".to_owned()),
        ("compliance", "azure-compliant-cvm".to_owned()),
    ] {
        passed(Ok(attested.clone()), name, &actual);
    }
    let workload = "Azure CVM: the evidence does not show which operating system or application runs";
    shown(Ok(attested.clone()), "workload", Verdict::NotEvaluated(workload), &format!("mrtd {}", mrtd()));
    // The floor of CVE-2025-49707 is one of versions, which a token of TDX does not state.
    let pinned = "the policy pins the launch measurement";
    shown(Ok(attested), "paravisor", Verdict::NotEvaluated(pinned), &format!("mrtd {}", mrtd()));
    let open = "a token of TDX states no version of the paravisor; pin guest.mrtd";
    let attested = attest(&Guest::tdx_vm(), &any(&[TeeKind::Tdx]));
    shown(attested, "paravisor", Verdict::NotEvaluated(open), &format!("mrtd {}", mrtd()));
}

#[test]
fn tdx_is_never_accepted_unasked_and_each_kind_only_where_it_is_named() {
    let (snp, td) = (Guest::confidential_vm(), Guest::tdx_vm());
    failed(attest(&td, &policy_of(GuestIdentity::allow_any_azure_cvm())), "tee", wrong_tee("SEV-SNP", "Intel TDX"));
    failed(attest(&td, &any(&[TeeKind::Snp])), "tee", wrong_tee("SEV-SNP", "Intel TDX"));
    failed(attest(&snp, &any(&[TeeKind::Tdx])), "tee", wrong_tee("Intel TDX", "SEV-SNP"));
    let both = any(&[TeeKind::Snp, TeeKind::Tdx]);
    passed(attest(&snp, &both), "tee", "SEV-SNP");
    passed(attest(&td, &both), "tee", "Intel TDX");
    allowed(attest(&td, &both), "mrtd", &format!("ANY Azure CVM: {}", mrtd()));
    // Not where a container is expected either, nor the other way round.
    let refused = attest(&td, &maa_policy()).unwrap_err();
    let expected = wrong_tee("a confidential container", "a confidential VM with Intel TDX");
    assert_eq!(refused.violation(), Some(&expected), "{refused}");
    let refused = attest(&container(), &any(&[TeeKind::Tdx])).unwrap_err();
    let expected = wrong_tee("a confidential VM", "a confidential container");
    assert_eq!(refused.violation(), Some(&expected), "{refused}");
}

#[test]
fn the_lists_of_a_guest_are_about_one_kind_each() {
    let snp = Guest::confidential_vm();
    let measured = GuestIdentity::by_measurement([snp.snp.measurement]);
    let both = policy_of(measured.clone().also_measured_tdx([mrtd()]));
    passed(attest(&snp, &both), "launch measurement", &snp.snp.measurement.to_string());
    passed(attest(&Guest::tdx_vm(), &both), "mrtd", &mrtd().to_string());
    let other = Measurement::new([1; 48]);
    let wrong = Violation::WrongMeasurement { expected: vec![mrtd()], actual: other };
    failed(attest(&tdx(|guest| guest.tdx.mrtd = other), &both), "mrtd", wrong);
    // A kind for which there is no list is not accepted by the list of the other.
    let not = |field: &'static str| Violation::NotReported { claim: field };
    let only_snp = policy_of(measured).require_tee([TeeKind::Snp, TeeKind::Tdx]).unwrap();
    failed(attest(&Guest::tdx_vm(), &only_snp), "require.measurements", not("require.measurements"));
    let text = format!(
        "version = 1\nkind = \"confidential-vm\"\nbinding = \"own-key\"\ntrust.maa.issuer = \"{ISSUER}\"\n\
         guest.mrtd = [\"{}\"]\nrequire.tee = [\"snp\", \"tdx\"]\n",
        mrtd()
    );
    let only_tdx = Policy::from_toml(&text).unwrap();
    passed(attest(&Guest::tdx_vm(), &only_tdx), "mrtd", &mrtd().to_string());
    failed(attest(&snp, &only_tdx), "guest.mrtd", not("guest.mrtd"));
}

#[test]
fn a_td_that_the_host_can_look_into_or_move_is_refused() {
    // DEBUG, HGS_PLUS_PROF, PERF_PROF, PMT_PROF, and the bits of the group that have no name yet.
    for bit in 0..8 {
        let guest = tdx(|guest| guest.tdx.attributes = TdAttributes::new(SEPT_VE_DISABLE | 1 << bit));
        failed(attest(&guest, &policy()), "debug", Violation::DebugMode);
        let policy = policy().allow_debug().unwrap();
        allowed(attest(&guest, &policy), "debug", "ON: the host can look into the guest");
    }
    let said = tdx(|guest| guest.tdx.debug_enabled = true);
    failed(attest(&said, &policy()), "debug", Violation::DebugMode);
    for bit in [16, 27, 28, 30, 31, 32, 62, 63] {
        let guest = tdx(|guest| guest.tdx.attributes = TdAttributes::new(SEPT_VE_DISABLE | 1 << bit));
        passed(attest(&guest, &policy()), "debug", "off");
        passed(attest(&guest, &policy()), "td attributes", &format!("{:#018x}", SEPT_VE_DISABLE | 1 << bit));
    }
    let expected = || "SEPT_VE_DISABLE, and no unknown bit that may affect security (8 to 31)".to_owned();
    // The host may inject exceptions into a TD without it.
    for bits in [0, 1 << 30] {
        let guest = tdx(|guest| guest.tdx.attributes = TdAttributes::new(bits));
        let actual = format!("{bits:#018x}, without SEPT_VE_DISABLE");
        let wrong = Violation::WrongGuestIdentity { field: "td attributes", expected: expected(), actual };
        failed(attest(&guest, &policy()), "td attributes", wrong);
    }
    // A bit of the group that may affect security, of a meaning that this release does not know.
    for bit in (8..16).chain(17..27) {
        let guest = tdx(|guest| guest.tdx.attributes = TdAttributes::new(SEPT_VE_DISABLE | 1 << bit));
        let actual = format!("{:#018x}, of which {:#010x} are unknown", SEPT_VE_DISABLE | 1 << bit, 1_u64 << bit);
        let expected = expected();
        let wrong = Violation::WrongGuestIdentity { field: "td attributes", expected, actual };
        failed(attest(&guest, &policy()), "td attributes", wrong.clone());
        // The relaxations of the bits with a meaning are none of it.
        let relaxed = policy().allow_debug().and_then(Policy::allow_migration).unwrap();
        failed(attest(&guest, &relaxed), "td attributes", wrong);
    }
    let moved = tdx(|guest| guest.tdx.attributes = TdAttributes::new(SEPT_VE_DISABLE | 1 << 29));
    failed(attest(&moved, &policy()), "migration", Violation::MigrationAllowed);
    let policy = policy().allow_migration().unwrap();
    allowed(attest(&moved, &policy), "migration", "ON: a migration TD can move the guest");
}

#[test]
fn the_module_and_its_platform_are_up_to_date() {
    let status = |status: &str| tdx(|guest| guest.tdx.tcb_status = status.to_owned());
    let wrong =
        |expected: &str, actual: &str| Violation::WrongTcbStatus { expected: expected.into(), actual: actual.into() };
    for actual in ["OutOfDate", "Revoked", "uptodate", "SWHardeningNeeded"] {
        failed(attest(&status(actual), &policy()), "tcb status", wrong("UpToDate", actual));
    }
    let relaxed = policy().require_tcb_status(["UpToDate", "SWHardeningNeeded"]).unwrap();
    passed(attest(&Guest::tdx_vm(), &relaxed), "tcb status", "UpToDate");
    let shown = "SWHardeningNeeded, which require.tcb-status accepts";
    allowed(attest(&status("SWHardeningNeeded"), &relaxed), "tcb status", shown);
    failed(
        attest(&status("OutOfDate"), &relaxed),
        "tcb status",
        wrong("one of UpToDate, SWHardeningNeeded", "OutOfDate"),
    );
    assert!(relaxed.lint().iter().any(|lint| lint.code == "tcb-status-relaxed"));
    assert!(policy().lint().iter().all(|lint| lint.code != "tcb-status-relaxed"));

    for change in [
        (|guest: &mut Guest| guest.tdx.mrsignerseam = blindbox_attestation::TdxRegister::new([1; 48]))
            as fn(&mut Guest),
        |guest| guest.tdx.seam_attributes = 1,
    ] {
        let refused = attest(&tdx(change), &policy()).unwrap_err();
        let Some(Violation::WrongGuestIdentity { field, expected, .. }) = refused.violation() else {
            panic!("{refused}")
        };
        assert_eq!((*field, expected.as_str()), ("tdx module", "signed by Intel, without attributes"));
    }
}

#[test]
fn what_only_sev_snp_has_is_not_reported_of_tdx() {
    let key = KeyDigest::new([1; 48]);
    let with = |change: fn(Policy) -> Result<Policy, PolicyError>| change(policy()).unwrap();
    let policies = [
        (with(|p| p.require_vmpl([0])), "require.vmpl"),
        (with(|p| p.require_minimum_report_guest_svn(1)), "require.minimum-report-guest-svn"),
        (policy().require_id_keys([key]).unwrap(), "require.id-keys"),
        (policy().require_author_keys([key]).unwrap(), "require.author-keys"),
        (policy().require_measurements([mrtd()]).unwrap(), "require.measurements"),
        (with(|p| p.require_family_ids(["5a".repeat(16).parse().unwrap()])), "require.family-ids"),
        (with(|p| p.require_image_ids(["5a".repeat(16).parse().unwrap()])), "require.image-ids"),
        (with(|p| p.require_chip_ids(["5a".repeat(64).parse().unwrap()])), "require.chip-ids"),
        (with(|p| p.require_report_ids(["5a".repeat(32).parse().unwrap()])), "require.report-ids"),
        (with(|p| p.require_products([Product::Milan])), "require.products"),
        (with(|p| p.require_advisories(["AMD-SB-3019"])), "require.advisories"),
        (with(|p| p.require_guest_policy(GuestPolicyBit::Smt, BitRequirement::Set)), "require.guest-policy"),
    ];
    for (policy, field) in policies {
        failed(attest(&Guest::tdx_vm(), &policy), field, Violation::NotReported { claim: field });
    }
    // And what only TDX has of SEV-SNP.
    let both = any(&[TeeKind::Snp, TeeKind::Tdx]).require_tcb_status(["UpToDate"]).unwrap();
    let field = "require.tcb-status";
    failed(attest(&Guest::confidential_vm(), &both), field, Violation::NotReported { claim: field });
    passed(attest(&Guest::tdx_vm(), &both), "tcb status", "UpToDate");
}

#[test]
fn what_every_vm_has_applies_to_tdx_too() {
    const ID: &str = "6d0c2e4a-1b3f-4c5d-8e7a-90abcdef0123";
    const OTHER: &str = "02fe12ec-5b74-4a1b-b261-8ea46fe9af36";
    let vm = |id: &str| policy().require_vm_ids([id.parse().unwrap()]).unwrap();
    passed(attest(&Guest::tdx_vm(), &vm(ID)), "vm id", ID);
    let wrong = Violation::WrongGuestIdentity { field: "vm id", expected: OTHER.into(), actual: ID.into() };
    failed(attest(&Guest::tdx_vm(), &vm(OTHER)), "vm id", wrong);
    let status = |status: Option<&str>| tdx(|guest| guest.compliance_status = status.map(str::to_owned));
    let expected = || "azure-compliant-cvm".to_owned();
    for actual in [None, Some("azure-compliant-uvm")] {
        let wrong = Violation::NonCompliantUvm { expected: expected(), status: actual.map(str::to_owned) };
        failed(attest(&status(actual), &policy()), "compliance", wrong);
    }
}

/// In another kind of guest, the one who requested the token wrote `x-ms-runtime`.
#[test]
fn the_status_of_a_vm_with_tdx_cannot_be_relaxed() {
    let reason = "a token of Intel TDX is bound through the claims of Azure's paravisor, and only `azure-compliant-cvm` says that they \
                  are; drop `require.compliance-status`";
    let relaxed = policy().require_compliance_status(["azure-compliant-cvm", "azure-signed-vm"]);
    assert_eq!(relaxed.unwrap_err(), PolicyError::Contradiction { reason });
    assert!(policy().require_compliance_status(["azure-compliant-cvm"]).is_ok());
    let both = any(&[TeeKind::Snp, TeeKind::Tdx]).require_compliance_status(["azure-signed-vm"]);
    assert_eq!(both.unwrap_err(), PolicyError::Contradiction { reason });
}

/// The report data cover the claims of the paravisor, which carry what the guest wrote: nothing else binds a token of TDX.
#[test]
fn a_token_of_tdx_is_bound_through_user_data_alone() {
    let change = |change: fn(TokenClaims) -> TokenClaims| attest_claims(&Guest::tdx_vm(), &policy(), change).map(drop);
    assert_eq!(change(|claims| claims), Ok(()));
    let unbound = |verdict: Result<(), AttestationError>, found: &str| match verdict {
        Err(AttestationError::FalseAttestationReport { what: "x-ms-runtime.user-data", expected, actual }) => {
            assert_eq!((expected.len(), expected.ends_with(&"00".repeat(32)), actual.as_str()), (128, true, found));
        }
        other => panic!("{other:?}"),
    };
    unbound(change(|claims| claims.without("x-ms-runtime")), "none");
    unbound(change(|claims| claims.without("x-ms-runtime/user-data")), "none");
    unbound(
        change(|claims| claims.claim("x-ms-runtime/user-data", json!(1))),
        "not the claims of a paravisor: the member user-data is an unsigned integer, expected a string",
    );
    let other = "01".repeat(64);
    let named =
        attest_claims(&Guest::tdx_vm(), &policy(), |claims| claims.claim("x-ms-runtime/user-data", other.clone()));
    unbound(named.map(drop), &other);
    // Not through the data themselves, as a container's.
    let runtime: serde_json::Value = serde_json::from_slice(&bound().runtime_data()).unwrap();
    let named = attest_claims(&Guest::tdx_vm(), &policy(), |claims| claims.claim("x-ms-runtime", runtime));
    unbound(named.map(drop), "not the claims of a paravisor: the member keys is missing");
    // The right value in what is not the claims of a paravisor: nothing says what it means there.
    let right = hex::encode(digest(&digest::SHA256, &bound().runtime_data())) + &"00".repeat(32);
    let object = attest_claims(&Guest::tdx_vm(), &policy(), |claims| {
        claims.claim("x-ms-runtime", json!({ "user-data": right }))
    });
    unbound(object.map(drop), "not the claims of a paravisor: the member keys is missing");
    unbound(
        change(|claims| claims.without("x-ms-runtime/vm-configuration")),
        "not the claims of a paravisor: the member vm-configuration is missing",
    );
    unbound(
        change(|claims| claims.without("x-ms-runtime/keys")),
        "not the claims of a paravisor: the member keys is missing",
    );
    unbound(
        change(|claims| claims.claim("x-ms-runtime/keys", json!([]))),
        "not the claims of a paravisor: they have no attestation key (HCLAkPub)",
    );
}

#[test]
fn a_policy_that_nothing_could_meet_is_refused() {
    let vm = |more: &str| {
        let trust = format!("trust.maa.issuer = \"{ISSUER}\"");
        Policy::from_toml(&format!("version = 1\nkind = \"confidential-vm\"\nbinding = \"own-key\"\n{trust}\n{more}"))
    };
    let any = "guest.allow-any-azure-cvm = true";
    let mrtd = format!("guest.mrtd = [\"{}\"]", mrtd());
    let reason = |policy: Result<Policy, PolicyError>| match policy.unwrap_err() {
        PolicyError::Contradiction { reason } => reason,
        other => panic!("{other}"),
    };
    let asked =
        "`guest.mrtd` and `require.tcb-status` are for guests of Intel TDX; accept them with `require.tee = [\"tdx\"]`";
    assert_eq!(reason(vm(&mrtd)), asked);
    assert_eq!(reason(vm(&format!("{any}\nrequire.tcb-status = [\"UpToDate\"]"))), asked);
    let amd =
        "`trust.amd` verifies hardware reports of AMD, which a guest of Intel TDX does not have; use `trust.maa` alone";
    let both = reason(vm(&format!("{any}\nrequire.tee = [\"tdx\"]\n[trust.amd]")));
    assert!(both == amd || both.starts_with("a confidential VM cannot be judged by its hardware report"), "{both}");
    let which = "`guest.allow-any-azure-cvm` accepts any VM, while `measurements`, `id-keys` or `mrtd` say which; drop one of them";
    assert_eq!(reason(vm(&format!("{any}\n{mrtd}\nrequire.tee = [\"tdx\"]"))), which);
    let old = "`allow.old-paravisor` is for guests of SEV-SNP, which `require.tee` does not accept";
    assert_eq!(reason(vm(&format!("{any}\nrequire.tee = [\"tdx\"]\nallow.old-paravisor = true"))), old);
    let vms = "`require.tee`, `require.tcb-status` and `guest.mrtd` are for confidential VMs; drop them";
    assert_eq!(reason(maa_policy().require_tee([TeeKind::Tdx])), vms);

    let unusable = |reason| Err(PolicyError::UnusableValue { requirement: "require.tcb-status", reason });
    assert_eq!(
        policy().require_tcb_status(["Revoked"]),
        unusable("`Revoked` means that the platform's keys are known to others")
    );
    let unset = "is empty or all zero, which in evidence means that nothing was set";
    assert_eq!(policy().require_tcb_status([""]), unusable(unset));
    let empty = |requirement| Err(PolicyError::EmptyList { requirement });
    assert_eq!(policy_of(GuestIdentity::allow_any_azure_cvm()).require_tee([]), empty("require.tee"));
    assert_eq!(policy().require_tcb_status([""; 0]), empty("require.tcb-status"));
    // A list of MRTD names the kind already.
    let twice = PolicyError::GivenTwice { requirement: "require.tee" };
    assert_eq!(policy().require_tee([TeeKind::Tdx]), Err(twice));
    let read = Policy::from_toml(&policy().to_toml()).unwrap();
    assert_eq!((read.clone(), Policy::from_json(&read.to_json()).unwrap()), (policy(), policy()));
}

/// What is left open is said of the kinds that are accepted, and of no other.
#[test]
fn lint_speaks_of_the_accepted_kinds() {
    let codes = |policy: &Policy| policy.lint().iter().map(|lint| lint.code).collect::<Vec<_>>();
    assert_eq!(codes(&policy()), ["workload-not-evaluated", "another-vm", "secure-boot-not-required"]);
    let open =
        ["workload-not-evaluated", "any-vm", "another-vm", "secure-boot-not-required", "tdx-paravisor-not-shown"];
    assert_eq!(codes(&any(&[TeeKind::Tdx])), open);
    let both = codes(&any(&[TeeKind::Snp, TeeKind::Tdx]));
    for code in ["tdx-paravisor-not-shown", "no-advisory-floors", "no-minimum-tcb", "any-chip"] {
        assert!(both.contains(&code), "{both:?}");
    }
    let snp = codes(&policy_of(GuestIdentity::allow_any_azure_cvm()));
    assert!(!snp.contains(&"tdx-paravisor-not-shown"), "{snp:?}");
}
