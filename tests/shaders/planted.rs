//! Tests the shader checks themselves: they must find nothing wrong in a correct shader, and must report each fault
//! that a test inserts into this shader.

use super::{generated, rules::Floats};
use r3mes_wgpu::kernels::{Access, Binding, Kernel, SHARED};

static KERNEL: Kernel = Kernel {
    name: "planted",
    params: &["first_group", "count", "shift"],
    bindings: &[
        Binding { name: "source", access: Access::Read },
        Binding { name: "result", access: Access::Write(|_| 1) },
        Binding { name: "flag", access: Access::Flag },
    ],
    units: |params| params[1] as usize,
    reference: |_, _, _, _| false,
    lowerings: &[],
};

const SOUND: &str = "struct Params { first_group: u32, count: u32, shift: i32, }
const FOUR: u32 = 4u;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
@group(0) @binding(3) var<storage, read_write> flag: atomic<u32>;
var<workgroup> tile: array<u32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_id) local: vec3<u32>) {
    let amount = bitcast<u32>(params.shift);
    tile[local.x] = source[local.x] << (amount & 31u);
    workgroupBarrier();
    let word = (tile[local.x ^ 1u] >> ((amount & 3u) << 3u)) >> FOUR;
    result[local.x] = word * 3u;
    if word == 0u { atomicMax(&flag, 1u); }
}\n";

/// Faults to insert into the correct shader `SOUND`. Each entry has three texts: a part of `SOUND`, the faulty
/// replacement for it, and a part of the expected report.
const FAULTS: [(&str, &str, &str); 29] = [
    ("first_group: u32, count: u32", "count: u32, first_group: u32", "params: "),
    ("shift: i32, }", "shift: i32, more: u32, }", "params: "),
    ("shift: i32", "shift: f32", "params: "),
    ("source", "sauce", "bindings: "),
    ("read> source", "read_write> source", "bindings: "),
    ("atomic<u32>;", "u32;", ""),
    ("atomic<u32>;", "atomic<i32>;", ""),
    ("@binding(3)", "@binding(4)", "bindings: "),
    ("@group(0) @binding(3)", "@group(1) @binding(3)", "bindings: "),
    ("@workgroup_size(64)", "@workgroup_size(64, 5)", "320 invocations"),
    ("array<u32, 64>", "array<u32, 4097>", "bytes of workgroup memory"),
    ("fn main(", "fn start(", "entry points: "),
    ("const FOUR", "override FOUR", "overrides"),
    ("word * 3u", "word / 3u", "divides"),
    ("word * 3u", "word % 3u", "takes a remainder"),
    ("word * 3u", "dot(vec2(word), vec2(3u))", "uses dot()"),
    ("amount & 31u", "amount & 63u", "may exceed 31"),
    ("(amount & 31u)", "amount", "may exceed 31"),
    ("(amount & 3u) << 3u", "(amount & 7u) << 3u", "may exceed 31"),
    ("word * 3u", "bitcast<u32>(params.shift << 1u)", "signed integer left"),
    ("word * 3u", "u32(f32(word) * 3.0)", "is Float"),
    ("word * 3u", "bitcast<u32>(bitcast<f32>(word))", "a float's bits"),
    ("word * 3u", "arrayLength(&source)", "reads the length of an array"),
    ("word * 3u", "bitcast<u32>(i32(select(0.0, 1.0, word == 1u)))", "is Float"),
    ("atomicMax(&flag, 1u);", "atomicXor(&flag, 1u);", "other than add and max"),
    ("atomicMax(&flag, 1u);", "result[0] = atomicMax(&flag, 1u);", "result of an atomic"),
    ("word * 3u", "word * 3i", "error"),
    ("workgroupBarrier();", "if amount > 5u { workgroupBarrier(); }", "a barrier inside a branch"),
    ("workgroupBarrier();", "if local.x > 5u { return; } workgroupBarrier();", "after some invocations returned"),
];

fn faults(wgsl: &str, floats: Floats) -> Vec<String> {
    super::faults(&KERNEL, &[wgsl, SHARED].concat(), floats)
}

#[test]
fn a_sound_text_has_no_fault() {
    assert_eq!(faults(SOUND, Floats::None), Vec::<String>::new());
}

#[test]
fn every_planted_fault_is_found() {
    for (sound, planted, expected) in FAULTS {
        assert!(SOUND.contains(sound), "{sound}");
        let found = faults(&SOUND.replace(sound, planted), Floats::None).join("\n");
        assert!(!found.is_empty() && found.contains(expected), "{planted}: {found:?} does not contain {expected:?}");
    }
}

#[test]
fn nine_storage_buffers_are_too_many() {
    let more: String =
        (4..10).map(|at| format!("@group(0) @binding({at}) var<storage> b{at}: array<u32>;\n")).collect();
    let found = faults(&(more + SOUND), Floats::None).join("\n");
    assert!(found.contains("9 storage buffers"), "{found}");
}

#[test]
fn audited_floats_may_be_converted_but_not_read_as_bits() {
    let with = |text| faults(&SOUND.replacen("word * 3u", text, 1), Floats::Audited);
    assert_eq!(with("u32(f32(word) * 3.0)"), Vec::<String>::new());
    assert!(!with("bitcast<u32>(f32(word))").is_empty());
    assert!(!with("u32(f32(word) / 3.0)").is_empty());
}

#[test]
fn divisions_in_generated_code_are_found() {
    assert_eq!(generated::division("#include <a/b>\nint a = b; // c / d\n"), None);
    assert_eq!(generated::division("a = b;\nx = b / c;\n"), Some("x = b / c;"));
    assert_eq!(generated::division("x = b % c; // d"), Some("x = b % c; // d"));
}
