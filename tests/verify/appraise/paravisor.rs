//! The paravisor of a confidential VM: without the fix of CVE-2025-49707, its attestation key may be another party's.

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{
    Attestation, AttestationError, Binding, FamilyId, GuestIdentity, KeyDigest, Policy, PolicyError, Trust, Verdict,
    Violation,
};

use super::{allowed, failed, passed};
use crate::scene::*;

const NAME: &str = "paravisor";
const ID_KEY: &str = "942fd93ebde6ea7a96efadeafc60f1c6b3d10e703b1dafd7555b92f7f3d32d0e006767648cba5b102af3d65756af4177";
/// The keys of Azure's paravisors of before the fix, from reports and tokens of 2022 to January 2025.
const OLD_ID_KEYS: [&str; 3] = [
    "57486a447ec0f1958002a22a06b7673b9fd27d11e1c6527498056054c5fa92d23c50f9de44072760fe2b6fb89740b696",
    "934f68bd8ba01938eec21475c872e3a942b60c59fafc6df9e9a76ee66bc47f2d09c676f61c0315c578da26085fb13a71",
    "0356215882a825279a85b300b0b742931d113bf7e32dde2e50ffde7ec743ca491ecdd7f336dc28a6e0b2bb57af7a44a3",
];
const MILAN: &str = "02212000000000000000000000000000";
const GENOA: &str = "01232000000000000000000000000000";

fn any_vm() -> Policy {
    let guest = GuestIdentity::allow_any_azure_cvm();
    Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, Binding::OwnKey).unwrap()
}

fn family(text: &str) -> FamilyId {
    FamilyId::from_hex(text).unwrap()
}

fn vm(family_id: &str, guest_svn: u32) -> Guest {
    let mut guest = Guest::confidential_vm();
    guest.snp.id_key_digest = KeyDigest::from_hex(ID_KEY).unwrap();
    (guest.snp.family_id, guest.snp.report_guest_svn) = (family(family_id), guest_svn);
    guest
}

#[test]
fn each_family_has_its_minimum() {
    for (family, minimum) in [(MILAN, 10), (GENOA, 65_547)] {
        for actual in [minimum, minimum + 2] {
            let found = format!("guest svn {actual} of family {family}");
            passed(attest(&vm(family, actual), &any_vm()), NAME, &found);
        }
        for actual in [0, 7, minimum - 1] {
            let refused = attest(&vm(family, actual), &any_vm());
            failed(refused, NAME, Violation::GuestSvnTooOld { minimum, actual });
            let policy = any_vm().allow_old_paravisor().unwrap();
            let found = format!("{actual}: the VM's administrator may have replaced the attestation key");
            allowed(attest(&vm(family, actual), &policy), NAME, &found);
        }
    }
    // What is enough in one family is too old in the other, which counts from another number.
    failed(attest(&vm(GENOA, 12), &any_vm()), NAME, Violation::GuestSvnTooOld { minimum: 65_547, actual: 12 });
}

#[test]
fn an_unknown_key_or_family_has_no_minimum_that_it_meets() {
    let other = "5a".repeat(48);
    let mut guest = vm(MILAN, 1_000_000);
    guest.snp.id_key_digest = KeyDigest::from_hex(&other).unwrap();
    let expected = ID_KEY.to_owned();
    failed(
        attest(&guest, &any_vm()),
        NAME,
        Violation::WrongGuestIdentity { field: "id key", expected, actual: other.clone() },
    );
    let guest = vm(&"00".repeat(16), 1_000_000);
    let expected = format!("{MILAN} or {GENOA}");
    failed(
        attest(&guest, &any_vm()),
        NAME,
        Violation::WrongGuestIdentity { field: "family id", expected, actual: "00".repeat(16) },
    );
}

