//! The guest device of Linux.

#[cfg(target_os = "linux")]
mod linux {
    use sev::error::{UserApiError, VmmError};
    use sev::firmware::guest::Firmware;

    use crate::evidence::{Device, EvidenceError};

    /// `/dev/sev-guest`, which only a process with the device in its container can open.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct GuestDevice;

    impl Device for GuestDevice {
        fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
            let mut firmware = Firmware::open().map_err(|error| EvidenceError::Away(format!("the device: {error}")))?;
            // Said, because the library would ask at VMPL 1, which a verifier that expects the container's 0 refuses.
            firmware.get_report(None, Some(*report_data), Some(0)).map_err(|error| match error {
                // The host holds the firmware's guests to a rate.
                UserApiError::VmmError(VmmError::RateLimitRetryRequest) => {
                    EvidenceError::Away(format!("the device: {error}"))
                }
                error => EvidenceError::Device(error.to_string()),
            })
        }
    }
}

#[cfg(target_os = "linux")]
pub use linux::GuestDevice;
