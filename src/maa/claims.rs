//! Typed claims of an MAA token, read from the JSON of its payload.
//!
//! Names and types are those of real tokens of 2021 to 2026; MAA documents few of them. Claims are read from the place
//! that the token's shape gives them. Nothing under `x-ms-runtime` or `x-ms-inittime` is read as a claim, because the guest, or
//! a caller of its agent, chooses their content; but the runtime data of a compliant confidential VM are those of its paravisor.

mod tdx;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::error::{TokenError, shown};
use crate::claims::{Bit, GuestPolicy, SnpClaims, TeeClaims, TokenShape, UvmClaims, VmSettings};
use crate::json::{Object, Read};
use crate::types::{ChipId, HexError, HexErrorKind, MaaIssuer, Product, Sha256Digest, Tcb, VmId, shorten};

/// The longest string claim (token id, status, feed), in bytes: keeps megabytes out of results and logs. Genuine ones have
/// at most 110.
const MAX_NAME: usize = 512;

const ATTESTATION_TYPE: &str = "x-ms-attestation-type";
const COMPLIANCE_STATUS: &str = "x-ms-compliance-status";
const ISOLATION_TEE: &str = "x-ms-isolation-tee";
/// The compliance status of a confidential VM: MAA found the paravisor of Azure at VMPL 0, which requests the report.
const COMPLIANT_CVM: &str = "azure-compliant-cvm";
const POLICY_HASH: &str = "x-ms-policy-hash";
const RUNTIME: &str = "x-ms-runtime";
const VERSION: &str = "x-ms-ver";
const SNP_PREFIX: &str = "x-ms-sevsnpvm-";
const VM_PREFIX: &str = "x-ms-azurevm-";
const VM_ID: &str = "x-ms-azurevm-vmid";
const VM_UNIQUE_ID: &str = "vmUniqueId";
const UVM_ENDORSEMENT: &str = "x-ms-sevsnpvm-uvm-endorsement";
const UVM_ENDORSEMENT_HEADERS: &str = "x-ms-sevsnpvm-uvm-endorsement-headers";
const MEASUREMENT: &str = "x-ms-sevsnpvm-launchmeasurement";
const GUEST_SVN: &str = "x-ms-sevsnpvm-guestsvn";

/// The claims other than issuer and times.
pub(super) struct OtherClaims {
    pub(super) compliance_status: Option<String>,
    pub(super) vm_id: Option<VmId>,
    pub(super) vm_settings: Option<VmSettings>,
    pub(super) policy_hash: Sha256Digest,
    pub(super) token_id: String,
    pub(super) tee: TeeClaims,
    /// The chip id as the token states it. Zeros mean that it is masked; in `tee` it is then absent.
    pub(super) stated_chip_id: Option<ChipId>,
    pub(super) uvm: Option<UvmClaims>,
    /// The JSON of `x-ms-runtime`, if the report data covers it.
    pub(super) runtime: Option<Box<str>>,
    pub(super) client_nonce: Option<Vec<u8>>,
}

/// Returns the token's shape, decided by the top-level attestation type alone, and the object with the claims of the TEE.
pub(super) fn shape<'p>(payload: &'p Object<'p>) -> Result<(TokenShape, &'p Object<'p>), TokenError> {
    let not_an_enclave = |kind: &str| Err(TokenError::NotAnEnclave { attestation_type: shown(kind) });
    match required(payload, ATTESTATION_TYPE)? {
        "sevsnpvm" => {
            refuse_foreign(payload, TokenShape::SevSnpVm, &[VM_PREFIX, tdx::PREFIX])?;
            Ok((TokenShape::SevSnpVm, payload))
        }
        "tdxvm" => {
            refuse_foreign(payload, TokenShape::TdxVm, &[VM_PREFIX, SNP_PREFIX])?;
            Ok((TokenShape::TdxVm, payload))
        }
        kind @ "azurevm" => {
            refuse_prefixes(payload, TokenShape::AzureVm, &[SNP_PREFIX, tdx::PREFIX])?;
            // A trusted-launch VM: attested by its vTPM, without a TEE.
            let Some(tee) = optional::<&Object<'_>>(payload, ISOLATION_TEE)? else { return not_an_enclave(kind) };
            match required(tee, ATTESTATION_TYPE)? {
                "sevsnpvm" => {
                    refuse_foreign(tee, TokenShape::AzureVm, &[VM_PREFIX, tdx::PREFIX])?;
                    Ok((TokenShape::AzureVm, tee))
                }
                // The guest attestation of a TD, of which no form is known: a direct token (`tdxvm`) is.
                "tdxvm" => not_an_enclave("tdxvm within azurevm"),
                kind => not_an_enclave(kind),
            }
        }
        kind => not_an_enclave(kind),
    }
}