#[test]
fn a_policy_that_names_the_paravisor_itself_needs_no_floor() {
    let check = |result: Result<Attestation, AttestationError>| {
        result.unwrap().appraisal().check(NAME).map(|check| check.verdict)
    };
    // By its launch measurement. What is known of the paravisor is shown all the same.
    let pinned = |guest: &Guest| {
        let measured = GuestIdentity::by_measurement([guest.snp.measurement]);
        Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), measured, Binding::OwnKey).unwrap()
    };
    let below = "guest svn 2 of family 02212000000000000000000000000000: the measurement is pinned, and its paravisor is BELOW the floor \
                 of CVE-2025-49707";
    let old = vm(MILAN, 2);
    let policy = pinned(&old);
    allowed(attest(&old, &policy), NAME, below);
    let mut of_old_key = vm(MILAN, 2);
    for key in OLD_ID_KEYS {
        of_old_key.snp.id_key_digest = KeyDigest::from_hex(key).unwrap();
        allowed(attest(&of_old_key, &pinned(&of_old_key)), NAME, below);
    }
    let fixed = vm(MILAN, 10);
    passed(attest(&fixed, &pinned(&fixed)), NAME, &format!("guest svn 10 of family {MILAN}"));
    let unknown = vm(&"00".repeat(16), 10);
    let reason = "the policy pins the launch measurement, of a paravisor that is not known";
    assert_eq!(check(attest(&unknown, &pinned(&unknown))), Some(Verdict::NotEvaluated(reason)));
    let useless = policy.allow_old_paravisor();
    let contradiction = "`allow.old-paravisor` is for confidential VMs whose launch measurement is not pinned; drop it";
    assert_eq!(useless, Err(PolicyError::Contradiction { reason: contradiction }));
    // By another ID key with a minimum of its own; the key alone is not enough.
    let key = KeyDigest::new([0x5a; 48]);
    let mut other = vm(MILAN, 3);
    other.snp.id_key_digest = key;
    let signed = || {
        let guest = GuestIdentity::by_id_key([key]);
        Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, Binding::OwnKey).unwrap()
    };
    let refused = attest(&other, &signed()).unwrap_err();
    assert!(matches!(refused.violation(), Some(Violation::WrongGuestIdentity { field: "id key", .. })), "{refused}");
    let policy = signed().require_minimum_report_guest_svn(3).unwrap();
    let found =
        format!("guest svn 3 of family {MILAN}: NOT KNOWN, the policy names its ID key {key} and a minimum guest svn");
    allowed(attest(&other, &policy), NAME, &found);
    let lints = |policy: &Policy| policy.lint().iter().any(|lint| lint.code == "other-paravisor-key");
    assert!(lints(&signed()) && lints(&policy));
    // A key of before the fix is known, so that no minimum of the policy makes it another.
    for old in OLD_ID_KEYS.map(|key| KeyDigest::from_hex(key).unwrap()) {
        let mut guest = vm(MILAN, 1_000_000);
        guest.snp.id_key_digest = old;
        let by_key = Policy::confidential_vm(
            Trust::maa(ISSUER).unwrap(),
            GuestIdentity::by_id_key([old, KeyDigest::from_hex(ID_KEY).unwrap()]),
            Binding::OwnKey,
        );
        let policy = by_key.and_then(|policy| policy.require_minimum_report_guest_svn(1)).unwrap();
        assert!(lints(&policy));
        let (expected, actual) = (ID_KEY.to_owned(), old.to_string());
        failed(attest(&guest, &policy), NAME, Violation::WrongGuestIdentity { field: "id key", expected, actual });
        let found = format!("{old}: the VM's administrator may have replaced the attestation key");
        allowed(attest(&guest, &policy.allow_old_paravisor().unwrap()), NAME, &found);
    }
    // A minimum of the policy does not lower that of Azure's own key.
    let azure = GuestIdentity::by_id_key([KeyDigest::from_hex(ID_KEY).unwrap()]);
    let policy = Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), azure, Binding::OwnKey).unwrap();
    let policy = policy.require_minimum_report_guest_svn(1).unwrap();
    assert!(!lints(&policy));
    failed(attest(&vm(MILAN, 9), &policy), NAME, Violation::GuestSvnTooOld { minimum: 10, actual: 9 });
}

#[test]
fn containers_have_no_paravisor() {
    assert_eq!(attest(&container(), &maa_policy()).unwrap().appraisal().check(NAME), None);
    let refused = maa_policy().allow_old_paravisor();
    let reason = "`allow.old-paravisor` is for confidential VMs whose launch measurement is not pinned; drop it";
    assert_eq!(refused, Err(PolicyError::Contradiction { reason }));
    let lints = |policy: &Policy| policy.lint().iter().any(|lint| lint.code == "old-paravisor-allowed");
    assert!(!lints(&any_vm()));
    assert!(lints(&any_vm().allow_old_paravisor().unwrap()));
}
