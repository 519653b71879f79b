//! Tests that a faulty backend is detected, and that the dispatch in which the fault occurs is found. For these tests,
//! one kernel is replaced by a faulty one, which computes one word of its output wrongly. The fault is found in three
//! ways. A comparison of traces (digests of the output of every dispatch) finds the first dispatch that differs. A
//! bisection, which runs the first n dispatches on the faulty backend and the others on a correct one, finds the
//! smallest n that gives a wrong result. An audit computes some dispatches again with the reference kernels, and
//! reports the kernel whose result differs.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{executor::CpuKernels, fastest, scalar},
        trace::first_difference,
    },
    error::Error,
    kernels::{CpuKernel, Kernel, Saturated, lora_gradient_b},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
    },
    numbers::lora::LoraAdapter,
    training::{
        conformance::{GOLDEN, step_digest, step_trace},
        session::JOB_EXPONENT,
        step::Trainer,
    },
};
use std::ops::Range;

/// Returns the fastest implementation of a kernel. The implementation of `lora_gradient_b` is faulty: it adds 1 to the
/// last word of its output.
fn faulty(kernel: &Kernel) -> Option<CpuKernel> {
    fn last_word_wrong(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
        let saturated = (lora_gradient_b::KERNEL.reference)(params, units, reads, writes);
        if let Some(word) = writes[0].last_mut() {
            *word = word.wrapping_add(1);
        }
        saturated
    }
    if kernel.name == lora_gradient_b::KERNEL.name { Some(last_word_wrong) } else { fastest(kernel) }
}

fn cpu(kernels: CpuKernels) -> Backend {
    Backend::Cpu { threads: 1, kernels }
}

fn split(first: CpuKernels, second: CpuKernels, prefix: usize) -> Backend {
    Backend::Split { first: Box::new(cpu(first)), second: Box::new(cpu(second)), prefix }
}

#[test]
fn a_trace_identifies_the_first_dispatch_that_differs() {
    let right = block_on(step_trace(&cpu(scalar), 1)).unwrap();
    let fast = block_on(step_trace(&Backend::Cpu { threads: 3, kernels: fastest }, 1)).unwrap();
    assert_eq!(first_difference(&right, &fast), None);
    assert_eq!(first_difference(&right, &fast[1..]).map(|traced| &traced.label), Some(&fast[1].label));

    let wrong = block_on(step_trace(&cpu(faulty), 1)).unwrap();
    let first = first_difference(&right, &wrong).unwrap();
    assert_eq!(first.kernel, "lora_gradient_b");
    assert_eq!(
        Some(&first.label),
        wrong.iter().find(|traced| traced.kernel == first.kernel).map(|traced| &traced.label)
    );
}

#[test]
fn a_run_split_over_two_backends_gives_the_same_bits() {
    let dispatches = block_on(step_trace(&cpu(fastest), 3)).unwrap().len();
    for prefix in (0..dispatches).step_by(5).chain([dispatches, usize::MAX]) {
        // Each run has one sequence, so that in every run the accumulated buffers are copied from one backend to the
        // other and back.
        assert_eq!(block_on(step_digest(&split(fastest, scalar, prefix), 1)).unwrap(), GOLDEN.step, "prefix {prefix}");
    }
}

#[test]
fn bisection_over_prefixes_finds_the_faulty_dispatch() {
    let trace = block_on(step_trace(&cpu(fastest), 3)).unwrap();
    let right = |prefix| block_on(step_digest(&split(faulty, fastest, prefix), 3)).unwrap() == GOLDEN.step;
    let (mut below, mut above) = (0, trace.len());
    assert!(right(below) && !right(above));
    while above - below > 1 {
        let middle = below.midpoint(above);
        if right(middle) { below = middle } else { above = middle }
    }
    assert_eq!(trace[below].kernel, "lora_gradient_b");
    assert!(
        trace[..below].iter().all(|traced| traced.kernel != "lora_gradient_b"),
        "an earlier dispatch has the faulty kernel"
    );
}

#[test]
fn an_audit_detects_a_wrong_kernel_and_changes_no_result() {
    let config = ModelConfig { context: 40, ..ModelConfig::TINY };
    let targets = Targets { rank: 4, linears: Linear::ALL.to_vec() };
    let model = seeded(config, [3; 32]).unwrap();
    let mut adapter = LoraAdapter::seeded(4, 8, &targets.shapes(&model.config), [4; 32]).unwrap();
    adapter.matrices.iter_mut().flat_map(|matrix| &mut matrix.values).for_each(|value| *value += 1 << 20);
    let chunk: Vec<u32> = (0..100).map(|i| i * i % 64).collect();
    let gradient = |kernels: CpuKernels, audited: Option<u64>| {
        let step = RecordedStep::new(&model, &targets, 2);
        let mut trainer = block_on(Trainer::prepare(step, &cpu(kernels))).unwrap();
        let name = audited.map(|number| trainer.audit(number).unwrap().to_owned());
        block_on(trainer.load(&adapter, &vec![JOB_EXPONENT; adapter.matrices.len()])).unwrap();
        (name, block_on(trainer.gradient(&chunk, &[9; 32], 0)))
    };
    let right = gradient(scalar, None).1.unwrap();
    assert!(gradient(faulty, None).1.unwrap() != right, "the planted fault has no effect");
    for number in 0..7 {
        assert_eq!(gradient(fastest, Some(number)).1.unwrap(), right);
        let (name, refused) = gradient(faulty, Some(number));
        let Err(Error::WrongAnswer { kernel, case, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((kernel, case), ("lora_gradient_b", format!("{} grad b", name.unwrap())));
    }
}
