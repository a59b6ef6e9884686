//! Azure confidential VMs without MAA: the paravisor's report, quotes, certificates of attestation keys.

mod ak_certificate;
mod emulated;
mod inspection;
mod policy;
mod properties;
mod recorded;

use blindbox_attestation::UnixTime;

/// A time at which everything of the emulator is valid.
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
