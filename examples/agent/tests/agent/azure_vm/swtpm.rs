//! A software TPM (`swtpm`), with an attestation key where Azure's paravisor has it.

use std::io::ErrorKind;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;

use blindbox_agent::tpm::{Command, Tpm, TpmAddress, TpmError};
use tempfile::TempDir;

use crate::lab::until;

const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000b;
/// The first object that a TPM loads.
const LOADED: u32 = 0x8000_0000;
pub const AK_HANDLE: u32 = 0x8100_0003;
pub const AK_CERTIFICATE_INDEX: u32 = 0x01c1_01d0;
pub const USER_DATA_INDEX: u32 = 0x0140_0002;

/// A running TPM and the one connection to it.
pub struct Swtpm {
    process: Child,
    tpm: Mutex<Tpm>,
    _state: TempDir,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Swtpm {
    /// A TPM that was never used before. `None` where there is no `swtpm`.
    pub async fn start() -> Option<Self> {
        let state = tempfile::tempdir().unwrap();
        let socket = state.path().join("tpm.sock");
        let mut process = Process::new("swtpm");
        process.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        process.arg("--tpmstate").arg(format!("dir={}", state.path().display()));
        process.arg("--server").arg(format!("type=unixio,path={}", socket.display()));
        let process = match process.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("SKIPPED: there is no swtpm (Debian's package has this name)");
                return None;
            }
            process => process.unwrap(),
        };
        let address: TpmAddress = format!("unix:{}", socket.display()).parse().unwrap();
        let mut tpm = None;
        until("swtpm does not listen", || {
            tpm = Tpm::open(&address).ok();
            tpm.is_some()
        })
        .await;
        let swtpm = Self { process, tpm: Mutex::new(tpm.unwrap()), _state: state };
        swtpm.make_attestation_key();
        Some(swtpm)
    }

    /// Does something with the TPM while no one else does.
    pub fn with<T>(&self, work: impl FnOnce(&mut Tpm) -> T) -> T {
        work(&mut self.tpm.lock().unwrap())
    }

    pub fn run(&self, command: &Command) -> Result<Vec<u8>, TpmError> {
        self.with(|tpm| tpm.run(command))
    }

    /// A restricted key that signs by RSASSA with SHA-256, as a primary key of the endorsement hierarchy.
    fn make_attestation_key(&self) {
        let template = [
            // RSA, SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign; no policy.
            &[0, 1, 0, 0x0b, 0, 5, 4, 0x72, 0, 0][..],
            // No symmetric algorithm; RSASSA, SHA-256; 2048 bits; the exponent 65537; nothing of its own.
            &[0, 0x10, 0, 0x14, 0, 0x0b, 8, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let create = Command::new("CreatePrimary", 0x131).authorized(ENDORSEMENT).returning_handle();
        self.run(&create.sized(&[0; 4]).sized(&template).sized(&[]).u32(0)).unwrap();
        self.persist(LOADED, AK_HANDLE).unwrap();
        self.run(&Command::new("FlushContext", 0x165).u32(LOADED)).unwrap();
    }

    fn persist(&self, object: u32, handle: u32) -> Result<(), TpmError> {
        self.run(&Command::new("EvictControl", 0x120).authorized(OWNER).handle(object).u32(handle)).map(|_| ())
    }

    /// Removes the attestation key.
    pub fn evict_attestation_key(&self) {
        self.persist(AK_HANDLE, AK_HANDLE).unwrap();
    }

    pub fn modulus(&self) -> Vec<u8> {
        self.with(|tpm| tpm.rsa_modulus(AK_HANDLE)).unwrap()
    }

    /// The certificate of the attestation key, with zeros after it as on Azure. This TPM has indices of up to 2048 bytes.
    pub fn set_certificate(&self, der: &[u8]) {
        let mut content = der.to_vec();
        content.resize(2048, 0);
        self.with(|tpm| tpm.nv_write(AK_CERTIFICATE_INDEX, &content)).unwrap();
    }

    /// Extends a PCR.
    pub fn extend(&self, pcr: u32, digest: [u8; 32]) {
        let command = Command::new("PCR_Extend", 0x182).authorized(pcr).u32(1).u16(0x000b).bytes(&digest);
        self.run(&command).unwrap();
    }

    /// What the guest wrote for the next report.
    pub fn user_data(&self) -> Option<[u8; 64]> {
        let content = self.with(|tpm| tpm.nv_read(USER_DATA_INDEX)).ok()?;
        content.try_into().ok()
    }
}
