//! Knobs as they are written on the command line: `NAME` or `NAME=VALUE`.

use std::str::FromStr;

use blindbox_attestation::emulator::{HardwareKnob, KdsKnob, KeyForm, KeySetKnob, Knob, MaaEvidenceKnob, TokenFault};
use blindbox_attestation::uvm::EndorsementForm;
use blindbox_attestation::{HostData, Measurement, Product, ReportData, SpkiDigest, Tcb, TlsExporter};
use serde_json::Value;

/// One change, and whose it is.
#[derive(Clone)]
pub enum Change {
    BlindBox(Box<Knob>),
    KeySet(KeySetKnob),
    /// The keys of MAA are held by a container on the emulated machine, with this change of the evidence.
    MaaEvidence(Option<MaaEvidenceKnob>),
    Kds(KdsKnob),
}

impl Change {
    /// Of a processor that is not there it would change nothing, and a test would pass for the wrong reason.
    pub fn check(&self, has_product: bool) -> Result<(), String> {
        let hardware = match self {
            Self::BlindBox(knob) => matches!(**knob, Knob::Hardware(_) | Knob::TokenOfAnotherReport),
            Self::Kds(_) | Self::MaaEvidence(_) => true,
            Self::KeySet(_) => false,
        };
        if hardware && !has_product {
            return Err(
                "a knob of hardware evidence, of the evidence of MAA or of AMD's service needs --product, such as --product milan".to_owned()
            );
        }
        Ok(())
    }
}

/// Name with the value's name if it has one, what it does, and how it is made of the value.
struct Entry(&'static str, &'static str, fn(&str) -> Result<Change, String>);

struct Group(&'static str, &'static [Entry]);

