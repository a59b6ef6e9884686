//! The paravisor between the guest and a software TPM: it serves the index of its report itself, under the emulated AMD's keys, and
//! passes everything else on.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use blindbox_agent::tpm::{Command, TpmAddress, TpmError};
use blindbox_attestation::emulator::azure_vm::{VirtualTpm, VirtualTpmAuthority};
use blindbox_attestation::emulator::{Guest, Platform, ReportSource as _};
use blindbox_attestation::{Product, ReportData};
use tempfile::TempDir;

use super::swtpm::Swtpm;

const REPORT_INDEX: u32 = 0x0140_0001;
/// `NV_Read` and `NV_ReadPublic`.
const NV_READ: u32 = 0x14e;
const NV_READ_PUBLIC: u32 = 0x169;

/// What a paravisor, or another program of the VM, does that it should not.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next reads of the report from its start that are served the old one.
    pub old_reports: u32,
    /// Reads of the report from its start so far.
    pub reads: u32,
    /// A response code for every command of this code.
    pub refused: Option<(u32, u32)>,
    /// There is no index of the report.
    pub no_report: bool,
    /// Bytes of every report: an offset and what is there.
    pub patch: Option<(usize, Vec<u8>)>,
    /// Closes the connection instead of responding.
    pub silent: bool,
}

/// A confidential VM up to the agent's transport.
pub struct Paravisor {
    pub swtpm: Swtpm,
    pub platform: Platform,
    pub guest: Guest,
    pub authority: VirtualTpmAuthority,
    /// Only its id is used: the attestation key is the software TPM's.
    identity: VirtualTpm,
    pub faults: Mutex<Faults>,
    report: Mutex<Vec<u8>>,
    sockets: TempDir,
}

