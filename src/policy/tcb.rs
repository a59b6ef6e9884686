//! [`TcbMinimum`] and [`TcbMinima`]: minimum TCB versions, by product and processor.

use std::fmt;

use serde::Serialize;

use super::PolicyError;
use super::require_table::check_given;
use super::strict_serde::strict;
use crate::claims::{Cpuid, Silicon};
use crate::types::{Product, Tcb};

strict! {
    /// The minimum version of each component of a TCB. A component that is not set is not required.
    ///
    /// Components mean different things on different products, so that the numbers belong to one product
    /// ([`TcbMinima`]) unless the caller knows that only one product is in use.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[non_exhaustive]
    pub struct TcbMinimum {
        /// Firmware of the FMC; Turin and later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub fmc: Option<u8>,
        /// PSP boot loader.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub bootloader: Option<u8>,
        /// PSP operating system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tee: Option<u8>,
        /// SNP firmware.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub snp: Option<u8>,
        /// Microcode patch level.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub microcode: Option<u8>,
    }
}

impl TcbMinimum {
    /// Creates a minimum that requires nothing. If a component is set twice, the greater version is required.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires at least this SNP firmware.
    #[must_use]
    pub fn snp(mut self, version: u8) -> Self {
        self.snp = self.snp.max(Some(version));
        self
    }

    /// Requires at least this microcode.
    #[must_use]
    pub fn microcode(mut self, version: u8) -> Self {
        self.microcode = self.microcode.max(Some(version));
        self
    }

    /// Requires at least this boot loader.
    #[must_use]
    pub fn bootloader(mut self, version: u8) -> Self {
        self.bootloader = self.bootloader.max(Some(version));
        self
    }

    /// Requires at least this PSP operating system.
    #[must_use]
    pub fn tee(mut self, version: u8) -> Self {
        self.tee = self.tee.max(Some(version));
        self
    }

    /// Requires at least this FMC firmware.
    #[must_use]
    pub fn fmc(mut self, version: u8) -> Self {
        self.fmc = self.fmc.max(Some(version));
        self
    }

