//! What the emulated AMD knows: the hierarchies of all families, and the keys of every chip that this process made.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, OnceLock};

use crate::emulator::amd::{AmdHierarchy, SignedVek};
use crate::emulator::lock;
use crate::snp::AmdAnchors;
use crate::types::{ChipId, Product, Tcb};

/// Whose hierarchy of certificates and keys it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HierarchyOwner {
    Amd,
    /// One who uses the names of AMD.
    Forger,
}

/// One for each family and owner in a process: making one takes a few RSA-4096 signatures, the first one also the keys.
pub(crate) fn hierarchy(owner: HierarchyOwner, product: Product) -> &'static AmdHierarchy {
    static HIERARCHIES: [OnceLock<AmdHierarchy>; 6] = [const { OnceLock::new() }; 6];
    let family = match product {
        Product::Milan => 0,
        Product::Genoa => 1,
        Product::Turin => 2,
    };
    match owner {
        HierarchyOwner::Amd => HIERARCHIES[family].get_or_init(|| AmdHierarchy::new(product)),
        HierarchyOwner::Forger => HIERARCHIES[family + 3].get_or_init(|| AmdHierarchy::impostor(product)),
    }
}

/// The roots of all families.
pub(crate) fn anchors() -> AmdAnchors {
    static ANCHORS: LazyLock<AmdAnchors> = LazyLock::new(|| {
        let all = Product::ALL.map(|product| hierarchy(HierarchyOwner::Amd, product).custom_anchors());
        AmdAnchors::custom(all).expect("the emulator's own hierarchies")
    });
    ANCHORS.clone()
}

/// The key of a chip (VCEK), or without a chip of the cloud provider (VLEK), at a TCB: the same one each time.
pub(crate) fn vek(owner: HierarchyOwner, product: Product, chip: Option<ChipId>, tcb: Tcb) -> SignedVek {
    let tcb = in_layout_of(product, tcb);
    let mut veks = lock(&VEKS);
    let known = veks.entry((owner, product.as_str(), chip, tcb));
    let hierarchy = hierarchy(owner, product);
    let make = || match chip {
        Some(chip) => hierarchy.vcek().chip_id(chip).tcb(tcb).issue(),
        None => hierarchy.vlek().tcb(tcb).issue(),
    };
    known.or_insert_with(make).clone()
}

/// The chip of a family whose id begins so, if this process made one.
pub(crate) fn chip_with_id(product: Product, id: &[u8]) -> Option<ChipId> {
    let veks = lock(&VEKS);
    let mut chips =
        veks.keys().filter(|(owner, family, ..)| *owner == HierarchyOwner::Amd && *family == product.as_str());
    chips.find_map(|(_, _, chip, _)| chip.filter(|chip| chip.as_bytes().starts_with(id)))
}

/// A TCB has a part for the FMC from Turin on, and not before.
pub(crate) fn in_layout_of(product: Product, tcb: Tcb) -> Tcb {
    let fmc = (product == Product::Turin).then(|| tcb.fmc.unwrap_or_default());
    Tcb { fmc, ..tcb }
}

type Keys = HashMap<(HierarchyOwner, &'static str, Option<ChipId>, Tcb), SignedVek>;

static VEKS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);
