//! The runtime claims of a paravisor: the keys of the virtual TPM and the configuration of the VM.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::attestation_key::AttestationKey;
use super::error::RuntimeClaimsError;
use crate::claims::{Bit, VmSettings};
use crate::json::{self, Object, Read as _, Value};
use crate::types::{UserData, VmId};

/// The name of the attestation key among the keys.
const ATTESTATION_KEY: &str = "HCLAkPub";

/// What the paravisor states about the VM, and what the hardware report covers.
///
/// Members that are not known here are tolerated, since paravisors add some; a member that occurs twice is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuntimeClaims {
    /// The attestation key (`HCLAkPub`): SHA-256 of its `SubjectPublicKeyInfo`, where it is serialized.
    #[serde(rename = "attestation_key_sha256", serialize_with = "digest_of_key")]
    pub attestation_key: AttestationKey,
    /// `vm-configuration`.
    pub vm_configuration: VmConfiguration,
    /// `user-data`: what the guest wrote to NV index 0x01400002 before the report was made. Absent before 2024, zeros unless the
    /// guest wrote something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
}

/// The configuration of a confidential VM. The host proposes it, and the paravisor enforces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VmConfiguration {
    /// `vmUniqueId`: the id of the VM in Azure. The host chooses it.
    pub vm_id: VmId,
    /// `secure-boot`: the firmware starts only what is signed by a trusted authority.
    pub secure_boot: bool,
    /// `tpm-enabled`.
    pub tpm_enabled: bool,
    /// `console-enabled`: the VM has a console, which the host can read. True in every known VM of Azure.
    pub console_enabled: bool,
    /// `interactive-console-enabled`: the host can also write to the console. Stated by paravisors since 2026.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive_console_enabled: Option<bool>,
    /// `filtered-vpci-devices-allowed`: the host may offer devices. Stated by paravisors since 2026.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filtered_vpci_devices_allowed: Option<bool>,
}

/// Runtime claims that nothing authenticates: for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UnverifiedRuntimeClaims {
    claims: RuntimeClaims,
}

impl UnverifiedRuntimeClaims {
    /// Parses the JSON.
    ///
    /// # Errors
    ///
    /// [`RuntimeClaimsError`] for what no paravisor writes.
    pub fn read(json: &[u8]) -> Result<Self, RuntimeClaimsError> {
        RuntimeClaims::read(json).map(|claims| Self { claims })
    }
}

impl RuntimeClaims {
    /// Parses the JSON, which must be authenticated already: see [`HclReport::verify_with`](super::HclReport::verify_with). The
    /// same claims are `x-ms-runtime` of an MAA token.
    pub(crate) fn read(json: &[u8]) -> Result<Self, RuntimeClaimsError> {
        match json::parse(json).map_err(RuntimeClaimsError::NotJson)? {
            Value::Object(claims) => Self::from_object(&claims),
            other => Err(RuntimeClaimsError::NotAnObject { found: other.json_type() }),
        }
    }

    fn from_object(claims: &Object<'_>) -> Result<Self, RuntimeClaimsError> {
        let user_data = claims.optional::<&str>("user-data")?.map(read_user_data).transpose()?;
        Ok(Self {
            attestation_key: read_attestation_key(claims.required("keys")?)?,
            vm_configuration: VmConfiguration::read(claims.required("vm-configuration")?)?,
            user_data,
        })
    }
}

impl VmConfiguration {
    fn read(object: &Object<'_>) -> Result<Self, RuntimeClaimsError> {
        // Legacy paravisors write upper case, later ones lower case: an id is compared by its bytes.
        let vm_id = VmId::parse_any_case(object.required("vmUniqueId")?);
        let not_an_id = RuntimeClaimsError::InvalidMember { name: "vmUniqueId", expected: "a UUID" };
        Ok(Self {
            vm_id: vm_id.ok_or(not_an_id)?,
            secure_boot: object.required("secure-boot")?,
            tpm_enabled: object.required("tpm-enabled")?,
            console_enabled: object.required("console-enabled")?,
            interactive_console_enabled: object.optional("interactive-console-enabled")?,
            filtered_vpci_devices_allowed: object.optional("filtered-vpci-devices-allowed")?,
        })
    }
}

/// The same settings, as a token may carry them too.
impl From<&VmConfiguration> for VmSettings {
    fn from(stated: &VmConfiguration) -> Self {
        let optional = |setting: Option<bool>| setting.map_or(Bit::NotReported, Bit::from);
        Self {
            secure_boot: stated.secure_boot.into(),
            tpm: stated.tpm_enabled.into(),
            console: stated.console_enabled.into(),
            interactive_console: optional(stated.interactive_console_enabled),
            filtered_vpci_devices: optional(stated.filtered_vpci_devices_allowed),
        }
    }
}

fn read_user_data(text: &str) -> Result<UserData, RuntimeClaimsError> {
    UserData::from_hex(&text.to_ascii_lowercase())
        .map_err(|_| RuntimeClaimsError::InvalidMember { name: "user-data", expected: "128 hexadecimal digits" })
}

/// Returns the one attestation key. Its `key_ops` are not looked at: paravisors of 2023 wrote `encrypt` for a key that signs.
fn read_attestation_key(keys: &[Value<'_>]) -> Result<AttestationKey, RuntimeClaimsError> {
    let mut found = None;
    for key in keys {
        let wrong_type = RuntimeClaimsError::InvalidMember { name: "keys", expected: "an array of objects" };
        let key = <&Object<'_>>::read(key).ok_or(wrong_type)?;
        if key.required::<&str>("kid")? == ATTESTATION_KEY && found.replace(key).is_some() {
            return Err(RuntimeClaimsError::DuplicateAttestationKey);
        }
    }
    let key = found.ok_or(RuntimeClaimsError::MissingAttestationKey)?;
    if key.required::<&str>("kty")? != "RSA" {
        return Err(RuntimeClaimsError::UnsupportedKey);
    }
    let number = |name| -> Result<Vec<u8>, RuntimeClaimsError> {
        let not_base64 = RuntimeClaimsError::InvalidMember { name, expected: "base64url without padding" };
        URL_SAFE_NO_PAD.decode(key.required::<&str>(name)?).map_err(|_| not_base64)
    };
    AttestationKey::new(&number("n")?, &number("e")?)
}

fn digest_of_key<S: Serializer>(key: &AttestationKey, serializer: S) -> Result<S::Ok, S::Error> {
    key.digest().serialize(serializer)
}
