//! The table of all knobs: the names, arguments and meanings that the command line, its help, `docs/knobs.md` and tests read.
//!
//! | knobs of | are declared in | act in |
//! |---|---|---|
//! | guest, agent | `knob.rs` | `guest/mod.rs`, `blindbox/agent.rs`, `blindbox/bound_form.rs` |
//! | hardware evidence | `guest/hardware_knob.rs` | `guest/platform.rs` |
//! | virtual TPM and paravisor | `guest/azure_vm/knob.rs` | `guest/azure_vm/guest.rs` |
//! | token | `maa/token.rs` | the same file |
//! | key set | `maa/jwks.rs` | the same file |
//! | evidence of MAA's own key | `maa/key_evidence.rs` | the same file |
//! | AMD's service (KDS) | `amd/kds.rs` | the same file |
//! | front end | `front_end/knob.rs` | `front_end/forward.rs`, `front_end/message.rs` |

use std::str::FromStr;

use super::amd::kds::KdsKnob;
use super::front_end::FrontEndKnob;
use super::guest::azure_vm::AzureVmKnob;
use super::guest::hardware_knob::HardwareKnob;
use super::knob::Knob;
use super::maa::jwks::{KeyForm, KeySetKnob};
use super::maa::key_evidence::MaaEvidenceKnob;
use super::maa::token::TokenFault;
use super::option_row::{
    OptionError, OptionRow, bytes, constant, digits, hexadecimal, json, named_json, number, offset_and_bytes, product,
    rows, status, tcb, text,
};
use crate::azure_vm::PCR_COUNT;
use crate::types::Sha256Digest;
use crate::uvm::EndorsementForm;

/// A knob of any part of the emulator, parsed from the form of [`AnyKnob::rows`], such as `vmpl=1`.
///
/// Exhaustive: code that hands knobs to the parts must not leave out a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyKnob {
    /// For [`super::BlindBox::set`].
    BlindBox(Box<Knob>),
    /// For [`super::Maa::set`].
    KeySet(KeySetKnob),
    /// The keys of MAA are held by a container ([`super::MaaEvidence`]), with this change of its evidence.
    MaaEvidence(Option<MaaEvidenceKnob>),
    /// For [`super::Kds::set`].
    Kds(KdsKnob),
    /// For [`super::FrontEnd::set`].
    FrontEnd(FrontEndKnob),
}

rows! {
    GUEST_AND_AGENT: Knob => AnyKnob, AnyKnob::guest;
    "Guest" {
        "debug", "its host may read its memory" => Debug;
        "migration-allowed", "a migration agent may move it" => MigrationAllowed;
        "measurement=HEX", "another launch measurement" => Measurement(digits);
        "host-data=HEX", "another CCE policy" => HostData(digits);
        "td-attributes=HEX", "other attributes (with --guest tdx)" => TdAttributes(hexadecimal);
        "tcb-status=TEXT", "another verdict of Intel (with --guest tdx)" => TcbStatus(text);
        "vmpl=LEVEL", "asked for from another privilege level" => Vmpl(number);
        "report-guest-svn=SVN", "another GUEST_SVN" => ReportGuestSvn(number);
        "reported-tcb=BL.TEE.SNP.UCODE", "another reported TCB" => ReportedTcb(tcb);
        "compliance-status=TEXT", "what MAA concludes about the utility VM" => ComplianceStatus(some_text);
        "no-compliance-status", "MAA concludes nothing" => ComplianceStatus(constant(None));
        "uvm-svn=SVN", "another version of the utility VM" => UvmSvn(number);
        "uvm-issuer=DID", "another issuer of its endorsement, in the token" => UvmIssuer(text);
        "uvm-feed=TEXT", "another feed of its endorsement" => UvmFeed(text);
        "uvm-measurement=HEX", "an endorsement of another measurement" => UvmMeasurement(digits);
        "no-uvm-endorsement", "no endorsement" => NoUvmEndorsement;
    }
    "Agent" {
        "old-nonce", "attests a nonce that no client sent" => OldNonce;
        "old-token", "the same, but sends the proper runtime data" => OldToken;
        "old-answer", "repeats its first response" => OldAnswer;
        "foreign-key=HEX", "names another TLS key (SHA-256)" => ForeignKey(digits);
        "foreign-exporter=HEX", "names another connection, where the policy requires one" => ForeignExporter(digits);
        "runtime-data=TEXT", "attests this, and sends it back" => RuntimeData(text_bytes);
        "runtime-data-in-answer=TEXT", "sends this back in place of what it attests" => RuntimeDataInAnswer(text_bytes);
        "no-token", "has no /attest/maa" => NoToken;
        "answer-in-legacy-form", "a token only" => AnswerInLegacyForm;
        "refuse-bound-form", "refuses a request without runtime_data" => RefuseBoundForm;
        "refuse-connection-form", "refuses a request for evidence about the connection" => RefuseConnectionForm;
        "answer-in-server-form", "names the TLS key alone, where more was asked about" => AnswerInServerForm;
        "foreign-message-key=HEX", "names another message key (SHA-256)" => ForeignMessageKey(digits);
        "refuse-message-form", "refuses a request for evidence about a message key" => RefuseMessageForm;
        "decline-messages", "declines every sealed message" => DeclineMessages;
        "answer-member=NAME:JSON", "sets a member of its responses" => AnswerMember[named_json];
        "without-answer-member=NAME", "leaves a member out" => WithoutAnswerMember(text);
    }
    "Token" {
        "claim=PATH:JSON", "sets a claim" => Claim[named_json];
        "without-claim=PATH", "removes a claim" => WithoutClaim(text);
        "token-of-another-report", "is not about the report that it comes with" => TokenOfAnotherReport;
    }
    // A guest as a value; what has tables of its own below.
    in code only { ReportOf, Hardware, AzureVm, Token }
}

