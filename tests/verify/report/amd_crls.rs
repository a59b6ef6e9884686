//! AMD's own CRLs, as its Key Distribution Service published them at `/vcek/v1/{Milan,Genoa}/crl` in 2024 and 2025.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::snp::{AmdAnchors, CrlError, VerifiedCrl};
use blindbox_attestation::{Product, SigningKey};

const MILAN: &str = "
MIIDXjCCARICAQEwQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgIFAKEcMBoG
CSqGSIb3DQEBCDANBglghkgBZQMEAgIFAKIDAgEwMHsxFDASBgNVBAsMC0VuZ2lu
ZWVyaW5nMQswCQYDVQQGEwJVUzEUMBIGA1UEBwwLU2FudGEgQ2xhcmExCzAJBgNV
BAgMAkNBMR8wHQYDVQQKDBZBZHZhbmNlZCBNaWNybyBEZXZpY2VzMRIwEAYDVQQD
DAlBUkstTWlsYW4XDTI1MDUwNjEyMzkwNloXDTI2MDUxMjAwMDAwMFqgLzAtMB8G
A1UdIwQYMBaAFIWsGtFD98isVdTFHUFIq9V4StRTMAoGA1UdFAQDAgEGMEEGCSqG
SIb3DQEBCjA0oA8wDQYJYIZIAWUDBAICBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZI
AWUDBAICBQCiAwIBMAOCAgEALWZK0m/3Usls/e0ujVouAo/pGPYtXmIcYD+Q5VZA
nSL3edKcwxtfEvJ+wmi0yLERz5zzl5bXOcr6H/jW1p4xguVm+/L0takR/bbuZMqH
CQxCiRoN6TeGbPtQ1BXh5Cw0/obrmIcu5q+1hsUoejsudD9T66DS/1XCE+rbzWrT
Cxo4h193qrbtwZmg9QQ4KB17PQq+BOOOn72fz/Dug/wQ4wbSA2IRyans+WFKRYTi
JOaLnoIc9pk1UjaCOV2k0JGcD0A0cx2/85sAP7nrn6pCNCRBgtD1EjNa1XMMSQcM
Tf9sUFdlJ9mro8lWL4aXIhrVevkEHoVmiAIg+pr8JZC+dm2iZ3s2CTbZwOe7o6ao
5qkz+TL6ZwGu0xE4jbI+e3bgLIGb+MutKmls6A3EgwtZO68j/6btnPWqOzgD0BJ5
uXOJKkowzJjMEMYvie3lJfXkoNlFLPEvC+cN4jDyuB+40Beq32exOyFIV2y8zQxm
5+z/I/iqVYwENSshmwQ971lcqps8DOlu+mykLWd4CIx4qprpQ8rkdSNNmS8dxaYR
KNtbbH7cgqrQGh4FRlgqPnEseNBPF2r2c2kuySdDXvvZ4Hczr4uOvQXnLrZVrp1k
HUfJGGVwm3ovJbPWLwEnHj/WemON3R8x676u8GME2S+cLR+42GfatYB8LKOCPfY0
Tw0=
";