/// Checks that the claims of a TEE contain no claims of a second TEE or VM, which could be read instead.
fn refuse_foreign(tee: &Object<'_>, shape: TokenShape, prefixes: &[&str]) -> Result<(), TokenError> {
    if tee.contains(ISOLATION_TEE) {
        return Err(TokenError::MixedShapes { shape, claim: ISOLATION_TEE.to_owned() });
    }
    refuse_prefixes(tee, shape, prefixes)
}

fn refuse_prefixes(object: &Object<'_>, shape: TokenShape, prefixes: &[&str]) -> Result<(), TokenError> {
    match prefixes.iter().filter_map(|prefix| object.first_with_prefix(prefix)).min() {
        Some(name) => Err(TokenError::MixedShapes { shape, claim: shown(name) }),
        None => Ok(()),
    }
}

pub(super) fn check_issuer(payload: &Object<'_>, expected: &MaaIssuer) -> Result<(), TokenError> {
    let actual: &str = required(payload, "iss")?;
    if actual == expected.as_str() {
        Ok(())
    } else {
        Err(TokenError::WrongIssuer { expected: expected.clone(), actual: shown(actual) })
    }
}

/// Reads the claims of a payload whose shape is known.
pub(super) fn read(payload: &Object<'_>, tee: &Object<'_>, shape: TokenShape) -> Result<OtherClaims, TokenError> {
    let version: &str = required(payload, VERSION)?;
    if version != "1.0" {
        return Err(TokenError::invalid(VERSION, "1.0, the version whose claims are known", version));
    }
    let runtime: Option<&Object<'_>> = optional(payload, RUNTIME)?;
    let (runtime, client_nonce) = match (shape, runtime) {
        (TokenShape::SevSnpVm | TokenShape::TdxVm, Some(runtime)) => (Some(runtime.source().into()), None),
        (TokenShape::AzureVm, Some(runtime)) => (None, client_nonce(runtime)?),
        (_, None) => (None, None),
    };
    let compliance_status = optional_name(tee, COMPLIANCE_STATUS)?;
    // Of other guests, no paravisor of Azure wrote them.
    let configuration = match compliance_status.as_deref() {
        Some(COMPLIANT_CVM) => vm_configuration(tee)?,
        _ => None,
    };
    Ok(OtherClaims {
        compliance_status,
        vm_id: configuration.map_or(Ok(None), |configuration| vm_id(payload, configuration))?,
        vm_settings: configuration.map(|configuration| vm_settings(payload, configuration, shape)).transpose()?,
        policy_hash: policy_hash(payload)?,
        token_id: name(payload, "jti")?,
        tee: match shape {
            TokenShape::SevSnpVm | TokenShape::AzureVm => TeeClaims::Snp(snp(tee)?),
            TokenShape::TdxVm => TeeClaims::Tdx(tdx::read(tee)?),
        },
        stated_chip_id: match shape {
            TokenShape::SevSnpVm | TokenShape::AzureVm => chip_id(tee)?,
            TokenShape::TdxVm => None,
        },
        uvm: match shape {
            TokenShape::SevSnpVm | TokenShape::AzureVm => uvm(tee)?,
            TokenShape::TdxVm => None,
        },
        runtime,
        client_nonce,
    })
}

