use std::fmt;
use std::time::Duration;

use super::{Recorder, hardware};
use crate::appraisal::Appraisal;
use crate::bind::OneTee;
use crate::challenge::{Channel, ServerName};
use crate::claims::{Bit, GuestPolicy, MaaClaims, SnpClaims, TokenShape, UvmClaims};
use crate::error::{AttestationError, any_of};
use crate::evidence::KeySetSource;
use crate::policy::{GuestPolicyBit, Kind, Must, Policy, TcbMinima};
use crate::snp::VerifiedReport;
use crate::types::{Product, Tcb, UnixTime};

/// What the appraisal looks at.
pub(crate) struct Facts<'a> {
    pub(crate) tee: &'a OneTee,
    pub(crate) snp: &'a SnpClaims,
    pub(crate) key_set: KeySetSource,
    /// The connection; `None` for recorded evidence.
    pub(crate) channel: Option<(Channel, ServerName)>,
    pub(crate) now: UnixTime,
}

/// Runs every check of the policy.
pub(crate) fn appraise(facts: &Facts<'_>, policy: &Policy) -> Result<Appraisal, AttestationError> {
    let mut checks = Recorder::default();
    connection(&mut checks, facts);
    workload(&mut checks, facts.snp, policy);
    sources(&mut checks, facts);
    guest_policy(&mut checks, &facts.snp.policy, policy);
    measurement(&mut checks, facts.snp, policy);
    uvm(&mut checks, facts.tee.uvm(), policy);
    if let Some(token) = &facts.tee.token {
        maa(&mut checks, token.maa(), facts.now, policy);
    }
    identity(&mut checks, facts.snp, policy);
    let product = facts.snp.product;
    tcb(&mut checks, "reported", "reported tcb", &facts.snp.reported_tcb, product, &policy.requirements().reported_tcb);
    if let Some(report) = &facts.tee.report {
        hardware::appraise(&mut checks, report, policy);
    }
    checks.finish()
}

fn connection(checks: &mut Recorder, facts: &Facts<'_>) {
    const UNBOUND: &str = "bound to the attested TLS key";
    let Some((channel, server_name)) = facts.channel else {
        checks.not_evaluated("channel", "recorded evidence has no channel", "none");
        checks.not_evaluated("freshness", "recorded evidence answers nobody's nonce", "none");
        return;
    };
    match channel {
        Channel::Bound => checks.passed("channel", UNBOUND, "bound to the attested TLS key"),
        Channel::UnboundTls => {
            checks.allowed("channel", UNBOUND, "NOT BOUND: TLS, but the evidence does not name the peer's key");
        }
        Channel::UnboundCleartext => {
            checks.allowed(
                "channel",
                UNBOUND,
                "NOT BOUND AND IN CLEAR: anyone on the path reads and changes everything",
            );
        }
    }
    match server_name {
        ServerName::Validated => checks.passed("server name", "validated", "validated"),
        ServerName::NotEvaluated => checks.not_evaluated(
            "server name",
            "goes by the attested key alone (proves what runs, not whose instance it is)",
            "any",
        ),
    }
    checks.passed("freshness", "made for our nonce", "made for our nonce");
}

fn workload(checks: &mut Recorder, snp: &SnpClaims, policy: &Policy) {
    let Some(workload) = policy.workload() else {
        let why = "Azure CVM: the evidence does not show which operating system or application runs";
        return checks.not_evaluated("workload", why, snp.host_data.to_string());
    };
    let (expected, actual) = (workload.host_data.clone(), snp.host_data);
    checks.require(
        "workload",
        workload.host_data.contains(&actual),
        format!("host data {}", any_of(&expected)),
        format!("host data {actual}"),
        move |appraisal| AttestationError::InvalidEnclaveCode { expected, actual, appraisal },
    );
    if workload.allow_permissive && snp.host_data.is_known_allow_all() {
        checks.allowed("cce policy", "not an allow-all policy", "ALLOWS ALL: the host can run any code in the TEE");
    }
}

