//! The schema of a policy file, and its validation.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::PolicyError;
use super::guest::GuestIdentity;
use super::pcrs::PCRS;
use super::require_table::{Requested, Requirements};
use super::strict_serde;
use super::trust::Trust;
use super::uvm::UvmRequirement;
use super::workload::{Binding, Workload};
use crate::json::{self, Value};
use crate::types::{KeyDigest, Measurement, Product, SigningKey, shorten};

/// A policy as written in a file. [`super::Policy`] is one that has passed [`Document::validate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Document {
    pub(super) version: u32,
    pub(super) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) binding: Option<Binding>,
    pub(super) trust: Trust,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<Workload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) guest: Option<GuestIdentity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uvm: Option<UvmRequirement>,
    #[serde(default, deserialize_with = "non_empty_requirements", skip_serializing_if = "is_default")]
    pub(super) require: Requirements,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) allow: Allowances,
}

/// MAA's `x-ms-compliance-status` of a confidential VM in Azure.
pub(crate) const COMPLIANT_CVM: &str = "azure-compliant-cvm";
/// MAA's `x-ms-compliance-status` of a confidential container under an endorsed utility VM.
const COMPLIANT_UVM: &str = "azure-compliant-uvm";

/// The kind of TEE that the application runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    ConfidentialContainer,
    ConfidentialVm,
    SnpGuest,
}

/// The relaxations of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Allowances {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) debug: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) migration: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unbound_channel: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) plain_http: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unverified_name: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) direct_vm_token: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) old_paravisor: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) report_of_earlier_boot: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads the table `require`, and refuses an empty one, whose author certainly meant to require something.
fn non_empty_requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Requirements, D::Error> {
    let require = Requirements::deserialize(deserializer)?;
    if is_default(&require) {
        return Err(D::Error::custom("`require` requires nothing; leave it out, or say what is required"));
    }
    Ok(require)
}

impl Document {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn new(kind: Kind, trust: Trust) -> Self {
        Self {
            version: Self::VERSION,
            kind,
            binding: None,
            trust,
            workload: None,
            guest: None,
            uvm: None,
            require: Requirements::default(),
            allow: Allowances::default(),
        }
    }

    pub(super) fn from_toml(text: &str) -> Result<Self, PolicyError> {
        check_length(text)?;
        let read = toml::Deserializer::parse(text).and_then(strict_serde::read);
        read.map_err(|error| malformed(error.span().map(|span| Place::of(text, span.start)), error.message()))
    }

    pub(super) fn from_json(text: &str) -> Result<Self, PolicyError> {
        check_length(text)?;
        // serde's maps keep the last of two equal keys; the strict reader refuses duplicates.
        let value = json::parse(text.as_bytes()).map_err(|error| malformed(None, &error.to_string()))?;
        if has_null(&value) {
            return Err(malformed(None, "`null` is no value of a policy; leave out what is not required"));
        }
        let read = || {
            let mut reader = serde_json::Deserializer::from_str(text);
            let document = strict_serde::read(&mut reader)?;
            reader.end().map(|()| document)
        };
        read().map_err(|error: serde_json::Error| {
            let place = Place { line: error.line(), column: error.column() };
            let message = error.to_string();
            let message = message.strip_suffix(&format!(" at line {} column {}", place.line, place.column));
            malformed((place.line > 0).then_some(place), message.unwrap_or(&error.to_string()))
        })
    }

    pub(super) fn to_toml(&self) -> String {
        // Cannot fail: strings, integers, arrays and tables with string keys exist in both TOML and JSON.
        toml::to_string(self).unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// See [`super::Policy::usual_compliance_status`].
    pub(super) fn usual_compliance_status(&self) -> Option<&'static str> {
        match self.kind {
            Kind::ConfidentialVm => Some(COMPLIANT_CVM),
            Kind::ConfidentialContainer => self.uvm.is_some().then_some(COMPLIANT_UVM),
            Kind::SnpGuest => None,
        }
    }