/// Reads the claims of the TEE in alphabetical order, which is the order in MAA's tokens and makes lookups fast.
fn snp(tee: &Object<'_>) -> Result<SnpClaims, TokenError> {
    Ok(SnpClaims {
        author_key_digest: hex(tee, "x-ms-sevsnpvm-authorkeydigest")?,
        product: product(tee)?,
        chip_id: chip_id(tee)?.filter(|id| !id.is_zero()),
        family_id: hex(tee, "x-ms-sevsnpvm-familyId")?,
        report_guest_svn: integer(tee, GUEST_SVN, "an integer below 2^32")?,
        host_data: hex(tee, "x-ms-sevsnpvm-hostdata")?,
        id_key_digest: hex(tee, "x-ms-sevsnpvm-idkeydigest")?,
        image_id: hex(tee, "x-ms-sevsnpvm-imageId")?,
        measurement: hex(tee, MEASUREMENT)?,
        report_data: hex(tee, "x-ms-sevsnpvm-reportdata")?,
        report_id: hex(tee, "x-ms-sevsnpvm-reportid")?,
        vmpl: vmpl(tee)?,
        reported_tcb: reported_tcb(tee)?,
        policy: guest_policy(tee)?,
    })
}

fn reported_tcb(tee: &Object<'_>) -> Result<Tcb, TokenError> {
    let svn = |name| integer(tee, name, "an integer below 256");
    let bootloader = svn("x-ms-sevsnpvm-bootloader-svn")?;
    let microcode = svn("x-ms-sevsnpvm-microcode-svn")?;
    let snp = svn("x-ms-sevsnpvm-snpfw-svn")?;
    let tee = svn("x-ms-sevsnpvm-tee-svn")?;
    Ok(Tcb::new(None, bootloader, tee, snp, microcode))
}

fn guest_policy(tee: &Object<'_>) -> Result<GuestPolicy, TokenError> {
    let bit = |name| optional_bit(tee, name);
    let ciphertext_hiding_dram = bit("x-ms-sevsnpvm-ciphertext-hiding-dram-enabled")?;
    let cxl_allow = bit("x-ms-sevsnpvm-cxl-allowed")?;
    let debug = required(tee, "x-ms-sevsnpvm-is-debuggable")?;
    let mem_aes_256_xts = bit("x-ms-sevsnpvm-mem-aes256-xts-required")?;
    let migrate_ma = required(tee, "x-ms-sevsnpvm-migration-allowed")?;
    let page_swap_disable = bit("x-ms-sevsnpvm-page-swap-disabled")?;
    let rapl_dis = bit("x-ms-sevsnpvm-rapl-disabled")?;
    let single_socket = bit("x-ms-sevsnpvm-singlesocket")?;
    let smt = required(tee, "x-ms-sevsnpvm-smt-allowed")?;
    Ok(GuestPolicy {
        debug,
        migrate_ma,
        smt,
        single_socket,
        cxl_allow,
        mem_aes_256_xts,
        rapl_dis,
        ciphertext_hiding_dram,
        page_swap_disable,
    })
}

/// Returns the chip id as it is stated.
fn chip_id(tee: &Object<'_>) -> Result<Option<ChipId>, TokenError> {
    optional_hex(tee, "x-ms-sevsnpvm-chipid")
}

fn vmpl(tee: &Object<'_>) -> Result<u32, TokenError> {
    const NAME: &str = "x-ms-sevsnpvm-vmpl";
    const EXPECTED: &str = "a privilege level from 0 to 3";
    match integer(tee, NAME, EXPECTED)? {
        level @ 0..=3 => Ok(level),
        // For example 2^32 - 1, which marks a report that the host requested.
        other => Err(TokenError::invalid(NAME, EXPECTED, &other.to_string())),
    }
}

fn product(tee: &Object<'_>) -> Result<Option<Product>, TokenError> {
    const NAME: &str = "x-ms-sevsnpvm-chip-family";
    let Some(family) = optional::<&str>(tee, NAME)? else { return Ok(None) };
    let product = Product::ALL.into_iter().find(|product| product.as_str() == family);
    product.map(Some).ok_or_else(|| TokenError::invalid(NAME, "Milan, Genoa or Turin", family))
}