fn sources(checks: &mut Recorder, facts: &Facts<'_>) {
    match &facts.tee.token {
        Some(token) => {
            let maa = token.maa();
            let signed = format!("signed by {}, key {}", maa.issuer, crate::types::shorten(&maa.key_id, 64));
            checks.passed("maa token", "signed by the named MAA instance", signed);
            checks.passed("key set", "pinned, or fetched over authenticated TLS", facts.key_set.to_string());
        }
        None => checks.not_evaluated("maa token", "not asked: the policy trusts AMD alone", "none"),
    }
    match &facts.tee.report {
        Some(report) => {
            let signed = format!("signed down to AMD's {} root", report.product());
            checks.passed("hardware report", "signed down to AMD's root", signed);
        }
        None => checks.not_evaluated("hardware report", "not asked: the policy trusts MAA's check of it", "none"),
    }
    if facts.tee.report.as_ref().is_some_and(VerifiedReport::is_under_custom_anchors) {
        checks.allowed("anchors", "built-in", "custom: the roots are the caller's own");
    }
}

fn guest_policy(checks: &mut Recorder, actual: &GuestPolicy, policy: &Policy) {
    let allow = policy.allowances();
    match (actual.debug, allow.debug) {
        (false, _) => checks.passed("debug", "off", "off"),
        (true, true) => checks.allowed("debug", "off", "ON: the host can read the guest's memory"),
        (true, false) => {
            checks.failed("debug", "off", "on", |appraisal| AttestationError::DebugMode { appraisal });
        }
    }
    match (actual.migrate_ma, allow.migration) {
        (false, _) => checks.passed("migration", "off", "off"),
        (true, true) => checks.allowed("migration", "off", "ON: an agent can move the guest"),
        (true, false) => {
            checks.failed("migration", "off", "on", |appraisal| AttestationError::MigrationAllowed { appraisal });
        }
    }
    for (bit, must) in &policy.requirements().guest_policy {
        let (name, actual) = guest_policy_bit(*bit, actual);
        let expected = match must {
            Must::BeSet => "set",
            Must::BeClear => "clear",
        };
        let found = match actual {
            Bit::NotReported => {
                checks.not_reported(name, expected);
                continue;
            }
            Bit::Set => "set",
            Bit::Clear => "clear",
        };
        let bit = Some(*bit);
        checks.require(name, expected == found, expected, found, move |appraisal| AttestationError::WrongGuestPolicy {
            bit,
            expected: format!("{name} {expected}"),
            actual: found.to_owned(),
            appraisal,
        });
    }
}

fn guest_policy_bit(bit: GuestPolicyBit, policy: &GuestPolicy) -> (&'static str, Bit) {
    match bit {
        GuestPolicyBit::Smt => ("policy smt", policy.smt.into()),
        GuestPolicyBit::SingleSocket => ("policy single-socket", policy.single_socket),
        GuestPolicyBit::CxlAllow => ("policy cxl-allow", policy.cxl_allow),
        GuestPolicyBit::MemAes256Xts => ("policy mem-aes-256-xts", policy.mem_aes_256_xts),
        GuestPolicyBit::RaplDis => ("policy rapl-dis", policy.rapl_dis),
        GuestPolicyBit::CiphertextHidingDram => ("policy ciphertext-hiding", policy.ciphertext_hiding_dram),
        GuestPolicyBit::PageSwapDisable => ("policy page-swap-disable", policy.page_swap_disable),
    }
}

fn measurement(checks: &mut Recorder, snp: &SnpClaims, policy: &Policy) {
    const NAME: &str = "launch measurement";
    let actual = snp.measurement;
    let guest = policy.guest().and_then(|guest| guest.measurements.as_ref());
    let lists = [guest, policy.requirements().measurements.as_ref()];
    let mut lists = lists.into_iter().flatten().peekable();
    if lists.peek().is_none() {
        let why = if policy.uvm().is_some() {
            "no reference value in the policy; the endorsement vouches for it"
        } else {
            "no reference value in the policy"
        };
        return checks.not_evaluated(NAME, why, actual.to_string());
    }
    for expected in lists {
        let expected = expected.clone();
        checks.require(NAME, expected.contains(&actual), any_of(&expected), actual.to_string(), move |appraisal| {
            AttestationError::WrongMeasurement { expected, actual, appraisal }
        });
    }
}

fn uvm(checks: &mut Recorder, endorsed: Option<&UvmClaims>, policy: &Policy) {
    let Some(required) = policy.uvm() else {
        let why = match policy.kind() {
            Kind::ConfidentialContainer => "the policy pins the launch measurement instead",
            Kind::ConfidentialVm => "a confidential VM has no utility VM",
        };
        return checks.not_evaluated("uvm endorsement", why, "any");
    };
    let expected = format!("security version {} or later", required.minimum_svn);
    let Some(endorsed) = endorsed else {
        return checks.not_reported("uvm endorsement", expected);
    };
    for (name, field, expected, actual) in [
        ("uvm issuer", "issuer", required.issuer(), &endorsed.issuer),
        ("uvm feed", "feed", required.feed(), &endorsed.feed),
    ] {
        let (expected, actual) = (expected.to_owned(), crate::types::shorten(actual, 200));
        let holds = expected == actual;
        checks.require(name, holds, expected.clone(), actual.clone(), move |appraisal| AttestationError::WrongUvm {
            field,
            expected,
            actual,
            appraisal,
        });
    }
    let (minimum, actual) = (required.minimum_svn, endorsed.svn);
    let found = format!("security version {actual}");
    checks.require("uvm endorsement", actual >= minimum, expected, found, move |appraisal| {
        AttestationError::UvmTooOld { minimum, actual, appraisal }
    });
}

