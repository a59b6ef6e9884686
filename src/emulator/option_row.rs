//! Rows of the tables of knobs and faults: what a person writes, what it does, and the value that it makes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::types::{Product, Tcb};

/// One option of the emulator as it is written on a command line, and what it does.
pub struct OptionRow<T> {
    /// The heading under which it is listed.
    pub group: &'static str,
    /// The name, and after `=` or `:` what stands for its argument: `debug`, `vmpl=LEVEL`, `slow:MS`.
    pub form: &'static str,
    /// What it does, in a few words.
    pub meaning: &'static str,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> OptionRow<T> {
    /// The name without an argument.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.form.split(['=', ':']).next().unwrap_or(self.form)
    }

    /// Whether a value must follow the name.
    #[must_use]
    pub fn takes_argument(&self) -> bool {
        self.name() != self.form
    }

    /// The value that `name` and `argument` make, of the row of that name.
    pub(super) fn find<'r>(
        mut rows: impl Iterator<Item = &'r Self>,
        kind: &str,
        name: &str,
        argument: Option<&str>,
    ) -> Result<T, OptionError>
    where
        T: 'r,
    {
        let row = rows.find(|row| row.name() == name);
        let row = row.ok_or_else(|| OptionError(format!("no {kind} is called {name:?}; see --help")))?;
        if row.takes_argument() != argument.is_some() {
            return Err(OptionError(format!("expected {}", row.form)));
        }
        (row.parse)(argument.unwrap_or_default()).map_err(OptionError)
    }
}

impl<T> fmt::Debug for OptionRow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionRow").field("form", &self.form).finish_non_exhaustive()
    }
}

/// An option that is not in the table, or whose argument is not what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(String);

/// A table of rows that make `$made`, and a compile-time check that no variant of `$type` is without a row.
///
/// A row is `"form", "meaning" => Variant`, followed by `(parser)` if the variant has one field, by `[parser]` if it has two,
/// and by `via parser` if the parser makes the whole value. Variants under `in code only` hold what a command line cannot
/// write, or do what another row does.
macro_rules! rows {
    (
        $(#[$attribute:meta])*
        $table:ident: $type:ident => $made:ty, $wrap:expr;
        $($group:literal {
            $($form:literal, $meaning:literal => $variant:ident $(($one:expr))? $([$two:expr])? $(via $whole:expr)?;)*
        })*
        in code only { $($code:ident),* }
    ) => {
        $(#[$attribute])*
        pub(crate) const $table: &[$crate::emulator::OptionRow<$made>] = {
            #[allow(dead_code, unreachable_patterns, reason = "only compiled; a variant may have several rows")]
            fn every_variant_has_a_row(value: &$type) {
                match value {
                    $($($type::$variant { .. } => {})*)*
                    $($type::$code { .. } => {})*
                }
            }
            &[$($($crate::emulator::OptionRow {
                group: $group,
                form: $form,
                meaning: $meaning,
                parse: rows!(@parse $wrap, $type::$variant $(($one))? $([$two])? $(via $whole)?),
            },)*)*]
        };
    };
    (@parse $wrap:expr, $type:ident::$variant:ident) => { |_| Ok($wrap($type::$variant)) };
    (@parse $wrap:expr, $type:ident::$variant:ident($one:expr)) => { |value| Ok($wrap($type::$variant($one(value)?))) };
    (@parse $wrap:expr, $type:ident::$variant:ident[$two:expr]) => {
        |value| {
            let (first, second) = $two(value)?;
            Ok($wrap($type::$variant(first, second)))
        }
    };
    (@parse $wrap:expr, $type:ident::$variant:ident via $whole:expr) => { |value| Ok($wrap($whole(value)?)) };
}
pub(super) use rows;

pub(super) fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

/// The same value whatever is written.
pub(super) fn constant<T>(value: T) -> impl FnOnce(&str) -> Result<T, String> {
    |_| Ok(value)
}

/// A number in hexadecimal.
pub(super) fn hexadecimal(value: &str) -> Result<u64, String> {
    u64::from_str_radix(value, 16).map_err(|_| format!("expected up to 16 hexadecimal digits, found {value:?}"))
}

pub(super) fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("expected a number, found {value:?}"))
}

pub(super) fn milliseconds(value: &str) -> Result<Duration, String> {
    number(value).map(Duration::from_millis)
}

/// Digits of a value of fixed length.
pub(super) fn digits<T: FromStr<Err: fmt::Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn bytes(value: &str) -> Result<Vec<u8>, String> {
    hex::decode(value).map_err(|error| error.to_string())
}

pub(super) fn offset_and_bytes(value: &str) -> Result<(usize, Vec<u8>), String> {
    let (offset, written) = value.split_once(':').ok_or("expected OFFSET:HEX")?;
    Ok((number(offset)?, bytes(written)?))
}

pub(super) fn json(value: &str) -> Result<Value, String> {
    serde_json::from_str(value).map_err(|error| error.to_string())
}

pub(super) fn named_json(value: &str) -> Result<(String, Value), String> {
    let (name, value) = value.split_once(':').ok_or("expected NAME:JSON")?;
    Ok((name.to_owned(), json(value)?))
}

/// Four parts, or five with the FMC in front (Turin).
pub(super) fn tcb(value: &str) -> Result<Tcb, String> {
    let parts: Vec<u8> = value.split('.').map(number).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [bootloader, tee, snp, microcode] => Ok(Tcb::new(None, *bootloader, *tee, *snp, *microcode)),
        [fmc, bootloader, tee, snp, microcode] => Ok(Tcb::new(Some(*fmc), *bootloader, *tee, *snp, *microcode)),
        _ => Err("expected four numbers with dots between, or five with the FMC first".to_owned()),
    }
}

pub(super) fn product(value: &str) -> Result<Product, String> {
    let found = Product::ALL.into_iter().find(|product| product.as_str().eq_ignore_ascii_case(value));
    found.ok_or_else(|| format!("expected milan, genoa or turin, found {value:?}"))
}

pub(super) fn status(value: &str) -> Result<u16, String> {
    let code = value.parse().ok().filter(|code| (200..=599).contains(code));
    code.ok_or_else(|| format!("expected a status from 200 to 599, found {value:?}"))
}