const GROUPS: &[Group] = &[
    Group(
        "Guest",
        &[
            Entry("debug", "its host may read its memory", |_| guest(Knob::Debug)),
            Entry("migration-allowed", "a migration agent may move it", |_| guest(Knob::MigrationAllowed)),
            Entry("measurement=HEX", "another launch measurement", |hex| {
                guest(Knob::Measurement(Measurement::from_hex(hex).map_err(text)?))
            }),
            Entry("host-data=HEX", "another CCE policy", |hex| {
                guest(Knob::HostData(HostData::from_hex(hex).map_err(text)?))
            }),
            Entry("vmpl=LEVEL", "asked for from another privilege level", |value| guest(Knob::Vmpl(number(value)?))),
            Entry("report-guest-svn=SVN", "another GUEST_SVN", |value| guest(Knob::ReportGuestSvn(number(value)?))),
            Entry("reported-tcb=BL.TEE.SNP.UCODE", "another reported TCB", |value| {
                guest(Knob::ReportedTcb(tcb(value)?))
            }),
            Entry("compliance-status=TEXT", "what MAA concludes about the utility VM", |value| {
                guest(Knob::ComplianceStatus(Some(value.to_owned())))
            }),
            Entry("no-compliance-status", "MAA concludes nothing", |_| guest(Knob::ComplianceStatus(None))),
            Entry("uvm-svn=SVN", "another version of the utility VM", |value| guest(Knob::UvmSvn(number(value)?))),
            Entry("uvm-issuer=DID", "another issuer of its endorsement, in the token", |value| {
                guest(Knob::UvmIssuer(value.to_owned()))
            }),
            Entry("uvm-feed=TEXT", "another feed of its endorsement", |value| guest(Knob::UvmFeed(value.to_owned()))),
            Entry("uvm-measurement=HEX", "an endorsement of another measurement", |hex| {
                guest(Knob::UvmMeasurement(Measurement::from_hex(hex).map_err(text)?))
            }),
            Entry("no-uvm-endorsement", "no endorsement", |_| guest(Knob::NoUvmEndorsement)),
        ],
    ),
    Group(
        "Agent",
        &[
            Entry("old-nonce", "attests a nonce that no client sent", |_| guest(Knob::OldNonce)),
            Entry("old-token", "the same, but sends the proper runtime data", |_| guest(Knob::OldToken)),
            Entry("old-answer", "repeats its first response", |_| guest(Knob::OldAnswer)),
            Entry("foreign-key=HEX", "names another TLS key (SHA-256)", |hex| {
                guest(Knob::ForeignKey(SpkiDigest::from_hex(hex).map_err(text)?))
            }),
            Entry("foreign-exporter=HEX", "names another connection, where the policy requires one", |hex| {
                guest(Knob::ForeignExporter(TlsExporter::from_hex(hex).map_err(text)?))
            }),
            Entry("runtime-data=TEXT", "attests this, and sends it back", |value| {
                guest(Knob::RuntimeData(value.as_bytes().to_vec()))
            }),
            Entry("runtime-data-in-answer=TEXT", "sends this back in place of what it attests", |value| {
                guest(Knob::RuntimeDataInAnswer(value.as_bytes().to_vec()))
            }),
            Entry("no-token", "has no /attest/maa", |_| guest(Knob::NoToken)),
            Entry("answer-in-legacy-form", "a token only", |_| guest(Knob::AnswerInLegacyForm)),
            Entry("refuse-bound-form", "refuses a request without runtime_data", |_| guest(Knob::RefuseBoundForm)),
            Entry("refuse-connection-form", "refuses a request for evidence about the connection", |_| {
                guest(Knob::RefuseConnectionForm)
            }),
            Entry("answer-in-server-form", "names the key alone, where a connection was asked about", |_| {
                guest(Knob::AnswerInServerForm)
            }),
            Entry("answer-member=NAME:JSON", "sets a member of its responses", |value| {
                let (name, value) = named_json(value)?;
                guest(Knob::AnswerMember(name, value))
            }),
            Entry("without-answer-member=NAME", "leaves a member out", |name| {
                guest(Knob::WithoutAnswerMember(name.to_owned()))
            }),
        ],
    ),
    Group(
        "Token",
        &[
            Entry("claim=PATH:JSON", "sets a claim", |value| {
                let (path, value) = named_json(value)?;
                guest(Knob::Claim(path, value))
            }),
            Entry("without-claim=PATH", "removes a claim", |path| guest(Knob::WithoutClaim(path.to_owned()))),
            Entry("token-of-another-report", "is not about the report that it comes with", |_| {
                guest(Knob::TokenOfAnotherReport)
            }),
            Entry("token-expired", "expired an hour ago", |_| token(TokenFault::Expired)),
            Entry("token-not-yet-valid", "valid in an hour", |_| token(TokenFault::NotYetValid)),
            Entry("token-issued-in-the-future", "issued in an hour", |_| token(TokenFault::IssuedInTheFuture)),
            Entry("token-issued-ago=SECONDS", "genuine, but issued before the request", |value| {
                token(TokenFault::IssuedAgo(number(value)?))
            }),
            Entry("token-issuer=URL", "another issuer, under this instance's key", |value| {
                token(TokenFault::Issuer(value.to_owned()))
            }),
            Entry("token-unknown-kid", "a kid that no key set has", |_| token(TokenFault::UnknownKid)),
            Entry("token-kid=TEXT", "another kid", |value| token(TokenFault::Kid(value.to_owned()))),
            Entry("token-foreign-key", "the right kid, another key", |_| token(TokenFault::ForeignKey)),
            Entry("token-bad-signature", "one bit of the signature is flipped", |_| token(TokenFault::BadSignature)),
            Entry("token-tampered-claims", "changed after signing", |_| token(TokenFault::TamperedClaims)),
            Entry("token-alg-none", "no signature", |_| token(TokenFault::AlgNone)),
            Entry("token-hs256", "the public key as a secret", |_| token(TokenFault::Hs256)),
            Entry("token-alg=NAME", "another algorithm in the header", |value| {
                token(TokenFault::Alg(value.to_owned()))
            }),
            Entry("token-sgx", "claims of an SGX enclave", |_| token(TokenFault::Sgx)),
            Entry("token-duplicate-claim=PATH:JSON", "a claim twice", |value| {
                let (path, value) = named_json(value)?;
                token(TokenFault::DuplicateClaim(path, value))
            }),
            Entry("token-header=NAME:JSON", "sets a member of the header", |value| {
                let (name, value) = named_json(value)?;
                token(TokenFault::Header(name, value))
            }),
            Entry("token-without-header=NAME", "removes a member of the header", |name| {
                token(TokenFault::WithoutHeader(name.to_owned()))
            }),
            Entry("token-cut=BYTES", "cut after so many bytes", |value| token(TokenFault::CutToken(number(value)?))),
            Entry("not-a-token=TEXT", "this text in place of a token", |value| {
                token(TokenFault::NotAToken(value.to_owned()))
            }),
        ],
    ),
    Group(
        "Key set of MAA",
        &[
            Entry("keys-certificate-only", "x5c only, as until 2023", |_| {
                key_set(KeySetKnob::Form(KeyForm::CertificateOnly))
            }),
            Entry("keys-numbers-only", "n and e only", |_| key_set(KeySetKnob::Form(KeyForm::NumbersOnly))),
            Entry("keys-chain-of-three", "x5c is a chain, kid a SHA-1", |_| key_set(KeySetKnob::ChainOfThree)),
            Entry("keys-large-certificates", "certificates of 30 kB", |_| key_set(KeySetKnob::LargeCertificates)),
            Entry("keys-own-evidence", "a container holds the keys (with --product)", |_| maa_evidence(None)),
            Entry("keys-own-evidence-host-data=HEX", "one with another CCE policy", |hex| {
                maa_evidence(Some(MaaEvidenceKnob::HostData(HostData::from_hex(hex).map_err(text)?)))
            }),
            Entry("keys-own-evidence-uvm-svn=SVN", "one on another utility VM", |value| {
                maa_evidence(Some(MaaEvidenceKnob::UvmSvn(number(value)?)))
            }),
            Entry("keys-own-evidence-debug", "one that its host may read", |_| {
                maa_evidence(Some(MaaEvidenceKnob::Debug))
            }),
            Entry("keys-own-evidence-of-another-key", "one that holds another key", |_| {
                maa_evidence(Some(MaaEvidenceKnob::OfAnotherKey))
            }),
            Entry("keys-legacy-rsa-1024", "two RSA-1024 keys come first", |_| key_set(KeySetKnob::LegacyRsa1024)),
            Entry("keys-duplicate-kid", "the kid occurs twice", |_| key_set(KeySetKnob::DuplicateKid)),
            Entry("keys-mismatched-certificate", "the certificate is of another key", |_| {
                key_set(KeySetKnob::MismatchedCertificate)
            }),
            Entry("keys-many=COUNT", "so many unusable entries come first", |value| {
                key_set(KeySetKnob::ManyKeys(number(value)?))
            }),
            Entry("keys-none", "no keys", |_| key_set(KeySetKnob::NoKeys)),
            Entry("keys-extra=JSON", "this entry comes first", |value| key_set(KeySetKnob::ExtraKey(json(value)?))),
            Entry("keys-member=NAME:JSON", "sets a member of the entry in use", |value| {
                let (name, value) = named_json(value)?;
                key_set(KeySetKnob::Member(name, value))
            }),
            Entry("keys-without-member=NAME", "removes a member of the entry in use", |name| {
                key_set(KeySetKnob::WithoutMember(name.to_owned()))
            }),
            Entry("keys-text=TEXT", "this text in place of a key set", |value| {
                key_set(KeySetKnob::Text(value.to_owned()))
            }),
        ],
    ),
    Group(
        "Hardware evidence (with --product)",
        &[
            Entry("report-bit-flipped=BIT", "changed on the way", |value| {
                hardware(HardwareKnob::ReportBitFlipped(number(value)?))
            }),
            Entry("report-bytes=OFFSET:HEX", "written before it is signed", |value| {
                let (offset, bytes) = value.split_once(':').ok_or("expected OFFSET:HEX")?;
                hardware(HardwareKnob::ReportBytes(number(offset)?, hex::decode(bytes).map_err(text)?))
            }),
            Entry("report=HEX", "these bytes in place of a report", |value| {
                hardware(HardwareKnob::Report(hex::decode(value).map_err(text)?))
            }),
            Entry("report-data=HEX", "made for the challenge of another client", |value| {
                hardware(HardwareKnob::ReportData(ReportData::from_hex(value).map_err(text)?))
            }),
            Entry("report-version=VERSION", "another version", |value| {
                hardware(HardwareKnob::ReportVersion(number(value)?))
            }),
            Entry("masked-chip-id", "the host hides the chip", |_| hardware(HardwareKnob::MaskedChipId)),
            Entry("host-requested", "the host asked, not the guest", |_| hardware(HardwareKnob::HostRequested)),
            Entry("unsigned", "the host forbade to sign", |_| hardware(HardwareKnob::Unsigned)),
            Entry("certificate-of-another-chip", "genuine, of another chip", |_| {
                hardware(HardwareKnob::CertificateOfAnotherChip)
            }),
            Entry("certificate-tcb=BL.TEE.SNP.UCODE", "genuine, for another TCB", |value| {
                hardware(HardwareKnob::CertificateTcb(tcb(value)?))
            }),
            Entry("certificate-of-other-kind", "a VLEK for a VCEK, or the other way round", |_| {
                hardware(HardwareKnob::CertificateOfOtherKind)
            }),
            Entry("forged-hierarchy", "a forger made everything", |_| hardware(HardwareKnob::ForgedHierarchy)),
            Entry("forged-chain", "issuer and root are a forger's", |_| hardware(HardwareKnob::ForgedChain)),
            Entry("chain-of=PRODUCT", "issuer and root of another family", |value| {
                hardware(HardwareKnob::ChainOf(product(value)?))
            }),
            Entry("garbage-chain", "issuer and root are something else", |_| hardware(HardwareKnob::GarbageChain)),
            Entry("no-chain", "the certificate comes alone", |_| hardware(HardwareKnob::NoChain)),
            Entry("no-certificates", "no certificate is provided", |_| hardware(HardwareKnob::NoCertificates)),
            Entry("certificates=TEXT", "this text in place of certificates", |value| {
                hardware(HardwareKnob::Certificates(value.to_owned()))
            }),
            Entry("endorsement-hash-envelope", "the endorsement in its newer form", |_| {
                hardware(HardwareKnob::EndorsementForm(EndorsementForm::CwtHashEnvelope))
            }),
            Entry("endorsed-by-another", "another issuer, under its own name", |_| {
                hardware(HardwareKnob::EndorsedByAnother)
            }),
            Entry("forged-endorsement", "another issuer, under the usual name", |_| {
                hardware(HardwareKnob::ForgedEndorsement)
            }),
            Entry("endorser-use=OID", "a leaf for another use", |value| {
                hardware(HardwareKnob::EndorserUse(value.to_owned()))
            }),
            Entry("endorsed-feed=TEXT", "another feed", |value| hardware(HardwareKnob::EndorsedFeed(value.to_owned()))),
            Entry("endorsed-svn=SVN", "another version", |value| hardware(HardwareKnob::EndorsedSvn(number(value)?))),
            Entry("endorsed-measurement=HEX", "another measurement", |value| {
                hardware(HardwareKnob::EndorsedMeasurement(Measurement::from_hex(value).map_err(text)?))
            }),
            Entry("endorsement-bit-flipped=BIT", "changed on the way", |value| {
                hardware(HardwareKnob::EndorsementBitFlipped(number(value)?))
            }),
            Entry("endorsement=HEX", "these bytes in place of an endorsement", |value| {
                hardware(HardwareKnob::Endorsement(hex::decode(value).map_err(text)?))
            }),
            Entry("no-endorsement", "no endorsement is provided", |_| hardware(HardwareKnob::NoEndorsement)),
        ],
    ),
    Group(
        "AMD's service (with --product)",
        &[
            Entry("kds-vcek-of-another-chip", "certificates of another chip", |_| kds(KdsKnob::VcekOfAnotherChip)),
            Entry("kds-vcek-tcb=BL.TEE.SNP.UCODE", "certificates for another TCB", |value| {
                kds(KdsKnob::VcekTcb(tcb(value)?))
            }),
            Entry("kds-forged-vcek", "certificates of a forger", |_| kds(KdsKnob::ForgedVcek)),
            Entry("kds-forged-chain", "chains of a forger", |_| kds(KdsKnob::ForgedChain)),
            Entry("kds-chain-of=PRODUCT", "chains of another family", |value| kds(KdsKnob::ChainOf(product(value)?))),
            Entry("kds-forged-crl", "revocation lists of a forger", |_| kds(KdsKnob::ForgedCrl)),
            Entry("kds-crl-of=PRODUCT", "revocation lists of another family", |value| {
                kds(KdsKnob::CrlOf(product(value)?))
            }),
            Entry("kds-crl-of-other-kind", "the CRL for the other kind of key", |_| kds(KdsKnob::CrlOfOtherKind)),
            Entry("kds-crl-names-no-distribution-point", "CRLs as AMD's of 2025", |_| {
                kds(KdsKnob::CrlNamesNoDistributionPoint)
            }),
            Entry("kds-crl-number=NUMBER", "CRLs with this number", |value| kds(KdsKnob::CrlNumber(number(value)?))),
            Entry("kds-expired-crl", "revocation lists of long ago", |_| kds(KdsKnob::ExpiredCrl)),
            Entry("kds-issuer-revoked", "the issuer is revoked", |_| kds(KdsKnob::IssuerRevoked)),
            Entry("kds-root-revoked", "the root is revoked", |_| kds(KdsKnob::RootRevoked)),
        ],
    ),
];

