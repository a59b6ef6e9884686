//! `--amd-roots`: which files of roots are taken, and what is said of the others.

use blindbox_attestation::Product;
use blindbox_attestation::emulator::amd::{AmdHierarchy, pem};

use crate::tool::{Emulator, run};

/// The roots of a family in PEM: ARK, ASK, ASVK.
fn roots(product: Product) -> [String; 3] {
    let amd = AmdHierarchy::new(product);
    [pem(amd.ark()), pem(amd.ask()), pem(amd.asvk())]
}

#[test]
fn a_file_of_roots_holds_one_to_three_complete_families() {
    let emulator = Emulator::start(&[]);
    let (policy, path) = (emulator.path("policy.toml"), emulator.path("roots.pem"));
    // Nothing listens on port 1: roots that are taken lead to `unreachable`, not to `misconfigured`.
    let verify = |text: &str| {
        std::fs::write(&path, text).unwrap();
        run(&["verify", "https://127.0.0.1:1", "--policy", &policy, "--amd-roots", &path])
    };
    let [milan, genoa, turin] = [Product::Milan, Product::Genoa, Product::Turin].map(roots);
    let all = [milan.concat(), genoa.concat(), turin.concat()];
    let shuffled: String =
        [&genoa, &turin, &milan].into_iter().flat_map(|family| family.iter().rev().cloned()).collect();
    for good in [&all[0], &all[2], &all[..2].concat(), &all.concat(), &shuffled] {
        let outcome = verify(good);
        assert_eq!(outcome.exit, 3, "{}", outcome.err);
    }
    let stranger = pem(AmdHierarchy::new(Product::Milan).vcek().issue().der());
    for (bad, message) in [
        (genoa[..2].concat(), "the roots of Genoa are incomplete: add SEV-VLEK-Genoa"),
        ([all[0].as_str(), &turin[2]].concat(), "the roots of Turin are incomplete: add ARK-Turin and SEV-Turin"),
        ([all[0].as_str(), &milan[1]].concat(), "holds SEV-Milan twice: leave one out"),
        ([all[0].as_str(), &stranger].concat(), "as the name of certificate 4, found \"SEV-VCEK\": leave it out"),
        (all.concat() + &stranger, "expected at most 9 certificates in one PEM text, found more"),
        (String::new(), "expected exactly one X.509 certificate in DER (or PEM), found something else"),
    ] {
        let outcome = verify(&bad);
        assert_eq!(outcome.exit, 4, "{}", outcome.err);
        assert!(outcome.err.starts_with(&format!("error[misconfigured]: {path}: ")), "{}", outcome.err);
        assert!(outcome.err.contains(message), "{}", outcome.err);
    }
}