rows! {
    TOKEN: TokenFault => AnyKnob, AnyKnob::token;
    "Token" {
        "token-expired", "expired an hour ago" => Expired;
        "token-not-yet-valid", "valid in an hour" => NotYetValid;
        "token-issued-in-the-future", "issued in an hour" => IssuedInTheFuture;
        "token-issued-ago=SECONDS", "genuine, but issued before the request" => IssuedAgo(number);
        "token-issuer=URL", "another issuer, under this instance's key" => Issuer(text);
        "token-unknown-kid", "a kid that no key set has" => UnknownKid;
        "token-kid=TEXT", "another kid" => Kid(text);
        "token-foreign-key", "the right kid, another key" => ForeignKey;
        "token-bad-signature", "one bit of the signature is flipped" => BadSignature;
        "token-tampered-claims", "changed after signing" => TamperedClaims;
        "token-alg-none", "no signature" => AlgNone;
        "token-hs256", "the public key as a secret" => Hs256;
        "token-alg=NAME", "another algorithm in the header" => Alg(text);
        "token-sgx", "claims of an SGX enclave" => Sgx;
        "token-duplicate-claim=PATH:JSON", "a claim twice" => DuplicateClaim[named_json];
        "token-header=NAME:JSON", "sets a member of the header" => Header[named_json];
        "token-without-header=NAME", "removes a member of the header" => WithoutHeader(text);
        "token-cut=BYTES", "cut after so many bytes" => CutToken(number);
        "not-a-token=TEXT", "this text in place of a token" => NotAToken(text);
    }
    // `claim` and `without-claim` change tokens too; two texts of any characters have no form on a command line.
    in code only { Claim, WithoutClaim, ReplaceInClaims, ReplaceInHeader, ReplaceInToken }
}

rows! {
    KEY_SET: KeySetKnob => AnyKnob, AnyKnob::KeySet;
    "Key set of MAA" {
        "keys-certificate-only", "x5c only, as until 2023" => Form(constant(KeyForm::CertificateOnly));
        "keys-numbers-only", "n and e only" => Form(constant(KeyForm::NumbersOnly));
        "keys-chain-of-three", "x5c is a chain, kid a SHA-1" => ChainOfThree;
        "keys-large-certificates", "certificates of 30 kB" => LargeCertificates;
        "keys-legacy-rsa-1024", "two RSA-1024 keys come first" => LegacyRsa1024;
        "keys-duplicate-kid", "the kid occurs twice" => DuplicateKid;
        "keys-mismatched-certificate", "the certificate is of another key" => MismatchedCertificate;
        "keys-many=COUNT", "so many unusable entries come first" => ManyKeys(number);
        "keys-none", "no keys" => NoKeys;
        "keys-extra=JSON", "this entry comes first" => ExtraKey(json);
        "keys-member=NAME:JSON", "sets a member of the entry in use" => Member[named_json];
        "keys-without-member=NAME", "removes a member of the entry in use" => WithoutMember(text);
        "keys-text=TEXT", "this text in place of a key set" => Text(text);
    }
    // Needs a platform: [`AnyKnob::MaaEvidence`].
    in code only { OwnEvidence }
}

