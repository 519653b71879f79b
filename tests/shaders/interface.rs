//! Checks the interface of a shader. Its parameters and bindings must be those that the kernel declares. The number of
//! its storage buffers, its workgroup size and its workgroup memory must be within the limits of every WebGPU device.

use super::Parsed;
use naga::{AddressSpace, ArraySize, ScalarKind, ShaderStage, StorageAccess, TypeInner};
use r3mes_wgpu::kernels::{Access, Kernel};

/// The number of storage buffers per shader that every WebGPU device supports.
const STORAGE_BUFFERS: usize = 8;
/// The number of invocations per workgroup that every WebGPU device supports.
const INVOCATIONS: u32 = 256;
/// The size of the workgroup memory that every WebGPU device supports, in bytes.
const WORKGROUP_BYTES: u32 = 16 << 10;

/// The overrides that every lowering has, because `shaders/shared/lanes.wgsl` declares them: the numbers of lanes of a
/// workgroup that computes a row or an attention head.
const LANES: [&str; 2] = ["row_lanes", "head_lanes"];

/// Returns one message for each part of a shader that differs from the kernel's declaration or exceeds a WebGPU limit.
pub(crate) fn faults(kernel: &Kernel, Parsed { declared, module, overrides, .. }: &Parsed) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |what: &str, found: String, expected: String| {
        if found != expected {
            faults.push(format!("{what}: {found}, must be {expected}"));
        }
    };
    expect("params", params(declared), format!("{:?}", kernel.params));
    let expected = kernel.bindings.iter().zip(1u32..).map(|(binding, at)| {
        let kind = match binding.access {
            Access::Read => "read",
            Access::Write(_) => "read_write",
            Access::Flag => "atomic<u32>",
        };
        format!("{at} {} {kind}", binding.name)
    });
    expect("bindings", bindings(declared).join(", "), expected.collect::<Vec<_>>().join(", "));
    let entries: Vec<_> = module.entry_points.iter().map(|entry| (entry.name.as_str(), entry.stage)).collect();
    expect("entry points", format!("{entries:?}"), format!("{:?}", [("main", ShaderStage::Compute)]));
    let sized = kernel.lowerings.iter().any(|lowering| lowering.keys_held.is_some());
    let allowed = |name: &&String| (sized && *name == "keys_held") || LANES.contains(&name.as_str());
    let allowed: Vec<_> = overrides.iter().filter(allowed).cloned().collect();
    expect("overrides", overrides.join(", "), allowed.join(", "));
    faults.extend(limits(declared, module));
    faults
}

/// Returns a text that lists the fields of the uniform buffer at binding 0. A 32-bit integer is listed by its name, a
/// field of any other type by its name and type.
fn params(module: &naga::Module) -> String {
    let uniforms: Vec<_> = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::Uniform).collect();
    let [(_, variable)] = uniforms[..] else { return format!("{} uniforms", uniforms.len()) };
    if !is_at(variable, 0) {
        return format!("the uniform has the binding {:?}", variable.binding);
    }
    let TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else { return "no struct".to_owned() };
    let names = members.iter().map(|member| {
        let name = member.name.clone().unwrap_or_default();
        match module.types[member.ty].inner {
            TypeInner::Scalar(naga::Scalar { kind: ScalarKind::Uint | ScalarKind::Sint, width: 4 }) => name,
            ref other => format!("{name}: {other:?}"),
        }
    });
    format!("{:?}", names.collect::<Vec<_>>())
}

/// Returns one text for each storage buffer, sorted by binding: the binding, the name, and the kind (`read` or
/// `read_write` for an array, `atomic<u32>` for an atomic).
fn bindings(module: &naga::Module) -> Vec<String> {
    let mut found = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let AddressSpace::Storage { access } = variable.space else { continue };
        let at = variable.binding.filter(|binding| binding.group == 0).map(|binding| binding.binding);
        let kind = match (&module.types[variable.ty].inner, access.contains(StorageAccess::STORE)) {
            (TypeInner::Atomic(scalar), true) if *scalar == naga::Scalar::U32 => "atomic<u32>",
            (TypeInner::Array { size: ArraySize::Dynamic, .. }, true) => "read_write",
            (TypeInner::Array { size: ArraySize::Dynamic, .. }, false) => "read",
            _ => "neither a runtime-sized array nor atomic<u32>",
        };
        found.push((at, format!("{} {kind}", variable.name.as_deref().unwrap_or("?"))));
    }
    found.sort();
    found
        .into_iter()
        .map(|(at, what)| format!("{} {what}", at.map_or("group ≠ 0".into(), |at| at.to_string())))
        .collect()
}

fn is_at(variable: &naga::GlobalVariable, number: u32) -> bool {
    variable.binding == Some(naga::ResourceBinding { group: 0, binding: number })
}

fn limits(declared: &naga::Module, module: &naga::Module) -> Vec<String> {
    let mut faults = Vec::new();
    let storage =
        declared.global_variables.iter().filter(|(_, v)| matches!(v.space, AddressSpace::Storage { .. })).count();
    if storage > STORAGE_BUFFERS {
        faults.push(format!("{storage} storage buffers, the limit is {STORAGE_BUFFERS}"));
    }
    for entry in &module.entry_points {
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > INVOCATIONS || entry.workgroup_size[2] > 64 || entry.workgroup_size_overrides.is_some() {
            faults.push(format!("{invocations} invocations per workgroup, the limit is {INVOCATIONS}"));
        }
    }
    let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum();
    if bytes > WORKGROUP_BYTES {
        faults.push(format!("{bytes} bytes of workgroup memory, the limit is {WORKGROUP_BYTES}"));
    }
    faults
}
