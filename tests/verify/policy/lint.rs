//! What a policy leaves open, as its lints report it.

use blindbox_attestation::advisories::Advisory;
use blindbox_attestation::{
    AttestedKeyRequirement, Binding, BitRequirement, ChipId, GuestIdentity, Measurement, Policy, Product, Sha256Digest,
    SigningKey, TcbMinima, TcbMinimum, Trust, UvmRequirement, Workload,
};

use super::{OWN_ISSUER, SHARED, container, everything, host_data};

#[test]
fn what_stays_open_of_a_vm_is_said() {
    let value = blindbox_attestation::Sha256Digest::new([1; 32]);
    let codes = |pcrs: &[u8]| {
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = pcrs.iter().fold(guest, |guest, index| guest.pcr(*index, [value]));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        let of_interest = [
            "any-guest-os",
            "pcrs-without-boot-loader",
            "kernel-image-without-overrides",
            "system-extensions-not-required",
        ];
        let found: Vec<_> = policy.lint().into_iter().map(|lint| lint.code).collect();
        found.into_iter().filter(|code| of_interest.contains(code)).collect::<Vec<_>>()
    };
    assert_eq!(codes(&[]), ["any-guest-os"]);
    assert_eq!(codes(&[7]), ["any-guest-os"]);
    // The boot loader alone starts any command line and initial file system.
    assert_eq!(codes(&[4]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 7]), ["any-guest-os"]);
    assert_eq!(codes(&[9]), ["any-guest-os", "pcrs-without-boot-loader"]);
    assert_eq!(codes(&[8, 9, 11, 12]), ["any-guest-os", "pcrs-without-boot-loader"]);
    assert_eq!(codes(&[4, 8]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 9]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 12]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 8, 12]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 11]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 8, 9]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 8, 9, 12, 13]), [""; 0]);
    assert_eq!(codes(&[4, 8, 9, 12]), ["system-extensions-not-required"]);
    assert_eq!(codes(&[4, 9, 12, 13]), [""; 0]);
    assert_eq!(codes(&[4, 11, 12]), ["system-extensions-not-required"]);
    assert_eq!(codes(&[4, 11, 12, 13]), [""; 0]);

    // Values of one PCR are accepted with any value of another.
    let mixed = |several: &[u8]| {
        let values =
            |index| if several.contains(&index) { vec![value, Sha256Digest::new([9; 32])] } else { vec![value] };
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = [4, 11, 12].into_iter().fold(guest, |guest, index| guest.pcr(index, values(index)));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        policy.lint().iter().any(|lint| lint.code == "pcr-values-combine")
    };
    assert!(!mixed(&[]) && !mixed(&[4]) && mixed(&[4, 11]) && mixed(&[4, 11, 12]));

    // Zeros in a PCR say that nothing extended it, so that the command line is elsewhere.
    let zeros = blindbox_attestation::Sha256Digest::new([0; 32]);
    let is_open = |pcrs: &[(u8, &[blindbox_attestation::Sha256Digest])]| {
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = pcrs.iter().fold(guest, |guest, (index, values)| guest.pcr(*index, values.iter().copied()));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        policy.lint().iter().any(|lint| lint.code == "any-guest-os")
    };
    let (some, none, either) = (&[value][..], &[zeros][..], &[value, zeros][..]);
    for (pcrs, open) in [
        (&[(4, some), (11, some), (12, none)][..], false),
        (&[(4, some), (11, none), (12, none)], true),
        (&[(4, some), (11, either), (12, none)], true),
        (&[(4, none), (11, some), (12, none)], true),
        (&[(4, some), (8, some), (9, some)], true),
        // GRUB, and a stub that it starts gets nothing beside its image.
        (&[(4, some), (8, some), (9, some), (12, none)], false),
        (&[(4, some), (8, some), (9, some), (12, some)], false),
        (&[(4, some), (8, none), (9, some), (12, none)], true),
        (&[(4, some), (8, some), (9, either), (12, none)], true),
        // Ubuntu's images for confidential VMs: no GRUB, and no sections in PCR 11.
        (&[(4, some), (8, none), (9, some), (11, none), (12, some)], false),
        (&[(4, some), (8, none), (9, some), (11, none), (12, none)], true),
    ] {
        assert_eq!(is_open(pcrs), open, "{pcrs:?}");
    }

    let vm = |trust| {
        Policy::confidential_vm(trust, GuestIdentity::by_measurement([Measurement::new([1; 48])]), Binding::OwnKey)
    };
    let machine = |policy: &Policy| {
        let found = policy.lint().into_iter().map(|lint| lint.code);
        found
            .filter(|code| ["another-vm", "machine-anywhere", "workload-not-evaluated"].contains(code))
            .collect::<Vec<_>>()
    };
    let maa = vm(Trust::maa(SHARED).unwrap()).unwrap();
    assert_eq!(machine(&maa), ["workload-not-evaluated", "another-vm"]);
    let amd = vm(Trust::amd()).unwrap();
    assert_eq!(machine(&amd), ["another-vm", "machine-anywhere"]);
    let known = amd.require_vm_ids([blindbox_attestation::VmId::new([7; 16])]).unwrap();
    assert_eq!(machine(&known), ["machine-anywhere"]);
    assert_eq!(machine(&known.require_ak_certificate().unwrap()), [""; 0]);

    // What the paravisor states, and what a policy can require of it.
    let settings = |policy: &Policy| {
        let found = policy.lint().into_iter().map(|lint| lint.code);
        found.filter(|code| code.starts_with("secure-boot") || code.starts_with("interactive")).collect::<Vec<_>>()
    };
    let set = |policy: &Policy, bit, must| policy.clone().require_vm_configuration(bit, must).unwrap();
    use blindbox_attestation::VmConfigurationBit::{InteractiveConsole, SecureBoot};
    let (boot, console) = (SecureBoot, InteractiveConsole);
    let amd = vm(Trust::amd()).unwrap();
    let (no_boot, no_console) = ("secure-boot-not-required", "interactive-console-not-refused");
    assert_eq!(settings(&maa), [no_boot]);
    assert_eq!(settings(&set(&maa, boot, BitRequirement::Set)), [""; 0]);
    assert_eq!(settings(&amd), [no_boot, no_console]);
    assert_eq!(settings(&set(&amd, boot, BitRequirement::Set)), [no_console]);
    assert_eq!(settings(&set(&amd, boot, BitRequirement::Clear)), [no_boot, no_console]);
    assert_eq!(settings(&set(&amd, console, BitRequirement::Clear)), [no_boot]);
    assert_eq!(settings(&set(&amd, console, BitRequirement::Set)), [no_boot, no_console]);
    let by_pcr = GuestIdentity::by_measurement([Measurement::new([1; 48])]).pcr(7, [value]);
    let by_pcr = Policy::confidential_vm(Trust::amd(), by_pcr, Binding::OwnKey).unwrap();
    assert_eq!(settings(&by_pcr), [no_console]);
}

