//! Tests that the build tool Trunk copies all files of the page, that every imported file exists, that the page states
//! the right version, and that no file contains inline scripts or styles, which the node's Content Security Policy
//! forbids.

use std::{collections::BTreeSet, fs, path::Path};

fn www() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/www"))
}

fn files() -> BTreeSet<String> {
    let names = fs::read_dir(www()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kinds = [".js", ".css", ".svg", ".html", ".png", ".webmanifest"];
    names.filter(|name| kinds.iter().any(|kind| name.ends_with(kind))).collect()
}

#[test]
fn trunk_copies_every_file() {
    let index = fs::read_to_string(www().join("index.html")).unwrap();
    let copied: Vec<String> = index
        .lines()
        .filter_map(|line| line.trim().strip_prefix("<link data-trunk rel=\"copy-file\" href=\""))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert!(copied.is_sorted(), "{copied:?}");
    let mut listed: BTreeSet<_> = copied.iter().cloned().collect();
    assert_eq!(listed.len(), copied.len(), "a file is listed twice");
    listed.insert("index.html".to_owned());
    assert_eq!(listed, files());
}

#[test]
fn page_has_the_version_of_the_crates() {
    let text = fs::read_to_string(www().join("version.js")).unwrap();
    assert!(text.contains(concat!("VERSION = \"", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
}

#[test]
fn modules_import_existing_files() {
    let built = ["r3mes_www.js"];
    for file in files().iter().filter(|file| file.ends_with(".js")) {
        let text = fs::read_to_string(www().join(file)).unwrap();
        for part in text.split("\"./").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(built.contains(&name) || www().join(name).exists(), "{file} imports {name}, which does not exist");
        }
    }
}

#[test]
fn files_have_no_inline_scripts_or_styles() {
    for file in files().iter().filter(|file| [".html", ".js", ".svg"].iter().any(|kind| file.ends_with(kind))) {
        let text = fs::read_to_string(www().join(file)).unwrap();
        for inline in [" style=\"", "<style", "<script>", "javascript:", "eval(", "new Function("] {
            assert!(!text.contains(inline), "{file} contains the inline code {inline:?}");
        }
        let mut names = text.split("=\"").map(|before| before.rsplit([' ', '\n']).next().unwrap_or_default());
        assert_eq!(names.find(|name| name.starts_with("on")), None, "{file} contains an inline event handler");
    }
}
