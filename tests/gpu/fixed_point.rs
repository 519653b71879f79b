//! A kernel that tests WGSL functions that several kernels share. Each work unit calls all tested functions, with
//! operands of its own. The results must equal those of the corresponding Rust functions.

use r3mes_wgpu::{
    kernels::{
        Access, Binding, Kernel, Saturated,
        cases::{Case, CaseSource},
        lowering,
        shared::{blocks, rms, wide},
    },
    numbers::{
        fixed::{self, Scale},
        rng::{Dither, threefry},
        ternary,
    },
};
use std::ops::Range;

const OPERANDS: usize = 8;
const RESULTS: usize = 76;

pub(super) static KERNEL: Kernel = Kernel {
    name: "fixed_point",
    params: &["first_group", "units"],
    bindings: &[
        Binding { name: "operands", access: Access::Read },
        Binding { name: "results", access: Access::Write(|_| RESULTS) },
    ],
    units: |params| params[1] as usize,
    reference,
    lowerings: &[lowering("plain", &[include_str!("fixed_point.wgsl")], |_| 1, 64)],
};

/// Returns two test cases: one with random operands of every bit length, and one with all pairs of extreme operands.
pub(super) fn cases(seed: u64) -> Vec<Case> {
    let source = &mut CaseSource::new(seed);
    let random: Vec<u32> = (0..4000).flat_map(|_| random(source)).collect();
    let edges = [0, 1, 2, 3, 1 << 30, 1 << 31, (1 << 31) - 1, u64::MAX, 1 << 32, 1 << 61, 1 << 62, 1 << 63, 3 << 29];
    let edges = edges.iter().flat_map(|&edge: &u64| [edge, edge.wrapping_sub(1), !edge]).collect::<Vec<_>>();
    let pairs = edges.iter().flat_map(|&a| edges.iter().map(move |&b| (a, b)));
    let extremes: Vec<u32> = pairs
        .enumerate()
        .flat_map(|(at, (a, b))| {
            let e = [-100, -63, -31, -1, 0, 1, 30, 31, 32, 62, 63, 64, 100][at % 13];
            let f = [-1000, -31, 0, 1, 29, 1000][at % 6];
            operands(a, b, at as u32 % 64, e, f)
        })
        .collect();
    [("random", random), ("extreme", extremes)].map(|(label, words)| case(source, label, words)).into()
}

fn case(source: &mut CaseSource, label: &str, words: Vec<u32>) -> Case {
    let units = words.len() / OPERANDS;
    let results = source.before_write(units * RESULTS);
    Case { kernel: &KERNEL, label: label.to_owned(), params: vec![0, units as u32], inputs: vec![words, results] }
}

fn random(source: &mut CaseSource) -> [u32; OPERANDS] {
    let mut any = || (u64::from(source.word()) << 32 | u64::from(source.word())) >> (source.word() & 63);
    let (a, b) = (any(), any());
    let sign = |value: u64, negative: bool| if negative { value.wrapping_neg() } else { value };
    let signs = source.word();
    let (a, b) = (sign(a, signs & 1 == 1), sign(b, signs & 2 == 2));
    let (e, f) = (source.within(-100, 100), source.within(-1000, 1000));
    operands(a, b, source.word() & 63, e, f)
}

fn operands(a: u64, b: u64, right: u32, e: i32, f: i32) -> [u32; OPERANDS] {
    [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32, right, e as u32, f as u32, 0]
}

fn reference(_: &[u32], _: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    for (words, results) in reads[0].chunks_exact(OPERANDS).zip(writes[0].chunks_exact_mut(RESULTS)) {
        let found: Vec<u32> = answers(words).into_iter().flatten().collect();
        results.copy_from_slice(&found);
    }
    false
}

/// Returns the results of the Rust functions for the operands of one work unit, in the order in which
/// `fixed_point.wgsl` stores its results.
fn answers(words: &[u32]) -> Vec<[u32; 2]> {
    let (a, b) = (u64::from(words[0]) | u64::from(words[1]) << 32, u64::from(words[2]) | u64::from(words[3]) << 32);
    let (right, e, f) = (words[4], words[5] as i32, words[6] as i32);
    let (i, j) = (a as i32, b as i32);
    let value = a as i64 >> 1;
    let (scale_a, scale_b) = (Scale::new(a, e), Scale::new(b, f));
    let long = |value: u64| [value as u32, (value >> 32) as u32];
    let clamped = |(value, saturated): (i32, bool)| [value as u32, u32::from(saturated)];
    let keys = Dither(long(a));
    let dithers = threefry(long(a), long(b));
    let wide = [(i >> 16).clamp(-16384, 16384), 16384, -16384, (j >> 16).clamp(-16384, 16384)];
    let mut planes = [0i8; 8];
    (0..4).for_each(|at| wide::set(&mut planes, at, wide[at]));
    let planes: [u32; 2] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|i| planes[at + i] as u8)));
    let copy = rms::copy_shift(&[i]);
    let mean = Scale::new(a, 2 * (right & 15) as i32).multiply(scale_b).multiply(scale_b);
    let inverse_rms = mean.multiply(Scale::power_of_two(f)).plus(Scale::power_of_two(e)).inverse_sqrt();
    let start = u64::from(scale_a.mantissa >> 1) << 32;
    vec![
        long(u64::from(a as u32) * u64::from(b as u32)),
        long((i64::from(i) * i64::from(j)) as u64),
        long(a.wrapping_mul(b & 0xffff_ffff)),
        long(a.wrapping_add(b)),
        long(a.wrapping_sub(b)),
        long(a.wrapping_neg()),
        long((a as i64).unsigned_abs()),
        long(a.max(b)),
        [u32::from(a < b), u32::from((a as i64) < 0)],
        long(a << right),
        long(a >> right),
        long((a as i64 >> right) as u64),
        [fixed::bits(a), fixed::shift_for(a, 14)],
        long(fixed::round_even(value, right) as u64),
        long(fixed::round_dither(value, right.min(62), b as u32 & 0xffff) as u64),
        long(blocks::align(a as i64, e) as u64),
        clamped(fixed::saturate(a as i64)),
        clamped(fixed::shift_to_i32(value, e)),
        scale_a.words(),
        scale_a.multiply(scale_b).words(),
        scale_a.plus(scale_b).words(),
        scale_a.reciprocal().words(),
        scale_a.inverse_sqrt().words(),
        scale_a.shift(f).words(),
        Scale::power_of_two(e).words(),
        [(start / u64::from(scale_b.mantissa.max(1 << 30))) as u32, fixed::round_even(i.into(), right & 31) as u32],
        dithers,
        [keys.at(b as u32, (b >> 32) as u32), if a == 0 { blocks::ZERO_EXPONENT } else { scale_a.exponent } as u32],
        [dithers[0] & 0xffff, dithers[0] >> 16],
        [dithers[1] & 0xffff, dithers[1] >> 16],
        long(i64::from(i) as u64),
        [copy, rms::copy(i, copy) as u32],
        planes,
        long(((i64::from(i >> 4) << 16) + (i64::from(j >> 4) << 8) + i64::from(i ^ j)) as u64),
        inverse_rms.words(),
        scale_b.multiply(inverse_rms).words(),
        [blocks::distance(e, f), ternary::transpose_block(a as u32)],
        [ternary::row_words(b as usize & 0xff_ffff) as u32, wide.iter().sum::<i32>() as u32],
    ]
}