impl Paravisor {
    /// Starts one. `None` where there is no `swtpm`.
    pub async fn start() -> Option<Arc<Self>> {
        let swtpm = Swtpm::start().await?;
        let platform = Platform::new(Product::Milan);
        let mut guest = Guest::confidential_vm_direct();
        platform.place(&mut guest);
        let paravisor = Arc::new(Self {
            swtpm,
            platform,
            guest,
            authority: VirtualTpmAuthority::new().unwrap(),
            identity: VirtualTpm::new(),
            faults: Mutex::default(),
            report: Mutex::default(),
            sockets: tempfile::tempdir().unwrap(),
        });
        let certificate = paravisor.authority.certificate_of_modulus(&paravisor.swtpm.modulus());
        paravisor.swtpm.set_certificate(&certificate.chain().unwrap()[0]);
        paravisor.make_report();
        let listener = UnixListener::bind(paravisor.sockets.path().join("tpm.sock")).unwrap();
        let serving = Arc::downgrade(&paravisor);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(paravisor) = serving.upgrade() else { return };
                std::thread::spawn(move || paravisor.serve(stream.unwrap()));
            }
        });
        Some(paravisor)
    }

    /// Where the agent finds its TPM.
    pub fn address(&self) -> TpmAddress {
        format!("unix:{}", self.sockets.path().join("tpm.sock").display()).parse().unwrap()
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// Makes a report that states what the guest wrote by now.
    fn make_report(&self) {
        let hcl = self.identity.hcl_report().attestation_key(&self.swtpm.modulus());
        let hcl = hcl.user_data(Some(self.swtpm.user_data().unwrap_or([0; 64])));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, hcl.claims_json().as_bytes());
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(digest.as_ref());
        let evidence = self.platform.evidence(&self.guest, &ReportData::new(report_data), &[]);
        *self.report.lock().unwrap() = hcl.wrap(evidence.report);
    }

    fn serve(&self, mut stream: UnixStream) {
        loop {
            let mut header = [0; 10];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
            let mut body = vec![0; usize::try_from(number(2)).unwrap() - 10];
            stream.read_exact(&mut body).unwrap();
            if self.faults.lock().unwrap().silent {
                return;
            }
            let response = self.respond(number(6), &header, &body);
            if stream.write_all(&response).is_err() {
                return;
            }
        }
    }

    fn respond(&self, code: u32, header: &[u8], body: &[u8]) -> Vec<u8> {
        let faults = self.faults.lock().unwrap().clone();
        if let Some((refused, response)) = faults.refused
            && refused == code
        {
            return refusal(response);
        }
        let handle = |at: usize| body.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        let of_report = code == NV_READ_PUBLIC && handle(0) == Some(REPORT_INDEX)
            || code == NV_READ && handle(4) == Some(REPORT_INDEX);
        if of_report && faults.no_report {
            return refusal(0x18b);
        }
        match code {
            NV_READ_PUBLIC if of_report => self.public_of_report(),
            NV_READ if of_report => self.read_report(body),
            _ => self.pass(code, header, body),
        }
    }

    /// The index that the owner may read.
    fn public_of_report(&self) -> Vec<u8> {
        let size = u16::try_from(self.report.lock().unwrap().len()).unwrap();
        let public = [&REPORT_INDEX.to_be_bytes()[..], &[0, 0x0b, 0x62, 2, 0, 2, 0, 0], &size.to_be_bytes()].concat();
        let len = u16::try_from(public.len()).unwrap();
        response(0x8001, &[&len.to_be_bytes()[..], &public, &[0, 0]].concat())
    }

    /// A new report at a read from the start, unless it is too early for one.
    fn read_report(&self, body: &[u8]) -> Vec<u8> {
        let [.., a, b, c, d] = body else { panic!("no size and offset") };
        let [size, offset] = [[*a, *b], [*c, *d]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        if offset == 0 {
            let too_early = {
                let mut faults = self.faults.lock().unwrap();
                faults.reads += 1;
                faults.old_reports.checked_sub(1).map(|left| faults.old_reports = left).is_some()
            };
            if !too_early {
                self.make_report();
            }
        }
        let mut report = self.report.lock().unwrap().clone();
        if let Some((offset, bytes)) = &self.faults.lock().unwrap().patch {
            report[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        let part = &report[offset..offset + size];
        let parameters = [&u16::try_from(size).unwrap().to_be_bytes()[..], part].concat();
        let sized =
            [&u32::try_from(parameters.len()).unwrap().to_be_bytes()[..], &parameters, &[0, 0, 1, 0, 0]].concat();
        response(0x8002, &sized)
    }

    /// To the TPM, whose response the guest gets as it is, or as far as it was understood.
    fn pass(&self, code: u32, header: &[u8], body: &[u8]) -> Vec<u8> {
        let authorized = header[..2] == [0x80, 0x02];
        let handles = if code == 0x137 || code == NV_READ { 2 } else { 1 };
        let mut command = Command::new("passed on", code);
        let mut rest = body;
        if authorized {
            let (first, after) = body.split_at(4);
            command = command.authorized(u32::from_be_bytes(first.try_into().unwrap()));
            rest = after;
            if handles == 2 {
                let (second, after) = rest.split_at(4);
                command = command.handle(u32::from_be_bytes(second.try_into().unwrap()));
                rest = after;
            }
            // The size of the authorization and the empty password.
            rest = &rest[13..];
        }
        let command = command.bytes(rest);
        assert_eq!(command.encode(), [header, body].concat());
        match self.swtpm.run(&command) {
            Ok(parameters) if authorized => {
                let len = u32::try_from(parameters.len()).unwrap().to_be_bytes();
                response(0x8002, &[&len[..], &parameters, &[0, 0, 1, 0, 0]].concat())
            }
            Ok(parameters) => response(0x8001, &parameters),
            Err(TpmError::Refused { code, .. }) => refusal(code.0),
            Err(error) => panic!("{error}"),
        }
    }
}

fn response(tag: u16, parameters: &[u8]) -> Vec<u8> {
    let size = u32::try_from(parameters.len() + 10).unwrap();
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &[0; 4], parameters].concat()
}

fn refusal(code: u32) -> Vec<u8> {
    [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}
