//! [`Knob`]: what can be changed about a BlindBox while it runs.

use serde_json::Value;

use super::guest::Guest;
use super::guest::azure_vm::AzureVmKnob;
use super::guest::hardware_knob::HardwareKnob;
use super::maa::claims::TokenClaims;
use super::maa::token::TokenFault;
use crate::claims::TdAttributes;
use crate::types::{HostData, Measurement, Sha256Digest, SpkiDigest, Tcb, TlsExporter};

/// Bit 0 of the attributes of a TD.
const DEBUG: u64 = 1;
/// Bit 29 of the attributes of a TD.
const MIGRATABLE: u64 = 1 << 29;

/// One change to an emulated guest, its agent, or the tokens made for it. Several act in the order set.
///
/// Changes of the guest show in the token and in the hardware report alike; changes of claims and tokens only in the token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Knob {
    // The guest.
    /// The guest policy allows debugging: the host can read the guest's memory.
    Debug,
    /// The guest policy allows a migration agent.
    MigrationAllowed,
    /// Another launch measurement (of a TD: `MRTD`); the endorsement of the utility VM stays as it was.
    Measurement(Measurement),
    /// Another host data: another CCE policy.
    HostData(HostData),
    /// Asked for from another privilege level.
    Vmpl(u32),
    /// Another `GUEST_SVN` in the report (not the utility VM's).
    ReportGuestSvn(u32),
    /// Another reported TCB.
    ReportedTcb(Tcb),
    /// Other attributes of a TD.
    TdAttributes(u64),
    /// Another verdict of Intel on the TCB of a TD.
    TcbStatus(String),
    /// What MAA concludes about the utility VM; `None` leaves `x-ms-compliance-status` out.
    ComplianceStatus(Option<String>),
    /// Another security version of the utility VM in its endorsement.
    UvmSvn(u64),
    /// Another issuer of the endorsement, in the token. The document's issuer is always the one who signs it.
    UvmIssuer(String),
    /// Another feed of the endorsement.
    UvmFeed(String),
    /// An endorsement of another measurement than the one launched.
    UvmMeasurement(Measurement),
    /// No endorsement of the utility VM.
    NoUvmEndorsement,

    // The runtime data that the agent writes in the bound form.
    /// Attests a nonce that no one sent this time.
    OldNonce,
    /// Attests a nonce that no one sent this time, but sends back the proper runtime data.
    OldToken,
    /// Sends its first response on this path again; one made for another nonce if there was none yet.
    OldAnswer,
    /// Names another TLS key than that of the connection.
    ForeignKey(SpkiDigest),
    /// Names another connection, where the request is for evidence about the connection.
    ForeignExporter(TlsExporter),
    /// Names another message key than the one that its response has, where the request is for evidence about a message key.
    ForeignMessageKey(Sha256Digest),
    /// Attests these bytes, and sends them back.
    RuntimeData(Vec<u8>),
    /// Attests the proper bytes, but sends these back.
    RuntimeDataInAnswer(Vec<u8>),

    // The agent.
    /// `/attest/maa` is not there: 404, as when an agent was started without certificates.
    NoToken,
    /// Responds to a bound request with a token only, as an agent of the legacy form would.
    AnswerInLegacyForm,
    /// Refuses a bound request (400) since it has no `runtime_data`, as an agent of the legacy form does.
    RefuseBoundForm,
    /// Sets a member of the responses to attestation requests.
    AnswerMember(String, Value),
    /// Leaves a member out of the responses to attestation requests.
    WithoutAnswerMember(String),

    /// Does not know requests for evidence about the connection (400), as agents of `blindbox-bound-server/1` only.
    RefuseConnectionForm,
    /// Responds to a request for evidence about the connection or a message key with evidence that names the TLS key alone: a
    /// downgrade.
    AnswerInServerForm,
    /// Does not know requests for evidence about a message key (400), as agents before `blindbox-bound-message/1`.
    RefuseMessageForm,
    /// Declines every sealed message, as an instance that is busy or stops.
    DeclineMessages,

    // The hardware evidence.
    /// The hardware report is of this guest, the token of the usual one. It is taken as it is, on whichever chip it runs;
    /// [`super::Platform::place`] moves it to the usual one's.
    ReportOf(Box<Guest>),
    /// Changes the hardware evidence and leaves the token as it is.
    Hardware(HardwareKnob),
    /// Changes the evidence of a confidential VM and leaves the token as it is.
    AzureVm(AzureVmKnob),

    // The token.
    /// The token that comes with a report is of another one: of the same guest, for a nonce that no one sent this time.
    TokenOfAnotherReport,
    /// Sets a claim, by its path as in [`TokenClaims`].
    Claim(String, Value),
    /// Removes a claim.
    WithoutClaim(String),
    /// Signs or spoils the token in another way.
    Token(TokenFault),
}

