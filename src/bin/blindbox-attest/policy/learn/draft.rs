//! The text of the policy file that `policy learn` prints: each line with what to check before it is required.

use std::fmt::Write as _;

use blindbox_attestation::claims::{Bit, SnpClaims, TdxClaims, TokenShape};
use blindbox_attestation::{EvidenceBundle, ParavisorFix, UvmRequirement};

use super::{Learn, Shown};
use crate::policy::{BindingArgument, Kind};

/// What stands beside a line that only the peer vouches for.
pub(super) const SHOWN: &str = "shown by the peer, not yet trusted";

impl Learn {
    pub(super) fn draft(&self, collected: &EvidenceBundle, shown: &Shown) -> String {
        let mut draft = Draft::default();
        let said = escaped(&self.url);
        draft.comment(&format!("Learned from {said} at {}, in one look.", collected.asked_at));
        draft.comment("Signatures were verified, nothing was appraised: a peer that is not yours shows what it likes.");
        draft.line("version = 1");
        match self.kind {
            Kind::Container => draft.line("kind = \"confidential-container\""),
            Kind::Vm => {
                draft.line("kind = \"confidential-vm\"");
                draft.comment("Your assertion (--binding): evidence cannot show it.");
                draft.line(&format!("binding = {}", quoted(self.binding_name())));
            }
        }
        self.trust(&mut draft, shown);
        match self.kind {
            Kind::Container => self.container(&mut draft, shown),
            Kind::Vm => Self::vm(&mut draft, shown),
        }
        self.requirements(&mut draft, shown);
        self.allowances(&mut draft);
        draft.text
    }