/// The one knob of [`AnyKnob::MaaEvidence`] that changes nothing of the evidence.
const MAA_EVIDENCE_AS_IT_IS: OptionRow<AnyKnob> = OptionRow {
    group: "Key set of MAA",
    form: "keys-own-evidence",
    meaning: "a container holds the keys (with --product)",
    parse: |_| Ok(AnyKnob::MaaEvidence(None)),
};

rows! {
    MAA_EVIDENCE: MaaEvidenceKnob => AnyKnob, AnyKnob::maa_evidence;
    "Key set of MAA" {
        "keys-own-evidence-host-data=HEX", "one with another CCE policy" => HostData(digits);
        "keys-own-evidence-uvm-svn=SVN", "one on another utility VM" => UvmSvn(number);
        "keys-own-evidence-debug", "one that its host may read" => Debug;
        "keys-own-evidence-of-another-key", "one that holds another key" => OfAnotherKey;
    }
    // Tests of the library cover them; a client sees the same refusals as with the four above.
    in code only { ReportedTcb, MigrationAllowed, Vmpl, Hardware, Kind, WithoutKind, Document, WithoutMember }
}

rows! {
    HARDWARE: HardwareKnob => AnyKnob, AnyKnob::hardware;
    "Hardware evidence (with --product)" {
        "report-bit-flipped=BIT", "changed on the way" => ReportBitFlipped(number);
        "report-bytes=OFFSET:HEX", "written before it is signed" => ReportBytes[offset_and_bytes];
        "report=HEX", "these bytes in place of a report" => Report(bytes);
        "report-data=HEX", "made for the challenge of another client" => ReportData(digits);
        "report-version=VERSION", "another version" => ReportVersion(number);
        "masked-chip-id", "the host hides the chip" => MaskedChipId;
        "host-requested", "the host asked, not the guest" => HostRequested;
        "unsigned", "the host forbade to sign" => Unsigned;
        "certificate-of-another-chip", "genuine, of another chip" => CertificateOfAnotherChip;
        "certificate-tcb=BL.TEE.SNP.UCODE", "genuine, for another TCB" => CertificateTcb(tcb);
        "certificate-of-other-kind", "a VLEK for a VCEK, or the other way round" => CertificateOfOtherKind;
        "forged-hierarchy", "a forger made everything" => ForgedHierarchy;
        "forged-chain", "issuer and root are a forger's" => ForgedChain;
        "chain-of=PRODUCT", "issuer and root of another family" => ChainOf(product);
        "garbage-chain", "issuer and root are something else" => GarbageChain;
        "no-chain", "the certificate comes alone" => NoChain;
        "no-certificates", "no certificate is provided" => NoCertificates;
        "certificates=TEXT", "this text in place of certificates" => Certificates(text);
        "endorsement-hash-envelope", "the endorsement in its newer form" => EndorsementForm(constant(EndorsementForm::CwtHashEnvelope));
        "endorsed-by-another", "another issuer, under its own name" => EndorsedByAnother;
        "forged-endorsement", "another issuer, under the usual name" => ForgedEndorsement;
        "endorser-use=OID", "a leaf for another use" => EndorserUse(text);
        "endorsed-feed=TEXT", "another feed" => EndorsedFeed(text);
        "endorsed-svn=SVN", "another version" => EndorsedSvn(number);
        "endorsed-measurement=HEX", "another measurement" => EndorsedMeasurement(digits);
        "endorsement-bit-flipped=BIT", "changed on the way" => EndorsementBitFlipped(number);
        "endorsement=HEX", "these bytes in place of an endorsement" => Endorsement(bytes);
        "no-endorsement", "no endorsement is provided" => NoEndorsement;
    }
    in code only {}
}

