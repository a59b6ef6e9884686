//! The paravisors of Azure that keep their attestation key: the floor of CVE-2025-49707.
//!
//! Before the fix of August 2025, the administrator of a confidential VM could store a key of their own where the virtual TPM keeps its
//! attestation key. It then stood in the runtime claims that the hardware report covers, and Azure certified it: its owner signs quotes
//! over any PCRs and any data, and MAA accepts them. The fix generates the key from the TPM's seed at each boot.
//!
//! Microsoft does not publish which `GUEST_SVN` has the fix. These are the lowest that were observed after it (January and February
//! 2026); the last one before it was 7. `GUEST_SVN` counts by itself in each family, and is signed by the ID key.

use crate::types::{FamilyId, KeyDigest};

/// The key that signs the ID blocks of Azure's paravisors since 2025.
pub(crate) const PARAVISOR_ID_KEY: KeyDigest = KeyDigest::new([
    0x94, 0x2f, 0xd9, 0x3e, 0xbd, 0xe6, 0xea, 0x7a, 0x96, 0xef, 0xad, 0xea, 0xfc, 0x60, 0xf1, 0xc6, 0xb3, 0xd1, 0x0e,
    0x70, 0x3b, 0x1d, 0xaf, 0xd7, 0x55, 0x5b, 0x92, 0xf7, 0xf3, 0xd3, 0x2d, 0x0e, 0x00, 0x67, 0x67, 0x64, 0x8c, 0xba,
    0x5b, 0x10, 0x2a, 0xf3, 0xd6, 0x57, 0x56, 0xaf, 0x41, 0x77,
]);

/// A family of paravisors, and the lowest `GUEST_SVN` of it that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParavisorFloor {
    /// `FAMILY_ID`: one for each processor family.
    pub(crate) family_id: FamilyId,
    pub(crate) minimum_guest_svn: u32,
}

/// The families on Milan and on Genoa.
pub(crate) const PARAVISOR_FLOORS: [ParavisorFloor; 2] = [
    ParavisorFloor { family_id: family(0x02, 0x21), minimum_guest_svn: 10 },
    ParavisorFloor { family_id: family(0x01, 0x23), minimum_guest_svn: 65_547 },
];

const fn family(first: u8, second: u8) -> FamilyId {
    FamilyId::new([first, second, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}
