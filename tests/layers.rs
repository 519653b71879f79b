//! Tests that the modules have the layers that docs/ARCHITECTURE.md lists: a module may import only from itself and
//! from modules of lower layers.
//!
//! Unit tests are exempt: they may import from modules of all layers.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns the names of the modules in each layer, lowest layer first. They are listed in a table of
/// docs/ARCHITECTURE.md under the given heading.
fn layers(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cell = row.split('|').nth(1).unwrap();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    })
    .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Returns the module that a source file contains, as a list of names: the names of the module's ancestors, outermost
/// first, and its own name. `path` is the path of the file, relative to the folder of the crate's sources.
fn module(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = path.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if ["mod", "lib", "main"].contains(&names.last().unwrap().as_str()) {
        names.pop();
    }
    names
}

/// Returns every path that starts with `crate` or `super` in the source text of `module`. The returned paths begin at
/// the crate's root. A list in braces yields one path for each item. Comments are ignored.
fn imports(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let starts = code.match_indices("crate::").chain(code.match_indices("super::"));
    for (at, root) in starts {
        // skip a second `super` in the same path, and longer words that end in `crate` or `super`
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut base = if root == "crate::" { Vec::new() } else { module.to_vec() };
        let mut rest = &code[at + if root == "crate::" { root.len() } else { 0 }..];
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        tree(rest, &base, &mut found);
    }
    found
}

/// Parses a path or a `use` tree at the start of `text`. Adds each of its paths to `found`, with `base` as a prefix.
/// Returns the remaining text.
fn tree<'a>(mut text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    loop {
        text = text.trim_start();
        if let Some(mut list) = text.strip_prefix('{') {
            loop {
                list = list.trim_start().trim_start_matches(',').trim_start();
                if let Some(after) = list.strip_prefix('}') {
                    return after;
                }
                let after = tree(list, &path, found);
                if after.len() == list.len() {
                    return after;
                }
                list = after;
            }
        }
        let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        text = &text[name.len()..];
        if !name.is_empty() && name != "self" {
            path.push(name);
        }
        match text.strip_prefix("::") {
            Some(after) => text = after,
            None => {
                let end = text.find([',', '}', ';', '\n']).unwrap_or(text.len());
                found.push(path);
                return &text[end..];
            }
        }
    }
}

/// Finds the module in `layers` that contains the item with the given path. Returns the index of the module's layer and
/// the module's name, or `None` if no listed module contains the item.
fn layer<'a>(layers: &'a [Vec<String>], path: &[String]) -> Option<(usize, &'a str)> {
    let path = path.join("::");
    let within = |name: &str| path == name || path.starts_with(&format!("{name}::"));
    let all = layers.iter().enumerate().flat_map(|(at, names)| names.iter().map(move |name| (at, name.as_str())));
    all.filter(|(_, name)| within(name)).max_by_key(|(_, name)| name.len())
}

/// Checks the imports of every source file in `folder` against the layers that docs/ARCHITECTURE.md lists under
/// `heading`. Also fails if it finds at most `least` imports, because it must have overlooked some in this case.
fn check(heading: &str, folder: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let layers = layers(heading);
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let module = module(path);
        if module.is_empty() || module.iter().any(|name| name == "tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("\nmod tests {").next().unwrap();
        let parent = layers.iter().flatten().any(|name| name.starts_with(&format!("{}::", module.join("::"))));
        let Some(own) = layer(&layers, &module) else {
            assert!(parent, "{} is in no layer", path.display());
            continue;
        };
        for import in imports(code, &module) {
            // an item in the crate's root belongs to no module
            let Some(other) = layer(&layers, &import) else { continue };
            seen += 1;
            if other.1 != own.1 && other.0 >= own.0 {
                wrong.push(format!("{} imports {}", path.display(), import.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that are not from a lower layer:\n{}", wrong.join("\n"));
    assert!(seen > least, "found only {seen} imports");
}

#[test]
fn the_library_imports_lower_layers_only() {
    check("Layers of the library", "src", 400);
}

#[test]
fn the_program_imports_lower_layers_only() {
    check("Layers of the program", "native/src", 150);
}

#[test]
fn imports_are_found() {
    let module: Vec<String> = ["dispute", "judge", "game"].map(str::to_owned).into();
    let text = "use crate::{\n    error::Error, // crate::work\n    kernels::{a, b::{c}},\n    tx,\n};\n\
                use super::{tree::Hash, super::prover::Replay};\nlet x = crate::store::Cid; fn f(x: super::super::Y) {}";
    let found: Vec<String> = imports(text, &module).iter().map(|path| path.join("::")).collect();
    let expected = ["error::Error", "kernels::a", "kernels::b::c", "tx", "store::Cid", "dispute::judge::tree::Hash"];
    assert_eq!(found[..6], expected);
    assert_eq!(found.last().unwrap(), "dispute::Y");
}
