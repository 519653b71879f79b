//! Tests that the GPU executor computes correct bits in three cases: if each slice (GPU submission) is a single row of
//! workgroups, if runtime checks are on, and if each dispatch (kernel launch) reads what the previous dispatch has
//! written. Wrong lowerings (WGSL implementations of kernels), oversized buffers, and operations on a GPU that has been
//! closed must be reported as errors.

use super::{devices::Opened, seed};
use libtest_mimic::{Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        gpu::{self, Checks, Gpu, GpuExecutor, LoweringChoice, TuneOutcome, passes, tune},
        recording::{BufferContent, Recording},
    },
    error::Error,
    kernels::{
        self, Access, Binding, Kernel, Lowering,
        cases::{Case, CaseSource, cases},
    },
};
use std::ops::Range;

type Test = fn(&Opened) -> Result<(), Failed>;

const TESTS: [(&str, Test); 8] = [
    ("a chain of dispatches with shared memory gives the right result, as a whole and in parts", chain),
    ("the saturation flag is set and cleared", flag),
    ("large buffers are copied in pieces", pieces),
    ("a wrong lowering is detected and named", wrong_lowering),
    ("WGSL that does not compile is refused", broken_lowering),
    ("tuning chooses among the lowerings that pass", tuning),
    ("a buffer that is too large is refused with the limit", too_large),
    ("operations on a closed GPU return an error", closed),
];

/// The tests in which every lowering (WGSL implementation of a kernel) computes all its test cases. They take long,
/// so they do not run on a slow GPU.
const LONG_TESTS: [(&str, Test); 2] = [
    ("slices of one row of workgroups with many lanes give the same bits", one_row_slices),
    ("kernels with runtime checks give the same bits", runtime_checks),
];

pub(crate) fn trials(gpu: &'static Opened, gpus: &[Opened]) -> impl Iterator<Item = Trial> {
    let long = LONG_TESTS.into_iter().filter(|_| !gpu.is_slow(gpus));
    TESTS
        .into_iter()
        .chain(long)
        .map(move |(name, test)| Trial::test(format!("{name} on {}", gpu.listed), move || test(gpu)))
}

/// Checks the results of all lowerings that the GPU may choose.
fn all_pass(gpu: &Gpu) -> Result<(), Failed> {
    for kernel in kernels::ALL {
        for (lowering, case) in kernel
            .lowerings
            .iter()
            .filter(|lowering| gpu.may_choose(lowering))
            .flat_map(|lowering| cases(kernel, seed()).into_iter().map(move |case| (lowering, case)))
        {
            block_on(passes(gpu, lowering, &case))?;
        }
    }
    Ok(())
}

fn one_row_slices(gpu: &Opened) -> Result<(), Failed> {
    all_pass(&gpu.with(|options| {
        options.slice_ms = 0.0;
        // the other tests run few lanes on software GPUs
        options.many_lanes = true;
    })?)
}

fn runtime_checks(gpu: &Opened) -> Result<(), Failed> {
    all_pass(&gpu.with(|options| options.checks = Checks::Checked)?)
}

/// A kernel that computes `target[u] = 3 · source[u] + add` (modulo 2^32) for each work unit `u`. A result of 2^31 or
/// more sets the saturation flag.
static STEP: Kernel = Kernel {
    name: "step",
    params: &["first_group", "count", "add"],
    bindings: &[
        Binding { name: "source", access: Access::Read },
        Binding { name: "target", access: Access::Write(|_| 1) },
        Binding { name: "flag", access: Access::Flag },
    ],
    units: |params| params[1] as usize,
    reference: |params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]| {
        let mut saturated = false;
        for (unit, word) in units.zip(writes[0].iter_mut()) {
            *word = reads[0][unit].wrapping_mul(3).wrapping_add(params[2]);
            saturated |= *word >> 31 != 0;
        }
        saturated
    },
    lowerings: &[STEP_PLAIN],
};

const STEP_PLAIN: Lowering = kernels::lowering(
    "plain",
    &["struct Params { first_group: u32, count: u32, add: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> source: array<u32>;
        @group(0) @binding(2) var<storage, read_write> destination: array<u32>;
        @group(0) @binding(3) var<storage, read_write> flag: atomic<u32>;
        @compute @workgroup_size(1, 8)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
            let unit = (group.y + params.first_group) * 8u + local.y;
            if unit >= params.count { return; }
            let word = source[unit] * 3u + params.add;
            destination[unit] = word;
            if (word >> 31u) != 0u { atomicMax(&flag, 1u); }
        }\n"],
    |_| 1,
    8,
);

