//! [`Policy::lint`](super::Policy::lint): what a policy does not restrict.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::advisories::Advisory;
use super::paravisor::PARAVISOR_ID_KEY;
use super::pcrs::{self, PcrIndex, PcrRequirements};
use super::require_table::{BitRequirement, PlatformInfoBit, VmConfigurationBit};
use super::schema::{Document, Kind};
use super::tcb::TcbMinima;
use super::tee::UP_TO_DATE;
use super::uvm::UvmRequirement;
use super::workload::Binding;
use crate::types::{Product, SigningKey, TeeKind};

/// Advice about a policy: something that it does not restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Lint {
    /// A name that is stable between releases.
    pub code: &'static str,
    /// What is not restricted, the consequence, and how to restrict it.
    pub message: &'static str,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Returns the findings, the most severe first.
pub(super) fn lint(document: &Document) -> Vec<Lint> {
    let parts = [of_openings, of_system, of_vm, of_peer, of_trust, of_tcb, of_chip];
    let rows = parts.into_iter().flat_map(|part| part(document));
    rows.filter(|(holds, _, _)| *holds).map(|(_, code, message)| Lint { code, message }).collect()
}

/// Whether a finding is made, its code and its message.
type Row = (bool, &'static str, &'static str);

/// What shows the memory or the traffic of the guest to others, or lets them run code in it.
fn of_openings(document: &Document) -> Vec<Row> {
    let allow = &document.allow;
    vec![
        (allow.debug, "debug-allowed", "the host may read the memory of a guest that passes; for development only"),
        (
            document.workload.as_ref().is_some_and(|workload| workload.allow_permissive),
            "permissive-workload-allowed",
            "an allow-all CCE policy passes, with which the host runs any code in the TEE; for development only",
        ),
        (
            allow.plain_http,
            "plain-http-allowed",
            "requests and responses are not encrypted; anyone on the path can read and change them",
        ),
        (
            document.binding() == Binding::None,
            "channel-not-bound",
            "the workload does not bind its TLS key, so the evidence does not show that it is the peer; \
             deploy an agent that does and use `binding = \"own-key\"`",
        ),
    ]
}

/// Which system runs in a confidential VM.
fn of_system(document: &Document) -> Vec<Row> {
    let is_vm = document.kind == Kind::ConfidentialVm;
    let trusts_amd = document.trust.amd.is_some();
    let pcrs = required_pcrs(document);
    let requires_pcr = |index| pcrs.contains_key(&index);
    vec![
        (
            is_vm && !trusts_amd,
            "workload-not-evaluated",
            "under MAA trust alone the evidence of a confidential VM does not show which operating system or application runs in it; \
             trust AMD too, and pin `guest.pcrs`",
        ),
        (
            is_vm && trusts_amd && pcrs::missing_for_system(pcrs).is_some(),
            "any-guest-os",
            "an operating system passes that you do not name, with any application: the PCRs that are required do not identify boot \
             loader, command line and initial file system together; pin `guest.pcrs`: 4, and 8, 9 and 12 (GRUB), 9 and 12 (a kernel \
             with its stub) or 11 and 12 (a unified kernel image), with values that are not zero",
        ),
        (
            pcrs.keys().any(|index| index.is_of_the_system()) && !requires_pcr(PcrIndex::BOOT_LOADER),
            "pcrs-without-boot-loader",
            "the PCRs 8 to 15 are extended by the operating system, and any system can extend them as yours does; require PCR 4 too",
        ),
        (
            // A kernel with its stub that is no unified image: 12 goes with 9.
            requires_pcr(PcrIndex::KERNEL_IMAGE) != requires_pcr(PcrIndex::OVERRIDES)
                && !(requires_pcr(PcrIndex::OVERRIDES) && requires_pcr(PcrIndex::INITIAL_FILES)),
            "kernel-image-without-overrides",
            "PCR 11 has the sections of a unified kernel image, and PCR 12 the command line and credentials that override them; require \
             both",
        ),
        (
            pcrs::missing_for_system(pcrs).is_none()
                && requires_pcr(PcrIndex::OVERRIDES)
                && !requires_pcr(PcrIndex::EXTENSIONS),
            "system-extensions-not-required",
            "the stub of a kernel also loads system extensions from the boot partition, which the host can write: only the rules of \
             the image itself keep others out; require PCR 13, of zeros if there are none",
        ),
        (
            pcrs.values().filter(|accepted| accepted.len() > 1).count() > 1,
            "pcr-values-combine",
            "several PCRs accept several values each, in any combination: the boot loader of one image passes with the command line of \
             another; write a policy for each image",
        ),
    ]
}

