//! The rule that a module of the daemon imports from below only, and what a source file imports.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::{LAYERS, syntax};

const ABOVE_ALL: &[&str] = &["lib", "main"];

pub fn imports(path: &str, source: &str) -> Vec<String> {
    let (module, depth) = place(path);
    if ABOVE_ALL.contains(&module) {
        return Vec::new();
    }
    let Some(own) = layer(module) else {
        return vec![format!("1: module `{module}` has no layer: give it one in LAYERS of daemon/tests/it/tidy.rs")];
    };
    let mut seen = Vec::new();
    collect(syntax::tokens(source), depth, &mut seen);
    seen.iter()
        .filter(|import| import.module != module && layer(&import.module).is_none_or(|theirs| theirs <= own))
        .map(|Import { line, module: theirs }| {
            format!("{line}: `{module}` may not import `{theirs}`, which is not below it (LAYERS in daemon/tests/it/tidy.rs)")
        })
        .collect()
}

/// The module of the crate's root that a file belongs to, and how many `super` lead from the file to the root.
fn place(path: &str) -> (&str, usize) {
    let inside = path.trim_start_matches("daemon/src/").trim_end_matches(".rs");
    let depth = inside.split('/').count();
    (inside.split('/').next().expect("split gives at least one part"), depth)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|siblings| siblings.contains(&module))
}

/// A module of the crate's root that a file names, by `crate::` or by as many `super::` as lead there.
struct Import {
    line: usize,
    module: String,
}

/// Reads tokens and not syntax: a path in a macro or in the middle of an expression is an import, too.
fn collect(tokens: TokenStream, depth: usize, seen: &mut Vec<Import>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut inner = depth;
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Ident(ident) if ident == "mod" => inner = depth + 1,
            TokenTree::Ident(ident) if ident == "crate" => named(&trees[at + 1..], seen),
            TokenTree::Ident(ident) if ident == "super" && supers_before(&trees[..at]) + 1 == depth => {
                named(&trees[at + 1..], seen);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => inner = depth, // the module is in a file of its own
            TokenTree::Group(group) => {
                collect(group.stream(), inner, seen);
                if group.delimiter() == Delimiter::Brace {
                    inner = depth;
                }
            }
            _ => {}
        }
    }
}

/// How many `super::` stand directly before.
fn supers_before(trees: &[TokenTree]) -> usize {
    match trees {
        [before @ .., TokenTree::Ident(ident), colons, _] if ident == "super" && is_joint_colon(colons) => {
            1 + supers_before(before)
        }
        _ => 0,
    }
}

/// The module, or the modules in braces, that follow the root: `::hub`, `::{hub::Hub, server}`.
fn named(after: &[TokenTree], seen: &mut Vec<Import>) {
    match after {
        [colons, _, TokenTree::Ident(module), ..] if is_joint_colon(colons) => see(module, seen),
        [colons, _, TokenTree::Group(group), ..] if is_joint_colon(colons) => {
            let mut first = true;
            for tree in group.stream() {
                match tree {
                    TokenTree::Ident(module) if first => see(&module, seen),
                    TokenTree::Punct(punct) if punct.as_char() == ',' => {
                        first = true;
                        continue;
                    }
                    _ => {}
                }
                first = false;
            }
        }
        _ => {}
    }
}

fn see(module: &proc_macro2::Ident, seen: &mut Vec<Import>) {
    seen.push(Import { line: module.span().start().line, module: module.to_string() });
}

fn is_joint_colon(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
}