#[test]
fn lint_says_what_is_open() {
    let open = container().lint();
    assert_eq!(open[0].to_string(), format!("{}: {}", open[0].code, open[0].message));
    let codes: Vec<_> = open.iter().map(|lint| lint.code).collect();
    assert_eq!(codes, ["no-advisory-floors", "no-minimum-tcb", "any-chip"]);
    let codes: Vec<_> = everything().lint().iter().map(|lint| lint.code).collect();
    assert_eq!(
        codes,
        [
            "debug-allowed",
            "permissive-workload-allowed",
            "migration-allowed",
            "name-not-validated",
            "own-uvm-issuer",
            "vmpl-relaxed",
            "revocation-not-required",
            "advisory-waived",
            "advisories-not-required",
            "microcode-of-a-product"
        ]
    );
}

/// A VLEK is accepted by its kind alone, as the key of any provider.
#[test]
fn lint_says_that_any_provider_passes() {
    let open = |policy: &Policy| policy.lint().iter().any(|lint| lint.code == "any-provider");
    let workload = Workload::binds_its_own_key(host_data());
    let usual = Policy::confidential_container(Trust::amd(), workload, UvmRequirement::at_least(101)).unwrap();
    let accepting = |keys: &[SigningKey]| usual.clone().require_signing_keys(keys.to_vec()).unwrap();
    assert!(!open(&usual) && !open(&accepting(&[SigningKey::Vcek])));
    for keys in [&[SigningKey::Vlek][..], &[SigningKey::Vcek, SigningKey::Vlek]] {
        assert!(open(&accepting(keys)), "{keys:?}");
        assert!(!open(&accepting(keys).require_csp_ids(["AWS"]).unwrap()), "{keys:?}");
    }
}