pub fn parse(written: &str) -> Result<Change, String> {
    let (name, value) = match written.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (written, None),
    };
    let mut entries = GROUPS.iter().flat_map(|Group(_, entries)| entries.iter());
    let entry = entries.find(|Entry(form, ..)| form.split('=').next() == Some(name));
    let Entry(form, _, make) = entry.ok_or_else(|| format!("no knob is called {name:?}; see --help"))?;
    if form.contains('=') != value.is_some() {
        return Err(format!("expected {form}"));
    }
    make(value.unwrap_or_default())
}

pub fn help() -> String {
    let mut help = String::from("Knobs:");
    for Group(title, entries) in GROUPS {
        help.push_str(&format!("\n  {title}\n"));
        let lines: Vec<_> = entries.iter().map(|Entry(form, what, _)| format!("    {form:<38} {what}")).collect();
        help.push_str(&lines.join("\n"));
    }
    help
}

fn guest(knob: Knob) -> Result<Change, String> {
    Ok(Change::BlindBox(Box::new(knob)))
}

fn token(fault: TokenFault) -> Result<Change, String> {
    guest(Knob::Token(fault))
}

fn hardware(knob: HardwareKnob) -> Result<Change, String> {
    guest(Knob::Hardware(knob))
}

fn key_set(knob: KeySetKnob) -> Result<Change, String> {
    Ok(Change::KeySet(knob))
}

