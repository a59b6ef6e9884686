//! The paravisors of Azure that keep their attestation key: the floor of CVE-2025-49707.
//!
//! Before the fix of August 2025, the administrator of a confidential VM could store a key of their own where the virtual TPM keeps its
//! attestation key. It then stood in the runtime claims that the hardware report covers, and Azure certified it: its owner signs quotes
//! over any PCRs and any data, and MAA accepts them. The fix generates the key from the TPM's seed at each boot.
//!
//! Microsoft does not publish which `GUEST_SVN` has the fix. These are the lowest that were observed after it (January and February
//! 2026); the last one before it was 7. `GUEST_SVN` counts by itself in each family, and is signed by the ID key.

use crate::claims::SnpClaims;
use crate::types::{FamilyId, KeyDigest};

/// The key that signs the ID blocks of Azure's paravisors since 2025.
pub(crate) const PARAVISOR_ID_KEY: KeyDigest = KeyDigest::new([
    0x94, 0x2f, 0xd9, 0x3e, 0xbd, 0xe6, 0xea, 0x7a, 0x96, 0xef, 0xad, 0xea, 0xfc, 0x60, 0xf1, 0xc6, 0xb3, 0xd1, 0x0e,
    0x70, 0x3b, 0x1d, 0xaf, 0xd7, 0x55, 0x5b, 0x92, 0xf7, 0xf3, 0xd3, 0x2d, 0x0e, 0x00, 0x67, 0x67, 0x64, 0x8c, 0xba,
    0x5b, 0x10, 0x2a, 0xf3, 0xd6, 0x57, 0x56, 0xaf, 0x41, 0x77,
]);

/// The keys that signed the ID blocks of Azure's paravisors before the fix. No minimum `GUEST_SVN` makes one of them acceptable.
const OLD_ID_KEYS: [KeyDigest; 3] = [
    // Seen in 2022, with `GUEST_SVN` 2.
    KeyDigest::new([
        0x57, 0x48, 0x6a, 0x44, 0x7e, 0xc0, 0xf1, 0x95, 0x80, 0x02, 0xa2, 0x2a, 0x06, 0xb7, 0x67, 0x3b, 0x9f, 0xd2,
        0x7d, 0x11, 0xe1, 0xc6, 0x52, 0x74, 0x98, 0x05, 0x60, 0x54, 0xc5, 0xfa, 0x92, 0xd2, 0x3c, 0x50, 0xf9, 0xde,
        0x44, 0x07, 0x27, 0x60, 0xfe, 0x2b, 0x6f, 0xb8, 0x97, 0x40, 0xb6, 0x96,
    ]),
    // Seen in a report with `GUEST_SVN` 2 whose signature could not be checked.
    KeyDigest::new([
        0x93, 0x4f, 0x68, 0xbd, 0x8b, 0xa0, 0x19, 0x38, 0xee, 0xc2, 0x14, 0x75, 0xc8, 0x72, 0xe3, 0xa9, 0x42, 0xb6,
        0x0c, 0x59, 0xfa, 0xfc, 0x6d, 0xf9, 0xe9, 0xa7, 0x6e, 0xe6, 0x6b, 0xc4, 0x7f, 0x2d, 0x09, 0xc6, 0x76, 0xf6,
        0x1c, 0x03, 0x15, 0xc5, 0x78, 0xda, 0x26, 0x08, 0x5f, 0xb1, 0x3a, 0x71,
    ]),
    // Seen from 2023 to January 2025, with `GUEST_SVN` 5 and 7.
    KeyDigest::new([
        0x03, 0x56, 0x21, 0x58, 0x82, 0xa8, 0x25, 0x27, 0x9a, 0x85, 0xb3, 0x00, 0xb0, 0xb7, 0x42, 0x93, 0x1d, 0x11,
        0x3b, 0xf7, 0xe3, 0x2d, 0xde, 0x2e, 0x50, 0xff, 0xde, 0x7e, 0xc7, 0x43, 0xca, 0x49, 0x1e, 0xcd, 0xd7, 0xf3,
        0x36, 0xdc, 0x28, 0xa6, 0xe0, 0xb2, 0xbb, 0x57, 0xaf, 0x7a, 0x44, 0xa3,
    ]),
];

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

/// What evidence of SEV-SNP shows of the paravisor of an Azure confidential VM: whether it has the fix of CVE-2025-49707.
///
/// It is a statement about the ID key, the family and `GUEST_SVN` alone. Whether they are genuine is the matter of the signatures, and
/// whether they are accepted that of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParavisorFix {
    /// ID key and family are known, and `GUEST_SVN` is one that was observed after the fix.
    Present,
    /// `GUEST_SVN` is below that, or the ID key is one of before the fix.
    Missing,
    /// The ID key or the family is none that this release knows.
    Unknown,
}

impl ParavisorFix {
    /// Returns what these claims show.
    #[must_use]
    pub fn shown_by(snp: &SnpClaims) -> Self {
        match UnmetFloor::of(snp) {
            None => Self::Present,
            Some(UnmetFloor::GuestSvn { .. }) => Self::Missing,
            Some(UnmetFloor::IdKey) if OLD_ID_KEYS.contains(&snp.id_key_digest) => Self::Missing,
            Some(UnmetFloor::IdKey | UnmetFloor::Family) => Self::Unknown,
        }
    }
}

/// The first condition of the floor that a paravisor does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnmetFloor {
    /// The ID key is another one. Without it, family and `GUEST_SVN` are asserted by the host.
    IdKey,
    /// The family has no floor.
    Family,
    /// `GUEST_SVN` is below the minimum of its family.
    GuestSvn {
        /// The minimum.
        minimum: u32,
    },
}

impl UnmetFloor {
    /// Returns `None` for a known paravisor with the fix.
    pub(crate) fn of(snp: &SnpClaims) -> Option<Self> {
        if snp.id_key_digest != PARAVISOR_ID_KEY {
            return Some(Self::IdKey);
        }
        let Some(floor) = PARAVISOR_FLOORS.iter().find(|floor| floor.family_id == snp.family_id) else {
            return Some(Self::Family);
        };
        let minimum = floor.minimum_guest_svn;
        (snp.report_guest_svn < minimum).then_some(Self::GuestSvn { minimum })
    }
}
