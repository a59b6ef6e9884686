//! A text that claims to be a policy never panics, and what is accepted survives both file formats.
#![no_main]

use blindbox_attestation::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    for policy in [Policy::from_toml(data), Policy::from_json(data)].into_iter().flatten() {
        assert_eq!(Policy::from_toml(&policy.to_toml()).as_ref(), Ok(&policy));
        assert_eq!(Policy::from_json(&policy.to_json()).as_ref(), Ok(&policy));
        let _ = policy.lint();
    }
});
