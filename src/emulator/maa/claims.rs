//! The claims of a token, in all layouts, every one of them settable and removable.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::claims::{Bit, SnpClaims, TdxClaims, TokenShape};
use crate::emulator::guest::{Guest, tdx};
use crate::emulator::keys::{random, sha256};
use crate::emulator::network::response::quoted;
use crate::policy::COMPLIANT_CVM;
use crate::types::{ReportData, UnixTime};

/// `x-ms-policy-hash` of the default policy for `sevsnpvm` on Azure's shared instances, which the emulated MAA applies.
pub const CONTAINER_POLICY_HASH: &str = "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco";

/// `x-ms-policy-hash` of the default policy for `azurevm` on Azure's shared instances, which the emulated MAA applies.
pub const VM_POLICY_HASH: &str = "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs";

/// How long MAA's tokens live, in seconds.
pub const TOKEN_LIFETIME: u64 = 8 * 60 * 60;

/// The claims of a token before it is signed.
///
/// A claim is named by its path: `x-ms-sevsnpvm-vmpl`, or `x-ms-isolation-tee/x-ms-sevsnpvm-vmpl` where it is nested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    value: Value,
    edits: Vec<(String, String)>,
}

impl TokenClaims {
    /// What MAA says about a guest that had `runtime_data` hashed into its report (container), or into the nonce that it
    /// handed to the guest attestation client (confidential VM).
    #[must_use]
    pub fn new(issuer: &str, now: UnixTime, guest: &Guest, runtime_data: &[u8]) -> Self {
        Self::behind_paravisor(issuer, now, guest, runtime_data, None)
    }

    /// The same with the claims of the guest's paravisor, where it has one.
    pub(crate) fn behind_paravisor(
        issuer: &str,
        now: UnixTime,
        guest: &Guest,
        runtime_data: &[u8],
        hcl: Option<&str>,
    ) -> Self {
        let value = match guest.shape {
            TokenShape::SevSnpVm => container(guest, runtime_data, hcl),
            TokenShape::AzureVm => confidential_vm(guest, runtime_data, hcl),
            TokenShape::TdxVm => tdx_vm(guest, runtime_data),
        };
        Self::from_value(value).merge(&json!({
            "exp": now.plus(TOKEN_LIFETIME).as_secs(),
            "iat": now.as_secs(),
            "iss": issuer,
            "jti": hex::encode(random::<32>()),
            "nbf": now.as_secs(),
            "x-ms-ver": "1.0",
        }))
    }

    /// Claims of your own; the value should be an object.
    #[must_use]
    pub fn from_value(value: Value) -> Self {
        Self { value, edits: Vec::new() }
    }

    /// Sets a claim, adding it if it is not there.
    #[must_use]
    pub fn claim(mut self, path: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = self.find(path);
        if let Some(object) = parent {
            object.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let (parent, name) = self.find(path);
        if let Some(object) = parent {
            object.remove(name);
        }
        self
    }

    /// Writes a claim a second time, with another value, right behind the first.
    #[must_use]
    pub fn duplicate(mut self, path: &str, second: impl Into<Value>) -> Self {
        let (parent, name) = self.find(path);
        if let Some(first) = parent.and_then(|object| object.get(name)) {
            let first = format!("{}:{first}", quoted(name));
            let both = format!("{first},{}:{}", quoted(name), second.into());
            self.edits.push((first, both));
        }
        self
    }

    /// Replaces the first occurrence of a text in the JSON text that is signed: for whatever a JSON value cannot say.
    #[must_use]
    pub fn replace_text(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.edits.push((from.into(), to.into()));
        self
    }

    /// The claims without the edits of their text.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The text to be signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = self.value.to_string();
        self.edits.iter().fold(text, |text, (from, to)| text.replacen(from, to, 1))
    }

    fn merge(mut self, more: &Value) -> Self {
        if let (Value::Object(claims), Value::Object(more)) = (&mut self.value, more) {
            claims.extend(more.clone());
        }
        self
    }

