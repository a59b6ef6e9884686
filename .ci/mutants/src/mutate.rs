//! Finds the mutants of a source file, and compiles chosen ones into it as switches.
//!
//! A mutant is `if crate::mutant(17) { changed } else { original }`, so one build holds all of them.

use std::collections::BTreeSet;

use proc_macro2::Span;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Block, Expr, Lit, Pat, ReturnType, Stmt, Type, UnOp, parse_quote};

/// What is appended to the root of the crate. `MUTANT_TRACE` names a file to which each mutant that is reached is written.
pub const SWITCH: &str = r#"
pub(crate) fn mutant(id: u32) -> bool {
    use std::{collections::BTreeSet, io::Write, sync::{Mutex, OnceLock}};
    static ACTIVE: OnceLock<Option<u32>> = OnceLock::new();
    static TRACE: OnceLock<Option<Mutex<(std::fs::File, BTreeSet<u32>)>>> = OnceLock::new();
    let trace = TRACE.get_or_init(|| {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(std::env::var_os("MUTANT_TRACE")?);
        Some(Mutex::new((file.ok()?, BTreeSet::new())))
    });
    if let Some(trace) = trace && let Ok(mut trace) = trace.lock() && trace.1.insert(id) {
        let _ = trace.0.write_all(format!("{id}\n").as_bytes());
    }
    *ACTIVE.get_or_init(|| std::env::var("MUTANT").ok()?.parse().ok()) == Some(id)
}
"#;

/// One mutant: its number, place, and change.
pub struct Mutant {
    pub id: u32,
    pub line: usize,
    pub change: String,
}

/// Walks through one file. The numbers depend on the source alone, not on which mutants are chosen.
pub struct Mutator<'a> {
    /// The names of the integer constants of the crate.
    pub constants: &'a BTreeSet<String>,
    /// The mutants to compile in; all others are only found.
    pub chosen: &'a BTreeSet<u32>,
    pub next: u32,
    pub found: Vec<Mutant>,
}

