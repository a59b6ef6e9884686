//! Step 4: is all of it about the same TEE, this nonce and this channel? The only file that owns the formula.
//!
//! | evidence | what binds it |
//! |---|---|
//! | hardware report | `REPORT_DATA` = SHA-256(runtime data) and 32 zero bytes |
//! | token, top level `sevsnpvm` | the same, in `x-ms-sevsnpvm-reportdata`; and `x-ms-runtime` equals the runtime data |
//! | token, `azurevm` | `x-ms-runtime.client-payload` is `{"nonce": base64(hex(SHA-256(runtime data)))}`; that MAA checked the vTPM's quote over it is MAA's word |
//!
//! `REPORT_ID` is never zero. Where there is a token and a report it says that they are of the same guest, and every field
//! that both carry must be equal.

use crate::challenge::{Challenge, Peer, parse_bound_key};
use crate::claims::{Bit, SnpClaims, TokenShape, UvmClaims};
use crate::crypto;
use crate::error::{AttestationError, ChannelNotBound};
use crate::maa::VerifiedToken;
use crate::snp::VerifiedReport;
use crate::types::{ChipId, ReportData, UnixTime, difference, shorten};
use crate::uvm::VerifiedEndorsement;

/// How far our clock may be behind the clock that wrote `iat`.
const LEEWAY_SECONDS: u64 = 60;

/// Verified evidence that is all about one TEE.
#[derive(Clone, Debug)]
pub(crate) struct ConsistentEvidence {
    pub(crate) token: Option<VerifiedToken>,
    pub(crate) report: Option<VerifiedReport>,
    pub(crate) endorsement: Option<VerifiedEndorsement>,
    /// The TEE's state; the report's own word where there is one, since it carries more.
    pub(crate) snp: SnpClaims,
}

impl ConsistentEvidence {
    /// Takes verified evidence together, if it tells one story.
    pub(crate) fn new(
        token: Option<VerifiedToken>,
        report: Option<VerifiedReport>,
        endorsement: Option<VerifiedEndorsement>,
    ) -> Result<Self, AttestationError> {
        for claims in
            [token.as_ref().map(VerifiedToken::snp), report.as_ref().map(VerifiedReport::snp)].into_iter().flatten()
        {
            of_a_guest(claims)?;
        }
        let snp = match (&token, &report) {
            (Some(token), Some(report)) => {
                check_report_matches_token(token.snp(), report.snp())?;
                report.snp()
            }
            (None, Some(report)) => report.snp(),
            (Some(token), None) => token.snp(),
            (None, None) => {
                return Err(AttestationError::MissingEvidence { what: "an MAA token or a hardware report" });
            }
        };
        let snp = snp.clone();
        let one = Self { token, report, endorsement, snp };
        one.check_uvm_matches()?;
        Ok(one)
    }

    /// The utility VM's endorsement: the document's own word where there is one.
    pub(crate) fn uvm(&self) -> Option<&UvmClaims> {
        let endorsement = self.endorsement.as_ref().map(VerifiedEndorsement::claims);
        endorsement.or_else(|| self.token.as_ref().and_then(VerifiedToken::uvm))
    }

    /// An endorsement is of a launch measurement: that of this TEE, or it says nothing here.
    fn check_uvm_matches(&self) -> Result<(), AttestationError> {
        const ENDORSEMENT: &str = "uvm endorsement";
        const TOKEN: &str = "token";
        const FIELD: &str = "launch measurement";
        let token = self.token.as_ref().and_then(VerifiedToken::uvm);
        let document = self.endorsement.as_ref().map(VerifiedEndorsement::claims);
        if let Some(uvm) = token {
            equal(FIELD, ("token's uvm endorsement", &uvm.measurement), ("evidence", &self.snp.measurement))?;
        }
        if let Some(uvm) = document {
            equal(FIELD, (ENDORSEMENT, &uvm.measurement), ("evidence", &self.snp.measurement))?;
        }
        if let (Some(token), Some(document)) = (token, document) {
            equal("uvm issuer", (TOKEN, &token.issuer), (ENDORSEMENT, &document.issuer))?;
            equal("uvm feed", (TOKEN, &token.feed), (ENDORSEMENT, &document.feed))?;
            equal("uvm security version", (TOKEN, &token.svn), (ENDORSEMENT, &document.svn))?;
        }
        Ok(())
    }
}