/// Which VM it is, on which machine, and how its paravisor started it.
fn of_vm(document: &Document) -> Vec<Row> {
    let (require, allow) = (&document.require, &document.allow);
    let is_vm = document.kind == Kind::ConfidentialVm;
    let is_vm_under_amd = is_vm && document.trust.amd.is_some();
    let vm_configuration = |bit| require.vm_configuration.as_ref().and_then(|bits| bits.get(&bit)).copied();
    vec![
        (
            document.kind == Kind::SnpGuest,
            "firmware-only",
            "the launch measurement covers the firmware, and kernel and command line only if that firmware verifies them; the \
             disk, and a TPM outside of the guest, are the host's choice",
        ),
        (
            document
                .guest
                .as_ref()
                .is_some_and(|guest| guest.measurements.is_none() && guest.id_keys.is_none() && guest.mrtd.is_none())
                && require.vm_ids.is_none(),
            "any-vm",
            "any confidential VM of any Azure customer passes; pin `require.vm-ids`, `guest.measurements`, `guest.id-keys` or \
             `guest.mrtd`",
        ),
        (
            document.kind == Kind::ConfidentialVm && require.vm_ids.is_none(),
            "another-vm",
            "another genuine VM with the same paravisor and image passes, of any customer: anyone who redirects you to theirs is refused only \
             by the server's name; pin the ids of your VMs (`require.vm-ids`, from `az vm show --query vmId`)",
        ),
        (
            is_vm_under_amd && !require.ak_certificate,
            "machine-anywhere",
            "a genuine processor outside of Azure passes, whose owner states any VM id and can attack it physically; require Azure's \
             certificate of the attestation key (`require.ak-certificate`)",
        ),
        (
            allow.old_paravisor,
            "old-paravisor-allowed",
            "the administrator of a VM with an old paravisor may have replaced its attestation key (CVE-2025-49707) and attest any data \
             from anywhere; leave `allow.old-paravisor` out",
        ),
        (
            is_vm
                && document.measurements().is_none()
                && document.id_keys().is_some_and(|keys| keys.iter().any(|key| *key != PARAVISOR_ID_KEY)),
            "other-paravisor-key",
            "an ID key is accepted that is not the key of Azure's paravisors with the fix of CVE-2025-49707: this release cannot check \
             that they have it, and with `require.minimum-report-guest-svn` any later one passes; pin `guest.measurements` too",
        ),
        (
            is_vm
                && !required_pcrs(document).contains_key(&PcrIndex::SECURE_BOOT)
                && vm_configuration(VmConfigurationBit::SecureBoot) != Some(BitRequirement::Set),
            "secure-boot-not-required",
            "a VM with Secure Boot off passes: its firmware starts what is not signed, and the kernel does not lock itself down against \
             its administrator; require vm-configuration `secure-boot` or, under AMD trust, PCR 7",
        ),
        (
            is_vm_under_amd && vm_configuration(VmConfigurationBit::InteractiveConsole) != Some(BitRequirement::Clear),
            "interactive-console-not-refused",
            "the host may write to the console of the VM, and log in where the system offers a login there; require \
             vm-configuration `interactive-console` to be `clear`, which paravisors state since 2026",
        ),
        (
            allow.report_of_earlier_boot,
            "report-of-earlier-boot-allowed",
            "the paravisor's report may be of an earlier boot of the VM, of an older paravisor or without secure boot; deploy an agent \
             that writes the statement about its TLS key, and leave `allow.report-of-earlier-boot` out",
        ),
        (
            document.accepts(TeeKind::Tdx) && document.guest.as_ref().is_some_and(|guest| guest.allow_any_azure_cvm),
            "tdx-paravisor-not-shown",
            "a token of Intel TDX states no version of the paravisor, so that the floor of CVE-2025-49707 does not apply to it; \
             pin `guest.mrtd`",
        ),
    ]
}

