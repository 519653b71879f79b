//! What every WGSL text must be, whatever it computes; the rules are in `rules`, and what generated
//! code must not hold in `generated`.

mod generated;
mod interface;
mod planted;
mod rules;

use r3mes_wgpu::kernels::{self, Kernel, Lowering};
use std::{collections::BTreeSet, fs, path::Path};

/// A text as naga reads it, its overrides at their defaults, which are the largest that are asked for.
struct Parsed {
    module: naga::Module,
    info: naga::valid::ModuleInfo,
    overrides: Vec<String>,
}

/// A text followed by the shared functions, as a GPU gets it.
fn parse(wgsl: &str) -> Result<Parsed, String> {
    let text = [wgsl, kernels::SHARED].concat();
    let module = naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))?;
    let (flags, capabilities) = (naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let validated = naga::valid::Validator::new(flags, capabilities).validate(&module);
    let info = validated.map_err(|error| error.emit_to_string(&text))?;
    let overrides = module.overrides.iter().map(|(_, each)| each.name.clone().unwrap_or_default()).collect();
    let resolved = naga::back::pipeline_constants::process_overrides(&module, &info, None, &Default::default());
    let (module, info) = resolved.map_err(|error| error.to_string())?;
    Ok(Parsed { module: module.into_owned(), info: info.into_owned(), overrides })
}

/// Everything that is wrong with a text; `floats` says that it is the audited integers-in-f32 lowering.
fn faults(kernel: &Kernel, wgsl: &str, floats: rules::Floats) -> Vec<String> {
    let parsed = match parse(wgsl) {
        Ok(parsed) => parsed,
        Err(error) => return vec![error],
    };
    [interface::faults(kernel, &parsed), rules::faults(&parsed, floats), generated::faults(&parsed)].concat()
}

/// All texts, with the name of the file that each must be.
fn texts() -> impl Iterator<Item = (&'static Kernel, &'static Lowering, String)> {
    let each = kernels::ALL.iter().flat_map(|kernel| kernel.lowerings.iter().map(move |lowering| (*kernel, lowering)));
    each.map(|(kernel, lowering)| match lowering.name {
        "plain" => (kernel, lowering, format!("{}.wgsl", kernel.name)),
        name => (kernel, lowering, format!("lowerings/{}.{name}.wgsl", kernel.name)),
    })
}

/// Nobody has written it yet. In CI nothing may be pending.
fn is_pending(lowering: &Lowering) -> bool {
    lowering.wgsl.trim() == "// pending" && std::env::var_os("CI").is_none()
}

#[test]
fn every_text_keeps_the_rules() {
    let mut report = Vec::new();
    for (kernel, lowering, file) in texts() {
        if is_pending(lowering) {
            println!("{file}: pending");
            continue;
        }
        let floats = if lowering.name == "f32" { rules::Floats::Audited } else { rules::Floats::None };
        report.extend(faults(kernel, lowering.wgsl, floats).into_iter().map(|fault| format!("{file}: {fault}")));
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn files_and_kernels_are_the_same_list() {
    let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let listed: BTreeSet<_> = texts().map(|(_, _, file)| file).collect();
    let on_disk: BTreeSet<_> = wgsl_files(&shaders, "").chain(wgsl_files(&shaders, "lowerings/")).collect();
    assert_eq!(listed, on_disk, "kernels::ALL (left) and shaders/ (right) differ");
    for (_, lowering, file) in texts() {
        assert_eq!(fs::read_to_string(shaders.join(&file)).unwrap(), lowering.wgsl, "{file} is not what runs");
    }
    for file in wgsl_files(&shaders, "shared/") {
        assert!(kernels::SHARED.contains(&fs::read_to_string(shaders.join(&file)).unwrap()), "{file} is not in SHARED");
    }
    for kernel in kernels::ALL {
        assert_eq!(kernel.lowerings.first().map(|lowering| lowering.name), Some("plain"), "{}", kernel.name);
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/kernels/{}.rs", kernel.name));
        assert!(reference.exists(), "{} has no file of its own", kernel.name);
    }
}

/// Names of the WGSL files of a folder, the folder before them.
fn wgsl_files(shaders: &Path, folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(shaders.join(folder)).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".wgsl")).map(move |name| format!("{folder}{name}"))
}
