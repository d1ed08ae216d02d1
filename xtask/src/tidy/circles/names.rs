//! The modules of a crate, and whose names each of them takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// Longest way through re-exports of re-exports that is followed.
const LONGEST_WAY: usize = 16;

/// Names from the crate's root to a module or an item.
type Names = Vec<String>;

/// One module takes a name from another.
pub(super) struct Tie {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// All modules of a crate, by their paths.
pub(super) struct Crate(BTreeMap<Names, Module>);

#[derive(Default)]
struct Module {
    /// The module that is this one's file; others lie within a file.
    home: Names,
    file: PathBuf,
    /// Items that it defines.
    defined: BTreeSet<String>,
    /// What it imports, by the name that this has here.
    imported: BTreeMap<String, Taken>,
    /// Modules of which it imports everything.
    globs: Vec<Taken>,
    /// Paths within its items.
    named: Vec<Taken>,
}

/// A path as it is written.
struct Taken {
    path: Names,
    line: usize,
    public: bool,
}

impl Crate {
    /// Reads the crate whose root is `file`.
    pub(super) fn read(root: &Path, file: &Path) -> Result<Self> {
        let mut read = Self(BTreeMap::new());
        read.add_file(root, file, Names::new())?;
        Ok(read)
    }

    fn add_file(&mut self, root: &Path, file: &Path, names: Names) -> Result<()> {
        let text =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("{} is not there", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{} is not understood", file.display()))?;
        self.add(root, &parsed.items, Module { home: names.clone(), file: file.to_owned(), ..Module::default() }, names)
    }

    fn add(&mut self, root: &Path, items: &[Item], mut module: Module, names: Names) -> Result<()> {
        for item in items.iter().filter(|item| !only_for_tests(attributes(item))) {
            module.visit_item(item);
            let Item::Mod(inner) = item else { continue };
            let inner_names = with(&names, &inner.ident.to_string());
            match &inner.content {
                None => self.add_file(root, &file_of(&module, &names, inner)?, inner_names)?,
                Some((_, items)) => {
                    let within = Module { home: module.home.clone(), file: module.file.clone(), ..Module::default() };
                    self.add(root, items, within, inner_names)?;
                }
            }
        }
        self.0.insert(names, module);
        Ok(())
    }

    /// What ties one file to another.
    pub(super) fn ties(&self) -> Vec<Tie> {
        let mut ties = Vec::new();
        for (names, module) in &self.0 {
            for taken in module.imported.values().chain(&module.named).chain(&module.globs) {
                let Some((from, name)) = self.item(names, &taken.path, 0) else { continue };
                let to = &self.0[&from].home;
                let within = module.home.starts_with(to);
                let passed_on = taken.public && to.starts_with(&module.home);
                if !within && !passed_on {
                    let (from, to) = (module.home.join("::"), to.join("::"));
                    ties.push(Tie { from, to, name, file: module.file.clone(), line: taken.line });
                }
            }
        }
        ties.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
        ties
    }

    /// The module that defines what `path` means in the module `here`, and its name there; `None` for another crate's.
    fn item(&self, here: &[String], path: &[String], way: usize) -> Option<(Names, String)> {
        let (mut module, mut rest) = self.start(here, path, way)?;
        while let Some((first, further)) = rest.split_first() {
            let inner = with(&module, first);
            if self.0.contains_key(&inner) {
                (module, rest) = (inner, further.to_vec());
                continue;
            }
            let known = &self.0[&module];
            if first == "*" || known.defined.contains(first) || way > LONGEST_WAY {
                return Some((module, first.clone()));
            }
            if let Some(import) = known.imported.get(first) {
                let path: Names = import.path.iter().chain(further).cloned().collect();
                return self.item(&module, &path, way + 1);
            }
            // Behind a glob, or made by a macro.
            let behind = known.globs.iter().find_map(|glob| {
                let (from, _) = self.item(&module, &glob.path, way + 1)?;
                self.0[&from].defined.contains(first).then_some(from)
            });
            return Some((behind.unwrap_or(module), first.clone()));
        }
        // A module is no item of another: what is named through it is.
        None
    }

    /// The module in which `path` begins, and what follows.
    fn start(&self, here: &[String], path: &[String], way: usize) -> Option<(Names, Names)> {
        let (first, rest) = path.split_first()?;
        let known = self.0.get(here)?;
        match first.as_str() {
            "crate" => Some((Names::new(), rest.to_vec())),
            "self" => Some((here.to_vec(), rest.to_vec())),
            "super" => {
                let (_, above) = here.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.start(above, rest, way),
                    _ => Some((above.to_vec(), rest.to_vec())),
                }
            }
            name if self.0.contains_key(&with(here, name)) => Some((here.to_vec(), path.to_vec())),
            name => {
                let import = known.imported.get(name).filter(|import| import.path != path && way <= LONGEST_WAY)?;
                let path: Names = import.path.iter().chain(rest).cloned().collect();
                self.start(here, &path, way + 1)
            }
        }
    }
}

fn with(names: &[String], name: &str) -> Names {
    names.iter().cloned().chain([name.to_owned()]).collect()
}

/// Where `mod NAME;` leads.
fn file_of(module: &Module, names: &[String], inner: &ItemMod) -> Result<PathBuf> {
    let folder = module.file.parent().unwrap_or(Path::new(""));
    let is_root = module.home.is_empty() || module.file.ends_with("mod.rs");
    let mut folder = if is_root { folder.to_owned() } else { module.file.with_extension("") };
    folder.extend(names.iter().skip(module.home.len()));
    let name = inner.ident.to_string();
    let name = name.trim_start_matches("r#");
    Ok(folder.join(format!("{name}.rs")))
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes(item)) {
            self.defined.extend(name_of(item));
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let for_tests = match item {
            ImplItem::Fn(function) => only_for_tests(&function.attrs),
            ImplItem::Const(constant) => only_for_tests(&constant.attrs),
            _ => false,
        };
        if !for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    /// Modules within are read on their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    /// Who may see an item is no use of another.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
        self.name(names, line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.name_tokens(call.tokens.clone());
    }
}

impl Module {
    fn name(&mut self, path: Names, line: usize) {
        // One name alone is this module's own, or was imported.
        if path.len() > 1 {
            self.named.push(Taken { path, line, public: false });
        }
    }