    const fn binding_name(&self) -> &'static str {
        match self.binding {
            BindingArgument::OwnKey => "own-key",
            BindingArgument::OwnConnection => "own-connection",
            BindingArgument::OwnMessageKey => "own-message-key",
            BindingArgument::None => "none",
        }
    }

    fn trust(&self, draft: &mut Draft, shown: &Shown) {
        if let Some(issuer) = &self.maa {
            draft.line("\n[trust.maa]");
            draft.line(&format!("issuer = {}", quoted(issuer)));
            if let Some(maa) = &shown.claims.maa {
                draft.shown(
                    "the attestation policy that the instance applied: of a shared instance its default one, else the one of \
                     the instance's owner (`az attestation policy show`)",
                    &format!("policy-hash = {}", quoted(&maa.policy_hash.to_string())),
                );
            }
        }
        if self.amd {
            draft.line("\n[trust.amd]");
            if let Some(product) = shown.claims.tee.snp().and_then(|snp| snp.product) {
                draft.shown(
                    "the processor family, from the report's signing key; compare with the sizes that you order, and name \
                     each family that your provider may use",
                    &format!("products = [{}]", quoted(&product.to_string().to_lowercase())),
                );
            }
        }
    }

    fn container(&self, draft: &mut Draft, shown: &Shown) {
        draft.line("\n[workload]");
        draft.comment("Your assertion (--binding): evidence cannot show it.");
        draft.line(&format!("binding = {}", quoted(self.binding_name())));
        let Some(snp) = shown.claims.tee.snp() else { return };
        if snp.host_data.is_known_allow_all() {
            draft.comment(
                "This is the digest of a published CCE policy that allows everything: the host runs any code.",
            );
        }
        draft.shown(
            "compare with `blindbox-attest host-data FILE` of the CCE policy that you deployed",
            &format!("host-data = [{}]", quoted(&snp.host_data.to_string())),
        );
        if let Some(uvm) = &shown.uvm {
            draft.line("\n[uvm]");
            draft.shown(
                "the endorsement's security version: compare with other deployments, and raise it with each new one",
                &format!("minimum-svn = {}", uvm.svn),
            );
            if uvm.issuer != UvmRequirement::PRODUCTION_ISSUER {
                draft.comment("NOT Microsoft's production issuer: the signature proves only that this signer exists.");
                draft.shown("ask who runs the platform", &format!("issuer = {}", quoted(&uvm.issuer)));
            }
            if uvm.feed != UvmRequirement::PRODUCTION_FEED {
                draft.shown("ask who runs the platform", &format!("feed = {}", quoted(&uvm.feed)));
            }
        } else {
            draft.comment("No endorsement of the utility VM was shown, so its measurement is required below.");
        }
    }

    fn vm(draft: &mut Draft, shown: &Shown) {
        draft.line("\n[guest]");
        let check = "paravisor and firmware of Azure, which update it: compare with other VMs of the image and size";
        if let Some(tdx) = shown.claims.tee.tdx() {
            draft.shown(check, &format!("mrtd = [{}]", quoted(&tdx.mrtd.to_string())));
        }
        if let Some(snp) = shown.claims.tee.snp() {
            if let Some(note) = paravisor_note(snp) {
                draft.comment(&note);
            }
            draft.shown(check, &format!("measurements = [{}]", quoted(&snp.measurement.to_string())));
        }
        if let Some(quote) = shown.claims.azure_vm.as_ref().and_then(|vm| vm.quote.as_ref()) {
            draft.line("\n[guest.pcrs]");
            draft.comment("What was started. Compare with a VM of the image that you built, and update them with it.");
            for (index, value) in quote.pcrs().iter().filter(|(index, _)| *index < 16) {
                let line = format!("{index} = [{}]", quoted(&value.to_string()));
                let (is_pinned, meaning) = meaning_of_pcr(index);
                if is_pinned { draft.shown(meaning, &line) } else { draft.optional(meaning, &line) }
            }
        }
    }

    fn requirements(&self, draft: &mut Draft, shown: &Shown) {
        let mut require = Draft::default();
        if let Some(snp) = shown.claims.tee.snp() {
            self.requirement_lines(&mut require, snp, shown);
        }
        if let Some(tdx) = shown.claims.tee.tdx() {
            Self::tdx_lines(&mut require, tdx);
        }
        Self::vm_lines(&mut require, shown);
        // A table that requires nothing is refused, so its optional lines stand without it then.
        if require.text.lines().any(|line| !line.starts_with('#')) {
            draft.line("\n[require]");
        }
        draft.text.push_str(&require.text);
    }

    fn tdx_lines(draft: &mut Draft, tdx: &TdxClaims) {
        draft.shown("the guest is one of Intel TDX; without this line only SEV-SNP is accepted", "tee = [\"tdx\"]");
        // A status that is accepted by default needs no line.
        if tdx.tcb_status != "UpToDate" {
            draft.optional(
                "Intel's verdict on the TCB of the machine, which is not UpToDate: ask your provider before you accept it",
                &format!("tcb-status = [{}]", quoted(&tdx.tcb_status)),
            );
        }
    }

    /// What the paravisor of a confidential VM states, or its token.
    fn vm_lines(draft: &mut Draft, shown: &Shown) {
        if let Some(id) = &shown.vm_id {
            draft.shown(
                "the id of the VM, which its host states: compare with `az vm show --query vmId`",
                &format!("vm-ids = [{}]", quoted(&id.to_lowercase())),
            );
        }
        if shown.claims.azure_vm.as_ref().is_some_and(|vm| vm.ak_certificate.is_some()) {
            draft
                .shown("Azure certified the key of the quote, so the machine stands in Azure", "ak-certificate = true");
        }
        let in_report = shown.claims.azure_vm.as_ref().map(|vm| vm.runtime_claims.vm_configuration.secure_boot.into());
        let maa = shown.claims.maa.as_ref();
        let in_token = maa.and_then(|maa| maa.vm_settings).map(|settings| settings.secure_boot);
        let stated = match in_report {
            // A token of the guest attestation has to say so too.
            Some(Bit::Set) if maa.is_some_and(|maa| maa.shape == TokenShape::AzureVm) => in_token,
            Some(stated) => Some(stated),
            None => in_token,
        };
        match stated {
            Some(Bit::Set) => draft
                .shown("Secure Boot is on, as the paravisor states", "vm-configuration = { secure-boot = \"set\" }"),
            Some(Bit::Clear) => draft.comment("NOTE: secure boot is off in this VM, as its paravisor states."),
            _ => {}
        }
    }

    fn requirement_lines(&self, draft: &mut Draft, snp: &SnpClaims, shown: &Shown) {
        let is_endorsed = shown.uvm.is_some();
        if matches!(self.kind, Kind::Container) {
            let measurement = format!("measurements = [{}]", quoted(&snp.measurement.to_string()));
            let check = "the utility VM's launch measurement, which changes with each version of it";
            if is_endorsed {
                draft.optional(&format!("{check}: endorsed, so needed only to accept this one"), &measurement);
            } else {
                draft.shown(&format!("{check}: compare with other deployments"), &measurement);
            }
        }
        draft.optional(
            "this running guest only, until it restarts",
            &format!("report-ids = [{}]", quoted(&snp.report_id.to_string())),
        );
        if let Some(chip) = &snp.chip_id {
            draft.optional(
                "this chip only: a cloud moves guests",
                &format!("chip-ids = [{}]", quoted(&chip.to_string())),
            );
        }
        if let Some(provider) = shown.claims.hardware.as_ref().and_then(|hardware| hardware.csp_id.as_ref()) {
            draft.shown(
                "the cloud provider whose key signed the report, which no machine of Azure has; without this line only the key of a \
                 chip is accepted",
                &format!("csp-ids = [{}]", quoted(provider)),
            );
        }
        let product = snp.product.map_or_else(|| "any".to_owned(), |product| product.to_string().to_lowercase());
        let tcb = snp.reported_tcb;
        let parts = [
            ("fmc", tcb.fmc.filter(|_| self.amd)),
            ("bootloader", Some(tcb.bootloader)),
            ("tee", Some(tcb.tee)),
            ("snp", Some(tcb.snp)),
        ];
        // Not the microcode: each processor of a family counts its own, and the advisories know which is which.
        let parts: Vec<String> = parts
            .into_iter()
            .filter_map(|(name, part)| part.filter(|part| *part > 0).map(|part| format!("{name} = {part}")))
            .collect();
        if !parts.is_empty() {
            draft.shown(
                "the TCB of the signing key: compare with AMD's bulletins for the family; lower minima accept older firmware",
                &format!("reported-tcb = {{ {product} = {{ {} }} }}", parts.join(", ")),
            );
        }
    }

    fn allowances(&self, draft: &mut Draft) {
        let mut allowed = Vec::new();
        if matches!(self.binding, BindingArgument::None) {
            allowed.push("unbound-channel = true");
            if self.url.starts_with("http://") {
                allowed.push("plain-http = true");
            }
        }
        if self.allow_unverified_name {
            allowed.push("unverified-name = true");
        }
        if !allowed.is_empty() {
            draft.line("\n[allow]");
            allowed.into_iter().for_each(|line| draft.line(line));
        }
    }
}

