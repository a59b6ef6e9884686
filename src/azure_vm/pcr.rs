//! The platform configuration registers (PCRs) that a quote covers.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::error::QuoteError;
use crate::crypto;
use crate::types::{Sha256Digest, VmId};

/// How many PCRs a virtual TPM has.
pub const PCR_COUNT: u8 = 24;

/// The PCR that firmware of Azure extends with the id of the VM.
const PCR_OF_VM_ID: u8 = 6;

/// The PCRs that a quote selects, as its three bytes of bits (TPM 2.0 part 2, `TPMS_PCR_SELECTION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PcrSelection(pub(super) [u8; 3]);

impl PcrSelection {
    /// Returns the selected PCRs in ascending order.
    fn indices(self) -> impl Iterator<Item = u8> {
        let [low, middle, high] = self.0;
        let bits = u32::from_le_bytes([low, middle, high, 0]);
        (0..PCR_COUNT).filter(move |index| bits >> index & 1 == 1)
    }
}

/// As an array of the selected PCRs.
impl Serialize for PcrSelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.indices())
    }
}

/// The values of SHA-256 PCRs that a verified quote covers. A PCR that the quote does not select has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcrs {
    values: BTreeMap<u8, Sha256Digest>,
}

impl Pcrs {
    /// Assigns the values to the PCRs that are selected, if their digest is the quoted one.
    ///
    /// A quote covers the concatenated values of the selected PCRs in ascending order, without their indices: the value at place
    /// i belongs to the i-th selected PCR. Taking it as that of PCR i lets a guest that selects others present one register as
    /// another, such as PCR 16, which every guest can reset, as PCR 4.
    pub(super) fn of_quote(
        selection: PcrSelection,
        values: &[Sha256Digest],
        quoted: &Sha256Digest,
    ) -> Result<Self, QuoteError> {
        let selected = selection.indices().count();
        if values.len() != selected {
            return Err(QuoteError::WrongPcrCount { expected: selected, actual: values.len() });
        }
        let concatenated: Vec<u8> = values.iter().flat_map(|value| *value.as_bytes()).collect();
        let actual = crypto::sha256_digest(&concatenated);
        if !crypto::constant_time_eq(actual.as_bytes(), quoted.as_bytes()) {
            return Err(QuoteError::WrongPcrs { expected: *quoted, actual });
        }
        Ok(Self { values: selection.indices().zip(values.iter().copied()).collect() })
    }

    /// Returns the value of a PCR; `None` if the quote does not cover it.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<&Sha256Digest> {
        self.values.get(&index)
    }

    /// Returns the PCRs that the quote covers with their values, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Sha256Digest)> {
        self.values.iter().map(|(index, value)| (*index, value))
    }

    /// Whether PCR 6 has the value that firmware of Azure gives it on the VM with this id; `None` if the quote does not cover it.
    ///
    /// The guest can extend PCR 6, so that another value proves nothing. Seen on most VMs, not on all.
    #[must_use]
    pub fn names_vm(&self, vm_id: &VmId) -> Option<bool> {
        self.get(PCR_OF_VM_ID).map(|value| *value == pcr_of_vm_id(vm_id))
    }
}

/// As an object: the index is the name of a member.
impl Serialize for Pcrs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.values)
    }
}

/// Returns PCR 6 of a VM: zeros, extended by SHA-256 of `UUID: ` and the id in upper case, then by the separator event (SHA-256 of
/// four zero bytes).
fn pcr_of_vm_id(vm_id: &VmId) -> Sha256Digest {
    let extend = |value: [u8; 32], event: &[u8]| crypto::sha256(&[value, crypto::sha256(event)].concat());
    let named = extend([0; 32], format!("UUID: {}", vm_id.to_string().to_ascii_uppercase()).as_bytes());
    Sha256Digest::new(extend(named, &[0; 4]))
}