    fn find<'p>(&mut self, path: &'p str) -> (Option<&mut Map<String, Value>>, &'p str) {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut parents = parents.split('/').filter(|name| !name.is_empty());
        let parent = parents.try_fold(&mut self.value, |value, name| value.get_mut(name));
        (parent.and_then(Value::as_object_mut), name)
    }
}

/// REPORT_DATA for runtime data: its SHA-256 and 32 zero bytes.
#[must_use]
pub fn report_data(runtime_data: &[u8]) -> ReportData {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&sha256(runtime_data));
    ReportData::new(out)
}

fn container(guest: &Guest, runtime_data: &[u8], given: Option<&str>) -> Value {
    // Behind a paravisor the runtime data go into its claims, which the report covers.
    let behind_paravisor = guest.compliance_status.as_deref() == Some(COMPLIANT_CVM);
    let made = || hcl(&report_data(runtime_data).to_string()).to_string();
    let claims_of_paravisor = given.map(str::to_owned).or_else(|| behind_paravisor.then(made));
    let runtime_data = claims_of_paravisor.as_ref().map_or(runtime_data, String::as_bytes);
    let snp = SnpClaims { report_data: report_data(runtime_data), ..guest.snp.clone() };
    let mut claims = tee(guest, &snp);
    if let Ok(runtime) = serde_json::from_slice::<Value>(runtime_data) {
        claims.insert("x-ms-runtime".into(), runtime);
    }
    if let Some(uvm) = &guest.uvm {
        claims.insert(
            "x-ms-sevsnpvm-uvm-endorsement".into(),
            json!({
                "x-ms-sevsnpvm-guestsvn": uvm.svn.to_string(),
                "x-ms-sevsnpvm-launchmeasurement": uvm.measurement,
            }),
        );
        let headers = json!({ "feed": uvm.feed, "iss": uvm.issuer });
        claims.insert("x-ms-sevsnpvm-uvm-endorsement-headers".into(), headers);
    }
    claims.insert("x-ms-policy-hash".into(), CONTAINER_POLICY_HASH.into());
    Value::Object(claims)
}

/// What MAA says about a TD behind a paravisor: the runtime data go into the claims of the paravisor.
fn tdx_vm(guest: &Guest, runtime_data: &[u8]) -> Value {
    let runtime = hcl(&report_data(runtime_data).to_string());
    let tdx = TdxClaims { report_data: report_data(runtime.to_string().as_bytes()), ..guest.tdx.clone() };
    let mut claims = tdx::claims(&tdx);
    if let Some(status) = &guest.compliance_status {
        claims.insert("x-ms-compliance-status".into(), status.clone().into());
    }
    claims.insert("x-ms-runtime".into(), runtime);
    claims.insert("x-ms-policy-hash".into(), CONTAINER_POLICY_HASH.into());
    Value::Object(claims)
}

const VM_ID: &str = "6D0C2E4A-1B3F-4C5D-8E7A-90ABCDEF0123";

fn key(kid: &str, operation: &str) -> Value {
    // The key signs nothing, so that a number of the form of a modulus is enough: of 2048 bits, and odd.
    let mut modulus = random::<256>();
    let [first, .., last] = &mut modulus;
    (*first, *last) = (*first | 0x80, *last | 1);
    json!({
        "e": "AQAB", "key_ops": [operation], "kid": kid, "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus),
    })
}

/// The claims of the paravisor, with what the guest wrote to them.
fn hcl(user_data: &str) -> Value {
    json!({
        "keys": [key("HCLAkPub", "sign"), key("HCLEkPub", "encrypt")],
        "user-data": user_data,
        "vm-configuration": {
            "console-enabled": true, "secure-boot": true, "tpm-enabled": true, "tpm-persisted": true, "vmUniqueId": VM_ID,
        },
    })
}