/// What is to be known before the measurement of a paravisor is pinned: the pin accepts it without a minimum version.
pub(super) fn paravisor_note(snp: &SnpClaims) -> Option<String> {
    let found = format!("guest svn {} of family {}, ID key {}", snp.report_guest_svn, snp.family_id, snp.id_key_digest);
    match ParavisorFix::shown_by(snp) {
        ParavisorFix::Present => None,
        ParavisorFix::Missing => Some(format!(
            "NOTE: this paravisor is BELOW the floor of CVE-2025-49707 ({found}): the VM's administrator may have replaced the \
             attestation key. A policy that pins its measurement accepts it all the same. Redeploy the VM and learn again."
        )),
        _ => Some(format!(
            "NOTE: this release does not know this paravisor ({found}), nor whether it has the fix of CVE-2025-49707. A \
             policy that pins its measurement accepts it all the same."
        )),
    }
}

/// Whether a PCR should be pinned, and what it means in an Azure CVM.
const fn meaning_of_pcr(index: u8) -> (bool, &'static str) {
    match index {
        0..=3 => (false, "firmware of the paravisor, which differs by host and is in the launch measurement already"),
        4 => (true, "boot loader, or the unified kernel image; the same for all VMs of an image"),
        5 => (false, "partition table and settings of the boot loader"),
        6 => (false, "the id of the VM, which vm-ids requires better"),
        7 => (true, "Secure Boot: its state, keys and authorities"),
        8 => (true, "commands of GRUB; zeros without it"),
        9 => (true, "initial file system and command line of the kernel"),
        10 => (false, "files that IMA measured, in the order of their use"),
        11 => (true, "sections of a unified kernel image; zeros without one"),
        12 => (true, "overrides of the kernel's command line, credentials and configuration; pin it with 11"),
        13 => (true, "system extensions; zeros without them"),
        14 => (true, "keys of the machine's owner (MOK) in shim"),
        _ => (true, "root volume and identity of the system, where systemd measures them"),
    }
}

#[derive(Default)]
struct Draft {
    text: String,
}

impl Draft {
    fn line(&mut self, line: &str) {
        // A String takes whatever is written to it.
        let _ = writeln!(self.text, "{line}");
    }

    fn comment(&mut self, text: &str) {
        self.line(&format!("# {text}"));
    }

    /// A line that only the peer vouches for, and where to check it.
    fn shown(&mut self, check: &str, line: &str) {
        self.line(&format!("{line} # {SHOWN}: {check}"));
    }

    /// The same, for a line that is not in force.
    fn optional(&mut self, check: &str, line: &str) {
        self.line(&format!("# {line} # {SHOWN}: {check}"));
    }
}

/// A text in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A text from elsewhere in a comment: on one line.
fn escaped(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
