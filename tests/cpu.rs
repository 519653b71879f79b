//! Tests that the implementations of every kernel for each instruction set of this processor give the same result as the
//! reference kernel: in every test case, every word of every buffer must be equal. A kernel launch consists of
//! independent work units. Each test case runs several times, with the work units divided into ranges of a different
//! length each time. The length of the ranges must not affect the result.

use r3mes_wgpu::{
    compute::cpu::{fastest, implementation, scalar, simd::Level},
    kernels::{
        ALL, Access, CpuKernel, Saturated,
        cases::{Case, cases, representative, run_reference},
    },
};

/// Returns the seed of the random test cases: the value of the environment variable `CPU_SEED`, or a new seed.
fn seed() -> u64 {
    let given = std::env::var("CPU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    println!("CPU_SEED={seed}");
    seed
}

/// Launches the kernel of a test case, divided into ranges of at most `each` work units (independent parts of a
/// launch). Returns the final content of all buffers, and whether a value saturated.
fn run(case: &Case, kernel: CpuKernel, each: usize) -> (Vec<Vec<u32>>, Saturated) {
    let units = (case.kernel.units)(&case.params);
    let mut after = case.inputs.clone();
    let bound: Vec<_> = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag)).collect();
    let mut any = false;
    for first in (0..units).step_by(each) {
        let range = first..units.min(first + each);
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (words, binding) in after.iter_mut().zip(&bound) {
            match binding.access {
                Access::Write(words_per_unit) => {
                    let words_per_unit = words_per_unit(&case.params);
                    writes.push(&mut words[range.start * words_per_unit..range.end * words_per_unit]);
                }
                _ => reads.push(&words[..]),
            }
        }
        any |= kernel(&case.params, range, &reads, &mut writes);
    }
    (after, any)
}

fn check(case: &Case) {
    let want = run_reference(case);
    let levels = Level::available().into_iter().filter_map(|level| Some((level, implementation(level, case.kernel)?)));
    let mut checked = Vec::new();
    for (level, kernel) in levels {
        // levels without code of their own for this kernel share an implementation
        if checked.contains(&(kernel as usize)) {
            continue;
        }
        checked.push(kernel as usize);
        for each in [usize::MAX, 1, 3] {
            let found = run(case, kernel, each.min((case.kernel.units)(&case.params).max(1)));
            let Case { kernel, label, .. } = case;
            let difference = || difference(&found, &want);
            assert!(found == want, "{} {}, {label}: ranges of {each} units{}", level.name(), kernel.name, difference());
        }
    }
}

fn difference(found: &(Vec<Vec<u32>>, Saturated), want: &(Vec<Vec<u32>>, Saturated)) -> String {
    for (buffer, (found, want)) in found.0.iter().zip(&want.0).enumerate() {
        if let Some(at) = found.iter().zip(want).position(|(found, want)| found != want) {
            return format!(", buffer {buffer}, word {at}: {:#x} instead of {:#x}", found[at], want[at]);
        }
    }
    format!(", saturated: {} instead of {}", found.1, want.1)
}

#[test]
fn the_implementations_of_every_level_equal_the_reference_kernels() {
    let seed = seed();
    for kernel in ALL {
        let cases = cases(kernel, seed);
        assert!(!cases.is_empty(), "{} has no test cases", kernel.name);
        cases.iter().for_each(check);
        representative(kernel, 70).iter().for_each(check);
    }
}

#[test]
fn all_kernels_but_loss_sum_and_digest_have_an_optimized_implementation() {
    let slow: Vec<_> = ALL.iter().filter(|kernel| fastest(kernel).is_none()).map(|kernel| kernel.name).collect();
    assert_eq!(slow, ["loss_sum", "digest"]);
    assert!(ALL.iter().all(|kernel| scalar(kernel).is_none()));
}