    /// Returns every component with its name in a policy file.
    pub(crate) const fn parts(&self) -> [(&'static str, Option<u8>); 5] {
        let Self { fmc, bootloader, tee, snp, microcode } = *self;
        [("fmc", fmc), ("bootloader", bootloader), ("tee", tee), ("snp", snp), ("microcode", microcode)]
    }

    /// Returns these minima, completed with those of `other`.
    fn or(&self, other: &Self) -> Self {
        self.each(other, Option::or)
    }

    /// Returns the greater minimum of each component; `None` is less than any version.
    fn max(&self, other: &Self) -> Self {
        self.each(other, Ord::max)
    }

    fn each(&self, other: &Self, choose: impl Fn(Option<u8>, Option<u8>) -> Option<u8>) -> Self {
        let Self { fmc, bootloader, tee, snp, microcode } = *other;
        Self {
            fmc: choose(self.fmc, fmc),
            bootloader: choose(self.bootloader, bootloader),
            tee: choose(self.tee, tee),
            snp: choose(self.snp, snp),
            microcode: choose(self.microcode, microcode),
        }
    }

    /// Returns the first component that is too old or that the TCB does not have.
    pub(crate) fn first_unmet(&self, tcb: &Tcb) -> Option<(&'static str, u8, Option<u8>)> {
        [
            ("fmc", self.fmc, tcb.fmc),
            ("bootloader", self.bootloader, Some(tcb.bootloader)),
            ("tee", self.tee, Some(tcb.tee)),
            ("snp", self.snp, Some(tcb.snp)),
            ("microcode", self.microcode, Some(tcb.microcode)),
        ]
        .into_iter()
        .find_map(|(part, minimum, actual)| {
            let minimum = minimum?;
            (actual.is_none_or(|actual| actual < minimum)).then_some((part, minimum, actual))
        })
    }
}

impl fmt::Display for TcbMinimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (part, minimum) in self.parts() {
            if let Some(minimum) = minimum {
                write!(f, "{separator}{part} >= {minimum}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

strict! {
    /// The minimum TCB of each product. Evidence of a product without a minimum is refused, unless `any` is set.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
    #[non_exhaustive]
    pub struct TcbMinima {
        /// For every product, and for evidence that does not name its product (MAA tokens from before 2026).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub any: Option<TcbMinimum>,
        /// For Milan and Milan-X.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub milan: Option<TcbMinimum>,
        /// For Milan-X alone, instead of the parts that `milan` has too.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub milan_x: Option<TcbMinimum>,
        /// For Genoa, Genoa-X, Bergamo and Siena.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub genoa: Option<TcbMinimum>,
        /// For Genoa-X alone, instead of the parts that `genoa` has too.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub genoa_x: Option<TcbMinimum>,
        /// For Bergamo and Siena alone, instead of the parts that `genoa` has too.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bergamo: Option<TcbMinimum>,
        /// For Turin.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub turin: Option<TcbMinimum>,
        /// For Turin with dense cores alone, instead of the parts that `turin` has too.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub turin_dense: Option<TcbMinimum>,
    }
}

impl TcbMinima {
    /// Sets the same minimum for all products. Right only if a single product is in use.
    #[must_use]
    pub fn any(minimum: TcbMinimum) -> Self {
        Self { any: Some(minimum), ..Self::default() }
    }

    /// Sets the minimum of one product; call [`TcbMinima::with_product`] for more.
    #[must_use]
    pub fn for_product(product: Product, minimum: TcbMinimum) -> Self {
        Self::default().with_product(product, minimum)
    }

    /// Adds the minimum of another product. If a product is set twice, the greater version of each component is required.
    #[must_use]
    pub fn with_product(mut self, product: Product, minimum: TcbMinimum) -> Self {
        let own = match product {
            Product::Milan => &mut self.milan,
            Product::Genoa => &mut self.genoa,
            Product::Turin => &mut self.turin,
        };
        *own = Some(own.map_or(minimum, |own| own.max(&minimum)));
        self
    }

    /// Adds the minimum of one processor, which counts its microcode by itself. The minimum of the product applies to those of
    /// its processors without one; it is also the minimum of [`Silicon::Milan`], [`Silicon::Genoa`] and [`Silicon::Turin`].
    #[must_use]
    pub fn with_silicon(mut self, silicon: Silicon, minimum: TcbMinimum) -> Self {
        let own = match silicon {
            Silicon::Milan | Silicon::Genoa | Silicon::Turin => return self.with_product(silicon.product(), minimum),
            Silicon::MilanX => &mut self.milan_x,
            Silicon::GenoaX => &mut self.genoa_x,
            Silicon::Bergamo => &mut self.bergamo,
            Silicon::TurinDense => &mut self.turin_dense,
        };
        *own = Some(own.map_or(minimum, |own| own.max(&minimum)));
        self
    }

    /// Returns the minimum for a processor: each component from the processor, otherwise its product, otherwise `any`.
    ///
    /// The error names the claim that the evidence lacks: if a processor of the product has its own minimum, evidence that does
    /// not name its processor could belong to any of them.
    pub(crate) fn for_processor(
        &self,
        product: Option<Product>,
        cpuid: Option<Cpuid>,
    ) -> Result<Option<TcbMinimum>, &'static str> {
        let Some(product) = product else { return Ok(self.any) };
        let own = match product {
            Product::Milan => self.milan,
            Product::Genoa => self.genoa,
            Product::Turin => self.turin,
        };
        let narrow =
            self.narrow().into_iter().filter(|(silicon, minimum)| silicon.product() == product && minimum.is_some());
        let narrow: Vec<_> = narrow.collect();
        let narrowest = match (narrow.is_empty(), cpuid.map(Cpuid::silicon)) {
            (true, _) => None,
            (false, None) => return Err("cpuid"),
            (false, Some(None)) => return Err("a known stepping"),
            (false, Some(Some(this))) => {
                narrow.into_iter().find(|(silicon, _)| *silicon == this).and_then(|(_, own)| own)
            }
        };
        let tables = [narrowest, own, self.any].into_iter().flatten();
        Ok(tables.reduce(|narrower, wider| narrower.or(&wider)))
    }

    /// Returns the minima of processors that count their microcode separately from the first one of their product.
    const fn narrow(&self) -> [(Silicon, Option<TcbMinimum>); 4] {
        [
            (Silicon::MilanX, self.milan_x),
            (Silicon::GenoaX, self.genoa_x),
            (Silicon::Bergamo, self.bergamo),
            (Silicon::TurinDense, self.turin_dense),
        ]
    }

    /// Whether a product has a microcode minimum while one of its other processors has none of its own.
    pub(super) fn has_microcode_of_a_product(&self) -> bool {
        let microcode = |minimum: &Option<TcbMinimum>| minimum.is_some_and(|minimum| minimum.microcode.is_some());
        let products = [(Product::Milan, &self.milan), (Product::Genoa, &self.genoa), (Product::Turin, &self.turin)];
        let lacks = |product: Product| {
            self.narrow().iter().any(|(silicon, own)| silicon.product() == product && !microcode(own))
        };
        microcode(&self.any) || products.into_iter().any(|(product, own)| microcode(own) && lacks(product))
    }

    pub(super) fn validate(&self, requirement: &'static str) -> Result<(), PolicyError> {
        check_given(requirement, *self == Self::default())?;
        let Self { any, milan, milan_x, genoa, genoa_x, bergamo, turin, turin_dense } = self;
        for minimum in [any, milan, milan_x, genoa, genoa_x, bergamo, turin, turin_dense].into_iter().flatten() {
            check_given(requirement, *minimum == TcbMinimum::default())?;
            if minimum.parts().iter().any(|(_, minimum)| *minimum == Some(0)) {
                let reason = "has a part whose minimum version is zero, which every TCB meets; leave the part out";
                return Err(PolicyError::UnusableValue { requirement, reason });
            }
        }
        let has_fmc = |minimum: &TcbMinimum| minimum.fmc.is_some();
        if [milan, milan_x, genoa, genoa_x, bergamo].into_iter().flatten().any(has_fmc) {
            let reason =
                "has a minimum of `fmc`, which Milan and Genoa do not have, so that nothing meets it; leave it out";
            return Err(PolicyError::UnusableValue { requirement, reason });
        }
        Ok(())
    }
}
