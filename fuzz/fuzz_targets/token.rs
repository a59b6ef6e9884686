//! Bytes that claim to be a token never panic and are never believed.
#![no_main]

use blindbox_attestation::maa::{KeySet, TokenExpectations, verify};
use blindbox_attestation::{MaaIssuer, UnixTime};
use libfuzzer_sys::fuzz_target;

/// A key whose private half does not exist.
const KEY_SET: &str = concat!(
    r#"{"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":"#,
    r#""u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zkp18gnTxKL"#,
    r#"xoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjykkJ0iT9wCS0DRTXu2"#,
    r#"69V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEjGoXbAAEgAqeGUxrcIlbjXfb"#,
    r#"cmw"}]}"#
);

fuzz_target!(|data: &str| {
    let keys = KeySet::from_json(KEY_SET.as_bytes()).expect("a usable key");
    let issuer = MaaIssuer::new("https://sharedneu.neu.attest.azure.net").expect("an issuer");
    assert!(verify(data, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(1_700_000_000)).is_err());
});