rows! {
    AZURE_VM: AzureVmKnob => AnyKnob, AnyKnob::azure_vm;
    "Confidential VM (with --guest vm and --product)" {
        "hcl-report-of-another-vm", "the paravisor's report of another VM" => HclReportOfAnotherVm;
        "runtime-claims-of-another-vm", "of another VM, beside this hardware report" => RuntimeClaimsOfAnotherVm;
        "earlier-boot", "the report names the TLS key of an earlier boot" => EarlierBoot;
        "user-data=HEX", "other user-data (64 bytes)" => UserData(user_data);
        "no-user-data", "the report has no user-data" => UserData(constant(None));
        "secure-boot-off", "as the paravisor states" => SecureBoot(constant(false));
        "console-off", "as the paravisor states" => Console(constant(false));
        "vm-configuration=NAME:JSON", "adds a setting of the VM" => FurtherConfiguration(setting);
        "hcl-report-bytes=OFFSET:HEX", "written over the paravisor's report" => HclReportBytes[offset_and_bytes];
        "quote-of-another-vm", "by the TPM of another VM" => QuoteOfAnotherVm;
        "extra-data=HEX", "a quote for another challenge" => ExtraData(bytes);
        "selected-pcrs=INDEX,...", "a quote of these PCRs only" => SelectedPcrs(indices);
        "pcr=INDEX:HEX", "another image was started" => Pcr[index_and_digest];
        "pcr-values=HEX,...", "sends these values, whatever was quoted" => PcrValues(digest_list);
        "quote-bytes=OFFSET:HEX", "written over the quote before it is signed" => QuoteBytes[offset_and_bytes];
        "quote-signature-bit-flipped=BIT", "changed on the way" => SignatureBitFlipped(number);
        "ak-certificate-of-another-vm", "genuine, of another VM's key" => AkCertificateOfAnotherVm;
        "ak-certificate-of-trusted-launch", "of a VM that is no TEE" => AkCertificateOfTrustedLaunch;
        "ak-certificate-expired", "it ended in 2025" => AkCertificateExpired;
        "forged-ak-certificate", "a forger with Azure's names issued it" => ForgedAkCertificate;
        "no-ak-authority", "it comes without its issuer's" => NoAkAuthority;
        "no-ak-certificate", "none comes with the quote" => NoAkCertificate;
    }
    in code only {}
}

rows! {
    KDS: KdsKnob => AnyKnob, AnyKnob::Kds;
    "AMD's service (with --product)" {
        "kds-vcek-of-another-chip", "certificates of another chip" => VcekOfAnotherChip;
        "kds-vcek-tcb=BL.TEE.SNP.UCODE", "certificates for another TCB" => VcekTcb(tcb);
        "kds-forged-vcek", "certificates of a forger" => ForgedVcek;
        "kds-forged-chain", "chains of a forger" => ForgedChain;
        "kds-chain-of=PRODUCT", "chains of another family" => ChainOf(product);
        "kds-forged-crl", "revocation lists of a forger" => ForgedCrl;
        "kds-crl-of=PRODUCT", "revocation lists of another family" => CrlOf(product);
        "kds-crl-of-other-kind", "the CRL for the other kind of key" => CrlOfOtherKind;
        "kds-crl-names-no-distribution-point", "CRLs as AMD's of 2025" => CrlNamesNoDistributionPoint;
        "kds-crl-number=NUMBER", "CRLs with this number" => CrlNumber(number);
        "kds-expired-crl", "revocation lists of long ago" => ExpiredCrl;
        "kds-issuer-revoked", "the issuer is revoked" => IssuerRevoked;
        "kds-root-revoked", "the root is revoked" => RootRevoked;
    }
    // Only a client whose clock is set notices.
    in code only { CrlMadeAt }
}

rows! {
    FRONT_END: FrontEndKnob => AnyKnob, AnyKnob::FrontEnd;
    "Front end (with --front-end and --agent bound-message)" {
        "front-end-own-message-key", "puts a key of its own into attestation responses" => OwnMessageKey;
        "front-end-earlier-attestation", "repeats its first attestation response" => EarlierAttestation;
        "front-end-earlier-session", "gives later attestations the first session" => EarlierSession;
        "front-end-change-request=OFFSET", "flips a bit of this byte" => ChangeRequest(number);
        "front-end-cut-request=BYTES", "delivers so much, as if that were all" => CutRequest(number);
        "front-end-request-without-final-chunk", "delivers the rest, as if that were all" => RequestWithoutFinalChunk;
        "front-end-repeat-request", "delivers it twice, and gives the second response" => RepeatRequest;
        "front-end-request-to-every-replica", "delivers it to all, and gives the last response" => RequestToEveryReplica;
        "front-end-earlier-request", "delivers the first one in place of each later one" => EarlierRequest;
        "front-end-spread-over-replicas", "delivers to one replica after the other" => SpreadOverReplicas;
        "front-end-change-response=OFFSET", "flips a bit of this byte" => ChangeResponse(number);
        "front-end-cut-response=BYTES", "passes on so much, as if that were all" => CutResponse(number);
        "front-end-response-without-final-chunk", "passes on the rest, as if that were all" => ResponseWithoutFinalChunk;
        "front-end-reorder-chunks", "exchanges the first two chunks of a response" => ReorderChunks;
        "front-end-repeat-chunk", "passes on the first chunk of a response twice" => RepeatChunk;
        "front-end-append-to-response", "passes on bytes behind the final chunk" => AppendToResponse;
        "front-end-earlier-response", "gives the first one in place of each later one" => EarlierResponse;
        "front-end-withhold-response", "delivers the request, and gives no response" => WithholdResponse;
        "front-end-report-unknown-key", "delivers it, and reports that its key is not known" => ReportUnknownKey;
        "front-end-forge-response=STATUS", "delivers nothing, and responds itself" => ForgeResponse(status);
    }
    // A gate opens in the process that holds it.
    in code only { HoldRequests }
}