impl Mutator<'_> {
    /// Records a mutant; returns its number if it is to be compiled in.
    fn add(&mut self, span: Span, change: impl Into<String>) -> Option<u32> {
        let id = self.next;
        self.next += 1;
        self.found.push(Mutant { id, line: span.start().line, change: change.into() });
        self.chosen.contains(&id).then_some(id)
    }

    fn replace(&mut self, expr: &mut Expr, changed: Expr) {
        let change = format!("{} -> {}", text(expr), text(&changed));
        if let Some(id) = self.add(expr.span(), change) {
            *expr = parse_quote!((if crate::mutant(#id) { #changed } else { #expr }));
        }
    }

    fn body(&mut self, signature: &syn::Signature, block: &mut Block) {
        if signature.constness.is_some() {
            return;
        }
        let name = &signature.ident;
        for value in values(&signature.output) {
            if let Some(id) = self.add(name.span(), format!("{name}: return {}", text(&value))) {
                block.stmts.insert(0, parse_quote!(if crate::mutant(#id) { return #value; }));
            }
        }
    }
}

impl VisitMut for Mutator<'_> {
    // What cannot contain a switch: constants, types, patterns, attributes.
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_item_enum_mut(&mut self, _: &mut syn::ItemEnum) {}
    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_angle_bracketed_generic_arguments_mut(&mut self, _: &mut syn::AngleBracketedGenericArguments) {}

    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if !item.attrs.iter().any(|a| text(a) == "# [cfg (test)]") {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if of.is_none_or(|of| of.ident != "Debug") {
            visit_mut::visit_item_impl_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        if item.sig.constness.is_none() {
            visit_mut::visit_item_fn_mut(self, item);
        }
        self.body(&item.sig, &mut item.block);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        if item.sig.constness.is_none() {
            visit_mut::visit_impl_item_fn_mut(self, item);
        }
        self.body(&item.sig, &mut item.block);
    }

    fn visit_expr_repeat_mut(&mut self, repeat: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut repeat.expr);
    }

    /// Deletes statements that are only there for their effect.
    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        visit_mut::visit_stmt_mut(self, stmt);
        let Stmt::Expr(expr, Some(_)) = stmt else { return };
        let effect = matches!(expr, Expr::Try(_) | Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_));
        if effect && let Some(id) = self.add(expr.span(), format!("delete {};", text(expr))) {
            *stmt = parse_quote!(if !crate::mutant(#id) { #stmt });
        }
    }

    /// Deletes arms that a later arm catches, and changes guards.
    fn visit_expr_match_mut(&mut self, item: &mut syn::ExprMatch) {
        visit_mut::visit_expr_match_mut(self, item);
        let catches_all =
            item.arms.last().is_some_and(|a| a.guard.is_none() && matches!(a.pat, Pat::Wild(_) | Pat::Ident(_)));
        let last = item.arms.len().saturating_sub(1);
        for (position, arm) in item.arms.iter_mut().enumerate() {
            let pattern = text(&arm.pat);
            if let Some((_, guard)) = &mut arm.guard {
                for (changed, value) in [("true", true), ("false", false)] {
                    if let Some(id) = self.add(arm.pat.span(), format!("guard of {pattern} -> {changed}")) {
                        **guard = parse_quote!((if crate::mutant(#id) { #value } else { #guard }));
                    }
                }
            } else if catches_all
                && position < last
                && let Some(id) = self.add(arm.pat.span(), format!("delete arm {pattern}"))
            {
                arm.guard = Some((Default::default(), parse_quote!((!crate::mutant(#id)))));
            }
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        match &*expr {
            Expr::Binary(binary) if !chained(expr) => {
                if let Some(op) = other(&binary.op) {
                    let mut changed = binary.clone();
                    changed.op = op;
                    self.replace(expr, changed.into());
                }
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let changed = (*unary.expr).clone();
                self.replace(expr, changed);
            }
            Expr::Lit(literal) => {
                if let Lit::Int(int) = &literal.lit
                    && let Ok(value) = int.base10_parse::<u128>()
                {
                    let next = syn::LitInt::new(&format!("{}{}", value + 1, int.suffix()), int.span());
                    self.replace(expr, parse_quote!(#next));
                }
            }
            Expr::Path(path)
                if path.path.segments.last().is_some_and(|s| self.constants.contains(&s.ident.to_string())) =>
            {
                // `u64::MAX` and the like, which share their name with constants of the crate: one more is no program.
                let is_largest =
                    path.path.segments.first().is_some_and(|s| s.ident.to_string().starts_with(['u', 'i']));
                let changed = if is_largest { parse_quote!((#expr - 1)) } else { parse_quote!((#expr + 1)) };
                self.replace(expr, changed);
            }
            Expr::MethodCall(call) => {
                if let Some(method) = opposite(&call.method.to_string()) {
                    let mut changed = call.clone();
                    changed.method = syn::Ident::new(method, call.method.span());
                    self.replace(expr, changed.into());
                }
            }
            Expr::If(item) if item.else_branch.is_none() => {
                let change = format!("delete if {}", text(&item.cond));
                if let Some(id) = self.add(expr.span(), change) {
                    *expr = parse_quote!(if !crate::mutant(#id) { #expr });
                }
            }
            _ => {}
        }
    }
}

/// Whether an expression contains `let`, which stands only directly in a condition.
fn chained(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => chained(&binary.left) || chained(&binary.right),
        _ => false,
    }
}

fn other(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::Lt(_) => parse_quote!(<=),
        BinOp::Le(_) => parse_quote!(<),
        BinOp::Gt(_) => parse_quote!(>=),
        BinOp::Ge(_) => parse_quote!(>),
        BinOp::Eq(_) => parse_quote!(!=),
        BinOp::Ne(_) => parse_quote!(==),
        BinOp::And(_) => parse_quote!(||),
        BinOp::Or(_) => parse_quote!(&&),
        BinOp::Add(_) => parse_quote!(-),
        BinOp::Sub(_) => parse_quote!(+),
        BinOp::BitAnd(_) => parse_quote!(|),
        BinOp::BitOr(_) => parse_quote!(&),
        BinOp::Shl(_) => parse_quote!(>>),
        BinOp::Shr(_) => parse_quote!(<<),
        _ => return None,
    })
}

fn opposite(method: &str) -> Option<&'static str> {
    Some(match method {
        "all" => "any",
        "any" => "all",
        "is_err" => "is_ok",
        "is_none" => "is_some",
        "is_ok" => "is_err",
        "is_some" => "is_none",
        "max" => "min",
        "min" => "max",
        _ => return None,
    })
}

/// What a function of this type returns at once instead.
fn values(output: &ReturnType) -> Vec<Expr> {
    let ReturnType::Type(_, ty) = output else { return vec![parse_quote!(())] };
    let (name, argument) = match &**ty {
        Type::Path(path) => {
            let Some(segment) = path.path.segments.last() else { return vec![] };
            let argument = match &segment.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments.args.first().map(text),
                _ => None,
            };
            (segment.ident.to_string(), argument)
        }
        other => (text(other), None),
    };
    match (name.as_str(), argument.as_deref()) {
        ("bool", _) => vec![parse_quote!(true), parse_quote!(false)],
        ("Result", Some("()")) => vec![parse_quote!(Ok(()))],
        ("Result", Some("bool")) => vec![parse_quote!(Ok(true)), parse_quote!(Ok(false))],
        ("Result", Some(inner)) if inner.starts_with("Option") => vec![parse_quote!(Ok(None))],
        ("Result", Some("Self")) => vec![],
        ("Result", _) => vec![parse_quote!(Ok(Default::default()))],
        ("Option", _) => vec![parse_quote!(None)],
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i64", _) => vec![parse_quote!(0), parse_quote!(1)],
        ("String" | "Vec", _) => vec![parse_quote!(Default::default())],
        ("& str" | "& 'static str", _) => vec![parse_quote!("")],
        _ => vec![],
    }
}

pub fn text(tokens: &impl ToTokens) -> String {
    quote!(#tokens).to_string()
}
