//! What can be wrong with a confidential VM, each with what its operator reads and what a client gets.

use super::{Scene, ask, start};
use blindbox_agent::{Agent, Config};

async fn refusal(config: &Config) -> String {
    match start(config).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the agent started"),
    }
}

const START: &str = "the confidential VM gives no evidence:";

#[tokio::test]
async fn an_agent_that_cannot_attest_does_not_start_and_says_why() {
    let Some(scene) = Scene::start().await else { return };
    let config = scene.config("", "");
    let (report, quote) = (0x14e, 0x158);
    let no_response = |reason: &str| format!("no response from the TPM: {reason}");

    scene.paravisor.set(|faults| faults.no_report = true);
    let shown =
        "the TPM has no NV index 0x01400001, where Azure's paravisor reports: this is no confidential VM of Azure";
    assert_eq!(refusal(&config).await, format!("{START} {shown}"));
    scene.paravisor.set(|faults| *faults = super::paravisor::Faults::default());

    for (kind, reason) in [
        (4, "it is of Intel TDX, and this agent serves AMD SEV-SNP only (docs/platforms.md)"),
        (3, "it is of a VM with Trusted Launch, which is no confidential VM"),
    ] {
        scene.paravisor.set(|faults| faults.patch = Some((0x4c8, vec![kind, 0, 0, 0])));
        let shown = format!("the report of the paravisor (NV index 0x01400001) cannot be used: {reason}");
        assert_eq!(refusal(&config).await, format!("{START} {shown}"));
    }
    scene.paravisor.set(|faults| faults.patch = None);

    for (command, code, shown) in [
        (
            report,
            0x148,
            format!(
                "{START} reading the report of the paravisor: NV_Read: the TPM refuses: the NV index is locked until the next start of the \
                 VM (TPM_RC_NV_LOCKED, 0x148)"
            ),
        ),
        (
            0x137,
            0x9a2,
            format!(
                "{START} writing user-data to NV index 0x01400002: NV_Write: the TPM refuses: a password was set; this program uses the \
                 empty one (TPM_RC_BAD_AUTH, 0x9a2, session 1)"
            ),
        ),
        (
            0x12a,
            0x14b,
            format!(
                "{START} writing user-data to NV index 0x01400002: NV_DefineSpace: the TPM refuses: it has no room for another NV index; \
                 delete one (TPM_RC_NV_SPACE, 0x14b)"
            ),
        ),
        (
            0x137,
            0x921,
            no_response(
                "writing user-data to NV index 0x01400002: NV_Write: the TPM refuses: it is locked after wrong passwords; wait, or clear \
                 the lockout (TPM_RC_LOCKOUT, 0x921)",
            ),
        ),
        (
            0x173,
            0x101,
            format!(
                "{START} reading the attestation key: ReadPublic: the TPM refuses: it is in failure mode; restart the VM \
                 (TPM_RC_FAILURE, 0x101)"
            ),
        ),
    ] {
        // The index of user-data exists after the first write.
        let define = command == 0x12a;
        let config = if define { Scene::start().await.map(|other| (other.config("", ""), other)) } else { None };
        let (config, scene) = match &config {
            Some((config, other)) => (config, other),
            None => (&scene.config("", ""), &scene),
        };
        scene.paravisor.set(|faults| faults.refused = Some((command, code)));
        assert_eq!(refusal(config).await, shown);
        scene.paravisor.set(|faults| faults.refused = None);
    }
    // Quotes are made for requests only.
    scene.paravisor.set(|faults| faults.refused = Some((quote, 0x101)));
    assert!(start(&scene.config("", "")).await.is_ok());
}

#[tokio::test]
async fn a_vm_without_attestation_key_or_with_another_is_named() {
    let Some(scene) = Scene::start().await else { return };
    let config = scene.config("", "");
    // Another modulus in the report, of the same length.
    let found = scene.paravisor.swtpm.modulus();
    scene.paravisor.set(|faults| {
        let text = "AAAA".as_bytes().to_vec();
        faults.patch =
            Some((0x4d4 + r#"{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":""#.len(), text));
    });
    let shown = "the key at 0x81000003 is not the one that the report of the paravisor names (HCLAkPub): it was replaced; restart the VM";
    assert_eq!(refusal(&config).await, format!("{START} {shown}"));
    assert_ne!(found[..3], [0, 0, 0]);
    scene.paravisor.set(|faults| faults.patch = None);
    scene.paravisor.swtpm.evict_attestation_key();
    let shown = "the TPM has no key at 0x81000003, where Azure's paravisor keeps the attestation key; restart the VM";
    assert_eq!(refusal(&config).await, format!("{START} {shown}"));
}

/// It takes three times the two seconds in which a paravisor makes no report.
#[tokio::test]
async fn a_report_that_never_states_the_key_is_no_evidence() {
    let Some(scene) = Scene::start().await else { return };
    scene.paravisor.set(|faults| faults.old_reports = u32::MAX);
    let error = refusal(&scene.config("", "")).await;
    let stated = hex::encode(scene.paravisor.swtpm.user_data().unwrap());
    let shown = format!(
        "no response from the paravisor: the report of the paravisor states user-data {}, not {stated}, after 4 attempts: another program \
         writes NV index 0x01400002 at the same time, or the paravisor makes no new report",
        "0".repeat(128)
    );
    assert_eq!(error, shown);
    assert_eq!(scene.paravisor.faults.lock().unwrap().reads, 4);
}

#[tokio::test]
async fn a_tpm_that_is_not_there_is_named_with_what_to_do() {
    let config = |tpm: &str| {
        crate::lab::config(
            "http://127.0.0.1:1",
            "",
            &format!("[azure-vm]\ntpm = {tpm:?}\nmetadata = \"http://127.0.0.1:1\""),
        )
    };
    let error = refusal(&config("/nonexistent/tpmrm0")).await;
    let shown = "opening the virtual TPM: the TPM at /nonexistent/tpmrm0 cannot be opened: No such file or directory (os error 2); is \
                 this a confidential VM with a virtual TPM, and the device in this container?";
    assert_eq!(error, format!("{START} {shown}"));
}

#[tokio::test]
async fn a_busy_tpm_is_an_outage_and_one_that_refuses_is_final() {
    let Some(scene) = Scene::start().await else { return };
    let agent: Agent = start(&scene.config("", "")).await.unwrap();
    let quote = 0x158;
    for (code, status) in [(0x922, 503), (0x90a, 503), (0x903, 503), (0x19c, 403), (0x101, 403), (0x98e, 403)] {
        scene.paravisor.set(|faults| faults.refused = Some((quote, code)));
        let answer = ask(&agent).await;
        assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (status, status == 503), "{code:#x}");
    }
    scene.paravisor.set(|faults| (faults.refused, faults.silent) = (None, true));
    assert_eq!(ask(&agent).await.status, 503);
    // The next request opens the TPM again.
    scene.paravisor.set(|faults| faults.silent = false);
    assert_eq!(ask(&agent).await.status, 200);
}