/// Reads the utility VM's endorsement: its claims, and the headers that name its issuer. A token with only one of the two is
/// refused.
fn uvm(tee: &Object<'_>) -> Result<Option<UvmClaims>, TokenError> {
    if !tee.contains(UVM_ENDORSEMENT) && !tee.contains(UVM_ENDORSEMENT_HEADERS) {
        return Ok(None);
    }
    let endorsement: &Object<'_> = required(tee, UVM_ENDORSEMENT)?;
    let headers: &Object<'_> = required(tee, UVM_ENDORSEMENT_HEADERS)?;
    Ok(Some(UvmClaims {
        issuer: name(headers, "iss")?,
        feed: name(headers, "feed")?,
        svn: uvm_svn(endorsement)?,
        measurement: hex(endorsement, MEASUREMENT)?,
    }))
}

/// Reads the version, a string of decimal digits. It is compared as a number: "104" is newer than "99".
fn uvm_svn(endorsement: &Object<'_>) -> Result<u64, TokenError> {
    const NUMBER: &str = "x-ms-sevsnpvm-guestsvn-int";
    const EXPECTED: &str = "a decimal number without leading zeros";
    let text: &str = required(endorsement, GUEST_SVN)?;
    let svn: u64 = text.parse().map_err(|_| TokenError::invalid(GUEST_SVN, EXPECTED, text))?;
    // `parse` accepts a sign and zeros before the number.
    if text.starts_with('+') || (text.starts_with('0') && text != "0") {
        return Err(TokenError::invalid(GUEST_SVN, EXPECTED, text));
    }
    // Endorsements since version 103 repeat it in the headers.
    match optional::<u64>(endorsement, NUMBER)? {
        Some(number) if number != svn => {
            Err(TokenError::invalid(NUMBER, "the number that x-ms-sevsnpvm-guestsvn says", &number.to_string()))
        }
        _ => Ok(svn),
    }
}

/// Returns what the paravisor of a confidential VM states about it. The report covers it, as part of the paravisor's claims.
fn vm_configuration<'o>(tee: &'o Object<'_>) -> Result<Option<&'o Object<'o>>, TokenError> {
    let Some(runtime) = optional::<&Object<'_>>(tee, RUNTIME)? else { return Ok(None) };
    optional(runtime, "vm-configuration")
}

/// Reads the id of a confidential VM. The id that MAA states for an `azurevm` must be the same; alone it is not used.
fn vm_id(payload: &Object<'_>, configuration: &Object<'_>) -> Result<Option<VmId>, TokenError> {
    const EXPECTED: &str = "a UUID";
    let parse = |name, text: &str| VmId::parse_any_case(text).ok_or_else(|| TokenError::invalid(name, EXPECTED, text));
    let Some(text) = optional::<&str>(configuration, VM_UNIQUE_ID)? else { return Ok(None) };
    let id = parse(VM_UNIQUE_ID, text)?;
    match optional::<&str>(payload, VM_ID)? {
        Some(text) if parse(VM_ID, text)? != id => {
            Err(TokenError::invalid(VM_ID, "the id that vmUniqueId states", text))
        }
        _ => Ok(Some(id)),
    }
}

/// Reads the settings of a confidential VM. The report of a paravisor can be of an earlier boot, while MAA reads `secureboot` of an
/// `azurevm` from the log of the firmware under a fresh quote: there, Secure Boot is on only if both say so.
fn vm_settings(payload: &Object<'_>, configuration: &Object<'_>, shape: TokenShape) -> Result<VmSettings, TokenError> {
    let setting = |name| optional_bit(configuration, name);
    let stated = setting("secure-boot")?;
    let logged = optional_bit(payload, "secureboot")?;
    let secure_boot = match (stated, shape) {
        (Bit::Set, TokenShape::AzureVm) => logged,
        _ => stated,
    };
    Ok(VmSettings {
        secure_boot,
        tpm: setting("tpm-enabled")?,
        console: setting("console-enabled")?,
        interactive_console: setting("interactive-console-enabled")?,
        filtered_vpci_devices: setting("filtered-vpci-devices-allowed")?,
    })
}