impl AnyKnob {
    /// Every knob that has a form on a command line, in the order of the groups.
    pub fn rows() -> impl Iterator<Item = &'static OptionRow<Self>> {
        let maa = KEY_SET.iter().chain([&MAA_EVIDENCE_AS_IT_IS]).chain(MAA_EVIDENCE);
        GUEST_AND_AGENT.iter().chain(TOKEN).chain(maa).chain(HARDWARE).chain(AZURE_VM).chain(KDS).chain(FRONT_END)
    }

    /// Whether it changes something of the hardware, and nothing where there is no [`super::Platform`].
    #[must_use]
    pub fn needs_platform(&self) -> bool {
        match self {
            Self::BlindBox(knob) => matches!(**knob, Knob::Hardware(_) | Knob::AzureVm(_) | Knob::TokenOfAnotherReport),
            Self::Kds(_) | Self::MaaEvidence(_) => true,
            Self::KeySet(_) | Self::FrontEnd(_) => false,
        }
    }

    /// Whether it changes something of the evidence of a confidential VM, and nothing of that of another guest.
    #[must_use]
    pub fn needs_confidential_vm(&self) -> bool {
        matches!(self, Self::BlindBox(knob) if matches!(**knob, Knob::AzureVm(_)))
    }

    /// Whether it changes what a front end does, and nothing where there is none.
    #[must_use]
    pub fn needs_front_end(&self) -> bool {
        matches!(self, Self::FrontEnd(_))
    }

    fn guest(knob: Knob) -> Self {
        Self::BlindBox(Box::new(knob))
    }

    fn token(fault: TokenFault) -> Self {
        Self::guest(Knob::Token(fault))
    }

    fn hardware(knob: HardwareKnob) -> Self {
        Self::guest(Knob::Hardware(knob))
    }

    fn azure_vm(knob: AzureVmKnob) -> Self {
        Self::guest(Knob::AzureVm(knob))
    }

    fn maa_evidence(knob: MaaEvidenceKnob) -> Self {
        Self::MaaEvidence(Some(knob))
    }
}

impl FromStr for AnyKnob {
    type Err = OptionError;

    /// `NAME` or `NAME=VALUE`.
    fn from_str(written: &str) -> Result<Self, OptionError> {
        match written.split_once('=') {
            Some((name, value)) => OptionRow::find(Self::rows(), "knob", name, Some(value)),
            None => OptionRow::find(Self::rows(), "knob", written, None),
        }
    }
}

fn user_data(value: &str) -> Result<Option<[u8; 64]>, String> {
    let expected = || "expected 128 hexadecimal digits".to_owned();
    bytes(value)?.try_into().map(Some).map_err(|_| expected())
}

/// A member of `vm-configuration`, as the knob takes it.
fn setting(value: &str) -> Result<String, String> {
    let (name, value) = named_json(value)?;
    Ok(format!(",{}:{value}", serde_json::Value::from(name)))
}

fn indices(value: &str) -> Result<Vec<u8>, String> {
    value.split(',').map(pcr_index).collect()
}

fn index_and_digest(value: &str) -> Result<(u8, Sha256Digest), String> {
    let (index, value) = value.split_once(':').ok_or("expected INDEX:HEX")?;
    Ok((pcr_index(index)?, digits(value)?))
}

fn digest_list(value: &str) -> Result<Vec<Sha256Digest>, String> {
    value.split(',').map(digits).collect()
}

/// A TPM has 24 PCRs: of another one the knob would change nothing.
fn pcr_index(value: &str) -> Result<u8, String> {
    number(value)
        .ok()
        .filter(|index| *index < PCR_COUNT)
        .ok_or_else(|| format!("expected a PCR from 0 to 23, found {value:?}"))
}

fn some_text(value: &str) -> Result<Option<String>, String> {
    text(value).map(Some)
}

fn text_bytes(value: &str) -> Result<Vec<u8>, String> {
    text(value).map(String::into_bytes)
}
