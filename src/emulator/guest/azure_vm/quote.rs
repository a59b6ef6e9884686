//! Quotes of the virtual TPM.

use super::VirtualTpm;
use super::guest::pcr_of_vm_id;
use crate::azure_vm::{PCR_COUNT, Quote};
use crate::emulator::keys::sha256;
use crate::types::{Sha256Digest, VmId};

/// A quote to fill in and sign. Without more it selects all PCRs, whose values are those of [`QuoteBuilder::default_pcr`].
#[derive(Clone, Debug)]
pub struct QuoteBuilder<'a> {
    tpm: &'a VirtualTpm,
    extra_data: Vec<u8>,
    selection: [u8; 3],
    pcrs: Vec<Sha256Digest>,
    attributes: u32,
    signer: &'a VirtualTpm,
    tpmt_signature: bool,
    patches: Vec<(usize, Vec<u8>)>,
    after: Vec<u8>,
}

impl<'a> QuoteBuilder<'a> {
    pub(super) fn new(tpm: &'a VirtualTpm) -> Self {
        Self {
            tpm,
            extra_data: Vec::new(),
            selection: [0xff; 3],
            pcrs: (0..PCR_COUNT).map(Self::default_pcr).collect(),
            attributes: 0x0005_0472,
            signer: tpm,
            tpmt_signature: false,
            patches: Vec::new(),
            after: Vec::new(),
        }
    }

    /// The value that a PCR has unless [`QuoteBuilder::pcr`] sets another.
    #[must_use]
    pub fn default_pcr(index: u8) -> Sha256Digest {
        Sha256Digest::new(sha256(&[index]))
    }

    /// The data of the caller.
    #[must_use]
    pub fn extra_data(self, extra_data: &[u8]) -> Self {
        Self { extra_data: extra_data.to_vec(), ..self }
    }

    /// Selects these PCRs only.
    #[must_use]
    pub fn select(self, indices: &[u8]) -> Self {
        let mut selection = [0; 3];
        for index in indices {
            if let Some(byte) = selection.get_mut(usize::from(index / 8)) {
                *byte |= 1 << (index % 8);
            }
        }
        Self { selection, ..self }
    }

    /// PCR 6 as Azure's firmware extends it with the id of the VM.
    #[must_use]
    pub fn vm_id(self, vm_id: VmId) -> Self {
        self.pcr(6, pcr_of_vm_id(&vm_id.to_string()))
    }

    /// The value of a PCR.
    #[must_use]
    pub fn pcr(mut self, index: u8, value: Sha256Digest) -> Self {
        if let Some(pcr) = self.pcrs.get_mut(usize::from(index)) {
            *pcr = value;
        }
        self
    }

    /// The attributes of the key (`TPMA_OBJECT`), which its qualified name covers.
    #[must_use]
    pub fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }

    /// The virtual TPM whose key signs, instead of the one that the quote names.
    #[must_use]
    pub fn signed_by(self, signer: &'a VirtualTpm) -> Self {
        Self { signer, ..self }
    }

    /// The signature as a `TPMT_SIGNATURE`, as a TPM returns it.
    #[must_use]
    pub fn tpmt_signature(self) -> Self {
        Self { tpmt_signature: true, ..self }
    }

    /// Writes bytes over the message before it is signed.
    #[must_use]
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// Appends bytes to the message before it is signed.
    #[must_use]
    pub fn append(self, after: &[u8]) -> Self {
        Self { after: after.to_vec(), ..self }
    }

    /// The message, not signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let selected = self.selected();
        let concatenated: Vec<u8> = selected.iter().flat_map(|value| *value.as_bytes()).collect();
        let extra_len = u16::try_from(self.extra_data.len()).unwrap_or(u16::MAX);
        let mut message = [
            &0xff54_4347_u32.to_be_bytes()[..],
            &0x8018_u16.to_be_bytes(),
            &34_u16.to_be_bytes(),
            &0x000b_u16.to_be_bytes(),
            &self.qualified_name(),
            &extra_len.to_be_bytes(),
            &self.extra_data,
            // The clock in milliseconds, resets, restarts, and that the clock is safe.
            &3_600_000_u64.to_be_bytes(),
            &7_u32.to_be_bytes(),
            &0_u32.to_be_bytes(),
            &[1],
            &0x2020_0312_0012_0003_u64.to_be_bytes(),
            &1_u32.to_be_bytes(),
            &0x000b_u16.to_be_bytes(),
            &[3],
            &self.selection,
            &32_u16.to_be_bytes(),
            &sha256(&concatenated),
            &self.after,
        ]
        .concat();
        for (offset, bytes) in &self.patches {
            for (to, from) in message.iter_mut().skip(*offset).zip(bytes) {
                *to = *from;
            }
        }
        message
    }

    /// The quote, signed.
    #[must_use]
    pub fn sign(&self) -> Quote {
        let message = self.message();
        let mut signature = self.signer.key().sign_rs256(&message);
        if self.tpmt_signature {
            signature.splice(0..0, [0x00, 0x14, 0x00, 0x0b, 0x01, 0x00]);
        }
        Quote::new(message, signature, self.selected())
    }

    fn selected(&self) -> Vec<Sha256Digest> {
        let [low, middle, high] = self.selection;
        let bits = u32::from_le_bytes([low, middle, high, 0]);
        (0_u32..).zip(&self.pcrs).filter(|(index, _)| bits >> index & 1 == 1).map(|(_, value)| *value).collect()
    }

    /// The digest of the qualified name: of the handle of the endorsement hierarchy and the name of the key.
    fn qualified_name(&self) -> [u8; 32] {
        let public_area = [
            &[0x00, 0x01, 0x00, 0x0b][..],
            &self.attributes.to_be_bytes(),
            &[0, 0, 0x00, 0x10, 0x00, 0x14, 0x00, 0x0b, 0x08, 0x00, 0, 0, 0, 0, 0x01, 0x00],
            &self.tpm.key().modulus(),
        ]
        .concat();
        sha256(&[&[0x40, 0x00, 0x00, 0x0b, 0x00, 0x0b][..], &sha256(&public_area)].concat())
    }
}