fn maa(checks: &mut Recorder, maa: &MaaClaims, now: UnixTime, policy: &Policy) {
    tee_kind(checks, maa, policy);
    compliance(checks, maa, policy);
    let pinned = policy.maa().and_then(|trust| trust.policy_hash);
    match pinned {
        Some(expected) => {
            let actual = maa.policy_hash;
            checks.require(
                "maa policy hash",
                expected == actual,
                expected.to_string(),
                actual.to_string(),
                move |appraisal| AttestationError::WrongMaaPolicy { expected, actual, appraisal },
            );
        }
        None if maa.issuer.is_shared() => {
            let why = "not pinned; a shared instance applies Microsoft's default policy";
            checks.not_evaluated("maa policy hash", why, maa.policy_hash.to_string());
        }
        None => checks.allowed("maa policy hash", "pinned", "any: the owner of the instance decides what is compliant"),
    }
    if let Some(maximum) = policy.requirements().max_token_age_seconds {
        let age = now.as_secs().saturating_sub(maa.issued_at.as_secs());
        let (maximum, actual) = (Duration::from_secs(maximum), Duration::from_secs(age));
        let expected = format!("at most {} s", maximum.as_secs());
        checks.require("token age", actual <= maximum, expected, format!("{age} s"), move |appraisal| {
            AttestationError::TokenTooOld { maximum, actual, appraisal }
        });
    }
}

/// The layout and the compliance verdict together say which kind of TEE MAA judged: a direct token of a confidential VM
/// has a container's layout.
fn tee_kind(checks: &mut Recorder, maa: &MaaClaims, policy: &Policy) {
    const CONTAINER: &str = "a confidential container";
    const VM: &str = "a confidential VM";
    const DIRECT: &str = "a confidential VM, attested directly";
    let compliant_cvm = maa.compliance_status.as_deref() == Some("azure-compliant-cvm");
    let actual = match (maa.shape, compliant_cvm) {
        (TokenShape::AzureVm, _) => VM,
        (TokenShape::SevSnpVm, true) => DIRECT,
        (TokenShape::SevSnpVm, false) => CONTAINER,
    };
    let expected = match (policy.kind(), policy.allowances().direct_vm_token) {
        (Kind::ConfidentialContainer, _) => CONTAINER,
        (Kind::ConfidentialVm, true) => DIRECT,
        (Kind::ConfidentialVm, false) => VM,
    };
    let holds = expected == actual || (expected == DIRECT && actual == VM);
    checks.require("kind of tee", holds, expected, actual, move |appraisal| AttestationError::WrongTeeKind {
        expected,
        actual,
        appraisal,
    });
}

fn compliance(checks: &mut Recorder, maa: &MaaClaims, policy: &Policy) {
    const NAME: &str = "compliance";
    let own = policy.requirements().compliance_status.as_ref();
    let expected = match (own, policy.kind(), policy.uvm()) {
        (Some(list), _, _) => any_of(list),
        (None, Kind::ConfidentialVm, _) => "azure-compliant-cvm".to_owned(),
        (None, Kind::ConfidentialContainer, Some(_)) => "azure-compliant-uvm".to_owned(),
        (None, Kind::ConfidentialContainer, None) => {
            let status = maa.compliance_status.as_deref().unwrap_or("none");
            let why = "the policy pins the launch measurement instead";
            return checks.not_evaluated(NAME, why, crate::types::shorten(status, 64));
        }
    };
    let status = maa.compliance_status.as_deref().map(|status| crate::types::shorten(status, 64));
    let holds = match (own, &maa.compliance_status) {
        (_, None) => false,
        (Some(list), Some(status)) => list.contains(status),
        (None, Some(status)) => *status == expected,
    };
    let shown = status.clone().unwrap_or_else(|| "none".to_owned());
    checks.require(NAME, holds, expected.clone(), shown, move |appraisal| AttestationError::NonCompliantUvm {
        expected,
        status,
        appraisal,
    });
}

