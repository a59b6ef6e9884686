//! The blob of the paravisor, as far as the agent needs it: to see that it has what was requested. Clients verify it.
//!
//! Numbers are little endian. `docs/platforms.md` and the library's `azure_vm::HclReport` have the layout.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::AzureVmError;

/// The offset of the hardware report, and its end.
const HARDWARE_REPORT: std::ops::Range<usize> = 0x20..0x4c0;
/// The offset of the TCB that the report is for (`REPORTED_TCB`).
const REPORTED_TCB: std::ops::Range<usize> = 0x180..0x188;
/// The offset of the type of report.
const REPORT_TYPE: usize = 0x4c8;
/// The offset of the length of the claims.
const CLAIMS_LEN: usize = 0x4d0;
/// The offset of the claims.
const CLAIMS: usize = 0x4d4;

/// A report of the paravisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParavisorReport {
    blob: Vec<u8>,
    claims_end: usize,
    /// The modulus of the attestation key that the report names.
    pub(super) ak_modulus: Vec<u8>,
    /// In lower-case hexadecimal.
    pub(super) user_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Claims {
    keys: Vec<Key>,
    user_data: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    n: String,
}

impl ParavisorReport {
    pub(super) fn read(blob: Vec<u8>) -> Result<Self, AzureVmError> {
        let refuse = |reason: &str| AzureVmError::Report(reason.to_owned());
        if !blob.starts_with(b"HCLA") {
            return Err(refuse("it does not begin with HCLA"));
        }
        match number(&blob, REPORT_TYPE) {
            Some(2) => {}
            Some(1) => return Err(refuse("it is of VBS, which is no confidential VM")),
            Some(3) => return Err(refuse("it is of a VM with Trusted Launch, which is no confidential VM")),
            Some(4) => {
                return Err(refuse("it is of Intel TDX, and this agent serves AMD SEV-SNP only (docs/platforms.md)"));
            }
            Some(other) => return Err(AzureVmError::Report(format!("its type is {other}, not 2 (AMD SEV-SNP)"))),
            None => return Err(refuse("it is too short")),
        }
        let len = number(&blob, CLAIMS_LEN).and_then(|len| usize::try_from(len).ok());
        let claims_end = len.and_then(|len| len.checked_add(CLAIMS));
        let claims = claims_end.and_then(|end| Some((end, blob.get(CLAIMS..end)?)));
        let (claims_end, claims) = claims.ok_or_else(|| refuse("its claims are longer than it"))?;
        let claims: Claims =
            serde_json::from_slice(claims).map_err(|error| AzureVmError::Report(format!("its claims: {error}")))?;
        let mut ak = claims.keys.iter().filter(|key| key.kid == "HCLAkPub");
        let (Some(key), None) = (ak.next(), ak.next()) else {
            return Err(refuse("its claims do not have exactly one key HCLAkPub"));
        };
        let modulus = URL_SAFE_NO_PAD.decode(&key.n).map_err(|_| refuse("the modulus of HCLAkPub is not base64url"))?;
        Ok(Self {
            claims_end,
            ak_modulus: modulus,
            // Older paravisors write upper case.
            user_data: claims.user_data.map(|text| text.to_ascii_lowercase()),
            blob,
        })
    }

    /// As the NV index has it.
    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The JSON of the runtime claims.
    pub(super) fn claims(&self) -> &[u8] {
        self.blob.get(CLAIMS..self.claims_end).unwrap_or_default()
    }

    pub(super) fn hardware_report(&self) -> &[u8] {
        self.blob.get(HARDWARE_REPORT).unwrap_or_default()
    }

    /// The TCB of the key that signed, as its bytes stand in the report.
    pub(super) fn reported_tcb(&self) -> String {
        hex::encode(self.hardware_report().get(REPORTED_TCB).unwrap_or_default())
    }
}

fn number(blob: &[u8], offset: usize) -> Option<u32> {
    let bytes = blob.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with these claims.
    fn blob(report_type: u32, claims: &str) -> Vec<u8> {
        let mut blob = vec![0; CLAIMS];
        blob[..4].copy_from_slice(b"HCLA");
        blob[REPORT_TYPE..REPORT_TYPE + 4].copy_from_slice(&report_type.to_le_bytes());
        blob[CLAIMS_LEN..].copy_from_slice(&u32::try_from(claims.len()).unwrap().to_le_bytes());
        blob.extend_from_slice(claims.as_bytes());
        blob.resize(2600, 0);
        blob
    }

    const AK: &str = r#"{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"wcLD"}"#;

    #[test]
    fn a_report_states_its_key_and_user_data() {
        let claims = format!(r#"{{"keys":[{AK},{{"kid":"HCLEkPub","n":"AAAA"}}],"user-data":"AABB"}}"#);
        let report = ParavisorReport::read(blob(2, &claims)).unwrap();
        assert_eq!(report.ak_modulus, [0xc1, 0xc2, 0xc3]);
        assert_eq!(report.user_data.as_deref(), Some("aabb"));
        assert_eq!(report.claims(), claims.as_bytes());
        assert_eq!((report.hardware_report().len(), report.blob().len()), (1184, 2600));
        let without = ParavisorReport::read(blob(2, &format!(r#"{{"keys":[{AK}]}}"#))).unwrap();
        assert_eq!(without.user_data, None);
    }

    #[test]
    fn what_is_no_report_of_sev_snp_says_what_it_is() {
        let claims = format!(r#"{{"keys":[{AK}]}}"#);
        let of_type = |number| ParavisorReport::read(blob(number, &claims)).unwrap_err().to_string();
        let start = "the report of the paravisor (NV index 0x01400001) cannot be used:";
        for (number, reason) in [
            (1, "it is of VBS, which is no confidential VM"),
            (3, "it is of a VM with Trusted Launch, which is no confidential VM"),
            (4, "it is of Intel TDX, and this agent serves AMD SEV-SNP only (docs/platforms.md)"),
            (5, "its type is 5, not 2 (AMD SEV-SNP)"),
        ] {
            assert_eq!(of_type(number), format!("{start} {reason}"));
        }
        let refused = |blob: Vec<u8>| ParavisorReport::read(blob).unwrap_err().to_string();
        assert_eq!(refused(vec![0; 2600]), format!("{start} it does not begin with HCLA"));
        assert_eq!(refused(b"HCLA".to_vec()), format!("{start} it is too short"));
        let mut long = blob(2, &claims);
        long[CLAIMS_LEN..CLAIMS_LEN + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(refused(long), format!("{start} its claims are longer than it"));
        for keys in ["[]".to_owned(), format!("[{AK},{AK}]")] {
            let reason = "its claims do not have exactly one key HCLAkPub";
            assert_eq!(refused(blob(2, &format!(r#"{{"keys":{keys}}}"#))), format!("{start} {reason}"));
        }
        let reason = "the modulus of HCLAkPub is not base64url";
        assert_eq!(refused(blob(2, &claims.replace("wcLD", "w+LD"))), format!("{start} {reason}"));
        assert!(refused(blob(2, "no json")).starts_with(&format!("{start} its claims: expected")));
    }
}
