//! Step 3: is the report really AMD's?

mod amd_crls;
mod anchors;
mod certificates;
mod emulated;
mod inspection;
mod properties;
mod recorded;
mod revocation;
mod sev_package;
mod times;

use blindbox_attestation::UnixTime;

/// Inside the validity of everything that the emulator issues.
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
