//! What goes into a verification. All of it is untrusted: it came from a network or a file.

use crate::maa::KeySet;
use crate::snp::AmdAnchors;

/// What the attester says, as received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The MAA token: a JWS in compact form.
    pub token: Option<String>,
    /// The hardware report: 1184 bytes (AMD 56860 table 23).
    pub report: Option<Vec<u8>>,
    /// The utility VM's endorsement: a COSE_Sign1 document.
    pub uvm_endorsement: Option<Vec<u8>>,
    /// The runtime data that the agent says it attested. Compared, never believed.
    pub runtime_data: Option<Vec<u8>>,
}

/// What vouches for the evidence, as received.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Endorsements {
    /// The key set of the MAA instance that the policy names. Whoever supplies it decides what is genuine, so it comes over
    /// authenticated TLS from that instance, or is pinned.
    pub key_set: Option<KeySet>,
    /// The certificate of the key that signed the report (VCEK or VLEK), as DER.
    pub vek: Option<Vec<u8>>,
    /// The certificates above it (ASK or ASVK, then ARK), as DER, where they are not the built-in ones.
    pub chain: Vec<Vec<u8>>,
    /// AMD's revocation list, as DER.
    pub crl: Option<Vec<u8>>,
    /// Roots that *replace* AMD's built-in ones. The result says so.
    pub amd_anchors: Option<AmdAnchors>,
}