    pub(super) fn binding(&self) -> Binding {
        self.workload.as_ref().map(|workload| workload.binding).or(self.binding).unwrap_or(Binding::None)
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if self.version != Self::VERSION {
            return Err(PolicyError::UnsupportedVersion { found: self.version });
        }
        self.trust.validate()?;
        match self.kind {
            Kind::ConfidentialContainer => self.validate_container()?,
            Kind::ConfidentialVm => self.validate_vm()?,
            Kind::SnpGuest => self.validate_snp_guest()?,
        }
        let of_a_vm = self.require.vm_configuration.is_some() || self.require.ak_certificate;
        if of_a_vm && self.kind != Kind::ConfidentialVm {
            return Err(PolicyError::Contradiction {
                reason: "`require.vm-configuration` and `require.ak-certificate` are for confidential VMs of Azure; drop them",
            });
        }
        let (amd, maa) = (self.trust.amd.is_some(), self.trust.maa.is_some());
        self.require.validate(Requested { amd, maa, paravisor: amd && self.kind == Kind::ConfidentialVm })?;
        self.validate_no_two_lists()?;
        self.validate_signers()?;
        self.validate_vmpl()?;
        self.validate_advisories()?;
        self.validate_tee()?;
        self.validate_allowances()
    }

    fn validate_container(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        let Some(workload) = &self.workload else {
            return contradiction("a confidential container needs `workload` with `host-data` and `binding`");
        };
        if self.guest.is_some() || self.binding.is_some() {
            return contradiction(
                "a confidential container takes no `guest`, and `binding` only in `workload`; drop them, or use another `kind`",
            );
        }
        workload.validate()?;
        if let Some(uvm) = &self.uvm {
            uvm.validate()?;
            if self.trust.amd.is_some() {
                uvm.validate_issuer()?;
            }
        }
        if self.uvm.is_none() && self.require.measurements.is_none() {
            return Err(PolicyError::HostDataNotAnchored);
        }
        Ok(())
    }

    fn validate_vm(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        let Some(guest) = &self.guest else {
            return contradiction("a confidential VM needs `guest`, which says which VM is accepted");
        };
        if self.binding.is_none() {
            return contradiction("a confidential VM needs `binding`: `own-key`, `own-connection` or `none`");
        }
        if self.workload.is_some() || self.uvm.is_some() {
            return contradiction(
                "`workload` and `uvm` belong to a confidential container, and a VM has no CCE policy; drop them",
            );
        }
        if self.trust.amd.is_some() && self.binding() == Binding::None {
            return contradiction(
                "a confidential VM under `trust.amd` needs an agent that binds: nothing but the quote of its virtual TPM is fresh, \
                 and `/attest/azure-vm` has no unbound form; use `binding = \"own-key\"`, or `trust.maa` alone",
            );
        }
        // The name that the front end is validated under is its own, and MAA's token says nothing of what runs in the VM: a front end
        // could attest a VM of its own, with the same paravisor.
        if self.binding() == Binding::OwnMessageKey {
            return contradiction(
                "a confidential VM has no `own-message-key`: without the TLS key nothing shows that it is not a VM of the front end's own; \
                 use `own-key` or `own-connection`, with TLS that ends in the VM",
            );
        }
        guest.validate()?;
        if guest.pcrs.is_some() && self.trust.amd.is_none() {
            return Err(PolicyError::NotCoveredByTrust { requirement: PCRS, needs: "AMD" });
        }
        let pinned = self.measurements().is_some() || self.id_keys().is_some() || guest.mrtd.is_some();
        if guest.allow_any_azure_cvm && pinned {
            return contradiction(
                "`guest.allow-any-azure-cvm` accepts any VM, while `measurements`, `id-keys` or `mrtd` say which; drop one of them",
            );
        }
        Ok(())
    }