fn step_case(count: u32, add: u32, inputs: Vec<u32>) -> Case {
    let target = CaseSource::new(seed()).before_write(count as usize);
    Case { kernel: &STEP, label: format!("{count} + {add}"), params: vec![0, count, add], inputs: vec![inputs, target] }
}

/// Runs a chain of ten dispatches (kernel launches), first with one call and then with several calls, and checks the
/// result. Each dispatch has more workgroups than WebGPU permits along one axis, and reads the result of the
/// previous dispatch. The nine intermediate results share the memory of two buffers.
fn chain(gpu: &Opened) -> Result<(), Failed> {
    const COUNT: usize = 8 * 65_535 + 13;
    let mut recording = Recording::default();
    let input = recording.buffer("input", COUNT, BufferContent::Persistent);
    let output = recording.buffer("output", COUNT, BufferContent::Persistent);
    let mut from = input;
    for add in 0..10 {
        let to = if add == 9 { output } else { recording.scratch(format!("step {add}"), COUNT) };
        recording.dispatch(format!("step {add}"), &STEP, vec![0, COUNT as u32, add], &[from, to]);
        from = to;
    }
    let words = CaseSource::new(seed()).words(COUNT);
    let expected: Vec<u32> =
        words.iter().map(|word| (0..10).fold(*word, |word, add| word.wrapping_mul(3).wrapping_add(add))).collect();
    let mut executor = block_on(GpuExecutor::new(gpu.gpu()?, &recording, &LoweringChoice::default()))?;
    for cuts in [&[][..], &[], &[3, 3, 8]] {
        block_on(executor.write(input, &words))?;
        block_on(executor.write(output, &vec![0; COUNT]))?;
        let mut start = 0;
        for end in cuts.iter().copied().chain([99]) {
            block_on(executor.run(start..end))?;
            start = end;
        }
        equal(&block_on(executor.read(output))?, &expected)?;
    }
    let wrong = block_on(executor.write(input, &words[1..]));
    matches!(wrong, Err(Error::Shape { .. })).then_some(()).ok_or("a write of too few words was accepted".into())
}

fn flag(gpu: &Opened) -> Result<(), Failed> {
    let case = step_case(21, 0, (0..21).collect());
    let (recording, ids) = Recording::single(&case);
    let mut executor = block_on(GpuExecutor::new(gpu.gpu()?, &recording, &LoweringChoice::default()))?;
    for (last, expected) in [(5, false), (1 << 30, true), (6, false)] {
        let mut words = case.inputs[0].clone();
        words[20] = last;
        block_on(executor.write(ids[0], &words))?;
        if block_on(executor.run(0..1))? != expected {
            return Err(format!("saturated should be {expected} for {last}").into());
        }
    }
    Ok(())
}

fn pieces(gpu: &Opened) -> Result<(), Failed> {
    const WORDS: usize = (9 << 20) + 5;
    let mut recording = Recording::default();
    let words: Vec<u32> = (0..WORDS as u32).map(|word| word.wrapping_mul(0x9E37_79B9)).collect();
    let constant = recording.constant("constant", words.clone());
    let executor = block_on(GpuExecutor::new(gpu.gpu()?, &recording, &LoweringChoice::default()))?;
    equal(&block_on(executor.read(constant))?, &words)
}

/// A lowering (WGSL implementation of a kernel) that is wrong: it does not compute the last of nine work units.
static WRONG: Lowering = Lowering { name: "wrong", groups_x: |_| 1, units_per_group: 9, ..STEP_PLAIN };
/// A lowering (WGSL implementation of a kernel) that does not compile.
static BROKEN: Lowering = Lowering { name: "broken", texts: &["fn main() { return 1; }"], ..STEP_PLAIN };