/// Who the peer is.
fn of_peer(document: &Document) -> Vec<Row> {
    let (require, allow) = (&document.require, &document.allow);
    let seals_messages = document.binding() == Binding::OwnMessageKey;
    vec![
        (
            allow.migration,
            "migration-allowed",
            "a migration agent may move the guest to a machine that was not attested",
        ),
        (
            allow.unverified_name,
            "name-not-validated",
            "any instance of the same workload passes, of any operator; validate the server's name, or pin id keys or chips",
        ),
        (
            seals_messages && require.chip_ids.is_none(),
            "front-end-chooses-instance",
            "the server's name is that of a front end, which may lead you to any instance that passes, of any operator; pin chips, if \
             the front end is not yours",
        ),
        (
            seals_messages && !require.post_quantum,
            "classical-message-key",
            "a message key of X25519 alone passes: who records sealed messages today can open them with a later quantum computer; use \
             `require.post-quantum`",
        ),
    ]
}

/// What is trusted.
fn of_trust(document: &Document) -> Vec<Row> {
    let require = &document.require;
    let (maa, amd) = (document.trust.maa.as_ref(), document.trust.amd.as_ref());
    let maa_key = maa.and_then(|maa| maa.require_attested_key.as_ref());
    let usual_status = document.usual_compliance_status();
    vec![
        (
            maa.is_some_and(|maa| maa.allow_any_policy && maa.policy_hash.is_none()),
            "maa-policy-not-pinned",
            "the owner of the MAA instance decides what it reports as compliant; pin `trust.maa.policy-hash`",
        ),
        (
            document.uvm.as_ref().is_some_and(|uvm| uvm.issuer() != UvmRequirement::PRODUCTION_ISSUER),
            "own-uvm-issuer",
            "the utility VM is endorsed by an issuer other than Microsoft, which decides with it what the host data means",
        ),
        (
            maa.is_some_and(|maa| maa.allow_test_attester),
            "test-attester-allowed",
            "tokens of Azure's test ring are accepted",
        ),
        (
            require.compliance_status.iter().flatten().any(|status| usual_status.is_some_and(|usual| usual != status)),
            "compliance-status-relaxed",
            "evidence is accepted with a compliance status that MAA does not give compliant guests by default; omit \
             `require.compliance-status` unless you know the policy of the MAA instance",
        ),
        (
            require.tcb_status.iter().flatten().any(|status| status != UP_TO_DATE),
            "tcb-status-relaxed",
            "a platform of Intel passes that Intel does not call up to date: weaknesses with a fix may be open; leave \
             `require.tcb-status` out",
        ),
        (
            require.vmpl.iter().flatten().any(|vmpl| *vmpl != 0),
            "vmpl-relaxed",
            "evidence of a privilege level other than 0 is accepted, and software at level 0 controls all other levels; omit \
             `require.vmpl` unless you know what runs at level 0",
        ),
        (
            amd.is_some_and(|amd| !amd.revocation().is_required()),
            "revocation-not-required",
            "a signing authority that AMD has revoked may still pass",
        ),
        (
            maa_key.is_some_and(|key| !key.revocation().is_required()),
            "maa-key-revocation-not-required",
            "the container that holds the key of MAA may be proven by a signing authority that AMD has revoked; leave \
             `trust.maa.require-attested-key.revocation` out",
        ),
        (
            maa_key.is_some_and(|key| key.uvm_issuer() != UvmRequirement::PRODUCTION_ISSUER),
            "maa-key-own-uvm-issuer",
            "the utility VM under MAA's service is endorsed by an issuer other than Microsoft, which decides with it who may hold \
             the key; leave `trust.maa.require-attested-key.uvm-issuer` out",
        ),
    ]
}