fn confidential_vm(guest: &Guest, runtime_data: &[u8], given: Option<&str>) -> Value {
    let text = given.map_or_else(|| hcl(&"0".repeat(128)).to_string(), str::to_owned);
    let snp = SnpClaims { report_data: report_data(text.as_bytes()), ..guest.snp.clone() };
    let mut tee = tee(guest, &snp);
    let hcl: Value = serde_json::from_str(&text).unwrap_or_default();
    let vm_id = hcl["vm-configuration"]["vmUniqueId"].clone();
    tee.insert("x-ms-runtime".into(), hcl);
    let nonce = STANDARD.encode(hex::encode(sha256(runtime_data)));
    json!({
        "secureboot": true,
        "x-ms-attestation-type": "azurevm",
        "x-ms-azurevm-attestation-protocol-ver": "2.0",
        "x-ms-azurevm-attested-pcrs": [0, 1, 2, 3, 4, 5, 6, 7],
        "x-ms-azurevm-bootdebug-enabled": false,
        "x-ms-azurevm-dbvalidated": true,
        "x-ms-azurevm-dbxvalidated": true,
        "x-ms-azurevm-debuggersdisabled": true,
        "x-ms-azurevm-default-securebootkeysvalidated": true,
        "x-ms-azurevm-elam-enabled": false,
        "x-ms-azurevm-flightsigning-enabled": false,
        "x-ms-azurevm-hvci-policy": 0,
        "x-ms-azurevm-hypervisordebug-enabled": false,
        "x-ms-azurevm-is-windows": false,
        "x-ms-azurevm-kerneldebug-enabled": false,
        "x-ms-azurevm-osbuild": "NotApplication",
        "x-ms-azurevm-osdistro": "Ubuntu",
        "x-ms-azurevm-ostype": "Linux",
        "x-ms-azurevm-osversion-major": 24,
        "x-ms-azurevm-osversion-minor": 4,
        "x-ms-azurevm-signingdisabled": true,
        "x-ms-azurevm-testsigning-enabled": false,
        "x-ms-azurevm-vmid": vm_id,
        "x-ms-isolation-tee": tee,
        "x-ms-policy-hash": VM_POLICY_HASH,
        "x-ms-runtime": {
            "client-payload": { "nonce": nonce },
            "keys": [key("TpmEphemeralEncryptionKey", "encrypt")],
        },
    })
}

fn tee(guest: &Guest, snp: &SnpClaims) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("x-ms-attestation-type".into(), "sevsnpvm".into());
    if let Some(status) = &guest.compliance_status {
        claims.insert("x-ms-compliance-status".into(), status.clone().into());
    }
    let mut set = |name: &str, value: Value| claims.insert(format!("x-ms-sevsnpvm-{name}"), value);
    set("authorkeydigest", json!(snp.author_key_digest));
    set("bootloader-svn", json!(snp.reported_tcb.bootloader));
    set("familyId", json!(snp.family_id));
    set("guestsvn", json!(snp.report_guest_svn));
    set("hostdata", json!(snp.host_data));
    set("idkeydigest", json!(snp.id_key_digest));
    set("imageId", json!(snp.image_id));
    set("is-debuggable", json!(snp.policy.debug));
    set("launchmeasurement", json!(snp.measurement));
    set("microcode-svn", json!(snp.reported_tcb.microcode));
    set("migration-allowed", json!(snp.policy.migrate_ma));
    set("reportdata", json!(snp.report_data));
    set("reportid", json!(snp.report_id));
    set("smt-allowed", json!(snp.policy.smt));
    set("snpfw-svn", json!(snp.reported_tcb.snp));
    set("tee-svn", json!(snp.reported_tcb.tee));
    set("vmpl", json!(snp.vmpl));
    for (name, bit) in [
        ("ciphertext-hiding-dram-enabled", snp.policy.ciphertext_hiding_dram),
        ("cxl-allowed", snp.policy.cxl_allow),
        ("mem-aes256-xts-required", snp.policy.mem_aes_256_xts),
        ("page-swap-disabled", snp.policy.page_swap_disable),
        ("rapl-disabled", snp.policy.rapl_dis),
        ("singlesocket", snp.policy.single_socket),
    ] {
        if bit != Bit::NotReported {
            set(name, json!(bit == Bit::Set));
        }
    }
    if let Some(chip_id) = snp.chip_id {
        set("chipid", json!(chip_id));
    }
    if let Some(product) = snp.product {
        set("chip-family", json!(product.as_str()));
    }
    claims
}