impl Knob {
    /// Sets a claim, by its path as in [`TokenClaims`].
    #[must_use]
    pub fn claim(path: &str, value: impl Into<Value>) -> Self {
        Self::Claim(path.to_owned(), value.into())
    }

    /// Removes a claim.
    #[must_use]
    pub fn without_claim(path: &str) -> Self {
        Self::WithoutClaim(path.to_owned())
    }

    /// Sets a member of the responses to attestation requests.
    #[must_use]
    pub fn answer_member(name: &str, value: impl Into<Value>) -> Self {
        Self::AnswerMember(name.to_owned(), value.into())
    }

    /// Leaves a member out of the responses to attestation requests.
    #[must_use]
    pub fn without_answer_member(name: &str) -> Self {
        Self::WithoutAnswerMember(name.to_owned())
    }

    pub(crate) fn change_guest(&self, guest: &mut Guest) {
        let uvm = guest.uvm.as_mut();
        match self {
            Self::Debug => {
                guest.snp.policy.debug = true;
                guest.tdx.attributes = TdAttributes::new(guest.tdx.attributes.bits() | DEBUG);
                guest.tdx.debug_enabled = true;
            }
            Self::MigrationAllowed => {
                guest.snp.policy.migrate_ma = true;
                guest.tdx.attributes = TdAttributes::new(guest.tdx.attributes.bits() | MIGRATABLE);
            }
            Self::Measurement(measurement) => {
                guest.snp.measurement = *measurement;
                guest.tdx.mrtd = *measurement;
            }
            Self::TdAttributes(bits) => guest.tdx.attributes = TdAttributes::new(*bits),
            Self::TcbStatus(status) => guest.tdx.tcb_status.clone_from(status),
            Self::HostData(host_data) => guest.snp.host_data = *host_data,
            Self::Vmpl(vmpl) => guest.snp.vmpl = *vmpl,
            Self::ReportGuestSvn(svn) => guest.snp.report_guest_svn = *svn,
            Self::ReportedTcb(tcb) => guest.snp.reported_tcb = *tcb,
            Self::ComplianceStatus(status) => guest.compliance_status.clone_from(status),
            Self::UvmSvn(svn) => drop(uvm.map(|uvm| uvm.svn = *svn)),
            Self::UvmIssuer(issuer) => drop(uvm.map(|uvm| uvm.issuer.clone_from(issuer))),
            Self::UvmFeed(feed) => drop(uvm.map(|uvm| uvm.feed.clone_from(feed))),
            Self::UvmMeasurement(measurement) => drop(uvm.map(|uvm| uvm.measurement = *measurement)),
            Self::NoUvmEndorsement => guest.uvm = None,
            _ => {}
        }
    }

    pub(crate) fn change_claims(&self, claims: TokenClaims) -> TokenClaims {
        match self {
            Self::Claim(path, value) => claims.claim(path, value.clone()),
            Self::WithoutClaim(path) => claims.without(path),
            _ => claims,
        }
    }
}