fn identity(checks: &mut Recorder, snp: &SnpClaims, policy: &Policy) {
    let require = policy.requirements();
    let vmpl = require.vmpl.clone().unwrap_or_else(|| vec![0]);
    let actual = snp.vmpl;
    checks.require("vmpl", vmpl.contains(&actual), any_of(&vmpl), actual.to_string(), move |appraisal| {
        AttestationError::WrongVmpl { expected: vmpl, actual, appraisal }
    });
    if let Some(minimum) = require.minimum_report_guest_svn {
        let actual = snp.report_guest_svn;
        let expected = format!("{minimum} or later");
        checks.require("report guest svn", actual >= minimum, expected, actual.to_string(), move |appraisal| {
            AttestationError::GuestSvnTooOld { minimum, actual, appraisal }
        });
    }
    let guest_keys = policy.guest().and_then(|guest| guest.id_keys.as_deref());
    one_of(checks, "id key", guest_keys, &snp.id_key_digest);
    one_of(checks, "id key", require.id_keys.as_deref(), &snp.id_key_digest);
    one_of(checks, "author key", require.author_keys.as_deref(), &snp.author_key_digest);
    one_of(checks, "family id", require.family_ids.as_deref(), &snp.family_id);
    one_of(checks, "image id", require.image_ids.as_deref(), &snp.image_id);
    one_of(checks, "report id", require.report_ids.as_deref(), &snp.report_id);
    chip(checks, "chip id", require.chip_ids.as_deref(), snp.chip_id.as_ref().filter(|id| !id.is_zero()));
    let amd_products = policy.amd().and_then(|amd| amd.products.as_deref());
    chip(checks, "product", amd_products, snp.product.as_ref());
    chip(checks, "product", require.products.as_deref(), snp.product.as_ref());
}

fn one_of<T: PartialEq + fmt::Display>(checks: &mut Recorder, name: &'static str, accepted: Option<&[T]>, actual: &T) {
    let Some(accepted) = accepted else { return };
    let (expected, found) = (any_of(accepted), actual.to_string());
    checks.require(name, accepted.contains(actual), expected.clone(), found.clone(), move |appraisal| {
        AttestationError::WrongGuestIdentity { field: name, expected, actual: found, appraisal }
    });
    checks.identifying();
}

fn chip<T: PartialEq + fmt::Display>(
    checks: &mut Recorder,
    name: &'static str,
    accepted: Option<&[T]>,
    actual: Option<&T>,
) {
    let Some(accepted) = accepted else { return };
    let expected = any_of(accepted);
    let Some(actual) = actual else { return checks.not_reported(name, expected) };
    let found = actual.to_string();
    checks.require(name, accepted.contains(actual), expected.clone(), found.clone(), move |appraisal| {
        AttestationError::WrongChip { field: name, expected, actual: found, appraisal }
    });
    checks.identifying();
}

/// One TCB against the minimum for the product.
pub(super) fn tcb(
    checks: &mut Recorder,
    tcb: &'static str,
    name: &'static str,
    actual: &Tcb,
    product: Option<Product>,
    minima: &TcbMinima,
) {
    if minima.is_empty() {
        return checks.not_evaluated(name, "no minimum in the policy", actual.to_string());
    }
    let Some(minimum) = minima.for_product(product) else {
        return match product {
            None => checks.not_reported("product", "the product, to know which minimum holds"),
            Some(product) => {
                let expected = "a product that the policy has a minimum for".to_owned();
                checks.failed(name, expected.clone(), product.to_string(), move |appraisal| {
                    AttestationError::WrongChip { field: "product", expected, actual: product.to_string(), appraisal }
                });
            }
        };
    };
    tcb_floor(checks, tcb, name, actual, minimum, None);
}

pub(super) fn tcb_floor(
    checks: &mut Recorder,
    tcb: &'static str,
    name: &'static str,
    actual: &Tcb,
    minimum: &crate::policy::TcbMinimum,
    advisory: Option<&'static str>,
) {
    let expected = minimum.to_string();
    let Some((part, minimum, found)) = minimum.first_unmet(actual) else {
        return checks.passed(name, expected, actual.to_string());
    };
    checks.failed(name, expected, actual.to_string(), move |appraisal| AttestationError::TcbTooOld {
        tcb,
        part,
        minimum,
        actual: found,
        advisory: advisory.map(str::to_owned),
        appraisal,
    });
}