    /// Paths in a macro's call, which has no other form that is known.
    fn name_tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) if path.is_empty() || colons == 2 => {
                    line = if path.is_empty() { name.span().start().line } else { line };
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.name(std::mem::take(&mut path), line);
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.name_tokens(group.stream()),
                        TokenTree::Ident(name) => (line, path) = (name.span().start().line, vec![name.to_string()]),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.name(path, line);
    }

    fn import(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let taken = |path: Names, span: Span| Taken { path, line: span.start().line, public };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(before, &path.ident.to_string()), public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, public)),
            UseTree::Glob(glob) => self.globs.push(taken(with(before, "*"), glob.star_token.span)),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last() {
                    self.imported.insert(last.clone(), taken(before.to_vec(), name.ident.span()));
                }
            }
            UseTree::Name(name) => {
                let (name, span) = (name.ident.to_string(), name.ident.span());
                self.imported.insert(name.clone(), taken(with(before, &name), span));
            }
            UseTree::Rename(rename) => {
                let name = rename.ident.to_string();
                let path = if name == "self" { before.to_vec() } else { with(before, &name) };
                // `as _` has no name here, and may come often.
                let here = if rename.rename == "_" { path.join("::") } else { rename.rename.to_string() };
                self.imported.insert(here, taken(path, rename.ident.span()));
            }
        }
    }
}

/// `#[cfg(test)]`, alone or among others.
fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .any(|attribute| attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
