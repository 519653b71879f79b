//! The library's floors: a module imports only from its own floor's modules below it, or its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules of the library, lowest first; those on one line do not know of each other's order.
const FLOORS: [&[&str]; 14] = [
    &["error", "fixed", "rng", "tables", "ternary"],
    &["kernels"],
    &["recording"],
    &["backend"],
    &["model"],
    &["training"],
    &["store"],
    &["work"],
    &["dispute"],
    &["chain"],
    &["ipfs"],
    &["ledger"],
    &["mining"],
    &["roles"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
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

/// Every module that a text names by `crate::`, also in braces, comments left out.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut modules = Vec::new();
    for part in code.split("crate::").skip(1) {
        let part = part.trim_start();
        let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let Some(list) = part.strip_prefix('{') else {
            modules.push(name(part));
            continue;
        };
        let (mut depth, mut at_start) = (0, true);
        for (at, character) in list.char_indices() {
            if at_start && depth == 0 && (character.is_alphabetic() || character == '_') {
                modules.push(name(&list[at..]));
                at_start = false;
            }
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                _ => {}
            }
        }
    }
    modules
}

#[test]
fn no_module_imports_from_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut seen = 0;
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own = floor(module).unwrap_or_else(|| panic!("{module} is on no floor"));
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            // what is no module is an item of lib.rs
            let Some(other) = floor(&import) else { continue };
            seen += 1;
            assert!(other <= own, "{} imports {import}, which is above it", path.display());
        }
    }
    assert!(seen > 100, "found only {seen} imports");
}

#[test]
fn imports_are_found() {
    let text = "use crate::{\n    error::Error, // crate::work\n    kernels::{a, crate_b::{c}},\n    work,\n};\nlet x = crate::store::Cid;";
    assert_eq!(imports(text), ["error", "kernels", "work", "store"]);
}
