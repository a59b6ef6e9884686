//! Anchors from one PEM text.

use blindbox_attestation::emulator::amd::{AmdHierarchy, pem};
use blindbox_attestation::snp::{AmdAnchors, AnchorsError, CertificateError};
use blindbox_attestation::{Product, SigningKey};

/// ARK, ASK and ASVK of one family.
fn family(product: Product) -> [String; 3] {
    let amd = AmdHierarchy::new(product);
    let (vcek, vlek) = (amd.chain(SigningKey::Vcek), amd.chain(SigningKey::Vlek));
    [pem(vcek.ark), pem(vcek.issuer), pem(vlek.issuer)]
}

fn read(certificates: &[&String]) -> Result<AmdAnchors, AnchorsError> {
    let text: String = certificates.iter().map(|one| one.as_str()).collect();
    AmdAnchors::from_pem(text.as_bytes())
}

#[test]
fn every_certificate_of_a_family_is_there_once() {
    let [ark, ask, asvk] = &family(Product::Milan);
    let [genoa_ark, genoa_ask, genoa_asvk] = &family(Product::Genoa);
    for whole in [&[ark, ask, asvk][..], &[asvk, ark, ask], &[ark, genoa_ark, ask, genoa_ask, asvk, genoa_asvk]] {
        assert_eq!(read(whole).err(), None);
    }
    let twice = |name: &str| Some(AnchorsError::Duplicate { name: name.into() });
    assert_eq!(read(&[ark, ask, asvk, ark]).err(), twice("ARK-Milan"));
    assert_eq!(read(&[ark, ask, asvk, genoa_ark, asvk]).err(), twice("SEV-VLEK-Milan"));
    let incomplete = |product, missing: &[&str]| {
        let missing = missing.iter().map(|name| (*name).to_owned()).collect();
        Some(AnchorsError::Incomplete { product, missing })
    };
    assert_eq!(read(&[ark, ask]).err(), incomplete(Product::Milan, &["SEV-VLEK-Milan"]));
    assert_eq!(read(&[ark, ask, asvk, genoa_ask]).err(), incomplete(Product::Genoa, &["ARK-Genoa", "SEV-VLEK-Genoa"]));
    let vek = pem(AmdHierarchy::new(Product::Milan).vcek().issue().der());
    assert_eq!(
        read(&[ark, ask, asvk, &vek]).err(),
        Some(AnchorsError::UnknownName { number: 4, name: "SEV-VCEK".into() })
    );
    assert_eq!(read(&[]).err(), Some(AnchorsError::Pem(CertificateError::Malformed)));
}