fn wrong_lowering(gpu: &Opened) -> Result<(), Failed> {
    let case = step_case(9, 1, (5..14).collect());
    block_on(passes(gpu.gpu()?, &STEP.lowerings[0], &case))?;
    match block_on(passes(gpu.gpu()?, &WRONG, &case)) {
        Err(Error::WrongAnswer {
            kernel: "step", lowering: "wrong", buffer: "target", word: 8, expected: 40, ..
        }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn broken_lowering(gpu: &Opened) -> Result<(), Failed> {
    let gpu = gpu.gpu()?;
    let case = step_case(9, 1, (5..14).collect());
    match block_on(passes(gpu, &BROKEN, &case)) {
        Err(Error::GpuRefused { what, .. }) if what == "step.broken" => {}
        other => return Err(format!("{other:?}").into()),
    }
    Ok(block_on(passes(gpu, &STEP.lowerings[0], &case))?)
}

/// Checks tuning, which chooses one lowering (WGSL implementation) of each kernel, in three cases. With one wrong and
/// two correct lowerings, it chooses a correct one. With only the wrong lowering, it fails. It also fails for a kernel
/// without test cases.
fn tuning(gpu: &Opened) -> Result<(), Failed> {
    let of = |lowerings: Vec<Lowering>| -> &'static Kernel {
        let Kernel { name, params, bindings, units, reference, .. } = kernels::ternary_matmul::KERNEL;
        Box::leak(Box::new(Kernel { name, params, bindings, units, reference, lowerings: lowerings.leak() }))
    };
    let plain = |name, text: String| {
        let Lowering { groups_x, units_per_group, .. } = kernels::ternary_matmul::KERNEL.lowerings[0];
        kernels::lowering(name, vec![&*text.leak()].leak(), groups_x, units_per_group)
    };
    let good = kernels::ternary_matmul::KERNEL.lowerings[0].texts.concat();
    let bad = good.replace("sums.a - offset", "sums.b - offset");
    assert_ne!(good, bad);
    let gpu = gpu.with(|_| {})?;
    let kernel = of(vec![plain("bad", bad.clone()), plain("good", good.clone()), plain("again", good)]);
    let tuning = block_on(tune(&gpu, &[kernel], seed()))?;
    let line = tuning.kernels[0].to_string();
    let [(_, TuneOutcome::Fails(_)), (_, TuneOutcome::Passes { launch_ms: Some(_) }), (_, TuneOutcome::Passes { .. })] =
        &tuning.kernels[0].tried[..]
    else {
        return Err(line.into());
    };
    if tuning.choice.of(kernel).is_none_or(|lowering| lowering.name == "bad") {
        return Err(line.into());
    }
    match block_on(tune(&gpu, &[of(vec![plain("bad", bad)])], seed())) {
        Err(error @ Error::GpuUnfit { .. }) if error.to_string().contains("ternary_matmul.bad computed") => {}
        other => return Err(format!("{:?}", other.err()).into()),
    }
    match block_on(tune(&gpu, &[&STEP], seed())) {
        Err(Error::GpuUnfit { kernel: "step", reasons, .. }) if reasons.contains("known answers") => Ok(()),
        other => Err(format!("a kernel without test cases: {:?}", other.err()).into()),
    }
}

fn too_large(gpu: &Opened) -> Result<(), Failed> {
    let mut recording = Recording::default();
    recording.scratch("a large buffer", gpu.listed.binding_bytes as usize / 4 + 64);
    match block_on(GpuExecutor::new(gpu.gpu()?, &recording, &LoweringChoice::default())).err() {
        Some(Error::GpuLimit { what, limit: "maxStorageBufferBindingSize", .. }) if what == "a large buffer" => {}
        other => return Err(format!("{other:?}").into()),
    }
    match gpu::find(std::slice::from_ref(&gpu.listed), "GTX 9999") {
        Err(Error::NoGpu { .. }) => Ok(()),
        _ => Err("found a GPU that does not exist".into()),
    }
}

fn closed(gpu: &Opened) -> Result<(), Failed> {
    let gpu = gpu.with(|_| {})?;
    let case = step_case(9, 1, (5..14).collect());
    let (recording, ids) = Recording::single(&case);
    let mut executor = block_on(GpuExecutor::new(&gpu, &recording, &LoweringChoice::default()))?;
    gpu.close();
    let errors = [
        block_on(executor.run(0..1)).err(),
        block_on(executor.read(ids[1])).err(),
        block_on(executor.write(ids[0], &case.inputs[0])).err(),
        block_on(GpuExecutor::new(&gpu, &recording, &LoweringChoice::default())).err(),
    ];
    match errors.iter().all(|error| matches!(error, Some(Error::GpuLost { .. }))) {
        true => Ok(()),
        false => Err(format!("{errors:?}").into()),
    }
}

fn equal(found: &[u32], expected: &[u32]) -> Result<(), Failed> {
    match (0..expected.len()).find(|at| found.get(*at) != Some(&expected[*at])) {
        Some(at) => Err(format!("word {at} is {:?} instead of {}", found.get(at), expected[at]).into()),
        None => Ok(()),
    }
}