/// How recent firmware and microcode are.
fn of_tcb(document: &Document) -> Vec<Row> {
    let require = &document.require;
    let (maa, amd) = (document.trust.maa.as_ref(), document.trust.amd.as_ref());
    let maa_key = maa.and_then(|maa| maa.require_attested_key.as_ref());
    let has_snp = document.accepts(TeeKind::Snp);
    vec![
        (
            amd.is_some_and(|amd| amd.waived_advisories.is_some()),
            "advisory-waived",
            "a TCB with a published weakness passes",
        ),
        (
            has_snp && amd.is_none() && require.reported_tcb.is_none(),
            "no-advisory-floors",
            "under MAA trust alone none of the advisories of this release is required, AMD-SB-3019 (EntrySign) included: what MAA calls \
             compliant may be older; set `require.reported-tcb`, or trust AMD too",
        ),
        (
            has_snp && require.reported_tcb.is_none(),
            "no-minimum-tcb",
            "no minimum TCB is required beyond the advisories that this release knows; set `require.reported-tcb`",
        ),
        (
            document.leaves_advice_open(),
            "advisories-not-required",
            "published weaknesses with a fix may be open (AMD-SB-3016, 3020, 3023, 3027, 3030): the appraisal shows which; \
             require them with `require.advisories` or `require.advisories-until` where the provider has deployed the fixes",
        ),
        (
            require.advisories_until.as_deref().is_some_and(|day| day > Advisory::AS_OF),
            "advisories-beyond-table",
            "`require.advisories-until` is later than the table of this release, which may lack advisories up to that day: upgrade, or \
             read AMD's bulletins since then",
        ),
        (
            [&require.reported_tcb, &require.committed_tcb, &require.current_tcb, &require.launch_tcb]
                .into_iter()
                .flatten()
                .chain(maa_key.and_then(|key| key.reported_tcb.as_ref()))
                .any(TcbMinima::has_microcode_of_a_product),
            "microcode-of-a-product",
            "a microcode minimum applies to several processors, each of which counts its microcode by itself; give `milan-x`, \
             `genoa-x`, `bergamo` and `turin-dense` their own, or leave `microcode` to the advisories",
        ),
        (
            amd.is_some()
                && require.platform_info.as_ref().and_then(|bits| bits.get(&PlatformInfoBit::AliasCheckComplete))
                    != Some(&BitRequirement::Set),
            "alias-check-not-required",
            "a machine with tampered memory modules (BadRAM, AMD-SB-3015) may pass; \
             require platform-info `alias-check-complete` where the firmware is new enough",
        ),
    ]
}

/// Which chip it is, and who says so.
fn of_chip(document: &Document) -> Vec<Row> {
    let require = &document.require;
    let has_snp = document.accepts(TeeKind::Snp);
    vec![
        (
            has_snp
                && require.chip_ids.is_none()
                && document.products().is_none_or(|products| products.contains(&Product::Milan)),
            "any-chip",
            "any Milan chip passes, and the reports of one whose seed was extracted can be forged at will; accept other products only \
             (`trust.amd.products`, `require.products`), or pin `require.chip-ids`",
        ),
        (
            require.csp_ids.is_none()
                && require.signing_keys.as_ref().is_some_and(|accepted| accepted.contains(&SigningKey::Vlek)),
            "any-provider",
            "reports pass that are signed with a VLEK of any cloud provider, in whose machines they can be made; name the providers \
             (`require.csp-ids`)",
        ),
        (
            require.minimum_report_guest_svn.is_some() && document.id_keys().is_none(),
            "guest-svn-without-id-key",
            "the guest SVN comes from the ID block, which the host can sign with its own key; pin `id-keys` too",
        ),
        (
            (require.family_ids.is_some() || require.image_ids.is_some()) && document.id_keys().is_none(),
            "image-id-without-id-key",
            "family and image ids come from the ID block, which the host can sign with its own key; pin `id-keys` too",
        ),
    ]
}

fn required_pcrs(document: &Document) -> &PcrRequirements {
    let pcrs = document.guest.as_ref().and_then(|guest| guest.pcrs.as_ref());
    pcrs.unwrap_or(const { &BTreeMap::new() })
}