/// The seed of any Milan chip forges reports of Milan chips.
#[test]
fn lint_says_that_any_milan_chip_passes() {
    let open = |policy: &Policy| policy.lint().iter().any(|lint| lint.code == "any-chip");
    let chip = ChipId::new([1; 64]);
    for trust in [Trust::maa(SHARED).unwrap(), Trust::amd()] {
        let workload = Workload::binds_its_own_key(host_data());
        let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap();
        let accepting = |products: &[Product]| policy.clone().require_products(products.to_vec()).unwrap();
        assert!(open(&policy));
        for products in [&[Product::Milan][..], &[Product::Genoa, Product::Milan]] {
            assert!(open(&accepting(products)), "{products:?}");
            assert!(!open(&accepting(products).require_chip_ids([chip]).unwrap()), "{products:?}");
        }
        assert!(!open(&accepting(&[Product::Genoa, Product::Turin])));
    }
    let workload = Workload::binds_its_own_key(host_data());
    let of_milan = Trust::amd().require_products([Product::Milan]).unwrap();
    assert!(open(&Policy::confidential_container(of_milan, workload, UvmRequirement::at_least(101)).unwrap()));
}

/// No table has the bulletins of days to come.
#[test]
fn lint_says_that_advisories_are_required_beyond_the_table() {
    let until = |day: &str| {
        let policy = container().require_advisories_until(day).unwrap();
        policy.lint().iter().any(|lint| lint.code == "advisories-beyond-table")
    };
    assert!(!until("2026-05-12") && !until(Advisory::AS_OF));
    assert!(until("2026-10-09") && until("2099-12-31"));
}

/// A front end has a name, and no instance.
#[test]
fn lint_says_what_sealed_messages_leave_open() {
    let workload = Workload::binds_its_own_message_key(host_data());
    let policy = Policy::confidential_container(Trust::amd(), workload, UvmRequirement::at_least(101)).unwrap();
    let codes = |policy: &Policy| {
        let open = policy.lint().into_iter().map(|lint| lint.code);
        open.filter(|code| code.contains("front-end") || code.contains("message-key")).collect::<Vec<_>>()
    };
    assert_eq!(codes(&policy), ["front-end-chooses-instance", "classical-message-key"]);
    let policy = policy.require_post_quantum().unwrap();
    assert_eq!(codes(&policy), ["front-end-chooses-instance"]);
    let policy = policy.require_chip_ids([blindbox_attestation::ChipId::new([1; 64])]).unwrap();
    assert_eq!(codes(&policy), [""; 0]);
    assert_eq!(policy.to_toml().parse::<Policy>().unwrap(), policy);
    assert!(policy.to_toml().contains("binding = \"own-message-key\""));
}

/// What is open about the key of MAA is a finding as what is open about the guest.
#[test]
fn lint_says_what_is_open_about_the_key_of_maa() {
    let codes = |requirement: AttestedKeyRequirement| {
        let trust = Trust::maa(SHARED).unwrap().require_attested_maa_key(requirement).unwrap();
        let workload = Workload::binds_its_own_key(host_data());
        let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap();
        let open = policy.lint().into_iter().map(|lint| lint.code);
        open.filter(|code| !["no-advisory-floors", "no-minimum-tcb", "any-chip"].contains(code)).collect::<Vec<_>>()
    };
    let tight = || AttestedKeyRequirement::new([host_data()], 104);
    assert_eq!(codes(tight()), [""; 0]);
    let revocation = ["maa-key-revocation-not-required"];
    assert_eq!(codes(tight().allow_best_effort_revocation()), revocation);
    assert_eq!(codes(tight().allow_no_revocation_check()), revocation);
    assert_eq!(codes(tight().with_uvm_issuer(OWN_ISSUER)), ["maa-key-own-uvm-issuer"]);
    assert_eq!(codes(tight().with_uvm_issuer(UvmRequirement::PRODUCTION_ISSUER)), [""; 0]);
    let milan = TcbMinima::any(TcbMinimum::new().microcode(1));
    assert_eq!(codes(tight().with_reported_tcb(milan)), ["microcode-of-a-product"]);
    assert_eq!(codes(tight().with_reported_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))), [""; 0]);
}
