//! Traces that several scenarios share.

#![allow(dead_code, reason = "no test binary uses all of them")]

use blindbox_attestation_models::tls::{Form, INSIDE_KEYS_ONLY, NOT_TO_ATTACKER, OWNER_ONLY, Scenario};

/// A property and the shortest trace that violates it.
pub type Violation = (&'static str, &'static [&'static str]);

/// Evidence does not show whose instance it is: the attacker runs the same code.
pub const SAME_CODE: Violation = (
    OWNER_ONLY,
    &[
        "open 0 to the instance Attackers, key OfAttackersInstance",
        "client requests evidence over 0",
        "TEE responds over 0",
        "client sends over 0",
    ],
);

/// A key from outside is not inside the TEE, also where the attacker does not use it.
pub const OUTSIDE_KEY: Violation = (
    INSIDE_KEYS_ONLY,
    &[
        "open 0 to the instance Owners, key Old",
        "client requests evidence over 0",
        "TEE responds over 0",
        "client sends over 0",
    ],
);

const OTHER_CODE_TRACE: &[&str] = &[
    "open 0 to the attacker, key Attackers",
    "client requests evidence over 0",
    "other code responds over 0",
    "client sends over 0",
];

/// The attacker's own TEE, accepted by a client that does not check the code.
pub const OTHER_CODE: [Violation; 2] = [(INSIDE_KEYS_ONLY, OTHER_CODE_TRACE), (NOT_TO_ATTACKER, OTHER_CODE_TRACE)];

/// A relay with a key that is attested already.
pub const STOLEN_SERVING_KEY: &[&str] = &[
    "open 0 to the instance Owners, key Old",
    "client requests evidence over 0",
    "TEE responds over 0",
    "attacker steals the key Old",
    "open 1 to the attacker, key Old",
    "client sends over 1",
];

/// A relay that has the stolen key attested over a connection of the attacker's own.
pub const RELAYED_EVIDENCE: &[&str] = &[
    "attacker opens own 0 to the instance Owners",
    "attacker steals the key Old",
    "open 0 to the attacker, key Old",
    "client requests evidence over 0",
    "attacker requests evidence over own 0, nonce 0",
    "attacker responds over 0 with evidence (nonce 0, key Old)",
    "client sends over 0",
];

pub fn bound_server() -> Scenario {
    Scenario::new(Form::BoundServer)
}

pub fn each_connection() -> Scenario {
    Scenario::new(Form::BoundServerEachConnection)
}

pub fn bound_connection() -> Scenario {
    Scenario::new(Form::BoundConnection)
}
