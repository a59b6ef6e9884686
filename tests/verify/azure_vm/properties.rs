//! No input makes the verifier panic, and none but the genuine one is accepted.

use std::sync::LazyLock;

use blindbox_attestation::azure_vm::{AkAnchors, HclReport, Quote, VerifiedAkCertificate};
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::azure_vm::{VirtualTpm, VirtualTpmAuthority};
use blindbox_attestation::snp::{self, AmdAnchors, Collateral, Revocation};
use blindbox_attestation::{Product, Sha256Digest};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, prop_assume, proptest};
use proptest::sample::Index;

use super::NOW;

struct Genuine {
    anchors: AmdAnchors,
    vek: Vec<u8>,
    blob: Vec<u8>,
    quote: Quote,
    chain: Vec<Vec<u8>>,
    root: AkAnchors,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let amd = AmdHierarchy::new(Product::Genoa);
    let (vcek, tpm, azure) = (amd.vcek().issue(), VirtualTpm::new(), VirtualTpmAuthority::new().unwrap());
    let genuine = Genuine {
        anchors: amd.anchors(),
        vek: vcek.der().to_vec(),
        blob: tpm.hcl_report().sign(amd.report(), &vcek),
        quote: tpm.quote().extra_data(&[5; 32]).sign(),
        chain: azure.certificate(&tpm).chain().unwrap(),
        root: AkAnchors::custom(azure.root()).unwrap(),
    };
    assert!(verify(&genuine, &genuine.blob, &genuine.quote, &genuine.chain));
    genuine
});

fn verify(genuine: &Genuine, blob: &[u8], quote: &Quote, chain: &[Vec<u8>]) -> bool {
    let Ok(hcl) = HclReport::read(blob) else { return false };
    let Ok(report) = hcl.snp_report() else { return false };
    let collateral = Collateral::new(&genuine.vek);
    let Ok(report) = snp::verify(report, &collateral, &genuine.anchors, Revocation::Off, NOW) else { return false };
    let Ok(claims) = hcl.verify_with(&report) else { return false };
    let key = &claims.attestation_key;
    quote.verify(key).is_ok() && VerifiedAkCertificate::verify(chain, key, &genuine.root, NOW).is_ok()
}

/// Overwrites, cuts and inserts.
fn mutate(bytes: &[u8], edits: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for (place, kind, value) in edits {
        if out.is_empty() {
            break;
        }
        let at = place.index(out.len());
        match kind % 8 {
            0 => out.truncate(at),
            1 => out.insert(at, *value),
            2 => {
                out.remove(at);
            }
            _ => out[at] = *value,
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..3000)) {
        let genuine = &*GENUINE;
        let Genuine { blob, quote, chain, .. } = genuine;
        prop_assert!(!verify(genuine, &bytes, quote, chain));
        prop_assert!(!verify(genuine, blob, &Quote::new(bytes.clone(), quote.signature.clone(), quote.pcrs.clone()), chain));
        prop_assert!(!verify(genuine, blob, &Quote::new(quote.message.clone(), bytes.clone(), quote.pcrs.clone()), chain));
        prop_assert!(!verify(genuine, blob, quote, &[bytes.clone(), chain[1].clone()]));
        prop_assert!(!verify(genuine, blob, quote, &[chain[0].clone(), bytes]));
    }

    /// The claims are one text in the blob, so that what was cut off or added behind them must be zero.
    #[test]
    fn an_edited_blob_is_refused(edits in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..5)) {
        let genuine = &*GENUINE;
        let edited = mutate(&genuine.blob, &edits);
        let same_claims = match (HclReport::read(&edited), HclReport::read(&genuine.blob)) {
            (Ok(edited), Ok(genuine)) => {
                edited.snp_report() == genuine.snp_report()
                    && edited.runtime_claims_json() == genuine.runtime_claims_json()
            }
            _ => false,
        };
        prop_assert_eq!(verify(genuine, &edited, &genuine.quote, &genuine.chain), same_claims);
    }

    #[test]
    fn an_edited_quote_or_certificate_is_refused(
        which in 0..4_u8,
        edits in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..5),
    ) {
        let genuine = &*GENUINE;
        let Genuine { blob, quote, chain, .. } = genuine;
        let (mut quote_edited, mut chain_edited) = (quote.clone(), chain.clone());
        match which {
            0 => quote_edited.message = mutate(&quote.message, &edits),
            1 => quote_edited.signature = mutate(&quote.signature, &edits),
            2 => chain_edited[0] = mutate(&chain[0], &edits),
            _ => chain_edited[1] = mutate(&chain[1], &edits),
        }
        prop_assume!(quote_edited != *quote || chain_edited != *chain);
        prop_assert!(!verify(genuine, blob, &quote_edited, &chain_edited));
    }

    #[test]
    fn other_pcr_values_are_refused(values in vec(any::<[u8; 32]>(), 0..30)) {
        let genuine = &*GENUINE;
        let values: Vec<_> = values.into_iter().map(Sha256Digest::new).collect();
        let quote = Quote::new(genuine.quote.message.clone(), genuine.quote.signature.clone(), values);
        prop_assert!(!verify(genuine, &genuine.blob, &quote, &genuine.chain));
    }
}
