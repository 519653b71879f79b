//! Tests the WGSL of every lowering (implementation of a kernel): naga accepts it, its interface is the one that the
//! kernel declares (`interface`), its arithmetic is exact (`rules`), and the code that naga generates from it contains
//! no division (`generated`).

mod generated;
mod interface;
mod planted;
mod rules;

use r3mes_wgpu::kernels::{self, Kernel, Lowering};
use std::{collections::BTreeSet, fs, path::Path};

/// A validated WGSL module, as the text declares it, and after its `override` constants got their default values, which
/// are the largest values that the library uses. The latter lacks what the entry point does not use. `overrides` contains
/// the names of the constants.
struct Parsed {
    declared: naga::Module,
    module: naga::Module,
    info: naga::valid::ModuleInfo,
    overrides: Vec<String>,
}

fn parse(wgsl: &str) -> Result<Parsed, String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let (flags, capabilities) = (naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let validated = naga::valid::Validator::new(flags, capabilities).validate(&module);
    let info = validated.map_err(|error| error.emit_to_string(wgsl))?;
    let overrides = module.overrides.iter().map(|(_, each)| each.name.clone().unwrap_or_default()).collect();
    let resolved = naga::back::pipeline_constants::process_overrides(&module, &info, None, &Default::default());
    let (resolved, info) = resolved.map_err(|error| error.to_string())?;
    Ok(Parsed { module: resolved.into_owned(), info: info.into_owned(), overrides, declared: module })
}

/// Returns one message for each fault in the WGSL of a kernel.
fn faults(kernel: &Kernel, wgsl: &str, floats: rules::Floats) -> Vec<String> {
    let parsed = match parse(wgsl) {
        Ok(parsed) => parsed,
        Err(error) => return vec![error],
    };
    [interface::faults(kernel, &parsed), rules::faults(&parsed, floats), generated::faults(&parsed)].concat()
}

fn lowerings() -> impl Iterator<Item = (&'static Kernel, &'static Lowering)> {
    kernels::ALL.iter().flat_map(|kernel| kernel.lowerings.iter().map(move |lowering| (*kernel, lowering)))
}

#[test]
fn the_wgsl_of_every_lowering_keeps_the_rules() {
    let mut report = Vec::new();
    for (kernel, lowering) in lowerings() {
        let floats = if lowering.name == "f32" { rules::Floats::Audited } else { rules::Floats::None };
        let faults = faults(kernel, &lowering.wgsl(), floats);
        report.extend(faults.into_iter().map(|fault| format!("{}.{}: {fault}", kernel.name, lowering.name)));
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

/// Checks that the WGSL of each lowering (implementation of a kernel) consists of the kernel's file and any number of
/// files in `shaders/fragments/`. Also checks that every file in `shaders/` is part of a lowering or of `SHARED`, which
/// contains the functions that every kernel may call.
#[test]
fn shader_files_are_exactly_the_texts_of_the_lowerings() {
    let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let read = |file: &str| fs::read_to_string(shaders.join(file)).unwrap();
    let fragments: Vec<_> = wgsl_files(&shaders, "fragments/").map(|file| (read(&file), file)).collect();
    let mut used = BTreeSet::new();
    for (kernel, lowering) in lowerings() {
        let [own, others @ ..] = lowering.texts else { panic!("{}.{} has no text", kernel.name, lowering.name) };
        let file = format!("{}.wgsl", kernel.name);
        assert_eq!(read(&file), *own, "{}.{} does not begin with {file}", kernel.name, lowering.name);
        used.insert(file);
        for other in others {
            let fragment = fragments.iter().find(|(text, _)| text == other);
            used.insert(fragment.unwrap_or_else(|| panic!("not a file in shaders/fragments/: {other}")).1.clone());
        }
    }
    let on_disk: BTreeSet<_> = wgsl_files(&shaders, "").chain(wgsl_files(&shaders, "fragments/")).collect();
    assert_eq!(used, on_disk, "files that lowerings use (left) and files in shaders/ (right) differ");
    for file in wgsl_files(&shaders, "shared/") {
        assert!(kernels::SHARED.contains(&read(&file)), "{file} is not in SHARED");
    }
    for kernel in kernels::ALL {
        assert_eq!(kernel.lowerings.first().map(|lowering| lowering.name), Some("plain"), "{}", kernel.name);
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/kernels/{}.rs", kernel.name));
        assert!(reference.exists(), "the kernel {} has no file in src/kernels/", kernel.name);
    }
}

/// Returns the paths of the WGSL files in a folder of `shaders/`, relative to `shaders/`.
fn wgsl_files(shaders: &Path, folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(shaders.join(folder)).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".wgsl")).map(move |name| format!("{folder}{name}"))
}
