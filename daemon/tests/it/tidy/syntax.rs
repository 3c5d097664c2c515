//! Rules that need to know what is a function, a type, a test.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{EMPTY_WORDS, FILE_LINES, FUNCTION_LINES, PARAMETERS, ROUTES_FILE, ROUTING, UNSAFE_FILES};

pub fn file_length(_: &str, source: &str) -> Vec<String> {
    match lines(source) {
        lines if lines > FILE_LINES => vec![format!("1: {lines} lines without tests, at most {FILE_LINES}: split it")],
        _ => Vec::new(),
    }
}

/// The lines of a file without its unit tests.
pub fn lines(source: &str) -> usize {
    source.lines().count() - survey(source).test_lines
}

pub fn function_length(_: &str, source: &str) -> Vec<String> {
    let too_long = |function: &&Function| function.lines > FUNCTION_LINES;
    let functions = survey(source).functions;
    let told =
        |f: &Function| format!("{}: `{}` has {} lines, at most {FUNCTION_LINES}: split it", f.line, f.name, f.lines);
    functions.iter().filter(too_long).map(told).collect()
}

pub fn parameters(_: &str, source: &str) -> Vec<String> {
    let too_many = |function: &&Function| function.is_ours && function.parameters > PARAMETERS;
    let functions = survey(source).functions;
    let told = |f: &Function| {
        format!(
            "{}: `{}` has {} parameters, at most {PARAMETERS}: find the type that they are",
            f.line, f.name, f.parameters
        )
    };
    functions.iter().filter(too_many).map(told).collect()
}

pub fn bool_parameters(_: &str, source: &str) -> Vec<String> {
    let takes_bool = |function: &&Function| function.is_ours && function.takes_bool;
    let functions = survey(source).functions;
    let told = |f: &Function| format!("{}: `{}` takes a bool: make two functions or an enum", f.line, f.name);
    functions.iter().filter(takes_bool).map(told).collect()
}

pub fn names(path: &str, source: &str) -> Vec<String> {
    let modules = path.split('/').map(|part| (1, part.trim_end_matches(".rs").to_owned()));
    let named = modules.chain(survey(source).names);
    let empty = |(_, name): &(usize, String)| words(name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str()));
    named.filter(empty).map(|(line, name)| format!("{line}: `{name}` does not say what it is: find its word")).collect()
}

pub fn no_allow(_: &str, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    each_pair(tokens(source), &mut |before, tree| {
        let TokenTree::Group(attribute) = tree else { return };
        if !matches!(before, Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '#' | '!')) {
            return;
        }
        let inside: Vec<String> = idents(attribute.stream()).collect();
        let first = inside.first().map(String::as_str);
        if first == Some("allow") || (first == Some("cfg_attr") && inside.iter().any(|word| word == "allow")) {
            let line = attribute.span().start().line;
            complaints.push(format!("{line}: write #[expect(lint, reason = \"…\")] in place of allow"));
        }
    });
    complaints
}

pub fn no_unsafe(path: &str, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if UNSAFE_FILES.contains(&path) {
        return complaints;
    }
    each_pair(tokens(source), &mut |_, tree| {
        if matches!(tree, TokenTree::Ident(ident) if ident == "unsafe") {
            let line = tree.span().start().line;
            complaints.push(format!(
                "{line}: no `unsafe` here; the files that may are UNSAFE_FILES in daemon/tests/it/tidy.rs"
            ));
        }
    });
    complaints
}

pub fn no_routing(path: &str, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if path == ROUTES_FILE {
        return complaints;
    }
    each_pair(tokens(source), &mut |_, tree| {
        if matches!(tree, TokenTree::Ident(ident) if ROUTING.iter().any(|word| ident == word)) {
            let line = tree.span().start().line;
            complaints.push(format!(
                "{line}: register routes with `Routes::serve` and describe them in daemon/src/server/routes/table.rs"
            ));
        }
    });
    complaints
}