    fn validate_snp_guest(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        if self.guest.as_ref().is_none_or(|guest| guest.measurements.is_none()) {
            return contradiction(
                "an SNP guest needs `guest.measurements`: nothing else in its report says what was launched",
            );
        }
        if self.binding.is_none() {
            return contradiction(
                "an SNP guest needs `binding`: `own-key`, `own-connection`, `own-message-key` or `none`",
            );
        }
        if self.workload.is_some() || self.uvm.is_some() {
            return contradiction(
                "`workload` and `uvm` belong to a confidential container, and an SNP guest has no CCE policy; drop them",
            );
        }
        if self.trust.maa.is_some() || self.trust.amd.is_none() {
            return contradiction(
                "an SNP guest is judged by its hardware report alone; use `trust.amd`, without `trust.maa`",
            );
        }
        let chips_only = self.require.signing_keys.as_deref() == Some(&[SigningKey::Vcek]);
        if self.require.csp_ids.is_none() && !chips_only {
            return contradiction(
                "a VLEK of any cloud provider would pass; name the providers (`require.csp-ids`), or accept only keys of \
                 chips (`require.signing-keys = [\"vcek\"]`)",
            );
        }
        if self.guest.as_ref().is_some_and(|guest| guest.allow_any_azure_cvm) {
            return contradiction("`guest.allow-any-azure-cvm` is for confidential VMs of Azure; drop it");
        }
        if self.guest.as_ref().is_some_and(|guest| guest.pcrs.is_some()) {
            return contradiction(
                "`guest.pcrs` is for confidential VMs of Azure: what a TPM outside of the guest states is asserted by the host; drop it",
            );
        }
        self.guest.as_ref().map_or(Ok(()), GuestIdentity::validate)
    }

    fn validate_allowances(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        if self.allow.unbound_channel && self.binding() != Binding::None {
            return contradiction(
                "`allow.unbound-channel` is for workloads with `binding = \"none\"`: one that binds its own key is never \
                 spoken to over an unbound channel",
            );
        }
        if self.allow.plain_http && !self.allow.unbound_channel {
            return contradiction("`allow.plain-http` needs `allow.unbound-channel`: a bound channel is always TLS");
        }
        if self.allow.unverified_name && self.allow.unbound_channel {
            return contradiction(
                "`allow.unverified-name` and `allow.unbound-channel` together would leave nothing that says who the \
                 peer is; drop one of them",
            );
        }
        if self.allow.direct_vm_token && self.kind != Kind::ConfidentialVm {
            return contradiction("`allow.direct-vm-token` is for confidential VMs; drop it");
        }
        if self.allow.old_paravisor && (self.kind != Kind::ConfidentialVm || self.measurements().is_some()) {
            return contradiction(
                "`allow.old-paravisor` is for confidential VMs whose launch measurement is not pinned; drop it",
            );
        }
        if self.allow.old_paravisor && self.trust.amd.is_some() {
            return contradiction(
                "`allow.old-paravisor` contradicts `trust.amd`: the administrator of a VM with an old paravisor can replace its \
                 attestation key, so that a quote proves nothing; drop one of them",
            );
        }
        if self.allow.report_of_earlier_boot && (self.kind != Kind::ConfidentialVm || self.trust.amd.is_none()) {
            return contradiction(
                "`allow.report-of-earlier-boot` is for confidential VMs under `trust.amd`, where the age of the report counts; drop it",
            );
        }
        Ok(())
    }

    pub(super) fn measurements(&self) -> Option<&[Measurement]> {
        let guest = self.guest.as_ref().and_then(|guest| guest.measurements.as_deref());
        guest.or(self.require.measurements.as_deref())
    }

    pub(super) fn id_keys(&self) -> Option<&[KeyDigest]> {
        let guest = self.guest.as_ref().and_then(|guest| guest.id_keys.as_deref());
        guest.or(self.require.id_keys.as_deref())
    }

    pub(super) fn products(&self) -> Option<&[Product]> {
        let amd = self.trust.amd.as_ref().and_then(|amd| amd.products.as_deref());
        amd.or(self.require.products.as_deref())
    }

    /// Returns the accepted kinds of key that sign reports: [`SigningKey::Vcek`] unless the policy says otherwise. `None` if it names
    /// providers instead, whose keys are VLEKs.
    pub(super) fn signing_keys(&self) -> Option<&[SigningKey]> {
        match (&self.require.signing_keys, &self.require.csp_ids) {
            (Some(accepted), _) => Some(accepted),
            (None, Some(_)) => None,
            (None, None) => Some(&[SigningKey::Vcek]),
        }
    }

