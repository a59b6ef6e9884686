//! Times that BER allows and RFC 5280 section 4.1.2.5 does not.

fn element(tag: u8, text: &str) -> Vec<u8> {
    [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// What is wrong, and the element in DER: each names a time, most in 2023, in a spelling that is not the one allowed.
#[must_use]
pub fn malformed_times() -> Vec<(&'static str, Vec<u8>)> {
    let (utc_time, generalized_time) = (0x17, 0x18);
    vec![
        ("an offset", element(utc_time, "230101000000+0000")),
        ("an offset that matters", element(utc_time, "230101000000-0100")),
        ("no seconds", element(utc_time, "2301010000Z")),
        ("no seconds and an offset", element(utc_time, "2301010000+0000")),
        ("no Z", element(utc_time, "230101000000")),
        ("a fraction in a UTCTime", element(utc_time, "230101000000.5Z")),
        ("a year of four digits in a UTCTime", element(utc_time, "20230101000000Z")),
        ("a day that does not exist", element(utc_time, "230229000000Z")),
        ("an hour that does not exist", element(utc_time, "230101240000Z")),
        ("a leap second", element(utc_time, "230101000060Z")),
        ("a length in its longer form", [&[0x17, 0x81, 13][..], b"230101000000Z"].concat()),
        ("a GeneralizedTime before 2050", element(generalized_time, "20230101000000Z")),
        ("a fraction", element(generalized_time, "20500101000000.5Z")),
        ("a GeneralizedTime with an offset", element(generalized_time, "20500101000000+0000")),
        ("a GeneralizedTime without seconds", element(generalized_time, "205001010000Z")),
        ("a GeneralizedTime without Z", element(generalized_time, "20500101000000")),
    ]
}