/// The tokens of a file: what stands in comments and strings is not code, what stands in macros is.
pub fn tokens(source: &str) -> TokenStream {
    source.parse().expect("the compiler reads it, too")
}

/// Calls `see` with every token tree and the one before it, inside groups, too.
fn each_pair(tokens: TokenStream, see: &mut impl FnMut(Option<&TokenTree>, &TokenTree)) {
    let mut before = None;
    for tree in tokens {
        see(before.as_ref(), &tree);
        if let TokenTree::Group(group) = &tree {
            each_pair(group.stream(), see);
        }
        before = Some(tree);
    }
}

fn idents(tokens: TokenStream) -> Box<dyn Iterator<Item = String>> {
    Box::new(tokens.into_iter().flat_map(|tree| -> Box<dyn Iterator<Item = String>> {
        match tree {
            TokenTree::Ident(ident) => Box::new(std::iter::once(ident.to_string())),
            TokenTree::Group(group) => idents(group.stream()),
            _ => Box::new(std::iter::empty()),
        }
    }))
}

/// The words of a name in either spelling, in lower case and singular.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter == '-' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("there is always a word").extend(letter.to_lowercase());
        }
    }
    words.iter().map(|word| word.strip_suffix('s').unwrap_or(word).to_owned()).collect()
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
    parameters: usize,
    takes_bool: bool,
    /// Whether its shape is ours to choose: not that of another's trait or of a C caller.
    is_ours: bool,
}

/// What the rules want to know of a file, its unit tests left out.
#[derive(Default)]
struct Survey {
    functions: Vec<Function>,
    names: Vec<(usize, String)>,
    test_lines: usize,
    in_trait_impl: bool,
}

fn survey(source: &str) -> Survey {
    let file = syn::parse_file(source).expect("the compiler reads it, too");
    let mut survey = Survey::default();
    survey.visit_file(&file);
    survey
}

impl Survey {
    fn function(&mut self, signature: &syn::Signature, end: usize) {
        let line = signature.span().start().line;
        let takes_bool =
            signature.inputs.iter().any(|input| matches!(input, syn::FnArg::Typed(typed) if is_bool(&typed.ty)));
        let is_ours = !self.in_trait_impl && signature.abi.is_none();
        let (name, parameters) = (signature.ident.to_string(), signature.inputs.len());
        self.functions.push(Function { name, line, lines: end - line + 1, parameters, takes_bool, is_ours });
    }

    fn name(&mut self, ident: &syn::Ident) {
        self.names.push((ident.span().start().line, ident.to_string()));
    }
}

impl<'a> Visit<'a> for Survey {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if is_test(item) {
            let span = item.span();
            self.test_lines += span.end().line - span.start().line + 1;
            return;
        }
        match item {
            syn::Item::Enum(item) => self.name(&item.ident),
            syn::Item::Mod(item) => self.name(&item.ident),
            syn::Item::Struct(item) => self.name(&item.ident),
            syn::Item::Trait(item) => self.name(&item.ident),
            syn::Item::Type(item) => self.name(&item.ident),
            syn::Item::Union(item) => self.name(&item.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.function(&function.sig, function.block.span().end().line);
        visit::visit_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let outside = std::mem::replace(&mut self.in_trait_impl, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.in_trait_impl = outside;
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.function(&function.sig, function.block.span().end().line);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        self.function(&function.sig, function.span().end().line);
        visit::visit_trait_item_fn(self, function);
    }
}

fn is_bool(kind: &syn::Type) -> bool {
    match kind {
        syn::Type::Path(path) => path.path.is_ident("bool"),
        syn::Type::Reference(reference) => is_bool(&reference.elem),
        _ => false,
    }
}

/// Whether the item is compiled for tests only: `#[cfg(test)]`, alone or among other conditions.
fn is_test(item: &syn::Item) -> bool {
    attributes(item).iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let conditions: Vec<String> = idents(list.tokens.clone()).collect();
        list.path.is_ident("cfg")
            && conditions.iter().any(|word| word == "test")
            && !conditions.iter().any(|word| word == "not")
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