/// It revokes the ASK with the serial number 02 00 01, the one before that which is pinned.
const GENOA: &str = "
MIIDdjCCASoCAQEwQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgIFAKEcMBoG
CSqGSIb3DQEBCDANBglghkgBZQMEAgIFAKIDAgEwMHsxFDASBgNVBAsMC0VuZ2lu
ZWVyaW5nMQswCQYDVQQGEwJVUzEUMBIGA1UEBwwLU2FudGEgQ2xhcmExCzAJBgNV
BAgMAkNBMR8wHQYDVQQKDBZBZHZhbmNlZCBNaWNybyBEZXZpY2VzMRIwEAYDVQQD
DAlBUkstR2Vub2EXDTI0MTAyMzA0MzYyNFoXDTI1MTEwMzAxMDAwMFowFjAUAgMC
AAEXDTIyMTAzMTEyMDAwMFqgLzAtMB8GA1UdIwQYMBaAFJ9d+f4N2PNa0DMaJe+B
KU++MahbMAoGA1UdFAQDAgEEMEEGCSqGSIb3DQEBCjA0oA8wDQYJYIZIAWUDBAIC
BQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAICBQCiAwIBMAOCAgEAW08cL4B+
o90/Bl20j9OKIHSPLx5/0qR3A4xTgyn6XfEkhcx6Zor3yRt3zTkr4qsOU/bpnnoK
jhOvTGXHZKuy9tBCVb2sYKBOH2Mkvobv0BN/4CjiYgmSRPxy9zDyYwRkYUt25kht
UdWkL/2+ywHvS8DIfVpu5AkEj/dd/yBgozPHTfYkmHfqiphNu3dlIUM+iRwCPdCu
KNwz/oIKL/sZU3vEJGSGnt9JoqI0As9St1ARKPCgs4Ovl+/N8MAGIBuuKBoRLasd
5cBN6PpLPMNJiE8AoWaML0ftuy7HSiIB15Dhd5VYNOKXFcYpxTM4P7ckk7I8a11p
Ih8cnoBUbH98qL+4b/GAWfoDSorYkNklqVJJbdIsx0XSXPX89Kf5dOUPMI9FbiMg
qQh01OZgflyCFMKYigtVKey4PFLvyzIGAnX8eDzG2xmH9h4GHWfWTmgYOTbiWN14
GwWJvkJgrsQPJSCC8MhgjHbGtKyq+YTdlrnWWs15xSK6C6S0piuHMqSP/+b1MqA3
9eMtnYSLw/HHuzXQ25UvjeZtZVvW1Qq0teKpj55D7U4sQ2wFs+N3TZ2CYEntXHM3
Y9/swVQECr/7GFH7wD2vYsDXv0ffb9uiwxkfkcIq567yzT/AZfvdCS/bahBk/Oph
mgS7U+/Q9WWChjc2Xe93UMeFs2bIs7nLHU8=
";

fn der(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64.split_ascii_whitespace().collect::<String>()).unwrap()
}

#[test]
fn they_verify_and_name_no_distribution_point() {
    let anchors = AmdAnchors::builtin();
    for (product, base64, number, this_update, next_update) in [
        // 2025-05-06 12:39:06 to 2026-05-12.
        (Product::Milan, MILAN, "06", 1_746_535_146, 1_778_544_000),
        // 2024-10-23 04:36:24 to 2025-11-03 01:00:00.
        (Product::Genoa, GENOA, "04", 1_729_658_184, 1_762_131_600),
    ] {
        let crl = VerifiedCrl::verify(&der(base64), product, &anchors).unwrap();
        assert_eq!((crl.number().as_deref(), crl.distribution_points()), (Some(number), &[] as &[String]));
        assert_eq!((crl.this_update().as_secs(), crl.next_update().as_secs()), (this_update, next_update));
        for kind in [SigningKey::Vcek, SigningKey::Vlek] {
            assert_eq!(VerifiedCrl::verify_for(&der(base64), product, kind, &anchors).err(), None);
        }
    }
}

#[test]
fn they_are_of_one_root_and_unchanged() {
    let anchors = AmdAnchors::builtin();
    let verify = |der: &[u8], product| VerifiedCrl::verify(der, product, &anchors).err();
    let wrong_issuer = CrlError::WrongIssuer { expected: "ARK-Milan".into(), actual: "ARK-Genoa".into() };
    assert_eq!(verify(&der(GENOA), Product::Milan), Some(wrong_issuer));
    // The revoked serial number of Genoa's, 02 00 01.
    let mut changed = der(GENOA);
    let at = changed.windows(5).position(|window| window == [2, 3, 2, 0, 1]).unwrap();
    changed[at + 4] = 2;
    assert_eq!(verify(&changed, Product::Genoa), Some(CrlError::WrongSignature));
}