fn policy_hash(payload: &Object<'_>) -> Result<Sha256Digest, TokenError> {
    let text: &str = required(payload, POLICY_HASH)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Sha256Digest::new).ok_or_else(|| TokenError::invalid(POLICY_HASH, "base64url of 32 bytes", text))
}

/// Reads the nonce of the client payload. The caller of the VM's agent may have added other data to the payload, so only one
/// that has the nonce and nothing else responds to a challenge.
fn client_nonce(runtime: &Object<'_>) -> Result<Option<Vec<u8>>, TokenError> {
    let Some(payload) = optional::<&Object<'_>>(runtime, "client-payload")? else { return Ok(None) };
    if payload.names().len() != 1 {
        return Ok(None);
    }
    let Some(nonce) = optional::<&str>(payload, "nonce")? else { return Ok(None) };
    Ok(STANDARD.decode(nonce).ok().filter(|nonce| !nonce.is_empty()))
}

pub(super) fn required<'o, T: Read<'o>>(object: &'o Object<'_>, name: &'static str) -> Result<T, TokenError> {
    object.required(name).map_err(TokenError::claim)
}

fn optional<'o, T: Read<'o>>(object: &'o Object<'_>, name: &'static str) -> Result<Option<T>, TokenError> {
    object.optional(name).map_err(TokenError::claim)
}

fn optional_bit(object: &Object<'_>, name: &'static str) -> Result<Bit, TokenError> {
    Ok(optional::<bool>(object, name)?.map_or(Bit::NotReported, Bit::from))
}

fn name(object: &Object<'_>, claim: &'static str) -> Result<String, TokenError> {
    optional_name(object, claim)?.ok_or(TokenError::MissingClaim { name: claim })
}

fn optional_name(object: &Object<'_>, claim: &'static str) -> Result<Option<String>, TokenError> {
    match optional::<&str>(object, claim)? {
        Some(text) if text.is_empty() || text.len() > MAX_NAME => {
            Err(TokenError::invalid(claim, "a text of 1 to 512 bytes", text))
        }
        text => Ok(text.map(ToOwned::to_owned)),
    }
}

fn hex<T: FromHex>(object: &Object<'_>, name: &'static str) -> Result<T, TokenError> {
    optional_hex(object, name)?.ok_or(TokenError::MissingClaim { name })
}

fn optional_hex<T: FromHex>(object: &Object<'_>, name: &'static str) -> Result<Option<T>, TokenError> {
    let Some(text) = optional::<&str>(object, name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: HexError| TokenError::InvalidClaim {
        name,
        expected: T::EXPECTED,
        found: beginning(text, error.found),
    })
}

fn integer<T: TryFrom<u64>>(object: &Object<'_>, name: &'static str, expected: &'static str) -> Result<T, TokenError> {
    let number: u64 = required(object, name)?;
    T::try_from(number).map_err(|_| TokenError::invalid(name, expected, &number.to_string()))
}

/// Returns only the beginning of a malformed byte string: a chip id in the wrong case would still identify a machine in logs.
fn beginning(text: &str, found: HexErrorKind) -> String {
    let beginning = shorten(text, 16);
    match found {
        HexErrorKind::Length(len) => format!("{beginning} ({len} bytes)"),
        HexErrorKind::NotADigit => beginning,
    }
}

/// Byte strings in claims, each with its expected form for messages.
trait FromHex: std::str::FromStr<Err = HexError> {
    const EXPECTED: &'static str;
}

macro_rules! from_hex {
    ($($name:ident: $expected:literal,)*) => {
        $(impl FromHex for crate::types::$name {
            const EXPECTED: &'static str = concat!($expected, " lower-case hexadecimal digits");
        })*
    };
}

from_hex! {
    ChipId: "128",
    FamilyId: "32",
    HostData: "64",
    ImageId: "32",
    KeyDigest: "96",
    Measurement: "96",
    ReportData: "128",
    ReportId: "64",
    TdxRegister: "96",
    TeeTcbSvn: "32",
}