    /// Checks that one key can sign a report that meets all that is required of its signer.
    fn validate_signers(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        let Requirements { signing_keys, csp_ids, chip_ids, .. } = &self.require;
        let only = |kind| signing_keys.as_deref() == Some(&[kind]);
        if csp_ids.is_some() && only(SigningKey::Vcek) {
            return contradiction(
                "`require.csp-ids` needs a VLEK, and `require.signing-keys` accepts none; drop one of them",
            );
        }
        if chip_ids.is_some() && (csp_ids.is_some() || only(SigningKey::Vlek)) {
            return contradiction(
                "`require.chip-ids` needs a VCEK, since a VLEK names no chip, and `require.csp-ids` or `require.signing-keys` accepts \
                 none; drop one of them",
            );
        }
        Ok(())
    }

    /// Checks that the claims of a paravisor, which runs at VMPL 0, are those of a report at VMPL 0: at another level, software in the VM
    /// chooses what its report covers.
    fn validate_vmpl(&self) -> Result<(), PolicyError> {
        let statuses = self.require.compliance_status.iter().flatten();
        let of_paravisor =
            self.kind == Kind::ConfidentialVm || statuses.into_iter().any(|status| status == COMPLIANT_CVM);
        if of_paravisor && self.require.vmpl.iter().flatten().any(|vmpl| *vmpl != 0) {
            return Err(PolicyError::Contradiction {
                reason: "`require.vmpl` with another level than 0 is not for confidential VMs of Azure: their evidence is bound through \
                         the report of the paravisor, which is of level 0; drop it",
            });
        }
        Ok(())
    }

    fn validate_advisories(&self) -> Result<(), PolicyError> {
        let waived = self.trust.amd.as_ref().and_then(|amd| amd.waived_advisories.as_deref()).unwrap_or_default();
        if self.require.advisories.iter().flatten().any(|name| waived.contains(name)) {
            let reason = "`trust.amd.waived-advisories` waives what `require.advisories` requires; drop one of them";
            return Err(PolicyError::Contradiction { reason });
        }
        Ok(())
    }

    /// Checks that no value is restricted by two lists, one of which would be ignored.
    fn validate_no_two_lists(&self) -> Result<(), PolicyError> {
        let (require, guest) = (&self.require, self.guest.as_ref());
        let given_twice = [
            (
                guest.is_some_and(|guest| guest.measurements.is_some()) && require.measurements.is_some(),
                "`guest.measurements` and `require.measurements` are the same requirement; give it once",
            ),
            (
                guest.is_some_and(|guest| guest.id_keys.is_some()) && require.id_keys.is_some(),
                "`guest.id-keys` and `require.id-keys` are the same requirement; give it once",
            ),
            (
                self.trust.amd.as_ref().is_some_and(|amd| amd.products.is_some()) && require.products.is_some(),
                "`trust.amd.products` and `require.products` are the same requirement; give it once",
            ),
        ];
        let first = given_twice.into_iter().find(|(twice, _)| *twice);
        first.map_or(Ok(()), |(_, reason)| Err(PolicyError::Contradiction { reason }))
    }
}

fn check_length(text: &str) -> Result<(), PolicyError> {
    let (found, max) = (text.len(), super::Policy::MAX_BYTES);
    if found > max { Err(PolicyError::TooLarge { found, max }) } else { Ok(()) }
}

/// A position in a file, counted from one. In TOML it is the start of the faulty item, in JSON where the parser stopped.
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        Self { line, column }
    }
}

/// Formats an error as one line, with untrusted names escaped.
fn malformed(place: Option<Place>, message: &str) -> PolicyError {
    let message = shorten(&message.lines().collect::<Vec<_>>().join(", "), 300);
    let reason = match place {
        Some(Place { line, column }) => format!("line {line}, column {column}: {message}"),
        None => message,
    };
    PolicyError::Malformed { reason }
}

/// Refuses `null`, which programs write for a value that they do not have: it never means to require nothing.
fn has_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(object) => object.members().any(|(_, value)| has_null(value)),
        _ => false,
    }
}