fn maa_evidence(knob: Option<MaaEvidenceKnob>) -> Result<Change, String> {
    Ok(Change::MaaEvidence(knob))
}

fn kds(knob: KdsKnob) -> Result<Change, String> {
    Ok(Change::Kds(knob))
}

fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("expected a number, found {value:?}"))
}

fn json(value: &str) -> Result<Value, String> {
    serde_json::from_str(value).map_err(text)
}

fn named_json(value: &str) -> Result<(String, Value), String> {
    let (name, value) = value.split_once(':').ok_or("expected NAME:JSON")?;
    Ok((name.to_owned(), json(value)?))
}

/// Four parts, or five with the FMC in front (Turin).
fn tcb(value: &str) -> Result<Tcb, String> {
    let parts: Vec<u8> = value.split('.').map(number).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [bootloader, tee, snp, microcode] => Ok(Tcb::new(None, *bootloader, *tee, *snp, *microcode)),
        [fmc, bootloader, tee, snp, microcode] => Ok(Tcb::new(Some(*fmc), *bootloader, *tee, *snp, *microcode)),
        _ => Err("expected four numbers with dots between, or five with the FMC first".to_owned()),
    }
}

fn product(value: &str) -> Result<Product, String> {
    let found = Product::ALL.into_iter().find(|product| product.as_str().eq_ignore_ascii_case(value));
    found.ok_or_else(|| format!("expected milan, genoa or turin, found {value:?}"))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