/// Firmware draws the id of a guest at random when it is launched (AMD 56860, `GCTX.ReportID`). Zeros are the id of no guest,
/// and two guests that both have it could not be told apart.
fn of_a_guest(claims: &SnpClaims) -> Result<(), AttestationError> {
    if claims.report_id.is_zero() {
        return Err(AttestationError::FalseAttestationReport {
            what: "report id",
            expected: "the id of a guest".to_owned(),
            actual: "zeros".to_owned(),
        });
    }
    Ok(())
}

/// The same guest, and the same story about it.
fn check_report_matches_token(token: &SnpClaims, report: &SnpClaims) -> Result<(), AttestationError> {
    // Destructured, so that a field added to the claims is compared here or does not compile.
    let SnpClaims {
        measurement,
        host_data,
        report_data,
        report_id,
        report_guest_svn,
        vmpl,
        policy,
        reported_tcb,
        id_key_digest,
        author_key_digest,
        family_id,
        image_id,
        chip_id,
        product,
    } = token;
    both("report id", report_id, &report.report_id)?;
    both("launch measurement", measurement, &report.measurement)?;
    both("host data", host_data, &report.host_data)?;
    both("report data", report_data, &report.report_data)?;
    both("report guest svn", report_guest_svn, &report.report_guest_svn)?;
    both("vmpl", vmpl, &report.vmpl)?;
    both("guest policy debug", &policy.debug, &report.policy.debug)?;
    both("guest policy migrate-ma", &policy.migrate_ma, &report.policy.migrate_ma)?;
    both("guest policy smt", &policy.smt, &report.policy.smt)?;
    require_equal_if_reported("guest policy single-socket", policy.single_socket, report.policy.single_socket)?;
    require_equal_if_reported("guest policy cxl-allow", policy.cxl_allow, report.policy.cxl_allow)?;
    require_equal_if_reported("guest policy mem-aes-256-xts", policy.mem_aes_256_xts, report.policy.mem_aes_256_xts)?;
    require_equal_if_reported("guest policy rapl-dis", policy.rapl_dis, report.policy.rapl_dis)?;
    require_equal_if_reported(
        "guest policy ciphertext-hiding-dram",
        policy.ciphertext_hiding_dram,
        report.policy.ciphertext_hiding_dram,
    )?;
    require_equal_if_reported(
        "guest policy page-swap-disable",
        policy.page_swap_disable,
        report.policy.page_swap_disable,
    )?;
    both("reported tcb bootloader", &reported_tcb.bootloader, &report.reported_tcb.bootloader)?;
    both("reported tcb tee", &reported_tcb.tee, &report.reported_tcb.tee)?;
    both("reported tcb snp", &reported_tcb.snp, &report.reported_tcb.snp)?;
    both("reported tcb microcode", &reported_tcb.microcode, &report.reported_tcb.microcode)?;
    if let (Some(token), Some(report)) = (&reported_tcb.fmc, &report.reported_tcb.fmc) {
        both("reported tcb fmc", token, report)?;
    }
    both("id key digest", id_key_digest, &report.id_key_digest)?;
    both("author key digest", author_key_digest, &report.author_key_digest)?;
    both("family id", family_id, &report.family_id)?;
    both("image id", image_id, &report.image_id)?;
    // Tokens from before 2026 do not say it; a report that does not say it has it masked.
    if let Some(token) = chip_id {
        both("chip id", token, &report.chip_id.unwrap_or(ChipId::new([0; ChipId::LEN])))?;
    }
    if let (Some(token), Some(report)) = (product, &report.product) {
        both("product", token, report)?;
    }
    Ok(())
}

fn both<T: PartialEq + ToString>(field: &'static str, token: &T, report: &T) -> Result<(), AttestationError> {
    equal(field, ("token", token), ("hardware report", report))
}

