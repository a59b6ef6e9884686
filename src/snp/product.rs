//! The product (processor family) of a report, and how the formats depend on it.

use crate::claims::Cpuid;
use crate::types::Product;

/// Returns the product of a processor by its CPUID, for products with a published hierarchy.
///
/// Bergamo and Siena share Genoa's hierarchy. Venice (family 0x1a, models from 0x50) has none published and is unknown
/// here: an unknown processor is refused, never guessed.
pub(crate) const fn product_of(cpuid: Cpuid) -> Option<Product> {
    match (cpuid.family, cpuid.model) {
        (0x19, 0x00..=0x0f) => Some(Product::Milan),
        (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Product::Genoa),
        (0x1a, 0x00..=0x11) => Some(Product::Turin),
        _ => None,
    }
}

/// Returns the used bytes of the chip id: 8 since Turin, before that all 64.
pub(crate) const fn hardware_id_len(product: Product) -> usize {
    match product {
        Product::Milan | Product::Genoa => 64,
        Product::Turin => 8,
    }
}

/// Whether the TCB has an FMC component, which exists since Turin.
pub(crate) const fn has_fmc(product: Product) -> bool {
    match product {
        Product::Milan | Product::Genoa => false,
        Product::Turin => true,
    }
}

/// Whether a certificate's product name (`Milan-B0`, `Genoa`) belongs to a product: its name, optionally with `-` and a stepping.
pub(crate) fn is_name_of(product: Product, name: &str) -> bool {
    let (family, stepping) = match name.split_once('-') {
        Some((family, stepping)) => (family, Some(stepping)),
        None => (name, None),
    };
    let known = match product {
        Product::Milan => family == "Milan",
        Product::Genoa => matches!(family, "Genoa" | "Bergamo" | "Siena"),
        Product::Turin => family == "Turin",
    };
    known && stepping.is_none_or(|text| matches!(text.as_bytes(), [b'A'..=b'Z', b'0'..=b'9']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_models_includes_both_ends() {
        for family in 0..=0xff {
            for model in 0..=0xff {
                let expected = match (family, model) {
                    (0x19, 0..=15) => Some(Product::Milan),
                    (0x19, 16..=31 | 160..=175) => Some(Product::Genoa),
                    (0x1a, 0..=17) => Some(Product::Turin),
                    _ => None,
                };
                assert_eq!(product_of(Cpuid { family, model, stepping: 1 }), expected, "{family:#x} {model:#x}");
            }
        }
    }

    #[test]
    fn a_product_name_may_carry_a_stepping() {
        for (product, name) in [
            (Product::Milan, "Milan"),
            (Product::Milan, "Milan-B0"),
            (Product::Genoa, "Genoa-B1"),
            (Product::Genoa, "Siena"),
            (Product::Turin, "Turin"),
        ] {
            assert!(is_name_of(product, name), "{name}");
            for other in Product::ALL.into_iter().filter(|other| *other != product) {
                assert!(!is_name_of(other, name), "{name}");
            }
        }
        for name in
            ["Milan-", "Milan-B", "Milan-B00", "Milan-b0", "MilanB0", "milan", "", "-B0", "Milan-B0-B0", "Milan "]
        {
            assert!(!is_name_of(Product::Milan, name), "{name}");
        }
    }
}