fn require_equal_if_reported(field: &'static str, token: Bit, report: Bit) -> Result<(), AttestationError> {
    match (token, report) {
        (Bit::NotReported, _) | (_, Bit::NotReported) => Ok(()),
        (token, report) => both(field, &(token == Bit::Set), &(report == Bit::Set)),
    }
}

fn equal<T: PartialEq + ToString>(
    field: &'static str,
    (left_source, left): (&'static str, &T),
    (right_source, right): (&'static str, &T),
) -> Result<(), AttestationError> {
    if left == right {
        return Ok(());
    }
    let show = |value: &T| shorten(&value.to_string(), 200);
    Err(AttestationError::EvidenceMismatch { field, left_source, left: show(left), right_source, right: show(right) })
}

/// Checks that the evidence was made for this challenge, over the peer's own key where the channel is bound.
///
/// `claimed` is the runtime data that the agent says it attested. Nothing is taken from it: it is compared.
pub(crate) fn check_challenge(
    tee: &ConsistentEvidence,
    claimed: Option<&[u8]>,
    challenge: &Challenge,
) -> Result<(), AttestationError> {
    let expected = challenge.runtime_data();
    if let Peer::Bound { key, .. } = challenge.peer() {
        let claimed = claimed.ok_or(AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer })?;
        if !crypto::constant_time_eq(claimed, &expected) {
            return Err(match parse_bound_key(claimed, challenge.nonce()) {
                Some(attested) => AttestationError::ChannelMismatch { attested, connected: key },
                None => {
                    false_report("runtime data", &String::from_utf8_lossy(&expected), &String::from_utf8_lossy(claimed))
                }
            });
        }
    }
    to_runtime_data(tee, &expected)?;
    if let Some(token) = &tee.token {
        issued_after(token.maa().issued_at, challenge.made_at())?;
    }
    Ok(())
}

/// Checks that the evidence covers exactly these runtime data.
pub(crate) fn to_runtime_data(tee: &ConsistentEvidence, runtime_data: &[u8]) -> Result<(), AttestationError> {
    let digest = crypto::sha256(runtime_data);
    if let Some(report) = &tee.report {
        covers(&report.snp().report_data, &digest)?;
    }
    let Some(token) = &tee.token else { return Ok(()) };
    match token.maa().shape {
        TokenShape::SevSnpVm => {
            covers(&token.snp().report_data, &digest)?;
            if !token.runtime_is(runtime_data) {
                return Err(false_report("x-ms-runtime", &String::from_utf8_lossy(runtime_data), "something else"));
            }
        }
        TokenShape::AzureVm => {
            let expected = hex::encode(digest);
            let nonce = token.client_nonce().unwrap_or_default();
            if !crypto::constant_time_eq(nonce, expected.as_bytes()) {
                let actual = String::from_utf8_lossy(nonce);
                return Err(false_report("x-ms-runtime.client-payload.nonce", &expected, &actual));
            }
        }
    }
    Ok(())
}

/// The formula: SHA-256 of the runtime data, then 32 zero bytes, compared in full.
fn covers(report_data: &ReportData, digest: &[u8; 32]) -> Result<(), AttestationError> {
    let mut expected = [0; ReportData::LEN];
    for (to, from) in expected.iter_mut().zip(digest) {
        *to = *from;
    }
    let expected = ReportData::new(expected);
    if crypto::constant_time_eq(report_data.as_bytes(), expected.as_bytes()) {
        return Ok(());
    }
    Err(false_report("report data", &expected.to_string(), &report_data.to_string()))
}

/// A token from before the question cannot be its answer.
fn issued_after(issued_at: UnixTime, asked_at: UnixTime) -> Result<(), AttestationError> {
    if issued_at >= asked_at.minus(LEEWAY_SECONDS) {
        return Ok(());
    }
    // The token is signed by the named instance, so a clock that differs is the likelier reason than a replay.
    let found = format!("{issued_at}, {} before: compare the clocks first", difference(&asked_at, &issued_at));
    Err(false_report("a token issued after", &asked_at.to_string(), &found))
}

fn false_report(what: &'static str, expected: &str, actual: &str) -> AttestationError {
    AttestationError::FalseAttestationReport { what, expected: shorten(expected, 300), actual: shorten(actual, 300) }
}
